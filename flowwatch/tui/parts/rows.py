"""The question behind tables of rows: which there are, and what one of them is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flowwatch.egress.query import Query
from flowwatch.egress.rows import CloseUp, Fold, Snapshot
from flowwatch.tui.desk import Desk
from flowwatch.tui.question import Question, Readings

NOTHING_MORE = CloseUp()
RECORDS = 12
"""Last records of a row that are shown."""


@dataclass(frozen=True, slots=True)
class RowsAnswer:
    """Rows, and more of one of them."""

    snapshot: Snapshot
    key: int = 0
    """The row that the rest is about; 0: none."""
    more: CloseUp = NOTHING_MORE


@dataclass(frozen=True, kw_only=True)
class Rows(Question[RowsAnswer]):
    """The rows of ``query``; and the last records of that with the key ``key`` (0: of none)."""

    query: Query
    key: int = 0
    fold: Fold | None = None
    """What the key is of, where it is of a fold."""

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
        more = of.monitor.close_up(self.query, self.key, self.fold, RECORDS) or NOTHING_MORE
        if self.when.at:
            # What came since isn't seen yet.
            read = snapshot.coverage.records_read
            records = tuple([record for record in more.records if record.number <= read])
            more = replace(more, records=records)
        return RowsAnswer(snapshot, self.key, more)


def rows(desk: Desk, key: int) -> Rows:
    """The rows that were chosen, and more of that with the key ``key``."""
    shown = desk.answer(Rows)
    fold = shown.value.snapshot.folds.get(key) if shown is not None else None
    return Rows(query=desk.chosen.query, key=key, fold=fold, when=desk.chosen.when)
