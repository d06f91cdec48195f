"""Does the policy block as expected, and only that? Each attempt is judged; equal judgements are one row."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from flowwatch.flows import meaning
from flowwatch.flows.model import Batch, Layer7, PolicyRef
from flowwatch.flows.reasons import reason as drop_reason
from flowwatch.flows.tally import Tally
from flowwatch.policy.engine import Decision, PolicySet
from flowwatch.policy.evidence import Observation, Observer, Request
from flowwatch.policy.expect import Expected
from flowwatch.policy.findings import (
    KINDS,
    AuditReport,
    BlindSpots,
    Finding,
    Kind,
    PolicyUse,
    RuleUse,
)
from flowwatch.policy.hints import Judged, hints
from flowwatch.policy.nearest import near_misses
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
    """Judges batches against policies. Add batches, then ask for the report as often as you like.

    Args:
        policies: the set that is said to be in force.
        applied_at: nanoseconds since 1970 from which it counts; None: from when verdicts show it.
        expected: what must be reached, and what must not.
    """

    def __init__(
        self,
        policies: PolicySet,
        *,
        applied_at: int | None = None,
        expected: Sequence[Expected] = (),
    ) -> None:
        self.policies = policies
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
        self._known = {(one.kind, one.namespace, one.name) for one in policies.policies}

    def add(self, batch: Batch) -> None:
        """Take in a batch of flows."""
        self.tally.add(batch)
        observer = self._observers.get(batch.origin)
        if observer is None:
            observer = self._observers[batch.origin] = Observer(both_ends=True)
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

    # One attempt

    def _judge(self, seen: Observation) -> None:
        subject, peer, way = seen.subject, seen.peer, seen.direction
        for one in self._expected:
            one.see(seen)
        if seen.unknown:
            unknown = Decision("cant_tell", "unknown", selected=False, doubts=(seen.unknown,))
            self._count(seen, unknown, "inconclusive", seen.unknown)
            return
        decision = self.policies.ask(way, subject, peer, seen.protocol, seen.port)
        self._use(seen)
        selected = self.policies.selected(subject, way)
        if decision.selected and _shows_enforcement(seen, decision):
            key = (id(selected), way)
            since = seen.dropped_at or seen.first
            if since < self._enforced.get(key, 1 << 63):
                self._enforced[key] = since
        kind, why = self._verdict(seen, decision)
        named = self._other_policy(seen, decision)
        if named and kind in ("leak", "overblock"):
            why = f"{why}; {named}"
        self._count(seen, decision, kind, why)
        if named and kind == "ok":
            # The verdict is as it should be, but not for the reason that it should be.
            self._count(seen, decision, "difference", named)

    def _verdict(self, seen: Observation, decision: Decision) -> tuple[Kind, str]:
        """The kind of a judged attempt, and why."""
        if not decision.selected:
            if seen.outcome == meaning.DROPPED and seen.by_policy:
                return "not covered", "dropped by a policy that was not given"
            return "not covered", decision.reason
        if seen.outcome == meaning.AUDIT:
            return "inconclusive", "audit mode is on: it passed, and would be denied"
        if self._applied_at is not None and seen.first < self._applied_at:
            return "inconclusive", "before the policy was applied"
        if decision.decision == "cant_tell":
            return "inconclusive", decision.reason.removeprefix("can't tell: ")
        if seen.outcome == meaning.DROPPED and not seen.by_policy:
            if seen.waits_for_auth:
                return "inconclusive", "authentication was not done yet: first packets drop"
            name = drop_reason(seen.reason).name
            return "inconclusive", f"dropped for a reason that is no policy's: {name}"
        if decision.decision == "denied":
            return self._denied(seen, decision)
        return self._allowed(seen, decision)

    def _denied(self, seen: Observation, decision: Decision) -> tuple[Kind, str]:
        if seen.outcome == meaning.DROPPED:
            return "ok", decision.reason
        if seen.outcome == meaning.FORWARDED:
            if not seen.opened:
                return "inconclusive", "opened before the first record, perhaps before the policy"
            return "leak", decision.reason
        return "inconclusive", _NO_OUTCOME[seen.outcome]

    def _allowed(self, seen: Observation, decision: Decision) -> tuple[Kind, str]:
        if decision.l7:
            return self._proxied(seen, decision)
        if seen.outcome == meaning.DROPPED:
            return "overblock", decision.reason
        if seen.outcome == meaning.UNKNOWN and not seen.requests:
            # The packets went to a proxy that these policies don't ask for.
            return "inconclusive", _NO_OUTCOME[meaning.UNKNOWN]
        return "ok", decision.reason

    def _proxied(self, seen: Observation, decision: Decision) -> tuple[Kind, str]:
        """Allowed as far as the proxy: its rules decide each request, as far as records have them."""
        if not seen.requests:
            if seen.outcome == meaning.DROPPED:
                return "overblock", decision.reason
            if seen.outcome == meaning.FORWARDED and not (decision.pass_all or _all_pass(decision)):
                # DNS over a proxy without its L7 record, or HTTP that nobody looked into.
                return (
                    "inconclusive",
                    "sent to the proxy, without the record of what the proxy decided",
                )
            if seen.outcome in (meaning.UNKNOWN, meaning.ERROR):
                return "inconclusive", _NO_OUTCOME[seen.outcome]
            return "ok", decision.reason
        doubt = ""
        for request in seen.requests:
            passes = True if decision.pass_all else _passes(decision, request.layer7)
            if isinstance(passes, str):
                doubt = passes
            elif request.passed and not passes:
                return "leak", f"{_describe(request.layer7)} passed, though no L7 rule allows it"
            elif not request.passed and passes:
                return (
                    "overblock",
                    f"{_describe(request.layer7)} was refused, though an L7 rule allows it",
                )
        if doubt:
            return "inconclusive", doubt
        return "ok", decision.reason

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

    def _other_policy(self, seen: Observation, decision: Decision) -> str:
        """Hubble's word on who allowed or denied, where it isn't ours; "" where it is."""
        named = seen.named_denied if seen.outcome == meaning.DROPPED else seen.named_allowed
        if not named or not decision.selected or decision.decision == "cant_tell":
            return ""
        ours = set(_deciders(decision))
        if any(_same(ref, policy) for ref in named for policy in ours):
            return ""
        word = "denied" if seen.outcome == meaning.DROPPED else "allowed"
        named = tuple(ref for ref in named if ref.kind in _KINDS)
        if not named:
            return ""  # what Cilium derives itself is no document
        missing = [ref for ref in named if (ref.kind, ref.namespace, ref.name) not in self._known]
        who = ", ".join(str(ref) for ref in (missing or named))
        mine = ", ".join(map(str, ours)) or "none of these policies"
        if missing:
            return f"Hubble says {who} {word} it, which was not given"
        return f"Hubble says {who} {word} it; by these policies it is {mine}"

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
            tuple(self.tally.warnings()),
        )  # fmt: skip
        return AuditReport(
            tuple(findings), self._uses(), blind, dict(counts), self._notes(),
            tuple(one.result() for one in self._expected),
            hints(
                self.policies,
                [Judged(row.observation, row.decision, row.attempts) for row in self._rows.values()],
            ),
        )  # fmt: skip

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
        closest = ""
        if decision.why == "default deny" and kind in ("leak", "ok"):
            near = near_misses(
                self.policies, seen.direction, seen.subject, seen.peer, seen.protocol, seen.port
            )
            closest = f"; closest rule: {near[0]}" if near else ""
        policies = tuple(_deciders(decision))
        return Finding(
            kind, seen.direction, seen.subject_name, seen.peer_name, seen.protocol, seen.port, attempts,
            row.first, row.last, decision.decision, _OUTCOMES[seen.outcome], why + closest,
            decision.entries, policies, _ADVICE.get(kind, ""),
        )  # fmt: skip

    def _uses(self) -> tuple[PolicyUse, ...]:
        uses = []
        for policy in self.policies.policies:
            rules = [rule for rule in self.policies.rules if rule.policy is policy]
            entries = [entry for rule in rules for entry in rule.entries]
            denied = {way for rule in rules for way, on in rule.default_deny.items() if on}
            denied |= {entry.direction for entry in entries if entry.verdict == "deny"}
            unproven = tuple(
                way for way in sorted(denied)
                if not self._blocked[policy, way]  # type: ignore[index]
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
        if documents.skipped:
            kinds = ", ".join(
                f"{kind} ({count})" for kind, count in documents.skipped.most_common(5)
            )
            notes.append(
                f"{documents.skipped.total()} objects are no policies and were skipped: {kinds}"
            )
        return tuple(notes)


_KINDS = frozenset(
    {
        "CiliumNetworkPolicy",
        "CiliumClusterwideNetworkPolicy",
        "NetworkPolicy",
        "ClusterNetworkPolicy",
    }
)

_NO_OUTCOME = {
    meaning.UNKNOWN: "sent to the proxy, without the record of what the proxy decided",
    meaning.ERROR: "the proxy failed: neither passed nor denied",
    meaning.AUDIT: "audit mode is on",
    meaning.FORWARDED: "",
    meaning.DROPPED: "",
}

_ADVICE: dict[Kind, str] = {
    "leak": "check that the policy is applied and enforced, and that no wider one allows it",
    "overblock": "look for another policy that denies it, an older revision, or changed labels",
    "difference": "give all policies of the cluster: kubectl get cnp,ccnp,netpol -A -o yaml",
}


def _shows_enforcement(seen: Observation, decision: Decision) -> bool:
    """Whether a verdict shows that these policies are in force for the subject."""
    if seen.outcome == meaning.DROPPED:
        return seen.by_policy and decision.decision == "denied"
    return any(_same(ref, entry.policy) for ref in seen.named_allowed for entry in decision.entries)


def _deciders(decision: Decision) -> list[Policy]:
    if decision.entries:
        return list(dict.fromkeys(entry.policy for entry in decision.entries))
    return list(decision.denying)


def _same(ref: PolicyRef, policy: Policy) -> bool:
    if ref.kind and ref.kind != policy.kind:
        return False
    return ref.name == policy.name and ref.namespace == policy.namespace


def _passes(decision: Decision, layer7: Layer7) -> bool | str:
    """What the L7 rules of a decision say about a request."""

    rules = [rule.l7 for rule in decision.ports if rule.l7 is not None]
    if any(rule.kind == "tls" for rule in rules):
        return "server names and listeners are not in the records"
    if layer7.dns_query:
        named = [rule for rule in rules if rule.kind == "dns"]
        return any(rule.passes_name(layer7.dns_query) for rule in named) if named else True
    if not layer7.http_method:
        return "the proxy's record has neither a name nor a request"
    doubt = ""
    for rule in rules:
        if rule.kind == "http":
            passes = rule.passes_request(
                layer7.http_method, layer7.http_url, layer7.http_headers or None
            )
            if passes is True:
                return True
            if passes:
                doubt = str(passes)
    return doubt or False


def passes_requests(decision: Decision, requests: Sequence[Request]) -> bool | str:
    """Whether all requests of an attempt pass the L7 rules of a decision; a string: why nobody can tell."""
    if not requests:
        return _all_pass(decision) or "L7 rules decide, and the records have no request"
    doubt = ""
    for request in requests:
        passes = _passes(decision, request.layer7)
        if passes is False:
            return False
        if isinstance(passes, str):
            doubt = passes
    return doubt or True


def _all_pass(decision: Decision) -> bool:
    """Whether the L7 rules refuse nothing: the name ``*``, or an HTTP rule that asks for nothing."""
    for rule in decision.ports:
        if rule.l7 is None:
            return True
        if any(not name.text.strip("*.") for name in rule.l7.dns if not name.exact):
            return True
        if any(not (one.path or one.method or one.host or one.headers) for one in rule.l7.http):
            return True
    return False


def _describe(layer7: Layer7) -> str:

    if layer7.dns_query:
        return f"DNS query for {layer7.dns_query}"
    return f"{layer7.http_method} {layer7.http_url}"
