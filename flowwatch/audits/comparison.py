"""What changes for one attempt between two sets of policies: what ``whatif`` and staged columns tell alike.

comparison = Comparison(draft, current)
comparison.of(observation).change
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from flowwatch.audits.evidence import Observation
from flowwatch.audits.judge import passes_requests, unaddressed
from flowwatch.audits.noise import lost
from flowwatch.audits.options import Elsewhere, other_cluster
from flowwatch.flows import meaning
from flowwatch.policy.documents import Documents
from flowwatch.policy.engine import Decision, PolicySet
from flowwatch.policy.nearest import closest
from flowwatch.policy.rules import Entry

Change = Literal["newly denied", "newly allowed", "can't tell", "unchanged"]
CHANGES: tuple[Change, ...] = ("newly denied", "newly allowed", "can't tell", "unchanged")

Answer = Literal["allowed", "denied", "unknown"]


class Compared(NamedTuple):
    """One attempt in one direction, as things are and as they would be."""

    change: Change
    now: Answer
    then: Answer
    why: str
    """Of what it would be then, or why that can't be told."""
    decision: Decision | None = None
    """By the policies as they would be; None where nobody can ask them."""
    entries: tuple[Entry, ...] = ()
    """The rules that decide then, where it is the draft that does."""


class Comparison:
    """Policies as they are (None: not known, what happened counts), and with a draft laid over them."""

    def __init__(self, draft: PolicySet, current: PolicySet | None = None) -> None:
        self.draft, self.current = draft, current
        self.after = overlaid(current, draft)
        self._elsewhere = Elsewhere(self.after)

    def of(self, seen: Observation) -> Compared:
        """What the draft would change for an attempt."""
        after = self.after
        if seen.noise:
            return Compared("unchanged", "denied", "denied", lost(seen))
        if unknown := seen.unknown or unaddressed(after, seen):
            return Compared("can't tell", "unknown", "unknown", unknown)
        if elsewhere := other_cluster(self.draft.options, seen.cluster):
            now = self._now(seen)
            return Compared("unchanged", now, now, elsewhere)
        then, why, decision = _answer(after, seen)
        now = self._now(seen)
        selected = after.selected(seen.subject, seen.direction)
        if self.current is None and not (selected.ruled or selected.init):
            return Compared("unchanged", now, now, "the draft doesn't select the pod", decision)
        change: Change
        if "unknown" in (now, then):
            change = "can't tell"
            if then != "unknown":
                why = f"{_NO_NOW.get(seen.outcome, 'what happens now is not known')}; then {why}"
        elif now == then:
            change = "unchanged"
        else:
            change = "newly denied" if then == "denied" else "newly allowed"
        if now != then and then != "unknown" and (unless := self._elsewhere.unless(seen, decision)):
            why += f"; {unless}"
        why += closest(
            after, decision, seen.direction, seen.subject, seen.peer,
            seen.protocol, seen.asked_port, seen.known,
        )  # fmt: skip
        return Compared(change, now, then, why, decision, decision.entries)

    def _now(self, seen: Observation) -> Answer:
        if self.current is not None:
            return _answer(self.current, seen)[0]
        if seen.outcome in (meaning.FORWARDED, meaning.AUDIT, meaning.ERROR):
            return "allowed"
        if seen.outcome == meaning.DROPPED:
            # What was lost otherwise, no policy kept from passing.
            return "denied" if seen.by_policy else "allowed"
        return "unknown"


_NO_NOW = {meaning.UNKNOWN: "what the proxy decides now is not in the records"}


def _answer(policies: PolicySet, seen: Observation) -> tuple[Answer, str, Decision]:
    """What a set of policies says about an attempt; the requests of L7 rules one by one."""
    decision = policies.ask(seen.direction, seen.subject, seen.peer, seen.protocol, seen.asked_port)
    if decision.decision == "cant_tell":
        return "unknown", decision.reason.removeprefix("can't tell: "), decision
    if decision.decision == "denied":
        return "denied", decision.reason, decision
    if not decision.l7 or decision.pass_all:
        return "allowed", decision.reason, decision
    passes = passes_requests(decision, seen.requests)
    if isinstance(passes, str):
        return "unknown", passes, decision
    if passes:
        return "allowed", decision.reason, decision
    return "denied", f"{decision.reason}: no L7 rule allows what was asked", decision


def overlaid(current: PolicySet | None, draft: PolicySet) -> PolicySet:
    """The policies after the draft was applied: one of the same kind and name replaces the other."""
    if current is None:
        return draft
    new = {(one.kind, one.namespace, one.name) for one in draft.policies}
    kept = [one for one in current.rules
            if (one.policy.kind, one.policy.namespace, one.policy.name) not in new]  # fmt: skip
    documents = Documents(rules=[*kept, *draft.rules])
    documents.policies = list(dict.fromkeys(rule.policy for rule in documents.rules))
    return PolicySet(documents, cluster=draft.cluster, options=draft.options)
