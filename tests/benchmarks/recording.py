"""Recording at scale: the real observer's stream into a history, and what a record takes on the disk.

    python -m tests.benchmarks.recording [RATE SECONDS]      prints the figures

Beside what arrived it is told what recording costs, in CPU, of which the share of a core follows at any rate;
whether the server had to leave out anything for us; memory after each quarter of the time; and how busy the
machine was with others.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import psutil

from flowwatch.history.store import MADE
from tests.benchmarks.side_by_side import run_once
from tests.benchmarks.stretch import Stretch
from tests.benchmarks.traffic import SORTS

RATE, SECONDS = 20_000, 60.0
QUARTERS = 4
WARM_UP = 5.0
"""Seconds that aren't counted: the ring is read, libraries are loaded."""
LINES = 100_000


class Recorded(Stretch, frozen=True):
    """What one recorder did."""

    memory: list[int]
    """Bytes of memory (resident) after each quarter of them."""
    load: float
    """Of the machine, the mean of a minute, at the end."""
    lost: int
    """Events that the server says it lost."""
    gaps: int
    size: int
    """Bytes of the history."""
    kept: int
    """Records in it, those of the warm-up too."""


def record(rate: int = RATE, seconds: float = SECONDS) -> Recorded:
    """Record one observer's stream of ``rate`` records a second."""
    from tests.interop.real import Observer

    with (
        tempfile.TemporaryDirectory() as home,
        Observer(node="worker1", generate=1000, seed=1, rate=rate) as observer,
    ):
        folder = Path(home, "kept")
        command = ("-m", "flowwatch", "record", "--server", observer.address, "--to", folder)
        recorder = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True)
        process = psutil.Process(recorder.pid)
        time.sleep(WARM_UP)
        began, cpu, before = time.monotonic(), cpu_of(process), rows_in(folder)
        memory: list[int] = []
        for _ in range(QUARTERS):
            time.sleep(seconds / QUARTERS)
            memory.append(process.memory_info().rss)
        took, used, after = time.monotonic() - began, cpu_of(process) - cpu, rows_in(folder)
        load = os.getloadavg()[0]
        recorder.send_signal(2)
        _, said = recorder.communicate(timeout=60)
        told = json.loads(_run("summary", "--history", folder, "-o", "json", "--max-rows", "1000"))
        size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
        gaps = re.search(r"([\d,]+) gaps?", said)
        assert gaps, said
        return Recorded(
            took, after - before, used, memory, load, told["lost_events"], int(gaps[1]),
            size, told["records_read"],
        )  # fmt: skip


def cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def rows_in(folder: Path) -> int:
    """Records that are on the disk by now."""
    from flowwatch.history.store import listing

    return sum(piece.rows for piece in listing(folder).flows)


def _run(*words: str | Path) -> str:
    command = [sys.executable, "-m", "flowwatch", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Sizes(msgspec.Struct, frozen=True):
    """Bytes that a record takes."""

    plain: float
    """In Hubble's exporter file."""
    gzip: float
    """The same, packed (level 6)."""
    fresh: float
    """In a history as it was recorded."""
    merged: float
    """The same after ``history compact``."""


def sizes(sort: str, lines: int = LINES) -> Sizes:
    """What a record of one sort of traffic takes."""
    with tempfile.TemporaryDirectory() as home:
        path, packed, folder = Path(home, "flows.jsonl"), Path(home, "gz"), Path(home, "kept")
        SORTS[sort](lines, path)
        with path.open("rb") as plain, gzip.open(packed, "wb", 6) as out:
            shutil.copyfileobj(plain, out)
        _run("record", "--input-file", path, "--to", folder)
        fresh = _size(folder)
        _run("history", "compact", folder)
        of = path.stat().st_size, packed.stat().st_size, fresh, _size(folder)
        return Sizes(*[size / lines for size in of])


class Answered(msgspec.Struct, frozen=True):
    """CPU seconds of ``summary`` of a whole history, the median of ROUNDS each, in turns."""

    counted: float
    """From what was counted when attempts were made."""
    records: float
    """From the records."""


ROUNDS = 3


def answered(sort: str, lines: int = LINES) -> Answered:
    """What ``summary`` takes with, and without, what ``history compact`` has counted."""
    with tempfile.TemporaryDirectory() as home:
        path, folder, bare = Path(home, "flows.jsonl"), Path(home, "kept"), Path(home, "bare")
        SORTS[sort](lines, path)
        _run("record", "--input-file", path, "--to", folder)
        _run("history", "compact", folder)
        shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("made"))
        costs: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for of, where in zip(costs, (folder, bare), strict=True):
                words = ["summary", "--history", str(where), "-o", "json"]
                of.append(run_once([sys.executable, "-m", "flowwatch", *words]).cpu)
        return Answered(*[statistics.median(of) for of in costs])


