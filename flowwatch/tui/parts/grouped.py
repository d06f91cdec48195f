"""The question behind views that put rows together: by workload, destination, cause …"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from flowwatch.egress.folding import PLAIN
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Snapshot
from flowwatch.tui.desk import Desk
from flowwatch.tui.question import Question, Readings

MOST_ROWS = 20_000
"""Rows that are put together, the most dropped first: making them takes 0.1 s."""


@dataclass(frozen=True, slots=True, eq=False)
class GroupedAnswer:
    """Rows, and what was made of them."""

    snapshot: Snapshot
    made: Any
    """Whatever the question's ``make`` gives."""


@dataclass(frozen=True, kw_only=True)
class Grouped(Question[GroupedAnswer]):
    """What ``make`` makes of all rows of ``query``, in the feed's thread."""

    query: Query
    make: Callable[[Snapshot], Any]

    @property
    def slides(self) -> bool:
        return bool(self.query.window and not self.query.until)

    def answer(self, of: Readings) -> GroupedAnswer:
        taken = of.monitor.snapshot(self.query)
        return GroupedAnswer(taken, self.make(taken))

    def amend(
        self, of: Readings, before: Question[GroupedAnswer], answer: GroupedAnswer
    ) -> GroupedAnswer | None:
        """Of the same rows, another view makes something else."""
        if not isinstance(before, Grouped) or before.query != self.query:
            return None
        if before.make is self.make:
            return answer
        return GroupedAnswer(answer.snapshot, self.make(answer.snapshot))

    def records(self, of: Readings, answer: GroupedAnswer) -> int:
        return answer.snapshot.coverage.records_read


def plain(query: Query) -> Query:
    """The same rows, one by one: how they are ordered and folded on another screen changes no group."""
    return replace(
        query, limit=MOST_ROWS, order="drops", reverse=False, by=PLAIN, unfolded=frozenset()
    )


def grouped(make: Callable[[Snapshot], Any]) -> Callable[[Desk, int], Grouped]:
    """The question of a view: what ``make`` makes of the rows that were chosen."""

    def question(desk: Desk, key: int) -> Grouped:
        return Grouped(query=plain(desk.chosen.query), make=make, when=desk.chosen.when)

    return question
