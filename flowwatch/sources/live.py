"""A Hubble server as a source: connect, read, and when following, come back after a loss.

What a follow stream may do that isn't an end (Cilium 1.20, read and run): end with status OK when
relay has no node left; give the same records again when a node returns to relay, which asks it the
same request; and, after a reconnect with ``since``, give the records of that very second again.
Records that came before are left out (:mod:`flowwatch.sources.repeats`), what can't be had any more is
told as a gap (:mod:`flowwatch.sources.nodes`), and beside the stream the server is asked how it is
(:mod:`flowwatch.sources.polls`).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from flowwatch.errors import Refused, ServerError, Unreachable
from flowwatch.flows.clocks import LATE
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.flows.guard import records_in
from flowwatch.flows.model import Batch, LostEvents, NodeStatus
from flowwatch.flows.source import SourceState
from flowwatch.sources.lateness import Lateness
from flowwatch.sources.nodes import CONNECTED, NodeWatch, ServerNow
from flowwatch.sources.polls import EVERY, Answer, Polls
from flowwatch.sources.repeats import Seen

OVERLAP = 5_000_000_000
"""Nanoseconds before the newest record from which is read again after a loss: records of several
nodes come out of order."""

SKEW = 900_000_000_000
"""Nanoseconds by which a node's clock may be behind without its records being missed after a loss,
although none came as it was made."""

AHEAD = 86_400_000_000_000
"""Nanoseconds by which a node's clock may be ahead for its records to count as its newest."""

FAR_AHEAD = 30 * AHEAD
"""Nanoseconds from now on after which no record can be: one of 2200 would end every rate and all of
the timeline. Long enough for a demo played a thousand times as fast."""

FIRST_RETRY, LONGEST_RETRY = 0.5, 10.0
"""Seconds between tries; doubled each time, with up to a quarter more or less at random."""

REPLAY = 2.0
"""Seconds after a stream's start in which records come from the rings: old, whatever the clock."""

QUIET = 30.0
"""Seconds without a record after which the server is asked whether it has any."""

HELD_BACK = 2_000_000_000
"""Nanoseconds that records may be under way inside of the server: relay sorts what its nodes sent
for a second before it passes it on (Cilium 1.20, --sort-buffer-drain-timeout; run)."""

DOUBTS = 2
"""Polls in a row that must find the stream dead: the first may just be ahead of it."""


class Messages(Protocol):
    """What flowwatch.hubble.client.stream gives: chunks of raw GetFlowsResponse messages."""

    def chunks(self) -> Iterator[list[bytes]]: ...

    def close(self) -> None: ...

    @property
    def backlog(self) -> int: ...


class Server(Protocol):
    """An open connection, as far as a source needs it. All but ``open`` are called in any thread."""

    def open(self, since: int | None) -> Messages:
        """Start the stream; ``since`` (ns) resumes a follow stream there instead of its start."""
        ...

    def nodes(self) -> ServerNow:
        """How the server and its nodes are now."""
        ...

    def oldest(self) -> dict[str, int]:
        """Time of the oldest record that is still held, by node; that of an observer under ""."""
        ...

    def peek(self, since: int) -> list[bytes]:
        """The first messages from ``since`` (ns) on that the stream should have brought."""
        ...

    def close(self) -> None: ...


def _phantom(lost: LostEvents) -> bool:
    """The loss of one record that a full ring reports whenever it is read from its start.

    The observer begins one slot too early there; nothing is missing (Cilium 1.20.2, run).
    """
    return lost.source == "HUBBLE_RING_BUFFER" and lost.count == 1


