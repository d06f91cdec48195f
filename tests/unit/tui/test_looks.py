"""How it looks: every size of terminal, every theme, without colour, and with hostile text."""

from __future__ import annotations

import re

import pytest

from flowwatch.flows.model import Endpoint
from flowwatch.flows.source import SourceState
from flowwatch.report.human import width
from flowwatch.text import safe
from flowwatch.tui.layout import layout
from flowwatch.tui.parts.banner import banner_line
from flowwatch.tui.parts.title import title_line
from flowwatch.tui.state import ViewState
from flowwatch.tui.theme import FANCY, PLAIN, ROLES, THEMES, Look, auto_theme, signs_for
from tests.unit.tui.driven import run, shown
from tests.unit.tui.made import (
    FOLLOWING,
    LOST,
    NOON,
    SECOND,
    STORY,
    ShownMonitor,
    denied,
    record,
    snapshot,
)

HOSTILE = "\x1b]0;owned\x07\x1b[2J[bold red]x[/]\u202egpj\x9b31m\r\n=cmd()"


@pytest.mark.parametrize(
    ("columns", "lines"),
    [(80, 24), (60, 20), (40, 10), (200, 50), (132, 24), (80, 5), (20, 6), (10, 3), (1, 1)],
)
def test_every_size_works_and_nothing_is_wider_than_the_terminal(columns: int, lines: int) -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), size=(columns, lines)) as driven:
            for keys in ((), ("enter",), ("t",), ("question_mark",), ("escape",)):
                await driven.press(*keys)
                assert len(driven.screen) <= lines
                assert max(width(line) for line in driven.screen) <= columns

    run(test())


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (60, 20), (40, 10)])
def test_small_terminals_show_what_matters_first(columns: int, lines: int) -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), size=(columns, lines)) as driven:
            assert "15 dropped" in driven.text
            assert [line[1] for line in driven.screen if line.startswith("▌")] == ["✗"]
            first = next(line for line in driven.screen if line.startswith("▌"))
            assert "www" in first
            assert " 12 " in first
            assert "q quit" in driven.screen[-1]

    run(test())


def test_a_smaller_terminal_gives_up_columns_not_rows() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), size=(200, 40)) as driven:
            await driven.sees("DROPPED", "FORWARDED", "POD", "DESTINATION", "REASON", "POLICY")
            await driven.press("enter")
            await driven.resize(60, 40)
            await driven.sees("DROPPED", "DESTINATION")
            assert "POLICY_DENIED" not in driven.text
            assert sum(line[1:2] in ("✗", "!", "✓") for line in driven.screen[6:]) == len(STORY)

    run(test())


def test_the_layout_always_fills_the_terminal() -> None:
    for lines in range(1, 80):
        for columns in (40, 80, 140):
            for choice in range(8):
                plan = layout(
                    columns,
                    lines,
                    banner=bool(choice & 1),
                    detail=bool(choice & 2),
                    tail=bool(choice & 4),
                    needed=lines // 3 * (choice % 3),
                )
                used = plan.title + plan.banner + plan.headline + plan.timeline + plan.footer
                used += plan.tabs + plan.table + plan.tail + (0 if plan.side else plan.detail)
                assert used == lines
                assert min(plan.table, plan.detail, plan.tail) >= 0


def test_every_outcome_has_a_sign_of_its_own_without_colour() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), size=(100, 30), theme="mono") as driven:
            signs = [line[1] for line in driven.screen if ":443" in line or ":80" in line]
            assert signs[:5] == ["✗", "✗", "!", "!", "✓"]
            strips = driven.app.screen._compositor.render_strips()
            for strip in strips:
                for segment in strip:
                    if segment.style is not None and segment.text.strip():
                        for color in (segment.style.color, segment.style.bgcolor):
                            assert color is None or color.is_default
            bold = [s.text for strip in strips for s in strip if s.style and s.style.bold]
            assert any("POLICY_DENIED" in text for text in bold)
            assert not any("openweathermap" in text for text in bold)

    run(test())


@pytest.mark.parametrize("theme", [name for name in THEMES if name != "auto"])
def test_themes_have_every_role_and_no_true_colour(theme: str) -> None:
    look = Look(theme)
    for role in ROLES:
        for style in (look.style(role), look.style(f"cursor:{role}")):
            for color in (style.color, style.bgcolor):
                assert color is None or color.triplet is None


