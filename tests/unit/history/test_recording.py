"""`flowwatch record` beside a server: what comes twice, what is missing, what is deleted."""

from __future__ import annotations

import gc
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas
import pyarrow.parquet
import pytest

import flowwatch as library
from flowwatch.demo.server import DemoServer
from flowwatch.flows.model import Batch, Flow, Gap
from flowwatch.history import store
from flowwatch.history.recorder import Origin, Recorder
from flowwatch.history.resume import WHY, resume
from flowwatch.history.retention import Limits, trim
from flowwatch.sources.files import FileSource
from tests.command import ROOT, clean_environment, one_line
from tests.in_process import flowwatch
from tests.interop.program import wait_until
from tests.unit.history.asked import flows_of, read

STEADY = ROOT / "tests" / "data" / "kernel-lab" / "steady" / "flows.jsonl.gz"
WEATHER = ROOT / "tests" / "data" / "captures" / "weather.jsonl"
ORIGIN = Origin("localhost:4245", "")
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    with DemoServer("127.0.0.1:0", live=False) as server:
        yield server.address


def some() -> list[Flow]:
    """Records in the order of a capture; each test may change its own."""
    return flows_of(FileSource([STEADY]))


def record(folder: Path, *batches: Batch, end: bool = True) -> Recorder:
    store.create(folder)
    recorder = Recorder(folder, ORIGIN)
    for batch in batches:
        recorder.take(batch)
    if end:
        recorder.close("the test ended")
    return recorder


