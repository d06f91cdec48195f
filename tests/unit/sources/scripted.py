"""A Hubble server that plays a script, and a clock that is moved by hand: no test waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from flowwatch.errors import ServerError
from flowwatch.flows.model import Batch
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.hubble.wire.pb.relay import relay_pb2
from flowwatch.sources.live import LiveSource
from flowwatch.sources.nodes import NodeNow, ServerNow
from flowwatch.sources.polls import PollAnswer

SECOND = 1_000_000_000
BEGAN = 1_000_000
"""Seconds since 1970 at which every script begins."""


class HandClock:
    """Stands still until something waits (flowwatch.sources.clock.Clock). ``seconds`` since 1970."""

    def __init__(self, seconds: float = BEGAN) -> None:
        self.seconds: float = seconds
        self.waited: list[float] = []

    def now(self) -> int:
        return round(self.seconds * SECOND)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.waited.append(seconds)
        self.seconds += seconds
        return stop.is_set()


def record(at: float, node: str = "node-1", name: str = "") -> bytes:
    """A flow that ``node`` saw ``at`` (seconds since 1970), as a message."""
    response = observer_pb2.GetFlowsResponse(node_name=node)
    response.flow.node_name = node
    response.flow.verdict = flow_pb2.FORWARDED
    response.flow.uuid = name or f"{node}-{at}"
    response.flow.time.FromNanoseconds(round(at * SECOND))
    return response.SerializeToString()


def status(state: int, *nodes: str, message: str = "") -> bytes:
    """Relay's word on its nodes."""
    response = observer_pb2.GetFlowsResponse(node_name="relay")
    response.node_status.state_change = relay_pb2.NodeState.ValueType(state)
    response.node_status.node_names.extend(nodes)
    response.node_status.message = message
    return response.SerializeToString()


def lost(count: int, source: int = flow_pb2.HUBBLE_RING_BUFFER) -> bytes:
    response = observer_pb2.GetFlowsResponse(node_name="node-1")
    response.lost_events.source = flow_pb2.LostEventSource.ValueType(source)
    response.lost_events.num_events_lost = count
    return response.SerializeToString()


Step = tuple[float, "list[bytes] | ServerError"]
"""Seconds that pass, and what then comes of the stream."""


@dataclass
class Connection:
    """One connection: its stream as steps, after which it ends with status OK."""

    steps: list[Step] = field(default_factory=list)
    refused: ServerError | None = None
    """Raised instead."""


class ScriptedServer:
    """Plays ``connections`` one after the other (flowwatch.sources.server.Server and Messages)."""

    def __init__(self, clock: HandClock, *connections: Connection) -> None:
        self.clock = clock
        self.connections = list(connections)
        self.opened: list[int | None] = []
        """``since`` of each stream."""
        self.peeked: list[int] = []
        self.closed = 0
        self.backlog = 0
        self.reached = True
        self.now: Callable[[], ServerNow] = lambda: ServerNow("v1", (NodeNow("node-1"),), 1, 0)
        self.rings: dict[str, int] = {}
        self.held: list[bytes] = []
        """What it answers to :meth:`peek`."""
        self._steps: list[Step] = []
        self._ended = False

    def connect(self) -> ScriptedServer:
        if not self.connections:
            raise EndOfScript
        if (refused := self.connections[0].refused) is not None:
            del self.connections[0]
            raise refused
        return self

    def open(self, since: int | None) -> ScriptedServer:
        connection = self.connections.pop(0)
        self.opened.append(since)
        self._steps, self._ended = connection.steps, False
        return self

    def chunks(self) -> Iterator[list[bytes]]:
        for seconds, step in self._steps:
            self.clock.seconds += seconds
            if self._ended:
                return
            if isinstance(step, ServerError):
                raise step
            yield step

    def nodes(self) -> ServerNow:
        return self.now()

    def oldest(self) -> dict[str, int]:
        return self.rings

    def peek(self, since: int) -> list[bytes]:
        self.peeked.append(since)
        return self.held

    def close(self) -> None:
        self.closed += 1
        self._ended = True


class EndOfScript(Exception):
    """There is no other connection in the script."""


class PolledByHand:
    """Asks whenever it is looked for answers and ``every`` seconds are over: no thread."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock
        self._next = 0.0

    def __call__(self, ask: Callable[[], ServerNow], every: float) -> PolledByHand:
        self._ask, self._every = ask, every
        self._next = self._clock.seconds
        return self

    def answers(self) -> Iterator[PollAnswer]:
        if self._clock.seconds < self._next:
            return
        self._next = self._clock.seconds + self._every
        try:
            yield PollAnswer(self._clock.now(), self._ask())
        except ServerError as error:
            yield PollAnswer(self._clock.now(), None, error)

    def stop(self) -> None:
        """Nothing runs."""

    def join(self) -> None:
        """Nothing runs."""


@dataclass
class Played:
    """A source that played its script to the end."""

    source: LiveSource
    batches: list[Batch]
    phases: list[str]
    """Without what repeats."""
    failure: ServerError | None

    @property
    def names(self) -> list[str]:
        """Of the flows that came."""
        return [flow.uuid for batch in self.batches for flow in batch.flows]


def play(
    clock: HandClock, server: ScriptedServer, *, follow: bool = True, keep_trying: bool = False
) -> Played:
    """Read ``server`` until its script ends, or the source does."""
    source = LiveSource(
        server.connect,
        where="here",
        follow=follow,
        keep_trying=keep_trying,
        polling=PolledByHand(clock),
        clock=clock,
    )
    phases = [source.state().phase]
    batches: list[Batch] = []
    failure = None
    try:
        for batch in source.batches():
            batches.append(batch)
            if source.state().phase != phases[-1]:
                phases.append(source.state().phase)
    except EndOfScript:
        pass
    except ServerError as error:
        failure = error
    if source.state().phase != phases[-1]:
        phases.append(source.state().phase)
    return Played(source, batches, phases, failure)
