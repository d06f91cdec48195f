"""What :mod:`flowwatch.cli.shared.table` reads, as rows, and printed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from flowwatch.cli.shared.causes import row_causes
from flowwatch.cli.shared.options import direction, max_rows
from flowwatch.cli.shared.style import style
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.ends import RowEnds
from flowwatch.egress.folding import PLAIN, By, fold
from flowwatch.egress.query import Query
from flowwatch.egress.view import labels_of, snapshot
from flowwatch.flows.join import Join
from flowwatch.output import open_output, say
from flowwatch.report.coverage import warning_lines
from flowwatch.report.summary import write_summary

if TYPE_CHECKING:
    from flowwatch.audits.judge import Judge
    from flowwatch.cli.flags import Parsed
    from flowwatch.cli.shared.reading import Reading
    from flowwatch.flows.model import Batch


def print_rows(
    parsed: Parsed,
    reading: Reading,
    batches: Iterable[Batch],
    *,
    text: str,
    by: By | None,
    judge: Judge | None,
) -> int:
    """Aggregate ``batches``, which are those of ``reading``, and print them; the exit code.

    ``text`` is a filter, ``by`` what rows are folded by, ``judge`` who judges by the policies in force.
    """
    form = parsed.text("output")
    # A table is read by people; what programs read leaves nothing out.
    read = form in ("table", "markdown")
    query = Query(direction=direction(parsed), noise=parsed.switch("noise") or not read, text=text)
    by, join = by or PLAIN, Join()
    causes = row_causes(judge, join)
    aggregate = Aggregate(max_rows(parsed), keep_recent=False, join=join, teller=causes)
    if by.label or _asks_for_labels(text):
        aggregate.ends = RowEnds()
    for batch in batches:
        aggregate.join.add(batch)
    reading.nothing()
    aggregate.learn()
    taken = snapshot(aggregate, query)
    if text:
        from flowwatch.egress.chosen import saying_filter

        taken = saying_filter(taken, text)
    if by != PLAIN:
        rows = tuple(fold(taken.rows, by, labels_of(aggregate)))
        taken = replace(taken, rows=rows, matched=len(rows))
    with open_output(None, form) as out:
        if parsed.switch("waiting"):
            from flowwatch.report.waiting import waiting_now, write_waiting

            write_waiting(waiting_now(taken), form, out, attributed=judge is not None)
        else:
            write_summary(taken, form, out, style=style(parsed), attributed=judge is not None)
    if form not in ("json", "markdown"):  # which have them
        for line in warning_lines(taken.coverage):
            say(line)
    return reading.finish()


def _asks_for_labels(text: str) -> bool:
    if not text:
        return False
    from flowwatch.egress.matching import asks_for

    return asks_for(text, "label")
