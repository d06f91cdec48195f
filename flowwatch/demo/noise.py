"""The other namespaces: what a cluster does while the weather app has its story.

One class of trouble each, so that nobody takes the weather app's for the only kind: L7 rules with a
403 and a refused DNS name, a service without backends, an endpoint in policy audit mode, a deny
rule, an ingress denial that only the far node sees; and the traffic that nothing is wrong with.
"""

from __future__ import annotations

from functools import partial

from flowwatch.demo import exchange
from flowwatch.demo.cluster import End, Outside, Pod, Reserved, uuid
from flowwatch.demo.exchange import MILLI, SYN_RETRIES
from flowwatch.demo.stage import Stage
from flowwatch.demo.traffic import (
    MATCH_ALL,
    MATCH_L3,
    MATCH_L3_L4,
    MATCH_NONE,
    POLICY_DENIED,
    POLICY_DENY,
    Connection,
    Proxied,
    socket,
)
from flowwatch.hubble.wire.pb.flow.flow_pb2 import AUDIT, EGRESS, FORWARDED, INGRESS, REDIRECTED

_RTT = 800_000

_PATHS = ("/api/v1/items", "/api/v1/items/42", "/api/v1/categories", "/api/v1/search?q=tea")


def begin(story: Stage) -> None:
    """Start them all."""
    cast = story.cluster
    for pod in cast.pods("shop/frontend"):
        story.every(5.0, partial(_browse, story, pod))
        story.every(45.0, partial(_meddle, story, pod))
        story.every(40.0, partial(_recommend, story, pod))
    story.every(15.0, partial(_pay, story))
    story.every(28.0, partial(_count_clicks, story))
    story.every(8.0, partial(_cache, story))
    story.every(35.0, partial(_load, story))
    story.every(16.0, partial(_preview, story))
    story.every(26.0, partial(_pull, story))
    story.every(50.0, partial(_mine, story))
    story.every(10.0, partial(_scrape, story))
    for address in ("gateway", "node"):
        _Pinger(story, address).begin()
    for dns in cast.pods("kube-system/coredns"):
        story.every(10.0, partial(_probe, story, dns))
        _Watcher(story, dns).begin()


def _browse(story: Stage, pod: Pod) -> None:
    """frontend → catalog: HTTP rules allow GET below /api."""
    _http(story, pod, "GET", story.rng.choice(_PATHS), True)


def _meddle(story: Stage, pod: Pod) -> None:
    """frontend → catalog: what no HTTP rule allows gets a 403 from the proxy."""
    _http(story, pod, "DELETE", "/admin/cache", False)


def _http(story: Stage, pod: Pod, method: str, path: str, passes: bool) -> None:
    service = story.cluster.services["shop/catalog"]
    server = service.backends[0]
    cookie = story.rng.getrandbits(20)
    flows = socket(pod, service, server, "TCP", cookie, 4000 + pod.endpoint)
    story.play(exchange.at_once(pod.node, flows))
    conn = Connection(pod, server, "TCP", pod.next_port(story.rng), service.port)
    verdict = conn.verdict(
        pod.node,
        EGRESS,
        REDIRECTED,
        match=MATCH_L3_L4,
        by=story.cluster.policies.named("shop/frontend-egress"),
    )
    url, request = f"http://{service.name}:{service.port}{path}", uuid(story.rng)
    if passes:
        latency = story.rng.randrange(2 * MILLI, 40 * MILLI)
        port = story.rng.randrange(32768, 60999)
        upstream = Connection(Proxied(pod), server, "TCP", port, service.port)
        steps = exchange.web(conn, upstream, method, url, request, latency)
    else:
        steps = exchange.web_denied(conn, method, url, request)
    story.play([(0, pod.node, verdict), *steps], 30_000)
    _count(story, conn, "forwarded" if passes else "dropped")


