"""``flowwatch audit``: does the policy block as expected, and only that?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowwatch.api.auditing import auditor
from flowwatch.cli.audit_follow import News
from flowwatch.cli.shared.chosen import Traffic
from flowwatch.cli.shared.options import filter_words
from flowwatch.cli.shared.policies import read_set
from flowwatch.cli.shared.reading import UNREADABLE, Reading, telling_apart
from flowwatch.cli.shared.style import style
from flowwatch.cli.shared.traffic import source_of
from flowwatch.flows.model import BOTH
from flowwatch.hubble.client.config import seconds
from flowwatch.output import open_output
from flowwatch.report.audit import write_audit

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.source import Source


def run(parsed: Parsed) -> int:
    """Judge the traffic by the policies; 0 as expected, 1 findings, 2 input, 3 evidence (strict)."""
    with telling_apart():
        return _audit(parsed)


def _audit(parsed: Parsed) -> int:
    form = parsed.text("output")
    policies = read_set(parsed)
    traffic = Traffic(parsed, BOTH)
    audit = auditor(
        policies,
        applied_at=parsed.text("applied-at"),
        expect=parsed.text("expect"),
        join=traffic.join,
    )
    with source_of(parsed) as source:
        if source is None:
            return 0
        where = "the demo" if parsed.was_set("demo") else source.state().where
        audit.source = f"{where} {filter_words(parsed)}".strip()
        reading = Reading(source)
        follows = parsed.switch("follow") and not parsed.was_set("demo")
        news = News(audit) if follows else None
        with _ended_after(parsed, source):
            for batch in traffic.batches(reading):
                audit.join.add(batch)
                if news is not None:
                    news.look()
        reading.nothing()
    report = audit.finish()
    with open_output(None, form) as out:
        write_audit(report, form, out, style=style(parsed))
    if parsed.switch("follow") and reading.stopped is not None and reading.stopped.by_hand:
        # Ctrl-C is how a follow ends.
        reading.stopped = None
    ended = reading.finish()
    if reading.failure is not None:
        return 1 if report.failed else UNREADABLE
    return ended or report.exit_code(strict=parsed.switch("strict"))


@contextmanager
def _ended_after(parsed: Parsed, source: Source) -> Iterator[None]:
    """Close a followed source when ``--for`` is over."""
    text = parsed.text("for")
    if not text:
        yield
        return
    timer = threading.Timer(seconds(text), source.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
