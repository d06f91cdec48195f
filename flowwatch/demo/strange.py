"""What counting stumbles over: one pod that meets each of it now and then, in a namespace of its own.

A first SYN that is denied while the pod's identity is young, and a retry that gets through; a connection
that is refused, a datagram to a port that is closed, an answer that the pod's own ingress drops; source
ports that come back; pings of two types; and a policy that is replaced under its own name, so that the
datagrams of one socket are let through until then and denied from then on.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from flowwatch.demo import exchange
from flowwatch.demo.cluster import End, Pod
from flowwatch.demo.exchange import MILLI, SECOND, Step
from flowwatch.demo.stage import Stage
from flowwatch.demo.traffic import MATCH_L3_L4, MATCH_NONE, POLICY_DENIED, Connection
from flowwatch.hubble.wire.pb.flow.flow_pb2 import EGRESS, FORWARDED, INGRESS

_POLICY, _REDIS_POLICY = "batch/importer-egress", "data/redis-ingress"
_RTT = 3 * MILLI
_ECHO, _TIMESTAMP = 8, 13
"""Types of ICMPv4 that ask for an answer (RFC 792)."""


def begin(story: Stage) -> None:
    """Start the pod. Its dice are its own: what the others do is the same without it."""
    importer = _Importer(story, random.Random(f"importer of {story.seed}"))
    importer.every(40.0, importer.start_late)
    importer.every(33.0, importer.be_refused)
    importer.every(27.0, importer.log)
    importer.every(45.0, importer.hear_nothing)
    importer.every(60.0, importer.come_back)
    importer.every(8.0, importer.count)
    for kind in (_ECHO, _TIMESTAMP):
        importer.ping_by(kind)


class _Importer:
    """The pod ``batch/importer-0``."""

    def __init__(self, story: Stage, rng: random.Random) -> None:
        self._story, self._rng = story, rng
        self._pod = story.cluster.pod("batch/importer")
        self._socket = self._pod.next_port(rng)
        self._let_through: bool | None = None

    def every(self, seconds: float, deed: Callable[[], None]) -> None:
        """Let ``deed`` happen again and again, about every ``seconds``."""

        def again() -> None:
            self._story.after(seconds * self._rng.uniform(0.8, 1.2), again)
            deed()

        self._story.after(seconds * self._rng.random(), again)

    def start_late(self) -> None:
        """→ redis on the other node, which doesn't know who asks until a second later."""
        redis = self._story.cluster.pod("data/redis")
        conn = self._connection(redis, 6379)
        by = self._story.cluster.policies.named(_REDIS_POLICY)
        verdict = conn.verdict(redis.node, INGRESS, FORWARDED, match=MATCH_L3_L4, by=by)
        steps = [(185_000, redis.node, verdict), *exchange.whole(conn, _RTT, 30 * MILLI)]
        self._story.play(exchange.denied_far_off(conn, POLICY_DENIED, (0,)))
        self._story.play(steps, SECOND + 20 * MILLI)
        self._count(conn, "forwarded", "late")

    def be_refused(self) -> None:
        """→ a port that nobody listens on: let through, and reset."""
        conn = self._connection(self._story.cluster.outside["ledger"], 9000)
        self._allowed(conn, exchange.refused(conn, _RTT))
        self._count(conn, "forwarded", "refused")

    def log(self) -> None:
        """→ a datagram to a closed port: an ICMP error comes back."""
        conn = self._connection(self._story.cluster.outside["syslog"], 514, "UDP")
        self._allowed(conn, exchange.unreachable(conn, _RTT))
        self._count(conn, "forwarded", "unreachable")

    def hear_nothing(self) -> None:
        """→ a request that passes, and answers that the pod's own ingress drops."""
        conn = self._connection(self._story.cluster.outside["collector"], 4317)
        self._allowed(conn, exchange.answers_dropped(conn, POLICY_DENIED, _RTT))
        self._count(conn, "dropped", "answers_dropped")

    def come_back(self) -> None:
        """→ two connections from one source port, 20 s apart."""
        conn = self._connection(self._story.cluster.outside["mirror"], 873)

        def connect() -> None:
            self._allowed(conn, exchange.whole(conn, _RTT, 50 * MILLI))
            self._count(conn, "forwarded")

        connect()
        self._story.after(20.0, connect)

    def count(self) -> None:
        """→ datagrams from one socket, allowed until the policy is replaced."""
        conn = Connection(
            self._pod, self._story.cluster.outside["statsd"], "UDP", self._socket, 8125
        )
        passes = not self._story.enforced
        if passes != self._let_through:
            # Nothing divides those of one verdict: all of them are one attempt.
            self._let_through = passes
            self._count(conn, "forwarded" if passes else "dropped")
        if passes:
            self._allowed(conn, exchange.leg(conn, 12_000, "new", 0))
        else:
            self._story.play(exchange.denied(conn, POLICY_DENIED, (0,), match=MATCH_NONE, flags=0))

    def ping_by(self, kind: int) -> None:
        """→ the gateway, again and again: of each type one attempt."""
        gateway = self._story.cluster.outside["gateway"]
        counted: list[int] = []

        def ping() -> None:
            conn = Connection(self._pod, gateway, "ICMPv4", kind=kind)
            if not counted:
                counted.append(kind)
                self._count(conn, "forwarded")
            self._story.play(exchange.ping(conn, _RTT))

        self.every(15.0, ping)

    def _connection(self, server: End, port: int, protocol: str = "TCP") -> Connection:
        return Connection(self._pod, server, protocol, self._pod.next_port(self._rng), port)

    def _allowed(self, conn: Connection, steps: list[Step]) -> None:
        """What the pod's egress policy lets through."""
        by = self._story.cluster.policies.named(_POLICY)
        verdict = conn.verdict(self._pod.node, EGRESS, FORWARDED, match=MATCH_L3_L4, by=by)
        self._story.play([(0, self._pod.node, verdict), *steps])

    def _count(self, conn: Connection, outcome: str, remark: str = "") -> None:
        server = conn.server
        peer = f"{server.namespace}/{server.name}" if isinstance(server, Pod) else server.address
        port = conn.kind if conn.protocol == "ICMPv4" else conn.server_port
        self._story.truth.count(self._pod, peer, port, conn.protocol, outcome, remark=remark)
