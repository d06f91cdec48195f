"""A source whose names and addresses are others: for screenshots, and for who may not see the real ones.

Everything to the right of it sees pseudonyms alone, so that no screen, file or picture can hold a
real name: they are taken from a field before anything is made of it, and what has no place (a message, a
header, the bytes of a record) is left out. The same name is the same pseudonym for as long as this
runs. Kept are Cilium's and Hubble's own words (``world``, ``POLICY_DENIED``, well-known label keys),
ports, times, numbers of identities and kinds of policies.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import blake2b
from secrets import token_bytes
from typing import TypeVar

from msgspec.structs import replace

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
from flowwatch.flows.source import NodeChange, Source, SourceState, try_again

HIDDEN = "its words are hidden (--private)"

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

T = TypeVar("T")


class Pseudonyms:
    """A pseudonym for each name, by what it is a name of."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}
        self._count = 0
        self._secret = token_bytes(16)

    def of(self, sort: str, name: str) -> str:
        """``ns-1``, ``app-7``; nothing stays nothing."""
        return f"{sort}-{self._number(sort, name)}" if name else ""

    def _number(self, sort: str, name: str) -> str:
        known = self._numbers.setdefault(sort, {})
        found = known.get(name)
        if found is None:
            if self._count >= MOST:
                return "x" + self._hash(name)[:10]
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
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            return f"{self.of('name', name)}.example" if name else ""
        return self.address(bare)

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


class PrivateSource:
    """Reads ``source``, and hands on pseudonyms."""

    def __init__(self, source: Source) -> None:
        self.within = source
        self._names = Pseudonyms()
        self._kinds = _shared(self._kind)
        self._ends = _shared(self._pair)
        self._endpoint = lru_cache(_KNOWN)(self._one_end)

    def batches(self) -> Iterator[Batch]:
        for batch in self.within.batches():
            yield self._batch(batch)

    def close(self) -> None:
        self.within.close()

    def retry(self) -> None:
        """Have it try now, if it waits."""
        try_again(self.within)

    def state(self) -> SourceState:
        """Without the server's name and what it said."""
        return self._state(self.within.state())

    def _state(self, state: SourceState) -> SourceState:
        return replace(
            state,
            where=self._origin(state.where),
            message=HIDDEN if state.message else "",
            unavailable=tuple(map(self._node, state.unavailable)),
            changes=tuple(
                NodeChange(self._node(one.name), one.state, one.since, HIDDEN if one.why else "")
                for one in state.changes
            ),
            servers=tuple(map(self._state, state.servers)),
        )

    def _batch(self, batch: Batch) -> Batch:
        return replace(
            batch,
            flows=[self._flow(flow) for flow in batch.flows],
            lost=[self._lost(one) for one in batch.lost],
            nodes=[self._status(one) for one in batch.nodes],
            unread=[],
            notes=[],
            gaps=[self._gap(one) for one in batch.gaps],
            set_aside=self._by_node(batch.set_aside),
            late=self._by_node(batch.late),
            origin=self._origin(batch.origin),
            failed=HIDDEN if batch.failed else "",
        )

    def _flow(self, flow: Flow) -> Flow:
        address = self._names.address
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
            allowed_by=tuple(map(self._policy, kind.allowed_by)),
            denied_by=tuple(map(self._policy, kind.denied_by)),
            node=self._node(kind.node),
            as_reply=self._kinds(kind.as_reply) if kind.as_reply is not None else None,
        )

    def _pair(self, ends: Ends) -> Ends:
        return Ends(
            self._endpoint(ends.source),
            self._endpoint(ends.destination),
            tuple(map(self._names.host, ends.source_names)),
            tuple(map(self._names.host, ends.destination_names)),
            self._names.service(ends.source_service),
            self._names.service(ends.destination_service),
        )

    def _one_end(self, end: Endpoint) -> Endpoint:
        of = self._names.of
        # The workload is known of pods of the observing node alone: a pod's pseudonym has nothing of it.
        return replace(
            end,
            namespace=of("ns", end.namespace),
            pod=of("pod", end.pod),
            workload=of("app", end.workload),
            cluster=of("cluster", end.cluster),
            labels=tuple(map(self._names.label, end.labels)),
        )

    def _policy(self, one: PolicyRef) -> PolicyRef:
        of = self._names.of
        return replace(one, namespace=of("ns", one.namespace), name=of("policy", one.name))

    def _layer7(self, seen: Layer7) -> Layer7:
        names = self._names
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
            policy_log=tuple(self._names.of("log", one) for one in extras.policy_log),
            tunnel=self._tunnel(extras.tunnel) if extras.tunnel is not None else None,
        )

    def _tunnel(self, tunnel: Tunnel) -> Tunnel:
        address = self._names.address
        return replace(
            tunnel,
            source_ip=address(tunnel.source_ip),
            destination_ip=address(tunnel.destination_ip),
        )

    def _lost(self, one: LostEvents) -> LostEvents:
        return replace(one, node=self._node(one.node))

    def _status(self, one: NodeStatus) -> NodeStatus:
        message = HIDDEN if one.message else ""
        return replace(one, nodes=tuple(map(self._node, one.nodes)), message=message)

    def _gap(self, gap: Gap) -> Gap:
        return replace(
            gap,
            why=HIDDEN,
            nodes=tuple(map(self._node, gap.nodes)),
            origin=self._origin(gap.origin),
        )

    def _node(self, name: str) -> str:
        """``cluster/node``, as relay has it, or the node alone."""
        cluster, slash, node = name.rpartition("/")
        return f"{self._names.of('cluster', cluster)}{slash}{self._names.of('node', node)}"

    def _origin(self, where: str) -> str:
        return self._names.of("server", where)

    def _by_node(self, counts: dict[str, int] | None) -> dict[str, int] | None:
        return {self._node(name): n for name, n in counts.items()} if counts is not None else None


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
