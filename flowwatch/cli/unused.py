"""``flowwatch unused``: policies, rules, peers and ports that nothing in the evidence needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from flowwatch.cli.shared.chosen import Traffic
from flowwatch.cli.shared.policies import read_set
from flowwatch.cli.shared.reading import UNREADABLE, Reading, telling_apart
from flowwatch.cli.shared.style import style
from flowwatch.cli.shared.traffic import source_of
from flowwatch.cli.shared.whole import is_of_all
from flowwatch.errors import UsageError
from flowwatch.flows.model import BOTH
from flowwatch.hubble.client.config import seconds
from flowwatch.output import open_output, say
from flowwatch.report.unused import write_unused
from flowwatch.sources.request import flow_request

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.marks.unused import Evidence, UnusedReport
    from flowwatch.policy.engine import PolicySet

_NO_EVIDENCE = 3


def run(parsed: Parsed) -> int:
    """Look, print; 0, or 1 when something is unused for certain; 2 for bad input, 3 without evidence."""
    with telling_apart():
        return _look(parsed)


def _look(parsed: Parsed) -> int:
    from flowwatch.marks.unused import Finder

    if parsed.switch("follow"):
        raise UsageError("what is unused is told at the end", "leave out --follow")
    policies = read_set(parsed)
    recent = int(seconds(parsed.text("recent")) * 1e9)
    traffic = Traffic(parsed, BOTH)
    written = _written if parsed.switch("file-times") else None
    finder = Finder(policies, recent, written, traffic.join)
    if (evidence := _kept(parsed, policies)) is not None:
        return _told(parsed, finder.told(evidence))
    with source_of(parsed) as source:
        if source is None:
            return 0
        reading = Reading(source)
        report = finder.read(traffic.batches(reading))
        reading.nothing()
    code = _told(parsed, report)
    ended = reading.finish()
    if reading.failure is not None:
        return 1 if report.found else UNREADABLE
    return ended or code


def _kept(parsed: Parsed, policies: PolicySet) -> Evidence | None:
    """What was counted of the history while its attempts were made; None where records are to be read."""
    if parsed.was_set("demo") or parsed.switch("print-raw-filters"):
        return None
    wanted = flow_request(parsed)
    if not is_of_all(parsed, wanted, ("filter",)):
        return None
    from flowwatch.marks.keeping import ready

    found = ready(Path(wanted.history), policies)
    if found.why_not:
        say(found.why_not)
    if found.evidence is not None:
        for line in wanted.settings.warnings:
            say(line)
    return found.evidence


def _told(parsed: Parsed, report: UnusedReport) -> int:
    """Print the report; the exit code of what was read to its end."""
    form = parsed.text("output")
    with open_output(None, form) as out:
        write_unused(report, form, out, style=style(parsed))
    return _NO_EVIDENCE if report.blind else int(report.found)


def _written(path: str) -> int:
    """When a policy's file was written, nanoseconds since 1970; 0 for what is no file."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
