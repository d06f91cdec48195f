"""``flowwatch whatif``: what a draft would do to the traffic already seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.cli.shared.chosen import Traffic
from flowwatch.cli.shared.options import directions
from flowwatch.cli.shared.policies import agent_options, read_set
from flowwatch.cli.shared.reading import UNREADABLE, Reading, telling_apart
from flowwatch.cli.shared.style import style
from flowwatch.cli.shared.traffic import source_of
from flowwatch.errors import UsageError
from flowwatch.output import open_output
from flowwatch.report.whatif import write_whatif

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed


def run(parsed: Parsed) -> int:
    """Compare, print; 0, or 1 when more would be denied than ``--allow-denied``; 2 for bad input."""
    with telling_apart():
        return _compare(parsed)


def _compare(parsed: Parsed) -> int:
    from flowwatch.audits.whatif import WhatIf

    form = parsed.text("output")
    if parsed.switch("follow"):
        raise UsageError("a what-if ends", "leave out --follow")
    options = agent_options(parsed)
    draft = read_set(parsed, options=options)
    current = read_set(parsed, "current", options) if parsed.list("current") else None
    ways = directions(parsed)
    traffic = Traffic(parsed, ways)
    with source_of(parsed) as source:
        if source is None:
            return 0
        reading = Reading(source)
        report = WhatIf(draft, current, ways, traffic.join).read(traffic.batches(reading))
        reading.nothing()
    with open_output(None, form) as out:
        write_whatif(report, form, out, style=style(parsed))
    more = report.counts.get("newly denied", 0) > parsed.number("allow-denied")
    ended = reading.finish()
    if reading.failure is not None:
        return 1 if more else UNREADABLE
    return ended or int(more)
