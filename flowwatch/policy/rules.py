"""What a policy document says, in one form for all four kinds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from flowwatch.policy.labels import Selector
from flowwatch.policy.party import Party
from flowwatch.policy.peers import Entity, LabelledBlocks, PeerRule, Pods
from flowwatch.policy.ports import Matching, PortRule
from flowwatch.policy.reach import Reach

Direction = Literal["egress", "ingress"]
Effect = Literal["allow", "deny", "pass"]

ADMIN, NORMAL, BASELINE = 0, 1, 2
"""Tiers, in the order in which they are asked."""
TIERS = ("Admin", "Normal", "Baseline")


@dataclass(frozen=True, slots=True)
class Policy:
    """One document: what it is, and where it stands."""

    kind: str
    namespace: str
    """"" for kinds of the whole cluster."""
    name: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def reference(self) -> str:
        """``Kind namespace/name``; the namespace is left out for kinds of the whole cluster."""
        return f"{self.kind} {self}"


@dataclass(frozen=True, slots=True)
class Subject:
    """Which endpoints a rule is about."""

    selector: Selector
    host: bool = False
    """A host policy (``nodeSelector``): the node itself, not its pods."""
    asked: str = ""
    """The namespace that ``matchLabels`` asked for, which the policy's own has overwritten."""

    def selects(self, party: Party) -> bool:
        """Whether the rule is about ``party``. Addresses outside are nobody's endpoints."""
        return ("host" in party.reserved) is self.host and self.selector.matches(party.label_set)

    def __str__(self) -> str:
        return f"nodes with {self.selector}" if self.host else f"pods with {self.selector}"


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One item of ``egress``, ``ingressDeny`` …: peers AND ports, and what happens to them."""

    policy: Policy
    place: str
    """``spec.egress.0``: where in the document."""
    line: int
    direction: Direction
    effect: Effect
    peers: tuple[PeerRule, ...] | None
    """OR-ed; None is everybody, () nobody."""
    ports: tuple[PortRule, ...] | None
    """OR-ed; None is every port and protocol, () nothing."""
    tier: int = NORMAL
    priority: float = 0.0
    auth: str = ""
    """``authentication.mode``."""
    implied: bool = False
    """No rule that is written: what Cilium adds to one, at its place."""

    def matches_peer(self, party: Party) -> Matching:
        """Whether one of the peers means ``party``."""
        if self.peers is None:
            return True
        doubt = ""
        for peer in self.peers:
            match = peer.matches(party)
            if match is True:
                return True
            if match:
                doubt = match
        return doubt or False

    def matches_port(self, protocol: str, port: int, listener: Party) -> Matching:
        """Whether one of the ports means ``port`` of ``listener``, the end that takes the connection."""
        if self.ports is None:
            return True
        found = [rule.matches(protocol, port, listener.ports) for rule in self.ports]
        return True in found or next((one for one in found if isinstance(one, str) and one), False)

    def selects_peer(self, party: Party) -> bool:
        """Whether one of the peers that mean ``party`` does so by its own labels or address."""
        return self.peers is None or any(
            peer.selects(party)
            if isinstance(peer, Pods | LabelledBlocks)
            else bool(peer.matches(party))
            for peer in self.peers
        )

    def reaching(self, reach: Reach) -> Entry:
        """The entry where blocks reach so far."""
        if self.peers is None:
            return self
        peers = (
            one if isinstance(one, Entity) else replace(one, reach=reach) for one in self.peers
        )
        return replace(self, peers=tuple(peers))

    def __str__(self) -> str:
        return f"{self.policy} {self.place} (line {self.line})"


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """``spec``, or one of ``specs``: a subject, its entries, and its default deny in each direction."""

    policy: Policy
    subject: Subject
    entries: tuple[Entry, ...]
    default_deny: dict[str, bool] = field(default_factory=dict)
    """By direction; a direction is missing when the rule says nothing about it."""

    def reaching(self, reach: Reach) -> Rule:
        """The rule where blocks reach so far."""
        return replace(self, entries=tuple(entry.reaching(reach) for entry in self.entries))


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that the cluster would not take, and why.

    Attributes:
        by_server: the API server alone refuses it. Policies that are in force all the same (older schemas
            ask for less, and kubectl can be told not to ask) decide as Cilium reads them, so the rules of
            such a document are among the others.
    """

    kind: str
    name: str
    file: str
    line: int
    column: int
    reason: str
    by_server: bool = False

    def __str__(self) -> str:
        column = f":{self.column}" if self.column else ""
        who = f"{f'{self.kind} {self.name}'.strip()}: " if self.kind else ""
        return f"{self.file}:{self.line}{column}: {who}{self.reason}"
