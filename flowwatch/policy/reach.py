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
    """The mode, and the families that endpoints have addresses of.

    None is a mode that nobody said: then the identity tells, which carries ``cidr:`` labels where blocks may
    mean it, and in records, too.
    """

    nodes: bool | None = False
    pods: bool | None = False
    families: tuple[int, ...] = (4, 6)
    cluster: str = "default"
    """The own one, as parties call it."""

    def takes(self, party: Party) -> bool:
        """Whether a block can mean ``party`` at all."""
        if party.outside:
            return True
        mode = self.nodes if party.node else self.pods
        return party.carries_blocks if mode is None else mode

    def takes_all(self, party: Party) -> bool:
        """Whether 0.0.0.0/0 can mean an endpoint, and groups what stands for all pods."""
        if self.pods is None:
            return party.carries_blocks and not party.node
        return self.pods

    def far(self, party: Party) -> bool:
        """Whether it is a pod of another cluster, whose identity has the blocks that policies there name."""
        return not party.reserved and party.cluster not in (None, self.cluster)

    def has_one(self, party: Party, version: int) -> bool:
        """Whether a pod surely has an address of this version."""
        return not party.reserved and not party.whole and version in self.families

    def without(self, party: Party, *, every: bool = False) -> str:
        """Why blocks don't mean an endpoint, in words behind "addresses outside"; "" where they may.

        ``every``: asked of a block of all addresses, which means nodes beside pods alone.
        """
        both = every and party.node
        if self.takes_all(party) if both else self.takes(party):
            return ""
        what = "nodes" if party.node else "pods"
        mode = "nodes and pods" if both else what
        if (self.nodes if party.node else self.pods) is None:
            return f"{what} only where policy-cidr-match-mode has {mode}"
        return f"policy-cidr-match-mode has no {'pods' if both and self.nodes else what} here"

    def addresses(self, party: Party) -> tuple[AddressNumber, ...]:
        """Those of an endpoint that blocks are asked about: reserved ones (health, ingress) have none."""
        return party.addresses if party.node or not party.reserved else ()

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
BY_LABELS = Reach(None, None)
"""Nobody said the mode."""


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
