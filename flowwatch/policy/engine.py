"""The decision: what a set of policies says about one connection.

Read from top to bottom it is Cilium's semantics (pkg/policy of 1.20):

0. ``enable-policy: never``: everything is allowed.
1. No rule selects the endpoint in this direction: everything is allowed (``always``: default deny).
2. Admin tier: the first entry that matches, by priority, accepts, denies, or passes on.
3. Normal tier (CNP, CCNP, NetworkPolicy): a deny beats every allow; allows add up.
4. Baseline tier: again the first that matches, where no entry of the Normal tier did.
5. The node may always reach its own pods, unless something above denied it.
6. Default deny, if one of the rules that select the endpoint asks for it; else allowed.

What can't be told goes both ways: the answer is "can't tell" only if it makes a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from flowwatch.policy.agent_options import UNKNOWN, AgentOptions, Enforcement
from flowwatch.policy.documents import Documents
from flowwatch.policy.index import PeerIndex, SubjectIndex
from flowwatch.policy.merge import ends_of_names, unmergeable
from flowwatch.policy.party import Party
from flowwatch.policy.ports import Matching, PortRule
from flowwatch.policy.rules import ADMIN, BASELINE, NORMAL, Direction, Entry, Policy, Rule

Outcome = Literal["allowed", "denied", "cant_tell"]
Why = Literal[
    "rule", "no policy", "default allow", "default deny", "own node", "not enforced", "unknown"
]  # fmt: skip

_ORDER = {"deny": 0, "allow": 1, "pass": 2}
_REMEMBERED = 200_000
"""Pairs of parties remembered for a set of policies; past it all are forgotten, and found anew."""


ALWAYS = "default deny, since enable-policy is always in this cluster: no rule allows it"


STARTS = "default deny of an endpoint that starts: its labels, by which policies select it, aren't known yet"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policies say about one question, and by which of their entries."""

    decision: Outcome
    why: Why
    selected: bool
    """Whether some policy applies to the subject in this direction."""
    l7: bool = False
    """Allowed only as far as the proxy: HTTP or DNS rules decide the rest."""
    entries: tuple[Entry, ...] = ()
    """Those that made the decision; none for the defaults."""
    ports: tuple[PortRule, ...] = ()
    """Of the entries that send it to the proxy: the rules it decides by."""
    denying: tuple[Policy, ...] = ()
    """For a default deny: the policies that ask for it."""
    doubts: tuple[str, ...] = ()
    """For "can't tell": what is missing."""
    pass_all: bool = False
    """At the proxy everything passes: an entry allows the same without rules for it."""
    always: bool = False
    """For a default deny that no policy asks for: whether the cluster does (``enable-policy: always``)."""

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies that decided, as ``Kind namespace/name``; for a default deny those that ask for it."""
        deciding = [entry.policy for entry in self.entries] or self.denying
        return tuple(dict.fromkeys(policy.reference for policy in deciding))

    @property
    def places(self) -> tuple[str, ...]:
        """The entries that decided, as ``name spec.egress.0``."""
        return tuple(f"{entry.policy.name} {entry.place}" for entry in self.entries)

    @property
    def reason(self) -> str:
        """The decision in words."""
        if self.why == "unknown":
            return "can't tell: " + "; ".join(self.doubts)
        if self.entries:
            word = "denied" if self.decision == "denied" else "allowed"
            to = ", as far as its L7 rules let it pass" if self.l7 else ""
            return f"{word} by {', '.join(map(str, self.entries))}{to}"
        if self.why == "default deny":
            names = list(map(str, self.denying))
            if len(set(names)) < len(names):
                names = [one.reference for one in self.denying]
            who = ", ".join(names)
            return (
                f"default deny of {who}: no rule allows it"
                if who
                else ALWAYS
                if self.always
                else STARTS
            )
        return {
            "no policy": "no policy selects it: everything is allowed",
            "default allow": "no rule matches, and no policy asks for default deny",
            "own node": "the node may always reach its own pods",
            "not enforced": "enable-policy is never in this cluster: no policy is enforced",
        }[self.why]


@dataclass(frozen=True, slots=True)
class PolicyQuestion:
    """May ``subject`` send to (or receive from) ``peer``? ``direction`` is the subject's."""

    direction: Direction
    subject: Party
    peer: Party
    protocol: str
    port: int
    """The destination's; for ICMP the message type."""


