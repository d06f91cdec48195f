"""Each fault of docs/history.md's table, played: what is said, and what is lost, is what stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.history import faults


@pytest.mark.parametrize("name", faults.CASES)
def test_a_fault_is_as_the_page_says(name: str, tmp_path: Path) -> None:
    found = faults.CASES[name](tmp_path / "kept")
    assert faults.rows(faults.PAGE.read_text("utf-8"))[name] == found


def test_the_page_has_a_row_for_each_fault_and_no_other() -> None:
    assert list(faults.rows(faults.PAGE.read_text("utf-8"))) == list(faults.CASES)


def test_the_table_is_made_of_what_was_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- faults -->\n<!-- /faults -->\nafter\n")
    seen = {"a": faults.Outcome("it is said", "none"), "b": faults.Outcome("act", "all")}
    faults.write(seen, page)
    faults.write(seen, page)
    assert faults.rows(page.read_text()) == seen
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")
