"""A making that goes on from a checkpoint gives what one gives that reads all records: rows, and bytes."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as parquet
import pytest

from flowwatch.flows import generations
from flowwatch.flows.coverage import told as coverage_told
from flowwatch.flows.model import Batch
from flowwatch.history import store
from flowwatch.history.attempts.asked import PATH as ASKED
from flowwatch.history.attempts.asked import Asked, read_asked
from flowwatch.history.attempts.checkpoint import PATH, Checkpoint, Going, fitting
from flowwatch.history.attempts.columns import KEYS
from flowwatch.history.attempts.made import read_made
from flowwatch.history.recorder import Origin, Recorder
from flowwatch.history.retention import Limits, trim
from flowwatch.history.store import HOUR, hour_of
from flowwatch.marks.keeping import KeptAsking
from flowwatch.report.unused import UNUSED_FORMATS
from tests.command import ROOT, clean_environment
from tests.in_process import flowwatch
from tests.unit.history.traffic import batches
from tests.unit.marks.test_keeping import EVERY

START = 1_700_000_000 * 10**9
READ_ALL = "all records were read: "


class Clock:
    """This machine's, as the test has it."""

    def __init__(self, ns: int = START) -> None:
        self.ns = ns

    def now(self) -> int:
        return self.ns

    def monotonic(self) -> float:
        return self.ns / 1e9


@pytest.fixture(autouse=True, scope="module")
def _few_are_open() -> Iterator[None]:
    """So that a history of minutes has attempts that are over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generations, "OPEN_AT_LEAST", 40)
        patch.setattr(generations, "GAP", 15 * 10**9)
        yield


def recorder(folder: Path, clock: Clock, every: float = 60) -> Recorder:
    store.create(folder)
    return Recorder(
        folder, Origin("a test", ""), every=every, now=clock.now, monotonic=clock.monotonic
    )


def take(to: Recorder, clock: Clock, some: Iterable[Batch], pace: float = 0.7) -> None:
    """Record batches as they come, and have them on the disk."""
    for batch in some:
        clock.ns += int(pace * 1e9)
        to.take(batch)
    to.flush()


def compact(folder: Path) -> str:
    done = flowwatch("history", "compact", folder)
    assert (done.returncode, done.stderr) == (0, "")
    return str(done.stdout)


def went_on(said: str) -> bool:
    assert "made of the records" in said
    return "read: the others were joined before" in said


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    paths = sorted((folder / "made" / table).rglob("*.parquet"))
    return [
        row | {"folder": str(path.parent.relative_to(folder))}
        for path in paths
        for row in parquet.ParquetFile(path).read().to_pylist()
    ]


def made(folder: Path) -> dict[str, Any]:
    """All that was made, whatever files it lies in."""
    minutes: dict[tuple[Any, ...], Counter[str]] = {}
    for row in rows(folder, "minutes"):
        key = row["folder"], row["minute"], *(row[name] for name in KEYS)
        sums = {name: row[name] for name in ("attempts", "tries", "records", "late", "uncounted")}
        minutes.setdefault(key, Counter()).update(sums)
    told = json.loads((folder / "made" / "made.json").read_text())
    attempts = sorted(rows(folder, "attempts"), key=lambda row: str(sorted(row.items())))
    return {
        "rows": attempts,
        "minutes": minutes,
        "summary": {
            path.name: gzip.decompress(path.read_bytes())
            for path in (folder / "made" / "summary").glob("*")
        },
        "asked": questions(folder),
        "told": [told[name] for name in ("runs", "rows", "attempts", "until", "summary")],
    }


def questions(folder: Path) -> Asked | None:
    """What was asked of policies. Where a verdict's node is unseen is told in seconds up to now."""
    found = read_asked(folder / "made" / ASKED)
    if found is None:
        return None
    return msgspec.structs.replace(found, coverage=coverage_told(found.coverage, START))


def once(folder: Path) -> dict[str, Any]:
    """The same of all records at once."""
    bare = folder.parent / "once"
    shutil.rmtree(bare, ignore_errors=True)
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("made"))
    assert not went_on(compact(bare))
    return made(bare)


def summary(folder: Path) -> tuple[str, str]:
    done = flowwatch("summary", "--history", folder, "-o", "json", "--direction", "both")
    return done.stdout, done.stderr


def unused(folder: Path) -> list[tuple[str, str]]:
    """Of policies that mean much of the traffic, in each format."""
    policies = folder.parent / "policies.yaml"
    policies.write_text(EVERY)
    told = []
    for form in UNUSED_FORMATS:
        done = flowwatch("unused", "-f", policies, "--history", folder, "-o", form)
        assert done.returncode in (0, 1)
        told.append((done.stdout, done.stderr))
    return told