def _recommend(story: Stage, pod: Pod) -> None:
    """frontend → recommendations: a service with no backend that is ready; no policy's doing."""
    service = story.cluster.services["shop/recommendations"]
    port = pod.next_port(story.rng)
    conn = Connection(pod, service.frontend, "TCP", port, service.port, service=service)
    story.play(exchange.without_backend(conn, SYN_RETRIES[:2]))
    peer = f"{service.namespace}/{service.name}"
    story.truth.count(pod, peer, service.port, "TCP", "dropped")


def _pay(story: Stage) -> None:
    """checkout → the payment provider, by name: allowed."""
    pod = story.cluster.pod("shop/checkout")
    host = story.cluster.outside["api.payments.example"]
    conn = _dns(story, pod)
    story.play(exchange.lookup(conn, host.names[0], answer=[host.address], ttl=60), 10_000)
    _count(story, conn, "forwarded")
    _connect(story, pod, host, 443, "shop/checkout-egress", after=3 * MILLI, names=host.names)


def _count_clicks(story: Stage) -> None:
    """checkout's library → its vendor: a name that the DNS rules don't have is REFUSED."""
    conn = _dns(story, story.cluster.pod("shop/checkout"))
    story.play(exchange.lookup_refused(conn, "collector.clicks.example"), 10_000)
    _count(story, conn, "dropped")


def _dns(story: Stage, pod: Pod) -> Connection:
    """checkout's question to DNS, which its policy sends through the proxy."""
    server = story.cluster.dns_on(pod.node)
    conn = Connection(pod, server, "UDP", pod.next_port(story.rng), 53)
    by = story.cluster.policies.named("shop/checkout-egress")
    verdict = conn.verdict(pod.node, EGRESS, REDIRECTED, match=MATCH_L3_L4, by=by)
    story.play([(0, pod.node, verdict)])
    return conn


def _cache(story: Stage) -> None:
    """cart → redis, on the other node, where an ingress policy allows it."""
    pod, server = story.cluster.pod("shop/cart"), story.cluster.pod("data/redis")
    conn = Connection(pod, server, "TCP", pod.next_port(story.rng), 6379)
    by = story.cluster.policies.named("data/redis-ingress")
    verdict = conn.verdict(server.node, INGRESS, FORWARDED, match=MATCH_L3_L4, by=by)
    story.play([(185_000, server.node, verdict), *exchange.whole(conn, _RTT, 30 * MILLI)])
    _count(story, conn, "forwarded")


def _load(story: Stage) -> None:
    """loadgen → redis: nothing stops it here; the far node's ingress policy does."""
    pod, server = story.cluster.pod("shop/loadgen"), story.cluster.pod("data/redis")
    conn = Connection(pod, server, "TCP", pod.next_port(story.rng), 6379)
    story.play(exchange.denied_far_off(conn, POLICY_DENIED, SYN_RETRIES[:3]))
    _count(story, conn, "dropped")


def _preview(story: Stage) -> None:
    """preview runs in policy audit mode: what its policy would deny passes, and is told."""
    pod = story.cluster.pod("staging/preview")
    host = story.cluster.outside["flags.preview.example"]
    conn = Connection(pod, host, "TCP", pod.next_port(story.rng), 443)
    verdict = conn.verdict(pod.node, EGRESS, AUDIT, match=MATCH_NONE)
    story.play([(0, pod.node, verdict), *exchange.whole(conn, 25 * MILLI, 200 * MILLI)])
    _count(story, conn, "audited")


def _pull(story: Stage) -> None:
    """runner → a registry: a policy that only denies selects it, so the rest is allowed."""
    pod = story.cluster.pod("ci/runner")
    _connect(story, pod, story.cluster.outside["registry.build.example"], 443)


def _mine(story: Stage) -> None:
    """runner → an address that a cluster-wide deny rule lists."""
    pod, host = story.cluster.pod("ci/runner"), story.cluster.outside["known-bad"]
    conn = Connection(pod, host, "TCP", pod.next_port(story.rng), 8333)
    by = story.cluster.policies.named("deny-known-bad")
    story.play(exchange.denied(conn, POLICY_DENY, SYN_RETRIES[:4], match=MATCH_L3, by=by))
    _count(story, conn, "dropped")


