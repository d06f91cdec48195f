"""The timeline: how many attempts began when, forwarded and dropped, in few buckets."""

from __future__ import annotations

from collections.abc import Sequence

from flowwatch.egress.rows import SECOND, Timeline

BUCKETS = 600
"""Most buckets kept in which anything was counted; past it two become one: ten busy minutes by the
second, an hour by 8 s. Time in which nothing began takes none, however long."""


class TimelineCounter:
    """Counts by time, in any order of time; bounded by BUCKETS."""

    def __init__(self, buckets: int = BUCKETS) -> None:
        self._limit = buckets
        self.width = SECOND
        """Of a bucket, nanoseconds; doubles when the buckets run out."""
        self._kept: dict[int, int] = {}
        self._dropped: dict[int, int] = {}

    def add(self, time: int, dropped: bool, count: int = 1) -> None:
        """Count an attempt that began at ``time`` (ns; 0: nobody knows); ``count`` -1 takes one back."""
        if time <= 0:
            return
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
        """The buckets in which anything was counted."""
        return together([self])


def together(counters: Sequence[TimelineCounter]) -> Timeline:
    """Of several: their buckets' widths are doublings of a second."""
    width = max(one.width for one in counters)
    kept: dict[int, int] = {}
    dropped: dict[int, int] = {}
    for one in counters:
        times = width // one.width
        for counts, into in ((one._kept, kept), (one._dropped, dropped)):
            for bucket, count in counts.items():
                into[bucket // times] = into.get(bucket // times, 0) + count
    used = sorted(kept.keys() | dropped.keys())
    return Timeline(
        width,
        tuple(used),
        tuple([max(kept.get(bucket, 0), 0) for bucket in used]),
        tuple([max(dropped.get(bucket, 0), 0) for bucket in used]),
    )


def _halved(counts: dict[int, int]) -> dict[int, int]:
    half: dict[int, int] = {}
    for bucket, count in counts.items():
        half[bucket // 2] = half.get(bucket // 2, 0) + count
    return half
