"""Keys of the user's own: what is taken, what is refused and where, and that footer and help know them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flowwatch.errors import UsageError
from flowwatch.tui.keys import ANYWHERE, ROWS, TRAFFIC
from flowwatch.tui.own_keys import read_keys
from flowwatch.tui.view import key_map
from flowwatch.tui.views import VIEWS
from tests.benchmarks.pty_driver import Terminal
from tests.command import clean_environment
from tests.unit.tui.driven import run, shown
from tests.unit.tui.made import ShownMonitor, snapshot

MAP = key_map(VIEWS)
TABLE = (ROWS, TRAFFIC, ANYWHERE)


def file(folder: Path, text: str) -> Path:
    path = folder / "keys"
    path.write_text(text)
    return path


def action(path: Path, key: str, character: str | None = None) -> str:
    found = read_keys(path, MAP).lookup(key, character, TABLE)
    return found.action if found is not None else ""


def test_an_action_has_the_keys_of_its_line_and_no_others(tmp_path: Path) -> None:
    path = file(
        tmp_path, "# mine\npause = X ctrl-o\ntail = none\npage_down = ctrl-f pgdn\naudit=F5 A\n"
    )
    assert action(path, "X", "X") == "pause"
    assert action(path, "ctrl+o") == "pause"
    assert action(path, "p", "p") == ""
    assert action(path, "t", "t") == ""
    assert action(path, "pagedown") == "page_down"
    assert action(path, "f5") == "audit"
    assert action(path, "d", "d") == "drops"


def test_keys_may_change_places(tmp_path: Path) -> None:
    path = file(tmp_path, "pause = d\ndrops = p\n")
    assert (action(path, "d", "d"), action(path, "p", "p")) == ("pause", "drops")


def test_what_shares_a_key_without_the_file_may_do_so_with_it(tmp_path: Path) -> None:
    path = file(tmp_path, "page_down = space\nunfold = space\n")
    assert action(path, " ", " ") == "unfold"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("puase = x", "keys:1: no action 'puase': did you mean pause?"),
        ("\npause = d", "keys:2: d is both drops and pause: give one of them another key, or none"),
        ("pause = X\nmark = X", "keys:2: X is both pause and mark"),
        ("quit = 5", "keys:1: 5 is both"),
        ("pause = contrl-x", "keys:1: no key 'contrl-x'"),
        ("pause = f13", "keys:1: no key 'f13'"),
        ("pause = entr", "keys:1: no key 'entr': did you mean enter?"),
        ("pause =", "keys:1: pause has no key: pause = none takes them away"),
        ("pause = X\npause = Y", "keys:2: pause has its keys in line 1"),
        ("interrupt = x", "keys:1: interrupt keeps its key"),
        ("pause", "keys:1: 'pause' is no 'name = value'"),
        ("pause = \x07", "keys:1: no key"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_keys(file(tmp_path, text), MAP)
    assert said in str(refused.value)
    assert str(refused.value).isprintable()


def test_every_action_can_be_named(tmp_path: Path) -> None:
    """By what stands in the table of docs/dashboard.md."""
    names = [key.action for key in MAP.keys if key.action != "interrupt"]
    assert len(set(names)) == len(names)
    text = "".join(f"{name} = none\n" for name in names)
    assert [key.action for key in read_keys(file(tmp_path, text), MAP).keys if key.keys] == [
        "interrupt"
    ]


def test_the_footer_and_the_help_say_them(tmp_path: Path) -> None:
    path = file(tmp_path, "pause = X\ntail = none\n")

    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), keys=path, size=(120, 150)) as driven:
            assert "X pause" in driven.screen[-1]
            assert " tail" not in driven.screen[-1]
            await driven.press("X")
            await driven.sees("PAUSED")
            await driven.press("question_mark")
            await driven.until(lambda: "no key" in driven.text, "tail in the help")
            assert "X                 hold the screen" in driven.text

    run(test())


def test_a_bad_file_is_one_line_before_the_screen(tmp_path: Path) -> None:
    (tmp_path / "flowwatch").mkdir()
    file(tmp_path / "flowwatch", "pause = d\n")
    env = clean_environment(str(tmp_path))
    with Terminal([sys.executable, "-m", "flowwatch", "demo"], columns=200, env=env) as terminal:
        assert terminal.wait(60) == 2
        assert "keys:1: d is both drops and pause" in " ".join(terminal.screen.text.split())
        assert not terminal.screen.modes.get("1049")
