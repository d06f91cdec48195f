"""What a draft would do to the traffic already seen, before anyone applies it.

Each attempt is decided twice: as things are, and as they would be. As things are is what the current
policies say, when they are given, else what happened. As they would be: the draft together with the
current policies, where one of the same kind and name takes the other's place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from flowwatch.audits.comparison import CHANGES, Change, Comparison
from flowwatch.audits.document_notes import document_notes
from flowwatch.audits.evidence import Observation, Observer
from flowwatch.audits.findings import Hint
from flowwatch.audits.hints import hints
from flowwatch.audits.judged import Judged
from flowwatch.audits.options import care_of_options
from flowwatch.flows.coverage import Coverage
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.model import Batch
from flowwatch.policy.agent_options import UNKNOWN, AgentOptions
from flowwatch.policy.engine import Decision, PolicySet
from flowwatch.policy.party import Party
from flowwatch.policy.rules import Direction, Entry, Policy
from flowwatch.text import plural

MAX_ROWS = 200_000


@dataclass(slots=True)
class WhatIfRow:
    """Attempts of one subject to one destination that the draft would treat alike."""

    change: Change
    direction: Direction
    subject: str
    peer: str
    protocol: str
    port: int
    now: str
    """``allowed``, ``denied`` or ``unknown``: as things are."""
    then: str
    """The same, with the draft."""
    reason: str
    """Of what it would be then, or why that can't be told."""
    entries: tuple[Entry, ...] = ()
    attempts: int = 0
    first: int = 0
    last: int = 0
    """Nanoseconds since 1970."""


@dataclass(frozen=True, slots=True)
class WhatIfReport:
    """The whole answer: the sum of the rows' attempts is the number of attempts seen."""

    rows: tuple[WhatIfRow, ...]
    counts: dict[Change, int]
    attempts: int
    coverage: Coverage
    """What was and wasn't seen."""
    notes: tuple[str, ...] = ()
    """What makes the answer less than the whole truth, each in words."""
    selecting_nothing: tuple[Policy, ...] = ()
    """Policies of the draft that select nothing that was seen: what they would do shows nowhere here."""
    hints: tuple[Hint, ...] = ()
    """Probable mistakes in the draft, as an audit would find them."""
    options: AgentOptions = UNKNOWN
    """Those of the cluster's agents, by which was decided."""


