"""What policies allow beside what was used, for each workload: they against the narrowest that keep it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flowwatch.drafts.draft import Document, Draft, Proof, prove
from flowwatch.drafts.rules import Plan
from flowwatch.policy import PolicySet, load
from flowwatch.policy.difference import Change, TooMany, compare


@dataclass(frozen=True, slots=True)
class Gap:
    """One workload, what it may do beside what it did, and a policy that lets it do no more."""

    document: Document
    """The drop-in: in place of the policies that select the workload."""
    proof: Proof
    """What the drop-in decides about the workload's traffic."""
    beside: tuple[Change, ...] = ()
    """What the policies allow and the drop-in doesn't."""
    refused: tuple[Change, ...] = ()
    """What was used, though the policies deny it."""
    wider: tuple[Change, ...] = ()
    """What the drop-in allows, the policies don't, and nothing used: other addresses of a name, mostly."""
    unclear: tuple[Change, ...] = ()
    """What may differ: rules at proxies, and what can't be told."""
    policies: tuple[str, ...] = ()
    """Those that select it now."""
    note: str = ""
    """Why it could not be compared."""

    @property
    def name(self) -> str:
        """The workload."""
        return str(self.document.plan.owner)

    @property
    def used(self) -> int:
        """Attempts that the drop-in is for."""
        return sum(one.attempts for one in self.document.plan.wanted.values())


@dataclass(frozen=True, slots=True)
class GapReport:
    """The whole answer."""

    gaps: tuple[Gap, ...]
    draft: Draft
    """All drop-ins, with what they were learnt from."""
    policies: PolicySet

    @property
    def wide(self) -> list[Gap]:
        """The workloads that may do more than they did."""
        return [one for one in self.gaps if one.beside]


def gaps(draft: Draft, policies: PolicySet) -> GapReport:
    """What ``policies`` allow beside what a draft of the same traffic lets through."""
    return GapReport(tuple(_gap(one, policies) for one in draft.documents), draft, policies)


def _gap(document: Document, policies: PolicySet) -> Gap:
    groups = policies.documents.cidr_groups
    narrow = load([(document.file, document.text)], options=policies.options, groups=groups)
    seen = {
        ends[0].labels: ends[0] for one in document.plan.wanted.values() for ends in one.questions
    }
    proof = prove([document], policies.options, groups)
    directions = document.plan.directions
    selecting = dict.fromkeys(
        entry.policy.reference
        for party in seen.values()
        for direction in directions
        for entry in policies.selected(party, direction).entries
    )
    try:
        found = compare(
            policies, narrow, known=list(seen), any_peers=True,
            cluster=policies.options.cluster or "default",
        )  # fmt: skip
    except TooMany:
        return Gap(
            document, proof, policies=tuple(selecting), note="its rules overlap in too many ways"
        )
    mine = [one for one in found.changes if one.direction in directions]
    wider = tuple(_of(mine, "newly allowed"))
    refused = tuple(one for one in wider if _was_used(one, document.plan, policies))
    return Gap(
        document,
        proof,
        tuple(_of(mine, "newly denied")),
        refused,
        tuple(one for one in wider if one not in refused),
        tuple(_of(mine, "other rules at the proxy", "can't tell")),
        tuple(selecting),
    )


def _was_used(change: Change, plan: Plan, policies: PolicySet) -> bool:
    """Whether any of what was seen is in a change, and is denied by the policies."""
    return any(
        change.holds(*ends, need.protocol, need.port)
        and policies.ask(need.direction, *ends, need.protocol, need.port).decision == "denied"
        for need, seen in plan.wanted.items()
        if need.direction == change.direction
        for ends in seen.questions
    )


def _of(changes: list[Change], *kinds: str) -> Iterator[Change]:
    return (one for one in changes if one.kind in kinds)
