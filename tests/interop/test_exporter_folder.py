"""Folders that the exporter's own writer made (Cilium's, by lumberjack): renamed, packed, read as one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flowwatch.hubble.wire.jsonwire import nanoseconds
from tests.in_process import flowwatch
from tests.interop.real import Binaries

RECORDS = 6000


@pytest.fixture(scope="module")
def whole(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the exporter writes where nothing is renamed."""
    folder = tmp_path_factory.mktemp("whole")
    words = ["-generate", str(RECORDS), "-seed", "7", "-write-capture", str(folder / "flows.jsonl")]
    subprocess.run([binaries.observer, *words], check=True, stdout=subprocess.DEVNULL)
    return exported(binaries, folder / "flows.jsonl", folder / "events.log")


def exported(binaries: Binaries, capture: Path, to: Path, *words: str) -> Path:
    subprocess.run(
        [binaries.exporter, "-capture", capture, "-write", to, *words], check=True, timeout=60
    )
    return to


def told(source: Path, *words: str) -> Any:
    found = flowwatch(
        "summary", "--direction", "both", "-o", "json", "--input-file", source, *words
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


@pytest.mark.parametrize("packed", [False, True])
def test_what_was_renamed_and_packed_is_one_source(
    packed: bool, binaries: Binaries, whole: Path, tmp_path: Path
) -> None:
    exported(binaries, whole, tmp_path / "events.log", "-rotate", *["-compress"] * packed)
    names = [path.name for path in tmp_path.iterdir()]
    assert len(names) >= 4
    assert sum(name.endswith(".gz") for name in names) == (len(names) - 1 if packed else 0)
    assert told(tmp_path) == told(whole)


def test_a_window_is_answered_alike(binaries: Binaries, whole: Path, tmp_path: Path) -> None:
    exported(binaries, whole, tmp_path / "events.log", "-rotate", "-compress")
    times = sorted(json.loads(line)["time"] for line in whole.read_text().splitlines())
    window = "--since", times[RECORDS // 3], "--until", times[RECORDS // 2]
    found = told(tmp_path, *window)
    assert found["rows"]
    assert found == told(whole, *window)


def test_the_files_of_several_nodes_are_merged(
    binaries: Binaries, whole: Path, tmp_path: Path
) -> None:
    """Each has a folder of its own, as who collects them makes one; together they say what one file says."""
    records = [json.loads(line) for line in whole.read_text().splitlines()]
    records.sort(key=lambda record: nanoseconds(record["time"]))
    for number, record in enumerate(records):
        record["node_name"] = record["flow"]["node_name"] = f"worker{number % 2}"
    one = written(tmp_path / "one.jsonl", records)
    for node in range(2):
        folder = tmp_path / "all" / f"node-{node}"
        folder.mkdir(parents=True)
        own = written(tmp_path / f"{node}.jsonl", records[node::2])
        exported(binaries, own, folder / "events.log", "-rotate", "-compress")
    assert told(tmp_path / "all") == told(one)


def written(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
