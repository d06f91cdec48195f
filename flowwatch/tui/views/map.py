"""The map: who talks to whom, as a matrix; in a wide terminal as boxes and lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from msgspec.structs import replace

from flowwatch.egress.folding import BY_WORKLOAD, By, fold
from flowwatch.egress.rows import Row, Snapshot
from flowwatch.report.human import count, width
from flowwatch.report.summary_table import worst
from flowwatch.text import plural, safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import Line, Piece, fit
from flowwatch.tui.keys import Key
from flowwatch.tui.parts.columns import SIGNS
from flowwatch.tui.parts.grouped import Grouped, GroupedAnswer, plain
from flowwatch.tui.parts.groups import filter_of, name_of
from flowwatch.tui.parts.listing import Entry, Listed, ListView
from flowwatch.tui.theme import FANCY, Signs

BOXES = 120
"""Columns of a terminal from which on the map has boxes and lines."""

_CELL = 11
"""Columns of a destination in the matrix, with the gap."""

_EACH = 8
"""Lines of a box at most; the rest is counted."""


class _Whose(NamedTuple):
    """Who is on the left of the map."""

    name: str
    narrow: str
    """The filter that finds them; empty where none does."""
    by: By


_Made = dict[_Whose, list[Row]]
"""The most dropped first, what each reaches or would like to."""


def _whose(row: Row, by: By) -> _Whose:
    if by.label:
        narrow = filter_of("label", row.workload) if "=" in row.workload else ""
        return _Whose(row.workload if narrow else f"no label {by.label}", narrow, by)
    if by.subject == "namespace" and row.namespace:
        return _Whose(row.namespace, filter_of("ns", row.namespace), by)
    name = f"{row.namespace}/{row.pod}" if by.subject == "pod" and row.namespace else name_of(row)
    return _Whose(name, filter_of("pod", name), by)


@cache
def _maker(by: By) -> Callable[[Snapshot], _Made]:
    """The same one each time, as questions are compared by it."""

    def made(snapshot: Snapshot) -> _Made:
        found: _Made = {}
        # Labels are known where rows were taken: those are folded already.
        for row in snapshot.rows if by.label else fold(snapshot.rows, by):
            found.setdefault(_whose(row, by), []).append(row)
        return found

    return made


def _question(desk: Desk, key: int) -> Grouped:
    """Folded by what the table's rows are folded by, over all ports."""
    by = desk.chosen.query.by._replace(port=False)
    query = plain(desk.chosen.query)
    return Grouped(
        query=replace(query, by=by) if by.label else query, make=_maker(by), when=desk.chosen.when
    )


def _numbers(row: Row, signs: Signs) -> list[Piece]:
    """``✗38 ✓25``, in their colours."""
    pieces: list[Piece] = []
    for outcome, number in (("dropped", row.blocked), ("forwarded", row.forwarded)):
        if number:
            sign, role = SIGNS[outcome]
            gap = " " if pieces else ""
            pieces.append((f"{gap}{getattr(signs, sign)}{count(number)}", role))
    if not pieces:
        # Audited alone, say: all of its attempts.
        sign, role = SIGNS[worst(row)]
        pieces.append((f"{getattr(signs, sign)}{count(row.attempts)}", role))
    return pieces


