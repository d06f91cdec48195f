"""An attempt that is open: what is known of it so far."""

from __future__ import annotations

from collections.abc import Mapping

from flowwatch.flows import tries
from flowwatch.flows.meaning import DROPPED, OUTCOME_OF, UNKNOWN
from flowwatch.flows.model import Direction, Endpoint, EventType, Extras, Flow, PolicyRef, Verdict
from flowwatch.flows.peers import Peer

Key = tuple[str, str, int, int, str]
"""Addresses of client and server, ports of client and server, protocol."""

_DROPPED = int(Verdict.DROPPED)
_EGRESS, _INGRESS = int(Direction.EGRESS), int(Direction.INGRESS)
AT_THE_ENDPOINT = frozenset((int(EventType.DROP), int(EventType.POLICY_VERDICT)))
"""Kinds of records whose direction is that of the endpoint, not the connection's."""

OUTCOME_BITS = len(OUTCOME_OF) - 1
"""The evidence among the bits of an end."""

OPENED = 512
"""Beside the bits of evidence, at one end: the attempt's first packet was seen there."""

SEEN = 1024
"""The same: a record of that end was seen."""

ANSWER = 2048
"""The same: what was dropped there was an answer, by the policies of the other direction."""

ANSWERS = ("", "answered", "refused", "unreachable", "dropped")
"""What came back, by its number: nothing known, an answer, a reset, an ICMP error; or the answer was
dropped on its way."""

ANSWERED, REFUSED, UNREACHABLE, ANSWER_DROPPED = range(1, 5)


LOGS = 8
"""Values of policies' logs kept of one attempt, or of a row."""

WITH_PORTS = frozenset({"TCP", "UDP", "SCTP"})
"""Protocols whose client's port tells one attempt from another."""

SECOND = 1_000_000_000

_NO_MORE: Mapping[str, int] = {}


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
    """What is known of an attempt so far. Only :class:`flowwatch.flows.attempts.Attempts` writes to it."""

    __slots__ = (
        "admitted_by",
        "allowed_by",
        "answer",
        "back",
        "bits",
        "client",
        "denied_by",
        "detail",
        "direction",
        "egress",
        "egress_peer",
        "encrypted",
        "ended",
        "first",
        "gap",
        "handshake",
        "ingress",
        "ingress_peer",
        "key",
        "last",
        "midway",
        "more",
        "names",
        "node",
        "number",
        "other",
        "other_ahead",
        "outcome",
        "pace",
        "passed",
        "policy_log",
        "reason",
        "records",
        "rhythm",
        "server",
        "service",
        "standing",
        "syn",
        "syn_denied",
        "syn_node",
        "syns",
        "unsure",
        "version",
    )

    def __init__(
        self,
        number: int,
        key: Key,
        flow: Flow,
        client: Endpoint,
        server: Endpoint,
        direction: int,
        service: str,
    ) -> None:
        self.number = number
        self.key = key
        self.client = client
        self.server = server
        self.direction = direction
        self.service = service
        self.bits = 0
        self.outcome = UNKNOWN
        self.reason = 0
        # First and last by the clock of `node`, whose record came first.
        self.first = self.last = flow.time
        self.node = flow.node
        # Another node whose records came, and how far its clock is ahead of that; any more of them.
        self.other: str | None = None
        self.other_ahead = 0
        self.more: Mapping[str, int] = _NO_MORE
        # Whether the first record was of a connection that was there already.
        self.midway = False
        self.records = 1
        self.names: tuple[str, ...] = flow.destination_names or flow.source_names
        self.detail = ""
        # Of the client's egress, and of the server's ingress.
        self.allowed_by: tuple[PolicyRef, ...] = ()
        self.admitted_by: tuple[PolicyRef, ...] = ()
        self.denied_by: tuple[PolicyRef, ...] = ()
        # Evidence by end (0: no record of it): bits as of `bits`, with OPENED and SEEN.
        self.egress = 0
        self.ingress = 0
        # Who the other end is to the client, and to the server, once a record of that end was seen.
        self.egress_peer: Peer | None = None
        self.ingress_peer: Peer | None = None
        # SYNs seen; when the last one came, whether it was denied, how long after the one before, and the
        # node that saw it first.
        self.syns = 0
        self.syn = 0
        self.syn_denied = False
        self.gap = 0
        self.syn_node = ""
        # When a record first showed a handshake, when the last FIN or reset came, and when a SYN was
        # let through after others had been denied; 0: none was.
        self.handshake = 0
        self.ended = 0
        self.passed = 0
        self.answer = 0
        # Nanoseconds between the latest attempts of these two ends; see flowwatch.flows.tries.
        self.pace = SECOND
        # Of tries.ALL, how many of them came on ports that had been used before.
        self.back = 0
        self.rhythm: tries.Rhythm | None = None
        # Whether an encrypted packet of it was seen, and what the policies that decided have as their log.
        self.encrypted = False
        self.policy_log: tuple[str, ...] = ()
        # Whether it is of aggregated lines, and stands for nobody knows how many.
        self.standing = False
        # Whether nothing records if the packets it was made of are answers.
        self.unsure = False
        # Another number whenever outcome, reason or answer changes.
        self.version = 0

    def carry(self, extras: Extras) -> None:
        """Take in what few records carry."""
        self.encrypted = self.encrypted or extras.encrypted
        for value in extras.policy_log:
            if value not in self.policy_log and len(self.policy_log) < LOGS:
                self.policy_log = (*self.policy_log, value)

    def ahead_of(self, node: str) -> int | None:
        """How far the clock of ``node`` is ahead; None when no record of it came."""
        if node == self.node:
            return 0
        return self.other_ahead if node == self.other else self.more.get(node)

    def lay(self, node: str, ahead: int) -> None:
        """Times of ``node`` are so far ahead from now on."""
        if self.other is None or self.other == node:
            # The text itself: those of another connection are others, though they may be equal.
            self.other, self.other_ahead = node, ahead
        else:
            self.more = {**self.more, node: ahead}

    def beside(self, time: int) -> int:
        """How long before its first record or after its last ``time`` is; 0 within. By `node`'s clock."""
        return max(self.first - time, time - self.last, 0)

    @property
    def uncounted(self) -> bool:
        """Whether it may be several: nothing in its records tells one connection from the next."""
        return self.standing or (not self.key[2] and self.key[4] in WITH_PORTS)

    @property
    def retries(self) -> int:
        """SYNs that were sent again."""
        return max(self.syns - 1, 0)

    @property
    def late(self) -> bool:
        """Whether it got through in the end after it had been denied."""
        return bool(self.passed) and self.outcome != DROPPED

    @property
    def waited(self) -> float:
        """Seconds until it was let through at one end, where it was denied there at first; else 0."""
        return (self.passed - self.first) / 1e9 if self.passed else 0.0


