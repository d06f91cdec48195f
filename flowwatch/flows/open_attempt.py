"""An attempt that is open: what is known of it so far."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from flowwatch.flows import tries
from flowwatch.flows.meaning import DROPPED, OUTCOME_OF, UNKNOWN
from flowwatch.flows.model import Direction, Endpoint, EventType, Extras, Flow, Kind, PolicyRef
from flowwatch.flows.peers import Peer

Key = tuple[str, str, int, int, str]
"""Addresses of client and server, ports of client and server, protocol."""

_EGRESS, _INGRESS = int(Direction.EGRESS), int(Direction.INGRESS)
AT_THE_ENDPOINT = frozenset((int(EventType.DROP), int(EventType.POLICY_VERDICT)))
"""Kinds of records whose direction is that of the endpoint, not the connection's."""

OUTCOME_BITS = len(OUTCOME_OF) - 1
"""The evidence among the bits of an end."""

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
NEVER = 1 << 63
"""After all times."""

_NO_MORE: Mapping[str, int] = MappingProxyType({})


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


class News(msgspec.Struct, gc=False, eq=False):
    """Records of one end of an attempt, in the order of a batch: how many, from when to when."""

    flow: Flow
    """The first of them. It alone may name policies."""
    ingress: bool
    first: int
    """Nanoseconds on the clock that most nodes share, of those with a time; NEVER without any."""
    last: int
    """0 without any."""
    records: int = 1


class OpenAttempt(msgspec.Struct, gc=False, eq=False):
    """What is known of an attempt so far. Only :class:`flowwatch.flows.attempts.Attempts` writes to it."""

    number: int
    key: Key
    client: Endpoint
    server: Endpoint
    service: str
    direction: int
    first: int
    """First and last by the clock of ``node``, whose record came first."""
    last: int
    node: str
    names: tuple[str, ...]
    bits: int = 0
    outcome: int = UNKNOWN
    reason: int = 0
    other: str | None = None
    """Another node whose records came, and how far its clock is ahead of that; any more of them."""
    other_ahead: int = 0
    more: Mapping[str, int] = _NO_MORE
    midway: bool = False
    """Whether the first record was of a connection that was there already."""
    records: int = 1
    detail: str = ""
    allowed_by: tuple[PolicyRef, ...] = ()
    """Of the client's egress, and of the server's ingress."""
    admitted_by: tuple[PolicyRef, ...] = ()
    denied_by: tuple[PolicyRef, ...] = ()
    egress: int = 0
    """Evidence by end (0: no record of it): bits as of ``bits``, with OPENED and SEEN."""
    ingress: int = 0
    egress_peer: Peer | None = None
    """Who the other end is to the client, and to the server, once a record of that end was seen."""
    ingress_peer: Peer | None = None
    syns: int = 0
    """SYNs seen; when the last one came, whether it was denied, how long after the one before, and the
    node that saw it first."""
    syn: int = 0
    syn_denied: bool = False
    gap: int = 0
    syn_node: str = ""
    handshake: int = 0
    """When a record first showed a handshake, when the last FIN or reset came, and when a SYN was
    let through after others had been denied; 0: none was."""
    ended: int = 0
    passed: int = 0
    answer: int = 0
    pace: int = SECOND
    """Nanoseconds between the latest attempts of these two ends; see flowwatch.flows.tries."""
    back: int = 0
    """Of tries.ALL, how many of them came on ports that had been used before."""
    rhythm: tries.Rhythm | None = None
    encrypted: bool = False
    """Whether an encrypted packet of it was seen, and what the policies that decided have as their log."""
    policy_log: tuple[str, ...] = ()
    standing: bool = False
    """Whether it is of aggregated lines, and stands for nobody knows how many."""
    unsure: bool = False
    """Whether nothing records if the packets it was made of are answers."""
    decided: int = 0
    """When a record made its outcome what it is, by the clock of ``node``."""
    version: int = 0
    """Another number whenever outcome, reason or answer changes."""
    egress_news: News | None = None
    """What the present batch told of it, by end."""
    ingress_news: News | None = None

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


def end(kind: Kind, attempt: OpenAttempt) -> int:
    """At which end of its attempt a record was made: EGRESS at the client, INGRESS at the server.

    A dropped answer's direction is that of the endpoint that dropped it.
    """
    way = kind.direction or attempt.direction
    if kind.is_reply and kind.dropped and kind.event_type in AT_THE_ENDPOINT:
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
    client, server = key[0], key[1]
    return "" if "/" in client else client, "" if "/" in server else server


def change(attempt: OpenAttempt) -> None:
    """Tell whoever counts it that outcome, reason or answer is another."""
    # 15 bits: whoever compares keeps it in an array.
    attempt.version = (attempt.version + 1) & 0x7FFF


def key_of(flow: Flow) -> Key:
    """The key of a record with ports."""
    kind = flow.kind
    client = flow.source_ip, flow.source_port
    server = flow.destination_ip, flow.destination_port
    if kind.reply:
        client, server = server, client
    return client[0], server[0], client[1], server[1], kind.protocol


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
