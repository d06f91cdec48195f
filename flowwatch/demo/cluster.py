"""Who is in the demo's cluster: nodes, pods, services, hosts outside, and the policies' names.

Everything that a seed may choose (name suffixes, addresses, identities, endpoint numbers) is chosen
here once. An :class:`End` knows what a node's Hubble would write about it: the observing node alone
gives a pod's endpoint number and workload, and numbers of identities outside differ per node
(Cilium 1.20, pkg/hubble/parser/common/endpoint.go, pkg/identity/numericidentity.go).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from flowwatch.hubble.wire import names
from flowwatch.hubble.wire.pb.flow import flow_pb2

CLUSTER = "demo"

# Identities of scope 1 (addresses and names outside) start above this (2^24).
_SCOPE_ONE = 16777216

RESERVED = {name: number for number, name in names.RESERVED.items()}
"""Identities by the name of an entity."""

# Letters that Kubernetes makes name suffixes of.
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, eq=False)
class Node:
    """One node, and so one Hubble observer."""

    index: int
    name: str
    """As records give it: ``cluster/node``."""
    address: str
    router: str
    """Of ``cilium_host``: what the proxy's own connections come from."""
    labels: tuple[str, ...]


class End:
    """One end of a connection."""

    address: str
    mac = ""
    """Of the interface inside the pod; empty for what isn't a pod."""
    host_mac = ""
    """Of the node's end of the pod's interface pair."""
    node: Node | None = None
    """The node whose Hubble sees it as local."""
    home: Node | None = None
    """The node that its packets come from; None for the outside."""

    def seen_by(self, node: Node) -> flow_pb2.Endpoint:
        """What ``node``'s Hubble writes about this end at this moment. Not to be changed."""
        raise NotImplementedError

    def answered_by(self, node: Node) -> flow_pb2.Endpoint:
        """The same where it is the destination of a reply."""
        return self.seen_by(node)


class Reserved(End):
    """Something with a reserved identity: the host, a node, the API server."""

    def __init__(self, address: str, identity: str, *more: str, home: Node | None = None) -> None:
        """``more`` are further reserved labels, as a node that is the API server has."""
        self.address, self.name, self.home = address, identity, home
        labels = sorted(f"reserved:{name}" for name in (identity, *more))
        self._endpoint = flow_pb2.Endpoint(identity=RESERVED[identity], labels=labels)

    def seen_by(self, node: Node) -> flow_pb2.Endpoint:
        return self._endpoint


class Outside(End):
    """A host outside of the cluster.

    It is plain ``world`` until a policy selects it, by name or by address: then it has an identity
    of its own on each node.
    """

    def __init__(self, address: str, *names: str) -> None:
        self.address = address
        self.names = names
        self._world = flow_pb2.Endpoint(identity=RESERVED["world"], labels=["reserved:world"])
        self._own: dict[Node, flow_pb2.Endpoint] = {}

    def select(self, label: str, numbers: Mapping[Node, int]) -> None:
        """From now on a policy's selector makes it ``label`` (``fqdn:…``, ``cidr:…``)."""
        for node, number in numbers.items():
            self._own[node] = flow_pb2.Endpoint(
                identity=_SCOPE_ONE + number, labels=sorted([label, "reserved:world"])
            )

    def seen_by(self, node: Node) -> flow_pb2.Endpoint:
        return self._own.get(node, self._world)


class Pod(End):
    """A pod, with what Kubernetes and Cilium know of it."""

    def __init__(
        self,
        namespace: str,
        name: str,
        workload: str,
        kind: str,
        node: Node,
        *,
        address: str,
        identity: int,
        endpoint: int,
        labels: Iterable[str],
        macs: tuple[str, str],
        interface: flow_pb2.NetworkInterface,
    ) -> None:
        self.namespace, self.name, self.workload = namespace, name, workload
        self.node: Node = node
        self.home = node
        self.address = address
        self.endpoint = endpoint
        self.mac, self.host_mac = macs
        self.interface = interface
        self._next_port = 0
        self._remote = flow_pb2.Endpoint(
            identity=identity,
            cluster_name=CLUSTER,
            namespace=namespace,
            labels=sorted(labels),
            pod_name=name,
        )
        self._local = flow_pb2.Endpoint(
            ID=endpoint, workloads=[flow_pb2.Workload(name=workload, kind=kind)]
        )
        self._local.MergeFrom(self._remote)

    def seen_by(self, node: Node) -> flow_pb2.Endpoint:
        return self._local if node is self.node else self._remote

    def proxied(self) -> flow_pb2.Endpoint:
        """This pod as seen where the proxy speaks for it: its identity, from the node's address."""
        seen = flow_pb2.Endpoint()
        seen.CopyFrom(self._remote)
        seen.ClearField("namespace")
        seen.ClearField("pod_name")
        return seen

    def next_port(self, rng: random.Random) -> int:
        """A client port that this pod hasn't used for the last 28,000 connections."""
        # Linux's range of ports for clients; it moves on by a few at a time.
        if not self._next_port:
            self._next_port = rng.randrange(32768, 60999)
        self._next_port += 1
        if self._next_port > 60999:
            self._next_port = 32768
        return self._next_port


