"""A draft from traffic, proven on that traffic before anyone applies it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from flowwatch.drafts.documents import (
    Kind,
    name_of_policy,
    unsaid_in_kubernetes,
    written,
)
from flowwatch.drafts.explaining import explained
from flowwatch.drafts.given import Given
from flowwatch.drafts.judging import Ask, Inquiry, ask_of
from flowwatch.drafts.needs import MAX_NEEDS, Needs, Owner, Subject
from flowwatch.drafts.rules import Plan, Planner, Rule, spelt
from flowwatch.drafts.stability import Stability, until_stable
from flowwatch.flows.clocks import span
from flowwatch.flows.coverage import Coverage, other_way_words
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch
from flowwatch.policy import PolicySet, load
from flowwatch.policy.agent_options import UNKNOWN, AgentOptions
from flowwatch.policy.groups import CidrGroups
from flowwatch.text import plural

_SHORT = 3600
_NAMED = 10
"""Of who was quiet, those that are named."""
_FEW = 3
"""Attempts below which a need may be one of many that are as rare."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the drafted policies decide about the traffic that they come from, in attempts."""

    allowed: int = 0
    """Needed, and let through."""
    needed: int = 0
    denied: int = 0
    """Dropped before, and by the draft."""
    dropped: int = 0
    unknown: int = 0
    """Of which can't be told what the draft would do."""
    failing: tuple[str, ...] = ()
    """Needs that the draft doesn't let through, each in words: there should be none."""

    @property
    def words(self) -> str:
        """In a sentence; not made safe."""
        told = (
            f"allows {self.allowed:,} of {self.needed:,} needed, "
            f"denies {self.denied:,} of {self.dropped:,} others"
        )
        if self.unknown:
            told += f", {self.unknown:,} can't be told"
        if self.failing:
            told += f"; not allowed though needed: {', '.join(self.failing)}"
        return told


@dataclass(frozen=True, slots=True)
class Document:
    """One policy of a draft."""

    plan: Plan
    text: str
    """YAML with comments."""

    @property
    def file(self) -> str:
        """A file's name for it."""
        return f"{self.plan.owner.namespace}-{name_of_policy(self.plan)}.yaml"


@dataclass(frozen=True, slots=True)
class Draft:
    """The whole answer."""

    documents: tuple[Document, ...]
    proof: Proof
    attempts: int
    coverage: Coverage
    notes: tuple[str, ...] = ()
    """What makes it less than what is needed, each in words."""
    quiet: tuple[str, ...] = ()
    """Who was seen, but needs nothing that could be learnt: no policy is drafted for them."""

    plans: tuple[Plan, ...] = ()
    """Of all who were seen."""
    kind: Kind = "cnp"

    @property
    def text(self) -> str:
        """All documents in one."""
        return "---\n".join(one.text for one in self.documents)

    @property
    def dropped(self) -> Iterator[str]:
        """What a person may choose of what was dropped, as it is chosen; not made safe."""
        for plan in self.plans:
            yield from (spelt(one.target, one.port) for one in plan.candidates)

    @property
    def quiet_words(self) -> str:
        """:attr:`quiet`, the first of them by name; not made safe."""
        more = len(self.quiet) - _NAMED
        named = ", ".join(self.quiet[:_NAMED])
        return f"{named} and {more:,} more" if more > 0 else named

    def why(self, asked: str) -> list[str]:
        """Why a peer (``api.github.com:443``, or without its port) is allowed or not, a line for each
        owner that tried it; not made safe."""
        found = []
        for plan in self.plans:
            found += [f"{plan.owner}: {line}" for line in explained(plan, asked, self.kind)]
        return found


