"""The banner: the server is lost, or reading failed. What is on the screen stays."""

from __future__ import annotations

from flowwatch.flows.source import SourceState
from flowwatch.report.human import span
from flowwatch.text import safe
from flowwatch.tui.format import SECOND, Line, clock, ends
from flowwatch.tui.widgets.lines import Lines


class Banner(Lines):
    """One line, shown only while something is wrong."""

    DEFAULT_CSS = "Banner { height: 1; display: none; }"

    def update_from(self, state: SourceState, now: float) -> None:
        self.show([banner_line(state, now, self.size.width)])


def needed(state: SourceState) -> bool:
    """Whether there is something to say."""
    return state.phase in ("lost", "failed")


def banner_line(state: SourceState, now: float, columns: int) -> Line:
    """Cause at the left, since when and the next try at the right; the cause is cut first."""
    why = safe(state.message) or "no reason given"
    where = safe(state.where)
    if state.phase == "failed":
        left, right = f" Reading {where} failed: {why}", "the rows stay "
    else:
        since = f"since {clock(int(state.since * SECOND))} UTC ({span(int(now - state.since))})"
        tries = f"retry in {state.retry_in:.0f}s " if state.retry_in >= 0.5 else "retrying now "
        left = f" Lost {where}: {why}"
        right = f"{since}, {tries}" if columns >= 76 else tries
    return ends(((left, "banner"),), ((right, "banner"),), columns, "banner")
