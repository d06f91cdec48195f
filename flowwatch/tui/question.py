"""What a view asks, and of whom.

A question is a value: equal ones have the same answer until more is read. It says itself how it is
answered, so that the feed (:mod:`flowwatch.tui.feed`) knows no view.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from flowwatch.egress.query import Monitor, Query

if TYPE_CHECKING:
    from flowwatch.audits.live import LiveAudit
    from flowwatch.flows.hiding import Hiding
    from flowwatch.marks.hidden import HiddenChanges
    from flowwatch.marks.live import LiveChanges

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class When:
    """The moment that a question is asked at. Which time its numbers are of stands in a query."""

    at: int = 0
    """Nanoseconds since 1970: as it was then, which for now is what was answered last before; 0: now,
    and going on."""


NOW = When()


@dataclass(frozen=True, slots=True)
class Readings:
    """What questions are asked of."""

    monitor: Monitor
    audit: LiveAudit | None = None
    """Of the policies that were given; it hears of all that the monitor reads."""

    changes: LiveChanges | HiddenChanges | None = None
    """What policies change, of the same."""

    def hidden(self, hiding: Hiding) -> Readings:
        """The same with pseudonyms in place of names; policies that were given are about real ones."""
        changes = self.changes
        if changes is not None:
            from flowwatch.marks.hidden import HiddenChanges
            from flowwatch.marks.live import LiveChanges

            if isinstance(changes, LiveChanges):
                changes = HiddenChanges(changes, hiding)
        return Readings(self.monitor.hidden(hiding), None, changes)

    @property
    def records(self) -> int:
        """How many were read so far."""
        return self.monitor.snapshot(Query(limit=0)).coverage.records_read


@dataclass(frozen=True, kw_only=True)
class Question(ABC, Generic[A]):
    """The base of all questions; a subclass is a frozen dataclass of what is wanted."""

    LEAST: ClassVar[float] = 0.2
    """Seconds between two answers at least: five a second."""

    MOST: ClassVar[float] = 2.0
    """Seconds between two answers at most, however dear they are."""

    when: When = NOW

    @abstractmethod
    def answer(self, of: Readings) -> A:
        """Read it anew. Called in the feed's thread, which waits for nothing else."""

    @property
    def slides(self) -> bool:
        """Whether the answer is another one as time goes on, though nothing more is read."""
        return False

    def amend(self, of: Readings, before: Question[A], answer: A) -> A | None:
        """The answer, made of that to ``before``, of the same records; None: it has to be read anew."""
        return answer if replace(before, when=self.when) == self else None

    def records(self, of: Readings, answer: A) -> int:
        """How many records had been read when ``answer`` was given."""
        return of.records
