"""The dashboard under keys: filter, selection, pause, export, command line, pages, leaving.

The monitor is the real one; records are by hand, and what is looked at is the screen.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowwatch.flows.model import Batch, Endpoint, Flow, LostEvents
from flowwatch.flows.source import SourceState
from tests.unit.flows.made import denied, flow
from tests.unit.tui.driven import Driven, Played, played, run
from tests.unit.tui.made import FOLLOWING

LIVE = SourceState(where="localhost:4245", phase="following")


def pod(name: str, namespace: str = "weather") -> Endpoint:
    return Endpoint(identity=1001, namespace=namespace, pod=name, workload=name)


def address(name: str) -> str:
    """A pod's own: attempts are told apart by addresses and ports."""
    return f"10.0.0.{ord(name[0])}"


def drops(name: str, times: int, at: float = 0.0, peer: str = "1.2.3.4") -> list[Flow]:
    """``times`` blocked attempts, each from a port of its own."""
    return [
        record
        for number in range(times)
        for record in denied(
            at + number,
            source=pod(name),
            source_ip=address(name),
            destination_ip=peer,
            source_port=30_000 + number,
        )
    ]


def passes(name: str, at: float = 0.0, **fields: object) -> list[Flow]:
    return [flow(at, source=pod(name), source_ip=address(name), **fields)]


STORY = [*drops("beta", 3), *drops("alpha", 2), *passes("gamma"), *passes("delta")]


def order(driven: Driven) -> list[str]:
    """The pods of the rows, from the top."""
    names = ("alpha", "beta", "gamma", "delta")
    rows = [line for line in driven.screen[6:20] if line[1:2] in ("✗", "✓", "!")]
    return [name for line in rows for name in names if f" {name} " in line]


def cursor(driven: Driven) -> str:
    return next((line for line in driven.screen if line.startswith("▌")), "")


def test_drops_come_first_and_differ_from_others_without_colour() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.sees("delta")
            assert order(driven)[:2] == ["beta", "alpha"]
            assert set(order(driven)[2:]) == {"gamma", "delta"}
            rows = [line for line in driven.screen if "weather" not in line and ":443" in line]
            assert [line[1] for line in rows] == ["✗", "✗", "✓", "✓"]
            assert "✗ 5 dropped" in driven.text
            assert "✓ 2 forwarded" in driven.text
            assert "71.4% dropped" in driven.text

    run(test())


def test_the_filter_follows_the_typing_and_esc_clears_it() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.press("slash")
            await driven.type("alp")
            await driven.until(lambda: order(driven) == ["alpha"], "alpha alone")
            await driven.press("enter")
            assert "/alp" in driven.screen[0]
            # Of the rows shown, and the whole beside them.
            assert "✗ 2 of 5 dropped" in driven.text
            await driven.press("escape")
            await driven.until(lambda: len(order(driven)) == 4, "all rows again")
            await driven.press("slash")
            await driven.type("!alpha")
            await driven.until(lambda: "alpha" not in order(driven), "all but alpha")
            await driven.press("escape")
            await driven.until(lambda: len(order(driven)) == 4, "all rows again")

    run(test())


def test_a_filter_that_matches_nothing_says_what_to_do() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.press("slash")
            await driven.type("nowhere")
            await driven.sees("None of 4 rows matches /nowhere", "esc clears the filter")

    run(test())


def test_keys_of_the_map_are_text_while_a_line_is_typed() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.press("slash")
            await driven.type("qd?")
            await driven.sees("/qd?")
            assert driven.app.is_running
            assert not driven.app.chosen.query.drops_only

    run(test())


