"""The question behind tables of rows: which there are, and what one of them is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msgspec.structs import replace as replace_struct
from msgspec.structs import replace as replaced

from flowwatch.egress.query import Query
from flowwatch.egress.rows import CloseUp, Fold, Snapshot
from flowwatch.tui.desk import Desk
from flowwatch.tui.near import why_nothing
from flowwatch.tui.question import Question, Readings
from flowwatch.tui.state import LAST_LIMIT

if TYPE_CHECKING:
    from flowwatch.marks.live import Seen

NOTHING_MORE = CloseUp()
HELD = 1_000
"""Folds of which a pause holds the rows: 0.1 s."""
RECORDS = 12
"""Last records of a row that are shown."""


@dataclass(frozen=True, slots=True)
class RowsAnswer:
    """Rows, and more of one of them."""

    snapshot: Snapshot
    key: int = 0
    """The row that the rest is about; 0: none."""
    more: CloseUp = NOTHING_MORE
    place: tuple[str, int] | None = None
    """The file and the line of the policy that blocked it, where policies were given."""
    marks: tuple[Seen, ...] = ()
    """Moments at which policies changed, as far as they were looked for."""
    held: Snapshot | None = None
    """In a pause: the rows of all folds, as of when it began."""
    near: tuple[str, ...] = ()
    """Where a filter finds nothing: which word of it, and what was seen that is like it."""


@dataclass(frozen=True, kw_only=True)
class Rows(Question[RowsAnswer]):
    """The rows of ``query``; and the last records of that with the key ``key`` (0: of none)."""

    query: Query
    key: int = 0
    fold: Fold | None = None
    """What the key is of, where it is of a fold."""

    @property
    def slides(self) -> bool:
        return bool(self.query.window and not self.query.until)

    def answer(self, of: Readings) -> RowsAnswer:
        marks = of.changes.marks() if of.changes is not None else ()
        return replace(self.beside(of, of.monitor.snapshot(self.query)), marks=marks)

    def amend(
        self, of: Readings, before: Question[RowsAnswer], answer: RowsAnswer
    ) -> RowsAnswer | None:
        """The rows stay as they are while only another of them is looked into, or once a pause has begun."""
        if not isinstance(before, Rows):
            return None
        held = answer.held
        if self.when.at and not before.when.at and before.query == self.query:
            held = self._held(of)
        if before.query != self.query or held is not answer.held:
            if held is None or not self._is_of(before):
                return None
            snapshot = folded(held, self.query)
        elif before.key == self.key:
            return answer
        else:
            snapshot = answer.snapshot
        return replace(
            self.beside(of, snapshot), marks=answer.marks, held=held if self.when.at else None
        )

    def _held(self, of: Readings) -> Snapshot:
        """All rows of all folds as of now: what may be unfolded in a pause."""
        closed = of.monitor.snapshot(replaced(self.query, limit=HELD, unfolded=frozenset()))
        every = frozenset(closed.folds)
        return of.monitor.snapshot(replaced(self.query, limit=LAST_LIMIT, unfolded=every))

    def _is_of(self, before: Rows) -> bool:
        """Whether the rows are the same ones but for how many are seen of them."""
        return replaced(self.query, limit=None, unfolded=frozenset()) == replaced(
            before.query, limit=None, unfolded=frozenset()
        )

    def records(self, of: Readings, answer: RowsAnswer) -> int:
        return answer.snapshot.coverage.records_read

    def _near(self, of: Readings, snapshot: Snapshot) -> tuple[str, ...]:
        if snapshot.matched or not self.query.text or not snapshot.totals.rows:
            return ()
        return tuple(why_nothing(of, self.query))

    def beside(self, of: Readings, snapshot: Snapshot) -> RowsAnswer:
        """``snapshot``, and more of the row that is asked about."""
        if not self.key:
            return RowsAnswer(snapshot, near=self._near(of, snapshot))
        more = of.monitor.close_up(self.query, self.key, self.fold, RECORDS) or NOTHING_MORE
        if self.when.at:
            # What came since isn't seen yet.
            read = snapshot.coverage.records_read
            records = tuple([record for record in more.records if record.number <= read])
            more = replace_struct(more, records=records)
        row = next((row for row in snapshot.rows if row.key == self.key), None)
        place = (
            of.audit.place(row.attribution) if of.audit is not None and row is not None else None
        )
        return RowsAnswer(snapshot, self.key, more, place=place)


def folded(held: Snapshot, query: Query) -> Snapshot:
    """What ``query`` shows of the rows that are held, all their folds open."""
    shut = [row.key for row in held.rows if held.within.get(row.key, row.key) not in query.unfolded]
    gone = set(shut) & held.within.keys()
    shown = tuple([row for row in held.rows if row.key not in gone][: query.limit])
    within = {key: fold for key, fold in held.within.items() if key not in gone}
    return replaced(held, rows=shown, matched=held.matched - len(gone), within=within)


def rows(desk: Desk, key: int) -> Rows:
    """The rows that were chosen, and more of that with the key ``key``."""
    shown = desk.answer(Rows)
    fold = shown.value.snapshot.folds.get(key) if shown is not None else None
    return Rows(query=desk.chosen.query, key=key, fold=fold, when=desk.chosen.when)
