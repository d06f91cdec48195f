"""The egress table, printed once: ``flowwatch summary``, and the demo without a terminal."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from flowwatch.cli.shared.causes import judge_of, row_causes
from flowwatch.cli.shared.options import direction, filter_text, max_rows
from flowwatch.cli.shared.reading import Reading
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.ends import RowEnds
from flowwatch.egress.folding import PLAIN, fold, read_by
from flowwatch.egress.matching import asks_for
from flowwatch.egress.query import Query
from flowwatch.egress.view import labels_of, snapshot
from flowwatch.flows.join import Join
from flowwatch.output import columns, is_terminal, open_output, say, shows
from flowwatch.report.color import use_color
from flowwatch.report.coverage import warning_lines
from flowwatch.report.summary import write_summary
from flowwatch.report.summary_table import Style

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.source import Source

SIGNS = "→←✓✗⇒…"
"""What the encoding must have for tables that aren't ASCII."""


def print_table(parsed: Parsed, source: Source) -> int:
    """Aggregate ``source`` to its end and print it as ``-o`` says; the exit code."""
    form = parsed.text("output")
    # A table is read by people; what programs read leaves nothing out.
    read = form in ("table", "markdown")
    text = filter_text(parsed)
    query = Query(direction=direction(parsed), noise=parsed.switch("noise") or not read, text=text)
    by = read_by(parsed.text("by")) if "by" in parsed.flags and parsed.text("by") else PLAIN
    judge, join = judge_of(parsed), Join()
    causes = row_causes(judge, join)
    aggregate = Aggregate(max_rows(parsed), keep_recent=False, join=join, teller=causes)
    if by.label or asks_for(text, "label"):
        aggregate.ends = RowEnds()
    reading = Reading(source)
    for batch in reading.batches():
        aggregate.join.add(batch)
    reading.nothing()
    aggregate.learn()
    taken = snapshot(aggregate, query)
    if by != PLAIN:
        rows = tuple(fold(taken.rows, by, labels_of(aggregate)))
        taken = replace(taken, rows=rows, matched=len(rows))
    with open_output(None, parsed.text("output")) as out:
        write_summary(taken, form, out, style=style(parsed), attributed=judge is not None)
    if form not in ("json", "markdown"):  # which have them
        for line in warning_lines(taken.coverage):
            say(line)
    return reading.finish()


def style(parsed: Parsed) -> Style:
    """How a table may look on this standard output."""
    terminal = is_terminal()
    return Style(
        width=columns(),
        color=use_color(parsed.text("color"), terminal=terminal),
        bold=terminal and os.environ.get("TERM") != "dumb",
        ascii=not shows(SIGNS),
        now=time.time_ns() if terminal else 0,
    )
