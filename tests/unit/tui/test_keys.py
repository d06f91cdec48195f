"""The tables of keys and commands: complete, without contradictions, and all of them reachable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowwatch.tui import keys
from flowwatch.tui.actions import ACTIONS, COMMAND_ACTIONS
from flowwatch.tui.commands import COMMANDS, BadCommand, CommandLine
from flowwatch.tui.format import Line
from flowwatch.tui.named import NAMES
from flowwatch.tui.parts.columns import COLUMNS
from flowwatch.tui.parts.footer import keys_line
from flowwatch.tui.view import command_table, key_map
from flowwatch.tui.views import VIEWS
from flowwatch.tui.views.help import help_lines

MAP = key_map(VIEWS)
TABLE = (keys.ROWS, keys.TRAFFIC, keys.ANYWHERE)
COMMAND_LINE = CommandLine(command_table(VIEWS))


def plain(line: Line) -> str:
    return "".join(text for text, _ in line)


def test_every_key_has_an_action_and_every_action_a_key() -> None:
    assert {key.action for key in keys.KEYS} == set(ACTIONS)
    assert {command.name for command in COMMANDS} == set(COMMAND_ACTIONS)


def test_no_key_means_two_things() -> None:
    names = [(key.context, name) for key in MAP.keys for name in key.keys]
    assert len(names) == len(set(names))
    assert {key.group for key in MAP.keys} == set(keys.GROUPS)
    own = {view.name for view in VIEWS if view.keys}
    assert {key.context for key in MAP.keys} == {*keys.CONTEXTS, *own}


def test_a_key_that_is_taken_is_refused() -> None:
    with pytest.raises(ValueError, match="d is both drops and other"):
        keys.KeyMap([*keys.KEYS, keys.Key("other", ("d",), "", context=keys.TRAFFIC)])
    with pytest.raises(ValueError, match="d opens audit, and is drops already"):
        key_map([replace(view, key=("d",)) if view.name == "audit" else view for view in VIEWS])


@pytest.mark.parametrize(
    ("name", "character", "action"),
    [
        ("j", "j", "down"),
        ("down", None, "down"),
        ("G", "G", "bottom"),
        ("g", "g", "top"),
        ("ctrl+d", "\x04", "half_down"),
        ("question_mark", "?", "help"),
        ("slash", "/", "filter"),
        ("colon", ":", "command"),
        ("enter", "\r", "detail"),
        ("escape", "\x1b", "back"),
    ],
)
def test_keys_as_textual_names_them(name: str, character: str | None, action: str) -> None:
    found = MAP.lookup(name, character, TABLE)
    assert found is not None
    assert found.action == action


def test_an_unknown_key_means_nothing() -> None:
    assert MAP.lookup("f9", None, TABLE) is None
    assert MAP.lookup("ü", "ü", TABLE) is None


def test_help_has_every_key_and_command() -> None:
    headings = {one.title: one.words for one in COLUMNS}
    lines = help_lines(100, MAP.keys, COMMAND_LINE.commands, headings, [])
    helped = " ".join(" ".join(plain(line) for line in lines).split())
    for key in MAP.keys:
        assert NAMES.told(key.words) in helped
        assert keys.labels(key) in helped
    for heading, words in headings.items():
        assert f"{heading} {words.replace('`', '')}" in helped
    for command in COMMAND_LINE.commands:
        assert f":{command.name}" in helped or command.synopsis in helped


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_the_footer_always_has_help_and_quit(columns: int) -> None:
    line = plain(keys_line(MAP.acting(TABLE), (), columns))
    assert "? help" in line
    assert "q quit" in line
    assert len(line) <= columns


@pytest.mark.parametrize(
    ("typed", "name", "argument"),
    [
        ("q", "quit", ""),
        ("exp", "export", ""),
        ("export my file.csv", "export", "my file.csv"),
        ("sort f", "sort", "forwarded"),
        ("drops", "drops", ""),
        ("drops on", "drops", "on"),
        ("w x.csv", "export", "x.csv"),
        ("dir both", "dir", "both"),
    ],
)
def test_commands_as_typed(typed: str, name: str, argument: str) -> None:
    command, given = COMMAND_LINE.parse(typed)
    assert (command.name, given) == (name, argument)


@pytest.mark.parametrize("typed", ["zzz", "d", "sort", "sort p", "dir out", "drops maybe", "all x"])
def test_what_is_not_clear_is_refused(typed: str) -> None:
    with pytest.raises(BadCommand):
        COMMAND_LINE.parse(typed)


def test_hostile_text_in_a_command_is_written_out() -> None:
    with pytest.raises(BadCommand, match=r"no command '\\x1b\[31m'"):
        COMMAND_LINE.parse("\x1b[31m")


def test_completions_are_whole_lines() -> None:
    assert COMMAND_LINE.completions("so") == ["sort "]
    assert COMMAND_LINE.completions("sort p") == ["sort pod", "sort peer"]
    assert COMMAND_LINE.completions("nothing") == []
