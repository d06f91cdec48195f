"""What judged attempts add up to: equal judgements are one row, and each rule knows who needed it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from flowwatch.audits.evidence import Observation
from flowwatch.audits.expect import Expected
from flowwatch.audits.findings import Kind
from flowwatch.audits.judge import Judge, same_policy
from flowwatch.audits.uses import Questions, Uses
from flowwatch.flows import meaning
from flowwatch.policy.engine import Decision
from flowwatch.policy.rules import Direction, Entry, Policy

MAX_ROWS = 200_000
"""Distinct rows kept; attempts beyond are counted together, as inconclusive."""
TIMED: tuple[Kind, ...] = ("leak", "overblock", "unexplained", "difference")
_ADDRESSES = 3
_TIMES = 100_000
"""Times of these kept for each row, to tell which came before the policy."""


Seen = tuple[str, str, bool]
"""Namespace and name of a pod, and whether a policy's verdict about the attempt was seen."""


@dataclass(slots=True)
class JudgedRow:
    """Attempts judged alike."""

    observation: Observation
    decision: Decision
    kind: Kind
    reason: str
    attempts: int = 0
    first: int = 0
    last: int = 0
    late: int = 0
    unauthenticated: int = 0
    waited: float = 0.0
    times: dict[Seen, array[int]] = field(default_factory=dict)
    """Of attempts of a kind in TIMED: when they began, by pod and whether a verdict was seen."""
    addresses: dict[str, None] = field(default_factory=dict)
    """The peer's, as far as _ADDRESSES of them."""


RowKey = tuple[Kind, Direction, str, str, str, int, str, int, str]
"""Kind, direction, subject, peer, protocol, port, why, outcome, the subject's cluster."""


class Counts:
    """Takes in observations; two of them are added up where a report is made."""

    def __init__(
        self, judge: Judge, questions: Questions, expected: Sequence[Expected] = ()
    ) -> None:
        self._judge = judge
        self._policies = judge.policies
        self._questions = questions
        self.expected = expected
        self.rows: dict[RowKey, JudgedRow] = {}
        self.enforced: dict[tuple[int, Direction], int] = {}
        """Since when verdicts show the policies in force, by what applies to a pod and direction."""
        self.uses = Uses(judge, questions)
        """Who needed which rule."""
        self.let_through: set[Entry] = set()
        """Rules that something passed by."""
        self.blocked: set[tuple[Policy, str] | Entry] = set()
        """What blocked something: a policy's default deny in a direction, or a rule that denies or looks at
        requests."""

    def empty(self) -> Counts:
        """Another, for attempts that aren't over; expectations go on from what these have seen."""
        return Counts(self._judge, self._questions, deepcopy(self.expected))

    def add(self, seen: Observation) -> None:
        """Judge an attempt in one direction, and count it."""
        subject, way = seen.subject, seen.direction
        if self.expected and not self._judge.too_early(seen):
            applying = id(self._policies.selected(subject, way))
            for one in self.expected:
                one.see(seen, applying)
        self.uses.add(seen)
        decision = self._judge.decide(seen)
        if unknown := self._judge.unknown(seen):
            self._count(seen, decision, "inconclusive", unknown)
            return
        selected = self._policies.selected(subject, way)
        if decision.selected and _shows_enforcement(seen, decision):
            key = (id(selected), way)
            since = seen.dropped_at or seen.named_at or seen.first
            if since < self.enforced.get(key, 1 << 63):
                self.enforced[key] = since
        kind, why = self._judge.verdict(seen, decision)
        named = self._judge.other_policy(seen, decision)
        if kind == "ok" and not named:
            self._credit(seen, decision)
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
            seen.outcome,
            seen.cluster,
        )
        row = self.rows.get(key)
        if row is None:
            if len(self.rows) >= MAX_ROWS:
                key = (
                    "inconclusive",
                    seen.direction,
                    "(others)",
                    "(others)",
                    "",
                    0,
                    "too many different rows",
                    meaning.UNKNOWN,
                    "",
                )
                row = self.rows.get(key)
            if row is None:
                row = self.rows[key] = JudgedRow(seen, decision, key[0], key[6])
                row.first, row.last = seen.first, seen.last
        row.attempts += 1
        row.first = min(row.first, seen.first)
        row.last = max(row.last, seen.last)
        row.late += seen.waited > 0
        row.unauthenticated += seen.waited > 0 and seen.waits_for_auth
        row.waited = max(row.waited, seen.waited)
        if len(row.addresses) <= _ADDRESSES:
            row.addresses[seen.peer_ip] = None
        if kind in TIMED and row.attempts <= _TIMES:
            row.times.setdefault((*seen.pod, seen.verdict), array("q")).append(seen.first)

    def _credit(self, seen: Observation, decision: Decision) -> None:
        """Who let through, or blocked, what was decided rightly."""
        if seen.outcome == meaning.FORWARDED:
            self.let_through.update(decision.entries)
        elif seen.outcome == meaning.DROPPED:
            self.blocked.update(decision.entries)
            self.blocked.update((policy, seen.direction) for policy in decision.denying)


def _shows_enforcement(seen: Observation, decision: Decision) -> bool:
    """Whether a verdict shows that these policies are in force for the subject."""
    if seen.outcome == meaning.DROPPED or seen.dropped_at:
        return seen.dropped_at > 0 and decision.decision == "denied"
    return any(
        same_policy(ref, entry.policy) for ref in seen.named_allowed for entry in decision.entries
    )
