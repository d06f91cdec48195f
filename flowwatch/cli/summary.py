"""``flowwatch summary``: the egress table once."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from flowwatch.cli.reading import Reading
from flowwatch.cli.sources import asked, open_source
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.errors import UsageError
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.output import columns, is_terminal, open_output, put, say, shows
from flowwatch.report.observe import use_color
from flowwatch.report.summary import warning_lines, write_summary
from flowwatch.report.summary_table import Style

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.source import Source

SIGNS = "→←✓✗⇒…"
"""What the encoding must have for tables that aren't ASCII."""


def run(parsed: Parsed) -> int:
    """Read what is there, print the table, and on standard error what it doesn't hold."""
    wanted = asked(parsed)
    if parsed.switch("print-raw-filters"):
        put(raw_filters(wanted.filters), "json")
        return 0
    if wanted.window.follow:
        raise UsageError("a summary ends", "use flowwatch (the dashboard) to follow")
    for line in wanted.settings.warnings:
        say(line)
    return show(parsed, open_source(wanted))


def direction(parsed: Parsed) -> str:
    """``--direction``."""
    return parsed.text("direction").lower()


def max_rows(parsed: Parsed) -> int:
    """``--max-rows``."""
    return parsed.number("max-rows")


def show(parsed: Parsed, source: Source) -> int:
    """Aggregate ``source`` to its end and print it as ``-o`` says."""
    form = parsed.text("output")
    query = Query(direction=direction(parsed))
    aggregate = Aggregate(max_rows(parsed), keep_recent=False)
    reading = Reading(source)
    for batch in reading.batches():
        aggregate.join.add(batch)
    reading.nothing()
    taken = snapshot(aggregate, query)
    with open_output(None, parsed.text("output")) as out:
        write_summary(taken, form, out, style=style(parsed))
    if form != "json":
        for line in warning_lines(taken):
            say(line)
    return reading.finish()


def style(parsed: Parsed) -> Style:
    """How the table may look on this standard output."""
    terminal = is_terminal()
    return Style(
        width=columns(),
        color=use_color(parsed.text("color"), terminal=terminal),
        bold=terminal and os.environ.get("TERM") != "dumb",
        ascii=not shows(SIGNS),
        now=time.time_ns() if terminal else 0,
    )
