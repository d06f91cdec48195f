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
from flowwatch.flows.model import Direction, Endpoint, EventType, Flow, PolicyRef, Verdict
from flowwatch.flows.peers import Peer, PeerNames

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
_INGRESS = int(Direction.INGRESS)
_WORKING = meaning.PASSED | meaning.WORKS
_OUTCOME_BITS = len(OUTCOME_OF) - 1

OPENED = 512
"""Beside the bits of evidence, at one end: the attempt's first packet was seen there."""

SEEN = 1024
"""The same: a record of that end was seen."""

_FROM_FIRST_PACKET = frozenset({"UDP", "SCTP", "ICMPv4", "ICMPv6"})


class Numbers:
    """Small numbers for open attempts, used again once theirs is over: whoever keeps something by
    attempt does so in arrays."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self.size = 0
        """Numbers given out are below it."""

    def take(self) -> int:
        if self._free:
            return self._free.pop()
        self.size += 1
        return self.size - 1

    def give_back(self, attempts: list[OpenAttempt]) -> None:
        self._free += [attempt.number for attempt in attempts]


class OpenAttempt:
    """What is known of an attempt so far. Only :class:`Attempts` writes to it."""

    __slots__ = (
        "allowed_by",
        "begun",
        "bits",
        "client",
        "denied_by",
        "detail",
        "direction",
        "egress",
        "egress_peer",
        "first",
        "ingress",
        "ingress_peer",
        "key",
        "last",
        "names",
        "node",
        "number",
        "outcome",
        "reason",
        "records",
        "server",
        "service",
    )

    def __init__(self, number: int, key: Key, flow: Flow, direction: int) -> None:
        self.number = number
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
        # Evidence by end (0: no record of it): bits as of `bits`, with OPENED and SEEN.
        self.egress = 0
        self.ingress = 0
        # Who the other end is to the client, and to the server, once a record of that end was seen.
        self.egress_peer: Peer | None = None
        self.ingress_peer: Peer | None = None


class Attempts:
    """Joins records into attempts. One thread; memory bounded by OPEN_LIMIT.

    Two generations are kept, each of 75 s or more: what isn't touched falls out with the older.
    """

    def __init__(self, limit: int = OPEN_LIMIT, numbers: Numbers | None = None) -> None:
        """``numbers``: shared by all whose attempts the same listeners are told of."""
        self._limit = limit
        self._numbers = numbers or Numbers()
        self.names = PeerNames()
        """What the records told of names: the one memory of them."""
        self._young: dict[Key, OpenAttempt] = {}
        self._old: dict[Key, OpenAttempt] = {}
        self._turn = 0
        self.replies = 0
        """Records of replies to attempts that aren't known: opened before the first record."""
        self.unattributed = 0
        """Records that belong to no attempt and open none (no direction, or no outcome in them)."""
        self.closed_early = 0
        self._closed: list[OpenAttempt] = []

    def observe(self, flow: Flow) -> OpenAttempt | None:
        """The attempt that ``flow`` belongs to, with the flow's evidence added; else None."""
        if flow.l7 is not None:
            self.names.learn(flow)
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
        # A time that isn't known says nothing about a gap.
        if attempt is not None and not -GAP <= time - attempt.last <= GAP and time and attempt.last:
            self._closed.append(attempt)
            del self._young[key]
            attempt = None
        names = flow.destination_names or flow.source_names
        if attempt is None:
            if names:
                self.names.learn(flow)
            bits = meaning.evidence(flow)
            attempt = self._open(flow, key, reply, bits)
            if attempt is None:
                return None
            self._weigh(attempt, flow, bits, 0, ingress=attempt.direction == _INGRESS)
            attempt.records = 1
            return attempt
        if names and names != attempt.names:
            # Hubble gives the names with every record alike: most tell nothing new.
            self.names.learn(flow)
            attempt.names = names
        ingress = (flow.direction or attempt.direction) == _INGRESS
        known = attempt.ingress if ingress else attempt.egress
        if known & _WORKING != _WORKING or flow.verdict != _FORWARDED or flow.event_type != _TRACE:
            # Else one more packet of a connection that works: most records are that.
            self._weigh(attempt, flow, meaning.evidence(flow), known, ingress=ingress)
        attempt.records += 1
        if time > attempt.last:
            attempt.first = attempt.first or time
            attempt.last = time
        elif 0 < time < attempt.first:
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
        attempt = OpenAttempt(self._numbers.take(), key, flow, direction)
        attempt.names = flow.destination_names or flow.source_names
        attempt.service = flow.destination_service
        self._young[key] = attempt
        return attempt

    def _weigh(
        self, attempt: OpenAttempt, flow: Flow, bits: int, known: int, *, ingress: bool
    ) -> None:
        """Add evidence, and with it what only the deciding records know: reason and policies.

        ``bits`` are the flow's, ``known`` those of the end where it was seen.
        """
        if not known:
            self._meet(attempt, ingress=ingress)
        seen = known | bits | SEEN
        if not seen & OPENED and _opens(flow):
            seen |= OPENED
        if seen != known:
            if ingress:
                attempt.ingress = seen
            else:
                attempt.egress = seen
        if not bits:
            return
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

    def _meet(self, attempt: OpenAttempt, *, ingress: bool) -> None:
        """Name the other end, at the first record of an end: later lessons don't rename it."""
        client_ip, server_ip = addresses(attempt.key)
        client, server = attempt.client, attempt.server
        if ingress:
            attempt.ingress_peer = self.names.peer(server, client, client_ip, "")
        else:
            attempt.egress_peer = self.names.peer(client, server, server_ip, attempt.service)

    def _turn_over(self, now: int) -> None:
        if now - self._turn <= GAP:
            self.closed_early += 1
        self._closed.extend(self._old.values())
        self._old = self._young
        self._young = {}
        self._turn = now

    def take_closed(self) -> list[OpenAttempt]:
        """Attempts that no record can join any more, since the last call."""
        closed, self._closed = self._closed, []
        return closed

    def open_attempts(self) -> list[OpenAttempt]:
        """All attempts still open, those that were opened or touched first in front."""
        return [*self._old.values(), *self._young.values()]


def outcome(bits: int) -> int:
    """What became of an attempt at one of its ends, by the evidence of that end."""
    return OUTCOME_OF[bits & _OUTCOME_BITS]


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


def _opens(flow: Flow) -> bool:
    """Whether the record is of an attempt's first packet."""
    if flow.event_type == EventType.POLICY_VERDICT or flow.protocol in _FROM_FIRST_PACKET:
        return True
    return flow.tcp_flags & (SYN | meaning.ACK) == SYN


def _detail(flow: Flow) -> str:
    l7 = flow.l7
    if l7 is None:
        return ""
    if l7.dns_query:
        return f"DNS {l7.dns_query}"
    return f"{l7.http_method} {l7.http_url}" if l7.http_method else ""