def unreadable(where: str, skipped: Mapping[str, int]) -> Refused:
    """The error of a server that sent records, and none that can be read.

    It would look as if there had been no traffic.
    """
    said = ", ".join(f"{count:,} × {why}" for why, count in list(skipped.items())[:5])
    return Refused(
        f"{where} sent no record that can be read ({said})",
        "--keep-bad DIR keeps them; the server may be newer than this flowwatch, or not Hubble",
    )


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
        poll_every: float = EVERY,
        quiet: float = QUIET,
    ) -> None:
        """``keep_trying``: also retry a first connection that fails (the dashboard does).

        ``poll_every`` and ``quiet`` are seconds: see EVERY and QUIET.
        """
        self._connect = connect
        self._follow = follow
        self._keep_trying = keep_trying
        self._poll_every, self._quiet = poll_every, quiet
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._server: Server | None = None
        self._messages: Messages | None = None
        self._polls: Polls | None = None
        self._seen = Seen()
        self._watch = NodeWatch()
        self._behind: dict[str, int] = {}
        self._clocks: dict[str, int] = {}
        """By node, our clock less its own, from records that came as they were made."""
        self._lateness = Lateness()
        self._told_late: dict[str, int] = {}
        self._away: tuple[NodeStatus, ...] = ()
        self._told_aside: dict[str, int] = {}
        self._loss = ""
        """Cause of the loss that the next connection comes back from."""
        self._came = 0
        """time.time_ns() of the stream's last message."""
        self._doubts = 0
        self._state = SourceState(
            where=where,
            phase="connecting",
            since=time.time(),
            encrypted=encrypted,
            backlog_limit=backlog_limit,
        )

    def batches(self) -> Iterator[Batch]:
        retry = FIRST_RETRY
        ever = False
        while not self._closed.is_set():
            try:
                for batch in self._read():
                    ever = True
                    if batch.flows:
                        retry = FIRST_RETRY
                    yield batch
                if not self._follow or self._closed.is_set():
                    self._phase("ended")
                    return
                lost = "the server ended the stream"
            except ServerError as error:
                if self._closed.is_set():
                    return
                # A refusal is final at first; later it may be a proxy's, or a certificate's time.
                hopeless = isinstance(error, Refused) and not ever
                if not self._follow or hopeless or not (ever or self._keep_trying):
                    self._phase("failed", str(error))
                    raise
                lost = str(error)
            finally:
                self._disconnect()
            if self._closed.is_set():
                return
            if self._state.phase == "following" and (
                time.time() - self._state.since > LONGEST_RETRY
            ):
                # It was sound for a while, if quiet: no reason to wait long.
                retry = FIRST_RETRY
            if ever and not self._loss:
                # The first cause is the one that counts: later ones are of the tries.
                self._loss = lost
            yield from self._wait(retry * random.uniform(0.75, 1.25), lost)
            retry = min(retry * 2, LONGEST_RETRY)

    def _read(self) -> Iterator[Batch]:
        server = self._connect()
        with self._lock:
            self._server = server
        if self._closed.is_set():
            return
        if self._loss:
            yield self._come_back(server)
        messages = server.open(self._resume())
        with self._lock:
            self._messages = messages
        decoder = WireDecoder()
        # What is asked beside the stream is not of it, and not counted with it.
        aside = WireDecoder()
        reading = False
        unread: dict[str, int] = {}
        """By reason, as long as nothing could be read."""
        nothing = True
        self._doubts = 0
        for chunk in messages.chunks():
            if not reading:
                # Only now is it sure that the server took the request.
                self._phase("following" if self._follow else "reading")
                self._came = time.time_ns()
                self._loss = ""
                if self._follow:
                    self._polls = Polls(lambda: self._ask(server), self._poll_every)
                reading = True
            if chunk:
                self._came = time.time_ns()
            batch = decoder.decode(chunk, time.time_ns() + FAR_AHEAD)
            if self._follow:
                batch.flows = self._seen.unseen(batch.flows, self._came + AHEAD)
                self._note_clocks(batch)
                batch.nodes = [self._watch.told(s, self._came) for s in batch.nodes]
                if batch.nodes:
                    self._show_nodes()
                for answer in self._polls.answers() if self._polls else ():
                    self._take(answer, batch, aside, messages.backlog)
                self._tell_aside(batch)
            else:
                nothing = nothing and len(batch.unread) == records_in(batch)
                for one in batch.unread if nothing else ():
                    unread[one.why] = unread.get(one.why, 0) + 1
                batch.lost = [lost for lost in batch.lost if not _phantom(lost)]
                self._keep_away(batch)
            yield batch
        if self._away:
            # Flows that relay had in its queue may have come after the word that their node is lost.
            yield Batch(nodes=list(self._away))
        if nothing and unread:
            raise unreadable(self._state.where, unread)

    def _resume(self) -> int | None:
        """From when on records are asked for again: ``since`` is compared with each node's clock."""
        newest = max(self._seen.newest.values(), default=0)
        if not newest:
            return None
        # What old records seem to tell may be but their age; what came as it was made is sure.
        behind = max(
            (
                self._lateness.known.get(node, min(late, SKEW))
                for node, late in self._behind.items()
            ),
            default=0,
        )
        return self._watch.resume(min(newest, self._came)) - max(behind, 0) - OVERLAP

    def _note_clocks(self, batch: Batch) -> None:
        """How far behind ours each node's clock is at most: its freshest record tells best."""
        for node in {flow.node for flow in batch.flows} & self._seen.newest.keys():
            behind = self._came - self._seen.newest[node]
            self._behind[node] = min(behind, self._behind.get(node, behind))
            if self._came / 1e9 - self._state.since > REPLAY:
                self._clocks[node] = min(behind, self._clocks.get(node, behind))
                self._lateness.note(node, self._seen.newest.get(node, 0), self._came)
        if self._lateness.known is not self._told_late:
            self._told_late = batch.late = self._lateness.known

    def _newest(self) -> dict[str, int]:
        """Time of each node's newest record, by our clock."""
        known = self._lateness.known
        return {
            node: time + (late if abs(late := known.get(node, 0)) >= LATE else 0)
            for node, time in self._seen.newest.items()
        }

    def _oldest(self, server: Server) -> dict[str, int]:
        """As ``server.oldest()``, by our clock; nothing from a server that doesn't tell."""
        try:
            rings = server.oldest()
        except Refused:
            return {}
        alone = next(iter(self._clocks.values()), 0) if len(self._clocks) == 1 else 0
        return {
            name: time + self._clocks.get(name, 0 if name else alone)
            for name, time in rings.items()
        }

    def _keep_away(self, batch: Batch) -> None:
        for status in batch.nodes:
            if status.state != CONNECTED:
                self._away += (status,)

    # After a loss ---------------------------------------------------------------------------

    def _come_back(self, server: Server) -> Batch:
        """What was missed, asked before the stream is opened: later the rings have moved on."""
        try:
            # An uptime is from after we asked: a slow answer mustn't look like a later start.
            asked = time.time_ns()
            now = server.nodes()
            update = self._watch.update(
                now, asked, self._newest(), lambda: self._oldest(server), self._loss
            )
        except Refused:
            # A server that doesn't tell: whether something is missing can't be known.
            return Batch()
        self._show(now)
        # What was made shortly before the stream broke may be lost inside of the server.
        gaps = [replace(gap, start=gap.start - HELD_BACK) for gap in update.gaps]
        return Batch(nodes=update.statuses, gaps=gaps)

    # While following ------------------------------------------------------------------------

    def _ask(self, server: Server) -> ServerNow:
        """One poll, in its thread."""
        now = server.nodes()
        if time.time_ns() - self._came > self._quiet * 1e9:
            # A node whose clock is ahead mustn't hide what others have.
            newest = min(max(self._seen.newest.values(), default=self._came), self._came)
            now = replace(now, peeked=tuple(server.peek(newest + 1)))
        return now

    def _take(self, answer: Answer, batch: Batch, decoder: WireDecoder, backlog: int) -> None:
        """Take in a poll's answer; raises Unreachable when the stream must be dead."""
        silent = not backlog and answer.at - self._came > self._poll_every * 1e9
        if answer.now is None:
            self._doubts = self._doubts + 1 if silent else 0
            if self._doubts >= DOUBTS:
                raise Unreachable(f"no sign of life: {answer.error}")
            return
        with self._lock:
            self._state = replace(self._state, heard=answer.at / 1e9)
        if answer.error is not None:
            return
        server = self._server
        if server is None:
            return
        update = self._watch.update(
            answer.now, answer.at, self._newest(), lambda: self._oldest(server)
        )
        batch.nodes += update.statuses
        batch.gaps += update.gaps
        self._show(answer.now)
        held_back = decoder.decode(answer.now.peeked).flows
        if silent and any(not self._seen.knows(flow) for flow in held_back):
            self._doubts += 1
            if self._doubts >= DOUBTS:
                raise Unreachable("the stream stalled: the server has records that it did not send")
        else:
            self._doubts = 0

    def _tell_aside(self, batch: Batch) -> None:
        if self._seen.set_aside != self._told_aside:
            self._told_aside = dict(self._seen.set_aside)
            batch.set_aside = dict(self._told_aside)

    def _show(self, now: ServerNow) -> None:
        with self._lock:
            self._state = replace(
                self._state,
                nodes_connected=now.connected,
                nodes_unavailable=now.unavailable,
                version=now.version or self._state.version,
                heard=time.time(),
            )
        self._show_nodes()

    def _show_nodes(self) -> None:
        with self._lock:
            self._state = replace(
                self._state,
                unavailable=tuple(sorted(self._watch.away())),
                changes=tuple(self._watch.changes),
            )

    # Phases ---------------------------------------------------------------------------------

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
            polls, self._polls = self._polls, None
        if polls is not None:
            polls.stop()
            self._watch.lost(self._until())
        if messages is not None:
            messages.close()
        if server is not None:
            server.close()
        if polls is not None:
            polls.join()

    def _until(self) -> int:
        """Until when the stream was sound: its last message, or a poll that found nothing amiss.

        A stream that broke was so until the server was last heard; one that was found dead wasn't.
        """
        polled = 0 if self._doubts else int(self._state.heard * 1e9)
        return max(self._came, polled)

    def state(self) -> SourceState:
        with self._lock:
            backlog = self._messages.backlog if self._messages is not None else 0
            # Whole seconds: a view compares states to see whether there is anything new.
            heard = max(self._state.heard, self._came / 1e9) // 1
            return replace(self._state, backlog=backlog, heard=heard)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            messages, server = self._messages, self._server
        if messages is not None:
            messages.close()
        elif server is not None:
            # Asked how it is, before the stream: that ends too.
            server.close()
