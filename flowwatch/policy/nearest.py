"""Near misses: which rule would have allowed it, and what was in the way."""

from __future__ import annotations

from dataclasses import dataclass

from flowwatch.policy.engine import PolicySet
from flowwatch.policy.party import Party
from flowwatch.policy.rules import Direction, Entry

_NAMED = 4


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A rule that misses by one thing."""

    entry: Entry
    text: str

    def __str__(self) -> str:
        return f"{self.entry} {self.text}"


def near_misses(
    policies: PolicySet, direction: Direction, subject: Party, peer: Party, protocol: str, port: int
) -> list[NearMiss]:
    """The allow rules of ``subject`` that miss by the peer or by the port alone, ports first."""
    by_port: list[NearMiss] = []
    by_peer: list[NearMiss] = []
    listener = peer if direction == "egress" else subject
    for entry in policies.selected(subject, direction).entries:
        if entry.verdict != "allow" or entry.peers == () or entry.ports == ():
            continue
        peer_match = entry.matches_peer(peer)
        port_match = entry.ports is None or any(
            rule.matches(protocol, port, listener.ports) is True for rule in entry.ports
        )
        if peer_match is True and not port_match and entry.ports is not None:
            ports = ", ".join(str(rule) for rule in entry.ports[:_NAMED])
            by_port.append(NearMiss(entry, f"would allow {ports}; this is {port}/{protocol}"))
        elif port_match and peer_match is not True and entry.peers is not None:
            peers = ", ".join(str(one) for one in entry.peers[:_NAMED])
            by_peer.append(NearMiss(entry, f"would allow {peers}; this is {peer}"))
    return [*by_port, *by_peer]
