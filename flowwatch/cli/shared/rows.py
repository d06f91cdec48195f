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
from flowwatch.egress.folding import PLAIN, By, Labels, fold, read_by
from flowwatch.egress.query import Query
from flowwatch.egress.view import labels_of, snapshot
from flowwatch.flows.join import Join
from flowwatch.output import open_output, say
from flowwatch.report.coverage import warning_lines
from flowwatch.report.summary import write_summary

if TYPE_CHECKING:
    from pathlib import Path

    from flowwatch.audits.judge import Judge
    from flowwatch.cli.flags import Parsed
    from flowwatch.cli.shared.reading import Reading
    from flowwatch.egress.rows import Snapshot
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
        taken = _folded(taken, by, labels_of(aggregate))
    _print(parsed, taken, attributed=judge is not None)
    return reading.finish()


def print_kept(parsed: Parsed, folder: Path) -> bool:
    """Print what was counted of the history in ``folder`` while its attempts were made.

    False, and nothing is printed, where that isn't what its records say: they are to be read.
    """
    from flowwatch.history.attempts.summaries import ready

    read = parsed.text("output") in ("table", "markdown")
    query = Query(direction=direction(parsed), noise=parsed.switch("noise") or not read)
    found = ready(folder, query)
    if found.why_not:
        say(found.why_not)
    if found.taken is None:
        return False
    by = read_by(parsed.text("by")) if parsed.text("by") else PLAIN
    _print(parsed, _folded(found.taken, by) if by != PLAIN else found.taken, attributed=False)
    return True


def _folded(taken: Snapshot, by: By, labels: Labels = lambda _: ()) -> Snapshot:
    rows = tuple(fold(taken.rows, by, labels))
    return replace(taken, rows=rows, matched=len(rows))


def _print(parsed: Parsed, taken: Snapshot, *, attributed: bool) -> None:
    form = parsed.text("output")
    with open_output(None, form) as out:
        if parsed.switch("waiting"):
            from flowwatch.report.waiting import waiting_now, write_waiting

            write_waiting(waiting_now(taken), form, out, attributed=attributed)
        else:
            write_summary(taken, form, out, style=style(parsed), attributed=attributed)
    if form not in ("json", "markdown"):  # which have them
        for line in warning_lines(taken.coverage):
            say(line)


def _asks_for_labels(text: str) -> bool:
    if not text:
        return False
    from flowwatch.egress.matching import asks_for

    return asks_for(text, "label")
