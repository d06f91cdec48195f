"""What nothing needed of the policies that are given: policies, rules, peers and ports, and since when.

What needed what is the audit's own count. When a policy changed is told by verdicts (a mark), or by the time
of its file where that is asked for: what changed lately had no time to be needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from flowwatch.audits.evidence import Observation, Observer
from flowwatch.audits.findings import PolicyUse, RuleUse
from flowwatch.audits.judge import Judge
from flowwatch.audits.uses import Questions, Uses, care, policy_uses
from flowwatch.flows.coverage import Coverage
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.model import BOTH, Batch
from flowwatch.marks.changes import Changes
from flowwatch.marks.finding import Mark, find
from flowwatch.policy.agent_options import AgentOptions
from flowwatch.policy.engine import PolicySet
from flowwatch.policy.peers import Name
from flowwatch.policy.reach import Reach
from flowwatch.policy.rules import Entry, Policy

What = Literal["policy", "rule", "peer", "port"]
WHATS: tuple[What, ...] = ("policy", "rule", "peer", "port")
From = Literal["", "verdicts", "file"]
"""What tells when a policy changed; "" where nothing does."""


@dataclass(frozen=True, slots=True)
class Changed:
    """When a policy came or changed, nanoseconds since 1970, and what tells it."""

    time: int
    by: From


@dataclass(frozen=True, slots=True)
class Unused:
    """One thing that no attempt is known to have needed."""

    what: What
    policy: Policy
    entry: Entry | None
    """The rule, or that of the peer or port; None for a whole policy."""
    text: str
    """The peer or port; "" for policies and rules."""
    since: int
    """From when on that was looked at, nanoseconds since 1970; 0 where it changed after all that was seen."""
    perhaps: int = 0
    """Attempts of which can't be told whether they needed it."""
    changed: Changed | None = None
    recent: bool = False
    """Whether it changed so lately that this says little."""

    @property
    def line(self) -> int:
        """Where it stands in its file."""
        return self.policy.line if self.entry is None else self.entry.line

    @property
    def guard(self) -> bool:
        """Whether it only denies: what nothing tried may still be what it is there for."""
        return self.entry is not None and self.entry.effect == "deny"

    @property
    def certain(self) -> bool:
        """Whether nothing speaks against taking it away but what wasn't seen."""
        return not (self.recent or self.perhaps or self.guard)


