"""Pseudonyms in place of names and addresses: for screenshots, and for who may not see the real ones.

They are taken from a field before anything is made of it, and what has no place (a message, a header, the
bytes of a record) is left out. The same name is the same pseudonym for as long as this runs. Kept are words
of Cilium's and Hubble's own (``world``, ``POLICY_DENIED``, well-known label keys), ports, times, numbers of
identities and kinds of policies.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from secrets import token_bytes
from threading import Lock
from typing import TypeVar

from msgspec.structs import replace

from flowwatch.flows.coverage import Coverage, warnings
from flowwatch.flows.known import remember
from flowwatch.flows.model import (
    Batch,
    Endpoint,
    Ends,
    Extras,
    Flow,
    Gap,
    Kind,
    Layer7,
    LostEvents,
    NodeStatus,
    PolicyRef,
    Tunnel,
)
from flowwatch.flows.peers import Peer
from flowwatch.flows.source import NodeChange, SourceState
from flowwatch.gotext import is_address

HIDDEN = "its words are hidden"

MOST = 200_000
"""Names that are numbered; more are told apart by a hash."""

_KNOWN = 65_536
"""Kinds, pairs of ends and names whose pseudonyms are at hand."""

_NAMESPACE = "io.kubernetes.pod.namespace"
_LABEL_KEYS = frozenset(
    {
        "app", "k8s-app", "component", "tier", "env", "name", "role", "version",
        "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component",
        "app.kubernetes.io/part-of", "io.cilium.k8s.policy.cluster",
        "io.cilium.k8s.policy.serviceaccount", "io.kubernetes.pod.namespace",
        "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name",
    }
)  # fmt: skip
"""Keys that say nothing of whose cluster it is."""

_ENTITIES = frozenset(
    {
        "host", "world", "world-ipv4", "world-ipv6", "cluster", "health", "init", "ingress",
        "kube-apiserver", "none", "other", "remote-node", "unknown", "unmanaged",
    }
)  # fmt: skip
"""Cilium's own words for an end, and ours (Cilium 1.20, pkg/identity: reserved identities)."""

_MEMBERS = {"pod": "pod", "workload": "app"}
"""Kinds of peers that are ``namespace/name``, with what the name is of."""

T = TypeVar("T")


