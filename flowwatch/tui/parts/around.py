"""Around a row: how its workload's other pods fare there, and who else goes where it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowwatch.egress.rows import CloseUp, Fate, Row
from flowwatch.egress.words import short_pod
from flowwatch.report.human import count
from flowwatch.text import plural, safe
from flowwatch.tui.format import Line, labelled
from flowwatch.tui.theme import Signs

SHOWN = 6
"""Pods, and others, that are named."""


def around_lines(
    row: Row, more: CloseUp, columns: int, indent: int, signs: Signs
) -> Iterator[Line]:
    """Lines for the pods, if there are several, and for who else goes there."""
    if more.pods_in_all > 1:
        text = _listed(more.pods, more.pods_in_all, "pod", row, signs)
        if row.pods == len(more.pods) and sum(one.dropped for one in more.pods) != row.dropped:
            # The screen is held, or a filter leaves some of its pods out.
            text = f"by now: {text}"
        yield from labelled("Pods", text, columns, indent=indent)
        if odd := suspect(more.pods):
            yield from labelled("", odd, columns, indent=indent, role="warn")
    if not row.blocked or not more.pods_in_all:
        return
    through = [one for one in more.others if one.forwarded]
    text = f"get through: {_listed(through, len(through), 'workload', row, signs)}"
    if not through:
        text = "none gets through" if more.others_in_all else "nobody else was seen to go there"
    yield from labelled("Others", text, columns, indent=indent)


def _listed(fates: Sequence[Fate], in_all: int, word: str, row: Row, signs: Signs) -> str:
    texts = [_fate(one, row, signs) for one in fates[:SHOWN]]
    if (left := in_all - len(texts)) > 0:
        texts.append(f"{plural(left, f'more {word}')}")
    return ", ".join(texts)


def _fate(one: Fate, row: Row, signs: Signs) -> str:
    name = safe(short_pod(one.name, row.workload, signs.joint))
    if one.namespace and one.namespace != row.namespace:
        name = f"{safe(one.namespace)}/{name}"
    if one.pods > 1:
        name += f" {signs.times}{one.pods}"
    counted = (
        (one.dropped, signs.dropped),
        (one.audited, signs.warned),
        (one.forwarded, signs.forwarded),
    )
    return " ".join([name, *(f"{count(number)}{sign}" for number, sign in counted if number)])


def _latest(one: Fate) -> str:
    """What became of its latest attempt; where that isn't known, of all of them."""
    went = [name for name in ("dropped", "forwarded") if getattr(one, name)]
    return one.state or (went[0] if len(went) == 1 else "")


def suspect(pods: Sequence[Fate]) -> str:
    """What those pods that are blocked now have in common, and no other has: their node, their identity."""
    blocked = [one for one in pods if one.dropped and _latest(one) == "dropped"]
    through = [one for one in pods if one.forwarded and _latest(one) == "forwarded"]
    if not blocked or not through:
        return ""
    found = []
    for name, values in (
        ("node", [{one.node for one in side} for side in (blocked, through)]),
        ("identity", [{str(one.identity or "") for one in side} for side in (blocked, through)]),
    ):
        mine, others = values
        if len(mine) == 1 and "" not in mine | others and not mine & others:
            found.append(f"{name} {safe(mine.copy().pop())}")
    if not found:
        return ""
    return f"only some are blocked: those of {' and '.join(found)}, where no other is"
