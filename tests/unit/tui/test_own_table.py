"""Columns chosen, moved and remembered, and the mouse on headings, footer and warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowwatch.errors import UsageError
from flowwatch.tui.own_table import NAMES, Arranged, fields, headings, known, read_arranged
from tests.unit.tui.driven import Driven, run, shown
from tests.unit.tui.made import ShownMonitor, snapshot


def head(driven: Driven) -> list[str]:
    """The words of the table's heading."""
    return next(line for line in driven.screen if "DESTINATION" in line or "REASON" in line).split()


async def typed(driven: Driven, text: str) -> None:
    await driven.press("colon")
    await driven.type(text)
    await driven.press("enter")


def test_columns_stand_as_they_were_named_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "flowwatch" / "table"

    async def test() -> None:
        monitor = ShownMonitor(snapshot())
        async with shown(monitor, size=(100, 30), arranged_file=path) as driven:
            await driven.press("s")
            await typed(driven, "columns reason, destination records")
            await driven.sees("remembered, with the order by forwarded")
            assert head(driven) == ["REASON", "DESTINATION", "RECORDS"]
            found = known(path)
            assert found == Arranged(("drop_reasons", "peer", "records"), "forwarded", False)
        async with shown(
            monitor, size=(100, 30), columns=found.columns, order=found.order, arranged_file=path
        ) as driven:
            assert head(driven) == ["REASON", "DESTINATION", "RECORDS"]
            assert driven.app.chosen.query.order == "forwarded"
            await driven.resize(40, 24)
            assert head(driven) == ["REASON", "DESTINATION"]
            await driven.resize(100, 30)
            await typed(driven, "columns default")
            await driven.until(lambda: head(driven)[0] == "DROPPED", "ours")
        assert known(path).columns == ()

    run(test())


def test_what_is_no_column_is_said_and_changes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), arranged_file=tmp_path / "table") as driven:
            before = head(driven)
            await typed(driven, "columns reson")
            await driven.sees("no column 'reson': did you mean reason?")
            assert head(driven) == before
            await typed(driven, "columns")
            await driven.sees("columns: those that fit; there are dropped, forwarded")
        assert not (tmp_path / "table").exists()

    run(test())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("columns = dropped, reson", "table:1: no column 'reson': did you mean reason?"),
        ("#\norder = rat", "table:2: no order 'rat': did you mean rate?"),
        ("colums = dropped", "table:1: nothing is called 'colums': did you mean columns?"),
        ("columns =", "table:1: no column ''"),
    ],
)
def test_a_file_that_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "table"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_arranged(path)
    assert said in str(refused.value)


def test_every_column_has_a_name() -> None:
    assert headings(fields(",".join(NAMES))) == ", ".join(NAMES)
    assert known(Path("nowhere")) == Arranged()
    assert fields("POD,pod") == ("pod",)


def test_a_click_on_a_heading_sorts_and_turns_round() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), size=(120, 30)) as driven:
            line = next(at for at, text in enumerate(driven.screen) if "DESTINATION" in text)
            for heading, order in (
                ("FORWARDED", "forwarded"),
                ("DESTINATION", "peer"),
                ("LAST", "last"),
            ):
                await driven.click(heading, line)
                await driven.sees(f"by {order}")
            await driven.click("LAST", line)
            await driven.sees("by last reversed")
            await driven.click("REASON", line)
            await driven.sees("rows aren't sorted by this")
            assert driven.app.chosen.query.order == "last"

    run(test())


def test_a_click_on_the_footers_words_is_their_key() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), size=(120, 30)) as driven:
            await driven.click("pause", -1)
            await driven.sees("PAUSED")
            await driven.press("escape", "p")
            await driven.until(lambda: "help" in driven.screen[-1], "the keys")
            await driven.click("? help", -1)
            await driven.sees("keys and commands")
            await driven.click("back", -1)
            await driven.sees("DESTINATION")
            await driven.click("2 Workloads", 6)
            await driven.sees("[2 Workloads]")

    run(test())