def of_records(folder: Path, ask: Callable[[Path], Any] = summary) -> Any:
    bare = folder.parent / "bare"
    shutil.rmtree(bare, ignore_errors=True)
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("made"))
    return ask(bare)


def parts(some: list[Batch], *cuts: int) -> Iterator[list[Batch]]:
    for first, last in zip((0, *cuts), (*cuts, len(some)), strict=True):
        yield some[first:last]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_as_if_all_were_read_at_once(seed: int, tmp_path: Path) -> None:
    """Whatever the cut: with one server or two, and what was counted beside a recorder too."""
    folder, clock = tmp_path / "kept", Clock()
    to = recorder(folder, clock)
    some = batches(seed, 500, servers=1 + seed % 2)
    for number, part in enumerate(parts(some, 150 + 31 * seed, 350 + 17 * seed)):
        take(to, clock, part)
        if number:
            said = summary(folder)
            assert said == of_records(folder)
            assert "read record by record" not in said[1]
            assert unused(folder) == of_records(folder, unused)
        assert went_on(compact(folder)) == (number > 0)
        assert made(folder) == once(folder)
        assert unused(folder) == of_records(folder, unused)
        assert flowwatch("history", "verify", folder).returncode == 0
    to.close("the test ended")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of which a part was made, with more behind it."""
    folder, clock = tmp_path_factory.mktemp("before") / "kept", Clock()
    to = recorder(folder, clock)
    some = batches(99, 260)
    take(to, clock, some[:200])
    assert not went_on(compact(folder))
    take(to, clock, some[200:])
    to.close("the test ended")
    return folder


@pytest.fixture
def kept(before: Path, tmp_path: Path) -> Path:
    shutil.copytree(before, tmp_path / "kept")
    return tmp_path / "kept"


def alone(folder: Path) -> list[str]:
    """``compact`` in a process of its own, in which as few attempts are open as here."""
    few = "from flowwatch.flows import generations; "
    few += "generations.OPEN_AT_LEAST, generations.GAP = 40, 15 * 10**9; "
    run = f"from flowwatch.cli.main import run; run(['history', 'compact', {str(folder)!r}])"
    return [sys.executable, "-c", few + run]


def test_another_process_goes_on_too(kept: Path) -> None:
    """Its hashes are others."""
    done = subprocess.run(
        alone(kept),
        env=clean_environment(str(kept)), cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert went_on(done.stdout)
    assert made(kept) == once(kept)


def test_files_of_attempts_that_are_over_stay(kept: Path) -> None:
    def files() -> dict[str, int]:
        found = (kept / "made" / "attempts").rglob("*.parquet")
        return {str(path): path.stat().st_ino for path in found}

    first = files()
    assert went_on(compact(kept))
    assert set(first.items()) & set(files().items())
    # The directories are those of another making.
    assert set(files()) - set(first)


def later(kept: Path, seconds: float, count: int = 3) -> None:
    """Another recorder adds some, that long after the beginning."""
    clock = Clock(START + int(seconds * 1e9))
    to = recorder(kept, clock)
    take(to, clock, batches(7, count))
    to.close("the test ended")


def contradict(asking: KeptAsking, change: str) -> None:
    """Have what is kept for ``unused`` say what can't be, though every type is right."""
    assert asking.seeing is not None
    assert asking.changes is not None
    match change:
        case "asked of nobody":
            del asking.ends[-1]
        case "open nowhere":
            asking.seeing.other_end[10**6] = 1
        case "half a time":
            pod, edge, hows = asking.changes.seen.times[0]
            asking.changes.seen.times[0] = pod, edge, [(how, times[:-3]) for how, times in hows]


