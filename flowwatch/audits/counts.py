"""What judged attempts add up to: equal judgements are one row, and each rule knows who needed it."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from flowwatch.audits.evidence import Observation
from flowwatch.audits.expect import Expected
from flowwatch.audits.findings import Kind
from flowwatch.audits.judge import Judge, same_policy
from flowwatch.flows import meaning
from flowwatch.policy.engine import Decision
from flowwatch.policy.party import Party
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
    waited: float = 0.0
    times: dict[Seen, array[int]] = field(default_factory=dict)
    """Of attempts of a kind in TIMED: when they began, by pod and whether a verdict was seen."""
    addresses: dict[str, None] = field(default_factory=dict)
    """The peer's, as far as _ADDRESSES of them."""


RowKey = tuple[Kind, Direction, str, str, str, int, str, int, str]
"""Kind, direction, subject, peer, protocol, port, why, outcome, the subject's cluster."""


class Questions:
    """Which rules a question meets, each asked by itself; remembered, since questions repeat."""

    def __init__(self, judge: Judge) -> None:
        self._policies = judge.policies
        self._known: dict[tuple[Party, Party, Direction, str, int], tuple[Met, ...]] = {}

    def meets(self, seen: Observation) -> tuple[Met, ...]:
        """The entries that match the attempt, with which of their peers and ports."""
        subject, peer, way = seen.subject, seen.peer, seen.direction
        question = (subject, peer, way, seen.protocol, seen.asked_port)
        found = self._known.get(question)
        if found is None:
            if len(self._known) >= MAX_ROWS:
                self._known.clear()
            found = self._known[question] = self._matching(*question)
        return found

    def _matching(
        self, subject: Party, peer: Party, way: Direction, protocol: str, port: int
    ) -> tuple[Met, ...]:
        listener = peer if way == "egress" else subject
        found = []
        for entry in self._policies.selected(subject, way).index.candidates(peer):
            peer_match = entry.matches_peer(peer)
            port_match = peer_match and entry.matches_port(protocol, port, listener)
            if not port_match:
                continue
            ports = [
                at for at, rule in enumerate(entry.ports or ())
                if rule.matches(protocol, port, listener.ports) is True
            ]  # fmt: skip
            peers = [at for at, one in enumerate(entry.peers or ()) if one.matches(peer) is True]
            sure = peer_match is True and port_match is True
            found.append((entry, tuple(peers), tuple(ports), sure))
        return tuple(found)


Met = tuple[Entry, tuple[int, ...], tuple[int, ...], bool]
"""A rule, which of its peers and of its ports (by their place) an attempt met, and whether that is sure."""


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
        self.needed: Counter[Entry] = Counter()
        self.perhaps: Counter[Entry] = Counter()
        """Attempts of which can't be told whether they need the rule."""
        self.let_through: set[Entry] = set()
        """Rules that something passed by."""
        self.met_peers: dict[Entry, set[int]] = {}
        self.met_ports: dict[Entry, set[int]] = {}
        self.subjects: dict[Policy, dict[str, None]] = {}
        self.blocked: set[tuple[Policy, str] | Entry] = set()
        """What blocked something: a policy's default deny in a direction, or a rule that denies or looks at
        requests."""
        self.unlabelled = 0
        """Attempts of pods whose labels aren't recorded: any policy may select these."""
        self._possible: dict[tuple[Party, Direction], tuple[Entry, ...]] = {}
        self.verdicts = False
        """Whether any policy verdict of a selected pod was seen."""
        self.subjects_seen: set[tuple[Party, str]] = set()
        """With the name of each."""

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
        decision = self._judge.decide(seen)
        if unknown := self._judge.unknown(seen):
            self._count(seen, decision, "inconclusive", unknown)
            self._use_perhaps(seen)
            return
        self._use(seen)
        self.verdicts |= decision.selected and seen.verdict
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
        row.waited = max(row.waited, seen.waited)
        if len(row.addresses) <= _ADDRESSES:
            row.addresses[seen.peer_ip] = None
        if kind in TIMED and row.attempts <= _TIMES:
            row.times.setdefault((*seen.pod, seen.verdict), array("q")).append(seen.first)

    def _use(self, seen: Observation) -> None:
        """Which rules this attempt needs: each is asked by itself, whatever the others decide."""
        for entry, peers, ports, sure in self._questions.meets(seen) if seen.judged else ():
            if not sure:
                self.perhaps[entry] += 1
                continue
            self.needed[entry] += 1
            if entry not in self.met_peers:
                self.met_peers[entry], self.met_ports[entry] = set(), set()
            self.met_peers[entry].update(peers)
            self.met_ports[entry].update(ports)
        self._note_subject(seen)

    def _note_subject(self, seen: Observation) -> None:
        """Whom each policy selects, among those whose labels are known."""
        subject = seen.subject
        if (subject, seen.subject_name) not in self.subjects_seen and len(
            self.subjects_seen
        ) < MAX_ROWS:
            self.subjects_seen.add((subject, seen.subject_name))
            for rule in self._policies.rules:
                if rule.subject.selects(subject):
                    self.subjects.setdefault(rule.policy, {})[seen.subject_name] = None

    def _use_perhaps(self, seen: Observation) -> None:
        """Which rules an attempt may have needed that nobody can ask about."""
        subject, way = seen.subject, seen.direction
        node = self._judge.unlabelled_node(seen)
        if seen.labelled and not node:
            self._note_subject(seen)
        else:
            self.unlabelled += 1
        entries = self._possible.get((subject, way))
        if entries is None:
            if len(self._possible) >= MAX_ROWS:
                self._possible.clear()
            entries = self._possible[subject, way] = tuple(
                entry
                for rule in self._policies.rules
                if (node and rule.subject.host)
                or not seen.labelled
                or rule.subject.selects(subject)
                for entry in rule.entries
                if entry.direction == way
            )
        self.perhaps.update(entries)

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
