"""A node's ring of records, and reading it as Hubble's observer does.

The newest ``capacity`` records are kept, in the order in which they were written. A reader holds a
place, not a lock: when the ring overtakes it, what it missed is told as one lost-events record. The
rules of which records a request gets are those of Cilium 1.20, pkg/hubble/observer/local_observer.go
and pkg/hubble/container.
"""

from __future__ import annotations

import threading
import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp

from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsRequest, GetFlowsResponse

CAPACITY = 8191
"""Records kept per node: 2^13-1; some ten minutes of the story at its own speed."""

FAST_CAPACITY = 16383
"""Kept at most without being asked to, at higher speed: two such rings take some 150 MB."""

MAX_CAPACITY = 65535

_STEP = 256
"""Records that a reader takes at most before it looks again where the ring is."""

_NOTICE = 1_000_000_000
"""Nanoseconds between two notices of lost records to one reader."""

Match = Callable[[flow_pb2.Flow], bool]


def capacity_at(speed: float) -> int:
    """Records to keep per node of a story that goes on ``speed`` times as fast: some 2^n-1."""
    capacity = CAPACITY
    while capacity < min(CAPACITY * speed, FAST_CAPACITY):
        capacity = 2 * capacity + 1
    return capacity


@dataclass(slots=True)
class Entry:
    """A record in the ring; never changed."""

    time: int
    """Nanoseconds since 1970."""
    response: GetFlowsResponse
    number: int = -1
    """How many were written before it."""

    @property
    def flow(self) -> flow_pb2.Flow | None:
        return self.response.flow if self.response.HasField("flow") else None


class Ring:
    """The records of one node. One writer, any number of readers."""

    def __init__(self, node: str, capacity: int, news: threading.Condition) -> None:
        """``news`` is notified by the writer, once for all that it wrote at a time."""
        if not 0 < capacity <= MAX_CAPACITY:
            raise ValueError(f"a ring holds 1 to {MAX_CAPACITY} records")
        self.node = node
        self.capacity = capacity
        self.news = news
        self.written = 0
        """Records ever written, lost-events notices among them."""
        self.flows = 0
        """Flows ever written."""
        self._slots: list[Entry | None] = [None] * capacity

    @property
    def oldest(self) -> int:
        """The number of the oldest record that is still there."""
        return max(0, self.written - self.capacity)

    def __len__(self) -> int:
        return min(self.written, self.capacity)

    def write(self, entry: Entry) -> None:
        """Add a record; the oldest goes when there is no room."""
        entry.number = self.written
        self._slots[self.written % self.capacity] = entry
        self.written += 1
        self.flows += entry.flow is not None

    def get(self, number: int) -> Entry | None:
        """The record with this number; None when it is overwritten or not yet written."""
        entry = self._slots[number % self.capacity]
        return entry if entry is not None and entry.number == number else None

    def rate(self, now: int) -> float:
        """Flows per second over the last minute, or since the oldest if that is later."""
        since, count, number = now - 60_000_000_000, 0, self.written
        oldest = now
        while (entry := self.get(number - 1)) is not None and entry.time >= since:
            number -= 1
            if entry.flow is not None:
                count, oldest = count + 1, entry.time
        if number <= self.oldest:
            since = oldest
        return count * 1e9 / (now - since) if now > since else 0.0


@dataclass
class Reader:
    """One request's way through one ring."""

    ring: Ring
    request: GetFlowsRequest
    match: Match
    ended: bool = False
    """Whether nothing more can come."""
    _place: int = field(init=False)
    _sent: int = 0
    _lost: int = 0
    _lost_first: int = 0
    _lost_last: int = 0
    _noticed: int = 0

    def __post_init__(self) -> None:
        self._since = _nanoseconds(self.request.since) if self.request.HasField("since") else None
        self._until = _nanoseconds(self.request.until) if self.request.HasField("until") else None
        self._place = self._begin()

    def _begin(self) -> int:
        request, ring = self.request, self.ring
        if request.first and self._since is None:
            return ring.oldest
        if request.follow and not request.number and self._since is None:
            return ring.written
        if not request.number and self._since is None:
            return ring.oldest
        place, found = ring.written, 0
        while (entry := ring.get(place - 1)) is not None:
            if entry.flow is not None and self.match(entry.flow):
                if self._since is None:
                    found += 1
                    if found == request.number:
                        return place - 1
                elif entry.time < self._since:
                    break
            place -= 1
        return place

    def take(self, end: int | None = None) -> list[Entry]:
        """The next records of this request, up to number ``end`` of the ring; [] for none yet.

        Follows ``number``, ``since`` and ``until``; sets :attr:`ended` when the request is done.
        """
        taken: list[Entry] = []
        end = self.ring.written if end is None else end
        limit = 0 if self.request.follow else self.request.number
        for _ in range(_STEP):
            if limit and self._sent >= limit:
                self.ended = True
            if self.ended or self._place >= end:
                break
            entry = self.ring.get(self._place)
            if entry is None:
                self._fall_behind()
                continue
            self._place += 1
            flow = entry.flow
            if flow is None:
                # Lost events pass filters and times, and don't count.
                taken.append(entry)
                continue
            if self._until is not None and entry.time > self._until:
                self.ended = True
                break
            if (self._since is None or entry.time >= self._since) and self.match(flow):
                self._sent += 1
                taken.append(entry)
        if notice := self._notice(taken[0].time if taken else 0):
            taken.insert(0, notice)
        return taken

    def behind(self, end: int | None = None) -> bool:
        """Whether there is something to take at once."""
        return not self.ended and self._place < (self.ring.written if end is None else end)

    def all(self, end: int) -> Iterator[Entry]:
        """Everything up to number ``end`` of the ring."""
        while self.behind(end):
            yield from self.take(end)
        if notice := self._notice(0):
            yield notice

    def _fall_behind(self) -> None:
        """The ring has overtaken this reader: go on with the oldest, and remember the gap."""
        oldest = self.ring.oldest
        self._lost += oldest - self._place
        self._place = oldest
        self._lost_last = clock.time_ns()
        self._lost_first = self._lost_first or self._lost_last

    def _notice(self, place: int) -> Entry | None:
        """What to say about lost records; it stands before the record of time ``place`` (0: last)."""
        now = clock.time_ns()
        if not self._lost or (place and now - self._noticed < _NOTICE):
            return None
        response = GetFlowsResponse(node_name=self.ring.node)
        response.time.FromNanoseconds(now)
        lost = response.lost_events
        lost.source, lost.num_events_lost = flow_pb2.HUBBLE_RING_BUFFER, self._lost
        lost.first.FromNanoseconds(self._lost_first)
        lost.last.FromNanoseconds(self._lost_last)
        self._lost = self._lost_first = 0
        self._noticed = now
        return Entry(place or now, response)


def _nanoseconds(stamp: Timestamp) -> int:
    return stamp.seconds * 1_000_000_000 + stamp.nanos
