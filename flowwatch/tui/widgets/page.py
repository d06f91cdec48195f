"""Whole pages of text: help, and what the numbers don't include."""

from __future__ import annotations

from collections.abc import Iterable

from flowwatch.egress.query import ORDERS
from flowwatch.egress.rows import Snapshot
from flowwatch.flows.source import SourceState
from flowwatch.text import safe
from flowwatch.tui.commands import COMMANDS
from flowwatch.tui.format import SECOND, Line, clock, labelled, plural, wrap
from flowwatch.tui.keys import GROUPS, KEYS, labels
from flowwatch.tui.widgets.panel import Panel


class Page(Panel):
    """Covers everything but the footer."""

    DEFAULT_CSS = "Page { height: 1fr; display: none; }"

    def open_with(self, title: str, body: list[Line]) -> None:
        self._top = 0
        self.display = True
        self.fill_with(title, "esc closes", body)


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
    say("Encrypted", "yes, TLS" if state.encrypted else "no")
    if snapshot.nodes:
        say("Nodes seen", f"{len(snapshot.nodes)}: {safe(', '.join(snapshot.nodes))}")
    away = sorted({*state.unavailable, *snapshot.nodes_unavailable})
    if away:
        say("Unavailable", f"{len(away)}: {safe(', '.join(away))}", "warn")
    say("Records", f"{snapshot.records_read:,} read")
    say("", f"{snapshot.replies:,} are replies, which are no attempts")
    if snapshot.unattributed:
        say("", f"{snapshot.unattributed:,} have no direction, and belong to no attempt seen")
    for reason, number in sorted(snapshot.records_skipped.items()):
        say("Not read", f"{number:,}: {safe(reason)}", "warn")
    for lost in snapshot.lost:
        when = f", last at {clock(lost.last)} UTC" if lost.last >= SECOND else ""
        node = safe(lost.node) or "unknown node"
        say("Lost", f"{lost.count:,} events on {node}: {safe(lost.source)}{when}", "warn")
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
