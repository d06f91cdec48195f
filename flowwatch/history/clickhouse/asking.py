"""Questions about attempts, asked of the server that has them, by the SQL that Ibis writes."""

from __future__ import annotations

from flowwatch.errors import UsageError
from flowwatch.history.attempts.asking import Posed
from flowwatch.history.attempts.engines import Reply, answered
from flowwatch.history.attempts.made import Made
from flowwatch.history.clickhouse import attempts
from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.records import TableRecords
from flowwatch.history.clickhouse.tables import check, unreadable
from flowwatch.history.events import Event
from flowwatch.text import plural


class InTables:
    """See :class:`flowwatch.history.attempts.asking.Askable`."""

    engine = "clickhouse"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._checked = False

    @property
    def name(self) -> str:
        """The URL, without who asks."""
        return self._database.name

    def made(self, problems: list[str]) -> Made | None:
        """By the newest row that names one. UsageError for a server that is too old."""
        if not self._checked:
            self._check()
        try:
            return attempts.read_made(self._database, problems)
        except OSError as error:
            raise unreadable(self._database, error) from None

    def _check(self) -> None:
        check(self._database)
        if not attempts.knows(self._database):
            raise UsageError(attempts.too_old(self._database), "record to a folder, and ask that")
        self._checked = True

    def answer(self, wanted: Posed, made: Made, lacks: list[str]) -> Reply:
        """By one SELECT."""
        sql = wanted.sql("clickhouse", attempts.NAMES[wanted.table], made.making)
        try:
            left = attempts.rows_of(self._database, "attempts", made)
            found = answered(self._database.arrow(sql))
        except OSError as error:
            raise unreadable(self._database, error) from None
        if gone := made.attempts - left:
            lacks.append(f"{plural(gone, 'attempt')} are gone: they have grown old")
        return found

    def newer(self, made: Made) -> int:
        """By when records came."""
        try:
            return attempts.newer(self._database, made)
        except OSError as error:
            raise unreadable(self._database, error) from None

    def events(self, problems: list[str]) -> list[Event]:
        """Of their table."""
        return [event for _, some in TableRecords(self._database).events() for event in some]
