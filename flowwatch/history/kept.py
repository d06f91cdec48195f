"""A history wherever it lies: what verbs ask of it, of files and of a database alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flowwatch.errors import UsageError
from flowwatch.history import info as looking
from flowwatch.history import resume as resuming
from flowwatch.history import retention, store, upkeep
from flowwatch.history.attempts.listeners import LISTENERS, Listeners
from flowwatch.history.info import Info
from flowwatch.history.matching import Matching
from flowwatch.history.place import Place
from flowwatch.history.places import place_of
from flowwatch.history.reading import HistorySource
from flowwatch.history.recorder import EVERY, Origin, Recorder
from flowwatch.history.resume import Resume
from flowwatch.history.retention import Deleted, Limits
from flowwatch.history.upkeep import Done, Unwanted
from flowwatch.hubble.captures.replay import Selection

if TYPE_CHECKING:
    from flowwatch.history.attempts.asking import Askable

CLICKHOUSE = "clickhouse://"


class Kept(Protocol):
    """What is kept in one place. The errors are those of the functions for files."""

    written: str
    """What is written at once: ``file`` …"""
    unit: str
    """What it consists of."""

    @property
    def name(self) -> str:
        """As the user wrote it, without secrets, safe to print."""

    @property
    def files(self) -> Place | None:
        """Where its files lie; None where there are none."""

    def create(self, limits: Limits) -> None:
        """Make it, if it isn't there."""

    def recover(self) -> list[str]:
        """Write what an earlier recorder had to set aside; safe lines that tell of it. OutputError."""

    def resume(self, origin: Origin, *, live: bool) -> Resume:
        """What earlier runs have."""

    def recorder(self, origin: Origin, *, every: float = EVERY) -> Recorder:
        """Who writes there, each ``every`` seconds."""

    def trim(self, limits: Limits, now: int) -> Deleted:
        """Delete what is beyond limits."""

    def source(
        self, *, matching: Matching | None = None, window: Selection | None = None
    ) -> HistorySource:
        """What is there, as a source of flows."""

    def info(self) -> Info:
        """What lies there."""

    def compact(self) -> Done:
        """Merge what is small, and make attempts of the records."""

    def verify(self) -> Done:
        """Check all of it."""

    def forget(self, unwanted: Unwanted) -> Done:
        """Delete records."""

    def attempts(self, engine: str) -> Askable:
        """What was made of the records, for questions; by that engine, "" for the usual one. UsageError."""


class KeptFiles:
    """In files."""

    written = unit = "file"

    def __init__(self, place: Place, listeners: Listeners = ()) -> None:
        """``listeners`` count more while attempts are made."""
        self.files = place
        self._listeners = (*LISTENERS, *listeners)

    @property
    def name(self) -> str:
        """The place's."""
        return self.files.name

    def create(self, limits: Limits) -> None:
        """By a marker."""
        store.create(self.files)

    def recover(self) -> list[str]:
        """Nothing is set aside."""
        return []

    def resume(self, origin: Origin, *, live: bool) -> Resume:
        """Of the newest files."""
        return resuming.resume(self.files, origin, live=live)

    def recorder(self, origin: Origin, *, every: float = EVERY) -> Recorder:
        """Of files."""
        return Recorder(self.files, origin, every=every)

    def trim(self, limits: Limits, now: int) -> Deleted:
        """The oldest hours."""
        return retention.trim(self.files, limits, now)

    def source(
        self, *, matching: Matching | None = None, window: Selection | None = None
    ) -> HistorySource:
        """Of the files."""
        return HistorySource(self.files, matching=matching, window=window)

    def info(self) -> Info:
        """Of the files."""
        return looking.info(self.files)

    def compact(self) -> Done:
        """The small files, and attempts."""
        return upkeep.compact(self.files, self._listeners)

    def verify(self) -> Done:
        """Their checksums."""
        return upkeep.verify(self.files)

    def forget(self, unwanted: Unwanted) -> Done:
        """By files without them."""
        return upkeep.forget(self.files, unwanted, self._listeners)

    def attempts(self, engine: str) -> Askable:
        """Of a folder."""
        from flowwatch.history.attempts.asking import InFiles
        from flowwatch.history.attempts.engines import ENGINES

        if self.files.local is None:
            raise UsageError(
                f"attempts are made in folders and in ClickHouse only, and {self.name} is neither",
                "copy it into a folder, or ask another verb with --history",
            )
        return InFiles(self.files.local, ENGINES[engine or "duckdb"])


def kept_at(where: str, aside: str = "", listeners: Listeners = ()) -> Kept:
    """What is kept at a folder, ``s3://…`` or ``clickhouse://…``; nothing is asked yet. UsageError.

    ``aside``: the folder for what waits while a database doesn't answer, if not the usual one. ``listeners``
    count more while attempts are made of files.
    """
    if not where.startswith(CLICKHOUSE):
        return KeptFiles(place_of(where), listeners)
    # Only for who has one: it loads what speaks to a server.
    from flowwatch.history.clickhouse.kept import kept_in

    return kept_in(where, aside)