@pytest.mark.parametrize(
    ("environ", "background", "theme"),
    [
        ({"NO_COLOR": "1", "TERM": "xterm-256color"}, "dark", "mono"),
        ({"NO_COLOR": "", "TERM": "xterm-256color"}, "dark", "dark"),
        ({"TERM": "dumb"}, "", "mono"),
        ({"TERM": "linux"}, "dark", "ansi"),
        ({"TERM": "xterm-256color"}, "light", "light"),
        ({"TERM": "xterm-256color"}, "", "ansi"),
        ({"TERM": "tmux-256color", "COLORFGBG": "0;15"}, "", "light"),
        ({"TERM": "xterm-256color", "COLORFGBG": "15;0"}, "", "dark"),
        ({"TERM": "xterm-256color", "COLORFGBG": "15;default"}, "", "ansi"),
    ],
)
def test_the_theme_that_auto_chooses(environ: dict[str, str], background: str, theme: str) -> None:
    assert auto_theme(environ, background) == theme


def test_terminals_without_utf_8_get_ascii() -> None:
    assert signs_for({"TERM": "xterm-256color"}, "utf-8") is FANCY
    assert signs_for({"TERM": "xterm-256color"}, "iso8859-1") is PLAIN
    assert signs_for({"TERM": "linux"}, "utf-8") is PLAIN
    assert signs_for({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, "utf-8") is PLAIN
    assert signs_for({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, "utf-8") is PLAIN
    assert signs_for({"LC_CTYPE": "de_DE.UTF-8", "LANG": "C"}, "utf-8") is FANCY


def test_a_theme_can_be_changed_while_it_runs() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot())) as driven:
            await driven.press("colon")
            await driven.type("theme dark")
            await driven.press("enter")
            assert driven.app.look.name == "dark"
            await driven.press("T")
            await driven.sees("theme: light")

    run(test())


def test_hostile_text_is_written_out_everywhere() -> None:
    rows = (
        denied(1, namespace=HOSTILE, pod=HOSTILE, workload=HOSTILE, peer=HOSTILE),
        denied(2, drop_reasons={HOSTILE: 3}, peer_addresses=(HOSTILE,), protocol=HOSTILE),
        denied(3, drop_reasons={"L7_DENIED": 3}, proxy_refused=(f"GET {HOSTILE}", HOSTILE)),
    )
    records = (record(1, 1.0, pod=HOSTILE, peer=HOSTILE, reason=HOSTILE, node=HOSTILE),)
    state = SourceState(
        where=HOSTILE, phase="lost", message=HOSTILE, unavailable=(HOSTILE,), nodes_connected=1
    )

    async def test() -> None:
        made = snapshot(rows, recent=records, warnings=(safe(HOSTILE),), nodes=(HOSTILE,))
        monitor = ShownMonitor(made, state)
        monitor.two_ends = (Endpoint(labels=(f"k8s:{HOSTILE}",)), Endpoint(labels=(HOSTILE,)))
        async with shown(monitor, size=(240, 50), filter_words=HOSTILE) as driven:
            for keys in ((), ("t",), ("enter",), ("j",), ("w",)):
                await driven.press(*keys)
                await driven.settled()
                for char in driven.text.replace("\n", ""):
                    assert char.isprintable(), (keys, driven.text)
                assert "\\x1b]0;owned" in driven.text
                assert "[bold red]" in driven.text

    run(test())


def test_wide_characters_keep_the_columns_straight() -> None:
    async def test() -> None:
        rows = (
            denied(1, pod="天気アプリ天気アプリ天気アプリ", peer="例え.テスト.example"),
            denied(2),
        )
        async with shown(ShownMonitor(snapshot(rows)), size=(100, 24)) as driven:
            ends = [
                width(line[: line.index("POLICY_DENIED")])
                for line in driven.screen
                if "POLICY_DENIED" in line
            ]
            assert len(ends) == 2
            assert ends[0] == ends[1]

    run(test())


def test_the_headline_says_what_is_missing_from_the_numbers() -> None:
    async def test() -> None:
        state = SourceState(
            where="relay:443", phase="following", nodes_connected=2, nodes_unavailable=1,
            unavailable=("node-3",), encrypted=True, backlog=900, backlog_limit=1000,
        )  # fmt: skip
        async with shown(ShownMonitor(snapshot(lost=LOST), state), size=(160, 40)) as driven:
            await driven.sees("relay:443 TLS", "2/3 nodes", "at least 15 dropped")
            await driven.sees("312 events lost", "1 of 3 nodes unseen: node-3")
            await driven.sees("can't keep up: buffer 90% full")
            await driven.sees("! 4 audited", "! 2 errors")

    run(test())