class Selected:
    """What applies to one subject in one direction."""

    __slots__ = (
        *("always", "denying", "ends", "entries", "index"),
        *("init", "otherwise", "ruled", "selected", "settled"),
    )

    def __init__(
        self, rules: Sequence[Rule], direction: Direction, *, init: bool, enforced: Enforcement
    ) -> None:
        applying = [
            rule for rule in rules
            if direction in rule.default_deny
            or any(entry.direction == direction for entry in rule.entries)
        ]  # fmt: skip
        self.ruled = bool(applying)
        self.always = enforced == "always"
        self.selected = self.ruled or init or self.always
        self.init = init
        self.denying = tuple(
            dict.fromkeys(
                rule.policy for rule in applying if rule.default_deny.get(direction, False)
            )
        )
        self.entries = tuple(
            entry for rule in applying for entry in rule.entries if entry.direction == direction
        )
        self.index = PeerIndex(self.entries)
        self.ends = ends_of_names(self.entries)
        """Of named ports that rules end differently; mostly empty."""
        self.settled: Decision | None = None
        """The decision where it is the same for every peer and port."""
        # Of both directions: either spoils the whole policy.
        if enforced == "never":
            self.selected = False
            self.settled = Decision("allowed", "not enforced", selected=False)
        elif doubt := unmergeable(entry for rule in rules for entry in rule.entries):
            self.settled = Decision(
                "cant_tell", "unknown", self.selected, denying=self.denying, doubts=(doubt,)
            )
        elif not self.selected:
            self.settled = Decision("allowed", "no policy", selected=False)
        self.otherwise = (
            Decision(
                "denied", "default deny", self.selected, denying=self.denying, always=self.always
            )
            if self.default_deny
            else Decision("allowed", "default allow", self.selected)
        )
        """The decision where no rule matches."""

    @property
    def default_deny(self) -> bool:
        """Whether what no rule matches is denied. Endpoints that still start are always closed."""
        return bool(self.denying) or self.init or self.always


def _before(one: tuple[Entry, Matching]) -> tuple[float, int]:
    entry, _ = one
    return entry.priority, _ORDER[entry.effect]


class Meeting:
    """A subject and a peer: the entries that are about both; the port is all that is left to ask."""

    __slots__ = ("_egress", "_known", "_listener", "_own_node", "_peer", "_selected", "_tiers")

    def __init__(self, selected: Selected, peer: Party, listener: Party, *, own_node: bool) -> None:
        self._selected = selected
        self._listener = listener
        self._peer = peer
        self._egress = listener is peer
        # Cilium adds the rule for the node to others: an endpoint that starts has none of its own.
        self._own_node = own_node and selected.ruled
        self._known: dict[tuple[str, int], Decision] = {}
        self._tiers: tuple[list[tuple[Entry, Matching]], ...] = ([], [], [])
        for entry in selected.index.candidates(peer):
            if match := entry.matches_peer(peer):
                self._tiers[entry.tier].append((entry, match))
        for tier in (ADMIN, BASELINE):
            if len(self._tiers[tier]) > 1:
                self._tiers[tier].sort(key=_before)

    def decide(self, protocol: str, port: int) -> Decision:
        """The decision about a port."""
        known = self._known.get((protocol, port))
        if known is None:
            known = self._known[protocol, port] = self._decide(protocol, port)
        return known

    def _matching(
        self, tier: int, protocol: str, port: int
    ) -> list[tuple[Entry, str, list[PortRule]]]:
        """The entries of a tier about this port, each with what is doubtful about it ("" for nothing)."""
        found: list[tuple[Entry, str, list[PortRule]]] = []
        ends = self._selected.ends
        for entry, peer_match in self._tiers[tier]:
            doubt = peer_match if isinstance(peer_match, str) else ""
            rules: list[PortRule] = []
            if entry.ports is not None:
                matched = False
                unsure = ""
                for written in entry.ports:
                    end = ends.get((tier, protocol, written.name)) if ends else None
                    rule = written if end is None else replace(written, end=end)
                    match = rule.matches(protocol, port, self._listener.ports)
                    # Of all pods at once nobody knows what port has a name.
                    if match and rule.name and self._egress and not entry.selects_peer(self._peer):
                        continue
                    if match is True:
                        matched = True
                        rules.append(rule)
                    elif match:
                        unsure = match
                if not matched:
                    if not unsure:
                        continue
                    doubt = doubt or unsure
            found.append((entry, doubt, rules))
        return found

    def _decide(self, protocol: str, port: int) -> Decision:
        selected = self._selected
        possible: list[Decision] = []
        doubts: list[str] = []
        certain = self._ordered(ADMIN, protocol, port, possible, doubts)
        if certain is None:
            certain = self._normal(protocol, port, possible, doubts)
        if certain is None:
            certain = self._ordered(BASELINE, protocol, port, possible, doubts)
        if certain is None and self._own_node:
            certain = Decision("allowed", "own node", selected=selected.selected)
        if certain is None:
            certain = selected.otherwise
        if not possible or all(one.decision == certain.decision for one in possible):
            return certain
        return Decision(
            "cant_tell", "unknown", selected.selected,
            entries=tuple(dict.fromkeys(entry for one in (*possible, certain) for entry in one.entries)),
            denying=certain.denying, doubts=tuple(dict.fromkeys(doubts)),
        )  # fmt: skip

    def _ordered(
        self, tier: int, protocol: str, port: int, possible: list[Decision], doubts: list[str]
    ) -> Decision | None:
        """Admin and Baseline: the first that surely matches decides; None when none, or it passes on."""
        matching = self._matching(tier, protocol, port)
        for entry, doubt, _ in matching:
            if entry.effect == "pass":
                if doubt:
                    # As if it did not match: whatever comes next is possible, and so is what the
                    # next tier says; both are asked.
                    doubts.append(doubt)
                    continue
                return None
            selected = self._selected.selected
            if entry.effect == "deny":
                one = Decision("denied", "rule", selected, entries=(entry,))
            else:
                # Of several at one place the one that goes to the proxy counts.
                proxied = tuple(
                    rule
                    for other, unsure, others in matching
                    if (other.priority, other.effect) == (entry.priority, "allow")
                    and (other is entry or not unsure)
                    for rule in others
                    if rule.l7
                )
                one = Decision("allowed", "rule", selected, bool(proxied), (entry,), proxied)
            if not doubt:
                return one
            possible.append(one)
            doubts.append(doubt)
        return None

    def _normal(
        self, protocol: str, port: int, possible: list[Decision], doubts: list[str]
    ) -> Decision | None:
        """CNP, CCNP, NetworkPolicy: deny beats allow; allows add up."""
        matching = self._matching(NORMAL, protocol, port)
        if not matching:
            return None
        denies = [(entry, doubt) for entry, doubt, _ in matching if entry.effect == "deny"]
        sure = tuple(entry for entry, doubt in denies if not doubt)
        selected = self._selected.selected
        if sure:
            return Decision("denied", "rule", selected, entries=sure)
        for entry, doubt in denies:
            possible.append(Decision("denied", "rule", selected, entries=(entry,)))
            doubts.append(doubt)
        allows = [one for one in matching if one[0].effect == "allow"]
        for entry, doubt, _ in allows:
            if doubt:
                possible.append(Decision("allowed", "rule", selected, entries=(entry,)))
                doubts.append(doubt)
        certain = [one for one in allows if not one[1]]
        if not certain:
            return None
        entries = tuple(entry for entry, _, _ in certain)
        proxied = tuple(rule for _, _, rules in certain for rule in rules if rule.l7 is not None)
        plain = not self._selected.default_deny or any(
            not rules or any(rule.l7 is None for rule in rules) for _, _, rules in certain
        )
        return Decision(
            "allowed",
            "rule",
            selected,
            bool(proxied),
            entries,
            proxied,
            pass_all=bool(proxied) and plain,
        )


