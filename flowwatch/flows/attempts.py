"""Attempts: the records, retries and nodes of one try, told as one.

Records belong to one attempt when client address, server address, protocol, server port and the
client's source port are equal and no gap between them is longer than 75 s (Linux gives up a
connection after SYNs at 0, 1, 3, 7, 15, 31 and 63 s, so its longest gap is below that). So these
are one attempt:

- the policy-verdict and the drop record of a denied packet, and those of each retry of its SYN;
- the records of a forwarded connection at every observation point and on both nodes: an ingress
  denial on the far node makes the near node's forwarded attempt a dropped one;
- an L4 record and what the proxy then decided.

Replies are not attempts: they only prove that one works. The drop of a reply (drops carry no
``is_reply``) is known by the open attempt that it answers, and doesn't become one of its own.
Where ports don't exist (ICMP) all records between the two ends with no gap of 75 s are one.

What the bits of evidence mean, and which outcome wins, stands in :mod:`flowwatch.flows.meaning`.
"""

from __future__ import annotations

from flowwatch.flows import meaning
from flowwatch.flows.meaning import OUTCOME_OF, SYN, UNKNOWN
from flowwatch.flows.model import Endpoint, EventType, Flow, PolicyRef, Verdict

GAP = 75_000_000_000
"""Longest silence within an attempt, nanoseconds of flow time."""

OPEN_LIMIT = 120_000
"""Attempts kept open per generation: about 90 MB for two. Past it the older generation is closed
although it may be younger than 75 s, and :attr:`Attempts.closed_early` counts how often."""

OPEN_AT_LEAST = 25_000
"""Attempts kept open whatever their age: relay may send one node's whole ring before another's, and
files needn't be sorted, so a record may come minutes of flow time after its attempt's others."""

Key = tuple[str, str, int, int, str]
"""Addresses of client and server, ports of client and server, protocol."""

_FORWARDED, _TRACE = int(Verdict.FORWARDED), int(EventType.TRACE)
_WORKING = meaning.PASSED | meaning.WORKS

NOT_COUNTED = -1
"""In ``OpenAttempt.egress``, ``ingress`` and ``counted``: not in the aggregate yet."""


class OpenAttempt:
    """What is known of an attempt so far. Only :class:`Attempts` and the aggregate write to it."""

    __slots__ = (
        "allowed_by",
        "begun",
        "bits",
        "client",
        "counted",
        "counted_reason",
        "denied_by",
        "detail",
        "direction",
        "egress",
        "first",
        "ingress",
        "key",
        "last",
        "names",
        "node",
        "outcome",
        "reason",
        "records",
        "server",
        "service",
    )

    def __init__(self, key: Key, flow: Flow, direction: int) -> None:
        self.key = key
        self.client: Endpoint = flow.source
        self.server: Endpoint = flow.destination
        self.direction = direction
        self.bits = 0
        self.outcome = UNKNOWN
        self.reason = 0
        # The first record's own time; `first` moves back when an earlier one comes late.
        self.begun = flow.time
        self.first = flow.time
        self.last = flow.time
        self.records = 0
        self.node = flow.node
        self.names: tuple[str, ...] = ()
        self.service = ""
        self.detail = ""
        self.allowed_by: tuple[PolicyRef, ...] = ()
        self.denied_by: tuple[PolicyRef, ...] = ()
        self.egress = NOT_COUNTED
        self.ingress = NOT_COUNTED
        self.counted = NOT_COUNTED
        self.counted_reason = 0


