"""Time as a place: windows, steps back, a drag on the timeline, and a pause in which all stands still."""

from __future__ import annotations

import csv
from pathlib import Path

from flowwatch.flows.model import Flow
from flowwatch.tui.format import SECOND
from flowwatch.tui.parts.timeline import TimelineView
from tests.unit.flows.made import denied, flow
from tests.unit.tui.driven import Driven, Played, lines_of, played, run
from tests.unit.tui.test_changes import STORY as CHANGED
from tests.unit.tui.test_fold import STORY, attempts, rows

START = 1_700_000_000
"""22:13:20 UTC."""


def turned() -> list[Flow]:
    """Three minutes to one place: let through every 10 s, and from 120 s on denied."""
    records: list[Flow] = []
    for at in range(0, 180, 10):
        port = 2_000 + at
        records += [flow(at, source_port=port)] if at < 120 else denied(at, source_port=port)
    return records


def counts(driven: Driven) -> list[list[str]]:
    """DROPPED and FORWARDED of each row."""
    return [line.split()[1:3] for line in rows(driven)]


def test_the_numbers_are_those_of_the_window_that_the_title_says() -> None:
    async def test() -> None:
        async with played(Played(turned())) as driven:
            await driven.until(lambda: counts(driven) == [["6", "12"]], "all of it")
            await driven.press("W")
            # 22:16:10 is the last record: so from 22:15:10 on.
            await driven.sees("last 1m", "22:15:10 to 22:16:")
            await driven.until(lambda: counts(driven) == [["6", "1"]], "the last minute")
            await driven.sees("✗ 6 dropped")
            await driven.press("W")
            await driven.sees("last 5m")
            await driven.until(lambda: counts(driven) == [["6", "12"]], "five minutes")
            await driven.type(":since 25s")
            await driven.press("enter")
            await driven.sees("last 25s")
            await driven.until(lambda: counts(driven) == [["3", "-"]], "25 s")
            await driven.type(":since")
            await driven.press("enter")
            await driven.until(lambda: counts(driven) == [["6", "12"]], "all again")
            assert "last" not in driven.screen[0]

    run(test())


def test_it_steps_back_and_on_and_no_further_than_what_was_seen() -> None:
    async def test() -> None:
        async with played(Played(turned())) as driven:
            await driven.press("[")
            # Half a minute back from the last record.
            await driven.sees("22:14:40-22:15:40")
            await driven.until(lambda: counts(driven) == [["3", "4"]], "half a minute back")
            for _ in range(9):
                await driven.press("[")
            await driven.sees("22:13:20-22:14:20")
            await driven.until(lambda: counts(driven) == [["-", "6"]], "the first minute")
            await driven.press("]")
            await driven.sees("22:13:50-22:14:50")
            await driven.press("L")
            await driven.sees("last 1m")
            await driven.until(lambda: counts(driven) == [["6", "1"]], "now")

    run(test())


def night() -> list[Flow]:
    """A minute at 22:13, another at 23:13, none until 02:13, when it is denied."""
    flows = [
        flow(hour * 3_600 + at, source_port=hour * 60 + at) for hour in (0, 1) for at in (1, 5)
    ]
    return flows + denied(4 * 3_600, source_port=9_999)


def test_whole_hours_are_a_key_each_and_those_without_anything_are_left_out() -> None:
    async def test() -> None:
        async with played(Played(night())) as driven:
            await driven.until(lambda: counts(driven) == [["1", "4"]], "all of it")
            await driven.press("{")
            await driven.sees("2023-11-15 02:00:00-03:00:00")
            await driven.until(lambda: counts(driven) == [["1", "-"]], "the last hour")
            await driven.press("{")
            await driven.sees("2023-11-14 23:00:00-00:00:00")
            await driven.until(lambda: counts(driven) == [["-", "2"]], "the one before")
            await driven.press("{")
            await driven.sees("2023-11-14 22:00:00-23:00:00")
            await driven.press("{")
            await driven.sees("the first hour that is held")
            await driven.press("}")
            await driven.sees("2023-11-14 23:00:00-00:00:00")
            await driven.press("}", "}")
            await driven.sees("the end: last 1h")
            await driven.until(lambda: counts(driven) == [["1", "-"]], "the last hour")

    run(test())


def test_other_views_follow_the_window() -> None:
    async def test() -> None:
        async with played(Played(turned())) as driven:
            await driven.type(":since 25s")
            await driven.press("enter")
            await driven.until(lambda: counts(driven) == [["3", "-"]], "25 s")
            await driven.press("2")
            await driven.sees("last 25s", "DROPPED")
            await driven.until(
                lambda: any(line.split()[1:3] == ["3", "-"] for line in driven.screen), "3 dropped"
            )

    run(test())


