"""How a table may look on this standard output."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from flowwatch.output import columns, is_terminal, shows
from flowwatch.report.color import use_color
from flowwatch.report.summary_table import Style

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed

SIGNS = "→←✓✗⇒…"
"""What the encoding must have for tables that aren't ASCII."""


def style(parsed: Parsed) -> Style:
    """As wide as the terminal, in colours where ``--color`` and it allow them."""
    terminal = is_terminal()
    return Style(
        width=columns(),
        color=use_color(parsed.text("color"), terminal=terminal),
        bold=terminal and os.environ.get("TERM") != "dumb",
        ascii=not shows(SIGNS),
        now=time.time_ns() if terminal else 0,
    )
