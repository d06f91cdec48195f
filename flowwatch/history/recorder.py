"""Writes what a source brings into a history: the flows, and what was told between them.

    recorder = Recorder(Path("kept"), Origin("localhost:4245", ""), system_clock)
    for batch in source.batches():
        recorder.take(batch)
    recorder.close("the source ended")

What was taken is safe ("acknowledged") once :meth:`Recorder.flush` has returned: the files are on the disk
then. While they can't be written, it is held, and tried again; past :data:`MOST` flows it goes, and a gap
is told.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flowwatch.errors import OutputError
from flowwatch.flows.model import Batch
from flowwatch.history import store
from flowwatch.history.arrow import load
from flowwatch.history.events import Event, Place, events_of, events_table, late
from flowwatch.history.tables import Held

EVERY = 5.0
"""Seconds at most that flows wait to be written: what a killed process loses."""
MOST = 1_000_000
"""Flows held while nothing can be written: some 500 MB."""
AGAIN = 5.0
"""Seconds until a write that failed is tried again."""
PARTITIONS = 64
"""Folders that one flush writes to; of more hours and clusters at once, one has the rest."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What is recorded, as `flowwatch history info` tells it, and by which a restart knows its forerunner."""

    where: str
    """``localhost:4245``, ``flows.jsonl`` …"""
    filters: str
    """The filters, as JSON; "" where there are none."""


@dataclass(slots=True)
class Progress:
    """What became of it so far."""

    flows: int = 0
    """That were taken."""
    kept: int = 0
    """That are on the disk."""
    files: int = 0
    bytes: int = 0
    gaps: int = 0
    newest: int = 0
    """Time of the newest record, ns since 1970."""
    failure: str = ""
    """Why nothing can be written now."""
    lost: int = 0
    """Flows that went, as nothing could be written for too long."""


