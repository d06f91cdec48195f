"""Help: every key, command, order and column, and what the views have to say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flowwatch.egress.query import ORDERS
from flowwatch.tui.commands import Command
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import Line, labelled, wrap
from flowwatch.tui.keys import GROUPS, OPENING, Key, labels
from flowwatch.tui.named import KeyNames
from flowwatch.tui.parts.page import TextView


def help_lines(
    columns: int,
    keys: Sequence[Key],
    commands: Sequence[Command],
    headings: Mapping[str, str],
    helps: Iterable[str],
) -> list[Line]:
    """All keys, then commands, orders and columns, then what the views have to say, a paragraph each."""
    lines: list[Line] = []
    told = KeyNames(keys).told
    for group, title in GROUPS.items():
        lines += [(), ((f" {title}", "head"),)]
        for key in keys:
            if key.group == group:
                lines += _entry(labels(key) or "no key", told(key.words), columns, 18)
    lines += [(), ((" Commands", "head"),)]
    for command in commands:
        usage = command.usage if len(command.usage) < 14 else "WORD"
        name = f":{command.name} {usage}".rstrip()
        words = command.words
        if command.choices and usage == "WORD":
            words += f": {', '.join(command.choices)}"
        lines += _entry(name, words, columns, 18)
    lines += [(), ((" Orders", "head"),)]
    for order, words in ORDERS.items():
        lines += _entry(order, words, columns, 18)
    lines += [(), ((" Columns", "head"),)]
    for heading, words in headings.items():
        lines += _entry(heading, words.replace("`", ""), columns, 18)
    lines += [(), ((" What is shown", "head"),)]
    for text in helps:
        lines += [((f"  {part}", "text"),) for part in wrap(text, columns - 4)]
    return lines[1:]


def _entry(name: str, words: str, columns: int, indent: int) -> list[Line]:
    first, *rest = labelled("", words, columns - 2, indent=indent)
    return [((f"  {name:<{indent}}", "accent"), *first[1:]), *[(("  ", "text"), *x) for x in rest]]


def _lines(desk: Desk, columns: int) -> list[Line]:
    return help_lines(columns, desk.keys, desk.commands, desk.headings, desk.helps)


HELP = TextView(
    name="help",
    words="keys and commands",
    key=OPENING["help"],
    short="help",
    alias=("h",),
    title="flowwatch: keys and commands",
    lines=_lines,
    ways="",
)