@pytest.mark.parametrize(
    ("asked", "since", "shown_as"),
    [
        ((2, 0), (), " 2 nodes "),
        ((1, 0), (), " 1 node "),
        # Lost after we asked: still two nodes in all.
        ((2, 0), ("node-2",), " 1/2 nodes "),
        ((2, 1), ("node-3",), " 2/3 nodes "),
        ((2, 1), (), " 2/3 nodes "),
        ((2, 1), ("node-1", "node-3"), " 1/3 nodes "),
    ],
)
def test_nodes_are_counted_once(
    asked: tuple[int, int], since: tuple[str, ...], shown_as: str
) -> None:
    connected, away = asked
    state = SourceState(
        "relay:443",
        "following",
        nodes_connected=connected,
        nodes_unavailable=away,
        unavailable=since,
    )
    view = ViewState("flowwatch")
    assert shown_as in "".join(text for text, _ in title_line(state, view, 120, FANCY))


def test_nothing_in_the_headline_is_cut() -> None:
    whole = re.compile(
        r" ✗ \S+ dropped(   ✓ \S+ forwarded)?(   \S+% dropped)?"
        r"(   ! \S+ audited)?(   ! \S+ errors)?( +in 1m)?"
    )

    async def test() -> None:
        many = (*STORY, denied(8, dropped=1_234_567), denied(9, forwarded=98_765))
        async with shown(ShownMonitor(snapshot(many)), size=(120, 20)) as driven:
            for columns in range(20, 121, 5):
                await driven.resize(columns, 20)
                assert whole.fullmatch(driven.screen[1]), driven.screen[1]

    run(test())


def test_the_timeline_tells_dropped_from_forwarded_without_colour() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), size=(100, 30)) as driven:
            dropped = next(line for line in driven.screen if line.startswith(" ✗ dropped max"))
            kept = next(line for line in driven.screen if line.startswith(" ✓ forwarded max"))
            assert dropped.count("█") == 6
            # Nothing was dropped in the first half.
            assert dropped.index("▂") > kept.index("▄") + 25
            await driven.sees("12:00:00 ─", "12:01:00 UTC", "per 1s")

    run(test())


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_banner_has_the_cause_and_the_next_try(columns: int) -> None:
    state = SourceState(
        where="localhost:4245",
        phase="lost",
        message="cannot connect to localhost:4245: connection refused",
        since=NOON / SECOND,
        retry_in=3.0,
    )
    line = "".join(text for text, _ in banner_line(state, NOON / SECOND + 90, columns))
    assert width(line) == columns
    assert "retry in 3s" in line
    if columns >= 80:
        assert "cannot connect to localhost:4245: connection refused" in line
    if columns >= 120:
        assert "since 12:00:00 UTC (1m30s)" in line


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (SourceState("localhost:4245", "connecting"), ["Connecting to localhost:4245", "demo"]),
        (
            SourceState("localhost:4245", "lost", "cannot connect to localhost:4245", retry_in=1.0),
            ["No connection yet: cannot connect to localhost:4245", "port-forward"],
        ),
        (FOLLOWING, ["Connected to localhost:4245; no flow has come yet", "is anything sending?"]),
        (SourceState("x.jsonl", "ended"), ["x.jsonl has no flow"]),
        (SourceState("x.jsonl", "failed", "not JSON"), ["Reading x.jsonl failed: not JSON"]),
    ],
)
def test_an_empty_table_says_why_and_what_to_check(state: SourceState, words: list[str]) -> None:
    async def test() -> None:
        empty = snapshot((), records_read=0, recent=(), first_seen=0, last_seen=0)
        async with shown(ShownMonitor(empty, state)) as driven:
            await driven.sees(*words)
            if state.phase == "lost":
                assert "Connected to" not in driven.text
            assert "filters" not in driven.text

    run(test())


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (FOLLOWING, ["no flow matches these filters yet", "flowwatch without filters"]),
        (SourceState("x.jsonl", "ended"), ["x.jsonl has no flow that these filters match"]),
    ],
)
def test_an_empty_table_names_the_filters_that_were_given(
    state: SourceState, words: list[str]
) -> None:
    async def test() -> None:
        empty = snapshot((), records_read=0, recent=(), first_seen=0, last_seen=0)
        given = "--namespace wether"
        async with shown(ShownMonitor(empty, state), filter_words=given) as driven:
            await driven.sees(*words, f"the filters: {given}")

    run(test())


def test_an_empty_table_tells_of_the_other_direction_and_of_names_that_are_near() -> None:
    async def test() -> None:
        ingress = snapshot((), elsewhere=2)
        async with shown(ShownMonitor(ingress, FOLLOWING)) as driven:
            await driven.sees("no egress attempt in them", "2 ingress attempts were seen: i shows")
        near = "no record of namespace wether; seen: weather"
        nothing = snapshot((), records_read=0, recent=(), first_seen=0, last_seen=0, notes=(near,))
        async with shown(ShownMonitor(nothing, SourceState("x.jsonl", "ended"))) as driven:
            await driven.sees("x.jsonl has no flow", near)

    run(test())