def test_before_and_after_is_of_the_window_and_says_which() -> None:
    async def test() -> None:
        async with played(Played(CHANGED), size=(120, 30)) as driven:
            await driven.press("c")
            await driven.sees("of 22:13:20 to 22:14:19 UTC, all that was read", "✓ 29 → ✗ 30")
            await driven.type(":since 20s")
            await driven.press("enter")
            await driven.sees(
                "UTC alone; 1 mark lies outside", "No change of policies shows in this window"
            )
            assert driven.app.trail == ("rows", "changes")
            await driven.press("[", "[")
            # 20 s back: the mark is amid it, 10 s each.
            await driven.sees("of 22:13:39 to 22:14:00 UTC alone", "✓ 10 → ✗ 10")
            await driven.press("L", "W")
            await driven.sees("of 22:13:19 to 22:14:20 UTC alone", "✓ 29 → ✗ 30")

    run(test())


def test_records_are_those_of_the_window() -> None:
    async def test() -> None:
        async with played(Played(turned()), size=(120, 30)) as driven:
            await driven.press("8")
            await driven.sees("22:13:20-22:16:10, of all rows")
            await driven.type(":since 25s")
            await driven.press("enter")
            await driven.sees("22:15:45-22:16:11", "2x drop")
            told = [line[2:10] for line in driven.screen if "2x drop" in line]
            assert told == ["22:16:10", "22:16:00", "22:15:50"]
            await driven.press("[")
            await driven.until(lambda: "22:15:40" in driven.text, "half of it back")

    run(test())


def waited(driven: Driven) -> list[str]:
    """DROPPED of those who wait."""
    return [line.split()[2] for line in driven.screen if " hangs " in line]


def test_who_waits_says_which_number_is_of_which_time() -> None:
    async def test() -> None:
        async with played(Played(turned()), size=(120, 30)) as driven:
            await driven.press("H")
            await driven.sees("now is 22:16:10 UTC, the last record; numbers are from 22:13:20 on")
            await driven.type(":since 25s")
            await driven.press("enter")
            await driven.sees(
                "DROPPED is of 22:15:45 to 22:16:11, WAITED and SINCE from 22:13:20 on"
            )
            await driven.until(lambda: waited(driven) == ["3"], "of it")
            await driven.press("[")
            await driven.sees("who waited then isn't kept")
            await driven.until(lambda: waited(driven) == ["6"], "now")

    run(test())


def test_a_drag_on_the_timeline_is_a_window() -> None:
    async def test() -> None:
        async with played(Played(turned())) as driven:
            await driven.until(lambda: counts(driven) == [["6", "12"]], "all of it")
            await driven.press("z")
            await driven.settled()
            line = driven.app.query_one(TimelineView)
            first = line._time(24)
            # Columns of three seconds: from the second attempt to the one at 60 s.
            place = next(x for x in range(24, 100) if line._time(x) > first + 5 * SECOND)
            last = next(x for x in range(24, 100) if line._time(x) > first + 60 * SECOND)
            await driven._pilot.mouse_down(TimelineView, offset=(place, 1))
            await driven._pilot.hover(TimelineView, offset=(last, 1))
            await driven._pilot.mouse_up(TimelineView, offset=(last, 1))
            await driven.sees("L goes back to now")
            await driven.until(lambda: counts(driven) == [["-", "6"]], "what was drawn")
            assert "━" in driven.text, "the window stands on the axis"

    run(test())


def test_exports_and_tickets_name_the_window(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(Played(turned()), export_dir=tmp_path) as driven:
            await driven.type(":since 25s")
            await driven.press("enter")
            await driven.until(lambda: counts(driven) == [["3", "-"]], "25 s")
            await driven.press("e")
            await driven.sees("1 row written")
            (path,) = tmp_path.glob("flowwatch-egress-last-25s-*.csv")
            (row,) = csv.DictReader(lines_of(path))
            assert (row["dropped"], row["forwarded"]) == ("3", "0")
            await driven.type(":export x.md")
            await driven.press("enter")
            await driven.until((tmp_path / "x.md").exists, "x.md")
            text = (tmp_path / "x.md").read_text(encoding="utf-8")
            assert "last 25s" in text
            assert "of all that was read" in text

    run(test())


def test_unfolding_in_a_pause_shows_what_was_counted_when_it_began() -> None:
    async def test() -> None:
        source = Played(STORY)
        async with played(source) as driven:
            await driven.until(lambda: counts(driven) == [["4", "3"]], "the fold")
            await driven.press("p")
            await driven.sees("PAUSED")
            source.play(attempts(2, 5, 0))
            await driven.sees("behind")
            await driven.press("space")
            await driven.sees("weather-app·pk4k7")
            assert counts(driven) == [["4", "3"], ["3", "1"], ["1", "-"], ["-", "2"]]
            await driven.press("space")
            await driven.until(lambda: counts(driven) == [["4", "3"]], "folded again")
            assert "behind" in driven.text
            await driven.press("L")
            await driven.until(lambda: counts(driven)[0][0] != "4", "what came meanwhile")

    run(test())
