"""The first line: where we read, how that goes, and what the rows are limited to."""

from __future__ import annotations

from collections.abc import Sequence

from flowwatch.flows.source import SourceState
from flowwatch.report.human import shorten
from flowwatch.text import plural, safe
from flowwatch.tui.format import Line, Piece, ends, fill, line_width
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.state import ViewState
from flowwatch.tui.theme import Signs

_GAP: Piece = ("  ", "text")

_PHASES = {
    "connecting": "connecting",
    "reading": "reading",
    "following": "live",
    "lost": "LOST",
    "ended": "complete",
    "failed": "FAILED",
}


class Title(Lines):
    """Name, server, state, filters at the left; what was asked for at the right."""

    DEFAULT_CSS = "Title { height: 1; }"

    def update_from(self, state: SourceState, chosen: ViewState, trail: Sequence[str]) -> None:
        self.show([title_line(state, chosen, self.size.width, self.look.signs, trail)])


def title_line(
    state: SourceState, view: ViewState, columns: int, signs: Signs, trail: Sequence[str] = ()
) -> Line:
    """The line for a terminal of so many columns; ``trail``: the views that were opened."""
    right = fill(_asked(view), (" ", "text"), columns * 2 // 3)
    room = columns - line_width(right) - 1
    name = f" {signs.to} ".join([view.title, *trail])
    parts: list[Line] = [((f" {name}", "strong"),)]
    if state.where:
        where = shorten(safe(state.where), max(room // 2, 12))
        parts.append(((where, "accent"), *_security(state, signs)))
    bad = state.phase in ("lost", "failed")
    parts.append(((_PHASES.get(state.phase, safe(state.phase)), "drop" if bad else "dim"),))
    if state.servers:
        well = sum(one.phase not in ("lost", "failed") for one in state.servers)
        role = "dim" if well == len(state.servers) else "warn"
        parts.append(((f"{well}/{len(state.servers)} servers", role),))
    parts.append(_nodes(state))
    if view.filter_words:
        parts.append(((safe(view.filter_words), "dim"),))
    return ends(fill(parts, _GAP, room), right, columns)


def _security(state: SourceState, signs: Signs) -> Line:
    if state.phase in ("reading", "ended") and not state.version and not state.encrypted:
        return ()
    return ((f" {signs.secure}" if state.encrypted else " plain", "dim"),)


def _nodes(state: SourceState) -> Line:
    if state.nodes_connected is None:
        return ()
    # Counted when last asked; the names are kept true since then.
    total = state.nodes_connected + (state.nodes_unavailable or 0)
    away = max(state.nodes_unavailable or 0, len(state.unavailable))
    if not away:
        return ((plural(total, "node"), "dim"),)
    return ((f"{max(total - away, 0)}/{total} nodes", "warn"),)


def _asked(view: ViewState) -> list[Line]:
    """Most important first, as narrow terminals show only some."""
    query = view.query
    parts: list[Line] = []
    if view.paused:
        parts.append(((" PAUSED ", "badge"),))
    if query.drops_only:
        parts.append(((" drops only ", "badge"),))
    if query.text:
        parts.append(((f" /{shorten(safe(query.text), 24)} ", "badge"),))
    parts.append(((query.direction, "dim"),))
    turned = " reversed" if query.reverse else ""
    parts.append(((f"by {query.order}{turned} ", "dim"),))
    return parts
