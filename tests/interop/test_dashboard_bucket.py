"""The dashboard over a history in a bucket of a real S3 server: what it shows of a folder; a server away."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.benchmarks.pty_driver import Screen, Terminal
from tests.command import ROOT
from tests.in_process import flowwatch
from tests.interop.objects import S3Server, environment
from tests.interop.program import free_port
from tests.unit.tui.test_journeys import PATIENCE, person

WEATHER = ROOT / "tests" / "data" / "captures" / "weather.jsonl"


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The weather app's records, twice: of two hours."""
    for name, value in environment(s3.port).items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3.bucket()}/flows"


@pytest.fixture
def night(tmp_path: Path) -> Path:
    path, told = tmp_path / "night.jsonl", WEATHER.read_text("utf-8")
    hours = [
        told.replace("T17:", f"T{hour}:").replace('uuid":"', f'uuid":"{hour}') for hour in (21, 23)
    ]
    path.write_text("".join(hours), "utf-8")
    return path


def table(screen: Screen) -> list[list[str]]:
    """The cells of rows, without their ages."""
    return [re.split(r"  +", line)[:6] for line in screen.rows if "▌" in line]


def test_it_shows_what_it_shows_of_a_folder(bucket: str, night: Path, tmp_path: Path) -> None:
    seen = []
    for number, where in enumerate((bucket, str(tmp_path / "kept"))):
        assert flowwatch("record", "--input-file", night, "--to", where).returncode == 0
        argv = (sys.executable, "-m", "flowwatch", "--history", where)
        home = tmp_path / str(number)
        with person(home, *argv, first="", columns=120, lines=40, **environ()) as someone:
            someone.sees("complete")
            both, rows = someone.dropped(), table(someone.screen)
            someone.press("{")
            someone.sees(r"23:00:00-00:00:00")
            someone.until(lambda _, both=both: 0 < someone.dropped() < both)  # type: ignore[misc]
            seen.append((both, rows, someone.dropped(), table(someone.screen)))
    assert seen[0] == seen[1]
    assert seen[0][1]


def test_a_server_that_is_away_is_said(bucket: str, tmp_path: Path) -> None:
    argv = (sys.executable, "-m", "flowwatch", "--history", bucket)
    away = {**environ(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    with Terminal(argv, columns=120, lines=40, env=away) as terminal:
        terminal.wait_for(lambda _: "cannot be reached" in terminal.screen.text, PATIENCE)
        assert "FAILED" in terminal.screen.rows[0]
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 1


def environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
