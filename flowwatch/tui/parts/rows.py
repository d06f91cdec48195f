"""The question behind tables of rows: which there are, and what one of them is made of."""

from __future__ import annotations

from dataclasses import dataclass

from flowwatch.egress.query import Query
from flowwatch.egress.rows import Recent, Snapshot
from flowwatch.flows.model import Endpoint
from flowwatch.tui.desk import Desk
from flowwatch.tui.question import Question, Readings

RECORDS = 12
"""Last records of a row that are shown."""


@dataclass(frozen=True, slots=True)
class RowsAnswer:
    """Rows, and more of one of them."""

    snapshot: Snapshot
    key: int = 0
    """The row that the rest is about; 0: none."""
    records: tuple[Recent, ...] = ()
    """Its last records."""
    ends: tuple[Endpoint, Endpoint] | None = None
    """Its pod and its peer, as Hubble told them last."""


@dataclass(frozen=True, kw_only=True)
class Rows(Question[RowsAnswer]):
    """The rows of ``query``; and the last records of that with the key ``key`` (0: of none)."""

    query: Query
    key: int = 0

    def answer(self, of: Readings) -> RowsAnswer:
        return self._beside(of, of.monitor.snapshot(self.query))

    def amend(
        self, of: Readings, before: Question[RowsAnswer], answer: RowsAnswer
    ) -> RowsAnswer | None:
        """The rows stay as they are while only another of them is looked into, or a pause begins."""
        if not isinstance(before, Rows) or before.query != self.query:
            return None
        return answer if before.key == self.key else self._beside(of, answer.snapshot)

    def records(self, of: Readings, answer: RowsAnswer) -> int:
        return answer.snapshot.coverage.records_read

    def _beside(self, of: Readings, snapshot: Snapshot) -> RowsAnswer:
        if not self.key:
            return RowsAnswer(snapshot)
        records = of.monitor.recent(self.key, RECORDS)
        if self.when.at:
            # What came since isn't seen yet.
            read = snapshot.coverage.records_read
            records = tuple([record for record in records if record.number <= read])
        return RowsAnswer(snapshot, self.key, records, of.monitor.ends(self.key))


def rows(desk: Desk, key: int) -> Rows:
    """The rows that were chosen, and more of that with the key ``key``."""
    return Rows(query=desk.chosen.query, key=key, when=desk.chosen.when)
