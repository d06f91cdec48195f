"""What the records themselves say about how much is seen: the second half of ``flowwatch doctor``.

    for step in examine(settings):      # all steps, those of flowwatch.doctor.steps first
        print(step.name, step.state, step.what, step.next)

Asking is done by :class:`Listening`, judging by pure functions of the :class:`Evidence` (see
:mod:`flowwatch.doctor.judge`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from flowwatch.doctor.judge import (
    Evidence,
    Heard,
    aggregation,
    clocks,
    flows,
    fresh,
    lost,
    names,
    ring,
    verdicts,
)
from flowwatch.doctor.options import find, options
from flowwatch.doctor.steps import State as State
from flowwatch.doctor.steps import Step as Step
from flowwatch.doctor.steps import Visit, run
from flowwatch.errors import FlowwatchError, Unreachable
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.client.connection import Connection
from flowwatch.hubble.client.stream import End, Follow
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2 as pb
from flowwatch.policy.agent_options import AgentOptions

LISTEN = 4.0
"""Seconds of listening to what comes."""
PATIENCE = 5.0
"""Seconds for each question about records that are there already."""
SAMPLE = 4000
"""Newest records looked at, of all nodes together."""


JUDGES: tuple[tuple[str, Callable[[Evidence], Step]], ...] = (
    ("flows", flows),
    ("lost", lost),
    ("verdicts", verdicts),
    ("options", options),
    ("dns", names),
    ("aggregation", aggregation),
    ("clocks", clocks),
)
"""In this order, after ``ring``."""


def examine(settings: Settings, known: AgentOptions | None = None) -> Iterator[Step]:
    """Every step, from the settings to the clocks, as it is done; it hangs on nothing.

    ``known``: the options of the agents, where a file says them; else the cluster is asked, where it can be.
    """
    visit = Visit(settings)
    evidence = Evidence()
    try:
        yield from visit.steps()

        def first() -> Step:
            listening = _listening(visit, evidence)
            listening.ask_ring()
            return ring(evidence)

        def second() -> Step:
            listening = _listening(visit, evidence)
            listening.ask_records()
            listening.listen()
            evidence.options = known or _options(visit)
            return JUDGES[0][1](evidence)

        # Told as soon as it is known: listening takes some seconds.
        looks: list[tuple[str, Callable[[], Step], bool]] = [
            ("ring", first, True),
            (JUDGES[0][0], second, True),
        ]
        looks += [(name, lambda judge=judge: judge(evidence), False) for name, judge in JUDGES[1:]]  # type: ignore[misc]
        yield from run(looks, visit.blocked)
    finally:
        visit.close()


def _options(visit: Visit) -> AgentOptions | str:
    try:
        return find(visit.settings, visit.access)
    except FlowwatchError as error:
        return error.message


def _listening(visit: Visit, evidence: Evidence) -> Listening:
    assert visit.connection is not None
    assert visit.status is not None
    evidence.held, evidence.room = visit.status.num_flows, visit.status.max_flows
    evidence.rate = visit.status.flows_rate
    return Listening(visit.connection, evidence, max(1, len(visit.nodes)))


class Listening:
    """Asks the server for records, each question within a bounded time."""

    def __init__(self, connection: Connection, evidence: Evidence, nodes: int) -> None:
        """``evidence`` is filled in; ``nodes`` answer (relay gives as many of each as are asked for)."""
        self._connection = connection
        self._evidence = evidence
        self._nodes = nodes

    def ask_ring(self) -> None:
        """The oldest and the newest record of each node."""
        evidence = self._evidence
        evidence.newest = self._ask(pb.GetFlowsRequest(number=1))
        evidence.now = time.time_ns()
        evidence.oldest = self._answered(self._ask(pb.GetFlowsRequest(number=1, first=True)))

    def ask_records(self) -> None:
        """The newest records, and the newest of the kinds that matter: those the server looks for."""
        evidence = self._evidence
        number = max(100, SAMPLE // self._nodes)
        evidence.sample = self._answered(self._ask(pb.GetFlowsRequest(number=number)))
        evidence.verdicts = self._newest(
            flow_pb2.FlowFilter(event_type=[flow_pb2.EventTypeFilter(type=5)])
        )
        evidence.denials = self._newest(
            flow_pb2.FlowFilter(
                event_type=[flow_pb2.EventTypeFilter(type=1)],
                drop_reason_desc=[flow_pb2.POLICY_DENIED, flow_pb2.POLICY_DENY],
            )
        )
        evidence.audits = self._newest(flow_pb2.FlowFilter(verdict=[flow_pb2.AUDIT]))
        evidence.names = self._newest(
            flow_pb2.FlowFilter(destination_fqdn=["*"]), flow_pb2.FlowFilter(source_fqdn=["*"])
        )
        evidence.dns = self._newest(flow_pb2.FlowFilter(protocol=["dns"]))
        evidence.queries = self._newest(
            flow_pb2.FlowFilter(protocol=["udp"], destination_port=["53"])
        )

    def listen(self) -> None:
        """What comes, for LISTEN seconds."""
        evidence = self._evidence
        began = time.monotonic()
        # number=1: relay hands a live stream over soonest then, at the price of one old record.
        request = pb.GetFlowsRequest(number=1, follow=True)
        evidence.live = self._ask(request, LISTEN)
        evidence.seconds = time.monotonic() - began
        if not fresh(evidence):
            # A quiet server is told from a dead one.
            self._connection.health()

    def _answered(self, heard: Heard) -> Heard:
        """``heard``, unless nothing at all came in time: then whoever asks on only waits."""
        if heard.complete or heard.flows or heard.lost:
            return heard
        raise Unreachable(
            f"{self._connection.address.text} sent no records within {PATIENCE:g} s",
            "try again; if it stays so: kubectl -n kube-system logs deployment/hubble-relay",
        )

    def _newest(self, *filters: flow_pb2.FlowFilter) -> Heard:
        return self._ask(pb.GetFlowsRequest(number=1, whitelist=filters))

    def _ask(self, request: pb.GetFlowsRequest, seconds: float = PATIENCE) -> Heard:
        stream = Follow(self._connection.get_flows(request))
        decoder = WireDecoder()
        heard = Heard()
        until = time.monotonic() + seconds
        for chunk in stream.chunks():
            if chunk:
                now = time.time_ns()
                batch = decoder.decode(chunk)
                # Everything here is about when: a record with a time that can't be proves nothing.
                timed = [flow for flow in batch.flows if flow.time]
                heard.flows += timed
                heard.lost += batch.lost
                heard.skipped += sum(batch.skipped.values()) + len(batch.flows) - len(timed)
                heard.arrivals += [now] * len(timed)
            if time.monotonic() >= until:
                stream.close()
        heard.complete = stream.end is End.SERVER
        return heard
