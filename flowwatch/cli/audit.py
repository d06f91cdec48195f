"""``flowwatch audit``: does the policy block as expected, and only that?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowwatch.cli.audit_follow import News
from flowwatch.cli.dashboard import filter_words
from flowwatch.cli.policies import read_policies, read_text
from flowwatch.cli.policies_in_force import from_cluster, read_cluster
from flowwatch.cli.reading import Reading
from flowwatch.cli.sources import asked, open_source
from flowwatch.cli.summary import style
from flowwatch.errors import FlowwatchError, UsageError
from flowwatch.hubble.client.config import seconds
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.hubble.filters.request import parse_time
from flowwatch.output import open_output, put, say
from flowwatch.report.audit import write_audit
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.audits.expect import Expected
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.source import Source
    from flowwatch.policy.engine import PolicySet


_UNREADABLE = 2
"""Exit code of what other verbs end with 1 for: here 1 means findings, and CI must tell them apart."""


def run(parsed: Parsed) -> int:
    """Judge the traffic by the policies; 0 as expected, 1 findings, 2 input, 3 evidence (strict)."""
    try:
        return _audit(parsed)
    except FlowwatchError as error:
        if error.exit_code == FlowwatchError.exit_code:
            error.exit_code = _UNREADABLE
        raise


def _audit(parsed: Parsed) -> int:
    from flowwatch.audits.audit import Audit

    form = parsed.text("output")
    policies = read_set(parsed)
    audit = Audit(
        policies,
        applied_at=_applied_at(parsed.text("applied-at")),
        expected=_expected(parsed.text("expect")),
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
            for batch in reading.batches():
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
        return 1 if report.failed else _UNREADABLE
    return ended or report.exit_code(strict=parsed.switch("strict"))


def read_set(parsed: Parsed, flag: str = "filename") -> PolicySet:
    """The policies that ``-f`` names, or those of the cluster. Raises UsageError without any."""
    paths = parsed.list(flag) + parsed.rest
    if from_cluster(parsed):
        if paths:
            raise UsageError("cannot set both --filename and --policies-from-cluster")
        return read_cluster(parsed)
    if not paths:
        raise UsageError("no policy was given", f"--{flag} FILE, a folder, or - for standard input")
    if "-" in paths and "-" in parsed.list("input-file"):
        raise UsageError("policies and flows can't both come from standard input")
    return read_policies(paths)


@contextmanager
def source_of(parsed: Parsed) -> Iterator[Source | None]:
    """Where the traffic comes from: a server, captures, or the demo; None when only filters are printed."""
    if parsed.was_set("demo"):
        from flowwatch.cli.demo import traffic

        with traffic(parsed.text("demo") or "all", parsed.filters) as source:
            yield source
        return
    wanted = asked(parsed)
    if parsed.switch("print-raw-filters"):
        put(raw_filters(wanted.filters), "json")
        yield None
        return
    for line in wanted.settings.warnings:
        say(line)
    yield open_source(wanted, with_ring=wanted.window.follow)


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


def _applied_at(text: str) -> int | None:
    if not text:
        return None
    return parse_time(text, "applied-at")


def _expected(path: str) -> list[Expected]:
    if not path:
        return []
    from flowwatch.audits.expect import read_expected
    from flowwatch.goyaml.nodes import DocumentError

    try:
        return read_expected(read_text(path), path)
    except DocumentError as error:
        column = f":{error.column}" if error.column else ""
        raise UsageError(f"{safe(path)}:{error.line}{column}: {safe(error.reason)}") from None
