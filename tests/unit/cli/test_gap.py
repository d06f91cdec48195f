"""`flowwatch gap` through the program: exit codes, drop-ins, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import one_line
from tests.in_process import flowwatch
from tests.unit.audits.planted import CORRECT, capture


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    path = tmp_path / "flows.jsonl"
    path.write_text(capture(CORRECT))
    return path


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(f"{CORRECT}    - toCIDR: [192.0.2.99/32]\n")
    return path


def test_a_gap_ends_with_1_and_its_drop_in_closes_it(
    tmp_path: Path, flows: Path, policy: Path
) -> None:
    narrow = tmp_path / "narrow.yaml"
    done = flowwatch("gap", "-f", policy, "--input-file", flows, "--drop-in", narrow)
    assert done.returncode == 1, done.stdout
    assert "192.0.2.99/32" in done.stdout
    assert "1 policy written, to replace those that select the same pods" in done.stderr
    again = flowwatch("gap", "-f", narrow, "--input-file", flows)
    assert again.returncode == 0, again.stdout
    # The drop-in denies what nobody used, and nothing that was.
    differs = json.loads(flowwatch("diff", policy, narrow, "-o", "json").stdout)
    assert differs["counts"]["newly denied"] > 0
    assert differs["counts"]["newly allowed"] == 0
    audit = json.loads(flowwatch("audit", "-f", narrow, "--input-file", flows, "-o", "json").stdout)
    assert audit["counts"].get("overblock", 0) == audit["counts"].get("leak", 0) == 0


def test_drop_ins_go_into_a_folder_each(tmp_path: Path, flows: Path, policy: Path) -> None:
    folder = tmp_path / "narrow"
    flowwatch("gap", "-f", policy, "--input-file", flows, "--drop-in", f"{folder}/")
    (file,) = folder.iterdir()
    found = json.loads(flowwatch("gap", "-f", policy, "--input-file", flows, "-o", "json").stdout)
    assert file.read_text() == found["workloads"][0]["drop_in"]


def test_without_evidence_it_ends_with_3(tmp_path: Path, policy: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text(
        capture(CORRECT.replace("api.openweathermap.org", "nobody.example")).splitlines()[-1]
    )
    done = flowwatch("gap", "-f", policy, "--input-file", empty, "--namespace", "nowhere")
    assert done.returncode == 3
    assert "no flows at all" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no policy was given"),
        (["-f", "missing.yaml"], "cannot read missing.yaml"),
        (["-f", "P", "--follow"], "a gap is told at the end"),
        (["-f", "P", "--drop-in", "-"], "the answer goes to standard output"),
        (["-f", "P", "--direction", "up"], "up"),
    ],
)
def test_bad_input_is_one_line_and_2(words: list[str], said: str, policy: Path) -> None:
    done = flowwatch("gap", *(str(policy) if word == "P" else word for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in one_line(done)
