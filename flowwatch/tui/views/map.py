"""The map: who talks to whom, as a matrix; in a wide terminal as boxes and lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flowwatch.egress.folding import By, fold
from flowwatch.egress.rows import Row, Snapshot
from flowwatch.report.human import count, width
from flowwatch.report.summary_table import worst
from flowwatch.text import plural, safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import Line, Piece, fit
from flowwatch.tui.parts.columns import SIGNS
from flowwatch.tui.parts.grouped import GroupedAnswer, grouped
from flowwatch.tui.parts.groups import filter_of, name_of
from flowwatch.tui.parts.listing import Entry, Listed, ListView
from flowwatch.tui.theme import FANCY, Signs

BOXES = 120
"""Columns of a terminal from which on the map has boxes and lines."""

_CELL = 11
"""Columns of a destination in the matrix, with the gap."""

_EACH = 8
"""Lines of a box at most; the rest is counted."""


def _made(snapshot: Snapshot) -> dict[str, list[Row]]:
    """By workload, the most dropped first, what it reaches or would like to."""
    found: dict[str, list[Row]] = {}
    for row in fold(snapshot.rows, By("workload", "", True, False)):
        found.setdefault(name_of(row), []).append(row)
    return found


def _numbers(row: Row, signs: Signs) -> list[Piece]:
    """``✗38 ✓25``, in their colours."""
    pieces: list[Piece] = []
    for outcome, number in (("dropped", row.blocked), ("forwarded", row.forwarded)):
        if number:
            sign, role = SIGNS[outcome]
            gap = " " if pieces else ""
            pieces.append((f"{gap}{getattr(signs, sign)}{count(number)}", role))
    return pieces or [(getattr(signs, SIGNS[worst(row)][0]), SIGNS[worst(row)][1])]


def _matrix(made: dict[str, list[Row]], columns: int, signs: Signs) -> Listed:
    wide = min(max([width(safe(name)) for name in made], default=0), max(columns // 4, 14))
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
    for name, rows in made.items():
        by_peer = {row.peer: row for row in rows}
        line: list[Piece] = [("  ", "text"), (fit(safe(name), wide) + " ", "strong")]
        for peer in shown:
            line += _cell(by_peer.get(peer), signs)
        if rest:
            others = [row for row in rows if row.peer in rest]
            dropped = sum(row.blocked for row in others)
            forwarded = sum(row.forwarded for row in others)
            line += [
                (f"{signs.dropped}{count(dropped)} " if dropped else "", "drop"),
                (f"{signs.forwarded}{count(forwarded)}" if forwarded else "", "ok"),
            ]
        entries.append(Entry(tuple(line), name, filter_of("pod", name)))
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


def _boxes(made: dict[str, list[Row]], columns: int, signs: Signs) -> Listed:
    """A box for each workload, and a line to each of its destinations."""
    wide = min(max([width(safe(name)) for name in made], default=0) + 2, columns // 3)
    frame = _FANCY if signs is FANCY else _PLAIN
    entries = [
        entry for name, rows in made.items() for entry in _box(name, rows, wide, frame, signs)
    ]
    heading: Line = ((f"   {fit('WORKLOAD', wide)}    ATTEMPTS           DESTINATION", "head"),)
    return Listed(entries, heading)


def _box(name: str, rows: list[Row], wide: int, frame: _Frame, signs: Signs) -> Iterator[Entry]:
    yield Entry(((f"  {frame.top[0]}{frame.line * wide}{frame.top[1]}", "dim"),))
    pods = max(row.pods for row in rows)
    texts = [safe(name), plural(pods, "pod") if pods > 1 else ""]
    pod = filter_of("pod", name)
    for place, row in enumerate(rows[:_EACH]):
        text = texts[place] if place < len(texts) else ""
        start: list[Piece] = [
            (f"  {frame.side}", "dim"),
            (fit(f" {text}", wide), "dim" if place else "strong"),
            (frame.tee, "dim"),
        ]
        narrow = f"{pod} {filter_of('to', row.peer)}"
        line = (*start, *_edge(row, frame, signs))
        yield Entry(line, f"{name} {row.direction} {row.peer}", narrow)
    if len(rows) > _EACH:
        more = f"and {plural(len(rows) - _EACH, 'more destination')}"
        yield Entry(
            ((f"  {frame.side}{' ' * wide}{frame.tee} {more}", "dim"),), f"{name} more", pod
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
    question=grouped(_made),
    listed=_listed,
)
