"""Folders of captures: which files are read, in which order, and what is said of the rest."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from flowwatch.errors import InputError
from flowwatch.hubble.captures.folders import look_into
from flowwatch.hubble.captures.readers import capture_reader
from flowwatch.hubble.captures.replay import FileRecords, Selection
from flowwatch.sources.files import FileSource
from tests.in_process import flowwatch

HOUR = 3_600_000_000_000
DAY = 24 * HOUR


def record(minute: int, *, node: str = "n1", uuid: str = "") -> dict[str, Any]:
    time = f"1970-01-02T{minute // 60:02d}:{minute % 60:02d}:00Z"
    flow = {
        "time": time,
        "uuid": uuid or f"{node}-{minute}",
        "verdict": "FORWARDED",
        "node_name": node,
    }
    return {"flow": flow, "node_name": node, "time": time}


def text(minutes: Iterable[int], node: str = "n1") -> bytes:
    return b"".join(json.dumps(record(minute, node=node)).encode() + b"\n" for minute in minutes)


def lumberjack(hour: int, more: str = "") -> str:
    return f"events-1970-01-02T{hour:02d}-00-00.000.log{more}"


def minutes(folder: Path, **window: Any) -> list[int]:
    """Of the records, in their order."""
    source = FileSource([folder], window=Selection(**window))
    return [
        (flow.time - DAY) // 60_000_000_000 for batch in source.batches() for flow in batch.flows
    ]


def notes(folder: Path) -> list[str]:
    return [note for batch in FileSource([folder]).batches() for note in batch.notes]


@pytest.fixture
def rotated(tmp_path: Path) -> Path:
    """Four hours: two packed, one renamed, one that is being written."""
    (tmp_path / lumberjack(1, ".gz")).write_bytes(gzip.compress(text(range(60))))
    (tmp_path / lumberjack(2, ".gz")).write_bytes(gzip.compress(text(range(60, 120))))
    (tmp_path / lumberjack(3)).write_bytes(text(range(120, 180)))
    (tmp_path / "events.log").write_bytes(text(range(180, 200)))
    return tmp_path


def test_renamed_files_are_read_in_the_order_of_time(rotated: Path) -> None:
    assert minutes(rotated) == list(range(200))
    assert notes(rotated) == []


@pytest.mark.parametrize(
    "names",
    [
        ("flows.log.3.gz", "flows.log.2.gz", "flows.log.1", "flows.log"),
        ("flows.log-19700101.gz", "flows.log-19700102", "flows.log-19700103", "flows.log"),
        ("d.json", "c.json", "b.json", "a.json"),
    ],
)
def test_whatever_their_names_are(names: tuple[str, ...], tmp_path: Path) -> None:
    for number, name in enumerate(names):
        content = text(range(number * 10, number * 10 + 10))
        packed = gzip.compress(content) if name.endswith(".gz") else content
        (tmp_path / name).write_bytes(packed)
    assert minutes(tmp_path) == list(range(40))


def test_files_outside_of_the_window_are_not_opened(rotated: Path) -> None:
    folder = look_into(str(rotated))
    [kept] = folder.within(DAY + int(1.5 * HOUR), DAY + 2 * HOUR - 1)
    assert [Path(one.path).name for one in kept] == [lumberjack(2, ".gz"), lumberjack(3)]
    # The last may hold anything until now, and the second what was written late.
    [late] = folder.within(DAY + 3 * HOUR + 1, None)
    assert [Path(one.path).name for one in late] == [lumberjack(3), "events.log"]
    assert minutes(rotated, since=DAY + int(1.5 * HOUR), until=DAY + 2 * HOUR) == list(
        range(90, 121)
    )


def test_other_files_are_named_and_left_out(rotated: Path) -> None:
    (rotated / "README.txt").write_text("what lies here\n")
    (rotated / "agent.log").write_text('{"level":"info","msg":"started"}\n')
    (rotated / "shot.zip").write_bytes(b"PK\x03\x04rest")
    (rotated / ".events.swp").write_text("hidden")
    (rotated / "empty.log").write_text("")
    os.mkfifo(rotated / "pipe")
    assert minutes(rotated) == list(range(200))
    [note] = notes(rotated)
    assert note.startswith(f"4 files of {rotated} were left out: ")
    for words in (
        "README.txt holds no Hubble flows",
        "agent.log holds no Hubble flows",
        "pipe is no file",
    ):
        assert words in note
    told = flowwatch("observe", "--input-file", rotated, "-o", "json", "--all")
    assert len(told.stdout.splitlines()) == 200
    assert note in told.stderr


def test_a_copy_counts_once(rotated: Path) -> None:
    (rotated / "copy of events.log").write_bytes(text(range(180, 200)))
    (rotated / "old").mkdir()
    (rotated / "old" / lumberjack(2)).write_bytes(text(range(60, 120)))
    assert minutes(rotated) == list(range(200))


def test_a_file_that_is_being_packed_counts_once(rotated: Path) -> None:
    whole = gzip.compress(text(range(120, 180)))
    (rotated / lumberjack(3, ".gz")).write_bytes(whole[: len(whole) // 2])
    assert minutes(rotated) == list(range(200))
    [note] = notes(rotated)
    assert f"{lumberjack(3, '.gz')} is being made of {lumberjack(3)}" in note


def test_several_nodes_in_one_folder_are_merged(tmp_path: Path) -> None:
    (tmp_path / lumberjack(1)).write_bytes(text(range(0, 120, 2)))
    (tmp_path / lumberjack(2)).write_bytes(text(range(1, 120, 2), node="n2"))
    assert minutes(tmp_path) == list(range(120))


def test_a_line_that_is_being_written_costs_itself(rotated: Path) -> None:
    with (rotated / "events.log").open("ab") as file:
        file.write(json.dumps(record(200)).encode()[:90])
    skipped: dict[str, int] = {}
    for batch in FileSource([rotated]).batches():
        skipped |= batch.skipped
    assert minutes(rotated) == list(range(200))
    assert skipped == {"cut off in the middle": 1}


def test_a_file_that_is_cut_off_is_told_and_read_as_far(rotated: Path) -> None:
    path = rotated / lumberjack(2, ".gz")
    path.write_bytes(path.read_bytes()[:-20])
    found = minutes(rotated)
    assert found[:60] == list(range(60))
    assert found[-80:] == list(range(120, 200))
    [note] = notes(rotated)
    assert f"{lumberjack(2, '.gz')} is cut off (gzip without its end)" in note


def renamed(folder: Path) -> None:
    (folder / "events.log").rename(folder / lumberjack(4))
    (folder / "events.log").write_bytes(text(range(200, 210)))


def packed(folder: Path) -> None:
    (folder / lumberjack(3, ".gz")).write_bytes(
        gzip.compress((folder / lumberjack(3)).read_bytes())
    )
    (folder / lumberjack(3)).unlink()


def renamed_and_packed(folder: Path) -> None:
    (folder / lumberjack(4, ".gz")).write_bytes(gzip.compress((folder / "events.log").read_bytes()))
    (folder / "events.log").unlink()
    (folder / "events.log").write_bytes(text(range(200, 210)))


@pytest.mark.parametrize("happens", [renamed, packed, renamed_and_packed])
def test_rotation_between_looking_and_reading_loses_nothing(happens: Any, rotated: Path) -> None:
    reader = capture_reader([rotated])
    happens(rotated)
    times = [
        response.time.seconds // 60 - 1440 for response in FileRecords([rotated], reader=reader)
    ]
    assert times == list(range(200))
    assert reader.notes() == []


def test_a_file_that_goes_away_is_named(rotated: Path) -> None:
    reader = capture_reader([rotated])
    (rotated / lumberjack(1, ".gz")).unlink()
    times = [
        response.time.seconds // 60 - 1440 for response in FileRecords([rotated], reader=reader)
    ]
    assert times == list(range(60, 200))
    assert "went away while it was being read" in reader.notes()[0]


def test_records_in_lines_of_a_runtime_are_ordered_by_their_own_time(tmp_path: Path) -> None:
    for node, step in (("n1", 0), ("n2", 1)):
        lines = [
            f"2026-01-31T10:00:00.000000000Z stdout F {json.dumps(record(minute, node=node))}\n"
            for minute in range(step, 40, 2)
        ]
        (tmp_path / f"{node}.log").write_text("".join(lines))
    assert minutes(tmp_path) == list(range(40))
    unwrapped = [batch.unwrapped for batch in FileSource([tmp_path]).batches() if batch.unwrapped]
    assert sum(sum(one.values()) for one in unwrapped) == 40


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "is a directory without files"),
        (
            lambda folder: (folder / "a.txt").write_text("text"),
            "holds no Hubble flows (a.txt holds",
        ),
        (lambda folder: (folder / "a.log").write_text(""), "all files in it are empty"),
        (lambda folder: (folder / "history.json").write_text("{}"), "--history DIR reads it"),
    ],
)
def test_a_folder_without_captures_is_refused(make: Any, said: str, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(InputError) as caught:
        capture_reader([tmp_path])
    assert said in str(caught.value)
    assert flowwatch("summary", "--input-file", tmp_path).returncode == 1
