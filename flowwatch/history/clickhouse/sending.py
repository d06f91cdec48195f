"""One flush of a recorder, as rows of the tables: what is there already isn't sent again.

While the server is away a recorder holds what comes, and beyond :data:`MOST` flows it lies aside, until
something can be sent again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flowwatch.errors import OutputError
from flowwatch.history.arrow import Arrow, load
from flowwatch.history.clickhouse.aside import Aside, folder_of
from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.tables import EVENTS_TABLE, FLOWS_TABLE, Table, quoted
from flowwatch.history.events import events_table
from flowwatch.history.writing import Job, Written

MOST = 200_000
"""Flows held in memory while the server is away: some 100 MB."""
RETURNING = 2.0
"""Seconds at a time for what lies aside, so that what comes meanwhile doesn't wait long."""


class Sending:
    """Writes jobs into a database. One thread at a time."""

    def __init__(
        self,
        database: Database,
        aside: Path | None = None,
        *,
        most: int = MOST,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``aside``: the folder for what waits, if not the usual one."""
        self._database = database
        self._aside = Aside(aside or folder_of(database.name))
        self._monotonic = monotonic
        self._unsure: set[tuple[str, int]] = set()
        """Jobs that were tried, and may be there in part, or whole."""
        self._waits = True
        """Whether something may lie aside."""
        self.most = most

    @property
    def place(self) -> str:
        """The folder for what waits."""
        return self._aside.name

    def write(self, job: Job) -> Written:
        """Send a job; its rows are there when this returns. OutputError: some may be, and are known again."""
        pa, _ = load()
        # What was told first: a reader that finds flows finds the beginning of their run as well.
        tables = [(EVENTS_TABLE, _told(pa, job)), (FLOWS_TABLE, _flows(pa, job))]
        unsure = (job.run, job.number) in self._unsure
        self._unsure.add((job.run, job.number))
        sent = [
            self._send(table, rows, unsure=unsure) for table, rows in tables if rows is not None
        ]
        self._unsure.discard((job.run, job.number))
        pa.default_memory_pool().release_unused()
        return Written(len(sent), sum(sent), self._give_back_some())

    def aside(self, job: Job) -> None:
        """Keep a job in the folder. OutputError."""
        self._aside.keep(job)
        self._waits = True

    def give_back(self) -> tuple[int, list[str]]:
        """Send all that lies aside: how many flows went, and what stays, a safe line each. OutputError."""
        flows = sum(self._returned())
        return flows, self._aside.problems

    def _give_back_some(self) -> int:
        """Send what lies aside, for a while; how many flows went."""
        end = self._monotonic() + RETURNING
        flows = 0
        # What comes next tells of a server that is away again.
        with contextlib.suppress(OutputError):
            for went in self._returned():
                flows += went
                if self._monotonic() >= end:
                    break
        return flows

    def _returned(self) -> Iterator[int]:
        """Sends what lies aside, file by file: how many flows each had."""
        if not self._waits:
            return
        for one in self._aside.files():
            rows = _numbered(one.table, one.rows, one.number)
            self._send(one.table, rows, unsure=True)
            self._aside.drop(one.path)
            yield rows.num_rows if one.table is FLOWS_TABLE else 0
        self._waits = False

    def _send(self, table: Table, rows: Arrow, *, unsure: bool) -> int:
        """Insert rows; how many bytes they take up, before they are compressed. OutputError."""
        try:
            if unsure:
                rows = self._missing(table, rows)
            if rows.num_rows:
                self._database.insert(table.name, rows, table.columns)
        except OSError as error:
            raise OutputError(f"can't write to {self._database.name}: {error.strerror}") from None
        return int(rows.nbytes)

    def _missing(self, table: Table, rows: Arrow) -> Arrow:
        """Those that a try before, which nobody answered, hasn't brought there. All are of one run."""
        pa, _ = load()
        number, run = table.order[-1], rows.column("run")[0].as_py()
        numbers = rows.column(number).to_pylist()
        there = {
            found
            for (found,) in self._database.rows(
                f"SELECT {number} FROM {table.name} WHERE run = {quoted(run)} "
                f"AND {number} >= {min(numbers)} AND {number} <= {max(numbers)}"
            )
        }
        if not there:
            return rows
        left = [place for place, one in enumerate(numbers) if one not in there]
        return rows.take(pa.array(left, pa.int64()))


def _told(pa: Arrow, job: Job) -> Arrow | None:
    return _numbered(EVENTS_TABLE, events_table(pa, job.events), job.number) if job.events else None


def _flows(pa: Arrow, job: Job) -> Arrow | None:
    return _numbered(FLOWS_TABLE, job.held.table(pa), job.number) if job.held.flows else None


def _numbered(table: Table, rows: Arrow, flush: int) -> Arrow:
    """Rows as files have them with the column that tables have besides."""
    pa, _ = load()
    if table is FLOWS_TABLE:
        return rows.append_column("flush", pa.array([flush] * rows.num_rows, pa.int64()))
    first = flush << 20
    numbers = pa.array(range(first, first + rows.num_rows), pa.int64())
    return rows.append_column("number", numbers)
