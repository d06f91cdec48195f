"""The editor of a draft as a person uses it: through a terminal, from the first key to the applied file."""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.benchmarks.pty_driver import Screen, Terminal
from tests.in_process import flowwatch
from tests.material import OWN

PATIENCE = 40.0
SIZES = [(80, 24), (120, 40)]
EDIT = [sys.executable, "-m", "flowwatch", "draft", "--edit", "--namespace", "weather"]
WEATHER = OWN / "captures" / "weather.jsonl"


def sees(terminal: Terminal, *words: str) -> Screen:
    """Wait until all of ``words``, regular expressions, are on the screen."""
    terminal.wait_for(lambda screen: all(re.search(one, screen.text) for one in words), PATIENCE)
    return terminal.screen


def editor(tmp_path: Path, size: tuple[int, int], *words: str, **env: str) -> Terminal:
    own = {"XDG_CACHE_HOME": str(tmp_path), "NO_COLOR": "", "COLORTERM": "", **env}
    return Terminal([*EDIT, *words], columns=size[0], lines=size[1], env=own)


def to(terminal: Terminal, peer: str) -> None:
    """Move the cursor to a peer, by the keys."""
    terminal.press("g")
    for _ in range(40):
        terminal.run_for(0.15)
        if any("▌[" in row and peer in row for row in terminal.screen.rows):
            return
        terminal.press("j")
    raise AssertionError(terminal.screen.text)


@pytest.mark.parametrize("size", SIZES)
def test_draft_uncheck_widen_undo_save_and_apply(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "weather.yaml"
    with editor(tmp_path, size, "--demo") as terminal:
        # What was let through is checked, what was dropped isn't; the proof says so.
        sees(
            terminal,
            r"\[x\] api\.openweathermap\.org",
            r"\[ \] api\.github\.com",
            r"allows (\d+) of \1 needed, denies (\d+) of \2 others; Cilium takes it",
        )
        # A drop is taken in, widened, opened, and all of it undone.
        to(terminal, "api.github.com")
        terminal.press(" ")
        sees(terminal, r"▌\[x\] api\.github\.com", r"matchName: api\.github\.com")
        terminal.press("a")
        sees(terminal, r"▌\[x\] \*\.github\.com", r'matchPattern: "\*\.github\.com"')
        terminal.press("o")
        sees(terminal, r"▌\[x\] \*\.github\.com +any port")
        terminal.press("uuu")
        sees(terminal, r"▌\[ \] api\.github\.com +443")
        terminal.press("u")
        sees(terminal, "nothing to undo")
        # What is needed is unchecked, and checked again.
        to(terminal, "api.openweathermap.org")
        terminal.press(" ")
        sees(terminal, r"▌\[ \] api\.openweathermap\.org")
        terminal.press(" ")
        sees(terminal, r"▌\[x\] api\.openweathermap\.org")
        # It isn't copied before it is saved.
        terminal.press("c")
        sees(terminal, "save it first")
        terminal.press("S")
        terminal.press(f"{path}\r")
        sees(terminal, "saved to ")
        terminal.press("c")
        terminal.wait_for(lambda screen: bool(screen.clipboard), PATIENCE)
        copied = base64.b64decode(terminal.screen.clipboard).decode()
        assert copied == f"kubectl apply --dry-run=server -f {path}"
        # q closes the editor, then the dashboard.
        terminal.press("q")
        sees(terminal, "DROPPED")
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 0
    assert [list(rule) for rule in yaml.safe_load(path.read_text())["spec"]["egress"]] == [
        ["toEndpoints", "toPorts"],
        ["toFQDNs", "toPorts"],
    ]
    told = flowwatch("demo", "--policy", path, "--namespace", "weather", "-o", "json").stdout
    states: dict[str, set[str]] = {}
    for row in json.loads(told)["rows"]:
        states.setdefault(row["peer"].partition("-")[0], set()).add(row["state"])
    let_through = {name for name, state in states.items() if state == {"forwarded"}}
    assert let_through == {"api.openweathermap.org", "kube"}  # kube-system/coredns
    assert states["api.github.com"] == states["www.google.com"] == {"dropped"}


@pytest.mark.parametrize("size", SIZES)
def test_the_policy_is_edited_by_hand_and_the_rows_follow(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    change = "sed -i s/api.openweathermap.org/api.example.org/"
    with editor(tmp_path, size, "--input-file", str(WEATHER), EDITOR=change) as terminal:
        sees(terminal, r"\[x\] api\.openweathermap\.org")
        terminal.press("E")
        sees(terminal, r"\[ \] api\.openweathermap\.org", r"edited by hand")
        terminal.press("u")
        sees(terminal, r"\[x\] api\.openweathermap\.org")
        terminal.press("q")
        sees(terminal, "DROPPED")
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 0


def test_an_editor_that_leaves_no_policy_changes_nothing(tmp_path: Path) -> None:
    change = "sed -i s/egress:/egres:/"
    with editor(tmp_path, (120, 40), "--input-file", str(WEATHER), EDITOR=change) as terminal:
        sees(terminal, r"\[x\] api\.openweathermap\.org")
        terminal.press("E")
        sees(terminal, "left as it was")
        assert "[x] api.openweathermap.org" in terminal.screen.text


def test_a_file_that_is_there_is_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "there.yaml"
    path.write_text("mine\n")
    with editor(tmp_path, (120, 40), "--input-file", str(WEATHER)) as terminal:
        sees(terminal, r"\[x\] api\.openweathermap\.org")
        terminal.press("S")
        terminal.press(f"{path}\r")
        sees(terminal, "once more writes over it")
        assert path.read_text() == "mine\n"
        terminal.press("S")
        terminal.press(f"{path}\r")
        sees(terminal, "saved to")
        assert "CiliumNetworkPolicy" in path.read_text()


def test_d_in_the_dashboard_opens_it_for_the_selected_row(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "flowwatch", "demo", "--speed", "30"]
    env = {"XDG_CACHE_HOME": str(tmp_path), "NO_COLOR": "", "COLORTERM": ""}
    with Terminal(words, columns=120, lines=40, env=env) as terminal:
        sees(terminal, "▌.*weather")
        terminal.press("D")
        sees(terminal, "Draft for ", "COMES IN", r"allows \d+ of")
        # Against the policies of the story, which are in force.
        terminal.press("f")
        sees(terminal, "against what is in force")
        terminal.press("\x1b")
        sees(terminal, "DROPPED")


def test_without_a_terminal_it_is_one_line() -> None:
    told = flowwatch("draft", "--edit", "--input-file", WEATHER)

    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == (
        "flowwatch: the editor needs a terminal: leave out --edit to write the draft\n"
    )


@pytest.mark.parametrize("other", [("--explain", "x"), ("--onto", "x"), ("--diff",)])
def test_it_is_one_thing_at_a_time(other: tuple[str, ...]) -> None:
    told = flowwatch("draft", "--edit", "--input-file", WEATHER, *other)

    assert told.returncode == 2
    assert f"cannot set both --edit and {other[0]}" in told.stderr


def test_what_teaches_nothing_is_said(tmp_path: Path) -> None:
    empty = OWN / "captures" / "empty.jsonl"
    with editor(tmp_path, (80, 24), "--input-file", str(empty)) as terminal:
        sees(terminal, "no evidence: nothing that was seen teaches what is needed")