def _matrix(made: _Made, columns: int, signs: Signs) -> Listed:
    wide = min(max([width(safe(one.name)) for one in made], default=0), max(columns // 4, 14))
    room = max((columns - wide - 4) // _CELL, 1)
    totals: dict[str, tuple[int, int]] = {}
    for row in (row for rows in made.values() for row in rows):
        dropped, attempts = totals.get(row.peer, (0, 0))
        totals[row.peer] = (dropped + row.blocked, attempts + row.attempts)
    ranked = sorted(totals, key=lambda peer: (*[-n for n in totals[peer]], peer))
    shown = ranked if len(ranked) <= room else ranked[: room - 1]
    rest = set(ranked[len(shown) :])
    titles = [fit(safe(peer), _CELL - 1) for peer in shown] + (
        [f"+{len(rest)} more"] if rest else []
    )
    heading: Line = ((f"   {fit('FROM / TO', wide)} " + " ".join(titles), "head"),)
    entries = []
    for whose, rows in made.items():
        name = whose.name
        by_peer = {row.peer: row for row in rows}
        line: list[Piece] = [("  ", "text"), (fit(safe(name), wide) + " ", "strong")]
        for peer in shown:
            line += _cell(by_peer.get(peer), signs)
        if rest:
            others = [row for row in rows if row.peer in rest]
            dropped = sum(row.blocked for row in others)
            forwarded = sum(row.forwarded for row in others)
            if others and not dropped and not forwarded:
                line += _numbers(others[0], signs)
            line += [
                (f"{signs.dropped}{count(dropped)} " if dropped else "", "drop"),
                (f"{signs.forwarded}{count(forwarded)}" if forwarded else "", "ok"),
            ]
        entries.append(Entry(tuple(line), name, whose.narrow))
    return Listed(entries, heading)


def _cell(row: Row | None, signs: Signs) -> list[Piece]:
    if row is None:
        return [(fit(signs.dot, _CELL), "dim")]
    pieces = _numbers(row, signs)
    used = sum(width(text) for text, _ in pieces)
    return [*pieces, (" " * max(_CELL - used, 1), "text")]


class _Frame(NamedTuple):
    """What boxes and lines are drawn with."""

    top: str
    bottom: str
    side: str
    tee: str
    line: str
    tip: str


_FANCY = _Frame("┌┐", "└┘", "│", "├", "─", "▶")
_PLAIN = _Frame("++", "++", "|", "+", "-", ">")


def _boxes(made: _Made, columns: int, signs: Signs) -> Listed:
    """A box for each workload, and a line to each of its destinations."""
    wide = min(max([width(safe(one.name)) for one in made], default=0) + 2, columns // 3)
    frame = _FANCY if signs is FANCY else _PLAIN
    entries = [
        entry for whose, rows in made.items() for entry in _box(whose, rows, wide, frame, signs)
    ]
    by = next(iter(made)).by if made else BY_WORKLOAD
    title = safe(by.label) or by.subject.upper()
    heading: Line = ((f"   {fit(title, wide)}    ATTEMPTS           DESTINATION", "head"),)
    return Listed(entries, heading)


def _box(whose: _Whose, rows: list[Row], wide: int, frame: _Frame, signs: Signs) -> Iterator[Entry]:
    yield Entry(((f"  {frame.top[0]}{frame.line * wide}{frame.top[1]}", "dim"),))
    name, narrow, by = whose
    # Of a namespace, or a label, no destination needs to have all pods.
    pods = max(row.pods for row in rows) if by.subject == "workload" else 0
    texts = [safe(name), plural(pods, "pod") if pods > 1 else ""]
    for place, row in enumerate(rows[:_EACH]):
        text = texts[place] if place < len(texts) else ""
        start: list[Piece] = [
            (f"  {frame.side}", "dim"),
            (fit(f" {text}", wide), "dim" if place else "strong"),
            (frame.tee, "dim"),
        ]
        to = f"{narrow} {filter_of('to', row.peer)}".lstrip()
        line = (*start, *_edge(row, frame, signs))
        yield Entry(line, f"{name} {row.direction} {row.peer}", to if narrow else "")
    if len(rows) > _EACH:
        more = f"and {plural(len(rows) - _EACH, 'more destination')}"
        yield Entry(
            ((f"  {frame.side}{' ' * wide}{frame.tee} {more}", "dim"),), f"{name} more", narrow
        )
    yield Entry(((f"  {frame.bottom[0]}{frame.line * wide}{frame.bottom[1]}", "dim"),))


def _edge(row: Row, frame: _Frame, signs: Signs) -> list[Piece]:
    """``── ✗38 ✓25 ────▶ api.github.com``"""
    pieces = _numbers(row, signs)
    used = sum(width(text) for text, _ in pieces)
    role = "drop" if row.blocked else "ok"
    return [
        (f"{frame.line * 2} ", role),
        *pieces,
        (f" {frame.line * max(14 - used, 2)}{frame.tip} ", role),
        (safe(row.peer), "strong" if row.blocked else "text"),
    ]


def _listed(desk: Desk, value: GroupedAnswer, columns: int) -> Listed:
    draw = _boxes if columns + 1 >= BOXES else _matrix
    return draw(value.made, columns, desk.look.signs)


MAP = ListView(
    name="map",
    words="who talks to whom: a matrix, from 120 columns on boxes and lines",
    number=6,
    tab="Map",
    tab_short="Map",
    question=_question,
    listed=_listed,
    keys={
        Key(
            "fold_map",
            ("v",),
            "fold the map by workload, namespace or pod; :fold label:KEY",
            "fold by",
        ): lambda desk: desk.do("fold_by")
    },
)
