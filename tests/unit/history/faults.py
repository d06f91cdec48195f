"""Each fault of recording, and of reading what was recorded: played, and made the table of docs/history.md.

    python -m tests.unit.history.faults [--kills 100]      plays them, and writes the table anew

Writers are processes of their own (:mod:`tests.unit.history.writer`); a disk is full, or may not be written
to, by the system's own means. Of a clock the recorder is given another.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet

from flowwatch.flows.model import Batch
from flowwatch.history import columns, store
from flowwatch.history.reading import HistorySource
from flowwatch.history.recorder import Recorder
from flowwatch.history.upkeep import compact
from tests.command import ROOT, clean_environment
from tests.unit.history.asked import read
from tests.unit.history.writer import BATCH, ORIGIN, number_of, numbered

PAGE = ROOT / "docs" / "history.md"
HEAD = ("fault", "what is said", "what is lost, and where it is told")
_TABLE = re.compile(r"(?<=<!-- faults -->\n).*?(?=<!-- /faults -->)", re.DOTALL)
KILLS = int(os.environ.get("FLOWWATCH_KILLS", "5"))
"""More by hand: FLOWWATCH_KILLS=100."""


class Outcome(NamedTuple):
    said: str
    lost: str


class Writer:
    """A recorder in a process of its own, which says how much of its flows is safe."""

    def __init__(self, folder: Path, first: int, *flags: str, before: tuple[str, ...] = ()) -> None:
        self._process = subprocess.Popen(
            [
                *before,
                sys.executable,
                "-m",
                "tests.unit.history.writer",
                str(folder),
                str(first),
                *flags,
            ],
            cwd=ROOT,
            env=clean_environment(str(folder.parent)),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.safe, self.failure = 0, ""
        self.look()

    def look(self) -> None:
        """Take in its next line."""
        assert self._process.stdout is not None
        number, _, self.failure = self._process.stdout.readline().rstrip("\n").partition(" ")
        self.safe = int(number)

    def until(self, done: Callable[[], bool]) -> None:
        while not done():
            self.look()

    def kill(self) -> None:
        """With SIGKILL; what it said before is taken in."""
        self._process.kill()
        assert self._process.stdout is not None
        for line in self._process.stdout.read().split("\n")[:-1]:
            self.safe = int(line.split()[0])
        self._process.wait()
        self._process.stdout.close()


def numbers(folder: Path) -> list[int]:
    return [number_of(one) for one in read(folder).flows]


def killed(folder: Path) -> Outcome:
    """At random moments, one after the other; each begins where the last was killed, or beyond."""
    chance, first, gaps = random.Random(11), 0, 0
    known: set[int] = set()
    for kill in range(KILLS):
        writer = Writer(folder, first)
        until = time.monotonic() + chance.uniform(0.05, 0.5)
        writer.until(lambda until=until: time.monotonic() >= until)  # type: ignore[misc]
        writer.kill()
        found = read(folder)
        got = [number_of(one) for one in found.flows]
        assert len(got) == len(set(got)), "kept twice"
        assert len(set(got) - known) >= writer.safe, "less than was said to be safe"
        assert not [note for note in found.notes if "left out" in note]
        known = set(got)
        if kill % 10 == 9:
            # Else most of a hundred is reading ever more small files.
            compact(folder)
        # What the server's memory still holds, or less.
        within = chance.random() < 0.5
        first = max(0, max(known) - BATCH) if within else max(known) + 1 + 4 * BATCH
        if not within:
            writer = Writer(folder, first)
            writer.until(lambda writer=writer: writer.safe > 0)  # type: ignore[misc]
            writer.kill()
            gaps += 1
            assert len(read(folder).gaps) == gaps, "a gap that isn't told"
            known = set(numbers(folder))
    return Outcome(
        "nothing: the next recorder asks for what the server still holds",
        "what came since the last write (5 s) and is no longer held: a gap, in every answer",
    )


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of 200 kB; where none may be mounted, False."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full(folder: Path) -> Outcome:
    """The disk is full, and has room again."""
    with small_disk(folder) as mounted:
        kept = folder / "kept"
        # Elsewhere no file may grow beyond it: the same error but for its words.
        writer = Writer(kept, 0, *(() if mounted else ("--limit", "14000")))
        if mounted:
            (folder / "filler").write_bytes(bytes(80_000))
        writer.until(lambda: bool(writer.failure))
        said = writer.failure
        if not mounted:
            writer.kill()
        else:
            (folder / "filler").unlink()
            before = writer.safe
            writer.until(lambda: not writer.failure and writer.safe > before)
            writer.kill()
        got = numbers(kept)
        assert len(got) >= writer.safe
        assert got == list(range(len(got)))
        assert read(kept).gaps == []
    return Outcome(_said(said, folder), _HELD)


_HELD = "nothing up to 1,000,000 records, which wait; beyond that a gap, in every answer"


def _said(failure: str, folder: Path) -> str:
    """The recorder's line without what is another each time."""
    failure = re.sub(r"File too large", "No space left on device", failure)
    where = re.sub(re.escape(str(folder)) + r"[^\s:]*", "FILE", failure)
    return f"{where}; what comes is held, and it is tried again"


