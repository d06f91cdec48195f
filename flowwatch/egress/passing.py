"""Letting a key pass: work in the background waits while one is on its way to the screen.

Python runs one thread at a time, and takes turns among those that have work every millisecond: the four
milliseconds that a key needs take twelve beside the one that reads and the one that answers.
"""

from __future__ import annotations

import threading
import time

LONGEST = 0.03
"""Seconds that work waits for a key at most, and then not again for as long as it has waited: a key that
is held down, or a screen that is never painted, takes no more than half of the time."""


class Passing:
    """``begin`` and ``end`` may be called from any thread, and never wait; the others :meth:`wait`."""

    def __init__(self) -> None:
        self._free = threading.Event()
        self._free.set()
        self._began = self._not_before = 0.0

    @property
    def free(self) -> bool:
        """Whether nothing has to pass."""
        return self._free.is_set()

    def begin(self) -> None:
        """Something is to pass."""
        now = time.monotonic()
        if self.free and now >= self._not_before:
            self._began = now
            self._free.clear()

    def end(self) -> None:
        """It has passed, if anything had to."""
        if not self.free:
            now = time.monotonic()
            self._not_before = now + min(now - self._began, LONGEST)
            self._free.set()

    def wait(self) -> None:
        """Return as soon as nothing has to pass."""
        if not self._free.wait(LONGEST):
            self.end()
