"""Warnings: where the numbers come from, and what they don't include."""

from __future__ import annotations

from flowwatch.egress.rows import Snapshot
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.coverage import gap_words
from flowwatch.flows.source import SourceState
from flowwatch.text import plural, safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import SECOND, Line, labelled, rate
from flowwatch.tui.keys import OPENING
from flowwatch.tui.parts.page import TextView
from flowwatch.tui.parts.rows import Rows, rows

CHANGES = 10
"""Of the nodes' changes, and of gaps, so many are spelt out: the latest."""

_CHANGE = {"unavailable": "went away", "back": "is back", "new": "is new", "gone": "left"}


def notice_lines(snapshot: Snapshot, state: SourceState, columns: int) -> list[Line]:
    """Where the numbers come from, and what they don't include."""
    lines: list[Line] = []

    def say(label: str, text: str, role: str = "text") -> None:
        lines.extend(
            [((" ", "text"), *x) for x in labelled(label, text, columns - 2, indent=14, role=role)]
        )

    seen = snapshot.coverage
    version = f", {safe(state.version)}" if state.version else ""
    say("Source", f"{safe(state.where)}: {safe(state.phase)}{version}")
    if state.message:
        say("", safe(state.message), "warn")
    for server in state.servers:
        bad = server.phase in ("lost", "failed")
        told = f": {safe(server.message)}" if server.message else ""
        began = f" since {time_of_day(int(server.since * SECOND))} UTC" if server.since else ""
        say(
            "Server",
            f"{safe(server.where)}: {safe(server.phase)}{began}{told}",
            "warn" if bad else "text",
        )
    say("Encrypted", "yes, TLS" if state.encrypted else "no")
    if seen.nodes:
        say("Nodes seen", f"{len(seen.nodes)}: {safe(', '.join(seen.nodes))}")
    since = {away.name: away for away in seen.nodes_away}
    for name in sorted({*state.unavailable, *seen.nodes_unavailable}):
        known = since.get(name)
        when = f" since {time_of_day(known.since)} UTC" if known is not None and known.since else ""
        why = f": {safe(known.why)}" if known is not None and known.why else ""
        say("Unseen", f"{safe(name)}{when}{why}", "warn")
    for change in state.changes[-CHANGES:]:
        at = time_of_day(int(change.since * SECOND))
        why = f": {change.why}" if change.why else ""
        say("Node", f"{at} UTC {safe(change.name)} {_CHANGE.get(change.state, change.state)}{why}")
    for gap in seen.gaps[-CHANGES:]:
        say("Gap", gap_words(gap), "warn")
    say("Records", f"{seen.records_read:,} read")
    say("", f"{seen.replies:,} are replies, which are no attempts")
    if seen.unattributed:
        say("", f"{seen.unattributed:,} have no direction, and belong to no attempt seen")
    for reason, number in sorted(seen.records_skipped.items()):
        say("Not read", f"{number:,}: {safe(reason)}", "warn")
    for lost in seen.lost:
        when = f", last at {time_of_day(lost.last)} UTC" if lost.last >= SECOND else ""
        node = safe(lost.node) or "unknown node"
        per = f", {rate(lost.rate)}/s" if lost.rate >= 0.05 else ""
        why = f" ({lost.cause})" if lost.cause else ""
        say(
            "Lost",
            f"{plural(lost.count, 'event')}{per} on {node}: {safe(lost.source)}{why}{when}",
            "warn",
        )
    if seen.folded_rows:
        say("Folded", f"{plural(seen.folded_rows, 'row')} into 'other'", "warn")
    if state.backlog_limit:
        say("Buffer", f"{state.backlog:,} of {state.backlog_limit:,} messages waiting")
    lines.append(())
    if seen.warnings:
        for warning in seen.warnings:
            say("Warning", safe(warning), "warn")
    else:
        say("", "No warnings.", "dim")
    return lines


def _lines(desk: Desk, columns: int) -> list[Line]:
    shown = desk.answer(Rows)
    if shown is None:
        return [((" nothing has been read yet", "dim"),)]
    return notice_lines(shown.value.snapshot, desk.state, columns)


def _refusal(desk: Desk) -> str:
    return "" if desk.answer(Rows) else "nothing has been read yet"


WARNINGS = TextView(
    name="warnings",
    words="what the numbers don't include: losses, nodes, gaps",
    key=OPENING["warnings"],
    alias=("notices",),
    title="What these numbers include, and what not",
    question=rows,
    lines=_lines,
    ways="",
    refusal=_refusal,
)