def spoil(kept: Path, change: str) -> None:
    """Have the checkpoint say something else."""
    path = kept / "made" / PATH
    by, _, content = gzip.decompress(path.read_bytes()).partition(b"\n")
    match change:
        case "version":
            by = by.replace(b"[", b'["0.0", ', 1)
        case "cut off":
            path.write_bytes(path.read_bytes()[:-20])
            return
        case "gone":
            path.unlink()
            return
        case "foreign":
            path.write_bytes(b"#!/bin/sh\n")
            return
        case "pickle":
            content = b"cos\nsystem\n(S'touch /tmp/flowwatch-was-here'\ntR."
        case "twisted":
            kept_one = msgspec.msgpack.decode(content, type=Checkpoint)
            kept_one.join.attempts.number[:] = [0] * len(kept_one.join.attempts.number)
            content = msgspec.msgpack.encode(kept_one)
        case "far away":
            kept_one = msgspec.msgpack.decode(content, type=Checkpoint)
            kept_one.join.attempts.client[:] = [10**6] * len(kept_one.join.attempts.number)
            content = msgspec.msgpack.encode(kept_one)
        case "late to tell":
            # Right by its types: wrong only when it is counted with.
            kept_one = msgspec.msgpack.decode(content, type=Checkpoint)
            for name in ("first", "last", "decided"):
                getattr(kept_one.join.attempts, name)[:] = [-(2**63)] * len(
                    kept_one.join.attempts.number
                )
            content = msgspec.msgpack.encode(kept_one)
        case "rows":
            kept_one = msgspec.msgpack.decode(content, type=Checkpoint)
            kept_one.listeners["summary"] = msgspec.msgpack.encode([{}])
            content = msgspec.msgpack.encode(kept_one)
        case "questions":
            kept_one = msgspec.msgpack.decode(content, type=Checkpoint)
            kept_one.listeners["asked"] = msgspec.msgpack.encode([{}])
            content = msgspec.msgpack.encode(kept_one)
        case "asked of nobody" | "open nowhere" | "half a time":
            kept_one = msgspec.msgpack.decode(content, type=Checkpoint)
            asking = msgspec.msgpack.decode(kept_one.listeners["asked"], type=KeptAsking)
            contradict(asking, change)
            kept_one.listeners["asked"] = msgspec.msgpack.encode(asking)
            content = msgspec.msgpack.encode(kept_one)
        case "paths":
            kept_one = msgspec.msgpack.decode(content, type=Checkpoint)
            kept_one.files["attempts/cluster=a/date=b/hour=c/../../../../../../x.parquet"] = 1, 1
            content = msgspec.msgpack.encode(kept_one)
    path.write_bytes(gzip.compress(by + b"\n" + content))


def other_python(kept: Path) -> None:
    spoil(kept, "version")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda kept: later(kept, 20), "records from before then came late, or went"),
        (other_python, "another flowwatch, Python or machine has made them"),
        # It asks for what the first one may have taken: records of before may come twice now.
        (lambda kept: later(kept, 120), "another recorder began while these were recorded"),
    ],
)
def test_all_is_read_where_what_came_before_is_not_what_was_read(
    what: Callable[[Path], None], said: str, kept: Path
) -> None:
    what(kept)
    told = compact(kept)
    assert f"{READ_ALL}{said}" in told
    assert made(kept) == once(kept)


@pytest.mark.parametrize(
    "change",
    [
        "cut off",
        "gone",
        "foreign",
        "pickle",
        "twisted",
        "far away",
        "late to tell",
        "rows",
        "questions",
        "asked of nobody",
        "open nowhere",
        "half a time",
        "paths",
    ],
)
def test_nothing_is_believed_that_was_spoilt(change: str, kept: Path) -> None:
    """Nothing of it is run, and nobody trips over it."""
    spoil(kept, change)
    assert summary(kept)[0] == of_records(kept)[0]
    for here, there in zip(unused(kept), of_records(kept, unused), strict=True):
        assert here[0] == there[0] or change == "late to tell"
    verified = flowwatch("history", "verify", kept)
    told = compact(kept)
    assert READ_ALL in told or change == "late to tell"
    if change in ("cut off", "gone", "foreign", "pickle", "twisted", "far away"):
        # Of these each part is sound by itself.
        assert f"{PATH} is damaged, or is missing" in verified.stderr
    assert flowwatch("history", "verify", kept).returncode == 0
    if READ_ALL in told:
        assert made(kept) == once(kept)
    assert not Path("/tmp/flowwatch-was-here").exists()


def test_what_is_merged_meanwhile_is_the_same(kept: Path) -> None:
    """Also a file that reaches over the checkpoint: the rest of it is read."""
    assert "merged into" in compact(kept)
    assert made(kept) == once(kept)


def test_two_recorders_that_overlap_are_one_again(tmp_path: Path) -> None:
    """What both have counts once, though the one's was read before and the other's comes behind."""
    folder, clock, other = tmp_path / "kept", Clock(), Clock(START + 10**8)
    first, second = recorder(folder, clock), recorder(folder, other)
    some = batches(5, 300)
    take(first, clock, some[:200])
    take(second, other, some[:80])
    assert not went_on(compact(folder))
    take(second, other, some[80:])
    take(first, clock, some[200:])
    # What the second one brought was late: some of it came before the checkpoint.
    assert READ_ALL in compact(folder)
    assert made(folder) == once(folder)
    for one, of in ((first, clock), (second, other)):
        of.ns = START + 400 * 10**9
        take(one, of, batches(6, 30))
        one.close("the test ended")
    assert summary(folder) == of_records(folder)
    assert went_on(compact(folder))
    assert made(folder) == once(folder)


