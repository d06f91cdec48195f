"""The filter bar: what it suggests, completes and refuses; filters that are saved; the palette."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowwatch.tui.editor import Editor
from flowwatch.tui.palette import MEANINGS, found
from flowwatch.tui.parts.footer import editor_line
from flowwatch.tui.saved import read_saved, saved_file, write_saved
from flowwatch.tui.views import VIEWS
from tests.unit.tui.driven import Driven, Played, played, run
from tests.unit.tui.test_dashboard import STORY


def line_of(driven: Driven) -> str:
    line = driven.app.footer.line
    return line.text if line is not None else ""


def test_an_error_points_at_its_word_and_says_what_was_meant() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(120, 30)) as driven:
            await driven.press("slash")
            await driven.type("verdict:dr polcy:x")
            await driven.sees("no key 'polcy:' in a filter: did you mean policy:?")
            line = driven.app.footer.lines[0]
            assert [text for text, role in line if role == "drop"] == ["polcy:x"]
            await driven.press("escape", "slash")
            await driven.type("port:https")
            await driven.sees("'https' is no port: 443, 53/udp or 8000-8100")

    run(test())


def test_a_bad_word_is_marked_wherever_the_caret_is() -> None:
    editor = Editor("/", "ab nss:x cd")
    editor.caret = 5
    line = editor_line(editor, "", 80, (3, 5))
    assert [piece for piece in line if piece[0].strip()] == [
        (" /", "accent"), ("ab ", "input"), ("ns", "drop"), ("s", "caret"), (":x", "drop"), (" cd", "input"),
    ]  # fmt: skip


def test_keys_and_values_that_were_seen_are_completed() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(120, 30)) as driven:
            await driven.press("slash")
            await driven.type("verd")
            await driven.press("tab")
            assert line_of(driven) == "verdict:"
            await driven.sees("audited dropped errors forwarded")
            await driven.type("dr")
            await driven.press("tab")
            assert line_of(driven) == "verdict:dropped "
            await driven.type("!ns:")
            await driven.sees("weather")
            await driven.press("tab")
            assert line_of(driven) == "verdict:dropped !ns:weather "
            await driven.press("enter", "slash", "up")
            assert line_of(driven) == "verdict:dropped !ns:weather "

    run(test())


def test_what_finds_nothing_is_told_with_what_is_like_it() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(120, 30)) as driven:
            await driven.press("slash")
            await driven.type("ns:wether pod:alpha")
            await driven.press("enter")
            await driven.sees("nothing seen has ns:wether: did you mean ns:weather?")
            await driven.press("escape", "slash")
            await driven.type("alpha beta")
            await driven.sees("each word finds something, but no row has them all")

    run(test())


def test_ns_and_pod_as_commands() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(120, 30)) as driven:
            for line, text in (
                ("ns weather", "ns:=weather"),
                ("pod alpha", "ns:=weather pod:=alpha"),
                ("ns", "pod:=alpha"),
                ("pod all", ""),
            ):
                await driven.press("colon")
                await driven.type(line)
                await driven.press("enter")
                assert driven.app.chosen.query.text == text

    run(test())


def test_filters_are_saved_by_name_and_number(tmp_path: Path) -> None:
    path = tmp_path / "flowwatch" / "filters"

    async def test() -> None:
        async with played(Played(STORY), size=(120, 30), saved=path) as driven:

            async def command(line: str) -> None:
                await driven.press("colon")
                await driven.type(line)
                await driven.press("enter")

            await command("keep mine")
            await driven.sees("there is no filter: / begins one")
            await command("filter ns:weather verdict:dropped")
            await command("keep mine")
            await driven.sees("kept: :use mine, or :use 1")
            await command("all")
            await command("use 1")
            assert driven.app.chosen.query.text == "ns:weather verdict:dropped"
            await command("all")
            await command("use mi")
            assert driven.app.chosen.query.text == "ns:weather verdict:dropped"
            await command("use nope")
            await driven.sees("no filter was kept as 'nope': there are mine")
            await command("use")
            await driven.sees("1 mine (ns:weather verdict:dropped)")
            assert read_saved(path) == {"mine": "ns:weather verdict:dropped"}
            await command("forget mine")
            assert read_saved(path) == {}

    run(test())


def test_names_that_were_kept_or_seen_are_offered_and_completed(tmp_path: Path) -> None:
    path = tmp_path / "filters"
    write_saved(path, {"mine": "ns:weather", "my shop": "ns:shop", "other": "8080"})

    async def test() -> None:
        async with played(Played(STORY), size=(80, 24), saved=path) as driven:
            await driven.press("colon")
            await driven.type("use m")
            await driven.sees("mine  my shop")
            await driven.type("y")
            await driven.press("tab")
            assert line_of(driven) == "use my shop"
            await driven.press("enter")
            assert driven.app.chosen.query.text == "ns:shop"
            await driven.press("colon")
            await driven.type("forget 1")
            await driven.press("enter")
            await driven.sees("forgotten: mine")
            assert list(read_saved(path)) == ["my shop", "other"]
            await driven.press("colon")
            await driven.type("ns we")
            await driven.press("tab")
            assert line_of(driven) == "ns weather"
            await driven.press("escape", "colon")
            await driven.type("pod ")
            await driven.sees("alpha")

    run(test())


def test_values_are_offered_that_the_words_before_leave() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(120, 30)) as driven:
            await driven.press("slash")
            await driven.type("verdict:forwarded pod:")
            await driven.sees("2 rows  delta  gamma")
            await driven.type("alp")
            await driven.sees("0 rows  enter keeps, esc clears")

    run(test())


def test_the_keys_of_the_language_fit_into_80_columns() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(80, 24)) as driven:
            await driven.press("slash")
            await driven.sees("tab completes ns:")
            keys = "ns: pod: to: port: why: policy: label: staged: verdict:"
            assert driven.text.rstrip().endswith(f" /   tab completes {keys}")

    run(test())


def test_the_file_of_saved_filters(tmp_path: Path) -> None:
    path = saved_file({"XDG_CONFIG_HOME": str(tmp_path)})
    assert read_saved(path) == read_saved(None) == {}
    write_saved(path, {"a b": "to:x=y", "c": "d"})
    assert path.read_text() == "a b = to:x=y\nc = d\n"
    path.write_text("# mine\na b = to:x=y\nwithout\n")
    assert read_saved(path) == {"a b": "to:x=y"}


def test_a_file_of_filters_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "filters"
    path.write_bytes(b"\xff\xfe")

    async def test() -> None:
        async with played(Played(STORY), size=(120, 30), saved=path) as driven:
            await driven.press("colon")
            await driven.type("use 1")
            await driven.press("enter")
            await driven.sees("can't read", "utf-8")

    run(test())


@pytest.mark.parametrize(
    ("typed", "action"),
    [("blocked", "drops"), ("who talks", "destinations"), ("csv", "export"), ("graph", "map"),
     ("ingress", "direction"), ("colours", "theme"), ("freeze", "pause"), ("exit", "quit")],
)  # fmt: skip
def test_the_palette_finds_actions_by_what_they_mean(typed: str, action: str) -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(120, 30)) as driven:
            assert found(driven.app, typed.removesuffix("s"))[0][0] == action

    run(test())


def test_the_palette_does_what_it_says() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(120, 30)) as driven:
            await driven.press("ctrl+p")
            await driven.type("who talks")
            await driven.sees("who talks to each destination")
            await driven.press("enter")
            await driven.sees("WHO TALKS TO IT")
            names = {key.action for key in driven.app.keys} | {view.name for view in VIEWS}
            assert set(MEANINGS) <= names

    run(test())