@dataclass(frozen=True)
class Service:
    """A ClusterIP service, and the pods behind it."""

    namespace: str
    name: str
    frontend: Outside
    port: int
    backends: tuple[Pod, ...]

    def message(self) -> flow_pb2.Service:
        return flow_pb2.Service(namespace=self.namespace, name=self.name)


@dataclass
class Policies:
    """The policies that records name. ``revision`` is the agents', and grows with each change."""

    uids: Mapping[str, str]
    revision: int = 11

    def named(self, *references: str) -> list[flow_pb2.Policy]:
        """The policies ``namespace/name``, or ``name`` for a cluster-wide one."""
        return [self._one(reference) for reference in references]

    def allow_any(self) -> list[flow_pb2.Policy]:
        """Cilium's own rule where policies select a pod without a default deny."""
        label = "reserved:io.cilium.policy.derived-from=allow-any-egress"
        return [flow_pb2.Policy(labels=[label], revision=self.revision)]

    def _one(self, reference: str) -> flow_pb2.Policy:
        namespace, _, name = reference.rpartition("/")
        kind = "CiliumNetworkPolicy" if namespace else "CiliumClusterwideNetworkPolicy"
        prefix = "k8s:io.cilium.k8s.policy"
        labels = [f"{prefix}.derived-from={kind}", f"{prefix}.name={name}"]
        if namespace:
            labels.append(f"{prefix}.namespace={namespace}")
        # Of a policy that isn't the story's own nobody has chosen one.
        uid = self.uids.get(reference) or uuid(random.Random(reference))
        labels.append(f"{prefix}.uid={uid}")
        return flow_pb2.Policy(
            name=name, namespace=namespace, kind=kind, labels=labels, revision=self.revision
        )


# namespace, workload, kind, node of each replica, labels
_WORKLOADS: tuple[tuple[str, str, str, tuple[int, ...], dict[str, str]], ...] = (
    ("weather", "weather-app", "Deployment", (0, 0, 1), {"app": "weather-app"}),
    ("geo", "geocoder", "Deployment", (0,), {"app": "geocoder"}),
    ("data", "postgres", "StatefulSet", (1,), {"app": "postgres"}),
    ("data", "redis", "StatefulSet", (1,), {"app": "redis"}),
    ("shop", "frontend", "Deployment", (0, 1), {"app": "frontend", "tier": "web"}),
    ("shop", "catalog", "Deployment", (1,), {"app": "catalog"}),
    ("shop", "cart", "Deployment", (0,), {"app": "cart"}),
    ("shop", "checkout", "Deployment", (1,), {"app": "checkout"}),
    ("shop", "loadgen", "Deployment", (0,), {"app": "loadgen"}),
    ("staging", "preview", "Deployment", (0,), {"app": "preview"}),
    ("ci", "runner", "StatefulSet", (1,), {"app": "runner"}),
    ("monitoring", "prometheus", "StatefulSet", (0,), {"app": "prometheus"}),
    ("monitoring", "blackbox", "Deployment", (1,), {"app": "blackbox"}),
    ("kube-system", "coredns", "Deployment", (0, 1), {"k8s-app": "kube-dns"}),
)

# namespace, name, port, workload behind it ("" for none that is ready)
_SERVICES = (
    ("geo", "geocoder", 8080, "geocoder"),
    ("data", "postgres", 5432, "postgres"),
    ("shop", "catalog", 8080, "catalog"),
    ("shop", "recommendations", 8080, ""),
    ("kube-system", "kube-dns", 53, "coredns"),
)

# Addresses of the ranges that are kept for documentation (RFC 5737), but the metadata service's.
OUTSIDE: Mapping[str, str] = MappingProxyType(
    {
        "api.openweathermap.org": "192.0.2.30",
        "api.github.com": "198.51.100.5",
        "www.google.com": "198.51.100.104",
        "telemetry.skydata.example": "203.0.113.19",
        "metadata": "169.254.169.254",
        "api.payments.example": "192.0.2.88",
        "registry.build.example": "198.51.100.40",
        "flags.preview.example": "198.51.100.77",
        "known-bad": "203.0.113.66",
        "gateway": "198.51.100.1",
        "ledger": "198.51.100.20",
        "syslog": "198.51.100.21",
        "mirror": "198.51.100.22",
        "collector": "198.51.100.23",
        "statsd": "198.51.100.30",
    }
)
"""Hosts outside by name; those that have no DNS name are plain words."""

POLICIES = (
    "weather/dns-visibility",
    "weather/weather-egress",
    "shop/frontend-egress",
    "shop/checkout-egress",
    "data/redis-ingress",
    "staging/preview-egress",
    "deny-known-bad",
    "batch/importer-egress",
)


