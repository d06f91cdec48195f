"""Makes attempts, and their counts by the minute, of a history's records: by the join, as every verb does.

What is there is what ``export --history DIR --outcome all --direction both`` says, no more and no less. Some
time before the end of the records the join is kept (:mod:`flowwatch.history.attempts.checkpoint`): the next
making goes on from there. Files of attempts that were over by then stay as they are; all others are made
again. Late records and what was forgotten may change any attempt: all are made anew then. Where the oldest
hours went, attempts are those of their first record's hour, and go with it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from flowwatch.errors import OutputError
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.join import Join
from flowwatch.flows.listing import AttemptListing
from flowwatch.flows.meaning import OUTCOMES
from flowwatch.history.arrow import Arrow, load
from flowwatch.history.attempts.checkpoint import PATH as CHECKPOINT
from flowwatch.history.attempts.checkpoint import (
    SPOILT,
    Checkpoint,
    Going,
    Kept,
    Unfit,
    fitting,
    is_file,
    packed,
    pause_before,
    size_of,
)
from flowwatch.history.attempts.columns import FORMAT
from flowwatch.history.attempts.listeners import LISTENERS, Listeners
from flowwatch.history.attempts.made import (
    MARKER,
    TABLES,
    Made,
    Table,
    is_whole,
    read_made,
    rows_of,
    text_of,
    version,
)
from flowwatch.history.attempts.tables import minutes_of, table_of
from flowwatch.history.parquet_files import parquet_bytes
from flowwatch.history.reading import HistorySource, Pause
from flowwatch.history.store import HOUR, MADE, Listing, partition
from flowwatch.history.writing import node_cluster
from flowwatch.output import open_output
from flowwatch.text import plural, safe

HELD = 131_072
"""Attempts held at most until an hour's are written: some 100 MB."""
HOURS = 10_000
"""Folders at most; of yet more hours, one has the rest."""
_ASIDE = ".making-"
_TIMES = ("first_seen", "last_seen", "minute")
_BOTH = frozenset({"egress", "ingress"})


def make(folder: Path, found: Listing, listeners: Listeners = LISTENERS) -> Made | None:
    """Make them, if the records are others than last time; None if not. OutputError.

    ``found`` is what lies in the history, merged if it is to be; ``listeners`` count more meanwhile. Only one
    may do so at a time: who has its lock.
    """
    before = read_made(folder, [])
    if not rows_of(found):
        return None
    if before is not None and before.of(found) and is_whole(folder, before):
        return None
    how = ""
    if before is not None and CHECKPOINT in before.files:
        try:
            return _made(folder, found, fitting(folder, before, found), listeners)
        except Unfit as why:
            how = f"all records were read: {why}"
        except SPOILT:
            how = f"all records were read: {MADE}/{CHECKPOINT} is damaged"
    made = _made(folder, found, None, listeners)
    made.how = how
    return made


def _made(folder: Path, found: Listing, kept: Checkpoint | None, listeners: Listeners) -> Made:
    """Go on from ``kept``, or begin. Unfit, or one of SPOILT, where that goes wrong."""
    aside = folder / f"{_ASIDE}{os.urandom(4).hex()}"
    runs, at = found.runs, pause_before(found)
    making = _Making(aside)
    checkpoint: list[bytes] = []

    def keep() -> None:
        making.settle()
        content = packed(found, at, going.source, going.join, listening, making)
        checkpoint.extend([content] if content is not None else [])

    if kept is not None:
        at = max(at, kept.at)
    going = Going(folder, found, kept, Pause(at, keep))
    source = going.source
    listing = attempts_of(source, going.join)
    # What was counted of all records can't go on once the oldest hours went.
    counts = kept is None or bool(kept.listeners)
    listening = [one(listing.join) for one in listeners] if counts else []
    try:
        if kept is not None:
            for one in listening:
                one.go_on(kept.listeners[one.folder])
            making.go_on(folder / MADE, kept)
        making.take(listing)
        if not source.left_out:
            # Else each answer names what couldn't be read, which may be read tomorrow.
            making.keep(listening)
            for content in checkpoint:
                making.keep_as(CHECKPOINT, 0, content)
        made = Made(
            runs,
            rows_of(found),
            making.attempts,
            max((last for _, last in runs.values()), default=0),
            making.files,
            version() if counts and not source.left_out else "",
        )
        if kept is not None:
            read = made.rows - sum(rows for rows, _ in kept.parts.values())
            made.how = f"{plural(read, 'record')} read: the others were joined before"
            made.how += "" if counts else ", and the oldest hours went since"
        # Also where there is no attempt, and so no file that has made it.
        _make_folder(aside)
        with open_output(str(aside / MARKER), "json") as out:
            out.write(text_of(made))
        unmake(folder, keep=aside)
        _rename(aside, folder / MADE)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return made


def attempts_of(source: HistorySource, join: Join | None = None) -> AttemptListing:
    """All of a history's attempts, as they come to their end; ``join``: one that goes on."""
    return AttemptListing(source.batches(), _BOTH, frozenset(OUTCOMES), join=join)


