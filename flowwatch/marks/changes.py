"""What a policy changed: batches in, the marks and what differs beside each out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from flowwatch.audits.attribution import cause
from flowwatch.audits.evidence import Observation, Observer, telling
from flowwatch.audits.judge import Judge
from flowwatch.flows import meaning
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.coverage import Coverage
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.model import Batch
from flowwatch.flows.open_attempt import AT_THE_ENDPOINT, OpenAttempt
from flowwatch.marks.alike import Alike, Ways
from flowwatch.marks.compare import Beside, Change, ChangeRow, Window, compare
from flowwatch.marks.finding import Mark, find
from flowwatch.marks.sightings import MAX_EDGES, Sightings
from flowwatch.text import plural

ALL = (0, 0)
"""In place of a window: all that was read."""

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
    within: tuple[int, int] = ALL
    """From when until when it looked, where that isn't all that was read; nanoseconds since 1970."""
    outside: int = 0
    """Marks that lie outside."""

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
    _alike: Alike = field(default_factory=Alike)
    _attempts: int = 0

    def read(self, batches: Iterable[Batch]) -> ChangesReport:
        """All of ``batches``, and the report."""
        self.join.listen(self)
        self.join.read(batches)
        self.close()
        return self.report()

    def close(self) -> None:
        """Take in what is still open. Nothing may be added afterwards."""
        for origin, scope, attempt in self.join.open_attempts():
            self._over(attempt, scope, origin)

    def take(self, joined: Joined) -> None:
        """Take in a batch, and what is over with it."""
        origin, shared = joined.batch.origin, joined.scope.shared
        note, verdict = self._observer.note, self.seen.verdict
        for flow, attempt in telling(joined):
            kind = flow.kind
            if kind.event_type in AT_THE_ENDPOINT and kind.direction:
                verdict(flow, shared(flow.time, kind.node), origin)
            if attempt is not None:
                note(attempt, flow)
        for attempt in joined.closed:
            self._over(attempt, joined.scope, origin)

    def _over(self, attempt: OpenAttempt, scope: Attempts, origin: str) -> None:
        """Take in an attempt that is over. With a judge all that is seen may count for a cause."""
        ways = self._alike.ways(attempt, scope, origin, self._observer) if not self.judge else None
        if ways is not None and self._again(ways, attempt, scope):
            self._observer.dismiss(attempt)
            return
        for seen in self._observer.over(attempt, scope):
            self._add(seen, origin, ways)

    def _again(self, ways: Ways, attempt: OpenAttempt, scope: Attempts) -> bool:
        """Take it in as others before, if there were such in each of its directions."""
        known = self._alike.known(ways)
        if known is None:
            return False
        self._attempts += len(known)
        first, last = (
            scope.shared(attempt.first, attempt.node),
            scope.shared(attempt.last, attempt.node),
        )
        for sighting in known:
            self.seen.again(sighting, first, last)
        return True

    @property
    def attempts(self) -> int:
        """Taken in so far, in their directions."""
        return self._attempts

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
                    ways = self._alike.ways(attempt, scope, origin, self._observer)
                    if ways is None or self.judge or not now._again(ways, attempt, scope):
                        for seen in self._observer.so_far(attempt, scope):
                            now._add(seen, origin, ways)
        return now

    def _add(self, seen: Observation, origin: str, ways: Ways | None = None) -> None:
        self._attempts += 1
        blocked = seen.outcome == meaning.DROPPED
        told = cause(self.judge, seen).attribution if self.judge is not None and blocked else ""
        sighting = self.seen.add(seen, origin, told)
        if ways is not None and sighting is not None:
            self._alike.learn(ways[seen.direction], sighting)

    def report(
        self, coverage: Coverage | None = None, within: tuple[int, int] = ALL
    ) -> ChangesReport:
        """The marks by now, and what differs beside each; ``coverage``: the join's, where it goes on.

        ``within``: only marks from then until before then, compared with what lies between; nanoseconds since
        1970."""
        coverage = coverage or self.join.coverage()
        marks = [Mark(time) for time in sorted(set(self.given))] or find(self.seen)
        compared = []
        first = max(coverage.first_seen, self.since)
        last = coverage.last_seen
        outside = 0
        if within != ALL:
            first, last = max(first, within[0]), min(last, within[1] - 1)
            outside = len(marks)
            marks = [mark for mark in marks if within[0] <= mark.time < within[1]]
            outside -= len(marks)
        every = Beside.of(marks, first, last)
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
            tuple(compared),
            self._attempts,
            coverage,
            tuple(notes),
            self.join.shows_answers,
            within,
            outside,
        )
