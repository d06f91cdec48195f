"""The map: who talks to whom, as a matrix; in a wide terminal as boxes and lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from flowwatch.egress.filters import quoted
from flowwatch.egress.folding import BY_WORKLOAD, By, fold, together
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
from flowwatch.tui.question import Question, Readings
from flowwatch.tui.theme import FANCY, Signs

BOXES = 120
"""Columns of a terminal from which on the map has boxes and lines."""

_CELL = 11
"""Columns of a destination in the matrix, with the gap."""

_TYPED = 12
"""Destinations of a fold that a filter names; more are found by who goes there alone."""

_HEAD = "FROM / TO"

_EACH = 8
"""Lines of a box at most; the rest is counted."""


class _Whose(NamedTuple):
    """Who is on the left of the map."""

    name: str
    narrow: str
    """The filter that finds them; empty where none does."""
    by: By


class _Edge(NamedTuple):
    """What one of them reaches, or would like to."""

    row: Row
    """Its peer is called as it is folded."""
    members: tuple[str, ...]
    """The destinations that are put together in it."""

    @property
    def narrow(self) -> str:
        """The filter that finds them; empty where they are too many to be typed."""
        if len(self.members) > _TYPED:
            return ""
        return "to:" + "|".join([quoted(f"={name}") for name in self.members])


_Made = dict[_Whose, list[_Edge]]
"""The most dropped first."""


def _whose(row: Row, by: By) -> _Whose:
    if by.label:
        narrow = filter_of("label", row.workload) if "=" in row.workload else ""
        return _Whose(row.workload if narrow else f"no label {by.label}", narrow, by)
    if by.subject == "namespace" and row.namespace:
        return _Whose(row.namespace, filter_of("ns", row.namespace), by)
    name = f"{row.namespace}/{row.pod}" if by.subject == "pod" and row.namespace else name_of(row)
    return _Whose(name, filter_of("pod", name), by)


@dataclass(frozen=True, kw_only=True)
class Mapped(Grouped):
    """Rows and their destinations, both put together by ``by``."""

    by: By

    def answer(self, of: Readings) -> GroupedAnswer:
        taken = of.monitor.snapshot(self.query)
        return GroupedAnswer(taken, _made(taken, self.by, of.monitor.whose(self.by)))

    def amend(
        self, of: Readings, before: Question[GroupedAnswer], answer: GroupedAnswer
    ) -> GroupedAnswer | None:
        same = isinstance(before, Mapped) and (before.query, before.by) == (self.query, self.by)
        return answer if same else None


def _made(snapshot: Snapshot, by: By, whose: Mapping[str, str]) -> _Made:
    found: dict[_Whose, dict[tuple[str, str], list[Row]]] = {}
    # Labels are known where rows were taken: those are folded already.
    for row in snapshot.rows if by.label else fold(snapshot.rows, by):
        edges = found.setdefault(_whose(row, by), {})
        edges.setdefault((row.direction, whose.get(row.peer, row.peer)), []).append(row)
    return {
        who: sorted([_edge_of(to, rows, by) for (_, to), rows in edges.items()], key=_worst)
        for who, edges in found.items()
    }


def _worst(edge: _Edge) -> tuple[int, ...]:
    row = edge.row
    return -row.blocked, -row.audited, -row.errors, -row.forwarded


def _edge_of(to: str, rows: list[Row], by: By) -> _Edge:
    members = tuple(dict.fromkeys(row.peer for row in rows))
    row = rows[0] if len(rows) == 1 else together(rows, by, rows[0].workload if by.label else "")
    return _Edge(replace(row, peer=to), members)


def _nothing_yet(snapshot: Snapshot) -> None:
    """A map is made of more than its rows."""


def _question(desk: Desk, key: int) -> Mapped:
    """Folded by what the table's rows are folded by, over all ports."""
    by = desk.chosen.query.by._replace(port=False)
    query = plain(desk.chosen.query)
    return Mapped(
        query=replace(query, by=by) if by.label else query,
        make=_nothing_yet,
        by=by,
        when=desk.chosen.when,
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
    needed = max([len(_HEAD), *(width(safe(one.name)) for one in made)])
    wide = min(needed, max(columns // 4, 14))
    room = max((columns - wide - 4) // _CELL, 1)
    totals: dict[str, tuple[int, int]] = {}
    for row in (edge.row for edges in made.values() for edge in edges):
        dropped, attempts = totals.get(row.peer, (0, 0))
        totals[row.peer] = (dropped + row.blocked, attempts + row.attempts)
    ranked = sorted(totals, key=lambda peer: (*[-n for n in totals[peer]], peer))
    shown = ranked if len(ranked) <= room else ranked[: room - 1]
    rest = set(ranked[len(shown) :])
    titles = [fit(safe(peer), _CELL - 1) for peer in shown] + (
        [f"+{len(rest)} more"] if rest else []
    )
    heading: Line = ((f"   {fit(_HEAD, wide)} " + " ".join(titles), "head"),)
    entries = []
    for whose, edges in made.items():
        name, rows = whose.name, [edge.row for edge in edges]
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
    broken: str
    tip: str


_FANCY = _Frame("┌┐", "└┘", "│", "├", "─", "╌", "▶")
_PLAIN = _Frame("++", "++", "|", "+", "-", ".", ">")


def _boxes(made: _Made, columns: int, signs: Signs) -> Listed:
    """A box for each workload, and a line to each of its destinations."""
    wide = min(max([width(safe(one.name)) for one in made], default=0) + 2, columns // 3)
    frame = _FANCY if signs is FANCY else _PLAIN
    entries = [
        entry for whose, edges in made.items() for entry in _box(whose, edges, wide, frame, signs)
    ]
    by = next(iter(made)).by if made else BY_WORKLOAD
    title = safe(by.label) or by.subject.upper()
    heading: Line = ((f"   {fit(title, wide)}    ATTEMPTS           DESTINATION", "head"),)
    return Listed(entries, heading)


def _box(
    whose: _Whose, edges: list[_Edge], wide: int, frame: _Frame, signs: Signs
) -> Iterator[Entry]:
    yield Entry(((f"  {frame.top[0]}{frame.line * wide}{frame.top[1]}", "dim"),))
    name, narrow, by = whose
    # Of a namespace, or a label, no destination needs to have all pods.
    pods = max(row.pods for row, _ in edges) if by.subject == "workload" else 0
    texts = [safe(name), plural(pods, "pod") if pods > 1 else ""]
    for place, edge in enumerate(edges[:_EACH]):
        row = edge.row
        text = texts[place] if place < len(texts) else ""
        start: list[Piece] = [
            (f"  {frame.side}", "dim"),
            (fit(f" {text}", wide), "dim" if place else "strong"),
            (frame.tee, "dim"),
        ]
        to = f"{narrow} {edge.narrow}".strip()
        line = (*start, *_edge(row, frame, signs))
        yield Entry(line, f"{name} {row.direction} {row.peer}", to if narrow else "")
    if len(edges) > _EACH:
        more = f"and {plural(len(edges) - _EACH, 'more destination')}"
        yield Entry(
            ((f"  {frame.side}{' ' * wide}{frame.tee} {more}", "dim"),), f"{name} more", narrow
        )
    yield Entry(((f"  {frame.bottom[0]}{frame.line * wide}{frame.bottom[1]}", "dim"),))


def _edge(row: Row, frame: _Frame, signs: Signs) -> list[Piece]:
    """``── ✗38 ✓25 ────▶ api.github.com``; broken where nothing gets through."""
    pieces = _numbers(row, signs)
    used = sum(width(text) for text, _ in pieces)
    role = "drop" if row.blocked else "ok"
    line = frame.broken if row.blocked and not row.forwarded + row.audited else frame.line
    return [
        (f"{frame.line * 2} ", role),
        *pieces,
        (f" {line * max(14 - used, 2)}{frame.tip} ", role),
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
