"""``--plain``: the dashboard's source as lines, a change each, for screen readers and logs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flowwatch import signals
from flowwatch.cli.shared.options import direction, filter_text, max_rows
from flowwatch.egress.folding import BY_WORKLOAD
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.egress.query import Query
from flowwatch.errors import Stopped
from flowwatch.flows.join import Join
from flowwatch.marks.live import LiveChanges
from flowwatch.output import put, say
from flowwatch.report.events import Events
from flowwatch.sources.keeping import kept_words

if TYPE_CHECKING:
    from flowwatch.audits.live import LiveAudit
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.source import Source

EVERY = 0.5
"""Seconds between two looks at least."""

COSTLY = 20
"""No more than one part in so many of the time goes into looking."""

MOST_ROWS = 20_000
"""Rows that are looked at, those with most drops first."""


def print_events(parsed: Parsed, source: Source, audit: LiveAudit | None, join: Join) -> int:
    """Print what changes until the source ends; the exit code. A signal is raised as Stopped."""
    if not parsed.switch("plain"):
        say("TERM is dumb: a line for each change, as with --plain")
    text = filter_text(parsed)
    query = Query(
        direction=direction(parsed),
        noise=parsed.switch("noise"),
        text=text,
        by=BY_WORKLOAD,
        limit=MOST_ROWS,
    )
    teller = audit.causes if audit is not None else None
    live = LiveMonitor(source, max_rows(parsed), live=False, join=join, teller=teller)
    # Marks are looked for each time, as whoever reads a log learns of them nowhere else.
    changes, events = LiveChanges(join, every=0.0), Events()
    stopped: list[Stopped] = []

    def stop(number: int) -> None:
        stopped.append(Stopped(number))
        if len(stopped) > 1:
            raise stopped[-1]

    with signals.handled_by(stop):
        live.start()
        try:
            _follow(live, changes, events, query, stopped)
        finally:
            live.stop()
    for line in kept_words(source):
        say(line)
    if live.failure is not None:
        raise live.failure
    if stopped:
        raise stopped[0]
    return 0


def _follow(
    live: LiveMonitor, changes: LiveChanges, events: Events, query: Query, stopped: list[Stopped]
) -> None:
    """Look now and then, and once more at the end."""
    over = False
    while not over:
        over = live.over or bool(stopped)
        began = time.monotonic()
        if over:
            # Those of the last seconds, too.
            changes.look()
        lines = events.look(live.snapshot(query), live.state(), changes.marks(), last=over)
        if lines:
            put("".join(f"{line}\n" for line in lines))
        rest = began + max(EVERY, (time.monotonic() - began) * COSTLY)
        while not over and not stopped and time.monotonic() < rest and not live.over:
            time.sleep(0.05)