def test_the_selection_stays_with_its_row() -> None:
    async def test() -> None:
        source = Played(STORY)
        async with played(source) as driven:
            await driven.sees("delta")
            await driven.press("j")
            assert "alpha" in cursor(driven)
            source.play(drops("alpha", 6, at=100.0))
            await driven.until(lambda: order(driven)[:2] == ["alpha", "beta"], "alpha on top")
            assert "alpha" in cursor(driven)
            source.play(drops("beta", 20, at=200.0, peer="9.9.9.9"))
            await driven.sees("9.9.9.9")
            assert "alpha" in cursor(driven)

    run(test())


def test_an_unmoved_selection_stays_at_the_top() -> None:
    async def test() -> None:
        source = Played(STORY)
        async with played(source) as driven:
            await driven.sees("delta")
            assert "beta" in cursor(driven)
            source.play(drops("alpha", 6, at=100.0))
            await driven.until(lambda: "alpha" in cursor(driven), "the new first row")

    run(test())


def test_moving_by_lines_pages_and_ends() -> None:
    async def test() -> None:
        many = [record for i in range(200) for record in drops("alpha", 1, i, f"10.0.{i}.1")]
        async with played(Played(many), size=(80, 25)) as driven:
            await driven.until(lambda: "1/200" in driven.text, "all rows")
            for key, place in (
                ("j", 2), ("down", 3), ("k", 2), ("up", 1), ("ctrl+d", 9), ("ctrl+u", 1),
                ("pagedown", 17), ("pageup", 1), ("G", 200), ("g", 1),
            ):  # fmt: skip
                await driven.press(key)
                await driven.sees(f" {place}/200")

    run(test())


def test_the_last_of_many_rows_is_one_key_away() -> None:
    async def test() -> None:
        many = [
            record
            for i in range(700)
            for record in denied(
                i, source=pod("alpha"), destination_ip=f"10.{i // 200}.{i % 200}.1"
            )
        ]
        async with played(Played(many), size=(80, 24)) as driven:
            await driven.until(lambda: "1/700" in driven.text, "all rows")
            await driven.press("G")
            await driven.until(lambda: "700/700" in driven.text, "the last row")

    run(test())


def test_drops_only_sort_and_direction() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.press("d")
            await driven.until(lambda: order(driven) == ["beta", "alpha"], "drops only")
            assert "drops only" in driven.screen[0]
            await driven.press("d")
            await driven.until(lambda: len(order(driven)) == 4, "all rows")
            for _ in range(4):
                await driven.press("s")
            await driven.until(
                lambda: order(driven) == ["alpha", "beta", "delta", "gamma"], "by pod"
            )
            assert "by pod" in driven.screen[0]
            await driven.press("i")
            await driven.sees("no ingress attempt")

    run(test())


def test_a_pause_freezes_the_screen_and_loses_nothing() -> None:
    async def test() -> None:
        source = Played(STORY, LIVE)
        async with played(source) as driven:
            await driven.sees("✗ 5 dropped")
            await driven.press("p")
            await driven.sees("PAUSED")
            source.play(drops("alpha", 4, at=100.0))
            await driven.sees("8 records behind")
            assert "✗ 5 dropped" in driven.text
            assert order(driven)[0] == "beta"
            await driven.press("p")
            await driven.sees("✗ 9 dropped")
            assert "PAUSED" not in driven.text
            assert order(driven)[0] == "alpha"

    run(test())


def test_export_writes_what_is_shown_and_names_the_file(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(160, 30), export_dir=tmp_path) as driven:
            await driven.press("d")
            await driven.until(lambda: order(driven) == ["beta", "alpha"], "drops only")
            await driven.press("e")
            await driven.sees("2 rows written to")
        (path,) = tmp_path.iterdir()
        assert path.name.startswith("flowwatch-egress-drops-")
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [(row["pod"], row["dropped"]) for row in rows] == [("beta", "3"), ("alpha", "2")]

    run(test())


