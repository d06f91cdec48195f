"""How late each node's records come: our own clock less theirs, once that is sure.

What comes from a ring is old whatever the clock, and relay gives a node's whole ring again when the
node is back. So a node's lateness counts when it stayed the same for a while: records from a ring
come all at once, and live ones keep their distance. The least that was seen is kept, because relay
may hold records back.
"""

from __future__ import annotations

SPACED = 5_000_000_000
"""Nanoseconds between two looks at a node's newest record."""

STEADY = 5_000_000_000
"""By how much lateness may change from look to look, nanoseconds."""

LOOKS = 3
"""Looks in a row that must find the same."""


class Lateness:
    """Watches the newest records of nodes. One thread; times are nanoseconds since 1970."""

    def __init__(self) -> None:
        self._looks: dict[str, tuple[int, int, int]] = {}
        """By node, when it was last looked at, how late its records were, and how often so."""
        self.known: dict[str, int] = {}
        """By node, our own clock less its; another dict when it changes by more than STEADY."""

    def note(self, node: str, newest: int, came: int) -> None:
        """The newest record of ``node``, made at ``newest`` by its clock, came at ``came`` by ours."""
        late = came - newest
        at, before, looks = self._looks.get(node, (0, late, 0))
        if came - at < SPACED:
            return
        looks = looks + 1 if abs(late - before) <= STEADY else 1
        self._looks[node] = came, late, looks
        if looks < LOOKS:
            return
        known = self.known.get(node)
        if known is None or late < known - STEADY:
            self.known = {**self.known, node: late}