class PolicySet:
    """A set of policies, compiled: ask it with :meth:`decide`. Not for two threads at once.

    ``options``: those of the cluster; the documents were read by the same.
    """

    def __init__(
        self, documents: Documents, *, cluster: str = "default", options: AgentOptions = UNKNOWN
    ) -> None:
        self.documents = documents
        self.cluster = cluster
        self.options = options
        self._subjects = SubjectIndex(documents.rules)
        self._selected: dict[tuple[tuple[str, ...], Direction], Selected] = {}
        self._by_party: dict[tuple[Party, Direction], Selected] = {}
        self._meetings: dict[tuple[Party, Party, Direction], Meeting] = {}

    @property
    def policies(self) -> list[Policy]:
        """The policies in the order of their files."""
        return self.documents.policies

    @property
    def rules(self) -> list[Rule]:
        """All rules."""
        return self.documents.rules

    def by(self, options: AgentOptions) -> PolicySet:
        """The same policies in a cluster with other options."""
        rules = [rule.reaching(options.reach) for rule in self.documents.rules]
        documents = replace(self.documents, rules=rules)
        return PolicySet(documents, cluster=self.cluster, options=options)

    @property
    def rejected(self) -> list[object]:
        """Documents that the cluster would not take."""
        return list(self.documents.rejected)

    def selected(self, subject: Party, direction: Direction) -> Selected:
        """What applies to ``subject`` in ``direction``."""
        found = self._by_party.get((subject, direction))
        if found is None:
            labels = subject.label_set.labels
            found = self._selected.get((labels, direction))
            if found is None:
                init = "init" in subject.reserved
                found = Selected(
                    self._subjects.rules(subject), direction,
                    init=init, enforced=self.options.enforcement,
                )  # fmt: skip
                self._selected[labels, direction] = found
            if len(self._by_party) >= _REMEMBERED:
                self._by_party.clear()
            self._by_party[subject, direction] = found
        return found

    def decide(self, question: PolicyQuestion) -> Decision:
        """What the policies say about ``question``."""
        return self.ask(
            question.direction, question.subject, question.peer, question.protocol, question.port
        )

    def ask(
        self, direction: Direction, subject: Party, peer: Party, protocol: str, port: int
    ) -> Decision:
        """As :meth:`decide`, for those who ask millions of times."""
        key = (subject, peer, direction)
        meeting = self._meetings.get(key)
        if meeting is None:
            if len(self._meetings) >= _REMEMBERED:
                self._meetings.clear()
                self._by_party.clear()
                self._selected.clear()
            selected = self.selected(subject, direction)
            if selected.settled is not None:
                return selected.settled
            egress = direction == "egress"
            own_node = not egress and "host" in peer.reserved and "host" not in subject.reserved
            meeting = self._meetings[key] = Meeting(
                selected,
                peer,
                peer if egress else subject,
                own_node=own_node,
            )
        return meeting.decide(protocol, port)