class Pseudonyms:
    """A pseudonym for each name, by what it is a name of."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}
        self._count = 0
        self._secret = token_bytes(16)
        self._lock = Lock()

    def of(self, sort: str, name: str) -> str:
        """``ns-1``, ``app-7``; nothing stays nothing."""
        return f"{sort}-{self._number(sort, name)}" if name else ""

    def _number(self, sort: str, name: str) -> str:
        known = self._numbers.setdefault(sort, {})
        found = known.get(name)
        if found is None:
            with self._lock:
                if self._count >= MOST:
                    return "x" + self._hash(name)[:10]
                if (found := known.get(name)) is None:
                    self._count += 1
                    found = known[name] = len(known) + 1
        return str(found)

    def _hash(self, name: str) -> str:
        return blake2b(name.encode("utf-8", "surrogatepass"), key=self._secret).hexdigest()

    def address(self, text: str) -> str:
        """Another address of the same family: of 240.0.0.0/4, or of 2001:db8::/32."""
        if not text:
            return ""
        try:
            version = ipaddress.ip_address(text).version
        except ValueError:
            return self.of("address", text)
        number = self._number(f"ipv{version}", text)
        at = int(number) if number.isdigit() else int(number[1:], 16)
        if version == 4:
            return str(ipaddress.IPv4Address((240 << 24) + (at & (1 << 28) - 1)))
        return str(ipaddress.IPv6Address((0x20010DB8 << 96) + at))

    def host(self, name: str) -> str:
        """A DNS name, an address, or one in brackets."""
        bare = name.strip("[]")
        if is_address(bare):
            return self.address(bare)
        return f"{self.of('name', name)}.example" if name else ""

    def service(self, name: str) -> str:
        """``namespace/name``."""
        namespace, slash, alone = name.rpartition("/")
        return f"{self.of('ns', namespace)}{slash}{self.of('svc', alone)}" if name else ""

    def label(self, text: str) -> str:
        """``k8s:app=weather``: the source and well-known keys stay."""
        source, colon, rest = text.partition(":")
        if source == "reserved":
            return text
        key, equals, value = (rest if colon else source).partition("=")
        before = f"{source}:" if colon else ""
        if source in ("cidr", "fqdn"):
            return before + self.of("label", rest)
        if key not in _LABEL_KEYS:
            key = self.of("key", key)
        sort = "ns" if key == _NAMESPACE else "label"
        return f"{before}{key}{equals}{self.of(sort, value)}"

    def url(self, text: str) -> str:
        """Its scheme alone is real."""
        scheme, between, rest = text.partition("://")
        if not between:
            return self.of("/path", text)
        host, slash, path = rest.partition("/")
        name, colon, port = host.rpartition(":")
        host = f"{self.host(name)}:{port}" if colon and port.isdigit() else self.host(host)
        return f"{scheme}://{host}{slash}{self.of('path', path)}"


class Hiding:
    """What is read, and what was made of it, with pseudonyms. Safe from any thread."""

    def __init__(self, names: Pseudonyms | None = None) -> None:
        self.names = names or Pseudonyms()
        self._peers: dict[str, str] = {}
        """Pseudonyms of peers, by their names."""
        self._kinds = _shared(self._kind)
        self._ends = _shared(self._pair)
        self.endpoint = lru_cache(_KNOWN)(self._one_end)
        """Of one end."""

    def state(self, state: SourceState) -> SourceState:
        """Without the server's name and what it said."""
        return replace(
            state,
            where=self.origin(state.where),
            message=HIDDEN if state.message else "",
            unavailable=tuple(map(self.node, state.unavailable)),
            changes=tuple(
                NodeChange(self.node(one.name), one.state, one.since, HIDDEN if one.why else "")
                for one in state.changes
            ),
            servers=tuple(map(self.state, state.servers)),
        )

    def batch(self, batch: Batch) -> Batch:
        """Without what has no place in a row."""
        return replace(
            batch,
            flows=[self.flow(flow) for flow in batch.flows],
            lost=[self._lost(one) for one in batch.lost],
            nodes=[self._status(one) for one in batch.nodes],
            unread=[],
            notes=[],
            gaps=[self._gap(one) for one in batch.gaps],
            set_aside=self._by_node(batch.set_aside),
            late=self._by_node(batch.late),
            origin=self.origin(batch.origin),
            failed=HIDDEN if batch.failed else "",
        )

    def flow(self, flow: Flow) -> Flow:
        address = self.names.address
        return Flow(
            self._kinds(flow.kind),
            self._ends(flow.ends),
            flow.time,
            address(flow.source_ip),
            address(flow.destination_ip),
            flow.source_port,
            flow.destination_port,
            flow.uuid,
            self._layer7(flow.l7) if flow.l7 is not None else None,
            self._extras(flow.extras) if flow.extras is not None else None,
        )

    def _kind(self, kind: Kind) -> Kind:
        return replace(
            kind,
            allowed_by=tuple(map(self.policy, kind.allowed_by)),
            denied_by=tuple(map(self.policy, kind.denied_by)),
            node=self.node(kind.node),
            as_reply=self._kinds(kind.as_reply) if kind.as_reply is not None else None,
        )

    def _pair(self, ends: Ends) -> Ends:
        return Ends(
            self.endpoint(ends.source),
            self.endpoint(ends.destination),
            tuple(map(self.names.host, ends.source_names)),
            tuple(map(self.names.host, ends.destination_names)),
            self.names.service(ends.source_service),
            self.names.service(ends.destination_service),
        )

    def _one_end(self, end: Endpoint) -> Endpoint:
        of = self.names.of
        # The workload is known of pods of the observing node alone: a pod's pseudonym has nothing of it.
        return replace(
            end,
            namespace=of("ns", end.namespace),
            pod=of("pod", end.pod),
            workload=of("app", end.workload),
            cluster=of("cluster", end.cluster),
            labels=tuple(map(self.names.label, end.labels)),
        )

    def policy(self, one: PolicyRef) -> PolicyRef:
        of = self.names.of
        return replace(one, namespace=of("ns", one.namespace), name=of("policy", one.name))

    def _layer7(self, seen: Layer7) -> Layer7:
        names = self.names
        return replace(
            seen,
            dns_query=names.host(seen.dns_query),
            dns_ips=tuple(map(names.address, seen.dns_ips)),
            dns_cnames=tuple(map(names.host, seen.dns_cnames)),
            http_url=names.url(seen.http_url) if seen.http_url else "",
            http_headers=(),
        )

    def _extras(self, extras: Extras) -> Extras:
        return replace(
            extras,
            policy_log=tuple(self.names.of("log", one) for one in extras.policy_log),
            tunnel=self._tunnel(extras.tunnel) if extras.tunnel is not None else None,
        )

    def _tunnel(self, tunnel: Tunnel) -> Tunnel:
        address = self.names.address
        return replace(
            tunnel,
            source_ip=address(tunnel.source_ip),
            destination_ip=address(tunnel.destination_ip),
        )

    def _lost(self, one: LostEvents) -> LostEvents:
        return replace(one, node=self.node(one.node))

    def _status(self, one: NodeStatus) -> NodeStatus:
        message = HIDDEN if one.message else ""
        return replace(one, nodes=tuple(map(self.node, one.nodes)), message=message)

    def _gap(self, gap: Gap) -> Gap:
        return replace(
            gap,
            why=HIDDEN,
            nodes=tuple(map(self.node, gap.nodes)),
            origin=self.origin(gap.origin),
        )

    def named_policy(self, text: str) -> str:
        """A policy as it is named: ``namespace/name (Kind)``."""
        owner, between, kind = text.partition(" (")
        namespace, _, name = owner.rpartition("/")
        return str(
            self.policy(PolicyRef(kind.removesuffix(")") if between else "", namespace, name))
        )

    def peer(self, peer: Peer) -> Peer:
        """The other end of a row."""
        kind, name = peer
        known = self._peers.get(name)
        if known is None:
            known = self._peer(kind, name)
            remember(self._peers, name, known)
        return Peer(kind, known)

    def _peer(self, kind: str, name: str) -> str:
        if kind in _MEMBERS:
            return self._member(name, _MEMBERS[kind])
        if kind in ("dns", "service"):
            return self.names.host(name) if kind == "dns" else self.names.service(name)
        return self.names.address(name) if kind == "address" else name

    def _member(self, name: str, sort: str) -> str:
        """``namespace/name``, with the cluster before it where that is another."""
        *cluster, namespace, own = name.rsplit("/", 2)
        of = self.names.of
        first = [of("cluster", one) for one in cluster]
        return "/".join([*first, of("ns", namespace), own if own == "?" else of(sort, own)])

    def subject(self, name: str) -> str:
        """What is counted and is no pod: an entity stays."""
        return self.names.address(name) if is_address(name) else name

    def told(self, name: str) -> str:
        """Either end as a person names it, where nothing says what it is."""
        if (known := self._peers.get(name)) is not None:
            return known
        if "/" in name:
            return self._member(name, "app")
        return name if name in _ENTITIES else self.names.host(name)

    def refused(self, text: str) -> str:
        """What a proxy refused: ``GET http://api/x``, ``DNS example.com``."""
        what, space, rest = text.partition(" ")
        return f"{what}{space}{self.names.host(rest) if what == 'DNS' else self.names.url(rest)}"

    def coverage(self, seen: Coverage) -> Coverage:
        """Without what a server said, and where in a source something stood."""
        hidden = replace(
            seen,
            unread_at={},
            notes=(),
            left_out={self._named(name): count for name, count in seen.left_out.items()},
            lost=tuple([replace(one, node=self._named(one.node)) for one in seen.lost]),
            servers_failed={self.origin(name): HIDDEN for name in seen.servers_failed},
            nodes=tuple(map(self._named, seen.nodes)),
            nodes_away=tuple(
                [replace(one, name=self._named(one.name), why=HIDDEN) for one in seen.nodes_away]
            ),
            gaps=tuple(map(self._gap, seen.gaps)),
            clock_skews=tuple(
                [
                    replace(one, node=self._named(one.node), of=one.of and self._named(one.of))
                    for one in seen.clock_skews
                ]
            ),
            servers_apart=tuple(
                [
                    replace(one, server=self.origin(one.server), of=self.origin(one.of))
                    for one in seen.servers_apart
                ]
            ),
        )
        return replace(hidden, warnings=tuple(warnings(hidden, time.time_ns())))

    def _named(self, name: str) -> str:
        """A node's name, with its server where there are several."""
        node, between, origin = name.removesuffix(")").partition(" (")
        return f"{self.node(node)} ({self.origin(origin)})" if between else self.node(name)

    def node(self, name: str) -> str:
        """``cluster/node``, as relay has it, or the node alone."""
        cluster, slash, node = name.rpartition("/")
        return f"{self.names.of('cluster', cluster)}{slash}{self.names.of('node', node)}"

    def origin(self, where: str) -> str:
        return self.names.of("server", where)

    def _by_node(self, counts: dict[str, int] | None) -> dict[str, int] | None:
        return {self.node(name): n for name, n in counts.items()} if counts is not None else None


def _shared(make: Callable[[T], T]) -> Callable[[T], T]:
    """``make``, once for each object, as records share them."""
    made: dict[int, tuple[T, T]] = {}

    def of(one: T) -> T:
        found = made.get(id(one))
        if found is None:
            if len(made) >= _KNOWN:
                made.clear()
            # With the object itself, whose number is another's once it is gone.
            found = made[id(one)] = one, make(one)
        return found[1]

    return of
