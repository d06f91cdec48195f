"""The dashboard's views, a file each. A new one is a line here, and nothing else changes."""

from __future__ import annotations

from flowwatch.tui.parts.listing import ListView
from flowwatch.tui.view import View
from flowwatch.tui.views.audit import AUDIT
from flowwatch.tui.views.causes import CAUSES
from flowwatch.tui.views.changes import CHANGES
from flowwatch.tui.views.destinations import DESTINATIONS
from flowwatch.tui.views.draft import DRAFT
from flowwatch.tui.views.flows import FLOWS, RECORD
from flowwatch.tui.views.help import HELP
from flowwatch.tui.views.map import MAP
from flowwatch.tui.views.nodes import NODES
from flowwatch.tui.views.policies import POLICIES
from flowwatch.tui.views.rows import ROWS
from flowwatch.tui.views.waiting import WAITING
from flowwatch.tui.views.warnings import WARNINGS
from flowwatch.tui.views.workloads import WORKLOADS

VIEWS: tuple[View, ...] = (
    ROWS, WORKLOADS, DESTINATIONS, POLICIES, CAUSES, MAP, AUDIT, FLOWS, NODES, RECORD, CHANGES, WAITING,
    WARNINGS, DRAFT, HELP,
)  # fmt: skip
"""The first is what is seen first. Each with its name, key, question, columns or lines, and help."""

LISTS = {one.name: one.sorts for one in VIEWS if isinstance(one, ListView) and one.sorts}
"""What the headings of lists are called that put them in order."""
