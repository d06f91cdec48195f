"""Whole pages of text: help, and what the numbers don't include."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowwatch.egress.query import ORDERS
from flowwatch.egress.rows import Snapshot
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.coverage import gap_words
from flowwatch.flows.source import SourceState
from flowwatch.report.human import plural
from flowwatch.text import safe
from flowwatch.tui.commands import COMMANDS
from flowwatch.tui.format import SECOND, Line, labelled, rate, wrap
from flowwatch.tui.keys import GROUPS, KEYS, labels
from flowwatch.tui.parts.panel import Panel

if TYPE_CHECKING:
    from flowwatch.audits.findings import AuditReport

CHANGES = 10
"""Of the nodes' changes, and of gaps, so many are spelt out: the latest."""

AUDIT_TITLE = "Audit: does the traffic go as the policies say?"

_CHANGE = {"unavailable": "went away", "back": "is back", "new": "is new", "gone": "left"}


class Page(Panel):
    """Covers everything but the footer."""

    DEFAULT_CSS = "Page { height: 1fr; display: none; }"

    def open_with(self, title: str, body: list[Line]) -> None:
        self._top = 0
        self.display = True
        self.fill_with(title, "esc closes", body)

    def audit(self, report: AuditReport, paused: bool) -> None:
        """The audit's page with a newer report; what is scrolled to stays."""
        # Loaded only for who gave policies.
        from flowwatch.tui.parts.audit import report_lines

        note = "paused" if paused else "esc closes"
        self.fill_with(AUDIT_TITLE, note, report_lines(report, self.size.width, self.look.signs))


def help_lines(columns: int, helps: Iterable[tuple[str, ...]]) -> list[Line]:
    """All keys, then commands and orders, then what the widgets have to say."""
    lines: list[Line] = []
    for group, title in GROUPS.items():
        lines += [(), ((f" {title}", "head"),)]
        for key in KEYS:
            if key.group == group:
                lines += _entry(labels(key), key.words, columns, 18)
    lines += [(), ((" Commands", "head"),)]
    for command in COMMANDS:
        usage = command.usage if len(command.usage) < 14 else "WORD"
        name = f":{command.name} {usage}".rstrip()
        words = command.words
        if command.choices and usage == "WORD":
            words += f": {', '.join(command.choices)}"
        lines += _entry(name, words, columns, 18)
    lines += [(), ((" Orders", "head"),)]
    for order, words in ORDERS.items():
        lines += _entry(order, words, columns, 18)
    lines += [(), ((" What is shown", "head"),)]
    for texts in helps:
        lines += [((f"  {part}", "text"),) for part in wrap(" ".join(texts), columns - 4)]
    return lines[1:]


def _entry(name: str, words: str, columns: int, indent: int) -> list[Line]:
    first, *rest = labelled("", words, columns - 2, indent=indent)
    return [((f"  {name:<{indent}}", "accent"), *first[1:]), *[((" ", "text"), *x) for x in rest]]


def notice_lines(snapshot: Snapshot, state: SourceState, columns: int) -> list[Line]:
    """Where the numbers come from, and what they don't include."""
    lines: list[Line] = []

    def say(label: str, text: str, role: str = "text") -> None:
        lines.extend(
            [((" ", "text"), *x) for x in labelled(label, text, columns - 2, indent=14, role=role)]
        )

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
    if snapshot.nodes:
        say("Nodes seen", f"{len(snapshot.nodes)}: {safe(', '.join(snapshot.nodes))}")
    since = {away.name: away for away in snapshot.nodes_away}
    for name in sorted({*state.unavailable, *snapshot.nodes_unavailable}):
        known = since.get(name)
        when = f" since {time_of_day(known.since)} UTC" if known is not None and known.since else ""
        why = f": {safe(known.why)}" if known is not None and known.why else ""
        say("Unseen", f"{safe(name)}{when}{why}", "warn")
    for change in state.changes[-CHANGES:]:
        at = time_of_day(int(change.since * SECOND))
        why = f": {change.why}" if change.why else ""
        say("Node", f"{at} UTC {safe(change.name)} {_CHANGE.get(change.state, change.state)}{why}")
    for gap in snapshot.gaps[-CHANGES:]:
        say("Gap", gap_words(gap), "warn")
    say("Records", f"{snapshot.records_read:,} read")
    say("", f"{snapshot.replies:,} are replies, which are no attempts")
    if snapshot.unattributed:
        say("", f"{snapshot.unattributed:,} have no direction, and belong to no attempt seen")
    for reason, number in sorted(snapshot.records_skipped.items()):
        say("Not read", f"{number:,}: {safe(reason)}", "warn")
    for lost in snapshot.lost:
        when = f", last at {time_of_day(lost.last)} UTC" if lost.last >= SECOND else ""
        node = safe(lost.node) or "unknown node"
        per = f", {rate(lost.rate)}/s" if lost.rate >= 0.05 else ""
        why = f" ({lost.cause})" if lost.cause else ""
        say("Lost", f"{lost.count:,} events{per} on {node}: {safe(lost.source)}{why}{when}", "warn")
    if snapshot.folded_rows:
        say("Folded", f"{plural(snapshot.folded_rows, 'row')} into 'other'", "warn")
    if state.backlog_limit:
        say("Buffer", f"{state.backlog:,} of {state.backlog_limit:,} messages waiting")
    lines.append(())
    if snapshot.warnings:
        for warning in snapshot.warnings:
            say("Warning", safe(warning), "warn")
    else:
        say("", "No warnings.", "dim")
    return lines
