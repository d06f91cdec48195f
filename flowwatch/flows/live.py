"""A Hubble server as a source: connect, read, and when following, come back after a loss.

What a follow stream may do that isn't an end (Cilium 1.20, read and run): end with status OK when
relay has no node left; give the same records again when a node returns to relay, which asks it the
same request; and, after a reconnect with ``since``, give the records of that very second again.
So records are known by their uuid near the newest time of their node, and dropped as seen before
when they are older than that.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from flowwatch.errors import Unreachable
from flowwatch.flows.model import Batch, Flow, LostEvents, NodeStatus
from flowwatch.flows.source import SourceState
from flowwatch.flows.wire import WireDecoder

OVERLAP = 5_000_000_000
"""Nanoseconds before a node's newest record in which records may still come out of order."""

SEEN_LIMIT = 65_536
"""uuids remembered: those of OVERLAP at 13,000 records a second."""

FIRST_RETRY, LONGEST_RETRY = 0.5, 10.0
"""Seconds between tries; doubled each time, with up to a quarter more or less at random."""


class Messages(Protocol):
    """What flowwatch.hubble.stream gives: chunks of raw GetFlowsResponse messages."""

    def chunks(self) -> Iterator[list[bytes]]: ...

    def close(self) -> None: ...

    @property
    def backlog(self) -> int: ...


class Server(Protocol):
    """An open connection, as far as a source needs it."""

    def open(self, since: int | None) -> Messages:
        """Start the stream; ``since`` (ns) resumes a follow stream there instead of its start."""
        ...

    def nodes(self) -> tuple[int | None, int | None, tuple[str, ...], str]:
        """Nodes connected, unavailable, the names of those, and the server's version."""
        ...

    def close(self) -> None: ...


def _phantom(lost: LostEvents) -> bool:
    """The loss of one record that a full ring reports whenever it is read from its start.

    The observer begins one slot too early there; nothing is missing (Cilium 1.20.2, run).
    """
    return lost.source == "HUBBLE_RING_BUFFER" and lost.count == 1


class LiveSource:
    """Reads flows from a Hubble server until their end, or for ever when following.

    ``connect`` opens a connection (it is called again after each loss); raises ServerError from
    :meth:`batches` when the first connection fails, when the server refuses, and, unless
    following, when the stream breaks.
    """

    def __init__(
        self,
        connect: Callable[[], Server],
        *,
        where: str,
        follow: bool,
        encrypted: bool = False,
        backlog_limit: int = 0,
        keep_trying: bool = False,
    ) -> None:
        """``keep_trying``: also retry a first connection that fails (the dashboard does)."""
        self._connect = connect
        self._follow = follow
        self._keep_trying = keep_trying
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._server: Server | None = None
        self._messages: Messages | None = None
        self._newest: dict[str, int] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._state = SourceState(
            where=where,
            phase="connecting",
            since=time.time(),
            encrypted=encrypted,
            backlog_limit=backlog_limit,
        )

    def batches(self) -> Iterator[Batch]:
        retry = FIRST_RETRY
        ever = self._keep_trying
        while not self._closed.is_set():
            try:
                for batch in self._read():
                    ever = True
                    if batch:
                        retry = FIRST_RETRY
                    yield batch
                if not self._follow or self._closed.is_set():
                    self._phase("ended")
                    return
                lost = "the server ended the stream"
            except Unreachable as error:
                if not self._follow or not ever:
                    self._phase("failed", str(error))
                    raise
                lost = str(error)
            finally:
                self._disconnect()
            if self._closed.is_set():
                return
            yield from self._wait(retry * random.uniform(0.75, 1.25), lost)
            retry = min(retry * 2, LONGEST_RETRY)

    def _read(self) -> Iterator[Batch]:
        server = self._connect()
        with self._lock:
            self._server = server
        if self._closed.is_set():
            return
        resume = max(self._newest.values()) - OVERLAP if self._newest else None
        messages = server.open(resume)
        with self._lock:
            self._messages = messages
        decoder = WireDecoder()
        reading = False
        for chunk in messages.chunks():
            if not reading:
                # Only now is it sure that the server took the request.
                self._phase("following" if self._follow else "reading")
                if self._follow:
                    self._ask_nodes(server)
                reading = True
            batch = decoder.decode(chunk)
            if not self._follow:
                batch.lost = [lost for lost in batch.lost if not _phantom(lost)]
            else:
                batch.flows = self._unseen(batch.flows)
                if self._state.unavailable:
                    self._note_returned(batch.flows)
                for status in batch.nodes:
                    self._note(status)
            yield batch

    def _unseen(self, flows: list[Flow]) -> list[Flow]:
        """``flows`` without those that came before: replays after a reconnect or a node's return."""
        newest, seen = self._newest, self._seen
        fresh = []
        for flow in flows:
            last = newest.get(flow.node, 0)
            if flow.time < last - OVERLAP or (flow.uuid and flow.uuid in seen):
                continue
            if flow.time > last:
                newest[flow.node] = flow.time
            if flow.uuid:
                seen[flow.uuid] = None
            fresh.append(flow)
        while len(seen) > SEEN_LIMIT:
            seen.popitem(last=False)
        return fresh

    def _ask_nodes(self, server: Server) -> None:
        connected, unavailable, names, version = server.nodes()
        with self._lock:
            self._state = replace(
                self._state,
                nodes_connected=connected,
                nodes_unavailable=unavailable,
                unavailable=names,
                version=version,
            )

    def _note(self, status: NodeStatus) -> None:
        """Keep the view's word on nodes true between two asks."""
        with self._lock:
            away = set(self._state.unavailable)
            if status.state == "NODE_CONNECTED":
                away -= set(status.nodes)
            else:
                away |= set(status.nodes)
            self._state = replace(self._state, unavailable=tuple(sorted(away)))

    def _note_returned(self, flows: list[Flow]) -> None:
        """A node whose flows come is back: relay says when one is lost, never that it returned."""
        back = {flow.node for flow in flows} & set(self._state.unavailable)
        if back:
            self._note(NodeStatus("NODE_CONNECTED", tuple(back)))

    def _wait(self, seconds: float, why: str) -> Iterator[Batch]:
        self._phase("lost", why, retry_in=seconds)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._closed.wait(min(left, 0.1)):
            with self._lock:
                self._state = replace(self._state, retry_in=max(left, 0.0))
            yield Batch()

    def _phase(self, phase: str, message: str = "", retry_in: float = 0.0) -> None:
        with self._lock:
            since = self._state.since if phase == self._state.phase else time.time()
            if phase == "lost" and self._state.phase == "connecting":
                since = self._state.since
            self._state = replace(
                self._state, phase=phase, message=message, since=since, retry_in=retry_in
            )

    def _disconnect(self) -> None:
        with self._lock:
            messages, self._messages = self._messages, None
            server, self._server = self._server, None
        if messages is not None:
            messages.close()
        if server is not None:
            server.close()

    def state(self) -> SourceState:
        with self._lock:
            backlog = self._messages.backlog if self._messages is not None else 0
            return replace(self._state, backlog=backlog)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            messages = self._messages
        if messages is not None:
            messages.close()
