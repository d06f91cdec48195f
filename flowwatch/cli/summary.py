"""``flowwatch summary``: the egress table once."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

from flowwatch.cli.reading import Reading, say
from flowwatch.cli.sources import asked, open_source
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import DIRECTIONS, Query
from flowwatch.egress.view import snapshot
from flowwatch.errors import UsageError
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.report.files import open_output
from flowwatch.report.observe import use_color
from flowwatch.report.summary import SUMMARY_FORMATS, warning_lines, write_summary
from flowwatch.report.summary_table import Style
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.source import Source

MIN_ROWS = 4


def run(parsed: Parsed) -> int:
    """Read what is there, print the table, and on standard error what it doesn't hold."""
    wanted = asked(parsed)
    if parsed.switch("print-raw-filters"):
        print(raw_filters(wanted.filters), end="")
        return 0
    if wanted.window.follow:
        raise UsageError("a summary ends", "use flowwatch (the dashboard) to follow")
    for line in wanted.settings.warnings:
        say(line)
    return show(parsed, open_source(wanted))


def direction(parsed: Parsed) -> str:
    """``--direction``, checked."""
    text = parsed.text("direction").lower()
    if text not in DIRECTIONS:
        raise UsageError(f"invalid direction: {safe(text)}", "egress, ingress or both")
    return text


def max_rows(parsed: Parsed) -> int:
    """``--max-rows``, checked."""
    number = parsed.number("max-rows")
    if number < MIN_ROWS:
        raise UsageError(f"--max-rows {number} is too few", f"{MIN_ROWS} at least")
    return number


def show(parsed: Parsed, source: Source) -> int:
    """Aggregate ``source`` to its end and print it as ``-o`` says."""
    form = parsed.output(SUMMARY_FORMATS)
    query = Query(direction=direction(parsed))
    aggregate = Aggregate(max_rows(parsed), keep_recent=False)
    reading = Reading(source)
    for batch in reading.batches():
        aggregate.add(batch)
    reading.nothing()
    taken = snapshot(aggregate, query)
    with open_output(None) as out:
        write_summary(taken, form, out, style=style(parsed))
    if form != "json":
        for line in warning_lines(taken):
            say(line)
    return reading.finish()


def style(parsed: Parsed) -> Style:
    """How the table may look on this standard output."""
    terminal = sys.stdout.isatty()
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return Style(
        width=shutil.get_terminal_size().columns if terminal else 0,
        color=use_color(parsed.text("color"), sys.stdout),
        bold=terminal and os.environ.get("TERM") != "dumb",
        ascii=encoding not in ("utf8", "utf16", "utf32"),
        now=time.time_ns() if terminal else 0,
    )