def unmake(folder: Path, keep: Path | None = None) -> bool:
    """Take away what was made, and what others have left half made, but ``keep``; whether there was any."""
    there = (folder / MADE).exists()
    if there:
        # Away at once, as a whole: a half of it would be half an answer.
        _rename(folder / MADE, folder / f"{_ASIDE}{os.urandom(4).hex()}")
    for path in folder.glob(f"{_ASIDE}*"):
        if path != keep:
            _remove(path)
    return there


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutputError(f"can't delete {safe(str(path))}: {error.strerror}") from None


def _rename(path: Path, name: Path) -> None:
    try:
        path.rename(name)
        descriptor = os.open(name.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OutputError(f"can't write {safe(str(name))}: {error.strerror}") from None


class _Making:
    """Writes attempts as they come, an hour of a cluster at a time."""

    def __init__(self, aside: Path) -> None:
        self._aside = aside
        self._held: dict[tuple[str, int], list[Attempt]] = defaultdict(list)
        self._clusters: dict[str, str] = {}
        self._waiting = 0
        self.hours: set[tuple[str, int]] = set()
        self.attempts = self.number = 0
        self.files: dict[str, tuple[int, int]] = {}

    def go_on(self, made: Path, kept: Checkpoint) -> None:
        """Take over the files of attempts that are over, which lie in ``made``. Unfit, OutputError."""
        for name, (rows, size) in kept.files.items():
            if not is_file(name):
                raise Unfit(f"{MADE}/{CHECKPOINT} is damaged")
            if size_of(made / name) != size:
                raise Unfit("attempts of an hour have gone, or are damaged")
            _make_folder((self._aside / name).parent)
            _link(made / name, self._aside / name)
            self.files[name] = rows, size
        self.hours, self.number, self.attempts = set(kept.hours), kept.number, kept.attempts

    def take(self, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            cluster = self._clusters.get(attempt.node)
            if cluster is None:
                cluster = self._clusters[attempt.node] = node_cluster(attempt.node)
            key = cluster, attempt.first_seen // HOUR
            if key not in self.hours:
                key = key if len(self.hours) < HOURS else (cluster, 0)
                self.hours.add(key)
            self._held[key].append(attempt)
            self._waiting += 1
            self.attempts += 1
            if self._waiting >= HELD:
                self._write(max(self._held, key=lambda one: len(self._held[one])))
        self.settle()

    def settle(self) -> None:
        """Write all that were taken."""
        for key in sorted(self._held):
            self._write(key)

    def _write(self, key: tuple[str, int]) -> None:
        attempts = self._held.pop(key)
        self._waiting -= len(attempts)
        table = table_of(attempts)
        cluster, hour = key
        place = partition(cluster, hour * HOUR).partition("/")[2]
        for name, rows in zip(TABLES, (table, minutes_of(table)), strict=True):
            self.write(name, place, rows)

    def write(self, name: Table, place: str, table: Arrow) -> None:
        """Write a file of a table into the folder ``place`` of an hour."""
        path = f"{name}/{place}/{self.number:06d}.parquet"
        self.number += 1
        write(self._aside / path, table)
        self.files[path] = table.num_rows, (self._aside / path).stat().st_size

    def keep(self, listeners: Iterable[Kept]) -> None:
        """Write what those who listened have of all."""
        for path, rows, content in chain.from_iterable(one.files() for one in listeners):
            self.keep_as(path, rows, content)

    def keep_as(self, path: str, rows: int, content: bytes) -> None:
        """Write a file beside the tables."""
        _make_folder((self._aside / path).parent)
        with open_output(str(self._aside / path), "parquet") as out:
            out.write_bytes(content)
        self.files[path] = rows, len(content)


def _link(path: Path, name: Path) -> None:
    """Have a file there too: it stays when the folder that it lies in goes. Unfit, OutputError."""
    try:
        if not _linked(path, name):
            shutil.copyfile(path, name)
    except FileNotFoundError:
        raise Unfit("attempts of an hour have gone") from None
    except OSError as error:
        raise OutputError(f"can't write {safe(str(name))}: {error.strerror}") from None


def _linked(path: Path, name: Path) -> bool:
    """False where a file has but one name."""
    try:
        name.hardlink_to(path)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV):
            return False
        raise
    return True


def write(path: Path, table: Arrow) -> None:
    """Write ``table`` there, whole or not at all. OutputError."""
    pa, _ = load()
    times = [name for name in _TIMES if name in table.column_names]
    leaves = [
        f"{one.name}.list.element" if pa.types.is_list(one.type) else one.name
        for one in table.schema
        if one.name not in times
    ]
    content = parquet_bytes(table, shared=leaves, numbers=times, about={"format": FORMAT})
    _make_folder(path.parent)
    with open_output(str(path), "parquet") as out:
        out.write_bytes(content)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"can't write {safe(str(path))}: {error.strerror}") from None
