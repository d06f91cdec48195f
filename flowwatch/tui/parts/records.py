"""The question behind views of records: the last ones of the rows that were chosen."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from flowwatch.egress.query import Query
from flowwatch.egress.rows import Recent, Snapshot
from flowwatch.tui.desk import Desk
from flowwatch.tui.parts.grouped import plain
from flowwatch.tui.question import Question, Readings

HELD = 2_000
"""Records looked at, the last: those that the aggregate keeps are a few thousand."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordsAnswer:
    """Rows, and their last records."""

    snapshot: Snapshot
    made: tuple[Recent, ...]
    """Of the window that is chosen, the newest last."""
    held: int = 0
    """The time of the first that is kept; 0: none is."""


@dataclass(frozen=True, kw_only=True)
class Records(Question[RecordsAnswer]):
    """The last records of the rows of ``query``."""

    query: Query

    def answer(self, of: Readings) -> RecordsAnswer:
        # Of all rows it needs none: to spell out those of a large cluster takes 0.1 s.
        taken = of.monitor.snapshot(replace(self.query, limit=1))
        found = of.monitor.recent(HELD)
        if taken.matched < taken.totals.rows:
            taken = of.monitor.snapshot(self.query)
            keys = {row.key for row in taken.rows}
            found = tuple([record for record in found if record.key in keys])
        held = found[0].time if found else 0
        start, end = taken.window
        if end:
            found = tuple([record for record in found if start <= record.time < end])
        return RecordsAnswer(taken, found, held)

    @property
    def slides(self) -> bool:
        return bool(self.query.window and not self.query.until)

    def records(self, of: Readings, answer: RecordsAnswer) -> int:
        return answer.snapshot.coverage.records_read


def records_of_rows(desk: Desk, key: int) -> Records:
    """Of the rows that were chosen; of one alone, where one was picked."""
    query = plain(desk.chosen.query)
    if desk.chosen.row:
        query = replace(query, text=f"{query.text} {desk.chosen.row}", noise=True)
    return Records(query=query, when=desk.chosen.when)


def records_of_all(desk: Desk, key: int) -> Records:
    """Of all rows of the direction that was chosen, whatever else was: what there is to say of nodes."""
    chosen = desk.chosen.query
    query = Query(limit=1, direction=chosen.direction, window=chosen.window, until=chosen.until)
    return Records(query=query, when=desk.chosen.when)