class Attempts:
    """Joins records into attempts. One thread; memory bounded by OPEN_LIMIT.

    Two generations are kept, each of 75 s or more: what isn't touched falls out with the older.
    """

    def __init__(self, limit: int = OPEN_LIMIT) -> None:
        self._limit = limit
        self._young: dict[Key, OpenAttempt] = {}
        self._old: dict[Key, OpenAttempt] = {}
        self._turn = 0
        self.replies = 0
        """Records of replies to attempts that aren't known: opened before the first record."""
        self.unattributed = 0
        """Records that belong to no attempt and open none (no direction, or no outcome in them)."""
        self.closed_early = 0
        self.keep_closed = False
        """Whether :meth:`take_closed` is going to be called; set by whoever exports attempts."""
        self._closed: list[OpenAttempt] = []

    def observe(self, flow: Flow) -> OpenAttempt | None:
        """The attempt that ``flow`` belongs to, with the flow's evidence added; else None."""
        reply = flow.is_reply
        if reply is None:
            reply = meaning.is_reply(flow)
        if not flow.source_port:
            # No ports: ICMP's type differs between request and reply, names stand in for addresses.
            key = _portless_key(flow, reply)
        elif reply:
            key = (
                flow.destination_ip,
                flow.source_ip,
                flow.destination_port,
                flow.source_port,
                flow.protocol,
            )
        else:
            key = (
                flow.source_ip,
                flow.destination_ip,
                flow.source_port,
                flow.destination_port,
                flow.protocol,
            )
        time = flow.time
        attempt = self._young.get(key)
        if attempt is None and (attempt := self._old.get(key)) is not None:
            # Touched again: move it to the young generation, so that it outlives this one.
            del self._old[key]
            self._young[key] = attempt
        if attempt is not None and not -GAP <= time - attempt.last <= GAP:
            if self.keep_closed:
                self._closed.append(attempt)
            del self._young[key]
            attempt = None
        if attempt is None:
            bits = meaning.evidence(flow)
            attempt = self._open(flow, key, reply, bits)
            if attempt is None:
                return None
            self._weigh(attempt, flow, bits)
        elif (
            attempt.bits & _WORKING != _WORKING
            or flow.verdict != _FORWARDED
            or flow.event_type != _TRACE
        ):
            # Else one more packet of a connection that works: most records are that.
            bits = meaning.evidence(flow)
            if bits:
                self._weigh(attempt, flow, bits)
        attempt.records += 1
        if time > attempt.last:
            attempt.last = time
        elif time < attempt.first:
            attempt.first = time
        return attempt

    def _open(self, flow: Flow, key: Key, reply: bool, bits: int) -> OpenAttempt | None:
        if reply:
            self.replies += 1
            return None
        if flow.verdict == Verdict.DROPPED and flow.is_reply is None and not flow.tcp_flags & SYN:
            answered = (key[1], key[0], key[3], key[2], key[4])
            if key[2] and (answered in self._young or answered in self._old):
                self.replies += 1
                return None
        direction = flow.direction or meaning.direction(flow)
        if not bits or not direction:
            self.unattributed += 1
            return None
        count = len(self._young)
        if count >= OPEN_AT_LEAST and (flow.time - self._turn > GAP or count >= self._limit):
            self._turn_over(flow.time)
        attempt = OpenAttempt(key, flow, direction)
        attempt.names = flow.destination_names
        attempt.service = flow.destination_service
        self._young[key] = attempt
        return attempt

    def _weigh(self, attempt: OpenAttempt, flow: Flow, bits: int) -> None:
        """Add evidence, and with it what only the deciding records know: reason and policies."""
        if bits | attempt.bits != attempt.bits:
            attempt.bits |= bits
            attempt.outcome = OUTCOME_OF[attempt.bits]
            # A policy's reason is kept against a stray drop's.
            if flow.verdict == Verdict.DROPPED and (
                not attempt.reason or bits & meaning.POLICY_DROP
            ):
                attempt.reason = meaning.drop_reason(flow)
                if flow.l7 is not None:
                    attempt.detail = _detail(flow)
        if flow.allowed_by and flow.allowed_by != attempt.allowed_by:
            attempt.allowed_by = _union(attempt.allowed_by, flow.allowed_by)
        if flow.denied_by and flow.denied_by != attempt.denied_by:
            attempt.denied_by = _union(attempt.denied_by, flow.denied_by)

    def _turn_over(self, now: int) -> None:
        if now - self._turn <= GAP:
            self.closed_early += 1
        if self.keep_closed:
            self._closed.extend(self._old.values())
        self._old = self._young
        self._young = {}
        self._turn = now

    def take_closed(self) -> list[OpenAttempt]:
        """Attempts that no record can join any more, since the last call (with keep_closed)."""
        closed, self._closed = self._closed, []
        return closed

    def open_attempts(self) -> list[OpenAttempt]:
        """All attempts still open, those that were opened or touched first in front."""
        return [*self._old.values(), *self._young.values()]


def addresses(key: Key) -> tuple[str, str]:
    """The client's and the server's address, "" where names had to stand in for it."""
    client, server = key[0], key[1]
    return "" if "/" in client else client, "" if "/" in server else server


def _portless_key(flow: Flow, reply: bool) -> Key:
    source = flow.source_ip or f"{flow.source.namespace}/{flow.source.pod}"
    destination = flow.destination_ip or f"{flow.destination.namespace}/{flow.destination.pod}"
    port = 0 if flow.protocol.startswith("ICMP") else flow.destination_port
    if reply:
        return destination, source, 0, port, flow.protocol
    return source, destination, 0, port, flow.protocol


def _union(one: tuple[PolicyRef, ...], other: tuple[PolicyRef, ...]) -> tuple[PolicyRef, ...]:
    return tuple(dict.fromkeys(one + other))


def _detail(flow: Flow) -> str:
    l7 = flow.l7
    if l7 is None:
        return ""
    if l7.dns_query:
        return f"DNS {l7.dns_query}"
    return f"{l7.http_method} {l7.http_url}" if l7.http_method else ""
