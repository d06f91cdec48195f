"""Before and after a policy: a key away, as the verb tells it, and marked on the timeline."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.marks.test_live import turning
from tests.unit.marks.traffic import EVIL, SECOND, START
from tests.unit.tui.driven import Played, played, run

STORY = sorted(turning(60).records, key=lambda one: one.time)


def test_what_a_policy_cut_is_one_key_away_and_so_is_the_way_back() -> None:
    async def test() -> None:
        for size in ((80, 24), (120, 40), (200, 60)):
            async with played(Played(STORY), size=size) as driven:
                await driven.press("c")
                await driven.sees("1 mark: 1 cut, 0 new, 0 gone quiet, 1 same", "came into force")
                cut = next(line for line in driven.screen if line.startswith("   CUT"))
                assert EVIL in cut
                await driven.sees("✓ 29 → ✗ 30")
                await driven.press("c")
                await driven.sees("PODS")

    run(test())


def test_the_mark_stands_on_the_timeline() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(120, 30)) as driven:
            await driven.sees("▲22:13:50 weather-egress")
            axis = next(line for line in driven.screen if "▲" in line)
            drops = next(line for line in driven.screen if line.startswith(" ✗ dropped"))
            first = min(drops.index(sign) for sign in "▁▂▃▄▅▆▇█" if sign in drops)
            assert axis.index("▲") == first

    run(test())


def test_a_mark_by_hand_takes_the_place_of_those_found() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(120, 30)) as driven:
            await driven.press("colon")
            await driven.type("mark 22:13:40")
            await driven.press("enter")
            await driven.sees("mark set at 22:13:40 UTC", "▲22:13:40 set by hand")
            await driven.press("c")
            await driven.sees("22:13:40.000 UTC set by hand")
            await driven.press("c", "colon")
            await driven.type("mark soon")
            await driven.press("enter")
            await driven.sees("usage: :mark [HH:MM:SS|off]")
            await driven.press("colon")
            await driven.type("mark off")
            await driven.press("enter")
            await driven.sees("▲22:13:50 weather-egress")

    run(test())


def test_a_mark_now_compares_with_what_comes() -> None:
    async def test() -> None:
        turn = (START + 30) * SECOND
        source = Played([one for one in STORY if one.time < turn])
        async with played(source, size=(120, 30)) as driven:
            await driven.press("M")
            await driven.sees("mark set at")
            source.play([one for one in STORY if one.time >= turn])
            await driven.press("c")
            await driven.sees("CUT", EVIL)

    run(test())


def test_e_writes_the_comparison(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(160, 30), export_dir=tmp_path) as driven:
            await driven.press("c")
            await driven.sees("1 mark")
            await driven.press("e")
            await driven.sees("2 rows written to")
        (path,) = tmp_path.iterdir()
        assert re.fullmatch(r"flowwatch-changes-\d{8}-\d{6}\.md", path.name)
        text = path.read_text(encoding="utf-8")
        assert text.startswith("## flowwatch changes: 1 mark: 1 cut")

    run(test())


def test_where_nothing_changed_nothing_is_found() -> None:
    async def test() -> None:
        async with played(Played(STORY[: len(STORY) // 4])) as driven:
            assert "▲" not in driven.text
            await driven.press("c")
            await driven.sees("No change of policies shows in what was read so far")

    run(test())
