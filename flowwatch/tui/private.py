"""Names and addresses hidden and shown again, while the dashboard runs.

What is asked is another monitor then (flowwatch.egress.hidden), so that views see pseudonyms alone; here is
what else names somebody.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace as replace_query

from flowwatch.egress.folding import BY_WORKLOAD
from flowwatch.tui.desk import Desk
from flowwatch.tui.hubble_command import HUBBLE
from flowwatch.tui.question import NOW, When
from flowwatch.tui.state import FIRST_LIMIT, Options, ViewState

if TYPE_CHECKING:
    from flowwatch.drafts.drafting import Drafting


class Named(NamedTuple):
    """What a dashboard was started with that may name somebody."""

    options: Options
    with_policies: bool
    given_policies: tuple[tuple[str, str], ...]
    drafting: Drafting | None

    def hidden(self) -> Named:
        """The same as who hides names has it: policies and a draft are about real ones."""
        words = self.options.hidden_words
        options = replace(self.options, private=True, hubble=HUBBLE, saved=None, filter_words=words)
        return Named(options, False, (), None)


def begin_anew(chosen: ViewState, options: Options) -> None:
    """Choose nothing by a name that is called otherwise now. A pause goes on from now."""
    by = chosen.query.by
    chosen.filter_words = options.filter_words
    chosen.query = replace_query(
        chosen.query,
        text="",
        unfolded=frozenset(),
        limit=FIRST_LIMIT,
        by=BY_WORKLOAD if by.label else by,
    )
    chosen.when = When(at=time.time_ns()) if chosen.paused else NOW
    chosen.picked = chosen.row = ""
    chosen.record = 0
    chosen.saved = {}


def toggle(desk: Desk, on: bool | None = None) -> None:
    """Hide names, or show them again."""
    hidden = desk.options.private
    if desk.hidden_for_good:
        desk.say("names are hidden from the start (--private)", "warn")
    elif "draft" in desk.trail:
        desk.say("a draft names what it is about: leave it first", "warn")
    elif on is not hidden:
        desk.hide(not hidden)
        told = "names and addresses are pseudonyms now" if not hidden else "names are shown again"
        desk.say(told, seconds=3.0)
