"""``flowwatch export``: blocked attempts, one line each, for spreadsheets and scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from flowwatch.cli.shared.causes import asks_for_policies, judge_of, row_causes
from flowwatch.cli.shared.options import direction, directions, filter_text, max_rows
from flowwatch.cli.shared.reading import Reading
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.chosen import saying_filter, told_chosen
from flowwatch.egress.ends import RowEnds
from flowwatch.egress.matching import asks_for, matcher
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.errors import UsageError
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.counting import Tally
from flowwatch.flows.coverage import Coverage, other_way_words, otherwise_words
from flowwatch.flows.join import Join
from flowwatch.flows.known import changed
from flowwatch.flows.listing import AttemptListing
from flowwatch.flows.meaning import OUTCOMES
from flowwatch.flows.model import DIRECTION_WORDS, Flow, Verdict
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.output import Output, is_terminal, open_output, put, say
from flowwatch.report.export import write_attempts, write_records, write_rows
from flowwatch.report.sidefile import note_beside
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import flow_request
from flowwatch.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowwatch.audits.judge import Judge
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.attempt import Attempt
    from flowwatch.flows.listing import Teller

# Verdicts of the records that --raw writes for an outcome.
_VERDICTS = {
    "dropped": Verdict.DROPPED,
    "audited": Verdict.AUDIT,
    "forwarded": Verdict.FORWARDED,
    "error": Verdict.ERROR,
    "unknown": Verdict.REDIRECTED,
}


def run(parsed: Parsed) -> int:
    """Write the lines to ``--output`` (whole or not at all) or standard output."""
    form = parsed.text("format").lower()
    if parsed.switch("raw") and parsed.switch("grouped"):
        raise UsageError("cannot set both --raw and --grouped")
    if asks_for_policies(parsed) and parsed.switch("raw"):
        raise UsageError("--policies tells of attempts and rows", "leave out --raw")
    text = filter_text(parsed)
    if text and parsed.switch("raw"):
        raise UsageError("--filter asks of attempts and rows", "leave out --raw")
    if asks_for(text, "label") and not parsed.switch("grouped"):
        raise UsageError(
            "attempts have no labels", "--label asks the server for them, or --grouped"
        )
    outcomes = _outcomes(parsed)
    wanted = flow_request(parsed, several=True)
    if parsed.switch("print-raw-filters"):
        put(raw_filters(wanted.filters), "json")
        return 0
    if wanted.window.follow:
        raise UsageError("an export ends", "leave out --follow")
    path = parsed.text("output") or None
    if form == "parquet" and path in (None, "-") and is_terminal():
        # Its bytes hold names as they are: a terminal would obey them.
        raise UsageError("a terminal can't show parquet", "give --output FILE, or pipe it")
    for line in wanted.settings.warnings:
        say(line)
    judge = judge_of(parsed)
    export = _Export(parsed, Reading(open_source(wanted)), form, outcomes, judge)
    with open_output(path, form) as out:
        count = export.write(out)
        if export.reading.partial and path not in (None, "-"):
            # What was read is worth having, but not under the name of the whole.
            out.keep_as_partial()
            say(f"what was read is in {safe(out.name)}")
    for line in export.coverage.warnings:
        say(line)
    if path is not None and path != "-":
        _note(export, path, count)
    if path is not None and path != "-" and not export.reading.partial:
        say(f"{count:,} {export.what} written to {safe(path)}")
    return export.reading.finish()


def _note(export: _Export, path: str, lines: int) -> None:
    """Say in a file beside the table what it lacks."""
    reading = export.reading
    if reading.partial and not path.endswith(".partial"):
        path += ".partial"
    partial = f"{reading.stopped.word}: this is partial" if reading.stopped is not None else ""
    if reading.failure is not None:
        partial = f"{reading.failure}: this is partial"
    if beside := note_beside(path, export.coverage, lines=lines, partial=partial):
        say(f"what is missing is told in {safe(beside)}")


def _outcomes(parsed: Parsed) -> frozenset[str]:
    chosen = {name.lower() for name in parsed.list("outcome")}
    if parsed.switch("drops") and chosen - {"dropped"}:
        raise UsageError("cannot set both --drops and --outcome")
    if "all" in chosen:
        return frozenset(OUTCOMES)
    return frozenset(chosen or {"dropped"})


class _Asked:
    """The attempts of a listing that a filter finds; all without one."""

    def __init__(self, listing: AttemptListing, text: str) -> None:
        self._listing, self._text = listing, text
        self._found = self._every = 0

    def __iter__(self) -> Iterator[Attempt]:
        if not self._text:
            yield from self._listing
            return
        meant = matcher(self._text)
        for attempt in self._listing:
            self._every += 1
            if meant(attempt):
                self._found += 1
                yield attempt

    def told(self, seen: Coverage) -> Coverage:
        """``seen``, and what was chosen of it."""
        if not self._text:
            return seen
        return told_chosen(seen, self._text, attempt=(self._found, self._every))


class _Export:
    """One of the three shapes of the export."""

    def __init__(
        self,
        parsed: Parsed,
        reading: Reading,
        form: str,
        outcomes: frozenset[str],
        judge: Judge | None,
    ) -> None:
        self.reading = reading
        self._judge = judge
        self.what = "attempts"
        self.coverage = Coverage()
        self._form = form
        self._outcomes = outcomes
        self._directions = directions(parsed)
        self._query = Query(direction=direction(parsed), text=filter_text(parsed))
        self._raw = parsed.switch("raw")
        self._grouped = parsed.switch("grouped")
        self._max_rows = max_rows(parsed)
        self._spelt = parsed.switch("drops")

    def write(self, out: Output) -> int:
        """Write everything; returns the number of lines. ``reading`` knows how it ended."""
        if self._raw:
            return self._records(out)
        if self._grouped:
            return self._rows(out)
        attributed = self._judge is not None
        listing = AttemptListing(
            self.reading.batches(), self._directions, self._outcomes, self._teller()
        )
        asked = _Asked(listing, self._query.text)
        count = write_attempts(asked, out, self._form, attributed=attributed)
        coverage = asked.told(listing.tally.coverage())
        other = other_way_words(self._query.direction, count, listing.elsewhere)
        # Who spells the default out knows that it leaves the others out.
        others = () if self._spelt else otherwise_words(self._outcomes, count, listing.otherwise)
        self._end(replace(coverage, warnings=(*coverage.warnings, *other, *others)))
        return count

    def _teller(self) -> Teller | None:
        """Who tells what blocked an attempt, where policies were given."""
        if self._judge is None:
            return None
        from flowwatch.audits.attribution import Attributor

        return Attributor(self._judge)

    def _rows(self, out: Output) -> int:
        self.what = "rows"
        join = Join()
        causes = row_causes(self._judge, join)
        aggregate = Aggregate(self._max_rows, keep_recent=False, join=join, teller=causes)
        if asks_for(self._query.text, "label"):
            aggregate.ends = RowEnds()
        for batch in self.reading.batches():
            aggregate.join.add(batch)
        aggregate.learn()
        taken = saying_filter(snapshot(aggregate, self._query), self._query.text)
        columns = {"error": "errors"}
        rows = [
            row
            for row in taken.rows
            if any(getattr(row, columns.get(outcome, outcome)) for outcome in self._outcomes)
        ]
        count = write_rows(rows, out, self._form, attributed=causes is not None)
        self._end(taken.coverage)
        return count

    def _records(self, out: Output) -> int:
        self.what = "records"
        tally = Tally()
        count = write_records(self._flows(tally), out, self._form)
        self._end(tally.coverage())
        return count

    def _flows(self, tally: Tally) -> Iterator[Flow]:
        verdicts = {int(_VERDICTS[outcome]) for outcome in self._outcomes}
        every = len(verdicts) == len(_VERDICTS)
        joins: dict[str, Attempts] = {}
        for batch in self.reading.batches():
            tally.add(batch)
            # Joined only to learn how far nodes' clocks are apart.
            join = joins.setdefault(batch.origin, Attempts())
            tally.clocks[batch.origin] = join.clocks
            for flow in batch.flows:
                join.observe(flow)
                way = DIRECTION_WORDS.get(flow.direction)
                if batch.origin:
                    # Two clusters may call a node alike.
                    flow.kind = changed(flow.kind, node=f"{flow.node} ({batch.origin})")
                # A record that doesn't say its direction is left to the reader.
                if (every or flow.verdict in verdicts) and (way is None or way in self._directions):
                    yield flow

    def _end(self, coverage: Coverage) -> None:
        self.coverage = coverage
        self.reading.nothing()
