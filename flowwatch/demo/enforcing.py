"""What the weather app's policies let through in the story: decided by the engine that audits use."""

from __future__ import annotations

from dataclasses import dataclass

from flowwatch.demo.cluster import End, Outside, Pod
from flowwatch.demo.traffic import MATCH_L3, MATCH_L3_L4, MATCH_NONE, POLICY_DENIED, POLICY_DENY
from flowwatch.policy.engine import PolicySet
from flowwatch.policy.labels import OWN_CLUSTER
from flowwatch.policy.party import Party
from flowwatch.policy.peers import Name


@dataclass(frozen=True, slots=True)
class Ruling:
    """What becomes of a connection."""

    passes: bool
    policies: tuple[str, ...]
    """Who allowed or denied it, as ``namespace/name``; none for a default deny, nor where no policy asks."""
    reason: int
    """Of the drop."""
    match: int
    """What of the connection the policy matched (policy_match_type)."""


class Enforcer:
    """Asks the policies about connections of one pod after the other."""

    def __init__(self, policies: PolicySet) -> None:
        self.policies = policies
        self._parties: dict[End, Party] = {}

    def selects(self, pod: Pod) -> bool:
        """Whether any of the policies is about what ``pod`` sends."""
        return self.policies.selected(self._party(pod), "egress").selected

    def ruling(self, pod: Pod, server: End, protocol: str, port: int) -> Ruling:
        """What the policies say; what they leave open (a service's endpoints) passes."""
        decision = self.policies.ask(
            "egress", self._party(pod), self._party(server), protocol, port
        )
        named = tuple(str(entry.policy) for entry in decision.entries)
        if decision.decision != "denied":
            return Ruling(True, tuple(dict.fromkeys(named)), 0, MATCH_L3_L4)
        if named:
            return Ruling(False, tuple(dict.fromkeys(named)), POLICY_DENY, MATCH_L3)
        return Ruling(False, (), POLICY_DENIED, MATCH_NONE)

    def rules_for(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The rules of ``toFQDNs`` that mean one of ``names``: what an agent labels the addresses with."""
        found = {
            str(peer.rule): None
            for rule in self.policies.rules
            for entry in rule.entries
            for peer in entry.peers or ()
            if isinstance(peer, Name) and any(map(peer.rule.matches, names))
        }
        return tuple(found)

    def _party(self, end: End) -> Party:
        party = self._parties.get(end)
        if party is None:
            party = self._parties[end] = _party(end)
        return party


def _party(end: End) -> Party:
    if isinstance(end, Pod):
        return Party((*end.seen_by(end.node).labels, f"{OWN_CLUSTER}=default"))
    if isinstance(end, Outside):
        return Party(("reserved:world",), end.address, end.names)
    assert end.home is not None
    return Party(tuple(end.seen_by(end.home).labels))
