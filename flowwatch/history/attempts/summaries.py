"""The egress table of all of a history's records, kept beside its attempts: what ``summary`` says of it.

    DIR/made/summary/egress.json.gz     and ingress, both; each also without rows of nothing but noise

A row says more than sums can (when its state changed, the longest waits, which addresses came last), and a
window cuts attempts, so no minutes could be added up to it. So the table is counted while attempts are made,
by the aggregate that counts it for ``summary``, and kept whole, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import msgspec

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.keeping import KeptAggregate, kept_aggregate, set_aggregate
from flowwatch.egress.query import DIRECTIONS, Query
from flowwatch.egress.rows import Snapshot
from flowwatch.egress.view import snapshot
from flowwatch.flows.join import Join
from flowwatch.history.attempts.checkpoint import answered
from flowwatch.history.attempts.packing import pack, unpack

SUMMARY = "summary"
"""The folder."""
ROWS = 100_000
"""That are told one by one: what ``--max-rows`` is by default."""
_LARGEST = 1 << 31
"""Bytes, unpacked: more is none of ours."""


class Counting:
    """Counts rows, while others listen to the same join."""

    folder: ClassVar[str] = SUMMARY

    def __init__(self, join: Join) -> None:
        self._aggregate = Aggregate(ROWS, keep_recent=False, join=join)

    def kept(self) -> bytes:
        """Its state between two batches."""
        return msgspec.msgpack.encode(kept_aggregate(self._aggregate))

    def go_on(self, kept: bytes) -> None:
        """Take over a state. ValueError, LookupError or TypeError for what contradicts itself."""
        set_aggregate(self._aggregate, msgspec.msgpack.decode(kept, type=KeptAggregate))

    def taken(self, query: Query) -> Snapshot:
        """The table by now. ``query`` asks for a direction and noise alone."""
        self._aggregate.learn()
        return snapshot(self._aggregate, query)

    def files(self) -> Iterator[tuple[str, int, bytes]]:
        """At the end: each file's path below ``made``, how many rows it has, and its content."""
        for direction in DIRECTIONS:
            for noise in (False, True):
                taken = self.taken(Query(direction=direction, noise=noise))
                content = pack(msgspec.json.encode(taken))
                yield path_of(direction, noise=noise), len(taken.rows), content

    @staticmethod
    def sound(path: Path) -> bool:
        """Whether a file can be read."""
        return read_summary(path) is not None


def path_of(direction: str, *, noise: bool) -> str:
    """Below ``made``."""
    return f"{SUMMARY}/{direction}{'-noise' if noise else ''}.json.gz"


def read_summary(path: Path) -> Snapshot | None:
    """What a file has; None where it is damaged or isn't there."""
    try:
        return msgspec.json.decode(unpack(path, _LARGEST), type=Snapshot)
    except (OSError, ValueError):
        return None


class Ready(msgspec.Struct, frozen=True):
    """What stands for reading all records."""

    taken: Snapshot | None = None
    why_not: str = ""
    """Why there is none though some were made: a safe line, else empty."""


def ready(folder: Path, query: Query) -> Ready:
    """The table of the history in ``folder``, if it is what its records say. InputError for no history.

    ``query`` asks for a direction and noise alone.
    """
    path = path_of(query.direction, noise=query.noise)
    return Ready(*answered(folder, path, read_summary, Counting, lambda one: one.taken(query)))
