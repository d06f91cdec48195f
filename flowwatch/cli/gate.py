"""``flowwatch gate``: for pipelines, whether traffic stays within what is allowed."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowwatch.cli.shared.baseline import baseline
from flowwatch.cli.shared.options import direction, filter_text
from flowwatch.cli.shared.reading import UNREADABLE, Reading, telling_apart
from flowwatch.cli.shared.traffic import demo_traffic
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.chosen import saying_filter
from flowwatch.egress.ends import RowEnds
from flowwatch.egress.gate import judge
from flowwatch.egress.matching import asks_for
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.errors import UsageError
from flowwatch.hubble.client.config import seconds
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.output import open_output, put, say
from flowwatch.report.coverage import warning_lines
from flowwatch.report.gate import write_gate
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import flow_request

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.egress.rows import Snapshot
    from flowwatch.flows.model import Batch
    from flowwatch.flows.source import Source

NO_EVIDENCE = 3
"""As of ``audit --strict``: nothing was seen, so nothing is known."""


def run(parsed: Parsed) -> int:
    """0 where all rules are kept, 1 where one is broken, 2 for bad input, 3 where nothing was seen."""
    with telling_apart():
        return _gate(parsed)


def _gate(parsed: Parsed) -> int:
    most = _number(parsed, "max-dropped")
    new = _number(parsed, "max-new-destinations")
    if most is None and new is None:
        raise UsageError(
            "nothing says what is too much", "--max-dropped N, --max-new-destinations N"
        )
    if (new is None) != (not parsed.text("baseline")):
        raise UsageError(
            "what is new is told by a baseline",
            "give both --max-new-destinations N and --baseline DIR",
        )
    text, lasts = filter_text(parsed), parsed.text("for")
    if parsed.switch("follow") and not lasts:
        raise UsageError("a gate ends", "--for 5m says when")
    if lasts and (parsed.list("input-file") or parsed.text("history") or parsed.was_set("demo")):
        raise UsageError(
            "--for looks at a server as flows come", "leave it out: the rest has an end"
        )
    if parsed.switch("print-raw-filters"):
        put(raw_filters(flow_request(parsed).filters), "json")
        return 0
    before = _rows(parsed, baseline(parsed)) if new is not None else None
    if parsed.was_set("demo"):
        with demo_traffic(parsed.text("demo") or "all", parsed) as source:
            return _answer(parsed, source, text, most, new, before)
    wanted = flow_request(parsed, follow=bool(lasts) or None, several=True)
    for line in wanted.settings.warnings:
        say(line)
    source = open_source(wanted)
    if lasts:
        timer = threading.Timer(seconds(lasts), source.close)
        timer.daemon = True
        timer.start()
    return _answer(parsed, source, text, most, new, before)


def _answer(
    parsed: Parsed,
    source: Source,
    text: str,
    most: int | None,
    new: int | None,
    before: Snapshot | None,
) -> int:
    """``text`` is a filter: destinations are new that it finds, whatever was known of them before."""
    reading = Reading(source)
    seen = _rows(parsed, reading.batches(), text)
    reading.nothing()
    found = judge(seen, max_dropped=most, max_new=new, baseline=before)
    form = parsed.text("output")
    with open_output(None, form) as out:
        write_gate(found, form, out)
    if form == "text":
        for line in warning_lines(found.coverage):
            say(line)
    ended = reading.finish()
    if reading.failure is not None:
        return 1 if found.broken else UNREADABLE
    if ended or found.broken:
        return ended or 1
    if not found.attempts:
        say("no attempt was seen: that nothing is broken proves nothing")
        return NO_EVIDENCE
    return 0


def _number(parsed: Parsed, flag: str) -> int | None:
    return parsed.number(flag) if parsed.was_set(flag) else None


def _rows(parsed: Parsed, batches: Iterable[Batch], text: str = "") -> Snapshot:
    """The rows that the filter ``text`` finds."""
    aggregate = Aggregate(keep_recent=False)
    if asks_for(text, "label"):
        aggregate.ends = RowEnds()
    for batch in batches:
        aggregate.join.add(batch)
    aggregate.learn()
    taken = snapshot(aggregate, Query(direction=direction(parsed), text=text))
    return saying_filter(taken, text)
