"""Does the policy block as expected, and only that? Each attempt is judged; equal judgements are one row."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from functools import partial

from flowwatch.audit.evidence import Extra, Observation, Observer, several_clusters
from flowwatch.audit.expect import Expected
from flowwatch.audit.findings import (
    KINDS,
    AuditReport,
    BlindSpots,
    Finding,
    Kind,
    PolicyUse,
    RuleUse,
)
from flowwatch.audit.hints import Judged, hints
from flowwatch.audit.judge import Judge, deciders, same_policy
from flowwatch.flows import meaning
from flowwatch.flows.attempts import OpenAttempt
from flowwatch.flows.coverage import Tally
from flowwatch.flows.model import Batch
from flowwatch.policy.engine import Decision, PolicySet
from flowwatch.policy.party import Party
from flowwatch.policy.rules import Direction, Entry, Policy

_OUTCOMES = meaning.OUTCOMES
MAX_ROWS = 200_000
"""Distinct rows kept; attempts beyond are counted together, as inconclusive."""
_TIMED: tuple[Kind, ...] = ("leak", "difference")
_TIMES = 100_000
"""Times of these kept for each row, to tell which came before the policy."""


@dataclass(slots=True)
class _Row:
    """Attempts judged alike."""

    observation: Observation
    decision: Decision
    kind: Kind
    reason: str
    attempts: int = 0
    first: int = 0
    last: int = 0
    times: array[int] = field(default_factory=lambda: array("q"))


_Key = tuple[str, Direction, str, str, str, int, str]


class Audit:
    """Judges batches against policies. Add batches, then ask for the report: at the end,
    or by :meth:`report_now` as often as you like.

    Args:
        policies: the set that is said to be in force.
        applied_at: nanoseconds since 1970 from which it counts; None: from when verdicts show it.
        expected: what must be reached, and what must not.
        on_drop: called with the server and the attempt of each record of a drop.
    """

    def __init__(
        self,
        policies: PolicySet,
        *,
        applied_at: int | None = None,
        expected: Sequence[Expected] = (),
        on_drop: Callable[[str, OpenAttempt, Extra], None] | None = None,
    ) -> None:
        self._on_drop = on_drop
        self.policies = policies
        self.source = ""
        """Told in the report: where the flows come from, and through which filters."""
        self.tally = Tally()
        self._applied_at = applied_at
        self._expected = expected
        self._observers: dict[str, Observer] = {}
        self._rows: dict[_Key, _Row] = {}
        self._enforced: dict[tuple[int, Direction], int] = {}
        self._needed: Counter[Entry] = Counter()
        self._met: dict[Entry, set[int]] = {}
        self._questions: dict[tuple[Party, Party, Direction, str, int], tuple[Entry, ...]] = {}
        self._subjects: dict[Policy, dict[str, None]] = {}
        self._seen_subjects: set[tuple[Party, str]] = set()
        self._blocked: Counter[tuple[Policy, Direction]] = Counter()
        self._verdicts = False
        self.judge = Judge(policies, applied_at)

    def add(self, batch: Batch) -> None:
        """Take in a batch of flows."""
        self.tally.add(batch)
        observer = self._observers.get(batch.origin)
        if observer is None:
            observer = self._observers[batch.origin] = Observer(both_ends=True)
            if self._on_drop is not None:
                observer.on_drop = partial(self._on_drop, batch.origin)
        for observation in observer.add(batch):
            self._judge(observation)

    def read(self, batches: Iterable[Batch]) -> AuditReport:
        """All of ``batches``, and the report."""
        for batch in batches:
            self.add(batch)
        return self.finish()

    def finish(self) -> AuditReport:
        """Judge what is still open, and report. Nothing may be added afterwards."""
        for observer in self._observers.values():
            for observation in observer.rest():
                self._judge(observation)
        return self._report()

    def report_now(self) -> AuditReport:
        """The report as if the evidence ended here; more may be added afterwards.

        Costs as much as judging every open attempt: some 10 µs for each.
        """
        twin = copy(self)
        twin._rows = {key: replace(row, times=row.times[:]) for key, row in self._rows.items()}
        twin._expected = deepcopy(self._expected)
        twin._enforced = dict(self._enforced)
        twin._needed = Counter(self._needed)
        twin._met = {entry: set(met) for entry, met in self._met.items()}
        twin._questions = dict(self._questions)
        twin._subjects = {policy: dict(names) for policy, names in self._subjects.items()}
        twin._seen_subjects = set(self._seen_subjects)
        twin._blocked = Counter(self._blocked)
        for observer in self._observers.values():
            for observation in observer.rest(keep=True):
                twin._judge(observation)
        return twin._report()

    def observer(self, origin: str) -> Observer:
        """What joins the records of one server; KeyError before there were any."""
        return self._observers[origin]

    # One attempt

    def _too_early(self, seen: Observation) -> bool:
        return self._applied_at is not None and seen.first < self._applied_at

    def _judge(self, seen: Observation) -> None:
        subject, way = seen.subject, seen.direction
        if self._expected and not self._too_early(seen):
            applying = id(self.policies.selected(subject, way))
            for one in self._expected:
                one.see(seen, applying)
        decision = self.judge.decide(seen)
        if seen.unknown:
            self._count(seen, decision, "inconclusive", seen.unknown)
            return
        self._use(seen)
        self._verdicts |= decision.selected and seen.verdict
        selected = self.policies.selected(subject, way)
        if decision.selected and _shows_enforcement(seen, decision):
            key = (id(selected), way)
            since = seen.dropped_at or seen.first
            if since < self._enforced.get(key, 1 << 63):
                self._enforced[key] = since
        kind, why = self.judge.verdict(seen, decision)
        named = self.judge.other_policy(seen, decision)
        if named and kind in ("leak", "overblock"):
            why = f"{why}; {named}"
        self._count(seen, decision, kind, why)
        if named and kind == "ok":
            # The verdict is as it should be, but not for the reason that it should be.
            self._count(seen, decision, "difference", named)

    def _count(self, seen: Observation, decision: Decision, kind: Kind, why: str) -> None:
        key = (
            kind,
            seen.direction,
            seen.subject_name,
            seen.peer_name,
            seen.protocol,
            seen.port,
            why,
        )
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= MAX_ROWS:
                key = (
                    "inconclusive",
                    seen.direction,
                    "(others)",
                    "(others)",
                    "",
                    0,
                    "too many different rows",
                )
                row = self._rows.get(key)
            if row is None:
                row = self._rows[key] = _Row(seen, decision, key[0], key[6])
                row.first, row.last = seen.first, seen.last
        row.attempts += 1
        row.first = min(row.first, seen.first)
        row.last = max(row.last, seen.last)
        if kind in _TIMED and len(row.times) < _TIMES:
            row.times.append(seen.first)

    def _use(self, seen: Observation) -> None:
        """Which rules this attempt needs: each is asked by itself, whatever the others decide."""
        subject, peer, way = seen.subject, seen.peer, seen.direction
        question = (subject, peer, way, seen.protocol, seen.port)
        entries = self._questions.get(question)
        if entries is None:
            if len(self._questions) >= MAX_ROWS:
                self._questions.clear()
            entries = self._questions[question] = self._matching(*question)
        self._needed.update(entries)
        if (subject, seen.subject_name) not in self._seen_subjects and len(
            self._seen_subjects
        ) < MAX_ROWS:
            self._seen_subjects.add((subject, seen.subject_name))
            for rule in self.policies.rules:
                if rule.subject.selects(subject):
                    self._subjects.setdefault(rule.policy, {})[seen.subject_name] = None
        if seen.outcome == meaning.DROPPED and seen.by_policy:
            for policy in self.policies.selected(subject, way).denying:
                self._blocked[policy, way] += 1

    def _matching(
        self, subject: Party, peer: Party, way: Direction, protocol: str, port: int
    ) -> tuple[Entry, ...]:
        listener = peer if way == "egress" else subject
        found = []
        for entry in self.policies.selected(subject, way).index.candidates(peer):
            if not entry.matches_peer(peer):
                continue
            ports = [
                at for at, rule in enumerate(entry.ports or ())
                if rule.matches(protocol, port, listener.ports)
            ]  # fmt: skip
            if entry.ports is not None and not ports:
                continue
            found.append(entry)
            met = self._met.setdefault(entry, set())
            met.update(-1 - at for at in ports)
            met.update(at for at, one in enumerate(entry.peers or ()) if one.matches(peer))
        return tuple(found)

    # The report

    def _report(self) -> AuditReport:
        findings: list[Finding] = []
        counts: Counter[Kind] = Counter()
        for row in self._rows.values():
            for kind, attempts, why in self._split(row):
                counts[kind] += attempts
                findings.append(self._finding(row, kind, attempts, why))
        order = {kind: at for at, kind in enumerate(KINDS)}
        findings.sort(
            key=lambda one: (order[one.kind], -one.attempts, one.subject, one.peer, one.port)
        )
        judged = sum(counts[kind] for kind in ("leak", "overblock", "ok"))
        total = judged + counts["inconclusive"] + counts["not covered"]
        blind = BlindSpots(
            self.tally.first_seen, self.tally.last_seen, self.tally.records_read, len(self.tally.nodes),
            total, judged, sum(one.attempts.replies for one in self._observers.values()),
            tuple(self._care(total - counts["not covered"])), self.source,
            self.tally.much_missing,
        )  # fmt: skip
        since = {key: time for (key, way), time in self._enforced.items() if way == "egress"}
        if self._applied_at is not None:
            since = {}  # what came before was left out at once
        leaked = {
            (policy, one.direction)
            for one in findings
            if one.kind == "leak"
            for policy in one.policies
        }
        return AuditReport(
            tuple(findings), self._uses(leaked), blind, dict(counts), self._notes(),
            tuple(one.result(since) for one in self._expected),
            hints(
                self.policies,
                [Judged(row.observation, row.decision, row.attempts) for row in self._rows.values()],
                {k: v for one in self._observers.values() for k, v in one.aliases.items()},
            ),
        )  # fmt: skip

    def _care(self, covered: int) -> Iterator[str]:
        """What to bear in mind, before all numbers."""
        yield from several_clusters(self._observers.values())
        if covered and not self._verdicts:
            yield (
                "no policy verdict of the pods that these policies select: nothing is enforced on them, "
                "or verdict records are off or left out (flowwatch doctor tells)"
            )
        yield from self.tally.warnings()

    def _split(self, row: _Row) -> list[tuple[Kind, int, str]]:
        """What came before the first sign that the policy is in force proves nothing."""
        if row.kind not in _TIMED or self._applied_at is not None:
            return [(row.kind, row.attempts, row.reason)]
        selected = self.policies.selected(row.observation.subject, row.observation.direction)
        since = self._enforced.get((id(selected), row.observation.direction))
        if since is None:
            return [(row.kind, row.attempts, row.reason)]
        before = sum(time < since for time in row.times)
        parts: list[tuple[Kind, int, str]] = []
        if row.attempts > before:
            parts.append((row.kind, row.attempts - before, row.reason))
        if before and row.kind == "leak":
            parts.append(("inconclusive", before, "before verdicts show the policy in force"))
        return parts

    def _finding(self, row: _Row, kind: Kind, attempts: int, why: str) -> Finding:
        seen, decision = row.observation, row.decision
        closest = self.judge.closest(seen, decision) if kind in ("leak", "ok") else ""
        policies = tuple(deciders(decision))
        return Finding(
            kind, seen.direction, seen.subject_name, seen.peer_name, seen.protocol, seen.port, attempts,
            row.first, row.last, decision.decision, _OUTCOMES[seen.outcome], why + closest,
            decision.entries, policies, _ADVICE.get(kind, ""),
        )  # fmt: skip

    def _uses(self, leaked: set[tuple[Policy, Direction]]) -> tuple[PolicyUse, ...]:
        """What each policy did; what leaked was tried, so that nothing is unproven there."""
        uses = []
        for policy in self.policies.policies:
            rules = [rule for rule in self.policies.rules if rule.policy is policy]
            entries = [entry for rule in rules for entry in rule.entries]
            denied = {way for rule in rules for way, on in rule.default_deny.items() if on}
            denied |= {entry.direction for entry in entries if entry.verdict == "deny"}
            unproven = tuple(
                way for way in sorted(denied)
                if not self._blocked[policy, way] and (policy, way) not in leaked  # type: ignore[index]
            )  # fmt: skip
            uses.append(
                PolicyUse(
                    policy,
                    tuple(self._subjects.get(policy, ())),
                    tuple(map(self._rule_use, entries)),
                    unproven,
                )
            )
        return tuple(uses)

    def _rule_use(self, entry: Entry) -> RuleUse:
        met = self._met.get(entry, set())
        unused = []
        if len(entry.peers or ()) > 1:
            unused += [str(one) for at, one in enumerate(entry.peers or ()) if at not in met]
        if len(entry.ports or ()) > 1:
            unused += [str(one) for at, one in enumerate(entry.ports or ()) if -1 - at not in met]
        attempts = self._needed[entry]
        return RuleUse(entry, attempts, tuple(unused) if attempts else ())

    def _notes(self) -> tuple[str, ...]:
        documents = self.policies.documents
        notes = [
            f"{old.reference} in {old.file}, line {old.line}, is replaced by "
            f"the one in {new.file}, line {new.line}"
            for old, new in documents.replaced
        ]
        notes += documents.missing
        if documents.skipped:
            kinds = ", ".join(
                f"{kind} ({count})" for kind, count in documents.skipped.most_common(5)
            )
            notes.append(
                f"{documents.skipped.total()} objects are no policies and were skipped: {kinds}"
            )
        return tuple(notes)


_ADVICE: dict[Kind, str] = {
    "leak": "check that the policy is applied and enforced, and that no wider one allows it",
    "overblock": "look for another policy that denies it, an older revision, or changed labels",
    "difference": "give all policies of the cluster: kubectl get cnp,ccnp,netpol -A -o yaml",
}


def _shows_enforcement(seen: Observation, decision: Decision) -> bool:
    """Whether a verdict shows that these policies are in force for the subject."""
    if seen.outcome == meaning.DROPPED:
        return seen.by_policy and decision.decision == "denied"
    return any(
        same_policy(ref, entry.policy) for ref in seen.named_allowed for entry in decision.entries
    )
