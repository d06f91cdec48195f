"""``o`` opens the policy that blocked a row, at its line, in the person's own program."""

from __future__ import annotations

import sys
from pathlib import Path

from flowwatch.demo.story import policy_text
from tests.benchmarks.pty_driver import Terminal, cursor_row
from tests.material import OWN

PATIENCE = 30.0
DENIED = OWN / "captures" / "weather.jsonl"


def test_two_keys_from_the_start_the_policy_is_seen_at_its_line(tmp_path: Path) -> None:
    policy = tmp_path / "weather.yaml"
    policy.write_text(policy_text(), encoding="utf-8")
    pager = tmp_path / "pager"
    pager.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n', encoding="utf-8")
    pager.chmod(0o755)
    argv = [
        sys.executable,
        "-m",
        "flowwatch",
        "--theme",
        "mono",
        "--input-file",
        str(DENIED),
        "-n",
        "weather",
    ]
    own = {"PAGER": str(pager), "XDG_CACHE_HOME": str(tmp_path)}
    with Terminal([*argv, "--policies", str(policy)], columns=120, lines=40, env=own) as terminal:
        terminal.wait_for(lambda screen: cursor_row(screen) >= 0, PATIENCE)
        terminal.press("\r")
        terminal.wait_for(lambda screen: "(o opens it)" in screen.text, PATIENCE)
        told = next(line for line in terminal.screen.rows if "(o opens it)" in line)
        terminal.press("o")
        terminal.wait_for(lambda screen: (tmp_path / "called").exists(), PATIENCE)
        terminal.wait_for(lambda screen: "(o opens it)" in screen.text, PATIENCE)
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 0
    line, path = (tmp_path / "called").read_text(encoding="utf-8").split()
    assert path == str(policy)
    assert f"{path}:{line[1:]} (o opens it)" in told
    assert line[0] == "+"
    assert int(line[1:]) <= len(policy_text().splitlines())


def test_without_policies_it_says_how_to_give_some() -> None:
    argv = [
        sys.executable,
        "-m",
        "flowwatch",
        "--theme",
        "mono",
        "--input-file",
        str(DENIED),
        "-n",
        "weather",
    ]
    with Terminal(argv, columns=120, lines=30) as terminal:
        terminal.wait_for(lambda screen: cursor_row(screen) >= 0, PATIENCE)
        terminal.press("o")
        terminal.wait_for(lambda screen: "--policies FILE gives policies" in screen.text, PATIENCE)
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 0
