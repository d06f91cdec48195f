"""How fast things came over the last seconds, by our own clock: of all rows, or of some."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.row_times import ROWS

WINDOW = 5.0
"""Seconds over which is averaged."""

_EVERY = WINDOW / 20
"""Seconds between two looks at the counts."""

_DROPPED = 1
"""Its place in flowwatch.egress.table.COUNTS."""


class _Look(NamedTuple):
    """What had been counted at a moment."""

    at: float
    records: int
    lost: int
    folded: int
    totals: Mapping[int, list[int]]
    """By direction."""
    rows: tuple[array[int], ...]
    """By outcome, of each row: 7 MB for ROWS rows over WINDOW; empty where there are more."""


class Rate(NamedTuple):
    """Per second."""

    records: float = 0.0
    lost: float = 0.0
    dropped: float = 0.0
    forwarded: float = 0.0
    """Everything that wasn't dropped."""


class Rates:
    """Looks at an aggregate now and then. One thread notes, any may ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` tells seconds that only ever grow."""
        self._clock = clock
        self._begun = time.time()
        self._looks: deque[_Look] = deque()

    def note(self, aggregate: Aggregate) -> bool:
        """Look at the counts of now; whether rates may be others by that."""
        now = self._clock()
        tally, looks = aggregate.tally, self._looks
        begun = self._begun - tally.late / 1e9
        if not looks and tally.last_seen / 1e9 < begun - WINDOW:
            # Still in the past that the ring holds: how fast that is read isn't how fast it came.
            return False
        if looks and now - looks[-1].at < _EVERY:
            return False
        if looks and looks[-1].folded != aggregate.folded_rows:
            # Rows have other numbers since.
            looks.clear()
        rows, totals = _counted(aggregate)
        looks.append(
            _Look(now, tally.records_read, tally.lost_events, aggregate.folded_rows, totals, rows)
        )
        while now - looks[0].at > WINDOW:
            looks.popleft()
        return len(looks) > 1 and looks[0][1:] != looks[-1][1:]

    def of(self, directions: Iterable[int], rows: Iterable[int] | None = None) -> Rate:
        """Of all rows of these directions, or of ``rows`` alone if there are few enough for that."""
        looks = list(self._looks)
        if len(looks) < 2:
            return Rate()
        first, last = looks[0], looks[-1]
        if rows is None or not (first.rows and last.rows):
            more = [
                sum(last.totals[way][outcome] - first.totals[way][outcome] for way in directions)
                for outcome in range(len(next(iter(last.totals.values()))))
            ]
        else:
            known = [row for row in rows if row < len(last.rows[0])]
            more = [_more(was, now, known) for was, now in zip(first.rows, last.rows, strict=True)]
        dropped = more[_DROPPED]
        seconds = max(self._clock() - first.at, _EVERY)
        return Rate(
            (last.records - first.records) / seconds,
            (last.lost - first.lost) / seconds,
            # Moving between columns may take a count back: a rate below 0 has no meaning.
            max(dropped, 0) / seconds,
            max(sum(more) - dropped, 0) / seconds,
        )


def _counted(aggregate: Aggregate) -> tuple[tuple[array[int], ...], dict[int, list[int]]]:
    """The counts of rows and of directions; noise is in neither."""
    columns = aggregate.columns
    totals = {way: list(counted) for way, counted in aggregate.totals.items()}
    for way, noise in columns.noise_of.items():
        totals[way][_DROPPED] -= sum(noise.values())
    if len(columns) > ROWS:
        return (), totals
    rows = tuple([one[:] for one in columns.counts])
    for row in columns.noise:
        rows[_DROPPED][row] -= columns.quiet(row)
    return rows, totals


def _more(before: array[int], after: array[int], rows: Iterable[int]) -> int:
    """How many more these rows count by now; those that are new had none."""
    return sum(after[row] - (before[row] if row < len(before) else 0) for row in rows)
