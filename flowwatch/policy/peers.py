"""The peers a rule names: selectors, entities, blocks of addresses, DNS names.

Each answers whether it means a party: yes, no, or why that can't be told. From Cilium 1.20:
pkg/policy/api (entity.go, cidr.go, fqdn.go) and pkg/k8s/apis/cilium.io/utils (the scope of selectors).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from flowwatch.goyaml.nodes import Value
from flowwatch.policy.labels import MISSING, NOT_IN, LabelSet, Selector
from flowwatch.policy.names import NameRule
from flowwatch.policy.party import Party
from flowwatch.policy.ports import Matching

_CLUSTER = frozenset(
    {"host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver"}
)
ENTITIES = frozenset(
    {"all", "world", "world-ipv4", "world-ipv6", "cluster", "cluster-mesh", "host", "init", "ingress",
     "unmanaged", "remote-node", "health", "none", "kube-apiserver"}
)  # fmt: skip
_BITS = {4: 32, 6: 128}
_AGGREGATE = LabelSet(("reserved:aggregate",))
"""The labels of an identity that stands for all pods, or all the world: one that nobody selects by."""


@dataclass(frozen=True, slots=True)
class Pods:
    """``toEndpoints``, ``podSelector``, ``namespaces`` …: whatever the selector, scoped, selects.

    A selector that only says what a label may not be (``namespaces: {NotIn}`` of a ClusterNetworkPolicy, a
    ``reserved:`` key in a CiliumNetworkPolicy) also selects the identities that stand for all pods and for
    all the world, as they have no such label: it means everyone but reserved identities it excludes.
    """

    selector: Selector

    def matches(self, party: Party) -> Matching:
        """Whether it means ``party``."""
        return self.selects(party) or (party.aggregated and self.selector.matches(_AGGREGATE))

    def selects(self, party: Party) -> bool:
        """Whether it means ``party`` itself, not only as one of all pods: what a port's name needs."""
        return self.selector.matches(party.label_set)

    def __str__(self) -> str:
        return f"pods with {self.selector}"


@dataclass(frozen=True, slots=True)
class Entity:
    """``toEntities``: one of Cilium's names for the world, the cluster and its nodes."""

    name: str
    cluster: str

    def matches(self, party: Party) -> Matching:
        """Whether it means ``party``."""
        name, reserved = self.name, party.reserved
        if name == "all":
            return True
        if name == "world":
            return party.outside
        if name == "cluster":
            return bool(reserved & _CLUSTER) or party.cluster == self.cluster
        if name == "cluster-mesh":
            return bool(reserved & _CLUSTER) or party.cluster is not None
        return name != "none" and name in reserved

    def __str__(self) -> str:
        return f"entity {self.name}"


@dataclass(frozen=True, slots=True)
class Block:
    """A CIDR without its exceptions. Means addresses outside only, never pods or nodes."""

    text: str
    version: int
    network: int
    length: int
    excepted: tuple[Block, ...] = ()

    def matches(self, party: Party) -> Matching:
        """Whether it means ``party``."""
        if not party.outside:
            return False
        # The bare identity "world", without an address, is in no block.
        return party.address is not None and self.contains(*party.address)

    def contains(self, version: int, number: int) -> bool:
        """Whether an address is inside, and in no exception."""
        if version != self.version:
            return False
        shift = _BITS[version] - self.length
        if number >> shift != self.network >> shift:
            return False
        return not any(block.contains(version, number) for block in self.excepted)

    def __str__(self) -> str:
        if not self.excepted:
            return self.text
        return f"{self.text} except {', '.join(block.text for block in self.excepted)}"


