"""Makes attempts, and their counts by the minute, of a history's records: by the join, as every verb does.

All of them anew, as late records, what was forgotten and the hours before may change any attempt: what is
there is what ``export --history DIR --outcome all --direction both`` says, no more and no less.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from flowwatch.errors import OutputError
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.listing import AttemptListing
from flowwatch.flows.meaning import OUTCOMES
from flowwatch.history.arrow import Arrow, load, parquet_bytes
from flowwatch.history.attempts.columns import FORMAT
from flowwatch.history.attempts.listeners import LISTENERS, Kept, Listeners
from flowwatch.history.attempts.made import (
    MARKER,
    TABLES,
    Made,
    Table,
    read_made,
    rows_of,
    text_of,
    version,
)
from flowwatch.history.attempts.tables import minutes_of, table_of
from flowwatch.history.reading import HistorySource
from flowwatch.history.store import HOUR, MADE, Listing, partition
from flowwatch.history.writing import node_cluster
from flowwatch.output import open_output
from flowwatch.text import safe

HELD = 131_072
"""Attempts held at most until an hour's are written: some 100 MB."""
HOURS = 10_000
"""Folders at most; of yet more hours, one has the rest."""
_ASIDE = ".making-"
_TIMES = ("first_seen", "last_seen", "minute")
_BOTH = frozenset({"egress", "ingress"})


def make(folder: Path, found: Listing, listeners: Listeners = LISTENERS) -> Made | None:
    """Make all anew, if the records are others than last time; None if not. OutputError.

    ``found`` is what lies in the history; ``listeners`` count more meanwhile. Only one may do so at a
    time: who has its lock.
    """
    before = read_made(folder, [])
    if (before is not None and before.of(found)) or not rows_of(found):
        return None
    aside = folder / f"{_ASIDE}{os.urandom(4).hex()}"
    runs = found.runs
    making = _Making(aside)
    source = HistorySource(str(folder))
    listing = attempts_of(source)
    listening = [one(listing.join) for one in listeners]
    try:
        making.take(listing)
        if not source.left_out:
            # Else each answer names what couldn't be read, which may be read tomorrow.
            making.keep(listening)
        made = Made(
            runs,
            rows_of(found),
            making.attempts,
            max((last for _, last in runs.values()), default=0),
            making.files,
            "" if source.left_out else version(),
        )
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


def attempts_of(source: HistorySource) -> AttemptListing:
    """All of a history's attempts, as they come to their end."""
    return AttemptListing(source.batches(), _BOTH, frozenset(OUTCOMES))


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
        self._hours: set[tuple[str, int]] = set()
        self.attempts = 0
        self.files: dict[str, tuple[int, int]] = {}

    def take(self, attempts: Iterable[Attempt]) -> None:
        clusters: dict[str, str] = {}
        held = 0
        for attempt in attempts:
            cluster = clusters.get(attempt.node)
            if cluster is None:
                cluster = clusters[attempt.node] = node_cluster(attempt.node)
            key = cluster, attempt.first_seen // HOUR
            if key not in self._hours:
                key = key if len(self._hours) < HOURS else (cluster, 0)
                self._hours.add(key)
            self._held[key].append(attempt)
            held += 1
            self.attempts += 1
            if held >= HELD:
                held -= self._write(max(self._held, key=lambda one: len(self._held[one])))
        for key in sorted(self._held):
            self._write(key)

    def _write(self, key: tuple[str, int]) -> int:
        attempts = self._held.pop(key)
        table = table_of(attempts)
        cluster, hour = key
        place = partition(cluster, hour * HOUR).partition("/")[2]
        for name, rows in zip(TABLES, (table, minutes_of(table)), strict=True):
            self.write(name, place, rows)
        return len(attempts)

    def write(self, name: Table, place: str, table: Arrow) -> None:
        """Write a file of a table into the folder ``place`` of an hour."""
        path = f"{name}/{place}/{len(self.files):06d}.parquet"
        write(self._aside / path, table)
        self.files[path] = table.num_rows, (self._aside / path).stat().st_size

    def keep(self, listeners: Iterable[Kept]) -> None:
        """Write what those who listened have of all."""
        for path, rows, content in chain.from_iterable(one.files() for one in listeners):
            _make_folder((self._aside / path).parent)
            with open_output(str(self._aside / path), "parquet") as out:
                out.write_bytes(content)
            self.files[path] = rows, len(content)


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
