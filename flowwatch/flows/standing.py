"""Attempts of aggregated lines: each line stands for all records that an exporter's key made alike.

Cilium 1.19 and later write such lines (``fieldAggregate``, pkg/hubble/exporter/aggregator.go), and what
the key leaves out is in none of them: addresses, ports, pods, whether a packet is an answer. How many
attempts were made isn't either: a line of a thousand records may be of one connection. So all
lines with one key are one attempt here, "at least one", which is never over; its records are counted.
"""

from __future__ import annotations

from flowwatch.flows import meaning
from flowwatch.flows.meaning import SYN
from flowwatch.flows.model import Direction, Endpoint, EventType, Extras, Flow, Standing, Verdict
from flowwatch.flows.open_attempt import ANSWERED, Numbers, OpenAttempt, change, end_text
from flowwatch.flows.tries import icmp_request
from flowwatch.flows.weighing import Weighing

LIMIT = 65_536
"""Keys whose attempt is remembered; past it all are over, and one that comes again is another attempt."""

_EGRESS, _INGRESS = int(Direction.EGRESS), int(Direction.INGRESS)
_FORWARDED, _DROPPED = int(Verdict.FORWARDED), int(Verdict.DROPPED)
_POLICY_VERDICT = int(EventType.POLICY_VERDICT)
_SYN_ACK = SYN | meaning.ACK
_EPHEMERAL = 32_768
"""From here on Linux takes a client's ports (net.ipv4.ip_local_port_range)."""
_L7 = {1: False, 2: True}
"""Types of layer 7 records: request, response."""
_ICMP = {("ICMPv4", 0): True, ("ICMPv6", 129): True, ("ICMPv4", 8): False, ("ICMPv6", 128): False}
"""Echo replies and requests (RFC 792, RFC 4443)."""

_Line = tuple[object, ...]


def standing(flow: Flow) -> Standing | None:
    """How many records ``flow`` stands for; None for one that stands for itself."""
    extras: Extras | None = flow.extras
    return extras.standing if extras is not None else None


def is_answer(flow: Flow) -> bool | None:
    """Whether packets of ``flow`` go from server to client, by all that it records; None: nobody can tell.

    Without ``is_reply`` the flags tell, then the two ends, as the direction is that of a pod of this
    node, and then the ports.
    """
    if flow.is_reply is not None:
        return flow.is_reply
    if flow.verdict == _DROPPED or flow.event_type == _POLICY_VERDICT:
        return meaning.is_reply(flow)
    if flow.l7 is not None and flow.l7.type in _L7:
        return _L7[flow.l7.type]
    if flow.tcp_flags & SYN:
        return flow.tcp_flags & _SYN_ACK == _SYN_ACK
    if (kind := _ICMP.get((flow.protocol, flow.destination_port))) is not None:
        return kind
    here = _here(flow.source, flow.destination)
    if here is not None and flow.direction:
        # Whether the source is of this node: a client in its egress, a server in its ingress.
        return here != (flow.direction == _EGRESS)
    if flow.destination_port >= _EPHEMERAL:
        return True if 0 < flow.source_port < _EPHEMERAL else None
    return False if flow.destination_port else None


def _here(source: Endpoint, destination: Endpoint) -> bool | None:
    """Whether the node that made the record runs the source (else the destination); None: can't be told.

    Names of workloads are those of its own pods.
    """
    for one, other in ((source, destination), (destination, source)):
        if one.namespace and not other.namespace and other.entity not in ("", "host"):
            return one is source
    if bool(source.workload) != bool(destination.workload):
        return bool(source.workload)
    return None


class StandingLines:
    """The attempts of one server's aggregated lines. One thread; bounded by LIMIT."""

    def __init__(self, numbers: Numbers, weighing: Weighing) -> None:
        self._numbers = numbers
        self._weighing = weighing
        self._known: dict[_Line, OpenAttempt] = {}
        self._closed: list[OpenAttempt] = []
        self.replies = 0
        """Records of answers to requests that no line tells of."""
        self.unattributed = 0
        """Records without a direction: none can be told from the ends, as Hubble knew none."""

    def observe(self, flow: Flow, many: int) -> OpenAttempt | None:
        """The attempt that a line of ``many`` records belongs to; None: none."""
        direction = flow.direction
        if not direction:
            self.unattributed += many
            return None
        answer = is_answer(flow)
        line = _line(flow, answer=bool(answer))
        if answer:
            asked = self._known.get(line)
            if asked is None:
                self.replies += many
                return None
            if asked.answer != ANSWERED:
                asked.answer = ANSWERED
                self._weighing.answers += 1
                change(asked)
            return _add(asked, flow, many)
        attempt = self._known.get(line)
        if attempt is not None:
            return _add(attempt, flow, many)
        if len(self._known) >= LIMIT:
            self._closed += self._known.values()
            self._known = {}
        attempt = self._known[line] = self._opened(flow, answer)
        attempt.records = many
        return attempt

    def _opened(self, flow: Flow, answer: bool | None) -> OpenAttempt:
        key = _key(flow, answer=False)
        kind, ends = flow.kind, flow.ends
        attempt = OpenAttempt(
            self._numbers.take(),
            key,
            ends.source,
            ends.destination,
            ends.destination_service,
            kind.direction,
            flow.time,
            flow.time,
            kind.node,
            ends.names,
        )
        attempt.standing = True
        attempt.unsure = answer is None
        self._weighing.first(attempt, flow)
        return attempt

    def open_attempts(self) -> list[OpenAttempt]:
        """Those that lines may still join: all, as a rule."""
        return list(self._known.values())

    def take_closed(self) -> list[OpenAttempt]:
        """Those that none can join any more, since the last call."""
        closed, self._closed = self._closed, []
        return closed


def _add(attempt: OpenAttempt, flow: Flow, many: int) -> OpenAttempt:
    attempt.records += many
    if flow.time:
        attempt.last = max(attempt.last, flow.time)
        attempt.first = min(attempt.first or flow.time, flow.time)
    return attempt


def _key(flow: Flow, *, answer: bool) -> tuple[str, str, int, int, str]:
    source = end_text(flow.source, flow.source_ip)
    destination = end_text(flow.destination, flow.destination_ip)
    if answer:
        return destination, source, flow.destination_port, flow.source_port, flow.protocol
    port = flow.destination_port
    if not flow.source_port:
        port = icmp_request(flow.protocol, port)
    return source, destination, flow.source_port, port, flow.protocol


def _line(flow: Flow, *, answer: bool) -> _Line:
    """What lines of one attempt have alike; of an answer, what its request's have.

    Labels differ between nodes' words about the same pod, so who the ends are is told by their names.
    """
    fate = (_FORWARDED, 0) if answer else (flow.verdict, flow.drop_reason)
    return *_key(flow, answer=answer), flow.direction, *fate
