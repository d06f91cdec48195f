"""The egress table, printed once: ``flowwatch summary``, and the demo without a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.cli.shared.causes import judge_of
from flowwatch.cli.shared.options import filter_text
from flowwatch.cli.shared.reading import Reading
from flowwatch.errors import UsageError

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.egress.folding import By
    from flowwatch.flows.source import Source


def print_table(parsed: Parsed, source: Source) -> int:
    """Aggregate ``source`` to its end and print it as ``-o`` says; the exit code."""
    text, by, judge = filter_text(parsed), _by(parsed), judge_of(parsed)
    if by is not None and parsed.switch("waiting"):
        raise UsageError("--waiting is by workload and destination", "leave out --by")
    reading = Reading(source)
    batches = reading.begun()
    # Loaded while a server makes ready what it was asked for.
    from flowwatch.cli.shared.rows import print_rows

    return print_rows(parsed, reading, batches, text=text, by=by, judge=judge)


def _by(parsed: Parsed) -> By | None:
    text = parsed.text("by") if "by" in parsed.flags else ""
    if not text:
        return None
    from flowwatch.egress.folding import read_by

    return read_by(text)
