"""What one process did with a stream for a while."""

from __future__ import annotations

import msgspec


class Stretch(msgspec.Struct, frozen=True):
    """Some seconds of it."""

    seconds: float
    records: int
    cpu: float
    """Seconds, user and system, of the whole process, of these ``seconds``."""

    @property
    def rate(self) -> float:
        return self.records / self.seconds

    @property
    def share(self) -> float:
        """Of a core."""
        return self.cpu / self.seconds
