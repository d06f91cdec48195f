"""The join of a history's records, kept some time before their end: who comes later goes on from there.

    DIR/made/checkpoint/join.gz

A line of JSON that says who has kept it, and the state (:mod:`flowwatch.flows.keeping`), packed. It is
believed only if all that came up to its time is just what was read then: else all is read anew.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from flowwatch.flows.join import Join
from flowwatch.flows.keeping import Int, KeptJoin, held, join_of, kept_join
from flowwatch.history.attempts.made import Made, standing, version
from flowwatch.history.attempts.packing import pack, unpack
from flowwatch.history.columns import EVENTS, FLOWS
from flowwatch.history.places import place_of
from flowwatch.history.reading import HistorySource, KeptDoubles, Pause, asked
from flowwatch.history.records import FileRecords, came_after
from flowwatch.history.store import MADE, Listing, Piece, Unreadable, hour_of, rows, spans
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
    """The state of each who listened, by its folder; none once the oldest hours went."""
    files: dict[str, tuple[int, int]]
    """Those of attempts that are over, below ``made``: rows and bytes."""
    hours: list[tuple[str, int]]
    """Clusters and hours since 1970 that have such."""
    number: int
    """Of the next file."""
    attempts: int
    """In these files."""

    def without(self, made: Path, until: int, parts: Parts) -> Checkpoint:
        """What to go on from when records of the hours to ``until`` (ns) went, and ``parts`` stay.

        Files of attempts that went with them are left out, and so is what was counted of all records.
        """
        files = {
            name: about
            for name, about in self.files.items()
            if not _is_until(name, until) or size_of(made / name) >= 0
        }
        gone = sum(
            rows
            for name, (rows, _) in self.files.items()
            if name not in files and name.startswith("attempts/")
        )
        return replace(self, parts=parts, listeners={}, files=files, attempts=self.attempts - gone)


def _is_until(name: str, until: int) -> bool:
    hour = hour_of(name)
    return hour is not None and hour <= until


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


class Kept(Protocol):
    """Made with the join that it listens to; asked for its files when all records were read."""

    folder: ClassVar[str]
    """Below ``made``; no other's."""

    def __init__(self, join: Join) -> None: ...

    def files(self) -> Iterator[tuple[str, int, bytes]]:
        """Each file's path below ``made``, how many rows it has, and its content."""

    def kept(self) -> bytes:
        """Its state between two batches, for who goes on later."""

    def go_on(self, kept: bytes) -> None:
        """Take over such a state, just made with the join that was kept with it.

        ValueError, LookupError or TypeError for what contradicts itself: anybody may have written it.
        """


def packed(
    found: Listing,
    at: int,
    source: HistorySource,
    join: Join,
    listeners: Iterable[Kept],
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
    return None if len(content) > LARGEST else pack(_by() + b"\n" + content)


def _unpacked(path: Path) -> Checkpoint:
    """What a file has. Unfit."""
    try:
        by, _, kept = unpack(path, LARGEST).partition(b"\n")
        if by != _by():
            held(isinstance(json.loads(by), list))
            raise Foreign("another flowwatch, Python or machine has made them")
        return msgspec.msgpack.decode(kept, type=Checkpoint)
    except FileNotFoundError:
        raise Unfit("nothing was kept to go on from") from None
    except OSError as error:
        raise Unfit(f"{MADE}/{PATH} can't be read: {error.strerror}") from None
    except ValueError:
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
    twice = asked(spans(found.flows), checkpoint.at)
    if parts != checkpoint.parts:
        until = _went_until(checkpoint.parts, parts)
        if until is None:
            raise Unfit("records from before then came late, or went")
        checkpoint = checkpoint.without(folder / MADE, until, parts)
        if _is_less(twice, checkpoint.twice):
            # With a run that went goes what was asked about it.
            twice = checkpoint.twice
    if twice != checkpoint.twice:
        raise Unfit("another recorder began while these were recorded")
    return checkpoint


def _went_until(before: Parts, now: Parts) -> int | None:
    """The latest hour of which records went, if these were the oldest, as --keep and --max-size take them.

    None where others went, or some came, or none of before are left: to read all is right then, or cheap.
    """
    stay: list[int | None] = []
    until = 0
    for folder, (count, _) in before.items():
        hour = hour_of(f"{folder}/")
        if now.get(folder) == before[folder]:
            stay.append(hour)
        elif hour is None or now.get(folder, (0, {}))[0] >= count:
            return None
        else:
            until = max(until, hour)
    came = now.keys() - before.keys()
    if not stay or came or any(hour is not None and hour < until for hour in stay):
        return None
    return until


def _is_less(now: tuple[bool, list[int]], before: tuple[bool, list[int]]) -> bool:
    """Whether nothing is asked that wasn't."""
    return now[0] <= before[0] and set(now[1]) <= set(before[1])


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


_Listener = TypeVar("_Listener", bound=Kept)
_Answer = TypeVar("_Answer")


def answered(
    folder: Path,
    path: str,
    read: Callable[[Path], _Answer | None],
    listener: type[_Listener],
    ask: Callable[[_Listener], _Answer],
) -> tuple[_Answer | None, str]:
    """What stands for reading all records of the history in ``folder``. InputError for no history.

    It is what ``read`` finds in the file ``path`` below ``made``; or what the ``listener`` that wrote it
    says, once the records that came since were read. None where neither can be, with why if it is to be
    said: a safe line, else empty.
    """
    stands = standing(folder)
    if stands.made is not None and path in stands.made.files:
        return read(folder / MADE / path), ""
    answer = None
    if stands.before is not None:
        answer = _with_newer(folder, stands.before, stands.found, listener, ask)
    return answer, stands.why_not if answer is None else ""


def _with_newer(
    folder: Path,
    made: Made,
    found: Listing,
    listener: type[_Listener],
    ask: Callable[[_Listener], _Answer],
) -> _Answer | None:
    try:
        kept = fitting(folder, made, found)
        going = Going(folder, found, kept)
        counting = listener(going.join)
        counting.go_on(kept.listeners[listener.folder])
        going.join.read(going.source.batches())
        return None if going.source.left_out else ask(counting)
    except (Unfit, *SPOILT):
        return None


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