def test_80_columns_hold_both_files_that_an_export_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Losing(Played):
        def batches(self) -> Iterator[Batch]:
            yield Batch(lost=[LostEvents("HUBBLE_RING_BUFFER", 3, "n1", 0)])
            yield from super().batches()

    async def test() -> None:
        async with played(Losing(STORY), size=(80, 24), export_dir=Path()) as driven:
            await driven.press("d")
            await driven.until(lambda: order(driven) == ["beta", "alpha"], "drops only")
            await driven.press("e")
            await driven.sees("2 rows written to")
            name = next(tmp_path.glob("*.csv")).name
            assert f"2 rows written to {name} + .warnings.json" in driven.text
        assert (tmp_path / f"{name}.warnings.json").exists()

    monkeypatch.chdir(tmp_path)
    run(test())


def test_an_export_that_fails_says_why_and_the_dashboard_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        missing = tmp_path / "not" / "there"
        async with played(Played(STORY), size=(160, 30), export_dir=missing) as driven:
            await driven.press("e")
            await driven.sees("o such file or directory")
            assert driven.app.is_running
            assert len(order(driven)) == 4

    run(test())


def test_an_export_to_nobodys_home_says_so(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(160, 30), export_dir=tmp_path) as driven:
            await driven.press("colon")
            await driven.type("export ~nosuchuser/rows.csv")
            await driven.press("enter")
            await driven.sees("~nosuchuser/rows.csv: No such file or directory")

    run(test())


def test_export_of_a_pause_writes_the_frozen_rows(tmp_path: Path) -> None:
    async def test() -> None:
        source = Played(STORY, LIVE)
        async with played(source, size=(160, 30), export_dir=tmp_path) as driven:
            await driven.sees("✗ 5 dropped")
            await driven.press("p")
            await driven.sees("PAUSED")
            source.play(drops("alpha", 4, at=100.0))
            await driven.sees("records behind")
            await driven.press("colon")
            await driven.type("export frozen.csv")
            await driven.press("enter")
            await driven.sees("4 rows written to")
        with (tmp_path / "frozen.csv").open(newline="", encoding="utf-8") as file:
            counted = {row["pod"]: row["dropped"] for row in csv.DictReader(file)}
        assert counted["alpha"] == "2"

    run(test())


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("nonsense", "no command 'nonsense'"),
        ("sort sideways", "usage: :sort drops|forwarded|rate|last|pod|peer"),
        ("dir up", "usage: :dir egress|ingress|both"),
        ("quit now", ":quit takes no argument"),
    ],
)
def test_a_wrong_command_is_answered_with_the_right_one(typed: str, said: str) -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.press("colon")
            await driven.type(typed)
            await driven.press("enter")
            await driven.sees(said)
            assert driven.app.is_running

    run(test())


def test_commands_do_what_they_say() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            for typed, there in (
                ("sort peer", "by peer"),
                ("drops", "drops only"),
                ("dir both", "both"),
                ("help", "keys and commands"),
            ):
                await driven.press("colon")
                await driven.type(typed)
                await driven.press("enter")
                await driven.sees(there)
            await driven.press("escape", "colon")
            await driven.type("q")
            await driven.press("enter")
            await driven.until(lambda: driven.app.return_value == 0, "the end")

    run(test())


def test_tab_completes_and_history_comes_back() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.press("colon", "s", "o", "tab")
            await driven.type("pe")
            await driven.press("tab")
            await driven.sees(":sort peer")
            await driven.press("enter", "colon", "up")
            await driven.sees(":sort peer")

    run(test())


def test_help_scrolls_and_esc_leaves_it() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(60, 20)) as driven:
            await driven.press("question_mark")
            await driven.sees("keys and commands", "down a row")
            seen = driven.text
            for _ in range(20):
                await driven.press("pagedown")
                seen += driven.text
            for words in ("quit", ":export", "hold the screen", "100%"):
                assert words.lstrip(":") in seen, words
            await driven.press("escape")
            await driven.until(lambda: len(order(driven)) == 4, "the table")

    run(test())


