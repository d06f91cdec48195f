"""What policies that are there have words for: blocks of addresses by a group, ports by their name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_address

from flowwatch.drafts.needs import Evidence, Need
from flowwatch.policy import PolicySet
from flowwatch.policy.party import Party
from flowwatch.policy.rules import Entry

_BITS = {4: 32, 6: 128}


class Given:
    """The words of a set of policies; of none where there is no set."""

    def __init__(self, policies: PolicySet | None = None) -> None:
        self.policies = policies
        self._groups = {} if policies is None else policies.documents.cidr_groups.by_name

    def group_of(self, text: str) -> str:
        """The CiliumCIDRGroup with an address: that of the fewest addresses; "" where there is none."""
        address = ip_address(text.partition("%")[0])
        found = [
            (sum(1 << (_BITS[block.version] - block.length) for block in group.blocks), name)
            for name, group in self._groups.items()
            if any(block.contains(address.version, int(address)) for block in group.blocks)
        ]
        return min(found, default=(0, ""))[1]

    def port_name(self, need: Need, seen: Evidence) -> str:
        """By which name rules allow a port, where nothing else of them does; "" else."""
        if self.policies is None:
            return ""
        names: set[str] = set()
        for subject, peer in seen.questions:
            said = self.policies.ask(need.direction, subject, peer, need.protocol, need.port)
            if said.decision != "cant_tell":
                return ""
            names |= set(_names(said.entries, peer, need))
        return names.pop() if len(names) == 1 else ""


def _names(entries: Iterable[Entry], peer: Party, need: Need) -> Iterator[str]:
    for entry in entries:
        if entry.effect == "allow" and entry.matches_peer(peer) is True:
            for port in entry.ports or ():
                if port.name and port.protocol in (need.protocol, "ANY"):
                    yield port.name


def with_names(seen: Evidence, need: Need, ports: dict[str, int]) -> Evidence:
    """Evidence whose listeners have these names of ports, as far as they are pods."""
    egress = need.direction == "egress"
    asked = set()
    for subject, peer in seen.questions:
        listener = peer if egress else subject
        named = listener if listener.outside else replace(listener, ports=ports)
        asked.add((subject, named) if egress else (named, peer))
    return replace(seen, questions=asked)
