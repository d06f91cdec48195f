"""Rows folded and unfolded by keys: the start, the pods, what is exported, copied and told of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec

from flowwatch.flows.model import Flow
from tests.unit.flows.made import denied, flow
from tests.unit.tui.driven import Driven, Played, played, run

NAMES = ("weather-app-7d9f8-pk4k7", "weather-app-7d9f8-bq4jr", "weather-app-7d9f8-2fh26")


def attempts(number: int, dropped: int, forwarded: int) -> list[Flow]:
    source = msgspec.structs.replace(
        flow().source, pod=NAMES[number], workload="weather-app", labels=("k8s:team=sky",)
    )
    made: list[Flow] = []
    for at in range(dropped + forwarded):
        fields: dict[str, Any] = {
            "source": source,
            "source_ip": f"10.0.1.{number}",
            "source_port": 40_000 + at,
        }
        made += denied(at, **fields) if at < dropped else [flow(at, **fields)]
    return made


STORY = [*attempts(0, 3, 1), *attempts(1, 0, 2), *attempts(2, 1, 0)]


def rows(driven: Driven) -> list[str]:
    return [" ".join(line[1:].split()) for line in driven.screen[7:] if line[1:2] in ("✗", "✓")]


def test_three_pods_are_one_row_until_space_shows_them() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.sees("▸ weather-app (3 pods)")
            assert len(rows(driven)) == 1
            await driven.press("space")
            await driven.sees("▾ weather-app (3 pods)", "weather-app·pk4k7")
            told = [line.split()[1:3] for line in rows(driven)]
            assert told == [["4", "3"], ["3", "1"], ["1", "-"], ["-", "2"]]
            await driven.press("j", "left")
            await driven.until(lambda: len(rows(driven)) == 1, "folded again")
            await driven.press("right")
            await driven.sees("weather-app·2fh26")

    run(test())


def test_the_selection_stays_with_a_fold_whose_pods_come() -> None:
    async def test() -> None:
        web = msgspec.structs.replace(flow().source, pod="web-0", workload="web")
        others = [flow(at, source=web, source_port=at, source_ip="10.0.9.9") for at in range(1, 9)]
        source = Played([*attempts(1, 0, 2), *others])
        async with played(source) as driven:
            await driven.sees("weather-app·bq4jr")
            await driven.press("j")
            assert "weather-app·bq4jr" in next(x for x in driven.screen if x.startswith("▌"))
            source.play(attempts(0, 0, 1))
            await driven.sees("weather-app (2 pods)")
            at = next(line for line in driven.screen if line.startswith("▌"))
            assert "weather-app (2 pods)" in at

    run(test())


def test_v_folds_otherwise_and_a_label_is_named() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.sees("PODS")
            await driven.press("v")
            await driven.sees("NAMESPACE", "folded by namespace", "weather (3 pods)")
            await driven.press("v")
            await driven.until(lambda: len(rows(driven)) == 3, "a row per pod")
            await driven.press("colon")
            await driven.type("fold label:team")
            await driven.press("enter")
            await driven.sees("TEAM", "team=sky (3 pods)")
            await driven.press("colon")
            await driven.type("fold nothing")
            await driven.press("enter")
            await driven.sees("usage: :fold workload|namespace|pod|label:KEY")

    run(test())


def test_an_export_has_the_folds_once_whatever_is_open(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(160, 30), export_dir=tmp_path) as driven:
            await driven.press("space")
            await driven.sees("weather-app·pk4k7")
            await driven.press("e")
            await driven.sees("1 row written to")
            await driven.press("p", "e")
            await driven.until(lambda: len(list(tmp_path.iterdir())) == 2, "a second file")
            await driven.sees("1 row written to")
        for path in tmp_path.iterdir():
            with path.open(newline="", encoding="utf-8") as file:
                told = [
                    (one["workload"], one["pods"], one["dropped"]) for one in csv.DictReader(file)
                ]
            assert told == [("weather-app", "3", "4")]

    run(test())


def test_the_detail_of_a_fold_tells_its_pods_and_the_command_of_the_workload() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(110, 44)) as driven:
            await driven.sees(
                "Pods weather-app·pk4k7 3✗ 1✓, weather-app·2fh26 1✗, weather-app·bq4jr 2✓",
                "--from-namespace weather --from-workload weather-app",
                "team=sky",
            )
            # They have their names: none is missing.
            assert "Unknown" not in driven.text

    run(test())


def test_a_filter_by_the_name_on_the_screen_leaves_that_pod() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            driven.app.choose(text="app·bq4jr")
            await driven.until(
                lambda: rows(driven)[:1] and "weather-app·bq4jr" in rows(driven)[0], "one pod"
            )
            assert len(rows(driven)) == 1

    run(test())