def end(flow: Flow, attempt: OpenAttempt) -> int:
    """At which end of its attempt a record was made: EGRESS at the client, INGRESS at the server.

    A dropped answer's direction is that of the endpoint that dropped it.
    """
    way = flow.direction or attempt.direction
    if flow.is_reply and flow.verdict == _DROPPED and flow.event_type in AT_THE_ENDPOINT:
        return _EGRESS if way == _INGRESS else _INGRESS
    return way


def outcome(bits: int) -> int:
    """What became of an attempt at one of its ends, by the evidence of that end."""
    return OUTCOME_OF[bits & OUTCOME_BITS]


def address(text: str) -> str:
    """An address of a key; "" where names had to stand in for it."""
    return "" if "/" in text else text


def addresses(key: Key) -> tuple[str, str]:
    """The client's and the server's address, as :func:`address` has them."""
    return address(key[0]), address(key[1])


def change(attempt: OpenAttempt) -> None:
    """Tell whoever counts it that outcome, reason or answer is another."""
    # 15 bits: whoever compares keeps it in an array.
    attempt.version = (attempt.version + 1) & 0x7FFF


def end_text(end: Endpoint, ip: str) -> str:
    """What stands in a key for one end: its address, or the name of what has none recorded."""
    if ip:
        return ip
    if end.namespace:
        return f"{end.namespace}/{end.pod or end.workload}"
    return f"/{end.pod or end.entity or end.identity or ''}"


def portless_key(flow: Flow, reply: bool) -> Key:
    """The key of a record without ports: ICMP has its type, and names stand in for addresses."""
    source = end_text(flow.source, flow.source_ip)
    destination = end_text(flow.destination, flow.destination_ip)
    port = tries.icmp_request(flow.protocol, flow.destination_port)
    if reply:
        return destination, source, 0, port, flow.protocol
    return source, destination, 0, port, flow.protocol


def refused(flow: Flow) -> str:
    """What a proxy refused, in words; "" for what it doesn't show."""
    l7 = flow.l7
    if l7 is None:
        return ""
    if l7.dns_query:
        return f"DNS {l7.dns_query}"
    return f"{l7.http_method} {l7.http_url}" if l7.http_method else ""
