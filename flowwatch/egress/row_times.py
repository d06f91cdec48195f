"""When each row's attempts began, so that a timeline can be of some rows alone, and rows of some time.

A row has a cell for each bucket of time in which an attempt of it began. Cells take 16 bytes, a row 160
more: 5 MB where all of CELLS and ROWS are used. Of attempts that were neither forwarded nor dropped, which
few rows have, a cell takes 150 bytes more: 20 MB where all have. When the cells run out, the buckets of
all rows get twice as wide. Past ROWS rows there is nothing left to tell them apart by, and none is kept.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from flowwatch.egress.rows import SECOND, Timeline
from flowwatch.flows import meaning

CELLS = 131_072
"""Kept of all rows together: a thousand rows have ten minutes by 8 s."""

ROWS = 16_384
"""Rows up to which each has a timeline: eight cells for each at least."""

_DROPPED = 1 << 32
"""In a cell: one dropped attempt; whatever else became of one is a 1."""

_RARE = (meaning.AUDIT, meaning.ERROR, meaning.UNKNOWN)
"""Outcomes that few rows have: in a cell with what was forwarded, and in one of their own."""
_SHIFT = {outcome: 20 * place for place, outcome in enumerate(_RARE)}
_MASK = (1 << 20) - 1

_Cells: TypeAlias = "tuple[array[int], array[int]]"
"""Buckets of one row, in their order, and what began in each."""


class RowTimes:
    """Counts by row and time, in any order of time. One thread."""

    def __init__(self, cells: int = CELLS, rows: int = ROWS) -> None:
        """``rows`` is at most a quarter of ``cells``, so that wider buckets always make room."""
        self._limit, self._most_rows = cells, rows
        self.width = SECOND
        """Of a bucket, nanoseconds."""
        self._rows: list[_Cells] | None = []
        """By the row's number; None: there were too many."""
        self._used = 0
        self._rare: dict[tuple[int, int], int] = {}
        """By row and bucket, what came to the outcomes _RARE: 20 bits for each."""

    def add(self, row: int, time: int, dropped: bool, count: int = 1, outcome: int = 0) -> None:
        """Count an attempt of ``row`` that began at ``time`` (ns); ``count`` -1 takes one back.

        ``outcome``: what became of it, if it is among those that few rows have.
        """
        rows = self._rows
        if rows is None or time <= 0:
            return
        while row >= len(rows):
            if len(rows) == self._most_rows:
                self._rows = None
                return
            rows.append((array("q"), array("q")))
        buckets, counts = rows[row]
        bucket = time // self.width
        if outcome in _SHIFT:
            self._add_rare((row, bucket), count << _SHIFT[outcome])
        by = count * _DROPPED if dropped else count
        if buckets and buckets[-1] == bucket:
            counts[-1] += by
            return
        place = bisect_left(buckets, bucket)
        if place < len(buckets) and buckets[place] == bucket:
            counts[place] += by
            return
        buckets.insert(place, bucket)
        counts.insert(place, by)
        self._used += 1
        if self._used > self._limit:
            self._widen(rows)

    def _add_rare(self, at: tuple[int, int], by: int) -> None:
        self._rare[at] = self._rare.get(at, 0) + by
        if not self._rare[at]:
            del self._rare[at]

    def _widen(self, rows: list[_Cells]) -> None:
        while self._used > self._limit // 2:
            self.width *= 2
            rare, self._rare = self._rare, {}
            for (row, bucket), count in rare.items():
                self._add_rare((row, bucket // 2), count)
            rows[:] = [_summed([cells], 2) for cells in rows]
            self._used = sum(len(buckets) for buckets, _ in rows)

    def move(self, moved: Mapping[int, int]) -> None:
        """The rows have other numbers now; several may have become one."""
        if self._rows is None:
            return
        joined: list[list[_Cells]] = [[] for _ in range(max(moved.values(), default=-1) + 1)]
        for row, cells in enumerate(self._rows):
            joined[moved[row]].append(cells)
        rare, self._rare = self._rare, {}
        for (row, bucket), count in rare.items():
            self._add_rare((moved[row], bucket), count)
        self._rows = [_summed(cells) for cells in joined]
        self._used = sum(len(buckets) for buckets, _ in self._rows)

    def bounds(self, start: int, end: int) -> tuple[int, int]:
        """The time between ``start`` and ``end`` (ns) in whole buckets."""
        return start // self.width * self.width, -(-end // self.width) * self.width

    def within(self, start: int, end: int) -> tuple[array[int], ...] | None:
        """By outcome, what each row's attempts came to that began in the buckets between ``start`` and
        ``end`` (ns); None when there were too many rows. Takes 1 us a row."""
        if self._rows is None:
            return None
        first, last = start // self.width, -(-end // self.width)
        found = tuple([array("I", bytes(4 * len(self._rows))) for _ in meaning.OUTCOMES])
        forwarded, dropped = found[meaning.FORWARDED], found[meaning.DROPPED]
        for row, (buckets, counts) in enumerate(self._rows):
            if not buckets or buckets[-1] < first or buckets[0] >= last:
                continue
            total = sum(counts[bisect_left(buckets, first) : bisect_left(buckets, last)])
            lost = (total + _DROPPED // 2) // _DROPPED
            forwarded[row], dropped[row] = max(total - lost * _DROPPED, 0), max(lost, 0)
        for (row, bucket), count in self._rare.items():
            if first <= bucket < last:
                for outcome, shift in _SHIFT.items():
                    of = min(max(count, 0) >> shift & _MASK, forwarded[row])
                    found[outcome][row] += of
                    forwarded[row] -= of
        return found

    def timeline(self, rows: Iterable[int]) -> Timeline | None:
        """Of these rows together; None when there were too many for each to have one."""
        known = self._rows
        if known is None:
            return None
        buckets, counts = _summed(known[row] for row in rows if row < len(known))
        dropped = [(count + _DROPPED // 2) // _DROPPED for count in counts]
        kept = [count - number * _DROPPED for count, number in zip(counts, dropped, strict=True)]
        return Timeline(self.width, tuple(buckets), tuple(kept), tuple(dropped))


def _summed(cells: Iterable[_Cells], by: int = 1) -> _Cells:
    """All in one, in buckets ``by`` times as wide; without those in which nothing is left."""
    found: dict[int, int] = {}
    for buckets, counts in cells:
        for bucket, count in zip(buckets, counts, strict=True):
            at = bucket // by
            found[at] = found.get(at, 0) + count
    used = sorted(bucket for bucket, count in found.items() if count)
    return array("q", used), array("q", [found[bucket] for bucket in used])
