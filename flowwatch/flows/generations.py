"""The attempts that are open, in bounded memory: two generations, of which the older goes at once.

By addresses and ports the latest attempt, and beside it those before: another node's records of them
may be still to come.
"""

from __future__ import annotations

from itertools import chain

from flowwatch.flows.model import Flow
from flowwatch.flows.open_attempt import Key, OpenAttempt
from flowwatch.flows.tries import GAP

OPEN_LIMIT = 120_000
"""Attempts kept open per generation: about 90 MB for two. Past it the older generation is closed
although it may be younger than 75 s, and :attr:`Generations.closed_early` counts how often."""

OPEN_AT_LEAST = 25_000
"""Attempts kept open whatever their age: relay may send one node's whole ring before another's, and
files needn't be sorted, so a record may come minutes of flow time after its attempt's others."""

EARLIER = 64
"""Attempts kept between the same addresses and ports, beside the latest."""


class Generations:
    """Each generation is GAP old or more when it goes, unless it is too big. One thread."""

    def __init__(self, limit: int = OPEN_LIMIT) -> None:
        self._limit = limit
        self.young: dict[Key, OpenAttempt] = {}
        self.old: dict[Key, OpenAttempt] = {}
        self._young_earlier: dict[Key, list[OpenAttempt]] = {}
        self._old_earlier: dict[Key, list[OpenAttempt]] = {}
        self._room = OPEN_AT_LEAST
        """Latest attempts up to which the young generation may grow, whatever its age."""
        self._since: dict[str, int] = {}
        """By node, its time when it first opened an attempt beyond OPEN_AT_LEAST of the generation."""
        self.closed_early = 0
        self.closed: list[OpenAttempt] = []
        """Those that no record can join any more; whoever takes them empties it."""

    def get(self, key: Key) -> OpenAttempt | None:
        """The latest attempt of ``key``; touched so, it outlives this generation."""
        attempt = self.young.get(key)
        if attempt is None and (attempt := self.old.get(key)) is not None:
            del self.old[key]
            self.young[key] = attempt
        return attempt

    def latest(self, key: Key) -> OpenAttempt | None:
        """The latest attempt of ``key``, without touching it."""
        return self.young.get(key) or self.old.get(key)

    def has(self, key: Key) -> bool:
        """Whether any attempt of ``key`` is open."""
        return key in self.young or key in self.old

    def put(self, attempt: OpenAttempt, flow: Flow, *, known: bool = True) -> None:
        """Keep a new attempt, opened by ``flow``; one of the same key is no longer the latest.

        ``known`` false: there is none of the same key.
        """
        if len(self.young) >= self._room:
            self._make_room(flow)
        key = attempt.key
        if known and (before := self.young.get(key) or self.old.pop(key, None)):
            earlier = self._young_earlier.setdefault(key, [])
            earlier.append(before)
            self._room -= 1
            if len(earlier) > EARLIER:
                self.closed.append(earlier.pop(0))
                self._room += 1
        self.young[key] = attempt

    def of(self, latest: OpenAttempt) -> list[OpenAttempt]:
        """The attempts with the key of ``latest``, the oldest first."""
        if not self._young_earlier and not self._old_earlier:
            return [latest]
        key = latest.key
        return [*self._old_earlier.get(key, ()), *self._young_earlier.get(key, ()), latest]

    def came_back(self, key: Key) -> bool:
        """Whether attempts of ``key`` before the latest are known."""
        return key in self._young_earlier or key in self._old_earlier

    def all(self) -> list[OpenAttempt]:
        """All that are open, those that were opened or touched first in front."""
        return [
            *_flat(self._old_earlier, self.old),
            *_flat(self._young_earlier, self.young),
        ]

    def _make_room(self, flow: Flow) -> None:
        """Let the old generation go when the young one is GAP old by its node's clock, or too big."""
        early = flow.time - self._since.setdefault(flow.kind.node, flow.time) <= GAP
        if early and len(self.young) + OPEN_AT_LEAST - self._room < self._limit:
            return
        if early and self.old:
            self.closed_early += 1
        self.closed += _flat(self._old_earlier, self.old)
        self.old, self.young = self.young, {}
        self._old_earlier, self._young_earlier = self._young_earlier, {}
        self._room = OPEN_AT_LEAST
        self._since = {}


def _flat(
    earlier: dict[Key, list[OpenAttempt]], latest: dict[Key, OpenAttempt]
) -> list[OpenAttempt]:
    return [*chain.from_iterable(earlier.values()), *latest.values()]
