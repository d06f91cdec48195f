"""The time, and waiting: a live source is given one, so that a test can move another by hand."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What a source reads and waits by."""

    def now(self) -> int:
        """Nanoseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds since whenever; never goes back."""
        ...

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Wait so long, or until ``stop`` is set; whether it is."""
        ...


class SystemClock:
    """This machine's."""

    def now(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        return stop.wait(seconds)
