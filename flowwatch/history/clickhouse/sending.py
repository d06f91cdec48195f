"""One flush of a recorder, as rows of the tables: what is there already isn't sent again."""

from __future__ import annotations

from flowwatch.errors import OutputError
from flowwatch.history.arrow import Arrow, load
from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.tables import EVENTS_TABLE, FLOWS_TABLE, Table, quoted
from flowwatch.history.events import events_table
from flowwatch.history.writing import Job, Written


class Sending:
    """Writes jobs into a database. One thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unsure: set[int] = set()
        """Jobs that were tried, and may be there in part, or whole."""

    def write(self, job: Job) -> Written:
        """Send a job; its rows are there when this returns. OutputError: some may be, and are known again."""
        pa, _ = load()
        try:
            # What was told first: a reader that finds flows finds the beginning of their run as well.
            sent = [
                self._send(table, rows, job)
                for table, rows in (
                    (EVENTS_TABLE, self._told(pa, job)),
                    (FLOWS_TABLE, _flows(pa, job)),
                )
                if rows is not None
            ]
        except OSError as error:
            self._unsure.add(job.number)
            raise OutputError(f"can't write to {self._database.name}: {error.strerror}") from None
        self._unsure.discard(job.number)
        pa.default_memory_pool().release_unused()
        return Written(len(sent), sum(sent))

    def _told(self, pa: Arrow, job: Job) -> Arrow | None:
        if not job.events:
            return None
        table = events_table(pa, job.events)
        first = job.number << 20
        numbers = pa.array(range(first, first + table.num_rows), pa.int64())
        return table.append_column("number", numbers)

    def _send(self, table: Table, rows: Arrow, job: Job) -> int:
        """Insert rows; how many bytes they take up, before they are compressed."""
        if job.number in self._unsure:
            rows = self._missing(table, rows, job.run)
        if rows.num_rows:
            self._database.insert(table.name, rows, table.columns)
        return int(rows.nbytes)

    def _missing(self, table: Table, rows: Arrow, run: str) -> Arrow:
        """Those that a try before, which nobody answered, hasn't brought there."""
        pa, _ = load()
        number = table.order[-1]
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


def _flows(pa: Arrow, job: Job) -> Arrow | None:
    if not job.held.flows:
        return None
    table = job.held.table(pa)
    return table.append_column("flush", pa.array([job.number] * table.num_rows, pa.int64()))