def forbidden(folder: Path) -> Outcome:
    """The right to write is taken away, and given back."""
    kept = folder / "kept"
    # Root may write everywhere, unless it is without that capability.
    root = os.geteuid() == 0
    limits = ("setpriv", "--bounding-set", "-dac_override", "--") if root else ()
    writer = Writer(kept, 0, before=limits)
    every = [path for path in (kept, *kept.rglob("*")) if path.is_dir()]
    try:
        for path in every:
            path.chmod(0o500)
        writer.until(lambda: bool(writer.failure))
        said = writer.failure
    finally:
        for path in every:
            path.chmod(0o700)
    before = writer.safe
    writer.until(lambda: not writer.failure and writer.safe > before)
    writer.kill()
    got = numbers(kept)
    assert len(got) >= writer.safe > before
    assert got == list(range(len(got)))
    assert read(kept).gaps == []
    return Outcome(_said(said, folder), _HELD)


def _recorded(folder: Path) -> list[Path]:
    """A history of 400 flows, 50 of which came later; its files of flows."""
    store.create(folder)
    for first, count in ((0, 350), (4_000, 50)):
        recorder = Recorder(folder, ORIGIN)
        recorder.take(Batch(flows=[numbered(number) for number in range(first, first + count)]))
        recorder.close("")
    return sorted((folder / "flows").rglob("*.parquet"))


def clock_back(folder: Path) -> Outcome:
    """The recorder's clock goes back by a second with each batch."""
    store.create(folder)
    times = iter(range(1_800_000_000 * 10**9, 0, -(10**9)))
    recorder = Recorder(folder, ORIGIN, now=lambda: next(times))
    for number in range(100):
        recorder.take(Batch(flows=[numbered(number)]))
    recorder.close("")
    assert numbers(folder) == list(range(100))
    return Outcome("nothing", "nothing: the order is that in which records came")


def two(folder: Path) -> Outcome:
    """Two recorders of the same flows, in two processes, at once."""
    one, other = Writer(folder, 0), Writer(folder, 0)
    for writer in (one, other, one, other):
        enough = writer.safe + 4 * BATCH
        writer.until(lambda writer=writer, enough=enough: writer.safe >= enough)  # type: ignore[misc]
    one.kill()
    other.kill()
    got = numbers(folder)
    assert sorted(got) == list(range(len(got)))
    assert len(got) >= max(one.safe, other.safe)
    return Outcome("nothing", "nothing, and what both have counts once")


def gone(folder: Path) -> Outcome:
    """An hour's folder is deleted while the history is read."""
    last = _recorded(folder)[-1]
    rows = pyarrow.parquet.read_metadata(last).num_rows
    batches = HistorySource(str(folder)).batches()
    whole = next(batches)
    shutil.rmtree(last.parent)
    for batch in batches:
        whole.flows += batch.flows
        whole.notes += batch.notes
    assert len(whole.flows) == 400 - rows
    return Outcome(_note(whole.notes), "that file's records; it is named in every answer")


def _note(notes: list[str]) -> str:
    [note] = notes
    return re.sub(r"\S+\.parquet", "FILE", note)


def _spoilt(spoil: Callable[[Path], None]) -> Callable[[Path], Outcome]:
    def play(folder: Path) -> Outcome:
        first = _recorded(folder)[0]
        rows = pyarrow.parquet.read_metadata(first).num_rows
        spoil(first)
        found = read(folder)
        assert len(found.flows) == 400 - rows
        return Outcome(_note(found.notes), "that file's records; it is named in every answer")

    return play


def _newer(path: Path) -> None:
    table = pyarrow.parquet.read_table(path, partitioning=None)
    about = {"format": columns.FORMAT + 1, "runs": {}, "replaces": []}
    table = table.replace_schema_metadata({"flowwatch": json.dumps(about)})
    pyarrow.parquet.write_table(table, path)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _foreign(path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), path)


def _other_columns(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"drop_reason_number", b"drop_reason_numbex"))


CASES: dict[str, Callable[[Path], Outcome]] = {
    "`kill -9` at a random moment, again and again": killed,
    "the disk is full": full,
    "the right to write is taken away while it records": forbidden,
    "the clock steps back": clock_back,
    "two recorders into one place": two,
    "an hour is deleted while it is read": gone,
    "a file of a newer flowwatch": _spoilt(_newer),
    "a file that was cut off": _spoilt(_cut),
    "a footer that was spoilt": _spoilt(_other_columns),
    "a table of another program": _spoilt(_foreign),
}


def rows(text: str) -> dict[str, Outcome]:
    """The table that stands in ``text``."""
    [table] = _TABLE.findall(text)
    cells = [[cell.strip() for cell in line[2:-2].split(" | ")] for line in table.splitlines()[2:]]
    return {name: Outcome(said, lost) for name, said, lost in cells}


def write(outcomes: dict[str, Outcome], page: Path = PAGE) -> None:
    """Write the table anew."""
    lines = [f"| {' | '.join(HEAD)} |", "|---|---|---|"]
    lines += [f"| {name} | {said} | {lost} |" for name, (said, lost) in outcomes.items()]
    table = "\n".join(lines) + "\n"
    page.write_text(_TABLE.sub(lambda _: table, page.read_text("utf-8")), "utf-8")


def main() -> None:
    global KILLS  # noqa: PLW0603 - a program's own setting
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    KILLS = parser.parse_args().kills
    outcomes = {}
    for name, play in CASES.items():
        with tempfile.TemporaryDirectory() as home:
            outcomes[name] = play(Path(home, "kept"))
        print(f"{name}: {outcomes[name].said}", flush=True)
    write(outcomes)


if __name__ == "__main__":
    main()
