"""How far the clocks of nodes are apart, measured by the connections that two of them saw.

A record has the time at which its own node's agent read the event (Cilium 1.20, pkg/hubble/parser),
and nothing in Hubble says how that clock goes. But the first packet of a connection between two
nodes leaves a record on each, milliseconds apart in truth: the difference of their times is that of
the clocks. Of each pair of nodes the last differences are kept, and their median counts when most
of them agree: a record that was lost, or a port that came back, is outvoted.

A single connection is assumed to be one, but moves nobody's times unless a second packet of it (a retry)
tells the same: two records with spoilt times look alike.

    clocks.saw("worker-1", "worker-2", 90_000_000_000)
    clocks.ahead_of("worker-1", "worker-2"), clocks.ahead, clocks.skews()

All times are nanoseconds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

import msgspec

from flowwatch.flows.model import Flow
from flowwatch.text import plural, safe

_SECOND = 1_000_000_000

SKEW = 3 * _SECOND
"""From which difference on clocks are said to be apart: agents read an event up to a second late."""

LATE = 60 * _SECOND
"""The same by how late records come: relay may hold them back for less than that."""

AGREE = _SECOND
"""By how much differences may differ and still tell the same."""

ENOUGH = 3
"""Connections that must agree before anything is taken as known by them."""

BELIEVED = 86_400 * _SECOND
"""By more than this less than ENOUGH connections move no time but their own: records may be odd."""

PENDING = 64
"""Attempts at most whose assumptions wait for a second packet, the latest."""

PATIENCE = 200
"""Batches in which they do."""

HEARD = 32
"""Times of each node that are kept for that."""

KEPT = 9
"""Differences kept of a pair: a clock that is set is followed after ENOUGH connections."""

PAIRS = 4096
"""Pairs of nodes remembered, the latest: 2 MB at most."""

ASKED = 16
"""Nodes asked at most that may know both of two."""

NAMED = 5
"""Nodes named in a sentence."""


def time_of_day(ns: int) -> str:
    """Nanoseconds since 1970 as ``10:20:30`` (UTC, as hubble prints times)."""
    return time.strftime("%H:%M:%S", time.gmtime(ns // _SECOND))


def date_and_time(ns: int) -> str:
    """Nanoseconds since 1970 as ``2026-01-31T10:20:30Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // _SECOND))


class ClockSkew(msgspec.Struct, frozen=True):
    """A node whose clock is apart from those of the nodes that it shares connections with."""

    node: str
    ahead: int
    """Nanoseconds; negative when it is behind."""
    of: str
    """The other node, where there are but two; else empty: most of the others."""
    connections: int
    """How many told it; 0 when it is told by how late its records come."""

    @property
    def words(self) -> str:
        """``n1 is 90 s ahead of n2``, safe."""
        way = "ahead of" if self.ahead > 0 else "behind"
        whom = safe(self.of) if self.of else "most nodes"
        return f"{safe(self.node)} is {span(abs(self.ahead) / _SECOND)} {way} {whom}"


def median_low(values: Iterable[int]) -> int:
    """The lower of the two in the middle; statistics.median_low, whose module takes 9 ms to load."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


class _Pair:
    """What connections say about two nodes: by how much the second's clock is ahead."""

    __slots__ = ("borne_out", "count", "guess", "known", "seen")

    def __init__(self) -> None:
        self.seen: deque[int] = deque(maxlen=KEPT)
        self.count = 0
        self.known: int | None = None
        """Set while most of the differences agree."""
        self.guess: int | None = None
        """The last difference by which an attempt was joined on nothing but faith in it."""
        self.borne_out = False
        """Whether a second packet, or another connection, told the same."""

    def add(self, difference: int) -> bool:
        """Take in one more; whether what is known has changed by it."""
        before = self.known
        self.count += 1
        self.seen.append(difference)
        if before is not None and -AGREE <= difference - before <= AGREE:
            return False
        last = list(self.seen)[-ENOUGH:]
        if len(last) == ENOUGH and max(last) - min(last) <= AGREE:
            # The clock was set: what it said before is of no use.
            self.seen = deque(last, KEPT)
            self.count = len(last)
        middle = median_low(self.seen)
        agree = sum(-AGREE <= one - middle <= AGREE for one in self.seen)
        self.known = middle if agree >= max(ENOUGH, len(self.seen) / 2) else None
        return self.known != before

    @property
    def told(self) -> int | None:
        """What is known, or at least assumed."""
        return self.guess if self.known is None else self.known

    @property
    def moves(self) -> int | None:
        """By how much the times of all records of the two are moved."""
        if self.known is not None:
            return self.known
        return self.guess if self.borne_out and abs(self.guess or 0) <= BELIEVED else None