def sound(folder: Path) -> str:
    """How many records and attempts are there; not in how many files, which may be merged by now."""
    done = flowwatch("history", "verify", folder)
    assert done.returncode == 0
    return re.search(r": (.*),", done.stdout)[1]  # type: ignore[index]


def test_killed_at_any_moment_what_was_there_stays(kept: Path) -> None:
    told = made(kept)
    verified = sound(kept)
    for moment in (0.3, 0.4, 0.5, 0.6, 1.2, 2.4):
        with subprocess.Popen(
            alone(kept), env=clean_environment(str(kept)), cwd=ROOT, stdout=subprocess.DEVNULL
        ) as process:
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.kill()
        now = made(kept)
        if now != told:
            break
        assert sound(kept) == verified
    compact(kept)
    assert made(kept) == once(kept)
    assert not list(kept.glob(".making-*"))


def test_what_is_forgotten_is_in_no_checkpoint(kept: Path) -> None:
    assert b"weather-app-1" in gzip.decompress((kept / "made" / PATH).read_bytes())
    flowwatch("history", "forget", kept, "--pod", "weather/weather-app-1")
    assert b"weather-app-1" not in gzip.decompress((kept / "made" / PATH).read_bytes())
    assert made(kept) == once(kept)


def test_texts_of_nodes_are_one_object_before_and_behind(kept: Path) -> None:
    """The join tells nodes apart by them."""
    told, found = read_made(kept, []), store.listing(kept)
    assert told is not None
    going = Going(kept, found, fitting(kept, told, found))
    going.join.read(going.source.batches())
    nodes: dict[str, str] = {}
    for _, _, attempt in going.join.open_attempts():
        assert nodes.setdefault(attempt.node, attempt.node) is attempt.node


def behind(told: dict[str, Any], until: int) -> list[Any]:
    """Attempts, and minutes, whose first record is of a later hour than ``until`` (ns)."""

    def stays(folder: str) -> bool:
        return (hour_of(f"{folder}/") or 0) > until

    minutes = {key: sums for key, sums in told["minutes"].items() if stays(key[0])}
    return [[row for row in told["rows"] if stays(row["folder"])], minutes]


@pytest.mark.parametrize("limits", [Limits(age=2 * HOUR), Limits(size=1)], ids=["age", "size"])
def test_where_the_oldest_hours_went_the_others_attempts_stay_what_they_were(
    limits: Limits, tmp_path: Path
) -> None:
    """A connection of an hour that went isn't half of one in the next."""
    folder, whole, clock = tmp_path / "kept", tmp_path / "whole", Clock()
    to = recorder(folder, clock, every=1200)
    some = batches(5, 320, pace=60)
    take(to, clock, some[:200], pace=60)
    compact(folder)
    shutil.copytree(folder, whole)
    until = 0
    for first, last in ((200, 260), (260, 320)):
        take(to, clock, some[first:last], pace=60)
        for path in (folder / "flows", folder / "events"):
            shutil.copytree(path, whole / path.name, dirs_exist_ok=True)
        # Of the present hour nothing goes.
        gone = trim(folder, limits, clock.ns - HOUR)
        assert gone.files
        until = max(until, gone.until - HOUR)
        said = compact(folder)
        assert went_on(said)
        assert "and the oldest hours went since" in said
        here, there = made(folder), once(whole)
        assert behind(here, until) == behind(there, until)
        assert behind(here, until)[0]
        assert here["summary"] == {}
        assert summary(folder) == of_records(folder)
        assert flowwatch("history", "verify", folder).returncode == 0
    to.close("the test ended")


def test_where_others_than_the_oldest_went_all_are_read(tmp_path: Path) -> None:
    folder, clock = tmp_path / "kept", Clock()
    to = recorder(folder, clock, every=1200)
    take(to, clock, batches(5, 200, pace=60), pace=60)
    to.close("the test ended")
    compact(folder)
    hours = sorted({path.parent for path in (folder / "flows").rglob("*.parquet")})
    shutil.rmtree(hours[1])
    assert f"{READ_ALL}records from before then came late, or went" in compact(folder)
    assert made(folder) == once(folder)
