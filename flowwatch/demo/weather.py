"""The weather app: what it reaches before the policy, and what is left of that after.

Until the policy is applied, only ``dns-visibility`` selects the app: a policy that sends its DNS
through Cilium's proxy and switches off the default deny, so that everything passes by Cilium's own
rule ``allow-any-egress``. That is why names are known and verdicts recorded before the policy, too.
From then on ``weather-egress`` (policy.yaml) denies by default all but DNS and the weather API; or
whatever other policies the story was given say, by the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from flowwatch.demo import exchange
from flowwatch.demo.cluster import End, Outside, Pod, Service
from flowwatch.demo.enforcing import Ruling
from flowwatch.demo.exchange import DATA_RETRIES, MILLI, SECOND, SYN_RETRIES, Step
from flowwatch.demo.stage import Stage
from flowwatch.demo.traffic import (
    ACK,
    MATCH_ALL,
    MATCH_L3_L4,
    PSH,
    Connection,
    socket,
)
from flowwatch.hubble.wire.pb.flow.flow_pb2 import EGRESS, FORWARDED, REDIRECTED

ALLOWED = "api.openweathermap.org"

_DNS_POLICY = "weather/dns-visibility"
_ANY = Ruling(True, (), 0, MATCH_ALL)
"""Cilium's own rule, where no policy asks for a default deny."""


@dataclass(frozen=True)
class Place:
    """Somewhere outside that the app likes to go."""

    name: str
    """In the cluster's table of hosts outside."""
    port: int
    every: float
    """Seconds between two attempts of one pod, on average."""
    syns: int
    """How many SYNs leave before the app gives up."""
    rtt: int
    """Nanoseconds until an answer."""


PLACES = (
    Place(ALLOWED, 443, 6.0, 3, 21 * MILLI),
    Place("telemetry.skydata.example", 443, 14.0, 3, 34 * MILLI),
    Place("api.github.com", 443, 22.0, 4, 18 * MILLI),
    Place("www.google.com", 80, 30.0, 3, 9 * MILLI),
    Place("metadata", 80, 34.0, 2, 700_000),
)
"""What a pod reaches outside, the allowed one first."""

_GEOCODER_EVERY, _DATABASE_EVERY, _QUERY_EVERY = 18.0, 24.0, 7.0
_IN_CLUSTER_RTT = 900_000


def begin(story: Stage) -> None:
    """Start all pods of the app, and let the policy be applied when its time comes."""
    for pod in story.cluster.pods("weather/weather-app"):
        app = App(story, pod)
        for place in PLACES:
            story.every(place.every, partial(app.go, place))
        story.every(_GEOCODER_EVERY, app.geocode)
        story.after(story.rng.uniform(0.2, 2.0), app.open_database)
    story.after(story.policy_at / SECOND, lambda: _apply_policy(story))


def _apply_policy(story: Stage) -> None:
    story.cluster.policies.revision += 1
    # Their toFQDNs select the addresses of names: they are no longer just "world".
    for place in PLACES:
        for rule in story.enforcer.rules_for(story.cluster.outside[place.name].names):
            story.cluster.select(place.name, f"fqdn:{rule}")


