"""What leaves the dashboard as a file: what the name says, with what limits it and what is missing."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from tests.unit.tui.driven import Driven, Played, played, run
from tests.unit.tui.test_dashboard import STORY


async def command(driven: Driven, line: str) -> None:
    await driven.press("colon")
    await driven.type(line)
    await driven.press("enter")


def test_the_name_says_what_is_written(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(
            Played(STORY), size=(160, 30), export_dir=tmp_path, filter_words="-n weather"
        ) as driven:
            await command(driven, "filter verdict:dropped")
            for name in ("x.csv", "x.json", "x.md", "x.svg"):
                await command(driven, f"export {name}")
                await driven.until(lambda name=name: (tmp_path / name).exists(), name)  # type: ignore[misc]
            rows = list(csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text())))
            told = json.loads((tmp_path / "x.json").read_text())
            assert told["filter"] == "-n weather  /verdict:dropped  egress"
            assert told["window"]
            assert len(told["rows"]) == len(rows) > 0
            assert sum(int(row["dropped"]) for row in rows) == sum(
                r["dropped"] for r in told["rows"]
            )
            text = (tmp_path / "x.md").read_text()
            assert text.startswith("Filter: `-n weather  /verdict:dropped  egress`")
            assert sum(line.startswith("| ❌") for line in text.splitlines()) == len(rows)
            svg = (tmp_path / "x.svg").read_text()
            assert "<desc>Filter: -n weather  /verdict:dropped  egress" in svg
            assert "Window: " in svg

    run(test())


def test_no_file_is_written_over_without_a_word(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(160, 30), export_dir=tmp_path) as driven:
            (tmp_path / "x.csv").write_text("mine")
            await command(driven, "export x.csv")
            await driven.sees("x.csv is there already: :export! x.csv writes over it")
            assert (tmp_path / "x.csv").read_text() == "mine"
            await command(driven, "export! x.csv")
            await driven.until(lambda: (tmp_path / "x.csv").read_text() != "mine", "written over")

    run(test())


def test_a_name_that_says_nothing_known_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(160, 30), export_dir=tmp_path) as driven:
            await command(driven, "export x.pdf")
            await driven.sees(
                "x.pdf: its name says no format that is known (.csv, .md, .json, .svg)"
            )
            assert not list(tmp_path.iterdir())

    run(test())
