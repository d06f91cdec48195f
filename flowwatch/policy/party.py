"""The two ends of a question: who they are, as far as a policy cares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address

from flowwatch.policy.labels import OWN_CLUSTER, LabelSet

_WORLD = frozenset({"world", "world-ipv4", "world-ipv6"})
_NODES = frozenset({"host", "remote-node"})
_API_SERVER = ("reserved:kube-apiserver",)
"""Alone: one outside the cluster, which is a part of the world."""


@dataclass(frozen=True, eq=False)
class Party:
    """An identity (``labels``), or an address outside (``ip``), with the names it is known by.

    Compared by identity: whoever asks much makes each party once.
    """

    labels: tuple[str, ...] = ()
    """``source:key=value``; empty for an address outside."""
    ip: str = ""
    """Decides outside the cluster; an identity's only where blocks may mean it (``Reach``)."""
    names: tuple[str, ...] | None = ()
    """DNS names the address was answered for; None when that can't be known."""
    ports: Mapping[str, int] | None = field(default_factory=dict)
    """Container ports by name, in lower case; None when nobody knows them."""
    also: tuple[str, ...] | None = None
    """Further addresses of an endpoint; () when it has no other, None when nobody knows."""

    @cached_property
    def label_set(self) -> LabelSet:
        """The labels; an address outside has those that Cilium gives it, in dual stack."""
        if not self.address or (self.labels and self.labels != _API_SERVER):
            return LabelSet(self.labels)
        return LabelSet((*self.labels, f"reserved:world-ipv{self.address[0]}"))

    @cached_property
    def reserved(self) -> frozenset[str]:
        """The names of its reserved labels: ``host``, ``world`` …"""
        names = self.label_set.by_source
        return frozenset(name[9:] for name in names if name.startswith("reserved:"))

    @cached_property
    def outside(self) -> bool:
        """Whether it is no part of any cluster: the world, or an API server that is no node."""
        reserved = self.reserved
        return bool(reserved & _WORLD) or ("kube-apiserver" in reserved and not reserved & _NODES)

    @cached_property
    def node(self) -> bool:
        """Whether it is a node, the own or another."""
        return bool(self.reserved & _NODES)

    @cached_property
    def carries_blocks(self) -> bool:
        """Whether its identity says in which blocks it is, as it does where they may mean it."""
        return not self.outside and any(label.startswith("cidr:") for label in self.labels)

    @property
    def whole(self) -> bool:
        """Whether all addresses that it has are known."""
        return bool(self.ip) and self.also is not None

    @cached_property
    def addresses(self) -> tuple[tuple[int, int], ...]:
        """IP version and number of each address that is known."""
        also = (_numbered(one) for one in self.also or ())
        return tuple(one for one in (self.address, *also) if one is not None)

    @cached_property
    def aggregated(self) -> bool:
        """Whether Cilium also knows it as one of all pods, or of the world (pkg/policy/aggregate.go).

        Reserved identities stand for themselves alone, the world that no address tells among them.
        """
        if self.reserved:
            return self.outside and bool(self.ip)
        return bool(self.labels)

    @cached_property
    def cluster(self) -> str | None:
        """The cluster its labels name; ``default`` for that of the policies."""
        return self.label_set.by_source.get(OWN_CLUSTER)

    @cached_property
    def address(self) -> tuple[int, int] | None:
        """IP version and number; what maps IPv4 into IPv6 is IPv6, as it is to Cilium."""
        return _numbered(self.ip)

    @cached_property
    def namespace(self) -> str:
        """The pod's namespace, "" for anything else."""
        return self.label_set.by_source.get("k8s:io.kubernetes.pod.namespace", "")

    def __str__(self) -> str:
        if self.outside and self.names:
            return self.names[0]
        if self.reserved:
            return "+".join(sorted(self.reserved)) + (f" ({self.ip})" if self.ip else "")
        app = next(
            (x for x in self.labels if x.startswith(("k8s:app=", "k8s:k8s-app=", "k8s:app.kub"))),
            "",
        )
        name = app.partition("=")[2] or self.ip or "?"
        return f"{self.namespace}/{name}" if self.namespace else name


def _numbered(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.version, int(address)
