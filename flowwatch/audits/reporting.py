"""The report of an audit: from counts to findings, what each rule did, and how far it can be trusted."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from flowwatch.audits.advice import advice
from flowwatch.audits.counts import TIMED, Counts, JudgedRow
from flowwatch.audits.document_notes import document_notes, foreign_of
from flowwatch.audits.evidence import Observer, Version
from flowwatch.audits.findings import (
    KINDS,
    AuditReport,
    BlindSpots,
    Finding,
    Kind,
    PolicyUse,
)
from flowwatch.audits.hints import hints
from flowwatch.audits.judge import BY_OTHERS, Judge, deciders, refusal
from flowwatch.audits.judged import Judged
from flowwatch.audits.uses import care, policy_uses
from flowwatch.flows import meaning
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.join import Join
from flowwatch.policy.rules import Entry, Policy, Rule

_OUTCOMES = meaning.OUTCOMES
_ADDRESSES = 3
"""Told of one finding."""


class Reporter:
    """Makes one report of the attempts that are over and of those that are still open."""

    def __init__(
        self, judge: Judge, over: Counts, now: Counts, join: Join, observer: Observer, source: str
    ) -> None:
        self.judge = judge
        self.policies = judge.policies
        self._coverage = join.coverage()
        self._join = join
        self._observer = observer
        self._source = source
        self._applied_at = judge.applied_at
        self._both = (over, now)
        self._rows = list(_added(over, now))
        self._expected = now.expected
        self._enforced = dict(over.enforced)
        for key, since in now.enforced.items():
            self._enforced[key] = min(since, self._enforced.get(key, since))

    def report(self) -> AuditReport:
        """The whole answer."""
        findings: list[Finding] = []
        counts: Counter[Kind] = Counter()
        for row in self._rows:
            for kind, attempts, why in self._split(row):
                counts[kind] += attempts
                findings.append(self._finding(row, kind, attempts, why))
        findings = list(_told_apart(findings))
        order = {kind: at for at, kind in enumerate(KINDS)}
        findings.sort(
            key=lambda one: (
                order[one.kind],
                one.kind == "not covered" and not one.reason.startswith(BY_OTHERS),
                *(-one.attempts, one.subject, one.peer, one.port),
            )
        )
        judged = sum(counts[kind] for kind in ("leak", "overblock", "ok"))
        covered = judged + counts["inconclusive"]
        total = covered + counts["unexplained"] + counts["not covered"]
        blind = BlindSpots(self._coverage, total, judged, self._care(), self._source)
        since = {key: time for (key, way), time in self._enforced.items() if way == "egress"}
        if self._applied_at is not None:
            since = {}  # what came before was left out at once
        leaked: set[tuple[Policy, str] | Entry] = set()
        for one in findings:
            if one.kind == "leak":
                leaked.update(one.entries or ((policy, one.direction) for policy in one.policies))
        told = hints(
            self.policies,
            [
                Judged(
                    row.observation,
                    row.decision,
                    row.attempts,
                    row.late,
                    row.waited,
                    row.unauthenticated,
                )
                for row in self._rows
            ],
            {k: v for one in self._join.scopes.values() for k, v in one.names.aliases.items()},
            frozenset().union(*(one.let_through for one in self._both)),
        )
        return AuditReport(
            tuple(findings), self._uses(leaked), blind, dict(counts), document_notes(self.policies.documents),
            tuple(one.result(since) for one in self._expected),
            tuple(one for one in told if not one.incident),
            tuple(one for one in told if one.incident),
            self.policies.options,
        )  # fmt: skip

    def _care(self) -> tuple[str, ...]:
        counted = [one.uses for one in self._both]
        return tuple(care(self.policies, self._observer.clusters, counted, self._coverage))

    def _split(self, row: JudgedRow) -> list[tuple[Kind, int, str]]:
        """What came before the policies were in force, or before this version of them, proves nothing."""
        if row.kind not in TIMED or self._applied_at is not None:
            return [(row.kind, row.attempts, row.reason)]
        seen = row.observation
        selected = self.policies.selected(seen.subject, seen.direction)
        enforced = self._enforced.get((id(selected), seen.direction), 0)
        parts: Counter[tuple[Kind, str]] = Counter()
        for (namespace, pod, verdict), times in row.times.items():
            version = self._observer.versions.get((namespace, pod))
            since = version.since if version is not None and version.replaced else 0
            ended = self._observer.last_verdict.get((namespace, pod, seen.direction), 0)
            for time in times:
                if time < enforced and row.kind == "leak":
                    parts["inconclusive", "before verdicts show the policy in force"] += 1
                elif time < since and version is not None:
                    parts["inconclusive", _before(version)] += 1
                elif time < enforced and row.kind == "difference":
                    continue
                elif row.kind == "leak" and not verdict and 0 < ended < time:
                    parts["leak", f"{row.reason}; {_unenforced(ended)}"] += 1
                else:
                    parts[row.kind, row.reason] += 1
        left = row.attempts - sum(len(times) for times in row.times.values())
        if left > 0:
            parts[row.kind, row.reason] += left
        return [(kind, attempts, why) for (kind, why), attempts in parts.items()]

    def _finding(self, row: JudgedRow, kind: Kind, attempts: int, why: str) -> Finding:
        seen, decision = row.observation, row.decision
        more = self.judge.closest(seen, decision) if kind in ("leak", "ok") else ""
        refused = refusal(seen, decision) if kind == "ok" and decision.l7 else ""
        if refused:
            more = f": none allows {refused}" + (" (the first of them)" if attempts > 1 else "")
        expected = "denied" if refused or (kind == "leak" and decision.l7) else decision.decision
        if kind in ("overblock", "unexplained"):
            more += foreign_of(self.policies.documents, seen.subject)
        before = f"{seen.cluster}/" if seen.cluster and len(self._observer.clusters) > 1 else ""
        return Finding(
            kind, seen.direction, before + seen.subject_name, seen.peer_name, seen.protocol, seen.port,
            attempts, row.first, row.last, expected, _OUTCOMES[seen.outcome], why + more,
            decision.entries, tuple(deciders(decision)), advice(kind, self.judge, seen, decision),
            _some(row.addresses),
        )  # fmt: skip

    def _uses(self, leaked: set[tuple[Policy, str] | Entry]) -> tuple[PolicyUse, ...]:
        """What each policy did; what leaked was tried, so that nothing is unproven there."""
        tried = leaked.union(*(one.blocked for one in self._both))
        rehearsed, unclear = self._open_questions()
        uses = []
        for use in policy_uses(self.policies, [one.uses for one in self._both]):
            policy = use.policy
            rules = [rule for rule in self.policies.rules if rule.policy is policy]
            uses.append(
                replace(
                    use,
                    unproven=tuple(_unproven(policy, rules, tried)),
                    rehearsed=rehearsed.get(policy, {}),
                    unclear=unclear.get(policy, {}),
                )
            )
        return tuple(uses)

    def _open_questions(self) -> tuple[_ByPolicy, _ByPolicy]:
        """Attempts that audit mode let through, and those that can't be told, by whose they may be."""
        rehearsed: _ByPolicy = {}
        unclear: _ByPolicy = {}
        for row in self._rows:
            seen, decision = row.observation, row.decision
            if row.kind != "inconclusive" or not seen.judged:
                continue
            if seen.outcome == meaning.AUDIT:
                into, whose = rehearsed, deciders(decision)
            elif decision.decision == "cant_tell":
                entries = self.policies.selected(seen.subject, seen.direction).entries
                into, whose = unclear, [entry.policy for entry in entries]
            else:
                continue
            for policy in dict.fromkeys(whose):
                into.setdefault(policy, Counter())[seen.direction] += row.attempts
        return rehearsed, unclear


