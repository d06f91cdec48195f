"""What a recorder and its readers make of kills, full disks, and files that are spoilt or gone."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from flowwatch.errors import OutputError
from flowwatch.flows.model import Batch
from flowwatch.history import columns, store
from flowwatch.history.reading import HistorySource
from flowwatch.history.recorder import Recorder
from flowwatch.history.resume import WHY
from flowwatch.history.upkeep import compact, verify
from tests.command import ROOT, clean_environment
from tests.unit.history.asked import read
from tests.unit.history.writer import BATCH, ORIGIN, START, STEP, number_of, numbered

KILLS = int(os.environ.get("FLOWWATCH_KILLS", "5"))
"""More by hand: FLOWWATCH_KILLS=100."""


def writer(folder: Path, first: int, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.unit.history.writer", str(folder), str(first), *flags],
        cwd=ROOT,
        env=clean_environment(str(folder.parent)),
        stdout=subprocess.PIPE,
        text=True,
    )


def test_killed_at_any_moment_it_has_what_was_safe(tmp_path: Path) -> None:
    """Each one begins where the last was killed: within what the ring still holds, or beyond."""
    kept = tmp_path / "kept"
    chance = random.Random(7)
    numbers: set[int] = set()
    gaps = 0
    first = 0
    for kill in range(KILLS):
        process = writer(kept, first)
        assert process.stdout is not None
        safe = int(process.stdout.readline().split()[0])
        until = time.monotonic() + chance.uniform(0.05, 0.6)
        while time.monotonic() < until:
            safe = int(process.stdout.readline().split()[0])
        process.kill()
        # What it said before the kill came through.
        safe = max(
            [safe, *[int(line.split()[0]) for line in process.stdout.read().split("\n")[:-1]]]
        )
        process.wait()
        process.stdout.close()
        found = read(kept)
        got = [number_of(one) for one in found.flows]
        assert len(got) == len(set(got)), f"kill {kill}: kept twice"
        fresh = sorted(set(got) - numbers)
        assert len(fresh) >= safe, f"kill {kill}: {safe} were safe, {len(fresh)} are there"
        begin = min(fresh, default=0)
        assert fresh == list(range(begin, begin + len(fresh))), f"kill {kill}: a hole"
        assert [note for note in found.notes if "left out" in note] == []
        assert len(found.gaps) == gaps
        numbers = set(got)
        if kill % 10 == 9:
            compact(kept)
        last = max(numbers)
        within = chance.random() < 0.5
        first = max(0, last - 3 * BATCH) if within else last + 1 + 10 * BATCH
        gaps += not within
        if not within:
            # It is told of by the next one, whose first record is known by then.
            process = writer(kept, first)
            assert process.stdout is not None
            while not int(process.stdout.readline().split()[0]):
                pass
            process.kill()
            process.wait()
            process.stdout.close()
            found = read(kept)
            numbers = {number_of(one) for one in found.flows}
            [gap] = found.gaps[gaps - 1 :]
            assert (gap.start, gap.end) == (START + last * STEP, START + first * STEP)
            assert (gap.why, gap.nodes) == (WHY, ("node-1",))
            first = max(first, max(numbers) - BATCH)


def test_a_full_disk_is_said_and_nothing_half_is_left(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    process = writer(kept, 0, "--limit", "14000")
    assert process.stdout is not None
    line = process.stdout.readline()
    while "File too large" not in line:
        line = process.stdout.readline()
    safe = int(line.split()[0])
    process.kill()
    process.wait()
    process.stdout.close()
    found = read(kept)
    assert len(found.flows) == safe
    assert found.notes == []


def some(count: int, first: int = 0) -> Batch:
    return Batch(flows=[numbered(number) for number in range(first, first + count)])


def test_what_can_t_be_written_is_held_and_written_later(tmp_path: Path) -> None:
    """The folder goes, and comes back: as with a permission, or a network's disk."""
    kept, away = tmp_path / "kept", tmp_path / "away"
    store.create(kept)
    clock = iter(range(0, 10_000, 10))
    recorder = Recorder(kept, ORIGIN, monotonic=lambda: float(next(clock)))
    kept.rename(away)
    kept.write_text("in the way")
    for first in range(0, 100, 10):
        recorder.take(some(10, first))
    with pytest.raises(OutputError, match="Not a directory"):
        recorder.flush()
    assert "Not a directory" in recorder.progress.failure
    assert recorder.progress.kept == 0
    kept.unlink()
    away.rename(kept)
    recorder.take(some(10, 100))
    recorder.flush()
    assert (recorder.progress.failure, recorder.progress.kept) == ("", 110)
    recorder.close("")
    assert [number_of(one) for one in read(kept).flows] == list(range(110))
    assert recorder.progress.gaps == 0


def test_what_there_is_no_room_to_hold_is_a_gap(tmp_path: Path) -> None:
    kept, away = tmp_path / "kept", tmp_path / "away"
    store.create(kept)
    clock = iter(range(0, 10_000, 10))
    recorder = Recorder(kept, ORIGIN, most=40, monotonic=lambda: float(next(clock)))
    kept.rename(away)
    kept.write_text("in the way")
    for first in range(0, 40, 10):
        recorder.take(some(10, first))
        with pytest.raises(OutputError):
            recorder.flush()
    recorder.take(Batch())
    kept.unlink()
    away.rename(kept)
    recorder.take(some(10, 40))
    recorder.close("")
    found = read(kept)
    assert [number_of(one) for one in found.flows] == list(range(40, 50))
    [gap] = found.gaps
    assert (gap.start, gap.end) == (START, START + 39 * STEP)
    assert "could not be kept" in gap.why
    assert recorder.progress.lost == 40


