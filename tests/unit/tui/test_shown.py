"""What the numbers on the screen are of: the rows shown. And what becomes of the selection among them."""

from __future__ import annotations

from flowwatch.flows.model import Endpoint
from tests.unit.flows.made import denied
from tests.unit.tui.driven import Driven, Played, played, run
from tests.unit.tui.test_dashboard import STORY, cursor, order


def head(driven: Driven) -> str:
    """The headings of the table, with the detail beside it left out."""
    line = next((line for line in driven.screen if " DROPPED " in line), "")
    return line.partition("│")[0].rstrip()


def timeline(driven: Driven) -> tuple[str, str, str]:
    """The labels of its rows, and what it is of."""
    first, second, third = driven.screen[3:6]
    return first[:24].strip(), second[:24].strip(), third[:24].strip()


def test_figures_and_timeline_are_of_the_rows_that_a_filter_leaves() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.sees("✗ 5 dropped ✓ 2 forwarded 71.4% dropped")
            assert timeline(driven) == ("✗ dropped max 2", "✓ forwarded max 2", "per 1s")
            await driven.press("slash")
            await driven.type("beta")
            await driven.sees("✗ 3 of 5 dropped ✓ 0 of 2 forwarded 100.0% dropped (71.4% in all)")
            assert timeline(driven) == ("✗ dropped max 1", "✓ forwarded max 0", "per 1s, of 1 row")
            await driven.press("escape", "d")
            await driven.sees("✗ 5 of 5 dropped ✓ 0 of 2 forwarded")
            assert timeline(driven)[2] == "per 1s, of 2 rows"

    run(test())


def test_when_the_selected_row_is_filtered_away_the_first_is_selected_until_it_comes_back() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.until(lambda: order(driven) == ["beta", "alpha", "delta", "gamma"])
            await driven.press("j", "j", "j")
            assert "gamma" in cursor(driven)
            await driven.press("slash")
            await driven.type("!gamma")
            await driven.until(lambda: "beta" in cursor(driven), "the first row")
            await driven.press("escape")
            await driven.until(lambda: "gamma" in cursor(driven), "the row again")

    run(test())


def test_the_parts_follow_the_size_of_the_terminal() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(300, 24)) as driven:
            await driven.sees("Detail")
            await driven.resize(60, 24)
            await driven.until(lambda: "Detail" not in driven.text, "no detail")
            await driven.resize(230, 24)
            await driven.sees("Detail")

    run(test())


def test_the_place_in_the_rows_covers_no_heading() -> None:
    """Whichever columns there are: those that have no room beside it give way as a whole."""
    pod = Endpoint(
        identity=1001, namespace="weather", pod="weather-app-8kxfnbbb2w-bq4jr", workload="app"
    )
    far = "n{}.telemetry.skydata.example"
    many = [
        record
        for i in range(50)
        for record in denied(
            i, source=pod, destination_ip=f"9.0.{i}.1", destination_names=(far.format(i),)
        )
    ]

    async def test() -> None:
        async with played(Played(many), size=(300, 24)) as driven:
            await driven.until(lambda: "1/50" in head(driven), "all rows")
            titles = set(head(driven).split())
            assert {"DROPPED", "DESTINATION", "REASON", "POLICY", "RECORDS"} <= titles
            for columns in range(60, 300, 7):
                await driven.resize(columns, 24)
                await driven.until(lambda: head(driven).endswith(" 1/50"), "the place")
                assert set(head(driven).split()) <= titles, columns

    run(test())