@dataclass
class DemoCluster:
    """All of it, made of ``rng``."""

    rng: random.Random
    nodes: tuple[Node, Node] = field(init=False)
    policies: Policies = field(init=False)
    outside: dict[str, Outside] = field(init=False)
    services: dict[str, Service] = field(init=False)

    def __post_init__(self) -> None:
        rng = self.rng
        self.nodes = (self._node(0), self._node(1))
        # Those of the importer come last, and of dice of their own: the story is the same without it.
        own = random.Random("importer")
        uids = {name: uuid(own if name.startswith("batch/") else rng) for name in POLICIES}
        self.policies = Policies(uids)
        self._pods: dict[str, list[Pod]] = {}
        self._taken: set[int] = set()
        for workload in _WORKLOADS:
            self._deploy(rng, *workload)
        self.outside = {
            name: Outside(address, *((name,) if "." in name else ()))
            for name, address in OUTSIDE.items()
        }
        self.services = {
            f"{namespace}/{name}": Service(
                namespace,
                name,
                Outside(f"10.96.{rng.randrange(256)}.{rng.randrange(1, 255)}"),
                port,
                tuple(self.pods(f"{namespace}/{workload}")) if workload else (),
            )
            for namespace, name, port, workload in _SERVICES
        }
        # The API server runs on the first node.
        self.api_server = Reserved(self.nodes[0].address, "kube-apiserver", "remote-node")
        self._next_identity = {node: rng.randrange(1, 9) for node in self.nodes}
        self.hosts = tuple(Reserved(node.router, "host", home=node) for node in self.nodes)
        self.select("known-bad", "cidr:203.0.113.64/26")
        self.select("api.payments.example", "fqdn:api.payments.example")
        self._deploy(own, "batch", "importer", "StatefulSet", (0,), {"app": "importer"})

    def pods(self, workload: str) -> list[Pod]:
        """The pods of ``namespace/workload``."""
        return self._pods[workload]

    def pod(self, workload: str) -> Pod:
        """The only pod, or the first, of ``namespace/workload``."""
        return self._pods[workload][0]

    def dns_on(self, node: Node) -> Pod:
        """The DNS server on ``node``."""
        return next(pod for pod in self.pods("kube-system/coredns") if pod.node is node)

    def select(self, outside: str, label: str) -> None:
        """A policy's selector begins to match a host outside: give it identities."""
        for node in self.nodes:
            self._next_identity[node] += self.rng.randrange(1, 4)
        self.outside[outside].select(label, self._next_identity)

    def _node(self, index: int) -> Node:
        name = f"node-{index + 1}"
        labels = (
            "beta.kubernetes.io/arch=amd64",
            "beta.kubernetes.io/os=linux",
            "kubernetes.io/arch=amd64",
            f"kubernetes.io/hostname={name}",
            "kubernetes.io/os=linux",
        )
        return Node(
            index,
            f"{CLUSTER}/{name}",
            f"172.18.0.{index + 2}",
            f"10.244.{index}.{self.rng.randrange(200, 250)}",
            labels,
        )

    def _deploy(
        self,
        rng: random.Random,
        namespace: str,
        name: str,
        kind: str,
        nodes: tuple[int, ...],
        labels: dict[str, str],
    ) -> None:
        identity = self._number(rng, 1024, 65000)
        template = suffix(rng, 10)
        account = name if kind == "Deployment" else "default"
        own = [f"k8s:{key}={value}" for key, value in labels.items()]
        own += [
            f"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={namespace}",
            f"k8s:io.cilium.k8s.policy.cluster={CLUSTER}",
            f"k8s:io.cilium.k8s.policy.serviceaccount={account}",
            f"k8s:io.kubernetes.pod.namespace={namespace}",
        ]
        for replica, index in enumerate(nodes):
            node = self.nodes[index]
            pod = f"{name}-{template}-{suffix(rng, 5)}"
            if kind == "StatefulSet":
                pod = f"{name}-{replica}"
            endpoint = self._number(rng, 16, 4000)
            interface = flow_pb2.NetworkInterface(
                index=rng.randrange(7, 60), name=f"lxc{rng.getrandbits(48):012x}"
            )
            self._pods.setdefault(f"{namespace}/{name}", []).append(
                Pod(
                    namespace,
                    pod,
                    name,
                    kind,
                    node,
                    address=f"10.244.{index}.{self._number(rng, 4, 199)}",
                    identity=identity,
                    endpoint=endpoint,
                    labels=own,
                    macs=(mac(rng), mac(rng)),
                    interface=interface,
                )
            )

    def _number(self, rng: random.Random, low: int, high: int) -> int:
        """One that wasn't given before."""
        while (number := rng.randrange(low, high)) in self._taken:
            pass
        self._taken.add(number)
        return number


def suffix(rng: random.Random, length: int) -> str:
    """The random part of a pod's name."""
    return "".join(rng.choice(_LETTERS) for _ in range(length))


def mac(rng: random.Random) -> str:
    """A locally administered unicast address."""
    bits = bytearray(rng.randbytes(6))
    bits[0] = bits[0] & 0xFE | 0x02
    return bits.hex(":")


def uuid(rng: random.Random) -> str:
    """A random UUID (version 4) out of ``rng``."""
    bits = rng.getrandbits(128)
    bits = bits & ~(0xF << 76) | 0x4 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