def _scrape(story: Stage) -> None:
    """prometheus → what it watches: no policy selects either end, so there are only traces."""
    pod = story.cluster.pod("monitoring/prometheus")
    server = story.cluster.pod(story.rng.choice(("geo/geocoder", "shop/catalog", "data/redis")))
    conn = Connection(pod, server, "TCP", pod.next_port(story.rng), 9090)
    story.play(exchange.whole(conn, _RTT, 15 * MILLI))
    _count(story, conn, "forwarded")


def _probe(story: Stage, pod: Pod) -> None:
    """The kubelet → the DNS server's health page: from the host, so nobody's egress."""
    host = story.cluster.hosts[pod.node.index]
    port = story.rng.randrange(32768, 60999)
    conn = Connection(host, pod, "TCP", port, 8181)
    story.play(exchange.opened(conn, 450_000))


class _Pinger:
    """blackbox pings an address as long as the story lasts."""

    def __init__(self, story: Stage, target: str) -> None:
        self._story, self._pod = story, story.cluster.pod("monitoring/blackbox")
        self._known = False
        # The first node, which is the API server too.
        self._to: End = (
            story.cluster.api_server if target == "node" else story.cluster.outside[target]
        )

    def begin(self) -> None:
        self._story.every(9.0, self._ping)

    def _ping(self) -> None:
        conn = Connection(self._pod, self._to, "ICMPv4")
        if not self._known:
            # Without ports, all of its pings are one attempt: it is counted with the first.
            _count(self._story, conn, "forwarded")
            self._known = True
        self._story.play(exchange.ping(conn, self._story.rng.randrange(1, 6) * MILLI))


class _Watcher:
    """coredns keeps one connection to the API server."""

    def __init__(self, story: Stage, pod: Pod) -> None:
        self._story = story
        api_server = story.cluster.api_server
        self._conn = Connection(pod, api_server, "TCP", pod.next_port(story.rng), 6443)
        self._known = False

    def begin(self) -> None:
        self._story.every(20.0, self._watch)

    def _watch(self) -> None:
        if not self._known:
            _count(self._story, self._conn, "forwarded")
            self._known = True
        self._story.play(exchange.talked(self._conn, 0, _RTT))


def _connect(
    story: Stage,
    pod: Pod,
    host: Outside,
    port: int,
    policy: str = "",
    *,
    after: int = 0,
    names: tuple[str, ...] = (),
) -> None:
    """A connection to the outside that egress policy allows, by ``policy`` or by Cilium's own rule."""
    conn = Connection(pod, host, "TCP", pod.next_port(story.rng), port, names=names)
    policies = story.cluster.policies
    verdict = conn.verdict(
        pod.node,
        EGRESS,
        FORWARDED,
        match=MATCH_L3_L4 if policy else MATCH_ALL,
        by=policies.named(policy) if policy else policies.allow_any(),
    )
    life = story.rng.randrange(100, 900) * MILLI
    story.play([(0, pod.node, verdict), *exchange.whole(conn, 12 * MILLI, life)], after)
    story.truth.count(pod, names[0] if names else host.address, port, "TCP", "forwarded")


_ECHO = 8
"""The type of ICMPv4 that asks for an answer."""


def _count(story: Stage, conn: Connection, outcome: str) -> None:
    """Put an attempt of a pod into the truth, the peer named as a person would."""
    client, server = conn.client, conn.server
    assert isinstance(client, Pod)
    if isinstance(server, Pod):
        peer = f"{server.namespace}/{server.name}"
    elif isinstance(server, Reserved):
        peer = server.name
    else:
        peer = server.address
    port = _ECHO if conn.protocol == "ICMPv4" else conn.server_port
    story.truth.count(client, peer, port, conn.protocol, outcome)