@dataclass(slots=True)
class WhatIf:
    """Compares two sets of policies on batches of flows."""

    draft: PolicySet
    current: PolicySet | None = None
    directions: frozenset[str] = frozenset({"egress"})
    join: Join = field(default_factory=Join)
    _observer: Observer = field(default_factory=Observer)
    _rows: dict[tuple[object, ...], WhatIfRow] = field(default_factory=dict)
    _comparison: Comparison = field(init=False)
    _judged: dict[tuple[object, ...], Judged] = field(default_factory=dict)
    _working: set[Entry] = field(default_factory=set)
    _beside: Counter[tuple[Party, Direction]] = field(default_factory=Counter)
    """Attempts in the other direction, by whose policies were asked."""
    _noise: int = 0

    def read(self, batches: Iterable[Batch]) -> WhatIfReport:
        """All of ``batches``, and the report."""
        self._comparison = Comparison(self.draft, self.current)
        self._observer = Observer(reach=self.draft.options.reach)
        self.join.listen(self)
        self.join.read(batches)
        for _, scope, attempt in self.join.open_attempts():
            for seen in self._observer.over(attempt, scope):
                self._compare(seen)
        return self._report()

    def take(self, joined: Joined) -> None:
        """Compare what is over (flowwatch.flows.join.Listener)."""
        self._observer.take(joined)
        for attempt in joined.closed:
            for seen in self._observer.over(attempt, joined.scope):
                self._compare(seen)

    def _compare(self, seen: Observation) -> None:
        if seen.direction not in self.directions:
            if not seen.unknown and len(self._beside) < MAX_ROWS:
                self._beside[seen.subject, seen.direction] += 1
            return
        if seen.noise:
            self._noise += 1
            return
        found = self._comparison.of(seen)
        if found.decision is not None:
            self._judge(seen, found.decision)
            if (found.now, found.then) == ("allowed", "allowed"):
                self._working.update(found.decision.entries)
        self._count(seen, *found[:4], found.entries)

    def _judge(self, seen: Observation, decision: Decision) -> None:
        key = (seen.direction, seen.subject, seen.peer, seen.protocol, seen.asked_port)
        known = self._judged.get(key)
        if known is None and len(self._judged) >= MAX_ROWS:
            return
        attempts = known.attempts + 1 if known else 1
        self._judged[key] = Judged(known.seen if known else seen, decision, attempts)

    def _count(
        self,
        seen: Observation,
        change: Change,
        now: str,
        then: str,
        why: str,
        entries: tuple[Entry, ...],
    ) -> None:
        key: tuple[object, ...] = (
            change, seen.direction, seen.subject_name, seen.peer_name, seen.protocol, seen.port,
            now, then, why,
        )  # fmt: skip
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= MAX_ROWS:
                key = (change, seen.direction)
                row = self._rows.get(key)
            if row is None:
                names = (seen.subject_name, seen.peer_name, seen.protocol, seen.port)
                if len(key) == 2:
                    names = ("(others)", "(others)", "", 0)
                row = WhatIfRow(change, seen.direction, *names, now, then, why, entries)
                row.first = seen.first
                self._rows[key] = row
        row.attempts += 1
        row.first = min(row.first, seen.first)
        row.last = max(row.last, seen.last)

    def _report(self) -> WhatIfReport:
        order = {change: at for at, change in enumerate(CHANGES)}
        rows = sorted(
            self._rows.values(),
            key=lambda row: (order[row.change], -row.attempts, row.subject, row.peer, row.port),
        )
        coverage = self.join.coverage()
        counts: Counter[Change] = Counter()
        for row in rows:
            counts[row.change] += row.attempts
        options = self.draft.options
        care = care_of_options(options, self._observer.clusters)
        notes = (*care, *coverage.warnings)
        if self.current is None:
            notes = (
                "without --current, other policies of the cluster are not known: "
                "what they deny stays denied",
                *notes,
            )
        notes = (*notes, *self._other_direction(), *document_notes(self.draft.documents))
        if self._noise:
            what = "that no policy is asked about (neighbours, multicast) isn't compared"
            notes = (*notes, f"noise of the link {what}: {plural(self._noise, 'attempt')}")
        subjects = {row.seen.subject for row in self._judged.values()}
        subjects.update(subject for subject, _ in self._beside)
        selected = {policy for subject in subjects for policy in self._selecting(subject)}
        others = {row.seen.peer for row in self._judged.values()}
        across = {policy for peer in others for policy in self._selecting(peer)} - selected
        notes += tuple(
            f"{one.reference} ({one.file}:{one.line}) selects only pods at the other end of attempts, whose "
            "own side is in no record"
            for one in self.draft.policies
            if one in across
        )
        told = hints(
            self._comparison.after,
            list(self._judged.values()),
            {k: v for one in self.join.scopes.values() for k, v in one.names.aliases.items()},
            self._working,
            [subject for subject, _ in self._beside],
        )
        ours = set(self.draft.policies)
        return WhatIfReport(
            tuple(rows), dict(counts), counts.total(), coverage, notes,
            tuple(one for one in self.draft.policies if one not in selected | across and self._judged),
            tuple(one for one in told if one.policy in ours and not one.incident),
            options,
        )  # fmt: skip

    def _selecting(self, subject: Party) -> Iterator[Policy]:
        return (rule.policy for rule in self.draft.rules if rule.subject.selects(subject))

    def _other_direction(self) -> Iterator[str]:
        """What the draft is about as well, and wasn't asked for."""
        about = Counter[Direction]()
        for (subject, way), attempts in self._beside.items():
            if self.draft.selected(subject, way).ruled:
                about[way] += attempts
        for way, attempts in about.items():
            yield (
                f"left out, and compared by --direction both: {plural(attempts, f'{way} attempt')} of pods "
                "that the draft selects there"
            )
