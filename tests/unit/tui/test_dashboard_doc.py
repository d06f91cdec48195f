"""docs/dashboard.md says what the tables of the dashboard say: columns, signs, keys, commands, orders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flowwatch.report.reference import with_tables
from flowwatch.tui.keys import labels
from flowwatch.tui.named import KeyNames
from flowwatch.tui.parts.columns import COLUMNS, SIGNS
from flowwatch.tui.reference import tables
from flowwatch.tui.view import command_table, key_map
from flowwatch.tui.views import VIEWS

PAGE = Path(__file__).parents[3] / "docs" / "dashboard.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_make_docs_has_nothing_to_write() -> None:
    assert with_tables(TEXT, tables()) == TEXT


def test_every_table_is_on_the_page_once() -> None:
    assert sorted(re.findall(r"<!-- table: (\w+) -->", TEXT)) == sorted(tables())


@pytest.mark.parametrize("title", [column.title for column in COLUMNS])
def test_every_column_has_its_line(title: str) -> None:
    assert TEXT.count(f"\n| `{title}` | ") == 1


def test_every_key_view_command_and_sign_has_its_line() -> None:
    told = KeyNames(key_map(VIEWS).keys).told
    for key in key_map(VIEWS).keys:
        assert f"\n| `{labels(key)}` | `{key.action}` | {told(key.words)} |\n" in TEXT
    for view in VIEWS:
        assert f"\n| {view.name} | " in TEXT
    for command in command_table(VIEWS):
        assert f"\n| `:{command.name}" in TEXT
    assert len(SIGNS) == tables()["signs"].count("\n") - 2


def test_widths_on_the_page_are_those_at_which_columns_come() -> None:
    [line] = [line for line in TEXT.splitlines() if line.startswith("| `POLICY` | ")]
    assert re.search(r"\| from \d+ columns \|", line)
    assert "| `DROPPED` | always |" in TEXT
    assert re.search(r"\| `CLUSTER` \| .*, where there are several clusters \|", TEXT)


if __name__ == "__main__":
    PAGE.write_text(with_tables(TEXT, tables()), encoding="utf-8")