def _unproven(
    policy: Policy, rules: list[Rule], tried: set[tuple[Policy, str] | Entry]
) -> Iterator[str]:
    """What a policy forbids and nothing tried: its default deny, its deny rules (PolicyUse.unproven)."""
    for way in ("egress", "ingress"):
        parts: dict[str, tuple[Policy, str] | Entry] = {}
        if any(rule.default_deny.get(way) for rule in rules):
            parts["default deny"] = (policy, way)
        for entry in (one for rule in rules for one in rule.entries):
            if entry.direction == way and (entry.effect == "deny" or entry in tried):
                parts[entry.place] = entry
        open_ = [name for name, part in parts.items() if part not in tried]
        if open_ and len(open_) == len(parts):
            yield way
        else:
            yield from (f"{way}, by {name}" for name in open_)


def _some(addresses: dict[str, None]) -> str:
    told = [one for one in addresses if one]
    return ", ".join(told[:_ADDRESSES]) + (", …" if len(told) > _ADDRESSES else "")


def _told_apart(findings: list[Finding]) -> Iterator[Finding]:
    """Addresses stay only where two findings would else read the same."""

    def line(one: Finding) -> tuple[object, ...]:
        return (
            one.kind,
            one.direction,
            one.subject,
            one.peer,
            one.protocol,
            one.port,
            one.observed,
        )

    alike: dict[tuple[object, ...], set[str]] = {}
    for one in findings:
        alike.setdefault(line(one), set()).add(one.apart)
    for one in findings:
        yield one if len(alike[line(one)]) > 1 else replace(one, apart="")


_ByPolicy = dict[Policy, Counter[str]]
_NO_TIMES = array("q")


def _before(version: Version) -> str:
    return (
        f"before this version of the policies: verdicts name revision {version.revision} from "
        f"{time_of_day(version.since)} UTC on, and an older one until then"
    )


def _unenforced(ended: int) -> str:
    return (
        f"since {time_of_day(ended)} UTC nothing enforces it: no verdict of the pod's policies came after, "
        "as if they were taken away"
    )


def _added(over: Counts, now: Counts) -> Iterator[JudgedRow]:
    """Rows of both; neither is changed."""
    for key, row in over.rows.items():
        more = now.rows.get(key)
        yield (
            row
            if more is None
            else replace(
                row,
                attempts=row.attempts + more.attempts,
                first=min(row.first, more.first),
                last=max(row.last, more.last),
                late=row.late + more.late,
                unauthenticated=row.unauthenticated + more.unauthenticated,
                waited=max(row.waited, more.waited),
                times={
                    key: row.times.get(key, _NO_TIMES) + more.times.get(key, _NO_TIMES)
                    for key in {**row.times, **more.times}
                },
                addresses={**row.addresses, **more.addresses},
            )
        )
    for key, row in now.rows.items():
        if key not in over.rows:
            yield row
