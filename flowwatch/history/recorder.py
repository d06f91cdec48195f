"""Writes what a source brings into a history: the flows, and what was told between them.

    recorder = Recorder(Path("kept"), Origin("localhost:4245", ""), system_clock)
    for batch in source.batches():
        recorder.take(batch)
    recorder.close("the source ended")

Files are written beside the reading, by a thread: a server's memory may last for less than a write. What
:attr:`Progress.kept` counts is on the disk. While nothing can be written, what comes is held, and it is tried
again; past :data:`MOST` flows it goes, and a gap is told.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import cast

from flowwatch.errors import OutputError
from flowwatch.flows.model import Batch
from flowwatch.history import store
from flowwatch.history.events import Event, Place, events_of, late
from flowwatch.history.places import Where, place_of
from flowwatch.history.tables import Held
from flowwatch.history.writing import Job, Writer, Written, write

EVERY = 5.0
"""Seconds at most that flows wait to be written: what a killed process loses."""
MOST = 1_000_000
"""Flows held while nothing can be written: some 500 MB."""
CUT = 32_768
"""Flows at most that are written at once: some 30 MB while they wait."""
AGAIN = 5.0
"""Seconds until a write that failed is tried again."""


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
    aside: int = 0
    """Flows that lie elsewhere, until they can be written."""
    place: str = ""
    """Where that is, safe to print."""


class Recorder:
    """One run: what is written by it has a name of its own. Called in one thread."""

    def __init__(
        self,
        where: Where | Writer,
        origin: Origin,
        *,
        every: float = EVERY,
        most: int | None = None,
        now: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Says in the history at ``where``, which is there, that a run begins. OutputError.

        ``where`` is files, or whatever else takes jobs.
        ``every`` is seconds, ``most`` flows; ``now`` and ``monotonic`` are this machine's clocks.
        """
        self._else = where if isinstance(where, Writer) else None
        self._write = (
            self._else.write if self._else else partial(write, place_of(cast(Where, where)))
        )
        self._every = every
        self._most = most or (self._else.most if self._else else MOST)
        self._now, self._monotonic = now, monotonic
        began = now()
        self.run = (
            f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(began / 1e9))}-{os.urandom(4).hex()}"
        )
        self.progress = Progress()
        self._recorded = 0
        self._sequence = 0
        self._cuts = 0
        self._jobs: deque[Job] = deque()
        """What waits to be written; the first may be under way."""
        self._writer = ThreadPoolExecutor(1, "flowwatch-history")
        self._writing: Future[Written] | None = None
        self._again = 0.0
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
        if len(self._held.flows) >= CUT or self._monotonic() >= self._next:
            self._cut()
        self._go_on()

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

    def _cut(self) -> None:
        """Let what is held be the next job."""
        self._next = self._monotonic() + self._every
        self._tell_run()
        for server, found in self._late.items():
            if found != self._late_told.get(server):
                place = Place(self._recorded, self.run, self._sequence, server)
                self._events += late(found, place)
                self._late_told[server] = dict(found)
        self._late = {}
        if self._held.flows or self._events:
            self._jobs.append(Job(self.run, self._cuts, self._held, self._events))
            self._held, self._events = Held(self.run, self._sequence), []
            self._cuts += 1

    def _start(self) -> None:
        """Have the first job written, if none is."""
        if self._jobs and self._writing is None:
            self._writing = self._writer.submit(self._write, self._jobs[0])

    def _finish(self) -> None:
        """Wait for the job that is being written. OutputError, and it is still the first."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            done = writing.result()
        except OutputError as error:
            self.progress.failure = str(error)
            self._again = self._monotonic() + AGAIN
            raise
        self.progress.failure = ""
        self.progress.kept += len(self._jobs.popleft().held.flows)
        self.progress.kept += done.returned
        self.progress.aside = max(0, self.progress.aside - done.returned)
        self.progress.files += done.files
        self.progress.bytes += done.bytes

    def _go_on(self) -> None:
        """Take note of what was written, and have the next written; waits where too much is held."""
        waiting = self._writing is not None and self._waiting() >= self._most
        if self._writing is not None and (waiting or self._writing.done()):
            with contextlib.suppress(OutputError):
                # It is in the progress, and is tried again.
                self._finish()
        if self.progress.failure and self._waiting() >= self._most and self._writing is None:
            self._make_room()
        if not self.progress.failure or self._monotonic() >= self._again:
            self._start()

    def _waiting(self) -> int:
        """Flows that are in memory alone."""
        return sum(len(job.held.flows) for job in self._jobs) + len(self._held.flows)

    def _make_room(self) -> None:
        """Have what waits out of memory: elsewhere, or nowhere."""
        if self._else is not None:
            try:
                self._set_aside(self._else)
            except OutputError as error:
                self.progress.failure = f"{self.progress.failure}; {error}"
            else:
                return
        self._give_up()

    def _set_aside(self, to: Writer) -> None:
        """Have every job kept elsewhere. OutputError, and those that aren't are held on."""
        self._cut()
        while self._jobs:
            to.aside(self._jobs[0])
            self.progress.aside += len(self._jobs.popleft().held.flows)
            self.progress.place = to.place

    def _give_up(self) -> None:
        """Forget what waits: there is no room for more."""
        flows = [flow for job in self._jobs for flow in job.held.flows] + self._held.flows
        kept = [event for job in self._jobs for event in job.events]
        self._jobs.clear()
        self._held, self._events = Held(self.run, self._sequence), kept + self._events
        self.progress.lost += len(flows)
        self.progress.gaps += 1
        times = [flow.time for flow in flows if flow.time] or [self._recorded]
        self.tell(
            "gap",
            text=f"what came could not be kept ({self.progress.failure})",
            since=min(times),
            until=max(times),
        )

    def flush(self) -> None:
        """Write all that was taken; it is safe when this returns. OutputError, and all is held on."""
        self._cut()
        while self._jobs:
            self._start()
            self._finish()

    def close(self, why: str) -> None:
        """Write the rest, and that the run has ended. OutputError when that can't be, or not there."""
        self.tell("end", text=why)
        try:
            self.flush()
            if self._else is not None:
                went, _ = self._else.give_back()
                self.progress.kept += went
                self.progress.aside = 0
        except OutputError as error:
            if self._else is None:
                raise
            self._set_aside(self._else)
            raise OutputError(
                str(error),
                f"what came lies in {self._else.place}, and goes there with the next record",
            ) from None
        finally:
            self._writer.shutdown()
