"""The phases of a connection: which one it is in, for whoever looks on, and when to try again.

connecting ─► reading ───► ended, failed
    │    └──► following ─► lost ─► following …
    └───────► lost (what keeps trying), failed
"""

from __future__ import annotations

import threading
from typing import Any

from msgspec.structs import replace

from flowwatch.flows.source import SourceState
from flowwatch.sources.clock import Clock
from flowwatch.sources.nodes import NodeWatch, ServerNow

FIRST_RETRY, LONGEST_RETRY = 0.5, 10.0
"""Seconds between tries; doubled each time, with up to a quarter more or less at random."""


class Phases:
    """The state of a source: written by the thread that reads, seen from any."""

    def __init__(self, state: SourceState, clock: Clock) -> None:
        """``state`` is the first one; it begins now."""
        self._clock = clock
        self._lock = threading.Lock()
        self._state = replace(state, since=clock.now() / 1e9)

    @property
    def state(self) -> SourceState:
        """As it is now."""
        with self._lock:
            return self._state

    def turn(self, phase: str, message: str = "", retry_in: float = 0.0) -> None:
        """Enter ``phase``; one that goes on keeps its beginning.

        A loss before anything came began with the first try.
        """
        with self._lock:
            before = self._state
            goes_on = phase == before.phase or (phase, before.phase) == ("lost", "connecting")
            since = before.since if goes_on else self._clock.now() / 1e9
            had = before.had or phase in ("reading", "following")
            self._state = replace(
                before, phase=phase, message=message, since=since, retry_in=retry_in, had=had
            )

    def waits(self, seconds: float) -> None:
        """So long until the next try."""
        self._note(retry_in=seconds)

    def heard(self, at: int) -> None:
        """The server gave a sign of life ``at`` (ns since 1970)."""
        self._note(heard=at / 1e9)

    def show(self, now: ServerNow) -> None:
        """What the server says of itself."""
        self._note(
            nodes_connected=now.connected,
            nodes_unavailable=now.unavailable,
            version=now.version or self._state.version,
            heard=self._clock.now() / 1e9,
        )

    def show_nodes(self, watch: NodeWatch) -> None:
        """Which nodes can't be seen, and what they did."""
        self._note(unavailable=tuple(sorted(watch.away())), changes=tuple(watch.changes))

    def _note(self, **changes: Any) -> None:
        with self._lock:
            self._state = replace(self._state, **changes)


class Retries:
    """How long to wait before each try."""

    def __init__(self, first: float = FIRST_RETRY, longest: float = LONGEST_RETRY) -> None:
        """Both in seconds."""
        self._first, self.longest = first, longest
        self._next = first

    def take(self) -> float:
        """Seconds until the next try; after it the wait is longer."""
        import random

        seconds = self._next * random.uniform(0.75, 1.25)
        self._next = min(self._next * 2, self.longest)
        return seconds

    def forget(self) -> None:
        """What failed before has no part in the next: the connection was sound."""
        self._next = self._first
