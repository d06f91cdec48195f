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
from flowwatch.policy.reach import NO_REACH, Reach, decided

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


def _aggregated(party: Party, reach: Reach) -> bool:
    """Nodes that blocks may mean have identities of their own, and one that stands for them all."""
    return party.aggregated or ("remote-node" in party.reserved and reach.takes(party))


@dataclass(frozen=True, slots=True)
class Pods:
    """``toEndpoints``, ``podSelector``, ``namespaces`` …: whatever the selector, scoped, selects.

    A selector that only says what a label may not be (``namespaces: {NotIn}`` of a ClusterNetworkPolicy, a
    ``reserved:`` key in a CiliumNetworkPolicy) also selects the identities that stand for all pods and for
    all the world, as they have no such label: it means everyone but reserved identities it excludes.
    """

    selector: Selector
    reach: Reach = NO_REACH

    def matches(self, party: Party) -> Matching:
        """Whether it means ``party``."""
        if self.selects(party):
            return True
        return _aggregated(party, self.reach) and self.selector.matches(_AGGREGATE)

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
    """A CIDR without its exceptions. Means addresses outside, and pods or nodes as far as it reaches."""

    text: str
    version: int
    network: int
    length: int
    excepted: tuple[Block, ...] = ()
    reach: Reach = NO_REACH

    def matches(self, party: Party) -> Matching:
        """Whether it means ``party``."""
        if party.outside:
            # The bare identity "world", without an address, is in no block.
            return party.address is not None and self.contains(*party.address)
        return self.reach.takes(party) and self._means(party)

    def _means(self, party: Party) -> Matching:
        if not self.length and not self.reach.takes_all(party):
            return False  # a whole family is asked for as the world, and nodes are none of it
        addresses = [one for one in self.reach.addresses(party) if one[0] == self.version]
        every = not self.length and self.reach.has_one(party, self.version)
        return decided(
            self.reach,
            party,
            self.version,
            hit=every or any(self.spans(number) for _, number in addresses),
            out=any(block.contains(*one) for one in addresses for block in self.excepted),
            doubtful=bool(self.excepted),
        )

    def spans(self, number: int) -> bool:
        """Whether an address of its version is inside, exceptions apart."""
        shift = _BITS[self.version] - self.length
        return number >> shift == self.network >> shift

    def contains(self, version: int, number: int) -> bool:
        """Whether an address is inside, and in no exception."""
        if version != self.version or not self.spans(number):
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
    reach: Reach = NO_REACH

    def matches(self, party: Party) -> Matching:
        """Whether it means ``party``."""
        if not self.selector.requirements and not self.excepted:
            return True
        found = self._means(party)
        if found is not True and self.reach.takes_all(party) and _aggregated(party, self.reach):
            # What stands for all pods is in no group, and no part of the world.
            return self._holds([]) or found
        return found

    def selects(self, party: Party) -> bool:
        """Whether it means ``party`` by its address, and not as a wildcard."""
        return self._means(party) is True

    def _means(self, party: Party) -> Matching:
        if not self.reach.takes(party):
            return False
        inside = not party.outside
        addresses = self.reach.addresses(party) if inside else party.addresses[:1]
        if any(block.contains(*one) for one in addresses for block in self.excepted):
            return False
        holding = [
            labels
            for labels, blocks in self.groups
            if any(block.contains(*one) for one in addresses for block in blocks)
        ]
        return (self._unknown(party) if inside else "") or self._holds(holding)

    def _unknown(self, party: Party) -> Matching:
        """Why nobody can tell in which groups an endpoint's addresses are; "" where that is known."""
        if self.reach.far(party):
            return decided(self.reach, party, 4, hit=True, out=False, doubtful=False)
        every = (*self.excepted, *(block for _, blocks in self.groups for block in blocks))
        versions = dict.fromkeys(block.version for block in every)
        return next(filter(None, (self.reach.unknown(party, one) for one in versions)), "")

    def _holds(self, holding: list[LabelSet]) -> bool:
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
    """``toFQDNs``: addresses that the DNS proxy saw answered for a name, outside or of nodes in reach."""

    rule: NameRule
    reach: Reach = NO_REACH

    def matches(self, party: Party) -> Matching:
        """Whether it means ``party``."""
        if not party.outside and not (party.node and self.reach.takes(party)):
            return False
        if f"fqdn:{self.rule}" in party.labels:
            return True  # the identity says that this very rule led to it
        if party.names is None:
            if not party.ip:
                return "the record has no address of the other end, so no DNS name of it"
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
    reach: Reach = NO_REACH
    written: str = ""
    """As the document has it: two that are written alike are one."""

    def matches(self, party: Party) -> Matching:
        """Whether it means ``party``: can't be told."""
        return self.reason if self.inside or self.reach.takes(party) else False

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