class App:
    """One pod of the weather app."""

    def __init__(self, story: Stage, pod: Pod) -> None:
        self._story, self._pod = story, pod
        self._session: Connection | None = None
        self._cgroup = 4000 + pod.endpoint

    def go(self, place: Place) -> None:
        """Look the name up, if it has one, and connect."""
        if self._story.hushed:
            return
        host = self._story.cluster.outside[place.name]
        after = self._look_up(host) if host.names else 0
        conn = self._connection(host, place.port, host.names)
        peer = host.names[0] if host.names else host.address
        ruling = self._ruling(conn)
        life = self._story.rng.randrange(60, 900) * MILLI
        steps = exchange.whole(conn, place.rtt, life) if ruling.passes else []
        self._attempt(conn, peer, ruling, place.syns, steps, after)

    def geocode(self) -> None:
        """Ask the service of another team, in another namespace, for coordinates."""
        if self._story.hushed:
            return
        service = self._story.cluster.services["geo/geocoder"]
        backend = self._through(service)
        conn = self._connection(backend, service.port)
        ruling = self._ruling(conn)
        life = self._story.rng.randrange(5, 60) * MILLI
        steps = exchange.whole(conn, _IN_CLUSTER_RTT, life) if ruling.passes else []
        self._attempt(conn, _peer(backend), ruling, 3, steps)

    def open_database(self) -> None:
        """Connect to the database and keep the connection; try again when that fails."""
        service = self._story.cluster.services["data/postgres"]
        backend = self._through(service)
        conn = self._connection(backend, service.port)
        ruling = self._ruling(conn)
        steps = exchange.opened(conn, _IN_CLUSTER_RTT) if ruling.passes else []
        self._attempt(conn, _peer(backend), ruling, 3, steps)
        if ruling.passes:
            self._session = conn
            self._story.after(_QUERY_EVERY, self._query)
        else:
            self._again()

    def _query(self) -> None:
        conn = self._session
        assert conn is not None
        ruling = self._ruling(conn)
        if ruling.passes:
            self._story.play(exchange.talked(conn, 0, _IN_CLUSTER_RTT))
            self._story.after(self._story.rng.uniform(0.8, 1.2) * _QUERY_EVERY, self._query)
            return
        # Policy is asked for each packet, so the connection that worked until now is cut.
        self._story.play(
            exchange.denied(
                conn,
                ruling.reason,
                DATA_RETRIES,
                match=ruling.match,
                by=self._story.cluster.policies.named(*ruling.policies),
                flags=ACK | PSH,
            )
        )
        peer, port = _peer(conn.server), conn.server_port
        self._story.truth.count(self._pod, peer, port, "TCP", "forwarded", -1)
        self._story.truth.count(self._pod, peer, port, "TCP", "dropped")
        self._session = None
        self._again()

    def _again(self) -> None:
        self._story.after(self._story.rng.uniform(0.8, 1.2) * _DATABASE_EVERY, self.open_database)

    def _look_up(self, host: Outside) -> int:
        """Ask DNS for ``host``; returns when the answer is there, in nanoseconds from now."""
        story, pod = self._story, self._pod
        server = story.cluster.dns_on(pod.node)
        conn = Connection(pod, server, "UDP", pod.next_port(story.rng), 53)
        # dns-visibility allows it, whatever the others say.
        ruling = story.enforcer.ruling(pod, server, "UDP", 53)
        others = ruling.policies if story.enforced and ruling.passes else ()
        policies = (_DNS_POLICY, *others)
        verdict = conn.verdict(
            pod.node,
            EGRESS,
            REDIRECTED,
            match=MATCH_L3_L4,
            by=story.cluster.policies.named(*policies),
        )
        ttl = story.rng.randrange(10, 300)
        steps = exchange.lookup(conn, host.names[0], answer=[host.address], ttl=ttl)
        story.play([(0, pod.node, verdict), *steps])
        story.truth.count(pod, _peer(server), 53, "UDP", "forwarded")
        return 2 * MILLI

    def _through(self, service: Service) -> Pod:
        """Connect to a service: its address is translated at the socket."""
        story, pod = self._story, self._pod
        backend = story.rng.choice(service.backends)
        cookie = story.rng.getrandbits(20)
        flows = socket(pod, service, backend, "TCP", cookie, self._cgroup)
        story.play(exchange.at_once(pod.node, flows))
        return backend

    def _connection(
        self, server: Outside | Pod, port: int, names: tuple[str, ...] = ()
    ) -> Connection:
        return Connection(
            self._pod, server, "TCP", self._pod.next_port(self._story.rng), port, names=names
        )

    def _ruling(self, conn: Connection) -> Ruling:
        """What the policies say of a connection by now."""
        if not self._story.enforced:
            return _ANY
        ruling = self._story.enforcer.ruling(
            self._pod, conn.server, conn.protocol, conn.server_port
        )
        return ruling if ruling.policies or not ruling.passes else _ANY

    def _attempt(
        self,
        conn: Connection,
        peer: str,
        ruling: Ruling,
        syns: int,
        steps: list[Step],
        after: int = 20_000,
    ) -> None:
        """What policy says to a new connection, then ``steps`` if it passes."""
        story, pod = self._story, self._pod
        policies = story.cluster.policies
        outcome = "forwarded" if ruling.passes else "dropped"
        story.truth.count(pod, peer, conn.server_port, "TCP", outcome)
        by = policies.named(*ruling.policies)
        if not ruling.passes:
            retries = SYN_RETRIES[:syns]
            denied = exchange.denied(conn, ruling.reason, retries, match=ruling.match, by=by)
            story.play(denied, after)
            return
        verdict = conn.verdict(
            pod.node,
            EGRESS,
            FORWARDED,
            match=ruling.match,
            by=by or policies.allow_any(),
        )
        story.play([(0, pod.node, verdict), *steps], after)


def _peer(pod: End) -> str:
    assert isinstance(pod, Pod)
    return f"{pod.namespace}/{pod.name}"
