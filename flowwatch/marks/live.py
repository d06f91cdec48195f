"""What policies change while it is looked at: a thread adds batches, views ask what is known so far.

    changes = LiveChanges(join)
    changes.report(frozenset({"egress"}))

The same marks and rows that ``flowwatch changes`` tells of the same records.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from flowwatch.flows.coverage import Coverage
from flowwatch.flows.join import Join, Joined
from flowwatch.marks.changes import ALL, Changes, ChangesReport
from flowwatch.marks.finding import Mark, find

MOST = 4_000_000
"""Attempts kept, in either direction: 32 MB. Past it the older half is forgotten, and told."""

EVERY = 5.0
"""Seconds between two searches for marks at least, for a timeline."""

_COSTLY = 50
"""No more than one part in so many of the time goes into them."""


class Seen(NamedTuple):
    """A mark, as a timeline shows it."""

    time: int
    """Nanoseconds since 1970."""
    policies: tuple[str, ...]


class LiveChanges:
    """Safe from any thread: while a report is made, whoever adds batches waits."""

    def __init__(self, join: Join, most: int = MOST, every: float = EVERY) -> None:
        """``every``: seconds between two searches for marks at least, while only those are asked for."""
        self._lock = threading.Lock()
        self._changes = Changes(join=join)
        self._most = most
        self._every = every
        self._kept = 0
        self._taken = 0
        """Records and ends of attempts, those forgotten among them."""
        self._marks: tuple[Seen, ...] = ()
        self._due = 0.0
        self._looked_at = 0
        join.listen(self)

    def take(self, joined: Joined) -> None:
        """Take in a batch (flowwatch.flows.join.Listener)."""
        with self._lock:
            self._changes.take(joined)
            self._taken += len(joined.batch.flows) + len(joined.closed)
            self._kept += 2 * len(joined.closed)
            if self._kept > self._most:
                self._changes.since = self._changes.seen.forget_half()
                self._kept //= 2

    def report(
        self,
        directions: frozenset[str],
        given: tuple[int, ...] = (),
        within: tuple[int, int] = ALL,
    ) -> ChangesReport:
        """The marks by now, or those ``given``, and what differs beside each; ``within`` as for Changes."""
        now, coverage = self.by_now()
        report = replace(now, directions=directions, given=given).report(coverage, within)
        if not given and within == ALL:
            self._note([one.mark for one in report.differences])
        return report

    def by_now(self) -> tuple[Changes, Coverage]:
        """What was taken in, apart from what is still to come; and what was and wasn't seen."""
        with self._lock:
            now = self._changes.so_far()
        with now.join.lock:
            return now, now.join.coverage()

    def marks(self) -> tuple[Seen, ...]:
        """Those that were found last; looked for anew now and then, once more was read."""
        # Of what was taken: of the last records the join may know, and tell this only then.
        taken = self._taken
        if taken != self._looked_at and time.monotonic() >= self._due:
            self._looked_at = taken
            began = time.monotonic()
            self.look()
            self._due = time.monotonic() + max(self._every, (time.monotonic() - began) * _COSTLY)
        return self._marks

    def look(self) -> None:
        """Look for marks now."""
        now, _ = self.by_now()
        self._note(find(now.seen))

    def _note(self, marks: Sequence[Mark]) -> None:
        self._marks = tuple([Seen(one.time, one.policies) for one in marks if one.turns])