class _Assumed:
    """Records of one connection that were joined on faith: do more of them bear that out?"""

    __slots__ = ("attempt", "difference", "left", "nodes", "pair", "times")

    def __init__(self, pair: _Pair, attempt: object, nodes: tuple[str, str], difference: int):
        self.pair = pair
        self.attempt = attempt
        """Kept, so that no other takes its place in memory."""
        self.nodes = nodes
        self.difference = difference
        self.left = PATIENCE
        self.times: dict[str, list[int]] = {node: [] for node in nodes}

    def hear(self, node: str, time: int) -> None:
        times = self.times.get(node)
        if times is not None and len(times) < HEARD:
            times.append(time)

    @property
    def borne_out(self) -> bool:
        """Whether both nodes saw another packet, later by as much on both clocks."""
        here, there = (self.times[node] for node in self.nodes)
        later = [time for time in there if time - min(there) > AGREE]
        return any(
            -AGREE <= time - self.difference - other <= AGREE for time in later for other in here
        )


class Clocks:
    """The clocks of one server's nodes. One thread; memory bounded by PAIRS."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], _Pair] = {}
        self._partners: dict[str, dict[str, None]] = {}
        self._assumed: dict[int, list[_Assumed]] = {}
        """By the attempt's place in memory."""
        self.heard: dict[str, int] = {}
        """By node, how late its records come by our own clock."""
        self.shift = 0
        """How far all of them are ahead of another server's, where there are several."""
        self.ahead: dict[str, int] = {}
        """By node, how far its clock is ahead of the time that most nodes share; only of those that
        are told as apart. Another dict when it changes."""

    def saw(self, one: str, other: str, difference: int) -> None:
        """A connection began at some time on ``one``, and at that plus ``difference`` on ``other``."""
        self._add(self._pair(one, other), one, other, difference)

    def _add(self, pair: _Pair, one: str, other: str, difference: int) -> None:
        if pair.add(difference if one < other else -difference):
            self._tell(pair)

    def guess(self, one: str, other: str, difference: int, attempt: object) -> None:
        """Nothing is known of the two, and records so far apart were taken for one ``attempt``."""
        pair = self._pair(one, other)
        before, pair.guess = pair.guess, difference if one < other else -difference
        pair.borne_out = before is not None and abs(before - pair.guess) <= AGREE
        if not pair.borne_out:
            if len(self._assumed) >= PENDING:
                del self._assumed[next(iter(self._assumed))]
            assumed = _Assumed(pair, attempt, (one, other), difference)
            self._assumed.setdefault(id(attempt), []).append(assumed)
        self._tell(pair)

    def check(self, flows: Sequence[Flow], attempts: Sequence[object]) -> None:
        """Take in a batch, and the attempt of each record, where something was assumed."""
        if not self._assumed:
            return
        for flow, attempt in zip(flows, attempts, strict=True):
            for assumed in self._assumed.get(id(attempt), ()) if flow.time else ():
                assumed.hear(flow.node, flow.time)
        for key, waiting in list(self._assumed.items()):
            for assumed in [one for one in waiting if one.borne_out]:
                waiting.remove(assumed)
                assumed.pair.borne_out = True
                self._tell(assumed.pair)
            for assumed in waiting:
                assumed.left -= 1
            if not waiting or not waiting[0].left:
                del self._assumed[key]

    def ahead_of(self, one: str, other: str, difference: int | None = None) -> int | None:
        """How far ``other`` is ahead of ``one``; None when too few connections tell.

        Where none are between the two, those that both have with a third tell too. ``difference`` is
        that of one more connection (see :meth:`saw`), which counts from now on.
        """
        pair = self._pairs.get((one, other) if one < other else (other, one))
        known = pair.known if pair is not None else None
        if difference is not None:
            self._add(pair or self._new(one, other), one, other, difference)
        if known is not None:
            return known if one < other else -known
        partners = min((self._partners.get(node, _NONE) for node in (one, other)), key=len)
        for third in islice(partners, ASKED):
            near, far = self._between(one, third), self._between(third, other)
            if near is not None and far is not None:
                return near + far
        return None

    def _between(self, one: str, other: str) -> int | None:
        pair = self._pairs.get((one, other) if one < other else (other, one))
        if pair is None or pair.known is None:
            return None
        return pair.known if one < other else -pair.known

    def _pair(self, one: str, other: str) -> _Pair:
        pair = self._pairs.get((one, other) if one < other else (other, one))
        return pair or self._new(one, other)

    def _new(self, one: str, other: str) -> _Pair:
        if len(self._pairs) >= PAIRS:
            oldest = next(iter(self._pairs))
            del self._pairs[oldest]
            for node, partner in (oldest, oldest[::-1]):
                del self._partners[node][partner]
        for node, partner in ((one, other), (other, one)):
            self._partners.setdefault(node, {})[partner] = None
        pair = self._pairs[(one, other) if one < other else (other, one)] = _Pair()
        return pair

    def hear(self, late: Mapping[str, int]) -> None:
        """How late each node's records come by our own clock: all that is known of it."""
        self.heard = dict(late)
        self._set_ahead()

    def tell_by(self, main: Clocks) -> None:
        """Of several servers: tell times by the clock that most nodes of ``main`` share."""
        apart = main.late - self.late if self.heard else 0
        shift = apart if abs(apart) >= LATE else 0
        if shift != self.shift:
            self.shift = shift
            self._set_ahead()

    @property
    def late(self) -> int:
        """How far our own clock is ahead of most nodes', by how late their records come."""
        return median_low(self.heard.values()) if self.heard else 0

    def _tell(self, pair: _Pair) -> None:
        if self.ahead or abs(pair.told or 0) >= SKEW:
            self._set_ahead()

    def _set_ahead(self) -> None:
        ahead = {skew.node: skew.ahead for skew in self._apart(lambda pair: pair.moves)}
        if self.shift:
            ahead = {node: ahead.get(node, 0) + self.shift for node in {**self.heard, **ahead}}
        if ahead != self.ahead:
            self.ahead = ahead

    def skews(self) -> tuple[ClockSkew, ...]:
        """Every node that is more than SKEW apart from most of those that it is compared with."""
        return self._apart(lambda pair: pair.told)

    def _apart(self, difference: Callable[[_Pair], int | None]) -> tuple[ClockSkew, ...]:
        found: list[ClockSkew] = []
        near: _Near = {}
        for (one, other), pair in self._pairs.items():
            if (ahead := difference(pair)) is not None:
                near.setdefault(one, {})[other] = ahead, pair
                near.setdefault(other, {})[one] = -ahead, pair
        placed: set[str] = set()
        for start in sorted(near, key=lambda node: -len(near[node])):
            if start in placed:
                continue
            places = _spread(near, start)
            placed.update(places)
            middle = median_low(places.values())
            for node, place in places.items():
                if abs(place - middle) < SKEW:
                    continue
                # Of two, none is the one that is right.
                of = next(iter(near[node])) if len(places) == 2 else ""
                told = sum(pair.count for _, pair in near[node].values())
                found.append(ClockSkew(node, place - middle, of, told))
        for node, late in self.heard.items():
            if node not in placed and abs(self.late - late) >= LATE:
                found.append(ClockSkew(node, self.late - late, "", 0))
        return tuple(sorted(found, key=lambda skew: (-abs(skew.ahead), skew.node)))


