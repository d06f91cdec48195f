"""What is counted of a whole history while its attempts are made: the bytes that its records give."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.command import ROOT
from tests.in_process import flowwatch
from tests.unit.history.test_answers import CAPTURES, record

WEATHER = ROOT / "tests" / "data" / "captures" / "weather.jsonl"
ASKED: tuple[tuple[str, ...], ...] = (
    *((f"--direction={way}", "-o", form) for way in ("egress", "both") for form in ("json", "csv")),
    (),
    ("--noise", "-o", "markdown"),
    ("--by", "workload,peer", "-o", "json"),
    ("--waiting",),
)


def compacted(capture: Path, folder: Path) -> Path:
    record(capture, folder)
    assert flowwatch("history", "compact", folder).returncode == 0
    return folder


def of_records(folder: Path) -> Path:
    """The same history without what was made of it."""
    bare = folder.parent / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("made"))
    return bare


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_answer_has_the_bytes_that_records_give(capture: Path, tmp_path: Path) -> None:
    kept = compacted(capture, tmp_path / "kept")
    bare = of_records(kept)
    for words in ASKED:
        with_it, without = (flowwatch("summary", "--history", one, *words) for one in (kept, bare))
        assert with_it.stdout == without.stdout
        assert with_it.stderr == without.stderr
        assert with_it.returncode == without.returncode


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A history whose flows can't be read any more, so that only what was counted can answer."""
    folder = compacted(WEATHER, tmp_path / "kept")
    for path in (folder / "flows").rglob("*.parquet"):
        content = path.read_bytes()
        # The footer stays, which says what there is.
        path.write_bytes(content[:4] + bytes(1000) + content[1004:])
    return folder


def answered_of_records(folder: Path, *words: str) -> bool:
    found = flowwatch("summary", "--history", folder, *words)
    return "is damaged" in found.stderr + found.stdout


def test_no_record_is_read_for_it(kept: Path) -> None:
    assert not answered_of_records(kept)
    assert not answered_of_records(kept, "--by", "namespace")


@pytest.mark.parametrize(
    "words",
    [
        ("--since", "2020-01-01T00:00:00Z"),
        ("--until", "2030-01-01T00:00:00Z"),
        ("--last", "5"),
        ("--verdict", "DROPPED"),
        ("--filter", "weather"),
        ("--max-rows", "50"),
        ("--by", "label:app"),
    ],
)
def test_whoever_asks_for_less_or_more_is_answered_of_records(
    words: tuple[str, ...], kept: Path
) -> None:
    assert answered_of_records(kept, *words)


def test_records_that_came_since_are_read_and_it_is_said(tmp_path: Path) -> None:
    folder = compacted(WEATHER, tmp_path / "kept")
    record(CAPTURES[-1], folder)
    found = flowwatch("summary", "--history", folder, "-o", "json")
    assert "read record by record, as" in found.stderr
    assert (
        found.stdout == flowwatch("summary", "--history", of_records(folder), "-o", "json").stdout
    )
    flowwatch("history", "compact", folder)
    assert flowwatch("summary", "--history", folder, "-o", "json").stdout == found.stdout


def test_what_was_spoilt_is_told_and_not_believed(tmp_path: Path) -> None:
    folder = compacted(WEATHER, tmp_path / "kept")
    path = folder / "made" / "summary" / "egress.json.gz"
    path.write_bytes(path.read_bytes()[:-9])
    assert "summary/egress.json.gz is damaged" in flowwatch("history", "verify", folder).stderr
    bare = flowwatch("summary", "--history", of_records(folder)).stdout
    assert flowwatch("summary", "--history", folder).stdout == bare
