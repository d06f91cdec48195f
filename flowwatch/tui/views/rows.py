"""The table of rows: what is seen first."""

from __future__ import annotations

from flowwatch.tui.parts.board import TableView
from flowwatch.tui.parts.columns import COLUMNS
from flowwatch.tui.parts.detail import Detail
from flowwatch.tui.parts.headline import Headline
from flowwatch.tui.parts.table import Table
from flowwatch.tui.parts.tail import Tail
from flowwatch.tui.parts.timeline import TimelineView

ROWS = TableView(
    name="rows",
    words="the table: a row per workload and destination, and its pods",
    number=1,
    tab="Edges",
    tab_short="Edges",
    alias=("edges",),
    columns=COLUMNS,
    headings={column.title: column.words for column in COLUMNS},
    help=tuple(
        " ".join(part.ABOUT) for part in (Headline, TimelineView, Table, Detail, Tail) if part.ABOUT
    ),
)