def test_closing_where_nothing_can_be_written_is_an_error(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    store.create(kept)
    recorder = Recorder(kept, ORIGIN)
    recorder.take(some(10))
    shutil.rmtree(kept)
    kept.write_text("in the way")
    with pytest.raises(OutputError, match="Not a directory"):
        recorder.close("")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A history of 400 flows in three hours, in files of its own each."""
    folder = tmp_path / "kept"
    store.create(folder)
    recorder = Recorder(folder, ORIGIN)
    recorder.take(some(400))
    recorder.close("")
    return folder


def pieces(folder: Path) -> list[Path]:
    return sorted((folder / "flows").rglob("*.parquet"))


def told(folder: Path, of: int, why: str) -> None:
    """One file is left out, named with why; all others are there."""
    [first, *_] = pieces(folder)
    found = read(folder)
    assert len(found.flows) == 400 - of
    [note] = found.notes
    assert note.startswith("1 file of the history was left out: ")
    assert str(first.relative_to(folder)) in note
    assert note.endswith(why)


@pytest.mark.parametrize("size", [0, 3, 100, 4_000])
def test_a_file_that_was_cut_off_is_named(kept: Path, size: int) -> None:
    first = pieces(kept)[0]
    rows = pyarrow.parquet.read_metadata(first).num_rows
    os.truncate(first, size)
    told(kept, rows, "is damaged, or was cut off")


def test_a_bit_that_flipped_changes_no_record_unnoticed(kept: Path) -> None:
    """Nor does it end the program, as some in a footer do where pyarrow is asked for its statistics."""
    sound = read(kept).flows
    first = pieces(kept)[0]
    whole = first.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    dice = random.Random(5)
    in_data, in_footer = (
        dice.sample(range(4, footer), 60),
        dice.sample(range(footer, len(whole)), 120),
    )
    noticed = 0
    for place in (*in_data, *in_footer):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << dice.randrange(8)
        first.write_bytes(spoilt)
        found = read(kept)
        noticed += bool(found.notes) and place < footer
        assert found.notes or found.flows == sound, place
    assert noticed == len(in_data)


def test_a_file_from_before_footers_had_groups_is_read(kept: Path) -> None:
    sound = read(kept).flows
    first = pieces(kept)[0]
    table = pyarrow.parquet.read_table(first, partitioning=None)
    about = json.loads(pyarrow.parquet.read_metadata(first).metadata[b"flowwatch"])
    del about["groups"]
    table = table.replace_schema_metadata({"flowwatch": json.dumps(about)})
    pyarrow.parquet.write_table(table, first)
    assert read(kept).flows == sound
    assert read(kept).notes == []


def test_a_foreign_table_is_named(kept: Path) -> None:
    first = pieces(kept)[0]
    rows = pyarrow.parquet.read_metadata(first).num_rows
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), first)
    told(kept, rows, "was not written by flowwatch")


def test_a_file_of_a_newer_format_is_named(kept: Path) -> None:
    first = pieces(kept)[0]
    table = pyarrow.parquet.read_table(first, partitioning=None)
    about = {"format": columns.FORMAT + 1, "runs": {}, "replaces": []}
    table = table.replace_schema_metadata({"flowwatch": json.dumps(about)})
    pyarrow.parquet.write_table(table, first)
    told(kept, table.num_rows, "was written by a newer flowwatch")


def test_a_folder_that_goes_while_it_is_read_is_told(kept: Path) -> None:
    recorder = Recorder(kept, ORIGIN)
    recorder.take(some(50, 4_000))
    recorder.close("")
    batches = HistorySource(str(kept)).batches()
    # The files are listed at the first batch, and read as they are due.
    whole = next(batches)
    shutil.rmtree(pieces(kept)[-1].parent)
    for batch in batches:
        whole.flows += batch.flows
        whole.notes += batch.notes
    assert len(whole.flows) == 400
    [note] = whole.notes
    assert note.endswith("went away while it was being read")


def test_other_files_are_named_and_hidden_ones_are_not(kept: Path) -> None:
    (kept / "flows" / "notes.txt").write_text("mine")
    (kept / "flows" / ".notes.txt").write_text("mine")
    found = read(kept)
    assert len(found.flows) == 400
    assert found.notes == [
        "1 file of the history was left out: flows/notes.txt is none of a history's files"
    ]


def test_a_footer_that_names_other_columns_is_damage(kept: Path) -> None:
    [first, *_] = pieces(kept)
    rows = pyarrow.parquet.read_metadata(first).num_rows
    whole = first.read_bytes()
    assert whole.count(b"drop_reason_number")
    first.write_bytes(whole.replace(b"drop_reason_number", b"drop_reason_numbex"))
    told(kept, rows, "is damaged")
    assert len(verify(kept).problems) == 1


@pytest.mark.parametrize("column", ["run", "recorded", "node", "source_labels"])
def test_a_column_without_what_must_stand_there_is_damage(kept: Path, column: str) -> None:
    [first, *_] = pieces(kept)
    table = pyarrow.parquet.read_table(first, partitioning=None)
    at = table.column_names.index(column)
    nothing = pyarrow.nulls(table.num_rows, table.schema.field(column).type)
    pyarrow.parquet.write_table(table.set_column(at, column, nothing), first)
    found = read(kept)
    assert len(found.notes) == 1
    assert "damaged" in found.notes[0] or "not written by flowwatch" in found.notes[0]