class Recorder:
    """One run: what is written by it has a name of its own. One thread."""

    def __init__(
        self,
        folder: Path,
        origin: Origin,
        *,
        every: float = EVERY,
        most: int = MOST,
        now: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Says in the history at ``folder``, which is there, that a run begins. OutputError.

        ``every`` is seconds, ``most`` flows; ``now`` and ``monotonic`` are this machine's clocks.
        """
        self._folder, self._every, self._most = folder, every, most
        self._now, self._monotonic = now, monotonic
        began = now()
        self.run = (
            f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(began / 1e9))}-{os.urandom(4).hex()}"
        )
        self.progress = Progress()
        self._recorded = 0
        self._sequence = 0
        self._flushes = 0
        self._late: dict[str, dict[str, int]] = {}
        self._late_told: dict[str, dict[str, int]] = {}
        self._held = Held(self.run, 0)
        self._events: list[Event] = []
        self._next = monotonic() + every
        self._origin, self._hour = origin, 0
        self._tell_run()
        self.flush()

    def take(self, batch: Batch) -> None:
        """Take in what a source brought, before anybody else looks at it."""
        if batch:
            recorded = self._moment()
            self._events += events_of(
                batch, Place(recorded, self.run, self._sequence, batch.origin)
            )
            if batch.flows:
                self._held.add(batch.flows, recorded, batch.origin)
                self._sequence += len(batch.flows)
            if batch.late is not None:
                self._late[batch.origin] = batch.late
            progress = self.progress
            progress.flows += len(batch.flows)
            progress.gaps += len(batch.gaps)
            progress.newest = max([progress.newest, *[flow.time for flow in batch.flows]])
        if len(self._held.flows) >= store.ROWS or self._monotonic() >= self._next:
            self._flush_if_possible()

    def _moment(self) -> int:
        """Now, in a run never twice and never back: a clock may step."""
        self._recorded = max(self._now(), self._recorded + 1)
        return self._recorded

    def tell(self, what: str, **values: object) -> None:
        """Keep an event of the recorder's own: see :data:`flowwatch.history.columns.EVENTS`."""
        place = Place(self._moment(), self.run, self._sequence)
        place.tell(what, **values)
        self._events += place.made

    def _tell_run(self) -> None:
        """Say who records, each hour anew: hours are deleted one by one."""
        hour = self._now() // store.HOUR
        if hour != self._hour:
            self._hour = hour
            self.tell("run", name=self._origin.where, text=self._origin.filters)

    def _flush_if_possible(self) -> None:
        if self.progress.failure and self._monotonic() < self._next:
            return
        self._tell_run()
        try:
            self.flush()
        except OutputError as error:
            self.progress.failure = str(error)
            self._next = self._monotonic() + AGAIN
            if len(self._held.flows) >= self._most:
                self._give_up()

    def _give_up(self) -> None:
        """Forget what is held: there is no room for more."""
        held, self._held = self._held, Held(self.run, self._sequence)
        self.progress.lost += len(held.flows)
        self.progress.gaps += 1
        times = [flow.time for flow in held.flows if flow.time] or held.recorded
        self.tell(
            "gap",
            text=f"what came could not be kept ({self.progress.failure})",
            since=min(times),
            until=max(times),
        )

    def flush(self) -> None:
        """Write what is held; it is safe when this returns. OutputError, and all is held on."""
        self._next = self._monotonic() + self._every
        for server, found in self._late.items():
            if found != self._late_told.get(server):
                place = Place(self._recorded, self.run, self._sequence, server)
                self._events += late(found, place)
                self._late_told[server] = dict(found)
        self._late = {}
        if not self._held.flows and not self._events:
            return
        self._write()
        self.progress.failure = ""
        self.progress.kept += len(self._held.flows)
        self._held = Held(self.run, self._sequence)
        self._events = []
        self._flushes += 1

    def _write(self) -> None:
        pa, _ = load()
        name = f"{self.run}-{self._flushes:06d}.parquet"
        files: list[str] = []
        written = 0
        try:
            # What was told first: a reader that finds flows finds the beginning of their run as well.
            if self._events:
                path = f"{store.event_partition(self._events[0].recorded)}/{name}"
                span = self._events[0].recorded, self._events[-1].recorded
                files.append(path)
                written += store.write(
                    self._folder, path, events_table(pa, self._events), {self.run: span}
                )
            held = self._held
            if held.flows:
                table = held.table(pa)
                for folder, rows in self._partitions(held).items():
                    part = table if len(rows) == len(held.flows) else table.take(pa.array(rows))
                    span = held.recorded[rows[0]], held.recorded[rows[-1]]
                    path = f"{folder}/{name}"
                    files.append(path)
                    written += store.write(self._folder, path, part, {self.run: span})
        except OutputError:
            # All or nothing of it: it is written again.
            for path in files:
                # The last one was never there.
                with contextlib.suppress(OSError):
                    (self._folder / path).unlink()
            raise
        self.progress.files += len(files)
        self.progress.bytes += written

    def _partitions(self, held: Held) -> dict[str, list[int]]:
        """By folder, the numbers of the flows that belong there; the latest hour last.

        So a recorder that is killed in between lacks the newest, which the next one asks for again.
        """
        found: dict[tuple[str, int], list[int]] = {}
        clusters: dict[str, str] = {}
        for row, flow in enumerate(held.flows):
            node = flow.kind.node
            cluster = clusters.get(node)
            if cluster is None:
                cluster = clusters[node] = _cluster(node)
            key = cluster, flow.time // store.HOUR
            if key not in found and len(found) >= PARTITIONS:
                key = _DEFAULT, 0
            found.setdefault(key, []).append(row)
        return {
            store.partition(cluster, hour * store.HOUR): rows
            for (cluster, hour), rows in sorted(found.items(), key=lambda one: one[0][::-1])
        }

    def close(self, why: str) -> None:
        """Write the rest, and that the run has ended. OutputError when that can't be."""
        self.tell("end", text=why)
        self.flush()


_DEFAULT = "default"


def _cluster(node: str) -> str:
    """The cluster of a node, as Hubble has it in its name (``cluster/node``, but for ``default``)."""
    cluster, slash, _ = node.partition("/")
    return cluster if slash and cluster else _DEFAULT