_NONE: dict[str, None] = {}

_Near = dict[str, dict[str, tuple[int, _Pair]]]
"""By node, those that it is compared with: how far each is ahead of it, and by what that is known."""


def _spread(near: _Near, start: str) -> dict[str, int]:
    """Nodes that hang together by comparisons, and how far each is ahead of ``start``."""
    places = {start: 0}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for other, (ahead, _) in near[node].items():
            if other not in places:
                places[other] = places[node] + ahead
                waiting.append(other)
    return places


def skew_words(skews: Iterable[ClockSkew]) -> str:
    """One safe sentence for all of ``skews``; empty without any."""
    found = list(skews)
    if not found:
        return ""
    told = "; ".join(skew.words for skew in found[:NAMED])
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    count = sum(skew.connections for skew in found)
    by = f"by {plural(count, 'connection')} that two nodes saw"
    if not count:
        by = "by how late their records come"
    return (
        f"clocks are apart: {told}{more} ({by}): attempts are joined all the same, but times of "
        "records, --since and --until are by each node's own clock"
    )


def span(seconds: float) -> str:
    """``41 s``, ``12 min``, ``3.5 h``, ``2.1 days``; negative is 0 s."""
    seconds = max(0.0, seconds)
    for size, unit in ((86_400, "days"), (3_600, "h")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