def test_the_demo_recorded_answers_as_its_server(demo: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    done = flowwatch("record", "--server", demo, "--all", "--to", kept)
    assert done.returncode == 0
    assert "0 gaps" in done.stderr
    for verb in ("summary -o json", "export --outcome all", "export --grouped --outcome all"):
        live = flowwatch(*verb.split(), "--server", demo)
        again = flowwatch(*verb.split(), "--history", kept)
        assert (again.stdout, again.stderr) == (live.stdout, live.stderr), verb


def test_recording_again_keeps_nothing_twice(demo: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    flowwatch("record", "--server", demo, "--all", "--to", kept)
    first = len(read(kept).flows)
    again = flowwatch("record", "--server", demo, "--all", "--to", kept)
    assert "0 flows kept, 0 attempts, " in again.stderr
    assert f"{first:,} were kept before" in again.stderr
    assert len(read(kept).flows) == first


def test_it_follows_until_its_time_is_over(demo: str, tmp_path: Path) -> None:
    done = flowwatch("record", "--server", demo, "--for", "1s", "--to", tmp_path / "kept")
    assert done.returncode == 0
    assert len(read(tmp_path / "kept").flows) > 100


def test_a_time_that_is_over_long_after_the_last_record_is_told(tmp_path: Path) -> None:
    with DemoServer("127.0.0.1:0", live=False, duration=20) as server:
        # The story's last ten seconds begin nothing new.
        done = flowwatch("record", "--server", server.address, "--for", "10s", "--to", tmp_path)
    assert done.returncode == 0
    told = flowwatch("history", "info", tmp_path).stdout
    assert re.search(r"the time was over, its last record 1\d s before", told)


def test_a_service_that_is_stopped_has_kept_all_that_came(demo: str, tmp_path: Path) -> None:
    words = ("-m", "flowwatch", "record", "--server", demo, "--to", str(tmp_path / "kept"))
    recorder = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=clean_environment(str(tmp_path)),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: any((tmp_path / "kept").rglob("*.parquet")), "a file", timeout=30)
    recorder.terminate()
    _, said = recorder.communicate(timeout=30)
    assert recorder.returncode == 143
    assert re.fullmatch(r"flowwatch: [\d,]+ flows kept, .*\n", said)
    assert ": terminated" in flowwatch("history", "info", tmp_path / "kept").stdout


def test_a_restart_tells_what_the_ring_no_longer_had(tmp_path: Path) -> None:
    flows = some()
    record(tmp_path, Batch(flows=flows[:40]))
    before = resume(tmp_path, ORIGIN, live=True)
    newest = max(flow.time for flow in flows[:40])
    assert before.since == newest - 5 * SECOND
    late = Batch(flows=[flow for flow in flows[40:] if flow.time > newest + 5 * SECOND])
    expected = Gap(newest, late.flows[0].time, WHY, (late.flows[0].node,))
    before.fresh(late)
    assert late.gaps == [expected]
    record(tmp_path, late)
    assert read(tmp_path).gaps == [expected]
    table = flowwatch("summary", "--history", tmp_path, "-o", "json")
    assert [gap["cause"] for gap in json.loads(table.stdout)["gaps"]] == [WHY]


def test_a_restart_within_the_ring_is_no_gap(tmp_path: Path) -> None:
    flows = some()
    record(tmp_path, Batch(flows=flows[:40]))
    before = resume(tmp_path, ORIGIN, live=True)
    again = Batch(flows=flows[20:])
    before.fresh(again)
    assert (again.gaps, len(again.flows), before.repeats) == ([], len(flows) - 40, 20)
    record(tmp_path, again)
    assert [flow.uuid for flow in read(tmp_path).flows] == [flow.uuid for flow in flows]


def test_another_filter_is_another_source(tmp_path: Path) -> None:
    record(tmp_path, Batch(flows=some()))
    other = resume(tmp_path, Origin(ORIGIN.where, "allowlist: …"), live=True)
    batch = Batch(flows=some())
    other.fresh(batch)
    assert (other.since, other.repeats, len(batch.flows)) == (None, 0, 101)


def test_two_recorders_at_once_count_a_record_once(tmp_path: Path) -> None:
    flows = some()
    store.create(tmp_path)
    one, other = Recorder(tmp_path, ORIGIN), Recorder(tmp_path, ORIGIN)
    for start in range(0, len(flows), 10):
        one.take(Batch(flows=flows[start : start + 10]))
        other.take(Batch(flows=flows[start : start + 10]))
    one.close("")
    other.close("")
    assert [flow.uuid for flow in read(tmp_path).flows] == [flow.uuid for flow in flows]


def test_what_reaches_the_disk_after_the_next_one_started_counts_once(tmp_path: Path) -> None:
    """As on a slow disk: the second asks again for what the first has only taken, and goes on."""
    flows = some()
    store.create(tmp_path)
    first, second = (itertools.count(start * SECOND, SECOND) for start in (1_000, 1_400))
    one = Recorder(tmp_path, ORIGIN, now=lambda: next(first))
    other = Recorder(tmp_path, ORIGIN, now=lambda: next(second))
    one.take(Batch(flows=flows[:60]))
    other.take(Batch(flows=flows[40:]))
    one.close("")
    other.close("")
    assert [flow.uuid for flow in read(tmp_path).flows] == [flow.uuid for flow in flows]


def test_a_clock_that_steps_back_changes_no_order(tmp_path: Path) -> None:
    flows = some()
    store.create(tmp_path)
    times = iter(range(1_800_000_000 * SECOND, 0, -SECOND))
    recorder = Recorder(tmp_path, ORIGIN, now=lambda: next(times))
    for flow in flows:
        recorder.take(Batch(flows=[flow]))
    recorder.close("")
    assert [flow.uuid for flow in read(tmp_path).flows] == [flow.uuid for flow in flows]


def test_hours_that_are_old_go_and_the_present_stays(tmp_path: Path) -> None:
    flows = some()
    now = time.time_ns()
    for hour, flow in zip((0, 5, 9), flows, strict=False):
        flow.time = now - hour * store.HOUR
    record(tmp_path, Batch(flows=flows[:3]))
    assert trim(tmp_path, Limits(), now).files == 0
    assert trim(tmp_path, Limits(age=8 * store.HOUR), now).files == 1
    assert sorted((now - flow.time) // store.HOUR for flow in read(tmp_path).flows) == [0, 5]
    # Of the present hour nothing goes, however small the limit is.
    trim(tmp_path, Limits(size=1), now)
    assert [flow.time for flow in read(tmp_path).flows] == [now]


def test_the_files_are_read_without_flowwatch(tmp_path: Path) -> None:
    record(tmp_path, Batch(flows=some()))
    table = pyarrow.parquet.read_table(tmp_path / "flows")
    assert table.num_rows == 101
    assert set(table.column("cluster").to_pylist()) == {"hand"}
    dropped = [row for row in table.to_pylist() if row["verdict"] == "DROPPED"]
    assert {row["drop_reason"] for row in dropped} == {"POLICY_DENIED"}
    assert {row["source_pod"] for row in dropped} == {"weather-app-6f7d-hand1"}
    [row] = [row for row in table.to_pylist() if row["uuid_text"] == "by-hand-0001"]
    assert f"{row['time']:%Y-%m-%dT%H:%M:%S}" == "2026-02-03T10:00:00"


def test_uuids_are_kept_as_they_were(tmp_path: Path) -> None:
    flows = some()[:4]
    uuids = [
        "d30f1c5e-6d0c-4f57-9d0e-0c0ffee0c0de",
        "D30F1C5E-6D0C-4F57-9D0E-0C0FFEE0C0DE",
        "",
        "x",
    ]
    for flow, uuid in zip(flows, uuids, strict=True):
        flow.uuid = uuid
    record(tmp_path, Batch(flows=flows))
    assert [flow.uuid for flow in read(tmp_path).flows] == uuids


ONE, OTHER = "d30f1c5e-6d0c-4f57-9d0e-0c0ffee0c0de", "00000000-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("uuids", "packed"),
    [
        ([ONE, OTHER], True),
        # Together they read as two whole ones; each alone is none.
        ([f"{ONE}0", OTHER[1:]], False),
        ([ONE, OTHER.replace("-", "", 1) + "0"], False),
        ([ONE, OTHER.replace("4000-", "-4000")], False),
        ([ONE, ONE.upper()], False),
        ([ONE, OTHER[:-2] + "  "], False),
        ([ONE, OTHER[:-1] + "\u0661"], False),
        ([ONE, OTHER[:-1] + "g"], False),
    ],
)
def test_uuids_that_are_packed_at_once_are_kept_as_they_were(
    uuids: list[str], packed: bool, tmp_path: Path
) -> None:
    flows = some()[:2]
    for flow, uuid in zip(flows, uuids, strict=True):
        flow.uuid = uuid
    record(tmp_path, Batch(flows=flows))
    assert [flow.uuid for flow in read(tmp_path).flows] == uuids
    as_text = pyarrow.parquet.read_table(tmp_path / "flows").column("uuid_text").to_pylist()
    assert (as_text == [None, None]) is packed


@pytest.mark.parametrize("words", ["record --input-file FLOWS --to NEW", "summary --history KEPT"])
def test_without_pyarrow_it_says_what_to_install(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path / "kept", Batch(flows=some()))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    names = {"FLOWS": STEADY, "NEW": tmp_path / "new", "KEPT": tmp_path / "kept"}
    done = flowwatch(*(names.get(word, word) for word in words.split()))
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done).endswith("a history needs pyarrow: pip install 'flowwatch[history]'")
    assert not (tmp_path / "new").exists()


