"""One flush: files made of what a recorder held, all of them or none."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from flowwatch.errors import OutputError
from flowwatch.history import store
from flowwatch.history.arrow import load
from flowwatch.history.events import Event, events_table
from flowwatch.history.places import Where, place_of
from flowwatch.history.tables import Held

PARTITIONS = 64
"""Folders that one flush writes to; of more hours and clusters at once, one has the rest."""
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Job:
    """What is written at once."""

    run: str
    number: int
    """Of the flush, within the run."""
    held: Held
    events: list[Event]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of it."""

    files: int
    bytes: int
    returned: int = 0
    """Flows that had been set aside, and are written now."""


@runtime_checkable
class Writer(Protocol):
    """What takes jobs. One thread at a time calls it."""

    most: int
    """Flows held while nothing can be written: of more they are set aside."""

    def write(self, job: Job) -> Written:
        """Write a job; it is safe when this returns. OutputError, and it is tried again."""

    def aside(self, job: Job) -> None:
        """Keep a job elsewhere, until it can be written; it is safe when this returns. OutputError."""

    def give_back(self) -> tuple[int, list[str]]:
        """Write all that was set aside: how many flows, and what stays, a safe line each. OutputError."""

    @property
    def place(self) -> str:
        """Where what is set aside lies, safe to print."""


def write(where: Where, job: Job) -> Written:
    """Write a job's files; they are safe when this returns. OutputError, and none of them is there."""
    pa, _ = load()
    place = place_of(where)
    name = f"{job.run}-{job.number:06d}.parquet"
    files: list[str] = []
    size = 0
    events, held = job.events, job.held
    try:
        # What was told first: a reader that finds flows finds the beginning of their run as well.
        if events:
            span = events[0].recorded, events[-1].recorded
            files.append(f"{store.event_partition(span[0])}/{name}")
            size += store.write(place, files[-1], events_table(pa, events), {job.run: span})
        if held.flows:
            table = held.table(pa)
            for partition, rows in _partitions(held).items():
                part = table if len(rows) == len(held.flows) else table.take(pa.array(rows))
                span = held.recorded[rows[0]], held.recorded[rows[-1]]
                files.append(f"{partition}/{name}")
                size += store.write(place, files[-1], part, {job.run: span})
    except OutputError:
        for path in files:
            # The last one was never there.
            with contextlib.suppress(OSError):
                place.delete(path)
        raise
    # Arrow keeps what it had for a row group: as much again as all else here.
    pa.default_memory_pool().release_unused()
    return Written(len(files), size)


def _partitions(held: Held) -> dict[str, list[int]]:
    """By folder, the numbers of the flows that belong there; the latest hour last.

    So a recorder that is killed in between lacks the newest, which the next one asks for again.
    """
    found: dict[tuple[str, int], list[int]] = {}
    clusters: dict[str, str] = {}
    for row, flow in enumerate(held.flows):
        node = flow.kind.node
        cluster = clusters.get(node)
        if cluster is None:
            cluster = clusters[node] = node_cluster(node)
        key = cluster, flow.time // store.HOUR
        if key not in found and len(found) >= PARTITIONS:
            key = _DEFAULT, 0
        found.setdefault(key, []).append(row)
    return {
        store.partition(cluster, hour * store.HOUR): rows
        for (cluster, hour), rows in sorted(found.items(), key=lambda one: one[0][::-1])
    }


def node_cluster(node: str) -> str:
    """The cluster of a node, as Hubble has it in its name (``cluster/node``, but for ``default``)."""
    cluster, slash, _ = node.partition("/")
    return cluster if slash and cluster else _DEFAULT
