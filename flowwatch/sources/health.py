"""The health of a stream that is followed: is it alive, what of it came before, what was missed.

A stream that brings nothing may be a quiet network or a dead connection. Beside it the server is asked
how it is (:mod:`flowwatch.sources.polls`), and after a while whether it has records that the stream
should have brought. All that is remembered outlasts the connection: after a loss it says from when on
to ask again, and what can't be had any more.
"""

from __future__ import annotations

from operator import attrgetter

from msgspec.structs import replace

from flowwatch.errors import Refused, Unreachable
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.flows.model import Batch
from flowwatch.sources.clock import Clock
from flowwatch.sources.node_clocks import NodeClocks
from flowwatch.sources.nodes import NodeWatch, ServerNow
from flowwatch.sources.phases import Phases
from flowwatch.sources.polls import EVERY, PollAnswer
from flowwatch.sources.repeats import Seen
from flowwatch.sources.server import Server

OVERLAP = 5_000_000_000
"""Nanoseconds before the newest record from which is read again after a loss: records of several
nodes come out of order."""

AHEAD = 86_400_000_000_000
"""Nanoseconds by which a node's clock may be ahead for its records to count as its newest."""

REPLAY = 2.0
"""Seconds after a stream's start in which records come from the rings: old, whatever the clock."""

QUIET = 30.0
"""Seconds without a record after which the server is asked whether it has any."""

_NODE = attrgetter("kind.node")

HELD_BACK = 2_000_000_000
"""Nanoseconds that records may be under way inside of the server: relay sorts what its nodes sent
for a second before it passes it on (Cilium 1.20, --sort-buffer-drain-timeout; run)."""

DOUBTS = 2
"""Polls in a row that must find the stream dead: the first may just be ahead of it."""


class StreamHealth:
    """Of one source, over all of its connections. One thread; :meth:`ask` is called in another."""

    def __init__(
        self, phases: Phases, clock: Clock, *, poll_every: float = EVERY, quiet: float = QUIET
    ) -> None:
        """``poll_every`` and ``quiet`` are seconds; ``phases`` is told what the server says of itself."""
        self._phases, self._clock = phases, clock
        self._poll_every, self._quiet = poll_every, quiet
        self._seen = Seen()
        self._watch = NodeWatch()
        self._clocks = NodeClocks()
        self._told_aside: dict[str, int] = {}
        self._aside = WireDecoder()
        """Of what is asked beside the stream: it isn't counted with it."""
        self._doubts = 0
        self.came = 0
        """When the stream's last message came, ns since 1970; 0 before the first."""

    # Of a connection ------------------------------------------------------------------------

    def resume(self) -> int | None:
        """From when on records are asked for again (ns since 1970), by nodes' own clocks; None: all."""
        newest = max(self._seen.newest.values(), default=0)
        if not newest:
            return None
        since = self._watch.resume(min(newest, self.came))
        return since - self._clocks.furthest_behind() - OVERLAP

    def opened(self) -> None:
        """A stream was opened: no doubt about it yet."""
        self._doubts = 0
        self._aside = WireDecoder()

    def brought(self) -> None:
        """The stream brought something, or has just been taken by the server."""
        self.came = self._clock.now()

    def lost(self) -> None:
        """The stream broke, was found dead, or was closed."""
        self._watch.lost(self._until())

    def _until(self) -> int:
        """Until when the stream was sound: its last message, or a poll that found nothing amiss.

        A stream that broke was so until the server was last heard; one that was found dead wasn't.
        """
        polled = 0 if self._doubts else int(self._phases.state.heard * 1e9)
        return max(self.came, polled)

    def come_back(self, server: Server, why: str) -> Batch:
        """What was missed by a loss, asked before the stream is opened: later the rings have moved on."""
        try:
            # An uptime is from after we asked: a slow answer mustn't look like a later start.
            asked = self._clock.now()
            now = server.nodes()
            newest = self._clocks.ours(self._seen.newest)
            update = self._watch.update(now, asked, newest, lambda: self._rings(server), why)
        except Refused:
            # A server that doesn't tell: whether something is missing can't be known.
            return Batch()
        self._show(now)
        # What was made shortly before the stream broke may be lost inside of the server.
        gaps = [replace(gap, start=gap.start - HELD_BACK) for gap in update.gaps]
        return Batch(nodes=update.statuses, gaps=gaps)

    # While following ------------------------------------------------------------------------

    def take_in(self, batch: Batch) -> None:
        """Leave out of ``batch`` what came before, and learn from the rest."""
        batch.flows = self._seen.unseen(batch.flows, self.came + AHEAD)
        newest = self._seen.newest
        nodes = set(map(_NODE, batch.flows)) & newest.keys()
        live = self.came / 1e9 - self._phases.state.since > REPLAY
        self._clocks.note(nodes, newest, self.came, live=live)
        if (late := self._clocks.late()) is not None:
            batch.late = late
        batch.nodes = [self._watch.told(status, self.came) for status in batch.nodes]
        if batch.nodes:
            self._phases.show_nodes(self._watch)

    def tell_aside(self, batch: Batch) -> None:
        """Say in ``batch`` what was left out without being known to have come before, if that is new."""
        if self._seen.set_aside != self._told_aside:
            self._told_aside = dict(self._seen.set_aside)
            batch.set_aside = dict(self._told_aside)

    def ask(self, server: Server) -> ServerNow:
        """One poll, in its thread. Raises ServerError."""
        now = server.nodes()
        if self._clock.now() - self.came > self._quiet * 1e9:
            # A node whose clock is ahead mustn't hide what others have.
            newest = min(max(self._seen.newest.values(), default=self.came), self.came)
            now = replace(now, peeked=tuple(server.peek(newest + 1)))
        return now

    def answered(self, answer: PollAnswer, server: Server, batch: Batch, backlog: int) -> None:
        """Take in a poll's answer; raises Unreachable when the stream must be dead.

        ``batch`` gets what it tells; ``backlog`` is the number of messages that wait to be read.
        """
        silent = not backlog and answer.at - self.came > self._poll_every * 1e9
        if answer.now is None:
            self._doubt(silent, f"no sign of life: {answer.error}")
            return
        self._phases.heard(answer.at)
        if answer.error is not None:
            return
        newest = self._clocks.ours(self._seen.newest)
        update = self._watch.update(answer.now, answer.at, newest, lambda: self._rings(server))
        batch.nodes += update.statuses
        batch.gaps += update.gaps
        self._show(answer.now)
        held_back = self._aside.decode(answer.now.peeked).flows
        self._doubt(
            silent and any(not self._seen.knows(flow) for flow in held_back),
            "the stream stalled: the server has records that it did not send",
        )

    def _doubt(self, amiss: bool, why: str) -> None:
        self._doubts = self._doubts + 1 if amiss else 0
        if self._doubts >= DOUBTS:
            raise Unreachable(why)

    def _rings(self, server: Server) -> dict[str, int]:
        """As ``server.oldest()``, by our clock; nothing from a server that doesn't tell."""
        try:
            return self._clocks.ours_of_rings(server.oldest())
        except Refused:
            return {}

    def _show(self, now: ServerNow) -> None:
        self._phases.show(now)
        self._phases.show_nodes(self._watch)
