"""The README's examples, run as they stand, against the demo."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flowwatch import AuditReport
from flowwatch.demo.server import DemoServer
from flowwatch.demo.story import WEATHER, beside, policy_text
from tests.command import ROOT, clean_environment

# They share what is made once.
pytestmark = pytest.mark.xdist_group("readme")

README = (ROOT / "README.md").read_text(encoding="utf-8")

NOT_HERE = re.compile(r"make |pip |kubectl |.*flowwatch completion ")
"""Lines that other tests run (make: CI itself; completion: each in its own shell, by
tests/unit/cli/test_completion.py), or that need a cluster."""

IN_A_TERMINAL = {"flowwatch --namespace weather"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = [
    line
    for block in blocks("sh")
    for line in block.splitlines()
    if line and not NOT_HERE.match(line) and line not in IN_A_TERMINAL
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder where `flowwatch` is a command and the configured server is the demo."""
    folder = tmp_path_factory.mktemp("readme")
    command = folder / "bin" / "flowwatch"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flowwatch "$@"\n')
    command.chmod(0o755)
    with DemoServer("127.0.0.1:0", live=False) as server:
        env = clean_environment(str(folder)) | {
            "HUBBLE_SERVER": server.address,
            "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        }
        yield folder, env


TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def test_the_audit_of_the_demo_says_what_is_shown(place: tuple[Path, dict[str, str]]) -> None:
    """All that the program says, but for the time of day."""
    folder, env = place
    (folder / "weather.yaml").write_text(f"{policy_text()}---\n{beside(WEATHER)}")
    [block] = [block for block in blocks("text") if "flowwatch audit" in block]
    first, shown = block.split("\n", 1)
    command = first.removeprefix("$ ")

    def said(command: str) -> tuple[int, str, str]:
        told = subprocess.run(
            ["sh", "-c", command], cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        return told.returncode, TIMES.sub("TIME", told.stdout), told.stderr

    assert said(command) == (0, TIMES.sub("TIME", shown), "")
    code, before, _ = said(command.replace("after", "before"))
    assert code == 1
    assert f"`{before.splitlines()[-1]}` and exit code 1" in README


def test_the_draft_of_the_demo_is_what_is_shown(place: tuple[Path, dict[str, str]]) -> None:
    """All of the policy, but for its comments; and nothing that the app needs drops by it."""
    folder, env = place
    [shown] = [block for block in blocks("yaml") if "weather-app-egress" in block]
    command = "flowwatch draft --demo --namespace weather"
    told = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=env, capture_output=True, text=True, check=False
    )

    lines = told.stdout.splitlines(keepends=True)
    assert "".join(line for line in lines if not line.lstrip().startswith("#")) == shown
    assert re.search(r"allows ([\d,]+) of \1 needed, denies ([\d,]+) of \2 others\n", told.stderr)


def test_every_example_is_known() -> None:
    assert len(COMMANDS) >= 10
    assert all(command.startswith(("flowwatch ", "cat ")) for command in COMMANDS)
    assert README.count("flowwatch --namespace weather") >= 1


# Some twenty programs one after the other: 30 s alone, 120 at a load of 10.
@pytest.mark.timeout(400)
def test_the_commands_run_in_their_order(place: tuple[Path, dict[str, str]]) -> None:
    folder, env = place
    for command in COMMANDS:
        told = subprocess.run(
            ["sh", "-c", command],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        denied = command.startswith(
            ("flowwatch explain ", "flowwatch whatif ", "flowwatch changes ")
        )
        assert told.returncode == int(denied), f"{command}: {told.stderr}"
        if not any(word in command for word in (" > ", "--output", " record ")):
            assert told.stdout, command
    assert (folder / "drops.csv").stat().st_size > 1000
    [python] = [block for block in blocks("python") if "import flowwatch" in block]
    (folder / "weather.yaml").write_text(policy_text())
    seen: dict[str, object] = {}
    os.chdir(folder)
    try:
        with pytest.warns(UserWarning, match="lost"):
            exec(python, seen)  # the README's lines
    finally:
        os.chdir(ROOT)
    frame = seen["frame"]
    assert len(frame) > 5  # type: ignore[arg-type]
    report = seen["report"]
    assert isinstance(report, AuditReport)
    assert report.counts["ok"] > 5


def test_the_same_question_of_three_programs_has_one_answer(
    place: tuple[Path, dict[str, str]],
) -> None:
    """What is blocked most, by DuckDB, by ClickHouse (as chDB has it) and by pandas, and by ourselves."""
    folder, env = place
    words = ("blocked", "kept", "-o", "json", "--limit", "0")
    for command in (
        ("record", "--all", "--to", "kept"),
        ("history", "compact", "kept"),
        ("history", "ask", *words),
    ):
        told = subprocess.run(
            [folder / "bin" / "flowwatch", *command],
            cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    keys = ("namespace", "workload", "peer", "port")
    ours: dict[tuple[object, ...], int] = {}
    for row in json.loads(told.stdout)["rows"]:
        key = tuple([row[name] for name in keys])
        ours[key] = ours.get(key, 0) + row["attempts"]
    assert len(ours) > 5
    by_duckdb, by_clickhouse = blocks("sql")
    [by_pandas] = [block for block in blocks("python") if "import pandas" in block]
    chdb: Any = import_module("chdb.session")
    os.chdir(folder)
    try:
        rows = duckdb.connect().execute(by_duckdb).fetchall()
        with contextlib.closing(chdb.Session()) as session:
            path = f"file('{folder}/"
            lines = session.query(by_clickhouse.replace("file('", path), "JSONCompactEachRow")
        seen: dict[str, Any] = {}
        exec(by_pandas, seen)  # the README's lines
    finally:
        os.chdir(ROOT)
    assert {row[:-1]: int(row[-1]) for row in rows} == ours
    others = [json.loads(line) for line in str(lines).splitlines()]
    assert [(*row[:-1], int(row[-1])) for row in others] == [
        (*row[:-1], int(row[-1])) for row in rows
    ]
    assert seen["tried"].to_dict() == ours


def test_links_and_pictures_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
