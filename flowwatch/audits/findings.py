"""What an audit finds: immutable rows for reports and screens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from flowwatch.flows.coverage import Coverage
from flowwatch.policy.agent_options import UNKNOWN, AgentOptions
from flowwatch.policy.rules import Direction, Entry, Policy

Kind = Literal[
    "leak", "overblock", "unexplained", "difference", "inconclusive", "ok", "not covered"
]  # fmt: skip
KINDS: tuple[Kind, ...] = (
    "leak", "overblock", "unexplained", "difference", "inconclusive", "ok", "not covered",
)  # fmt: skip
Proof = Literal["proven", "contradicted", "unproven"]
FAILURES: tuple[Kind, ...] = ("leak", "overblock", "unexplained", "difference")
"""Findings that make an audit fail (exit code 1)."""

MEANING: dict[Kind, str] = {
    "leak": "forwarded, though the policies deny it",
    "overblock": "dropped by a policy (or would be: audit mode), though the policies allow it",
    "unexplained": "dropped by a policy, and none that was given selects the pod in this direction",
    "difference": "Hubble names another policy than the one that decides here",
    "inconclusive": "the evidence can't tell",
    "ok": "as the policies say",
    "not covered": "no policy selects the pod in this direction, or is asked about such packets",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Attempts of one subject to one peer and port that were judged alike."""

    kind: Kind
    direction: Direction
    subject: str
    peer: str
    protocol: str
    port: int
    attempts: int
    first: int
    last: int
    """Nanoseconds since 1970."""
    expected: str
    """``allowed``, ``denied``, ``cant_tell``: the decision."""
    observed: str
    """``forwarded``, ``dropped`` …: what happened."""
    reason: str
    entries: tuple[Entry, ...] = ()
    """The rules that made the decision."""
    policies: tuple[Policy, ...] = ()
    """Those of the entries, or those that ask for the default deny."""
    advice: str = ""
    """What to look at next; "" when there is nothing to do."""
    apart: str = ""
    """The peer's addresses, where another finding would else read the same."""

    @property
    def place(self) -> tuple[str, int]:
        """File and line of the first rule (or policy) that decided; ("", 0) when none did."""
        if self.entries:
            return self.entries[0].policy.file, self.entries[0].line
        if self.policies:
            return self.policies[0].file, self.policies[0].line
        return "", 0


@dataclass(frozen=True, slots=True)
class RuleUse:
    """One rule and how much of the traffic needed it."""

    entry: Entry
    attempts: int
    """Those that are known to match it."""
    unused: tuple[str, ...] = ()
    """Its peers and ports that no attempt met."""
    perhaps: int = 0
    """Attempts of which can't be told whether they match."""

    @property
    def exercised(self) -> bool:
        """Whether any attempt met it."""
        return self.attempts > 0


@dataclass(frozen=True, slots=True)
class PolicyUse:
    """One policy: whom it was seen to select, and whether anything tried what it forbids."""

    policy: Policy
    subjects: tuple[str, ...]
    """Pods (by workload) that it selects, among those seen."""
    rules: tuple[RuleUse, ...]
    unproven: tuple[str, ...] = ()
    """What neither blocked nor leaked: a direction (``egress``) where nothing tried anything that is
    forbidden there, else ``egress, by default deny`` or ``egress, by spec.egressDeny.0``."""
    rehearsed: Mapping[str, int] = field(default_factory=dict)
    """By direction: attempts at what it forbids, which passed in audit mode."""
    unclear: Mapping[str, int] = field(default_factory=dict)
    """By direction: attempts of which can't be told whether it forbids them."""
    unlabelled: int = 0
    """Attempts of pods whose labels aren't recorded: it may select these, too."""
    others: int = 0
    """Attempts with a pod that it selects at the other end, whose own side no record has."""


INCIDENTS = frozenset({"denied-at-first", "name-not-yet-known", "name-expired", "nothing-enforced"})
"""Names of hints that are no mistakes."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A probable mistake in a policy: enforced as written, but hardly as meant; or an incident."""

    name: str
    """``missing-dns-rule``, ``port-mismatch`` …: flowwatch.audits.hints has them all."""
    policy: Policy
    line: int
    text: str
    attempts: int = 0
    """Attempts that met it; 0 when the documents alone show it."""

    @property
    def incident(self) -> bool:
        """Whether it is the cluster's doing, and no mistake of the policy's."""
        return self.name in INCIDENTS


@dataclass(frozen=True, slots=True)
class BlindSpots:
    """How far the evidence goes."""

    coverage: Coverage
    """What was and wasn't seen."""
    attempts: int
    """Attempts in their directions: what is judged."""
    judged: int
    """Those with a clear answer: neither inconclusive nor without a policy."""
    notes: tuple[str, ...] = ()
    """What to bear in mind: lost events, nodes unseen …, each in words."""
    source: str = ""
    """Where the flows came from, and which filters they went through; "" when nobody said."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The whole answer."""

    findings: tuple[Finding, ...]
    """The worst kind first, within a kind the most attempts first."""
    policies: tuple[PolicyUse, ...]
    blind: BlindSpots
    counts: dict[Kind, int] = field(default_factory=dict)
    """Attempts by kind."""
    notes: tuple[str, ...] = ()
    """About the documents: skipped, replaced, groups missing."""
    expectations: tuple[Expectation, ...] = ()
    hints: tuple[Hint, ...] = ()
    """Probable mistakes; they say nothing against the enforcement and don't fail an audit."""
    incidents: tuple[Hint, ...] = ()
    """What the cluster did in passing, and no policy is to be mended for; they don't fail an audit."""
    options: AgentOptions = UNKNOWN
    """Those of the cluster's agents, by which was judged."""

    @property
    def covered(self) -> int:
        """Attempts of pods that a policy selects in their direction."""
        beside = sum(self.counts.get(kind, 0) for kind in ("unexplained", "not covered"))
        return self.blind.attempts - beside

    @property
    def failed(self) -> bool:
        """Whether something is not as it should be."""
        return any(self.counts.get(kind, 0) for kind in FAILURES) or any(
            one.state == "contradicted" for one in self.expectations
        )

    @property
    def enough(self) -> bool:
        """Whether the evidence is enough for ``--strict``: something was judged, nothing
        was unclear, and little is missing."""
        return (
            self.blind.judged > 0
            and not self.blind.coverage.much_missing
            and not self.counts.get("inconclusive", 0)
            and not any(use.unproven for use in self.policies)
            and all(one.state != "unproven" for one in self.expectations)
        )

    def exit_code(self, *, strict: bool = False) -> int:
        """0 as expected, 1 findings, 3 not enough evidence (only with ``strict``)."""
        if self.failed:
            return 1
        return 3 if strict and not self.enough else 0


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line of ``--expect``, and what the traffic says about it."""

    subject: str
    peer: str
    port: str
    must_reach: bool
    state: Proof
    attempts: int
    evidence: str
    probe: str = ""
    """For what is unproven: the command that would try it."""
    line: int = 0
    file: str = ""
    """Where it stands; "" if that isn't known."""