@dataclass(frozen=True, slots=True)
class UnusedReport:
    """The whole answer."""

    policies: tuple[PolicyUse, ...]
    """What needed them, as the audit counts it; not what they forbid."""
    unused: tuple[Unused, ...]
    attempts: int
    """In their directions."""
    coverage: Coverage
    """What was and wasn't seen."""
    notes: tuple[str, ...]
    """What to bear in mind, each in words."""
    options: AgentOptions
    """Those of the cluster's agents, by which was judged."""

    @property
    def rules(self) -> int:
        """All that the policies have."""
        return sum(len(use.rules) for use in self.policies)

    @property
    def blind(self) -> bool:
        """Whether no attempt was seen: then nobody can tell what is needed."""
        return not self.attempts

    @property
    def found(self) -> bool:
        """Whether anything is unused for certain."""
        return any(one.certain for one in self.unused)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the traffic that policies had."""

    uses: Uses
    clusters: Collection[str]
    """Those of the pods seen."""
    coverage: Coverage
    changed: Mapping[str, int]
    """When verdicts show that a policy came or changed (:func:`changed_at`)."""


class Seeing:
    """Gives what each attempt shows to ``add``, once it is over (flowwatch.flows.join.Listener)."""

    def __init__(self, reach: Reach, add: Callable[[Observation], None]) -> None:
        self.observer = Observer(both_ends=True, reach=reach)
        self._add = add

    def take(self, joined: Joined) -> None:
        """Take in a batch, and what is over with it."""
        self.observer.take(joined)
        for attempt in joined.closed:
            for seen in self.observer.over(attempt, joined.scope):
                self._add(seen)

    def close(self, join: Join) -> None:
        """Take in what is still open. Nothing may be added afterwards."""
        for _, scope, attempt in join.open_attempts():
            for seen in self.observer.over(attempt, scope):
                self._add(seen)


class Finder:
    """Reads the evidence once, for who needs what and for the marks.

    ``recent``: nanoseconds before the end of the evidence in which a change is recent. ``written``: gives
    the time of a policy's file, nanoseconds since 1970; None where it isn't to be asked.
    """

    def __init__(
        self,
        policies: PolicySet,
        recent: int,
        written: Callable[[str], int] | None = None,
        join: Join | None = None,
    ) -> None:
        self._policies = policies
        self._recent = recent
        self._written = written
        self._join = join or Join()

    def read(self, batches: Iterable[Batch]) -> UnusedReport:
        """All of ``batches``, and the report."""
        uses = uses_of(self._policies)
        seeing = Seeing(self._policies.options.reach, uses.add)
        changes = Changes(BOTH, join=self._join)
        self._join.listen(seeing)
        self._join.listen(changes)
        self._join.read(batches)
        seeing.close(self._join)
        changes.close()
        clusters, coverage = seeing.observer.clusters, self._join.coverage()
        return self.told(Evidence(uses, clusters, coverage, changed_at(find(changes.seen))))

    def told(self, evidence: Evidence) -> UnusedReport:
        """The report of what is known already."""
        counted, coverage = [evidence.uses], evidence.coverage
        policies = policy_uses(self._policies, counted)
        found = [
            self._dated(one, use.policy, evidence)
            for use in (policies if evidence.uses.attempts else ())
            for one in _of(use, policies)
        ]
        order = {what: at for at, what in enumerate(WHATS)}
        return UnusedReport(
            policies,
            tuple(sorted(found, key=lambda one: (one.recent, order[one.what]))),
            evidence.uses.attempts,
            coverage,
            tuple(care(self._policies, evidence.clusters, counted, coverage)),
            self._policies.options,
        )

    def _dated(self, one: Unused, policy: Policy, evidence: Evidence) -> Unused:
        seen = evidence.coverage
        changed = self._changed(policy, evidence.changed)
        if changed is None:
            return replace(one, since=seen.first_seen)
        recent = changed.time > seen.last_seen - self._recent
        since = max(seen.first_seen, changed.time) if changed.time < seen.last_seen else 0
        return replace(one, since=since, changed=changed, recent=recent)

    def _changed(self, policy: Policy, named: Mapping[str, int]) -> Changed | None:
        """The later of what verdicts and its file tell."""
        told: list[Changed] = []
        as_named = f"{policy} ({policy.kind})"
        if as_named in named:
            told.append(Changed(named[as_named], "verdicts"))
        if self._written is not None and (time := self._written(policy.file)):
            told.append(Changed(time, "file"))
        return max(told, key=lambda one: one.time, default=None)


def uses_of(policies: PolicySet) -> Uses:
    """Who needs which rule of ``policies``: nobody yet."""
    judge = Judge(policies)
    return Uses(judge, Questions(judge))


def changed_at(marks: Iterable[Mark]) -> dict[str, int]:
    """By policy, as ``namespace/name (kind)``, when it last came or changed; nanoseconds since 1970."""
    changed: dict[str, int] = {}
    for mark in marks:
        for name in (*mark.came, *mark.changed):
            changed[name] = max(changed.get(name, 0), mark.time)
    return changed


def _of(use: PolicyUse, every: Iterable[PolicyUse]) -> Iterator[Unused]:
    if not use.subjects:
        yield Unused("policy", use.policy, None, "", 0, use.unlabelled + use.others)
        return
    for rule in use.rules:
        if not rule.exercised and not _looks_up(rule, use, every):
            yield Unused("rule", use.policy, rule.entry, "", 0, rule.perhaps)
        elif rule.exercised:
            yield from _parts(use.policy, rule)


def _looks_up(rule: RuleUse, use: PolicyUse, every: Iterable[PolicyUse]) -> bool:
    """Whether it shows the DNS proxy lookups for the same pods' names, of which some are needed.

    A lookup that no record shows was made all the same: else no address would have been learnt.
    """
    if not any(one.l7 is not None and one.l7.kind == "dns" for one in rule.entry.ports or ()):
        return False
    return any(
        other.exercised and any(isinstance(peer, Name) for peer in other.entry.peers or ())
        for one in every
        if not {*one.subjects}.isdisjoint(use.subjects)
        for other in one.rules
    )


def _parts(policy: Policy, rule: RuleUse) -> Iterator[Unused]:
    ports = {str(one) for one in rule.entry.ports or ()}
    for text in rule.unused:
        yield Unused("port" if text in ports else "peer", policy, rule.entry, text, 0, rule.perhaps)
