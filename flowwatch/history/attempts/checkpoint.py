"""The join of a history's records, kept some time before their end: who comes later goes on from there.

    DIR/made/checkpoint/join.gz

A line of JSON that says who has kept it, and the state (:mod:`flowwatch.flows.keeping`), packed. It is
believed only if all that came up to its time is just what was read then: else all is read anew.
"""

from __future__ import annotations

import gzip
import json
import platform
import re
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Protocol

import msgspec

from flowwatch.flows.join import Join
from flowwatch.flows.keeping import Int, KeptJoin, held, join_of, kept_join
from flowwatch.history.attempts.made import Made, version
from flowwatch.history.columns import EVENTS, FLOWS
from flowwatch.history.places import place_of
from flowwatch.history.reading import HistorySource, KeptDoubles, Pause, asked
from flowwatch.history.records import FileRecords, came_after
from flowwatch.history.store import MADE, Listing, Piece, Unreadable, rows, spans
from flowwatch.hubble.wire.enum_names import FIRST, newer_names, newer_number

FOLDER = "checkpoint"
PATH = f"{FOLDER}/join.gz"
"""Below ``made``."""
SETTLED = 60_000_000_000
"""Nanoseconds before the newest record: what came until then is on the disk, of all recorders, as a rule."""
LARGEST = 1 << 31
"""Bytes, unpacked: more is none of ours."""
SPOILT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What is raised by who goes on from what somebody else has written there, though every type was right."""
_FILE = re.compile(r"(?:attempts|minutes)/cluster=[^/]*/date=[^/]+/hour=[^/]+/\d{6,}\.parquet")

Parts = dict[str, tuple[int, dict[str, int]]]
"""By folder of records, how many came up to a time; and by run, when its first did."""


class Unfit(Exception):
    """Why nothing goes on from a checkpoint: the rest of a sentence, safe."""


class Foreign(Unfit):
    """It is sound, and somebody else's."""


class Checkpoint(msgspec.Struct, array_like=True):
    """What is kept. Times in ns since 1970."""

    at: Int
    """All that came until then is in it, and nothing else."""
    parts: Parts
    twice: tuple[bool, list[Int]]
    """By what it was decided which records may be there twice."""
    newer: list[str]
    """Names that have numbers of their own in a process."""
    doubles: KeptDoubles
    join: KeptJoin
    listeners: dict[str, bytes]
    """The state of each who listened, by its folder."""
    files: dict[str, tuple[int, int]]
    """Those of attempts that are over, below ``made``: rows and bytes."""
    hours: list[tuple[str, int]]
    """Clusters and hours since 1970 that have such."""
    number: int
    """Of the next file."""
    attempts: int
    """In these files."""


def _by() -> bytes:
    """Who keeps: what is kept is of this program, this Python, and this kind of machine."""
    said = [version(), platform.python_version(), platform.machine(), sys.byteorder]
    return json.dumps(said).encode()


def pause_before(found: Listing) -> int:
    """Where a reading of what was found is to pause."""
    return max((last for _, last in found.runs.values()), default=0) - SETTLED


def parts_until(found: Listing, at: int) -> Parts:
    """What came up to ``at``, by what footers say, and a column where it lies within. Unreadable."""
    told: Parts = {}
    for pieces, columns in ((found.flows, FLOWS), (found.events, EVENTS)):
        recorded = [one for one in columns if one.name == "recorded"]
        for piece in pieces:
            count = 0
            for group in piece.groups:
                if group.recorded[1] <= at:
                    count += group.rows
                elif group.recorded[0] <= at:
                    later = came_after(rows(piece, recorded, group), at)
                    count += later.to_pylist().count(False)
            _add(told, piece, count, at)
    return told


def _add(told: Parts, piece: Piece, count: int, at: int) -> None:
    if not count:
        return
    folder = piece.path.rpartition("/")[0]
    known, runs = told.get(folder, (0, {}))
    for run, (first, _) in piece.runs.items():
        if first <= at:
            runs[run] = min(first, runs.get(run, first))
    told[folder] = known + count, runs


