"""A history in a ClickHouse server, as verbs ask of it."""

from __future__ import annotations

from pathlib import Path

from flowwatch.errors import UsageError
from flowwatch.history.attempts.asking import Askable
from flowwatch.history.clickhouse import attempts, minutes, resuming, tables, upkeep
from flowwatch.history.clickhouse.asking import InTables
from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.records import TableRecords
from flowwatch.history.clickhouse.sending import Sending
from flowwatch.history.clickhouse.url import server_of
from flowwatch.history.info import Info
from flowwatch.history.matching import Matching
from flowwatch.history.reading import HistorySource
from flowwatch.history.recorder import EVERY, Origin, Recorder
from flowwatch.history.resume import Resume
from flowwatch.history.retention import Deleted, Limits
from flowwatch.history.upkeep import Done, Unwanted
from flowwatch.hubble.captures.replay import Selection
from flowwatch.text import plural


class KeptTables:
    """See :class:`flowwatch.history.kept.Kept`."""

    written, unit = "insert", "part"
    files = None

    def __init__(self, database: Database, aside: Path | None = None) -> None:
        self._database = database
        self._sending = Sending(database, aside)

    @property
    def name(self) -> str:
        """The URL, without who asks."""
        return self._database.name

    def create(self, limits: Limits) -> None:
        """By the tables, and how long they keep rows."""
        tables.create(self._database)
        try:
            minutes.create(self._database)
            if attempts.knows(self._database):
                attempts.create(self._database)
        except OSError as error:
            raise UsageError(f"cannot record to {self.name}", str(error.strerror)) from None
        upkeep.keep(self._database, limits)

    def recover(self) -> list[str]:
        """What lies in the folder for what waits."""
        flows, problems = self._sending.give_back()
        place = self._sending.place
        went = [f"{plural(flows, 'flow')} that lay in {place}: written now"] if flows else []
        return went + [f"{line}; it stays in {place}" for line in problems]

    def resume(self, origin: Origin, *, live: bool) -> Resume:
        """Of the newest rows."""
        return resuming.resume(self._database, origin, live=live)

    def recorder(self, origin: Origin, *, every: float = EVERY) -> Recorder:
        """By inserts."""
        return Recorder(self._sending, origin, every=every)

    def trim(self, limits: Limits, now: int) -> Deleted:
        """The oldest days, as far as the server doesn't."""
        return upkeep.trim(self._database, limits, now)

    def source(
        self, *, matching: Matching | None = None, window: Selection | None = None
    ) -> HistorySource:
        """By questions of a page each."""
        filters = matching.decides if matching is not None else None
        records = TableRecords(self._database, filters)
        return HistorySource(records, matching=matching, window=window)

    def info(self) -> Info:
        """By questions."""
        return upkeep.info(self._database)

    def compact(self) -> Done:
        """Attempts; the server merges by itself."""
        return upkeep.compact(self._database)

    def verify(self) -> Done:
        """By the server's own checksums."""
        return upkeep.verify(self._database)

    def forget(self, unwanted: Unwanted) -> Done:
        """By a mutation."""
        return upkeep.forget(self._database, unwanted)

    def attempts(self, engine: str) -> Askable:
        """In tables, asked of the server. UsageError for another engine."""
        if engine:
            raise UsageError(f"{self.name} is asked of its server", f"leave out --engine {engine}")
        return InTables(self._database)


def kept_in(url: str, aside: str = "") -> KeptTables:
    """What is kept at ``clickhouse://…``; nothing is asked yet. UsageError."""
    return KeptTables(Database(server_of(url)), Path(aside) if aside else None)