def test_python_reads_it_as_any_source(tmp_path: Path) -> None:
    record(tmp_path, Batch(flows=some()))
    frame = library.read(history=tmp_path, direction="both")
    pandas.testing.assert_frame_equal(frame, library.read(STEADY, direction="both"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing says where to keep what comes"),
        (["--to", "FULL"], "holds other things (notes.txt)"),
        (["--to", "FULL/notes.txt"], "it is no folder, or lies in none: name an empty folder"),
        (["--to", "FULL/notes.txt/kept"], "it is no folder, or lies in none"),
        (["--to", "LOOP"], "it is no folder, or lies in none"),
        (["--to", "NEW", "--keep", "long"], "invalid age: long"),
        (["--to", "NEW", "--max-size", "10 apples"], "invalid size: 10 apples"),
        (["--to", "NEW", "--history", "NEW"], "unknown flag: --history"),
    ],
)
def test_bad_words_are_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = {
        "FULL": str(full),
        "LOOP": str(tmp_path / "loop"),
        "FULL/notes.txt/kept": str(full / "notes.txt" / "kept"),
        "NEW": str(tmp_path / "new"),
        "FULL/notes.txt": str(full / "notes.txt"),
    }
    done = flowwatch("record", "--input-file", STEADY, *(names.get(word, word) for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in one_line(done)
    assert os.listdir(full) == ["notes.txt"]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (None, "there is no such folder"),
        ({}, "it holds no history.json"),
        ({"history.json": "{}"}, "is damaged"),
        (
            {"history.json": '{"flowwatch_history": 2}'},
            "was written by a newer flowwatch (format 2",
        ),
    ],
)
def test_what_is_no_history_is_one_line(
    made: dict[str, str] | None, said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "it"
    for name, text in (made or {}).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    if made is not None:
        folder.mkdir(exist_ok=True)
    done = flowwatch("summary", "--history", folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in one_line(done)


def test_what_is_kept_is_seldom_looked_at_by_the_collector(tmp_path: Path) -> None:
    """It holds no cycles. Behind it the collector is as it was."""
    before, looks, flows = gc.get_threshold(), 0, tmp_path / "flows.jsonl"
    one = next(line for line in WEATHER.read_text("utf-8").splitlines() if "DROPPED" in line)
    ports = [re.sub(r'source_port":\d+', f'source_port":{n}', one) for n in range(20_000, 28_000)]
    flows.write_text("".join(f"{line}\n" for line in ports), "utf-8")

    def count(phase: str, _: dict[str, int]) -> None:
        nonlocal looks
        looks += phase == "start"

    gc.callbacks.append(count)
    try:
        done = flowwatch("record", "--input-file", flows, "--to", tmp_path / "kept")
    finally:
        gc.callbacks.remove(count)
    assert done.returncode == 0
    assert gc.get_threshold() == before
    assert looks < 20
