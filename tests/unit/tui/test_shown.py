"""What the numbers on the screen are of: the rows shown. And what becomes of the selection among them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from flowwatch.egress.rows import Timeline
from flowwatch.flows.model import Endpoint
from flowwatch.tui.parts.columns import COLUMNS, Cells, row_line
from flowwatch.tui.parts.headline import headline_lines
from flowwatch.tui.parts.timeline import of_words, timeline_lines
from flowwatch.tui.theme import FANCY
from tests.unit.flows.made import denied
from tests.unit.tui.driven import Driven, Played, played, run
from tests.unit.tui.made import (
    FOLLOWING,
    NOON,
    SECOND,
    row,
    second_by_second,
    snapshot,
    total,
)
from tests.unit.tui.made import STORY as ROWS
from tests.unit.tui.test_dashboard import STORY, cursor, order

LATER = NOON + 86_400 * SECOND


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
            await driven.sees("✗ 3 of 5 dropped ✓ 0 of 2 forwarded 100.0% dropped 71.4% in all")
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


@pytest.mark.parametrize(
    ("refused", "wide", "narrow"),
    [
        ("DNS collector.clicks.example", "L7 refused: collector.clicks.example", "collector.….example"),
        ("DELETE http://shop:80/admin/cache", "L7 refused: DELETE /admin/cache", "DELETE /admin/cache"),
        ("GET /", "L7 refused: GET /", "L7 refused: GET /"),
    ],
)  # fmt: skip
def test_what_an_l7_rule_refused_stands_in_the_row(refused: str, wide: str, narrow: str) -> None:
    [column] = [one for one in COLUMNS if one.name == "drop_reasons"]
    made = row(1, forwarded=0, dropped=3, drop_reasons={"L7_DENIED": 3}, proxy_refused=(refused,))
    for columns, text in ((36, wide), (19, narrow)):
        line = row_line(made, [column], [columns], Cells(0, None, None), FANCY, selected=False)
        assert line[2][0].strip() == text
    more = row(1, dropped=1, drop_reasons={"L7_DENIED": 1}, proxy_refused=(refused, "GET /x"))
    assert column.cell(more, Cells(0, None, None)) == f"{wide} +1"


def test_a_pod_that_is_too_long_keeps_its_random_end_or_its_port() -> None:
    [column] = [one for one in COLUMNS if one.name == "pod"]
    for fields, text in (
        ({}, "weather/weather-…x2x4z"),
        ({"direction": "ingress", "port": 53, "protocol": "UDP"}, "weather/weat…4z:53/UDP"),
    ):
        made = row(1, **fields)
        line = row_line(made, [column], [22], Cells(0, None, None), FANCY, selected=False)
        assert line[2][0].strip() == text


def test_the_detail_is_as_tall_as_what_it_says_and_leaves_the_table_two_fifths() -> None:
    async def test() -> None:
        for lines in (44, 60):
            async with played(Played(STORY), size=(110, lines)) as driven:
                if "Detail" not in driven.text:
                    await driven.press("enter")
                await driven.sees("Detail", "Last records")
                [top] = [i for i, line in enumerate(driven.screen) if line.startswith("─ Detail")]
                await driven.until(lambda: "policy-verdict" in driven.screen[-2], "the last line")
                assert "%" not in driven.screen[top], "all of it is seen"
                # No line is left empty: the table has them.
                assert all(line.strip() for line in driven.screen[top:])

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


def test_where_there_are_too_many_rows_for_a_timeline_each_it_says_what_it_is_of() -> None:
    whole = replace(total(ROWS), rows=20_000, dropped=200)
    made = snapshot(ROWS, totals=whole, shown=total(ROWS), matched=len(ROWS), of_all=True)
    assert of_words(made) == "of all 20,000 rows"
    axis = timeline_lines(made.timeline, False, 0, 100, FANCY, (), of_words(made))[2]
    assert axis[0][0].strip() == "of all 20,000 rows"
    figures, rates = (
        "".join(t for t, _ in x) for x in headline_lines(made, FOLLOWING, NOON, 0, 140, FANCY)
    )
    assert "✗ 15 of 200 dropped" in figures
    assert "2.5 dropped/s in all  14 forwarded/s in all  120 records/s in all" in rates
    few = replace(made, of_all=False)
    assert of_words(few) == "of 7 rows"
    assert "2.5 dropped/s  14 forwarded/s  120 records/s in all" in "".join(
        text for text, _ in headline_lines(few, FOLLOWING, NOON, 0, 140, FANCY)[1]
    )


def test_everything_is_everything_with_the_quiet_time_in_it() -> None:
    """A minute of traffic, a day of nothing, and another minute: the axis has all of it, and ends now."""
    first, last = (
        second_by_second((1,) * 60, (0,) * 60),
        second_by_second((2,) * 60, (1,) * 60, LATER),
    )
    day = Timeline(
        SECOND,
        first.buckets + last.buckets,
        first.forwarded + last.forwarded,
        first.dropped + last.dropped,
    )
    dropped, kept, axis = (
        "".join(text for text, _ in line) for line in timeline_lines(day, True, 0, 100, FANCY)
    )
    assert "2023-11-15 12:00:00 ─" in axis
    assert axis.rstrip().endswith("─ 2023-11-16 12:01:00 UTC")
    assert kept[24:].strip(" ").count(" ") > 60
    assert dropped[24:].strip() == "█"
    end = "".join(text for text, _ in timeline_lines(day, False, 0, 100, FANCY)[2])
    assert "12:00:00 ─" not in end
    now = LATER + 3_600 * SECOND
    assert "12:00:00 UTC" not in end
    assert " 13:00:00 UTC" in "".join(
        text for text, _ in timeline_lines(day, True, now, 100, FANCY)[2]
    )
