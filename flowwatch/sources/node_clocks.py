"""How each node's clock goes against ours, told by when its records come.

``since`` of a request is compared with each node's own clock, the times of gaps and rings are laid on
ours: both need to know how far the two are apart. One thread; times are nanoseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowwatch.flows.clocks import LATE
from flowwatch.sources.lateness import Lateness

SKEW = 900_000_000_000
"""Nanoseconds by which a node's clock may be behind without its records being missed after a loss,
although none came as it was made."""


class NodeClocks:
    """Learns from the newest records of nodes."""

    def __init__(self) -> None:
        self._behind: dict[str, int] = {}
        """By node, how far behind ours its clock is at most: its freshest record tells best."""
        self._clocks: dict[str, int] = {}
        """The same, from records that came as they were made."""
        self._lateness = Lateness()
        self._told: dict[str, int] = {}

    def note(
        self, nodes: Iterable[str], newest: Mapping[str, int], came: int, *, live: bool
    ) -> None:
        """Something of ``nodes`` came at ``came``, whose newest records are of the times ``newest``.

        ``live``: what comes is no longer what the rings held.
        """
        for node in nodes:
            behind = came - newest[node]
            self._behind[node] = min(behind, self._behind.get(node, behind))
            if live:
                self._clocks[node] = min(behind, self._clocks.get(node, behind))
                self._lateness.note(node, newest[node], came)

    def late(self) -> dict[str, int] | None:
        """How late each node's records come, when that is not what was told last; else None."""
        if self._lateness.known is self._told:
            return None
        self._told = self._lateness.known
        return self._told

    def furthest_behind(self) -> int:
        """Nanoseconds by which a clock may be behind ours; 0 when none is.

        What old records seem to tell may be but their age; what came as it was made is sure.
        """
        known = self._lateness.known
        behind = (known.get(node, min(late, SKEW)) for node, late in self._behind.items())
        return max(0, *behind) if self._behind else 0

    def ours(self, newest: Mapping[str, int]) -> dict[str, int]:
        """Times of nodes' newest records, by our clock."""
        known = self._lateness.known
        return {
            node: time + (late if abs(late := known.get(node, 0)) >= LATE else 0)
            for node, time in newest.items()
        }

    def ours_of_rings(self, oldest: Mapping[str, int]) -> dict[str, int]:
        """Times of the oldest records that nodes hold, by our clock; "" is an observer alone."""
        alone = next(iter(self._clocks.values()), 0) if len(self._clocks) == 1 else 0
        return {
            name: time + self._clocks.get(name, 0 if name else alone)
            for name, time in oldest.items()
        }
