"""``flowwatch gap``: what policies allow beside what was used, and the narrowest that keep it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flowwatch.cli.shared.chosen import Traffic
from flowwatch.cli.shared.options import directions
from flowwatch.cli.shared.policies import read_set
from flowwatch.cli.shared.reading import UNREADABLE, Reading, telling_apart
from flowwatch.cli.shared.style import style
from flowwatch.cli.shared.traffic import source_of
from flowwatch.errors import UsageError
from flowwatch.output import open_output, say
from flowwatch.report.gap import write_gaps
from flowwatch.text import plural

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.drafts.draft import Draft

NOTHING = 3
"""Exit code when there is no evidence of what is used."""


def run(parsed: Parsed) -> int:
    """Compare, print; 0, or 1 when more is allowed than was used, 3 without evidence, 2 for bad input."""
    with telling_apart():
        return _gap(parsed)


def _gap(parsed: Parsed) -> int:
    from flowwatch.drafts.draft import Drafter
    from flowwatch.drafts.gap import gaps

    form, drop_in = parsed.text("output"), parsed.text("drop-in")
    if parsed.switch("follow"):
        raise UsageError("a gap is told at the end", "leave out --follow")
    if drop_in == "-":
        raise UsageError(
            "the answer goes to standard output", "name a file or folder for --drop-in"
        )
    policies = read_set(parsed)
    ways = directions(parsed)
    traffic = Traffic(parsed, ways)
    drafter = Drafter(directions=ways, options=policies.options, join=traffic.join)
    with source_of(parsed) as source:
        if source is None:
            return 0
        reading = Reading(source)
        draft = drafter.read(traffic.batches(reading))
        reading.nothing()
    report = gaps(draft, policies)
    with open_output(None, form) as out:
        write_gaps(report, form, out, style=style(parsed))
    if drop_in and draft.documents:
        _write(draft, drop_in)
    ended = reading.finish()
    if reading.failure is not None:
        return 1 if report.wide else UNREADABLE
    return ended or (int(bool(report.wide)) if report.gaps else NOTHING)


def _write(draft: Draft, path: str) -> None:
    """The drop-ins, into a file, or a file each into a folder."""
    if path.endswith("/") or os.path.isdir(path):
        os.makedirs(path, exist_ok=True)
        for one in draft.documents:
            with open_output(os.path.join(path, one.file), "yaml") as out:
                out.write(one.text)
    else:
        with open_output(path, "yaml") as out:
            out.write(draft.text)
    count = plural(len(draft.documents), "policy", "policies")
    say(f"{count} written, to replace those that select the same pods")
