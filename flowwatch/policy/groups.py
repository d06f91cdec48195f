"""CiliumCIDRGroup: named blocks of addresses that policies refer to.

The fields: Cilium 1.20, pkg/k8s/apis/cilium.io/v2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flowwatch.goyaml.nodes import Value
from flowwatch.policy.labels import LabelSet, read_selector
from flowwatch.policy.peers import Block, LabelledBlocks, PeerRule, Unknown, read_block


@dataclass(slots=True)
class CidrGroup:
    """One group's blocks and the labels it is found by."""

    labels: LabelSet
    blocks: tuple[Block, ...]


@dataclass(slots=True)
class CidrGroups:
    """The groups that were given together with the policies."""

    by_name: dict[str, CidrGroup] = field(default_factory=dict)

    def add(self, name: str, metadata: dict[str, Value], document: dict[str, Value]) -> None:
        """Read one group.

        Raises:
            DocumentError: a field that isn't known, or a block that is none.
        """
        spec = document["spec"].given() if "spec" in document else {}
        blocks = [read_block(one) for one in spec["externalCIDRs"].items()] if spec else []
        labels = metadata["labels"].fields() if "labels" in metadata else {}
        own = [f"cidrgroup:{key}={value.text()}" for key, value in labels.items()]
        self.by_name[name] = CidrGroup(LabelSet(own), tuple(blocks))

    def peers(self, value: Value, exceptions: Value | None) -> list[PeerRule]:
        """The blocks that a ``cidrGroupRef`` or ``cidrGroupSelector`` means, without ``except``."""
        excepted = (
            tuple(read_block(one, slash=True) for one in exceptions.items()) if exceptions else ()
        )
        if value.path.endswith("cidrGroupRef"):
            name = value.text()
            if name not in self.by_name:
                reason = f"CiliumCIDRGroup {name} was not given: add it to the policies"
                return [Unknown(f"CIDR group {name}", reason, inside=False, written=value.written)]
            return [
                Block(one.text, one.version, one.network, one.length, excepted)
                for one in self.by_name[name].blocks
            ]
        selector = read_selector(value, source="cidrgroup:")
        asked = "; ".join(sorted(map(str, selector.requirements)))
        if not self.by_name and selector.requirements:
            reason = "no CiliumCIDRGroup was given: add them to the policies"
            return [Unknown("CIDR groups by labels", reason, inside=False, written=asked)]
        groups = tuple((one.labels, one.blocks) for one in self.by_name.values())
        return [LabelledBlocks(selector, groups, excepted)]
