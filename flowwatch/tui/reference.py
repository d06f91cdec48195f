"""The tables of docs/dashboard.md, made of what the dashboard itself reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flowwatch.egress.filters import KEYS
from flowwatch.egress.query import ORDERS
from flowwatch.egress.rows import Totals
from flowwatch.tui.keys import GROUPS, Key, labels
from flowwatch.tui.named import KeyNames
from flowwatch.tui.parts.columns import COLUMNS, SIGNS, ScreenColumn, choose
from flowwatch.tui.theme import FANCY, PLAIN
from flowwatch.tui.view import View, command_table, key_map
from flowwatch.tui.views import VIEWS

_WIDEST = 400
"""Columns of a terminal up to which is looked."""

_EVERYTHING = Totals(1, 1, 1, 1, 1, 1)


def markdown_columns(columns: Sequence[ScreenColumn] = COLUMNS) -> str:
    """The columns from left to right, and how wide a terminal must be for each."""
    rows = [(f"`{one.title}`", _wide_enough(one, columns), one.words) for one in columns]
    return _table(("column", "shown", "what it says"), rows)


def _wide_enough(column: ScreenColumn, columns: Sequence[ScreenColumn]) -> str:
    """From which width on a column is there, where nothing stands beside the table."""
    without = [
        one
        for one in columns
        if one is column or (one.when is None and not one.clusters and not one.staged)
    ]
    missing = [
        width
        for width in range(1, _WIDEST)
        if column not in choose(width, _EVERYTHING, True, without, staged=True)
    ]
    if missing == list(range(1, _WIDEST)):
        raise ValueError(f"no terminal is wide enough for {column.title}")
    wide = f"from {missing[-1] + 1} columns" if missing else "always"
    if column.staged:
        return f"{wide}, where policies are staged"
    if column.clusters:
        return f"{wide}, where there are several clusters"
    return f"{wide}, where there are any" if column.when is not None else wide


def markdown_keys(group: str, keys: Iterable[Key]) -> str:
    """The keys of a group, one of keys.GROUPS."""
    every = tuple(keys)
    told = KeyNames(every).told
    rows = [
        (f"`{labels(key)}`", f"`{key.action}`", told(key.words))
        for key in every
        if key.group == group
    ]
    return _table(("key", "action", "what it does"), rows)


def markdown_commands(views: Sequence[View]) -> str:
    """What can be typed after ``:``."""
    rows = [
        (f"`:{one.synopsis}`", " ".join([f"`:{name}`" for name in one.aliases]), one.words)
        for one in command_table(views)
    ]
    return _table(("command", "also", "what it does"), rows)


def markdown_views(views: Sequence[View]) -> str:
    """The views, with their keys."""
    rows = [
        (one.name, " ".join([f"`{key}`" for key in one.keys_to_open]), one.words) for one in views
    ]
    return _table(("view", "key", "what it is"), rows)


def markdown_orders() -> str:
    """The orders of rows."""
    return _table(("order", "rows"), [(f"`{name}`", words) for name, words in ORDERS.items()])


_OUTCOMES = {
    "dropped": "dropped",
    "audited": "let through in audit mode, though a policy denies it",
    "errors": "the proxy failed",
    "forwarded": "forwarded",
    "unknown": "no final word yet",
    "noise": "noise alone, dropped before any policy was asked",
}


def markdown_signs() -> str:
    """The sign at the left of a row, on terminals that have it and on those that don't."""
    rows = [
        (f"`{getattr(FANCY, sign)}`", f"`{getattr(PLAIN, sign)}`", _OUTCOMES[outcome])
        for outcome, (sign, _) in SIGNS.items()
    ]
    return _table(("sign", "plain", "the worst that happened in the row"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [[*heads], ["---"] * len(heads), *([_cell(text) for text in row] for row in rows)]
    return "".join([f"| {' | '.join(cells)} |\n" for cells in lines])


def _cell(text: str) -> str:
    """A bar would begin the next cell, in code too."""
    return text.replace("|", "\\|")


def tables(views: Sequence[View] = VIEWS) -> Mapping[str, str]:
    """By the name that stands before each in docs/dashboard.md."""
    keys = key_map(views).keys
    return {
        "columns": markdown_columns(),
        "signs": markdown_signs(),
        "filter_keys": _table(
            ("typed", "finds rows by"), [(f"`{key}:`", words) for key, words in KEYS.items()]
        ),
        "views": markdown_views(views),
        "commands": markdown_commands(views),
        "orders": markdown_orders(),
        **{f"keys_{group}": markdown_keys(group, keys) for group in GROUPS},
    }
