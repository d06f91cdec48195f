"""Whom blocks of addresses may mean beside addresses outside: nodes, pods (``policy-cidr-match-mode``).

From Cilium 1.20: pkg/policy/types/selector.go (CIDRSelector), pkg/endpoint (computeCIDRLabelsRLocked: a pod's
addresses are on its identity), pkg/node/manager (nodeIdentityLabels: so are a node's).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowwatch.policy.ports import Matching

if TYPE_CHECKING:
    from flowwatch.policy.party import Party

AddressNumber = tuple[int, int]
"""IP version and number."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The mode, and the families that endpoints have addresses of."""

    nodes: bool = False
    pods: bool = False
    families: tuple[int, ...] = (4, 6)
    cluster: str = "default"
    """The own one, as parties call it."""

    def takes(self, party: Party) -> bool:
        """Whether a block can mean ``party`` at all."""
        return party.outside or (self.nodes if party.node else self.pods)

    def addresses(self, party: Party) -> tuple[AddressNumber, ...]:
        """Those of an endpoint that blocks are asked about: reserved ones (health, ingress) have none."""
        return party.addresses if party.node or not party.reserved else ()

    def far(self, party: Party) -> bool:
        """Whether it is a pod of another cluster, whose identity has the blocks that policies there name."""
        return not party.reserved and party.cluster not in (None, self.cluster)

    def has_one(self, party: Party, version: int) -> bool:
        """Whether a pod surely has an address of this version."""
        return not party.reserved and not party.whole and version in self.families

    def unknown(self, party: Party, version: int) -> str:
        """Which addresses of this version an endpoint may have that nobody knows, in words; else ""."""
        if version not in self.families or (party.reserved and not party.node):
            return ""
        if "host" in party.reserved:
            return "" if party.whole else "the node may have other addresses than the one seen"
        if any(one[0] == version for one in party.addresses):
            return ""  # a pod has one of each family; another node is known by each address apart
        if party.addresses and (party.whole or party.node):
            return ""
        what = "node" if party.node else "pod"
        return f"the {what}'s IPv{version} address isn't known, and the block may hold it"


NO_REACH = Reach()


def decided(
    reach: Reach, party: Party, version: int, *, hit: bool, out: bool, doubtful: bool
) -> Matching:
    """Whether a block means an endpoint: ``hit`` and ``out`` say that an address of it is inside, or
    is excepted; ``doubtful`` that one more could be excepted."""
    unknown = reach.unknown(party, version)
    if reach.far(party) and (hit or out or unknown):
        return "which blocks hold a pod of another cluster, the policies there decide"
    if out:
        return False
    if hit:
        return unknown if unknown and doubtful else True
    return unknown or False
