"""``flowwatch changes``: what a policy changed, before and after the moment it took effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.cli.shared.chosen import Traffic
from flowwatch.cli.shared.options import directions
from flowwatch.cli.shared.policies import in_force
from flowwatch.cli.shared.reading import UNREADABLE, Reading, telling_apart
from flowwatch.cli.shared.style import style
from flowwatch.cli.shared.traffic import source_of
from flowwatch.errors import UsageError
from flowwatch.hubble.filters.request import parse_time
from flowwatch.output import open_output
from flowwatch.report.changes import write_changes

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed


def run(parsed: Parsed) -> int:
    """Find the marks, compare, print; 0, or 1 when something was cut; 2 for bad input."""
    with telling_apart():
        return _compare(parsed)


def _compare(parsed: Parsed) -> int:
    from flowwatch.audits.judge import Judge
    from flowwatch.marks.changes import Changes

    form = parsed.text("output")
    if parsed.switch("follow"):
        raise UsageError("a comparison ends", "leave out --follow")
    marks = tuple(parse_time(text, "mark") for text in parsed.list("mark"))
    policies = in_force(parsed)
    judge = Judge(policies) if policies is not None else None
    ways = directions(parsed)
    traffic = Traffic(parsed, ways, judge)
    with source_of(parsed) as source:
        if source is None:
            return 0
        reading = Reading(source)
        changes = Changes(ways, marks, judge, traffic.join)
        report = changes.read(traffic.batches(reading))
        reading.nothing()
    with open_output(None, form) as out:
        write_changes(report, form, out, style=style(parsed))
    ended = reading.finish()
    if reading.failure is not None:
        return 1 if report.cut else UNREADABLE
    return ended or int(report.cut > 0)
