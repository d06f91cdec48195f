"""Causes: why attempts were dropped, of whom, on the way to what; and what to look at next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flowwatch.egress.folding import By, fold
from flowwatch.egress.rows import Row, Snapshot
from flowwatch.flows.reasons import by_name
from flowwatch.report.summary_table import peer_text, pod_name, policy_text
from flowwatch.text import safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import Line, wrap
from flowwatch.tui.parts.grouped import GroupedAnswer, grouped
from flowwatch.tui.parts.groups import filter_of, name_of, state_text
from flowwatch.tui.parts.listing import Entry, Listed, ListView
from flowwatch.tui.parts.sorting import Sorted

_INDENT = 12
"""Columns of the count before each text."""


@dataclass(slots=True)
class Cause:
    """One reason: who met it, and where."""

    reason: str
    dropped: int = 0
    by: dict[str, list[tuple[Row, int]]] = field(default_factory=dict)
    """Rows with their attempts that were dropped for it, by the workload that they are of."""


def _made(snapshot: Snapshot) -> list[Cause]:
    """The reasons of all drops, the commonest first; noise has none that a policy could mend."""
    found: dict[str, Cause] = {}
    for row in fold(snapshot.rows, By("workload", "", True, True)):
        if not row.blocked:
            continue
        for reason, count in row.drop_reasons.items():
            cause = found.setdefault(reason, Cause(reason))
            cause.dropped += count
            cause.by.setdefault(name_of(row), []).append((row, count))
    return sorted(found.values(), key=lambda one: (-one.dropped, one.reason))


def _listed(desk: Desk, value: GroupedAnswer, columns: int) -> Listed:
    entries: list[Entry] = []
    for cause in _sorted(value.made, desk.chosen.sorted.get(CAUSES.name)):
        entries += _cause(cause, columns, desk.look.signs.dropped)
    heading: Line = (
        (f"   {'DROPPED':>8}  ", "head"),
        ("CAUSE, then WHO, then WHERE TO", "head"),
    )
    return Listed(entries, heading)


def _sorted(causes: Sequence[Cause], order: Sorted | None) -> Sequence[Cause]:
    """Causes, of each those who met it, of each of these where: in the order that was chosen."""
    if order is None:
        return causes
    named, turned = order.by == "cause", order.reverse

    def who(met: tuple[str, list[tuple[Row, int]]]) -> Any:
        return met[0] if named else -sum(count for _, count in met[1])

    def where(one: tuple[Row, int]) -> Any:
        return peer_text(one[0]) if named else -one[1]

    def of(cause: Cause) -> Any:
        return cause.reason if named else -cause.dropped

    return [
        replace(
            cause,
            by={
                name: sorted(rows, key=where, reverse=turned)
                for name, rows in sorted(cause.by.items(), key=who, reverse=turned)
            },
        )
        for cause in sorted(causes, key=of, reverse=turned)
    ]


def _cause(cause: Cause, columns: int, sign: str) -> list[Entry]:
    why = filter_of("why", cause.reason)
    entries = [
        Entry(
            ((f"{sign} {cause.dropped:>8,}  ", "drop"), (safe(cause.reason), "drop")),
            cause.reason,
            f"{why} verdict:dropped",
        )
    ]
    told = by_name(cause.reason)
    if told is not None:
        for text, role in ((told.plain, "text"), (f"Next: {told.next}", "accent")):
            parts = wrap(safe(text), columns - _INDENT - 1)
            entries += [Entry(((" " * _INDENT + part, role),)) for part in parts]
    for name, rows in cause.by.items():
        dropped = sum(count for _, count in rows)
        pod = filter_of("pod", name)
        who = pod_name(rows[0][0]) if rows[0][0].pods > 1 else safe(name)
        if rows[0][0].namespace and rows[0][0].pods > 1:
            who = f"{safe(rows[0][0].namespace)}/{who}"
        entries.append(
            Entry(
                ((f"  {dropped:>8,}  ", "drop"), (f"  {who}", "strong")),
                f"{cause.reason} {name}",
                f"{why} {pod}",
            )
        )
        for row, count in rows:
            refused = row.proxy_refused[0] if row.proxy_refused else ""
            beside = [safe(policy_text(row)), safe(refused), state_text(row)]
            entries.append(
                Entry(
                    (
                        (f"  {count:>8,}  ", "drop"),
                        (f"    {peer_text(row)}", "text"),
                        ("".join([f"  {text}" for text in beside if text]), "dim"),
                    ),
                    f"{cause.reason} {name} {row.direction} {row.key}",
                    f"{pod} {filter_of('to', row.peer)}",
                )
            )
    entries.append(Entry(()))
    return entries


CAUSES = ListView(
    name="causes",
    words="why attempts were dropped: the reason, whose they were, where to; and what to look at",
    number=5,
    tab="Causes",
    tab_short="Why",
    question=grouped(_made),
    listed=_listed,
    sorts=("dropped", "cause"),
    nothing="Nothing was dropped for which a cause is to be found",
    advice=("{rows} shows what was forwarded", "{direction} shows ingress, or both directions"),
)
