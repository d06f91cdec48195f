"""The banner: the server is lost, or reading failed. What is on the screen stays."""

from __future__ import annotations

from textual import events
from textual.message import Message

from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.source import SourceState
from flowwatch.report.human import span, width
from flowwatch.text import safe
from flowwatch.tui.format import SECOND, Line, ends
from flowwatch.tui.named import NAMES, KeyNames
from flowwatch.tui.parts.lines import Lines


class Banner(Lines):
    """One line, shown only while something is wrong."""

    DEFAULT_CSS = "Banner { height: 1; display: none; }"

    class Clicked(Message):
        """It was clicked: what it warns of is asked for."""

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Clicked())

    def update_from(self, state: SourceState, now: float) -> None:
        self.show([banner_line(state, now, self.size.width, self.look.keys)])


def needed(state: SourceState) -> bool:
    """Whether there is something to say."""
    return state.phase in ("lost", "failed") or any(map(needed, state.servers))


def banner_line(state: SourceState, now: float, columns: int, keys: KeyNames = NAMES) -> Line:
    """Cause at the left, the next try at the right, and since when if there is room for it."""
    if state.servers and state.phase not in ("lost", "failed"):
        # The others go on: the banner is about the first that doesn't.
        state = next(one for one in state.servers if needed(one))
    why = safe(state.message) or "no reason given"
    where = safe(state.where)
    # Most causes name the place themselves.
    named = bool(where) and where in why
    if state.phase == "failed":
        left = f" Failed: {why}" if named else f" Reading {where} failed: {why}"
        rights = ["the rows stay ", ""]
    else:
        since = (
            f"since {time_of_day(int(state.since * SECOND))} UTC ({span(int(now - state.since))})"
        )
        tries = f"retry in {state.retry_in:.0f}s " if state.retry_in >= 0.5 else "retrying now "
        lost = "Lost" if state.had else "Not connected yet"
        to = "" if state.had else "to "
        left = f" {lost}: {why}" if named else f" {lost} {to}{where}: {why}"
        now_too = f"{tries.rstrip()}, {keys['retry']}: now "
        rights = [f"{since}, {now_too}", now_too, tries]
    fitting = [text for text in rights if width(left) + 1 + width(text) <= columns]
    right = fitting[0] if fitting else rights[-1]
    return ends(((left, "banner"),), ((right, "banner"),), columns, "banner")
