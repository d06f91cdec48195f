"""What passes between two ends, as the records it leaves and when: the grammar of the demo.

Each function gives steps: nanoseconds after the beginning, the node that sees it, the record. The
shapes are those of Cilium's default aggregation: a trace for the first packet and for each new TCP
flag, at the last point on each node, both ways; and a pair of records for each denied packet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flowwatch.demo.cluster import Node
from flowwatch.demo.traffic import ACK, FIN, NO_BACKEND, PSH, RST, SYN, Connection
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.flow.flow_pb2 import (
    DROPPED,
    EGRESS,
    INGRESS,
    TO_ENDPOINT,
    TO_OVERLAY,
    TO_PROXY,
    TO_STACK,
    Flow,
)

Step = tuple[int, Node, Flow]

MICRO, MILLI, SECOND = 1_000, 1_000_000, 1_000_000_000

SYN_RETRIES = (0, 1 * SECOND, 3 * SECOND, 7 * SECOND)
"""When Linux sends a SYN that nobody answers: an application that waits 2 s sends the first two."""

DATA_RETRIES = tuple(200 * MILLI * (2**n - 1) for n in range(6))
"""The same for data on a connection that worked until now."""

_HOP = 180 * MICRO
"""From one node to the other."""


def leg(conn: Connection, at: int, reason: str, flags: int) -> list[Step]:
    """One packet on its way, seen on each node that it crosses."""
    near, far = conn.client.node, conn.server.node
    if reason == "reply":
        if far is None and near is not None:
            return [(at, near, conn.trace(near, EGRESS, TO_ENDPOINT, reason, flags))]
        if near is None and far is not None:
            way = TO_STACK if conn.client.home is far else TO_OVERLAY
            return [(at, far, conn.trace(far, INGRESS, way, reason, flags))]
        assert near is not None
        assert far is not None
        last = (at, near, conn.trace(near, EGRESS, TO_ENDPOINT, reason, flags))
        if near is far:
            return [last]
        first = (at - _HOP, far, conn.trace(far, INGRESS, TO_OVERLAY, reason, flags))
        return [first, last]
    if far is None and near is not None:
        return [(at, near, conn.trace(near, EGRESS, TO_STACK, reason, flags))]
    assert far is not None
    if near is None or near is far:
        return [(at, far, conn.trace(far, INGRESS, TO_ENDPOINT, reason, flags))]
    return [
        (at, near, conn.trace(near, EGRESS, TO_OVERLAY, reason, flags)),
        (at + _HOP, far, conn.trace(far, INGRESS, TO_ENDPOINT, reason, flags)),
    ]


def opened(conn: Connection, rtt: int) -> list[Step]:
    """A TCP handshake; ``rtt`` is the time until the answer, above 0.4 ms."""
    return leg(conn, 12 * MICRO, "new", SYN) + leg(conn, rtt, "reply", SYN | ACK)


def talked(conn: Connection, at: int, rtt: int) -> list[Step]:
    """A question and its answer on an open connection."""
    question = leg(conn, at, "established", ACK | PSH)
    return question + leg(conn, at + rtt, "reply", ACK | PSH)


def closed(conn: Connection, at: int, rtt: int) -> list[Step]:
    """The end of a connection, from both sides."""
    return leg(conn, at, "established", ACK | FIN) + leg(conn, at + rtt, "reply", ACK | FIN)


def whole(conn: Connection, rtt: int, life: int) -> list[Step]:
    """A short connection that works: opened, one question, closed after ``life``."""
    talk = rtt + 90 * MICRO
    return opened(conn, rtt) + talked(conn, talk, rtt) + closed(conn, talk + rtt + life, rtt)


def denied(
    conn: Connection,
    reason: int,
    when: Iterable[int],
    *,
    match: int,
    by: Sequence[flow_pb2.Policy] = (),
    flags: int = SYN,
) -> list[Step]:
    """A packet that egress policy denies, again and again: verdict and drop each time."""
    node = conn.client.node
    assert node is not None
    steps: list[Step] = []
    for at in when:
        verdict = conn.verdict(
            node, EGRESS, DROPPED, match=match, reason=reason, by=by, flags=flags
        )
        steps.append((at, node, verdict))
        steps.append((at + 4 * MICRO + at % 5000, node, conn.drop(node, EGRESS, reason, flags)))
    return steps


def denied_far_off(conn: Connection, reason: int, when: Iterable[int]) -> list[Step]:
    """The same by ingress policy on the server's node; the client's node forwards it."""
    far = conn.server.node
    assert far is not None
    steps: list[Step] = []
    for at in when:
        steps.append(leg(conn, at, "new", SYN)[0])
        verdict = conn.verdict(far, INGRESS, DROPPED, match=0, reason=reason)
        steps.append((at + _HOP, far, verdict))
        steps.append((at + _HOP + 6 * MICRO, far, conn.drop(far, INGRESS, reason)))
    return steps


def refused(conn: Connection, rtt: int) -> list[Step]:
    """A SYN, and the reset of a port that nobody listens on."""
    return leg(conn, 12 * MICRO, "new", SYN) + leg(conn, rtt, "reply", RST | ACK)


def unreachable(conn: Connection, rtt: int) -> list[Step]:
    """A datagram, and the ICMP error about it."""
    node = conn.client.node
    assert node is not None
    return [*leg(conn, 12 * MICRO, "new", 0), (rtt, node, conn.error(node))]


def answers_dropped(conn: Connection, reason: int, rtt: int) -> list[Step]:
    """A SYN, and its answer, sent three times, which the client's ingress policy drops."""
    node = conn.client.node
    assert node is not None
    steps = leg(conn, 12 * MICRO, "new", SYN)
    for at in SYN_RETRIES[:3]:
        verdict, drop = conn.answer_denied(node, reason, SYN | ACK)
        steps += [(at + rtt, node, verdict), (at + rtt + 4 * MICRO, node, drop)]
    return steps