class Settled(Protocol):
    """What was written of attempts that are over."""

    files: dict[str, tuple[int, int]]
    hours: set[tuple[str, int]]
    number: int
    attempts: int


class Listens(Protocol):
    """One that goes on too."""

    folder: ClassVar[str]

    def kept(self) -> bytes:
        """Its state between two batches."""


def packed(
    found: Listing,
    at: int,
    source: HistorySource,
    join: Join,
    listeners: Iterable[Listens],
    settled: Settled,
) -> bytes | None:
    """A checkpoint of what was read up to ``at``; None where that is nothing, or can't be kept."""
    try:
        parts = parts_until(found, at)
        if not parts:
            return None
        checkpoint = Checkpoint(
            at,
            parts,
            asked(spans(found.flows), at),
            newer_names(),
            source.doubles,
            kept_join(join),
            {one.folder: one.kept() for one in listeners},
            dict(settled.files),
            sorted(settled.hours),
            settled.number,
            settled.attempts,
        )
        content = msgspec.msgpack.encode(checkpoint)
    except (OverflowError, Unreadable):
        # Counts of more than 64 bits; or a file that has just gone, which the reading tells.
        return None
    # Level 1: others take longer than the counting.
    return None if len(content) > LARGEST else gzip.compress(_by() + b"\n" + content, 1, mtime=0)


def _unpacked(path: Path) -> Checkpoint:
    """What a file has. Unfit."""
    try:
        unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        content = unpacking.decompress(path.read_bytes(), LARGEST)
        held(unpacking.eof)
        by, _, kept = content.partition(b"\n")
        if by != _by():
            held(isinstance(json.loads(by), list))
            raise Foreign("another flowwatch, Python or machine has made them")
        return msgspec.msgpack.decode(kept, type=Checkpoint)
    except FileNotFoundError:
        raise Unfit("nothing was kept to go on from") from None
    except OSError as error:
        raise Unfit(f"{MADE}/{PATH} can't be read: {error.strerror}") from None
    except (zlib.error, ValueError):
        raise Unfit(f"{MADE}/{PATH} is damaged") from None


def fitting(folder: Path, made: Made, found: Listing) -> Checkpoint:
    """What to go on from in the history in ``folder``, where ``found`` lies. Unfit."""
    if PATH not in made.files:
        raise Unfit("nothing was kept to go on from")
    if found.left_out:
        raise Unfit("files can't be read")
    checkpoint = _unpacked(folder / MADE / PATH)
    if any(newer_number(name) != FIRST - place for place, name in enumerate(checkpoint.newer)):
        raise Unfit("names newer than this flowwatch came in another order")
    try:
        parts = parts_until(found, checkpoint.at)
    except Unreadable as error:
        raise Unfit(str(error)) from None
    if parts != checkpoint.parts:
        raise Unfit("records from before then came late, or went")
    if asked(spans(found.flows), checkpoint.at) != checkpoint.twice:
        raise Unfit("another recorder began while these were recorded")
    return checkpoint


class Going:
    """What goes on from a checkpoint. ValueError or LookupError for what contradicts itself."""

    def __init__(
        self, folder: Path, found: Listing, kept: Checkpoint | None, pause: Pause | None = None
    ) -> None:
        """``kept`` None: from the beginning."""
        nodes: dict[str, str] = {}
        self.join = Join() if kept is None else join_of(kept.join, nodes)
        after = -1 if kept is None else kept.at
        records = FileRecords(place_of(folder), found=found, after=after, nodes=nodes)
        doubles = None if kept is None else kept.doubles
        self.source = HistorySource(records, pause=pause, doubles=doubles)


def is_file(name: str) -> bool:
    """Whether a path below ``made`` can be that of attempts: none that leads elsewhere."""
    return _FILE.fullmatch(name) is not None


def size_of(path: Path) -> int:
    """A file's bytes; -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def is_sound(path: Path) -> bool:
    """Whether a file can be read, if this flowwatch has written it."""
    try:
        join_of(_unpacked(path).join, {})
    except Foreign:
        return True
    except (Unfit, *SPOILT):
        return False
    return True
