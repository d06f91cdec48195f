"""How much of what a server held when its stream was opened has been read.

By the records' own times: a server tells how many records it has, but not how many of them pass the
filters of a request.
"""

from __future__ import annotations

from flowwatch.flows.model import Flow


class CatchingUp:
    """Of one stream. Written by the thread that reads, seen from any."""

    def __init__(self, opened: int) -> None:
        """``opened``: when the stream was, ns since 1970."""
        self._opened = opened
        self._first = 0
        self._over = False
        self.progress: float | None = None
        """From 0 to 1; None before the first record, and once what comes is new."""

    def brings(self, flows: list[Flow]) -> None:
        """``flows`` are about to be read."""
        if not (self._over or self._first) and flows:
            self._first = flows[0].time
            self.progress = 0.0 if self._first < self._opened else None

    def brought(self, flows: list[Flow], *, waiting: bool) -> None:
        """``flows`` were read; ``waiting``: nothing that the server has sent is left to read."""
        if self._over:
            return
        if flows:
            newest = flows[-1].time
            self._over = newest >= self._opened
            past = max(self._opened - self._first, 1)
            self.progress = max(self.progress or 0.0, (newest - self._first) / past)
        # Before the first record a server may just be slow to answer.
        self._over = self._over or (waiting and self.progress is not None)
        if self._over:
            self.progress = None
