"""A source read into an aggregate by a thread of its own, while views ask for snapshots.

The thread adds batch by batch under a lock; a snapshot waits for one batch at most (512 flows, a
few milliseconds). When the thread can't keep up, the source's buffer fills, gRPC stops reading and
the server drops records and says so (HUBBLE_RING_BUFFER): nothing here grows without limit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from flowwatch.egress import view
from flowwatch.egress.aggregate import MAX_ROWS, Aggregate
from flowwatch.egress.close_up import close_up
from flowwatch.egress.folding import By
from flowwatch.egress.passing import Passing
from flowwatch.egress.query import Monitor, Query
from flowwatch.egress.rates import Rates
from flowwatch.egress.rows import CloseUp, Fold, Recent, Snapshot
from flowwatch.egress.select import SOME
from flowwatch.egress.vocabulary import seen
from flowwatch.egress.whose import whose
from flowwatch.errors import Defect, FlowwatchError
from flowwatch.flows.cause import Teller
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.source import Source, SourceState, try_again
from flowwatch.flows.staged import Stager

if TYPE_CHECKING:
    from flowwatch.flows.hiding import Hiding

_LEARNT = 200
"""Rows that a snapshot asks the causes of, at most: 0.1 to 0.15 s on a loaded machine."""

_JUDGED = 64
"""Questions that a snapshot asks staged policies, at most: 0.03 s, with the attempts that ask them."""

TAIL = 200
"""Records that a snapshot carries for the tail."""


class _Locked(Aggregate):
    """An aggregate that views may look at between two batches."""

    def __init__(
        self, max_rows: int, *, join: Join, teller: Teller | None, stager: Stager | None
    ) -> None:
        self.lock = threading.Lock()
        super().__init__(max_rows, join=join, teller=teller, stager=stager)

    def take(self, joined: Joined) -> None:
        with self.lock:
            super().take(joined)


class LiveMonitor:
    """Runs ``source`` in a daemon thread; the Monitor that the dashboard is given."""

    def __init__(
        self,
        source: Source,
        max_rows: int = MAX_ROWS,
        *,
        live: bool = True,
        join: Join | None = None,
        teller: Teller | None = None,
        stager: Stager | None = None,
    ) -> None:
        """``join``: what others listen to as well; else one of its own. ``teller``: of what blocked;
        ``stager``: of what staged policies would do."""
        self._source = source
        self._join = join or Join()
        self._aggregate = _Locked(max_rows, join=self._join, teller=teller, stager=stager)
        self._stager = stager
        self._lock = self._aggregate.lock
        self.live = live
        self._revision = 0
        self._rates = Rates()
        self.passing = Passing()
        self._thread = threading.Thread(target=self._run, name="flowwatch-reader", daemon=True)
        self.failure: BaseException | None = None
        """What ended the reading, if not the end of the source. FlowwatchError is for the user;
        anything else is a defect, to be raised again by whoever owns the monitor."""

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """End the reading and wait for the thread, ``timeout`` seconds at most."""
        self._source.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            for batch in self._source.batches():
                if batch:
                    self.passing.wait()
                    self._join.add(batch)
                    self._revision += 1
                    # Let go of the interpreter, so that a key press never waits for two batches.
                    time.sleep(0)
                self._tick()
                # To decode what comes next is as much work as to count it.
                self.passing.wait()
        except FlowwatchError as error:
            self.failure = error
        except BaseException as error:  # noqa: BLE001 - handed over, not swallowed
            self.failure = error
        finally:
            if self._stager is not None:
                self._stager.settle()
            self._revision += 1

    def _tick(self) -> None:
        """Note the counts of now, for the rates of the last seconds."""
        if self._rates.note(self._aggregate):
            self._revision += 1

    def snapshot(self, query: Query) -> Snapshot:
        return self.snapshot_of(lambda: self._aggregate, query)

    def snapshot_of(self, shown: Callable[[], Aggregate], query: Query) -> Snapshot:
        """The same of what ``shown`` gives in place of the aggregate."""
        if self._stager is not None and self._stager.refresh():
            self._revision += 1
        if len(self._aggregate.columns) > SOME:
            # A tenth of a second once, of which each answer takes less from then on.
            import numpy  # noqa: F401
        with self._lock:
            # What is shown may learn of some in a moment; what leaves is whole.
            if not self._aggregate.learn(_LEARNT if query.limit is not None else None):
                self._revision += 1
        with self._lock, self._join.lock:
            if not self._aggregate.judge(_JUDGED if query.limit is not None else None):
                self._revision += 1
            return view.snapshot(shown(), query, recent=TAIL, live=self.live, rates=self._rates)

    def close_up(self, query: Query, key: int, fold: Fold | None, records: int) -> CloseUp | None:
        with self.looked_at() as aggregate:
            return close_up(aggregate, query, key, fold, records, live=self.live)

    def recent(self, count: int) -> tuple[Recent, ...]:
        with self.looked_at() as aggregate:
            return tuple(view.records(aggregate, count))

    def seen(self, key: str, query: Query | None = None) -> list[str]:
        with self.looked_at() as aggregate:
            return seen(aggregate.columns, aggregate.ends, key, query)

    def hours(self, direction: str) -> list[int]:
        with self._lock:
            return view.hours(self._aggregate, direction)

    def whose(self, by: By) -> dict[str, str]:
        with self.looked_at() as aggregate:
            return whose(aggregate, by)

    def hidden(self, hiding: Hiding) -> Monitor:
        # Loaded for who hides anything.
        from flowwatch.egress.hidden import HiddenMonitor

        return HiddenMonitor(self, hiding)

    @contextmanager
    def looked_at(self) -> Iterator[Aggregate]:
        """The aggregate between two batches."""
        with self._lock, self._join.lock:
            yield self._aggregate

    def retry(self) -> None:
        try_again(self._source)

    def state(self) -> SourceState:
        state = self._source.state()
        if self.failure is not None:
            known = isinstance(self.failure, FlowwatchError)
            why = self.failure if known else Defect.of(self.failure)
            return replace(state, phase="failed", message=str(why))
        return state

    @property
    def over(self) -> bool:
        """Whether nothing more will be read, once it was started."""
        return not self._thread.is_alive()

    @property
    def revision(self) -> int:
        return self._revision