@dataclass(slots=True)
class Drafter:
    """Makes a draft of batches."""

    owner: Subject = "workload"
    kind: Kind = "cnp"
    directions: frozenset[str] = frozenset({"egress"})
    picked: tuple[str, ...] = ()
    options: AgentOptions = UNKNOWN
    """What the agents decide by."""
    given: PolicySet | None = None
    """Policies that are there: a draft says groups of addresses and ports as they do."""
    stable: int = 0
    """Nanoseconds without anything new after which a rule is stable; 0: nothing is said of it."""
    follows: bool = False
    """Whether what is read goes on: then the end of the evidence is now, not the last record."""
    l7: bool = False
    """Whether rules say which requests of HTTP they let pass, where a proxy saw them."""
    dns_names: bool = False
    """Whether only lookups of what is needed are let pass."""
    explains: bool = False
    """Whether it will be asked why something isn't in the draft."""
    join: Join = field(default_factory=Join)
    """What it listens to."""
    needs: Needs = field(init=False)

    def __post_init__(self) -> None:
        reach = self.options.reach
        self.needs = Needs(
            self.owner, self.directions, self.join, reach=reach,
            requests=self.l7, lookups=self.dns_names or self.explains,
        )  # fmt: skip

    @property
    def groups(self) -> CidrGroups | None:
        """Those that the draft may refer to."""
        return None if self.given is None else self.given.documents.cidr_groups

    def planner(self) -> Planner:
        """Of what is known by now."""
        given = Given(self.given)
        return Planner(self.needs, self.picked, given, names_lookups=self.dns_names)

    def stability(self) -> Stability | None:
        """By which rules say whether they still learn."""
        last = self.needs.join.coverage().last_seen
        now = max(last, time.time_ns()) if self.follows else last
        return Stability(self.stable, now) if self.stable else None

    def read(self, batches: Iterable[Batch]) -> Draft:
        """All of ``batches``, or as long as anything new comes, and the draft."""
        if self.follows and self.stable:
            batches = until_stable(batches, self.needs, self.stable)
        self.needs.read(batches)
        return self.draft()

    def draft(self) -> Draft:
        """What is known by now as policies."""
        planner = self.planner()
        every = planner.plans()
        plans = [plan for plan in every if plan.rules]
        coverage = self.needs.join.coverage()
        stability = self.stability()
        documents = tuple(
            Document(
                plan,
                written(
                    plan,
                    self.kind,
                    head_of(plan, coverage, self.kind, stability),
                    stability=stability,
                ),
            )
            for plan in plans
        )
        notes = [*care_of(coverage), *self._notes(plans, planner)]
        silent = {plan.owner for plan in every if not plan.rules}
        silent |= self.needs.met - self.needs.owners.keys()
        quiet = tuple(_told_apart(sorted(silent)))
        proof = prove(documents, self.options, self.groups)
        return Draft(
            documents, proof, self.needs.attempts, coverage,
            tuple(notes), quiet, tuple(every), self.kind,
        )  # fmt: skip

    def _notes(self, plans: Sequence[Plan], planner: Planner) -> Iterator[str]:
        yield from (f"{one} was not dropped: nothing to allow" for one in sorted(planner.unmatched))
        for direction in self.directions if len(self.directions) == 1 else ():
            yield from other_way_words(direction, self.needs.attempts, self.needs.elsewhere)
        if self.needs.left_out:
            yield f"left out, beyond {MAX_NEEDS:,} needs: {plural(self.needs.left_out, 'attempt')}"
        for why, attempts in sorted(self.needs.unusable.items()):
            yield f"{plural(attempts, 'attempt')} can't teach anything: {why}"
        if self.kind == "knp":
            for plan in plans:
                yield from (f"{plan.owner}: {lost}" for rule in plan.rules for lost in _lost(rule))


def _told_apart(owners: Sequence[Owner]) -> Iterator[str]:
    """Their names, with the cluster before those that several have one of."""
    named = Counter(map(str, owners))
    for one in owners:
        yield f"{one.cluster}/{one}" if named[str(one)] > 1 and one.cluster else str(one)


def _lost(rule: Rule) -> Iterator[str]:
    """What Kubernetes' policies can't say of a rule."""
    if why := unsaid_in_kubernetes(rule):
        yield f"NetworkPolicy has no word for it: {why}"
        return
    if rule.http:
        yield "NetworkPolicy has no word for requests: any are let through where only some were seen"
    if rule.form in ("name", "group"):
        names = ", ".join(target.text for target in rule.targets)
        what = "names" if rule.form == "name" else "CIDR groups"
        yield f"NetworkPolicy knows no {what}: {names} by address, which may change"


def head_of(
    plan: Plan, coverage: Coverage, kind: Kind, stability: Stability | None = None
) -> list[str]:
    """What stands on top of a policy, a line each; not made safe."""
    pods = plural(len(plan.owned.pods), "pod") if plan.owned.pods else "pods that aren't named"
    head = [f"Drafted by flowwatch from what {plan.owner} ({pods}) was let through."]
    if stability is not None:
        head.append(stability.of_plan(plan))
    head += care_of(coverage)
    seen = [one.attempts for rule in plan.rules for one in rule.evidence.values()]
    if rare := sum(attempts < _FEW for attempts in seen):
        were = "was" if rare == 1 else "were"
        head.append(
            f"{rare} of {plural(len(seen), 'need')} {were} seen fewer than {_FEW} times: "
            "others that are as rare are perhaps missing"
        )
    if kind == "knp":
        head += [lost for rule in plan.rules for lost in _lost(rule)]
    return head


def care_of(coverage: Coverage) -> Iterator[str]:
    """What makes traffic less than all that is needed, each in words."""
    if 0 < coverage.seconds < _SHORT:
        yield f"Seen for {span(coverage.seconds)} only: what runs hourly or nightly is perhaps missing"
    yield from coverage.warnings


def prove(
    documents: Sequence[Document],
    options: AgentOptions = UNKNOWN,
    groups: CidrGroups | None = None,
) -> Proof:
    """What ``documents`` decide about all that was seen of their owners, by the engine that audits use."""
    texts = [(one.file, one.text) for one in documents]
    policies = load(texts, options=options, groups=groups)
    return proven(ask_of(policies), [one.plan for one in documents])


def proven(ask: Ask, plans: Iterable[Plan]) -> Proof:
    """What policies decide about all that was seen of the owners of ``plans``."""
    sums: Counter[str] = Counter()
    failing = []
    for plan in plans:
        dropped = {one.need: one.evidence for one in plan.candidates}
        for wanted, of in ((True, plan.wanted), (False, dropped)):
            for need, seen in of.items():
                asked = seen.requests if wanted else ()
                decided = {
                    ask(Inquiry(need.direction, *ends, need.protocol, need.port), asked)
                    for ends in seen.questions
                }
                sums["needed" if wanted else "dropped"] += seen.attempts
                if "cant_tell" in decided:
                    sums["unknown"] += seen.attempts
                elif decided == {"allowed" if wanted else "denied"}:
                    sums["allowed" if wanted else "denied"] += seen.attempts
                elif wanted:
                    failing.append(f"{need.peer.name}:{need.port}/{need.protocol}")
    return Proof(**sums, failing=tuple(failing))
