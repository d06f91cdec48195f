"""Keeping Python from pausing the dashboard.

A stream of flows makes long-lived objects by the hundred thousand. Each time their number has grown
by a quarter the garbage collector looks at all of them again, for 100 ms at a time, and finds
nothing, as they hold no cycles. While the dashboard runs, that happens at most once a minute, and
what has been looked at isn't looked at again.
"""

from __future__ import annotations

import gc
import sys
from types import TracebackType
from typing import Self

TIDY_EVERY = 60.0
"""Seconds between collections of the oldest generation (see :func:`tidy`)."""

SWITCH_INTERVAL = 0.001
"""Seconds that the reading thread may keep the interpreter: a key press waits for it some four
times on its way to the screen, and Python's 5 ms each would be felt."""

_NEVER = 1_000_000


class Pauses:
    """Short pauses inside the block; as before after it."""

    def __enter__(self) -> Self:
        self._interval = sys.getswitchinterval()
        self._thresholds = gc.get_threshold()
        sys.setswitchinterval(SWITCH_INTERVAL)
        gc.set_threshold(self._thresholds[0], self._thresholds[1], _NEVER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sys.setswitchinterval(self._interval)
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()


def tidy() -> None:
    """Collect what is garbage, and set aside what isn't: the next time is as short as this one."""
    gc.collect()
    gc.freeze()