def test_enter_opens_the_detail_below_or_beside_and_closes_it() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(80, 30)) as driven:
            await driven.press("enter")
            await driven.sees("Policies apply to this pod, and none of their rules allows")
            assert any(line.startswith("─ Detail") for line in driven.screen)
            await driven.press("enter")
            await driven.until(lambda: "Detail" not in driven.text, "no detail")
        async with played(Played(STORY), size=(230, 30)) as driven:
            await driven.sees("default deny, for which Hubble names no policy")
            assert any("│─ Detail" in line and line.index("│") > 60 for line in driven.screen)

    run(test())


def test_the_detail_follows_the_selection() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(150, 40)) as driven:
            await driven.sees("✗ weather/beta → 1.2.3.4:443 TCP", "3 dropped, from 6 records")
            await driven.press("j")
            await driven.sees("✗ weather/alpha → 1.2.3.4:443 TCP", "2 dropped, from 4 records")
            await driven.sees("drop POLICY_DENIED SYN node-1", "policy-verdict POLICY_DENIED SYN")

    run(test())


def test_the_tail_shows_records_as_they_come() -> None:
    async def test() -> None:
        source = Played(STORY, LIVE)
        async with played(source, size=(120, 30)) as driven:
            await driven.press("t")
            await driven.sees("Last records", "FORWARDED")
            source.play(drops("alpha", 1, at=300.0, peer="8.7.6.5"))
            await driven.sees("weather/alpha", "8.7.6.5:443")
            await driven.press("t")
            await driven.until(lambda: "Last records" not in driven.text, "no tail")

    run(test())


def test_a_tail_without_room_says_so() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(80, 24)) as driven:
            await driven.press("enter", "t")
            await driven.sees("the last records show when the detail is closed")
            await driven.press("enter")
            await driven.sees("Last records")

    run(test())


def test_losing_the_server_shows_a_banner_and_keeps_the_rows() -> None:
    async def test() -> None:
        source = Played(STORY, FOLLOWING)
        async with played(source, size=(100, 24)) as driven:
            await driven.sees("live", "2 nodes", "✗ 5 dropped")
            source.become(
                SourceState(
                    where="localhost:4245",
                    phase="lost",
                    message="connection refused",
                    since=1_700_000_000.0,
                    retry_in=4.0,
                )
            )
            await driven.sees("Lost localhost:4245: connection refused", "since 22:13:20 UTC")
            await driven.sees("retry in 4s", "LOST")
            assert order(driven)[:2] == ["beta", "alpha"]
            assert "✗ 5 dropped" in driven.text
            source.become(FOLLOWING)
            await driven.until(lambda: "retry in" not in driven.text, "no banner")
            assert order(driven)[:2] == ["beta", "alpha"]

    run(test())


def test_the_first_ctrl_c_says_how_to_quit_and_the_second_quits() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.press("ctrl+c")
            await driven.sees("ctrl-c again to quit")
            assert driven.app.is_running
            await driven.press("ctrl+c")
            await driven.until(lambda: driven.app.return_value == 0, "the end")

    run(test())


def test_ctrl_c_leaves_an_input_and_not_the_dashboard() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.press("slash")
            await driven.type("alpha")
            await driven.press("ctrl+c", "ctrl+c")
            await driven.until(lambda: len(order(driven)) == 4, "all rows")
            assert driven.app.return_value is None

    run(test())


def test_q_quits() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.press("q")
            await driven.until(lambda: driven.app.return_value == 0, "the end")

    run(test())


def test_nothing_is_asked_of_the_monitor_while_nothing_changes() -> None:
    async def test() -> None:
        async with played(Played(STORY)) as driven:
            await driven.sees("delta")
            await driven.settled()
            first = driven.app.frame
            assert first is not None
            for _ in range(20):
                await driven._pilot.pause(0.05)
            assert driven.app.frame is not None
            assert driven.app.frame.number == first.number

    run(test())
