"""`flowwatch unused` through the program, and the round trip of a draft."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import one_line
from tests.in_process import flowwatch
from tests.unit.audits.planted import CORRECT, capture

DATA = Path(__file__).parents[2] / "data"
# Not of kernel-lab/taken-away: what its policy dropped first was let through when it was gone, and is needed.
CAPTURES = [*sorted(DATA.glob("pairs/*.jsonl")), DATA / "kernel-lab" / "steady" / "flows.jsonl.gz"]


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    path = tmp_path / "flows.jsonl"
    path.write_text(capture(CORRECT))
    return path


def test_it_ends_with_1_where_something_is_unused(tmp_path: Path, flows: Path) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text(f"{CORRECT}    - toCIDR: [192.0.2.99/32]\n")
    done = flowwatch("unused", "-f", policy, "--input-file", flows)
    assert (done.returncode, done.stderr) == (1, "")
    assert "NOTHING NEEDED" in done.stdout
    assert flowwatch("unused", "-f", policy, "--input-file", flows, "--file-times").returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no policy was given"),
        (["-f", "missing.yaml"], "cannot read missing.yaml"),
        (["-f", "P", "--recent", "soon"], "soon"),
        (["-f", "P", "--follow"], "what is unused is told at the end"),
        (["-f", "P", "--input-file", "missing.jsonl"], "missing.jsonl"),
    ],
)
def test_bad_input_is_one_line_and_2(words: list[str], said: str, tmp_path: Path) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text(CORRECT)
    done = flowwatch("unused", *(str(policy) if word == "P" else word for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in one_line(done)


@pytest.mark.parametrize("flows", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_fresh_draft_is_all_needed_and_blocks_as_expected(flows: Path, tmp_path: Path) -> None:
    """Draft, then audit, unused and diff on the same flows."""
    draft = tmp_path / "draft.yaml"
    words = ("--input-file", flows)
    made = flowwatch("draft", "--direction", "both", "--output", draft, *words)
    if made.returncode == 3:
        assert "nothing drafted" in made.stderr
        return
    assert made.returncode == 0, made.stderr
    audit = json.loads(flowwatch("audit", "-f", draft, *words, "-o", "json").stdout)
    assert audit["counts"].get("leak", 0) == audit["counts"].get("overblock", 0) == 0
    unused = flowwatch("unused", "-f", draft, *words)
    assert unused.returncode == 0, unused.stdout
    assert "nothing unused in" in unused.stdout
    same = flowwatch("diff", draft, draft)
    assert same.returncode == 0, same.stdout


def test_the_demos_draft_is_all_needed(tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    assert flowwatch("draft", "--demo", "--direction", "both", "--output", draft).returncode == 0
    unused = flowwatch("unused", "-f", draft, "--demo")
    assert (unused.returncode, "nothing unused in" in unused.stdout) == (0, True), unused.stdout
    assert flowwatch("diff", draft, draft).returncode == 0


def test_without_any_attempt_nobody_can_tell_what_is_needed(tmp_path: Path) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text(CORRECT)
    done = flowwatch("unused", "-f", policy, "--input-file", "-")
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.endswith(
        "\nno attempt was seen: what is unused of 1 policy with 3 rules can't be told\n"
    )
