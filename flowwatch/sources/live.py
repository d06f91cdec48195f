"""A Hubble server as a source: connect, read, and when following, come back after a loss.

What a follow stream may do that isn't an end (Cilium 1.20, read and run): end with status OK when
relay has no node left; give the same records again when a node returns to relay, which asks it the
same request; and, after a reconnect with ``since``, give the records of that very second again.
Records that came before are left out (:mod:`flowwatch.sources.repeats`), what can't be had any more is
told as a gap (:mod:`flowwatch.sources.nodes`), and beside the stream the server is asked how it is
(:mod:`flowwatch.sources.health`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

from msgspec.structs import replace

from flowwatch.errors import Refused, ServerError
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.flows.guard import records_in
from flowwatch.flows.model import Batch, LostEvents, NodeStatus
from flowwatch.flows.source import SourceState, in_hundredths
from flowwatch.flows.whole import decode_whole
from flowwatch.sources.catching_up import CatchingUp
from flowwatch.sources.clock import Clock, SystemClock
from flowwatch.sources.health import AHEAD, QUIET, StreamHealth
from flowwatch.sources.nodes import CONNECTED
from flowwatch.sources.phases import Phases, Retries
from flowwatch.sources.polls import EVERY, Asking, Polling, Polls
from flowwatch.sources.server import Messages, Server, unreadable

FAR_AHEAD = 30 * AHEAD
"""Nanoseconds from now on after which no record can be: one of 2200 would end every rate and all of
the timeline. Long enough for a demo played a thousand times as fast."""

TICK = 0.1
"""Seconds between the empty batches that come while a retry is waited for."""


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
        raw: bool = False,
        backlog_limit: int = 0,
        keep_trying: bool = False,
        poll_every: float = EVERY,
        quiet: float = QUIET,
        retries: Retries | None = None,
        polling: Polling = Polls,
        clock: Clock | None = None,
    ) -> None:
        """``keep_trying``: also retry a first connection that fails (the dashboard does); ``raw``: flows
        carry their whole records.

        ``poll_every`` and ``quiet`` are seconds: see EVERY and QUIET. ``polling`` asks beside the
        stream, else a thread does; ``retries`` and ``clock`` are those of this machine's time.
        """
        self._connect = connect
        self._follow = follow
        self._keep_trying, self._raw = keep_trying, raw
        self._clock = clock or SystemClock()
        self._retries = retries or Retries()
        self._poll_every, self._polling = poll_every, polling
        self._closed = threading.Event()
        self._again = threading.Event()
        """Set when the next try isn't to be waited for."""
        self._lock = threading.Lock()
        self._server: Server | None = None
        self._messages: Messages | None = None
        self._polls: Asking | None = None
        self._loss = ""
        """Cause of the loss that the next connection comes back from."""
        self._catching_up: CatchingUp | None = None
        self._phases = Phases(
            SourceState(
                where, "connecting", encrypted=encrypted, backlog_limit=backlog_limit, had=False
            ),
            self._clock,
        )
        self._health = StreamHealth(self._phases, self._clock, poll_every=poll_every, quiet=quiet)

    def batches(self) -> Iterator[Batch]:
        """The flows, batch by batch; see the class."""
        ever = False
        while not self._closed.is_set():
            try:
                for batch in self._connection():
                    ever = True
                    if batch.flows:
                        self._retries.forget()
                    yield batch
                if not self._follow or self._closed.is_set():
                    self._phases.turn("ended")
                    return
                lost = "the server ended the stream"
            except ServerError as error:
                if self._closed.is_set():
                    return
                if self._is_final(error, ever):
                    self._phases.turn("failed", str(error))
                    raise
                lost = str(error)
            finally:
                self._disconnect()
            if self._closed.is_set():
                return
            if ever and not self._loss:
                # The first cause is the one that counts: later ones are of the tries.
                self._loss = lost
            yield from self._wait(lost)

    def _is_final(self, error: ServerError, ever: bool) -> bool:
        """Whether no other try is made; ``ever``: there was a stream before."""
        # A refusal is final at first; later it may be a proxy's, or a certificate's time.
        hopeless = isinstance(error, Refused) and not ever
        return not self._follow or hopeless or not (ever or self._keep_trying)

    # A connection ---------------------------------------------------------------------------

    def _connection(self) -> Iterator[Batch]:
        server = self._connect()
        with self._lock:
            self._server = server
        if self._closed.is_set():
            return
        if self._loss:
            yield self._health.come_back(server, self._loss)
        messages = server.open(self._health.resume())
        with self._lock:
            self._messages = messages
        if self._follow:
            yield from self._followed(server, messages)
        else:
            yield from self._whole(messages)

    def _followed(self, server: Server, messages: Messages) -> Iterator[Batch]:
        health = self._health
        health.opened()
        catching_up = self._catching_up = CatchingUp(self._clock.now())
        for chunk, batch in self._decoded(messages):
            if self._polls is None and not messages.reached:
                # It accepted a connection, which anything does that listens.
                continue
            if self._polls is None:
                # Only now is it sure that the server took the request.
                self._phases.turn("following")
                health.brought()
                self._loss = ""
                self._polls = self._polling(lambda: health.ask(server), self._poll_every)
            if chunk:
                health.brought()
            health.take_in(batch)
            for answer in self._polls.answers():
                health.answered(answer, server, batch, messages.backlog)
            health.tell_aside(batch)
            catching_up.brings(batch.flows)
            yield batch
            catching_up.brought(batch.flows, waiting=not chunk)

    def _whole(self, messages: Messages) -> Iterator[Batch]:
        """A stream that ends; raises Refused at its end when nothing of it could be read."""
        away: list[NodeStatus] = []
        unread: dict[str, int] = {}
        """By reason, as long as nothing could be read."""
        nothing = True
        for chunk, batch in self._decoded(messages):
            if chunk or self._phases.state.phase != "reading":
                self._phases.turn("reading")
                self._health.brought()
            nothing = nothing and len(batch.unread) == records_in(batch)
            for one in batch.unread if nothing else ():
                unread[one.why] = unread.get(one.why, 0) + 1
            batch.lost = [lost for lost in batch.lost if not _phantom(lost)]
            away += [status for status in batch.nodes if status.state != CONNECTED]
            yield batch
        if away:
            # Flows that relay had in its queue may have come after the word that their node is lost.
            yield Batch(nodes=away)
        if nothing and unread:
            raise unreadable(self._phases.state.where, unread)

    def _decoded(self, messages: Messages) -> Iterator[tuple[list[bytes], Batch]]:
        decoder = WireDecoder()
        decode = partial(decode_whole, decoder) if self._raw else decoder.decode
        for chunk in messages.chunks():
            yield chunk, decode(chunk, self._clock.now() + FAR_AHEAD)

    def _disconnect(self) -> None:
        with self._lock:
            messages, self._messages = self._messages, None
            server, self._server = self._server, None
            polls, self._polls = self._polls, None
            self._catching_up = None
        if polls is not None:
            polls.stop()
            self._health.lost()
        if messages is not None:
            messages.close()
        if server is not None:
            server.close()
        if polls is not None:
            polls.join()

    def _wait(self, why: str) -> Iterator[Batch]:
        state = self._phases.state
        if state.phase == "following" and (
            self._clock.now() / 1e9 - state.since > self._retries.longest
        ):
            # It was sound for a while, if quiet: no reason to wait long.
            self._retries.forget()
        seconds = self._retries.take()
        self._phases.turn("lost", why, retry_in=seconds)
        until = self._clock.monotonic() + seconds
        self._again.clear()
        while (left := until - self._clock.monotonic()) > 0 and not self._again.is_set():
            if self._clock.wait(self._closed, min(left, TICK)):
                return
            self._phases.waits(max(left, 0.0))
            yield Batch()

    # From any thread ------------------------------------------------------------------------

    def state(self) -> SourceState:
        """How it goes; see flowwatch.flows.source."""
        with self._lock:
            backlog = self._messages.backlog if self._messages is not None else 0
            past = self._catching_up.progress if self._catching_up is not None else None
        state = self._phases.state
        # Whole seconds: a view compares states to see whether there is anything new.
        heard = max(state.heard, self._health.came / 1e9) // 1
        return replace(state, backlog=backlog, heard=heard, progress=in_hundredths(past))

    def retry(self) -> None:
        """Try to connect at once, where that is waited for."""
        self._again.set()

    def close(self) -> None:
        """End :meth:`batches` soon."""
        self._closed.set()
        with self._lock:
            messages, server = self._messages, self._server
        if messages is not None:
            messages.close()
        elif server is not None:
            # Asked how it is, before the stream: that ends too.
            server.close()


def _phantom(lost: LostEvents) -> bool:
    """The loss of one record that a full ring reports whenever it is read from its start.

    The observer begins one slot too early there; nothing is missing (Cilium 1.20.2, run).
    """
    return lost.source == "HUBBLE_RING_BUFFER" and lost.count == 1
