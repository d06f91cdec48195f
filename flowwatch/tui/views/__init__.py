"""The dashboard's views, a file each. A new one is a line here, and nothing else changes."""

from __future__ import annotations

from flowwatch.tui.view import View
from flowwatch.tui.views.audit import AUDIT
from flowwatch.tui.views.help import HELP
from flowwatch.tui.views.rows import ROWS
from flowwatch.tui.views.warnings import WARNINGS

VIEWS: tuple[View, ...] = (ROWS, WARNINGS, AUDIT, HELP)
"""The first is what is seen first. Each with its name, key, question, columns or lines, and help."""
