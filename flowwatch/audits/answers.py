"""DNS answers that had named an address by the time when a policy dropped it."""

from __future__ import annotations

from typing import NamedTuple

from flowwatch.flows.peers import PeerNames

_TELL_TENTHS = 10


def _seconds(time: float) -> str:
    return f"{round(time, 1):g} s" if time < _TELL_TENTHS else f"{time:.0f} s"


class Answered(NamedTuple):
    """An answer that named an address which a policy then dropped."""

    name: str
    before: float
    """Seconds between the answer and the drop."""
    ttl: int

    def __str__(self) -> str:
        return (
            f"{self.name.rstrip('.')} was answered {_seconds(self.before)} before, TTL {self.ttl} s"
        )

    @property
    def expired(self) -> str:
        """How long before the drop it had expired, in words; "" if it had not."""
        over = self.before - self.ttl
        return f"{_seconds(over)} before the drop" if over > 0 else ""


def answered(names: PeerNames, address: str, at: int) -> tuple[Answered, ...]:
    if not at:
        return ()
    return tuple(
        Answered(name, (at - time) / 1e9, ttl)
        for name, time, ttl in names.last_answers(address, at)
    )


def absent(names: PeerNames, address: str, at: int) -> tuple[tuple[str, int, int], ...]:
    if not at:
        return ()
    return tuple((name, one.since, one.expired(at)) for name, one in names.not_then(address, at))
