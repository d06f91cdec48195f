"""The tables of docs/formats.md, made of what is declared.

A line of ``<!-- table: row -->`` says which one stands behind it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from flowwatch.egress.record_schema import RECORD
from flowwatch.egress.schema import ATTEMPT, ATTRIBUTED, CAUSED, ROW, STAGED, WAITING
from flowwatch.history.attempts.columns import ATTEMPTS, MINUTES
from flowwatch.history.columns import EVENTS, FLOWS
from flowwatch.report.coverage import JsonKey
from flowwatch.report.summary import SUMMARY


class Described(Protocol):
    """A column, wherever it is declared."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def meaning(self) -> str: ...


Columns = Sequence[Described]

_TABLE = re.compile(r"(?<=^<!-- table: )(\w+) -->\n\n(?:\|.*\n)*", re.MULTILINE)


def markdown_reference(columns: Columns) -> str:
    """The columns as a Markdown table."""
    heads = ["column", "kind", "unit", "meaning"]
    rows = [[f"`{one.name}`", one.kind, one.unit, one.meaning] for one in columns]
    if not any(one.unit for one in columns):
        for cells in (heads, *rows):
            del cells[2]
    lines = [f"| {' | '.join(cells)} |\n" for cells in (heads, *rows)]
    return "".join((lines[0], "|---" * len(heads), "|\n", *lines[1:]))


def markdown_keys(keys: tuple[JsonKey[Any], ...]) -> str:
    """The keys of a JSON object as a Markdown table."""
    lines = [f"| `{one.name}` | {one.meaning} |\n" for one in keys]
    return "".join(("| key | value |\n|---|---|\n", *lines))


TABLES: Mapping[str, str] = {
    "attempt": markdown_reference(ATTEMPT),
    "attributed": markdown_reference(tuple([one for one in ATTRIBUTED if one not in ATTEMPT])),
    "row": markdown_reference(ROW),
    "caused": markdown_reference(tuple([one for one in CAUSED if one not in ROW])),
    "staged": markdown_reference(STAGED),
    "waiting": markdown_reference(tuple([one for one in WAITING if one not in ROW])),
    "record": markdown_reference(RECORD),
    "kept": markdown_reference(FLOWS),
    "told": markdown_reference(EVENTS),
    "made": markdown_reference(ATTEMPTS),
    "minutes": markdown_reference(MINUTES),
    "summary": markdown_keys(SUMMARY),
}
"""By the name that stands before each."""


def with_tables(page: str, tables: Mapping[str, str] = TABLES) -> str:
    """``page`` with its tables as they are declared. KeyError for one that isn't."""
    return _TABLE.sub(lambda found: f"{found[1]} -->\n\n{tables[found[1]]}", page)
