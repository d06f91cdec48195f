"""When each row's attempts began, so that a timeline can be of some rows alone.

A row has a cell for each bucket of time in which an attempt of it began. Cells take 16 bytes, a row 160
more: 5 MB where all of CELLS and ROWS are used. When the cells run out, the buckets of all rows get
twice as wide. Past ROWS rows there is nothing left to tell them apart by, and none is kept.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from flowwatch.egress.rows import SECOND, Timeline

CELLS = 131_072
"""Kept of all rows together: a thousand rows have ten minutes by 8 s."""

ROWS = 16_384
"""Rows up to which each has a timeline: eight cells for each at least."""

_DROPPED = 1 << 32
"""In a cell: one dropped attempt; whatever else became of one is a 1."""

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

    def add(self, row: int, time: int, dropped: bool, count: int = 1) -> None:
        """Count an attempt of ``row`` that began at ``time`` (ns); ``count`` -1 takes one back."""
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

    def _widen(self, rows: list[_Cells]) -> None:
        while self._used > self._limit // 2:
            self.width *= 2
            rows[:] = [_summed([cells], 2) for cells in rows]
            self._used = sum(len(buckets) for buckets, _ in rows)

    def move(self, moved: Mapping[int, int]) -> None:
        """The rows have other numbers now; several may have become one."""
        if self._rows is None:
            return
        joined: list[list[_Cells]] = [[] for _ in range(max(moved.values(), default=-1) + 1)]
        for row, cells in enumerate(self._rows):
            joined[moved[row]].append(cells)
        self._rows = [_summed(cells) for cells in joined]
        self._used = sum(len(buckets) for buckets, _ in self._rows)

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
