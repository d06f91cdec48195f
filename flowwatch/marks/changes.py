"""What a policy changed: batches in, the marks and what differs beside each out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from flowwatch.audits.attribution import cause
from flowwatch.audits.evidence import Observation, Observer
from flowwatch.audits.judge import Judge
from flowwatch.flows import meaning
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.coverage import Coverage
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.model import Batch
from flowwatch.marks.compare import Beside, Change, ChangeRow, Window, compare
from flowwatch.marks.finding import Mark, find
from flowwatch.marks.sightings import MAX_EDGES, Sightings
from flowwatch.text import plural

_AT_ONCE = 200
"""Open attempts looked at while the join waits: 2 ms."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One mark, and what is different since."""

    mark: Mark
    before: Window
    after: Window
    rows: tuple[ChangeRow, ...]

    @property
    def counts(self) -> Mapping[Change, int]:
        """Rows by how they changed."""
        return Counter(row.change for row in self.rows)


@dataclass(frozen=True, slots=True)
class ChangesReport:
    """The whole answer."""

    differences: tuple[Difference, ...]
    """One for each mark, in their order."""
    attempts: int
    coverage: Coverage
    """What was and wasn't seen."""
    notes: tuple[str, ...] = ()
    """What makes the answer less than the whole truth, each in words."""
    shows_answers: bool = False
    """Whether records of answers are there: else nothing tells whether a server answered."""

    @property
    def cut(self) -> int:
        """Rows that were cut, at any mark."""
        return sum(one.counts.get("cut", 0) for one in self.differences)


@dataclass(slots=True)
class Changes:
    """Finds marks in batches of flows, or takes those given, and compares (flowwatch.flows.join.Listener).

    ``directions``: which rows are told; marks are found in both. ``given``: times of marks set by
    hand, in nanoseconds since 1970: then none is looked for. With ``judge`` causes are told by its policies.
    """

    directions: frozenset[str] = frozenset({"egress"})
    given: tuple[int, ...] = ()
    judge: Judge | None = None
    join: Join = field(default_factory=Join)
    seen: Sightings = field(default_factory=Sightings)
    since: int = 0
    """What began before is forgotten; nanoseconds since 1970, 0: nothing is."""
    _observer: Observer = field(default_factory=Observer)
    _attempts: int = 0

    def read(self, batches: Iterable[Batch]) -> ChangesReport:
        """All of ``batches``, and the report."""
        self.join.listen(self)
        self.join.read(batches)
        for origin, scope, attempt in self.join.open_attempts():
            for seen in self._observer.over(attempt, scope):
                self._add(seen, origin)
        return self.report()

    def take(self, joined: Joined) -> None:
        """Take in a batch, and what is over with it."""
        self._observer.take(joined)
        origin, shared = joined.batch.origin, joined.scope.shared
        self.seen.verdicts(
            ((flow, shared(flow.time, flow.node)) for flow in joined.batch.flows), origin
        )
        for attempt in joined.closed:
            for seen in self._observer.over(attempt, joined.scope):
                self._add(seen, origin)

    def so_far(self) -> Changes:
        """The same with the attempts that aren't over, and apart from what is still to come.

        Costs some 10 µs for each that is open; the join waits for a few of them at a time.
        """
        now = replace(self, seen=self.seen.copy())
        with self.join.lock:
            rest = list(self.join.open_attempts())
        for start in range(0, len(rest), _AT_ONCE):
            with self.join.lock:
                for origin, scope, attempt in rest[start : start + _AT_ONCE]:
                    for seen in self._observer.so_far(attempt, scope):
                        now._add(seen, origin)
        return now

    def _add(self, seen: Observation, origin: str) -> None:
        self._attempts += 1
        blocked = seen.outcome == meaning.DROPPED
        told = cause(self.judge, seen).attribution if self.judge is not None and blocked else ""
        self.seen.add(seen, origin, told)

    def report(self, coverage: Coverage | None = None) -> ChangesReport:
        """The marks by now, and what differs beside each; ``coverage``: the join's, where it goes on."""
        coverage = coverage or self.join.coverage()
        marks = [Mark(time) for time in sorted(set(self.given))] or find(self.seen)
        compared = []
        first = max(coverage.first_seen, self.since)
        every = Beside.of(marks, first, coverage.last_seen)
        for number, (mark, beside) in enumerate(zip(marks, every, strict=True), 1):
            rows = compare(self.seen, mark, number, beside)
            told = tuple(row for row in rows if row.edge.direction in self.directions)
            compared.append(Difference(mark, beside.before, beside.after, told))
        notes = list(coverage.warnings)
        if self.since:
            notes.append(f"attempts from before {time_of_day(self.since)} UTC are no longer kept")
        if self.seen.left_out:
            notes.append(
                f"{plural(self.seen.left_out, 'attempt')} of more than {MAX_EDGES:,} destinations left out"
            )
        return ChangesReport(
            tuple(compared), self._attempts, coverage, tuple(notes), self.join.shows_answers
        )
