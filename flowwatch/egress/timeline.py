"""The timeline: how many attempts began when, forwarded and dropped, in few buckets."""

from __future__ import annotations

from collections.abc import Sequence

from flowwatch.egress.rows import Timeline

SECOND = 1_000_000_000
BUCKETS = 600
"""Most buckets kept; past it two become one: ten minutes by the second, an hour by 8 s."""


class TimelineCounter:
    """Counts by time, in any order of time; bounded by BUCKETS."""

    def __init__(self, buckets: int = BUCKETS) -> None:
        self._limit = buckets
        self.width = SECOND
        """Of a bucket, nanoseconds; doubles when the buckets run out."""
        self._kept: dict[int, int] = {}
        self._dropped: dict[int, int] = {}

    def add(self, time: int, dropped: bool, count: int = 1) -> None:
        """Count an attempt that began at ``time`` (ns); ``count`` -1 takes one back."""
        bucket = time // self.width
        counts = self._dropped if dropped else self._kept
        if bucket in counts:
            counts[bucket] += count
            return
        counts[bucket] = count
        if len(counts) > self._limit:
            self._widen()

    def _widen(self) -> None:
        while max(len(self._kept), len(self._dropped)) > self._limit // 2:
            self.width *= 2
            self._kept = _halved(self._kept)
            self._dropped = _halved(self._dropped)

    def snapshot(self) -> Timeline:
        """The buckets from the first to the last that counted anything, gaps filled with 0.

        At most BUCKETS, the latest: a capture may hold flows of different years.
        """
        used = self._kept.keys() | self._dropped.keys()
        if not used:
            return Timeline()
        last = max(used)
        first = max(min(used), last - self._limit + 1)
        span = range(first, last + 1)
        return Timeline(
            start=first * self.width,
            width=self.width,
            forwarded=tuple([self._kept.get(i, 0) for i in span]),
            dropped=tuple([self._dropped.get(i, 0) for i in span]),
        )


def together(counters: Sequence[TimelineCounter]) -> Timeline:
    """As :meth:`TimelineCounter.snapshot`, of several: their buckets' widths are doublings of a second."""
    both = TimelineCounter()
    both.width = max(one.width for one in counters)
    for one in counters:
        times = both.width // one.width
        for counts, into in ((one._kept, both._kept), (one._dropped, both._dropped)):
            for bucket, count in counts.items():
                into[bucket // times] = into.get(bucket // times, 0) + count
    return both.snapshot()


def _halved(counts: dict[int, int]) -> dict[int, int]:
    half: dict[int, int] = {}
    for bucket, count in counts.items():
        half[bucket // 2] = half.get(bucket // 2, 0) + count
    return half