def without_backend(conn: Connection, when: Iterable[int]) -> list[Step]:
    """Packets to a service that has no backend: dropped before any policy is asked."""
    node = conn.client.node
    assert node is not None
    return [(at, node, conn.drop(node, EGRESS, NO_BACKEND)) for at in when]


def to_proxy(conn: Connection, flags: int = 0) -> list[Step]:
    """The first packet, handed to the L7 proxy."""
    node = conn.client.node
    assert node is not None
    return [(14 * MICRO, node, conn.trace(node, EGRESS, TO_PROXY, "new", flags))]


def lookup(
    conn: Connection, name: str, *, answer: Sequence[str], rcode: int = 0, ttl: int = 30
) -> list[Step]:
    """A DNS question through the proxy, answered; the server's side of it too."""
    node = conn.client.node
    assert node is not None
    took = 900 * MICRO
    upstream = leg(conn, 420 * MICRO, "new", 0)[-1]
    reply = conn.dns(name, answer=answer, rcode=rcode, ttl=ttl)
    return [
        *to_proxy(conn),
        (260 * MICRO, node, conn.dns(name)),
        upstream,
        (260 * MICRO + took, node, reply),
        (300 * MICRO + took, node, conn.trace(node, EGRESS, TO_ENDPOINT, "reply")),
    ]


def lookup_refused(conn: Connection, name: str) -> list[Step]:
    """A DNS question that the rules for names refuse: the proxy answers REFUSED itself."""
    node = conn.client.node
    assert node is not None
    return [
        *to_proxy(conn),
        (250 * MICRO, node, conn.dns(name, verdict=DROPPED)),
        (310 * MICRO, node, conn.trace(node, EGRESS, TO_ENDPOINT, "reply")),
    ]


def web(
    conn: Connection, upstream: Connection, method: str, url: str, request_id: str, latency: int
) -> list[Step]:
    """An HTTP request through the proxy, which asks the server on a connection of its own."""
    node = conn.client.node
    assert node is not None
    ask = 900 * MICRO
    answer = conn.http(method, url, request_id, code=200, latency=latency)
    return [
        *to_proxy(conn, SYN),
        (80 * MICRO, node, conn.trace(node, EGRESS, TO_ENDPOINT, "reply", SYN | ACK)),
        (ask, node, conn.http(method, url, request_id)),
        *((ask + at, seen_by, flow) for at, seen_by, flow in opened(upstream, 600 * MICRO)),
        (ask + latency, node, answer),
    ]


def web_denied(conn: Connection, method: str, url: str, request_id: str) -> list[Step]:
    """An HTTP request that no rule allows: the proxy answers 403 itself."""
    node = conn.client.node
    assert node is not None
    return [
        *to_proxy(conn, SYN),
        (80 * MICRO, node, conn.trace(node, EGRESS, TO_ENDPOINT, "reply", SYN | ACK)),
        (900 * MICRO, node, conn.http(method, url, request_id, verdict=DROPPED)),
    ]


def ping(conn: Connection, rtt: int) -> list[Step]:
    """An ICMP echo and its reply."""
    return leg(conn, 0, "new", 0) + leg(conn, rtt, "reply", 0)


def at_once(node: Node, flows: Iterable[Flow], gap: int = 5 * MICRO) -> list[Step]:
    """Records of one node, one after the other."""
    return [(i * gap, node, flow) for i, flow in enumerate(flows)]
