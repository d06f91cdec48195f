"""``flowwatch unused``: policies, rules, peers and ports that nothing in the evidence needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flowwatch.cli.shared.chosen import Traffic
from flowwatch.cli.shared.policies import read_set
from flowwatch.cli.shared.reading import UNREADABLE, Reading, telling_apart
from flowwatch.cli.shared.style import style
from flowwatch.cli.shared.traffic import source_of
from flowwatch.errors import UsageError
from flowwatch.flows.model import BOTH
from flowwatch.hubble.client.config import seconds
from flowwatch.output import open_output
from flowwatch.report.unused import write_unused

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed

_NO_EVIDENCE = 3


def run(parsed: Parsed) -> int:
    """Look, print; 0, or 1 when something is unused for certain; 2 for bad input, 3 without evidence."""
    with telling_apart():
        return _look(parsed)


def _look(parsed: Parsed) -> int:
    from flowwatch.marks.unused import Finder

    form = parsed.text("output")
    if parsed.switch("follow"):
        raise UsageError("what is unused is told at the end", "leave out --follow")
    policies = read_set(parsed)
    recent = int(seconds(parsed.text("recent")) * 1e9)
    traffic = Traffic(parsed, BOTH)
    written = _written if parsed.switch("file-times") else None
    finder = Finder(policies, recent, written, traffic.join)
    with source_of(parsed) as source:
        if source is None:
            return 0
        reading = Reading(source)
        report = finder.read(traffic.batches(reading))
        reading.nothing()
    with open_output(None, form) as out:
        write_unused(report, form, out, style=style(parsed))
    ended = reading.finish()
    if reading.failure is not None:
        return 1 if report.found else UNREADABLE
    return ended or (_NO_EVIDENCE if report.blind else int(report.found))


def _written(path: str) -> int:
    """When a policy's file was written, nanoseconds since 1970; 0 for what is no file."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