@dataclass(frozen=True, slots=True)
class LabelledBlocks:
    """``cidrGroupSelector``: outside addresses, by the labels of all CIDR groups that hold them.

    A requirement that only forbids (NotIn, DoesNotExist) also holds for an address that is in no group.
    Cilium takes the empty selector without ``except`` for its wildcard: pods and nodes are meant, too.
    """

    selector: Selector
    groups: tuple[tuple[LabelSet, tuple[Block, ...]], ...]
    excepted: tuple[Block, ...] = ()

    def matches(self, party: Party) -> Matching:
        """Whether it means ``party``."""
        if not self.selector.requirements and not self.excepted:
            return True
        return self.selects(party)

    def selects(self, party: Party) -> bool:
        """Whether it means ``party`` by its address, and not as a wildcard."""
        if not party.outside:
            return False
        holding: list[LabelSet] = []
        if (address := party.address) is not None:
            if any(block.contains(*address) for block in self.excepted):
                return False
            for labels, blocks in self.groups:
                if any(block.contains(*address) for block in blocks):
                    holding.append(labels)
        return all(
            all(one.matches(labels) for labels in holding)
            if one.operator in (NOT_IN, MISSING)
            else any(one.matches(labels) for labels in holding)
            for one in self.selector.requirements
        )

    def __str__(self) -> str:
        return f"CIDR groups with {self.selector}"


@dataclass(frozen=True, slots=True)
class Name:
    """``toFQDNs``: addresses outside that the DNS proxy saw answered for a name."""

    rule: NameRule

    def matches(self, party: Party) -> Matching:
        """Whether it means ``party``."""
        if not party.outside:
            return False
        if f"fqdn:{self.rule}" in party.labels:
            return True  # the identity says that this very rule led to it
        if party.names is None:
            return f"the DNS name of {party.ip} was not seen"
        return any(map(self.rule.matches, party.names))

    def __str__(self) -> str:
        return f"DNS name {self.rule}"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A peer that only the cluster can resolve: a service, a cloud's group, a CIDR group not given."""

    what: str
    reason: str
    inside: bool = True
    """Whether pods and nodes may be meant, too."""

    def matches(self, party: Party) -> Matching:
        """Whether it means ``party``: can't be told."""
        return self.reason if self.inside or party.outside else False

    def __str__(self) -> str:
        return self.what


PeerRule = Pods | Entity | Block | LabelledBlocks | Name | Unknown


def read_block(value: Value, *, slash: bool = False) -> Block:
    """A CIDR, or an address that stands for itself alone.

    Args:
        slash: whether the ``/`` must be there, as in ``toCIDRSet`` and ``ipBlock``.

    Raises:
        DocumentError: neither.
    """
    text = value.text()
    if not text:
        raise value.fault("IP must be specified")
    try:
        if "/" in text:
            # Go takes no mask like /255.0.0.0, and no /08.
            length = text.rpartition("/")[2]
            if not length.isdigit() or (len(length) > 1 and length[0] == "0"):
                raise ValueError("the length after the / must be a number")
            if "%" in text:
                raise ValueError("a block has no zone")
            network = ip_network(text, strict=False)
            return Block(text, network.version, int(network.network_address), network.prefixlen)
        if slash:
            raise ValueError("no '/'")
        address = ip_address(text)
    except ValueError as error:
        reason = (
            str(error)
            if "/" not in text or "length" in str(error)
            else "it is no block of addresses"
        )
        raise value.fault(f'unable to parse CIDR "{text}": {reason}') from None
    return Block(text, address.version, int(address), _BITS[address.version])


def with_exceptions(block: Block, value: Value | None) -> Block:
    """``block`` without what ``except`` lists; each must lie inside it."""
    blocks = []
    for item in value.items() if value is not None else ():
        one = read_block(item, slash=True)
        inside = one.version == block.version and one.length >= block.length
        if not inside or not Block("", *(block.version, block.network, block.length)).contains(
            one.version, one.network
        ):
            raise item.fault(
                f"allow CIDR prefix {block.text} does not contain exclude CIDR prefix {one.text}"
            )
        blocks.append(one)
    return Block(block.text, block.version, block.network, block.length, tuple(blocks))
