"""Themes of the user's own: what is taken, what is refused and where, and that they are seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowwatch.errors import UsageError
from flowwatch.tui.own_themes import read_theme
from flowwatch.tui.theme import COLORS, Look
from flowwatch.userfile import theme_names
from tests.command import one_line
from tests.in_process import flowwatch
from tests.unit.tui.driven import run, shown
from tests.unit.tui.made import ShownMonitor, snapshot


def theme(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / "flowwatch" / "themes" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_what_it_leaves_out_is_its_bases(tmp_path: Path) -> None:
    path = theme(tmp_path, "# mine\nbase = light\n\ndrop=bold #ff8787\n cursor = on color(24)\n")
    colors = read_theme(path)
    assert colors == {**COLORS["light"], "drop": "bold #ff8787", "cursor": "on color(24)"}
    style = Look("mine", colors=colors).style("drop")
    assert style.bold
    assert style.color is not None
    assert style.color.name == "#ff8787"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("drp = red", "mine:1: no role 'drp': did you mean drop?"),
        ("# x\n\nbase = drak", "mine:3: no theme 'drak': did you mean dark?"),
        ("drop = bold rad", "mine:1: no style 'bold rad'"),
        ("drop = color(256)", "mine:1: no style 'color(256)'"),
        ("drop = red on white", "mine:1: drop takes a colour, bold and italic alone"),
        ("ok = green\nok = blue", "mine:2: ok was said before"),
        ("drop", "mine:1: 'drop' is no 'name = value'"),
        ("= red", "mine:1: '= red' is no 'name = value'"),
        ("\x1b[31m = red", r"mine:1: no role '\x1b[31m'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_theme(theme(tmp_path, text))
    assert said in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_what_is_no_theme_at_all(tmp_path: Path) -> None:
    path = theme(tmp_path, "")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it isn't UTF-8"):
        read_theme(path)
    path.write_bytes(b"#" * 70_000)
    with pytest.raises(UsageError, match="larger than 64 KiB"):
        read_theme(path)
    with pytest.raises(UsageError, match="there is a theme of this name"):
        read_theme(theme(tmp_path, "", "dark"))


def test_which_there_are(tmp_path: Path) -> None:
    for name in ("mine", "other", ".hidden", "backup~", "two words"):
        theme(tmp_path, "", name)
    (tmp_path / "flowwatch" / "themes" / "folder").mkdir()
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert theme_names(environ) == ["backup~", "mine", "other"]
    assert theme_names({"XDG_CONFIG_HOME": str(tmp_path / "none")}) == []


def test_the_flag_knows_them(tmp_path: Path) -> None:
    theme(tmp_path, "")
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    words = one_line(flowwatch("--theme", "mien", env=env))
    assert "invalid theme: mien: did you mean mine?" in words
    assert "mine" in flowwatch("__complete", "--theme", "m", env=env).stdout.split()
    assert "needs a terminal" in one_line(flowwatch("--theme", "mine", env=env))


def test_it_is_seen_and_t_comes_to_it(tmp_path: Path) -> None:
    good = theme(tmp_path, "strong = color(201)")
    bad = theme(tmp_path, "strng = color(201)", "bad")

    async def test() -> None:
        themes = {"mine": good, "bad": bad}
        async with shown(ShownMonitor(snapshot()), theme="mono", themes=themes) as driven:
            await driven.press("T")
            await driven.sees("theme: mine")
            strips = driven.app.screen._compositor.render_strips()
            colors = {
                s.style.color.name for strip in strips for s in strip if s.style and s.style.color
            }
            assert "color(201)" in colors
            await driven.press("colon")
            await driven.type("theme bad")
            await driven.press("enter")
            await driven.sees("themes/bad:1: no role 'strng': did you mean strong?")
            assert driven.app.look.name == "mine"

    run(test())
