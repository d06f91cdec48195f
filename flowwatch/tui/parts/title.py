"""The first line: where we read, how that goes, and what the rows are limited to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowwatch.flows.source import SourceState
from flowwatch.report.human import shorten
from flowwatch.text import plural, safe
from flowwatch.tui.format import Line, Piece, ends, line_width, window_words
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.state import ViewState
from flowwatch.tui.theme import Signs

_GAP: Piece = ("  ", "text")
_SPACE: Piece = (" ", "text")

_PHASES = {
    "connecting": "connecting",
    "reading": "reading",
    "following": "live",
    "lost": "LOST",
    "ended": "complete",
    "failed": "FAILED",
}

NEVER_HAD = "not connected"
"""What isn't lost, as it never was there."""


class Title(Lines):
    """Name, server, state, filters at the left; what was asked for at the right."""

    DEFAULT_CSS = "Title { height: 1; }"

    def update_from(self, state: SourceState, chosen: ViewState, trail: Sequence[str]) -> None:
        self.show([title_line(state, chosen, self.size.width, self.look.signs, trail)])


def title_line(
    state: SourceState, view: ViewState, columns: int, signs: Signs, trail: Sequence[str] = ()
) -> Line:
    """The line for a terminal of so many columns; ``trail``: the views that were opened.

    What limits the rows is on it at any width, shortened in the end; all else gives way.
    """
    forms = _forms(view.filter_words)
    for words in forms:
        left, right = _parts(state, view, words, columns, signs, trail)
        if _without(left, right, _LUXURY, columns):
            return _line(left, right, columns)
    left, right = _parts(state, view, forms[-1], columns, signs, trail)
    if _without(left, right, _FILTER + 1, columns):
        return _line(left, right, columns)
    spare = columns - _taken([], right) - 3
    left = [Part(_FILTER, ((shorten(forms[-1], max(spare, 4)), "badge"),))] if forms[-1] else []
    return _line(left, right, columns)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the title; the highest ``rank`` goes first when room is short."""

    rank: int
    line: Line
    gap: Piece = _GAP
    """Before it, unless it is the first of its side."""


_FILTER, _LISTED, _LUXURY = 0, 6, 9
"""What limits the rows stays; from _LUXURY on a part gives way before a filter is shortened."""


def _parts(
    state: SourceState,
    view: ViewState,
    words: str,
    columns: int,
    signs: Signs,
    trail: Sequence[str],
) -> tuple[list[Part], list[Part]]:
    """What is at the left, and at the right."""
    name = f" {signs.to} ".join([view.title, *trail])
    bad = state.phase in ("lost", "failed")
    phase = _PHASES.get(state.phase, safe(state.phase))
    if state.phase == "lost" and not state.had:
        phase = NEVER_HAD
    if state.progress is not None:
        # Of a ring too: what is live comes after it.
        phase = f"reading {state.progress:.0%}"
    where = shorten(safe(state.where), max(columns // 3, 12))
    left = [
        Part(4, ((name, "strong"),)),
        Part(7, ((where, "accent"),) if where else ()),
        Part(10, _security(state, signs) if where else (), _SPACE),
        Part(
            1 if bad else 5,
            ((phase, "drop" if bad else "dim"),),
        ),
        *_servers(state),
        *_nodes(state),
        Part(_FILTER, ((words, "dim"),) if words else ()),
    ]
    return [part for part in left if part.line], _asked(view, trail)


def _without(left: list[Part], right: list[Part], rank: int, columns: int) -> bool:
    """Take parts of this rank and above away while they don't fit; whether they do then."""
    while _taken(left, right) > columns:
        worst = max((part.rank for part in (*left, *right)), default=_FILTER)
        if worst < rank:
            return False
        for side in (left, right):
            side[:] = [part for part in side if part.rank != worst]
    return True


def _taken(left: list[Part], right: list[Part]) -> int:
    """Columns that both sides need, with the margins and what stands between them."""
    sides = [line_width(line) for line in (_side(left), _side(right)) if line]
    return sum(sides) + 2 * len(sides) - 1


def _side(parts: list[Part]) -> Line:
    pieces = [piece for part in parts for piece in (part.gap, *part.line)]
    return tuple(pieces[1:])


def _line(left: list[Part], right: list[Part], columns: int) -> Line:
    at_left, at_right = _side(left), _side(right)
    return ends(
        (_SPACE, *at_left) if at_left else (), (*at_right, _SPACE) if at_right else (), columns
    )


_SHORT = {"--namespace": "-n", "--label": "-l", "--ipv4": "-4", "--ipv6": "-6"}


def _forms(filter_words: str) -> list[str]:
    """The filters as they were typed, then ever fewer of them, and how many more there are."""
    filters: list[list[str]] = []
    for word in safe(filter_words).split():
        joins = not word.startswith("--") or (filters and filters[-1][-1] == "--not")
        if joins and filters:
            filters[-1].append(_SHORT.get(word, word))
        else:
            filters.append([_SHORT.get(word, word)])
    each = [" ".join(words) for words in filters]
    fewer = [f"{' '.join(each[:n])} +{len(each) - n}" for n in range(len(each) - 1, 0, -1)]
    return [safe(filter_words), " ".join(each), *fewer]


def _security(state: SourceState, signs: Signs) -> Line:
    if state.phase in ("reading", "ended", "failed") and not state.version and not state.encrypted:
        return ()
    return ((signs.secure if state.encrypted else "plain", "dim"),)


def _servers(state: SourceState) -> list[Part]:
    if not state.servers:
        return []
    well = sum(one.phase not in ("lost", "failed") for one in state.servers)
    away = well < len(state.servers)
    text = f"{well}/{len(state.servers)} servers"
    return [Part(3 if away else 8, ((text, "warn" if away else "dim"),))]


def _nodes(state: SourceState) -> list[Part]:
    if state.nodes_connected is None:
        return []
    # Counted when last asked; the names are kept true since then.
    total = state.nodes_connected + (state.nodes_unavailable or 0)
    away = max(state.nodes_unavailable or 0, len(state.unavailable))
    if not away:
        return [Part(_LUXURY, ((plural(total, "node"), "dim"),))]
    return [Part(3, ((f"{max(total - away, 0)}/{total} nodes", "warn"),))]


def _asked(view: ViewState, trail: Sequence[str]) -> list[Part]:
    query = view.query
    listed = view.sorted.get(trail[-1]) if trail else None
    order = f"{query.order} reversed" if query.reverse else query.order
    parts = [
        Part(2, ((" PAUSED ", "badge"),) if view.paused else (), _SPACE),
        Part(_FILTER, ((" drops only ", "badge"),) if query.drops_only else (), _SPACE),
        Part(_FILTER, ((f" {window_words(query)} ", "badge"),) if query.window else (), _SPACE),
        Part(3, ((" noise ", "badge"),) if query.noise else (), _SPACE),
        Part(
            _FILTER,
            ((f" /{shorten(safe(query.text), 24)} ", "badge"),) if query.text else (),
            _SPACE,
        ),
        Part(6 if query.direction == "egress" else _FILTER, ((query.direction, "dim"),), _SPACE),
        Part(_LISTED if listed else 11, ((f"by {listed or order}", "dim"),), _SPACE),
    ]
    return [part for part in parts if part.line]
