"""What the person at the keyboard has chosen: all that the screen shows besides the data."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowwatch.egress.query import Query

FIRST_LIMIT = 120
"""Rows asked for at first: a snapshot costs by the row, and a screen shows few."""

LAST_LIMIT = 7_680
"""Rows that scrolling can reach; past it a filter finds the rest."""


@dataclass(slots=True)
class ViewState:
    """Changed by the app alone; widgets read it."""

    title: str
    filter_words: str = ""
    """The filters of the command line, as words."""
    query: Query = field(default_factory=lambda: Query(limit=FIRST_LIMIT))
    paused: bool = False
    detail: bool | None = None
    """Whether the detail is open; None: if it has room."""
    tail: bool = False
    whole_timeline: bool = False
    mouse: bool = True