class Continued(msgspec.Struct, frozen=True):
    """What it takes to make attempts of a history that has grown by a hundredth. Seconds are of CPU."""

    records: int
    anew: float
    """``history compact`` of all of it."""
    more: float
    """The same where 99 of 100 had been made before."""
    whole: float
    """``summary`` of all of it, from the records."""
    beside: float
    """The same where 99 of 100 had been made before."""
    size: int
    """Bytes of the checkpoint."""
    load: float
    """To read it, in a program that has begun."""


def continued(sort: str, lines: int = LINES, rate: int = 20) -> Continued:
    """Records that come at ``rate`` a second by a clock of our own: 60 s of them are read again."""
    from flowwatch.flows.model import Batch
    from flowwatch.history import store
    from flowwatch.history.attempts.checkpoint import PATH, Going, fitting
    from flowwatch.history.attempts.made import read_made
    from flowwatch.history.recorder import Origin, Recorder
    from flowwatch.sources.files import FileSource

    clock = [1_700_000_000 * 10**9]
    with tempfile.TemporaryDirectory() as home:
        path, folder, bare = Path(home, "flows.jsonl"), Path(home, "kept"), Path(home, "bare")
        SORTS[sort](lines, path)
        flows = [flow for batch in FileSource([path]).batches() for flow in batch.flows]
        store.create(folder)
        to = Recorder(
            folder, Origin("a benchmark", ""), every=60,
            now=lambda: clock[0], monotonic=lambda: clock[0] / 1e9,
        )  # fmt: skip
        for start in range(0, len(flows), rate):
            if start == len(flows) * 99 // 100 // rate * rate:
                to.flush()
                _run("history", "compact", folder)
            clock[0] += 10**9
            to.take(Batch(flows=flows[start : start + rate]))
        to.close("the benchmark ended")
        shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("made"))
        command = [sys.executable, "-m", "flowwatch"]
        whole, beside = (
            run_once([*command, "summary", "--history", str(where), "-o", "json"]).cpu
            for where in (bare, folder)
        )
        size = (folder / "made" / PATH).stat().st_size
        made, found = read_made(folder, []), store.listing(folder)
        assert made is not None
        began = time.process_time()
        Going(folder, found, fitting(folder, made, found))
        load = time.process_time() - began
        anew, more = (
            run_once([*command, "history", "compact", str(where)]).cpu for where in (bare, folder)
        )
        return Continued(len(flows), anew, more, whole, beside, size, load)


def _size(folder: Path) -> int:
    """Bytes of the records, and of what was told between them; not of the attempts made of them."""
    files = folder.rglob("*.parquet")
    return sum(path.stat().st_size for path in files if MADE not in path.relative_to(folder).parts)


if __name__ == "__main__":
    for sort in SORTS:
        print(sort, json.dumps(msgspec.to_builtins(sizes(sort))))
    given = [float(word) for word in sys.argv[1:]] or [RATE, SECONDS]
    found = record(int(given[0]), given[1])
    print(
        f"{found.rate:,.0f}/s {found.share:.0%} of a core", json.dumps(msgspec.to_builtins(found))
    )
