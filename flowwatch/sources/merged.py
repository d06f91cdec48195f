"""Several sources read as one: each in a thread of its own, its batches marked with where they are from.

One that is lost or fails doesn't stop the others. A slow consumer makes all of them wait: at most
WAITING batches of each are held.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from flowwatch.errors import FlowwatchError
from flowwatch.flows.model import Batch
from flowwatch.flows.source import Source, SourceState, try_again

WAITING = 8
"""Batches held of each source."""

TICK = 0.1
"""Seconds after which an empty batch is yielded when nothing came."""

_RANKS = ("following", "reading", "connecting", "lost", "ended", "failed")
"""The phase of all is the first of these that any is in."""


class MergedSource:
    """Reads ``sources``; each one's ``state().where`` is the origin of its batches.

    Raises ValueError when two have the same. When the last has ended, :meth:`batches` raises what
    the first one failed with, if any did: what came is then a part.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._names = tuple(source.state().where for source in self._sources)
        if len(set(self._names)) != len(self._names):
            raise ValueError("two sources have the same name")
        self._queue: queue.Queue[Batch] = queue.Queue(WAITING * len(self._sources))
        self._closed = threading.Event()
        self._failures: list[FlowwatchError] = []
        self._defect: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._read, args=pair, name="flowwatch-source", daemon=True)
            for pair in zip(self._names, self._sources, strict=True)
        ]

    def _read(self, name: str, source: Source) -> None:
        try:
            for batch in source.batches():
                batch.origin = name
                batch.gaps = [replace(gap, origin=name) for gap in batch.gaps]
                if batch and not self._put(batch):
                    return
        except FlowwatchError as error:
            self._failures.append(error)
            self._put(Batch(failed=str(error), origin=name))
        except BaseException as error:  # noqa: BLE001 - raised again in the consumer's thread
            self._defect = error

    def _put(self, batch: Batch) -> bool:
        """Hand over; False when nobody wants it any more."""
        while not self._closed.is_set():
            try:
                self._queue.put(batch, timeout=TICK)
            except queue.Full:
                continue
            return True
        return False

    def batches(self) -> Iterator[Batch]:
        for thread in self._threads:
            thread.start()
        try:
            while not self._closed.is_set():
                # Asked before the queue is emptied: nothing can come in after it.
                last = not any(thread.is_alive() for thread in self._threads)
                try:
                    yield self._queue.get(timeout=0 if last else TICK)
                except queue.Empty:
                    if last:
                        break
                    yield Batch()
                if self._defect is not None:
                    raise self._defect
        finally:
            self.close()
            for thread in self._threads:
                thread.join(2.0)
        if self._defect is not None:
            raise self._defect
        if self._failures:
            raise self._failures[0]

    def retry(self) -> None:
        """Have each try now that waits."""
        for source in self._sources:
            try_again(source)

    def state(self) -> SourceState:
        """The state of all: its phase is that of the one that does best."""
        states = tuple(source.state() for source in self._sources)
        best = min(states, key=lambda state: _RANKS.index(state.phase))
        bad = [state for state in states if state.phase in ("lost", "failed")]
        nodes = [state.nodes_connected for state in states if state.nodes_connected is not None]
        return SourceState(
            where=", ".join(self._names),
            phase=best.phase,
            had=any(state.had for state in states),
            message="; ".join(_named(state, state.message) for state in bad),
            since=min((state.since for state in bad), default=best.since),
            retry_in=min((state.retry_in for state in bad if state.phase == "lost"), default=0.0),
            nodes_connected=sum(nodes) if nodes else None,
            nodes_unavailable=sum(state.nodes_unavailable or 0 for state in states)
            if nodes
            else None,
            unavailable=tuple(
                f"{name} ({state.where})" for state in states for name in state.unavailable
            ),
            changes=tuple(
                sorted(
                    (
                        replace(change, name=f"{change.name} ({state.where})")
                        for state in states
                        for change in state.changes
                    ),
                    key=lambda change: change.since,
                )
            ),
            heard=max((state.heard for state in states), default=time.time()),
            servers=states,
            version=", ".join(sorted({state.version for state in states if state.version})),
            encrypted=all(state.encrypted for state in states),
            backlog=sum(state.backlog for state in states),
            backlog_limit=sum(state.backlog_limit for state in states),
            progress=min(
                [state.progress for state in states if state.progress is not None], default=None
            ),
        )

    def close(self) -> None:
        self._closed.set()
        for source in self._sources:
            source.close()


def _named(state: SourceState, message: str) -> str:
    return message if state.where in message else f"{state.where}: {message}"
