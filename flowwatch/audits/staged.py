"""Staged policies beside the live table: what they would do to each row's attempts, as ``whatif`` tells it.

    join = Join()
    staged = LiveStaged(draft, current, join)
    monitor = LiveMonitor(source, join=join, stager=staged)

An attempt is observed when its outcome changes and when it is over; a question is judged once, however many
attempts ask it, and again only when policies change or the labels or names of its ends do, which makes it
another question.
"""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from flowwatch.audits.comparison import CHANGES, Compared, Comparison
from flowwatch.audits.evidence import Observation, Observer
from flowwatch.audits.judge import deciders
from flowwatch.audits.remembered import Request
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.open_attempt import OpenAttempt
from flowwatch.flows.staged import Staged, ordered
from flowwatch.policy.engine import PolicySet

MAX_QUESTIONS = 100_000
"""Distinct questions that are kept: some 100 MB. Past it, new ones can't be told."""

_TOO_MANY = Compared("can't tell", "unknown", "unknown", "too many different questions")
_PER_JUDGEMENT = 8
"""Attempts that are observed in the time of one judgement, which takes 0.2 to 1 ms."""

Again = Callable[[], "PolicySet | str | None"]
"""Gives the staged policies where they were changed, or why they can't be read; None: they are as before."""


class _Question:
    """Something that attempts ask of policies; judged once."""

    __slots__ = ("found", "seen")

    def __init__(self, seen: Observation | None) -> None:
        """``seen``: one of the attempts that ask it; None: of those that no memory was left for."""
        self.seen = seen
        self.found: Compared | None = _TOO_MANY if seen is None else None


class LiveStaged:
    """Tells an aggregate that listens to ``join`` (flowwatch.flows.staged.Stager); made before it."""

    def __init__(
        self,
        draft: PolicySet,
        current: PolicySet | None,
        join: Join,
        again: Again = lambda: None,
    ) -> None:
        """``current``: the policies in force; None: what happened counts."""
        self._lock = threading.Lock()
        self._current, self._again = current, again
        self._problem = ""
        self._set(draft)
        self._observer = Observer(reach=draft.options.reach)
        self._observer.on_request = self._asked
        self._join = join
        self._questions: dict[tuple[object, ...], _Question] = {}
        self._counted: dict[int, tuple[int, tuple[tuple[int, _Question], ...]]] = {}
        """Of open attempts, by number: the version that was counted, and where: row, question."""
        self._changed: dict[int, tuple[OpenAttempt, Attempts]] = {}
        """Open attempts that are to be observed (again)."""
        self._too_many: _Question = _Question(None)
        self._rows: dict[int, Counter[_Question]] = {}
        self._touched: dict[int, None] = {}
        """Rows whose numbers are not what was told last."""
        join.listen(self)

    def _set(self, draft: PolicySet) -> None:
        self._comparison = Comparison(draft, self._current)
        self._ours = frozenset(draft.policies)
        self.given = tuple([(str(one), one.kind) for one in draft.policies])

    @property
    def notes(self) -> tuple[str, ...]:
        return (self._problem,) if self._problem else ()

    def take(self, joined: Joined) -> None:
        """Take in a batch (flowwatch.flows.join.Listener)."""
        with self._lock:
            self._observer.take(joined)

    def _asked(self, attempt: OpenAttempt) -> None:
        """Another request of an attempt, whose outcome may stay: its version counts for nothing."""
        if (known := self._counted.get(attempt.number)) is not None:
            self._counted[attempt.number] = -1, known[1]

    def see(self, joined: Joined, egress: array[int], ingress: array[int]) -> None:
        with self._lock:
            counted = self._counted
            for attempt, _ in joined.news:
                known = counted.get(attempt.number)
                if known is None or known[0] != _version(attempt, egress, ingress):
                    self._changed[attempt.number] = attempt, joined.scope
            for attempt in joined.closed:
                number = attempt.number
                self._changed.pop(number, None)
                seen = self._observer.over(attempt, joined.scope)
                self._count(number, 0, seen, egress[number], ingress[number])
                del counted[number]

    def settle(self) -> None:
        """All was read: what is open is observed once more, with all names that became known."""
        with self._join.lock, self._lock:
            for _, scope, attempt in self._join.open_attempts():
                self._changed[attempt.number] = attempt, scope

    def refresh(self) -> bool:
        told = self._again()
        if told is None:
            return False
        if isinstance(told, str):
            self._problem = told
            return True
        with self._lock:
            self._problem = ""
            self._set(told)
            for question in self._questions.values():
                question.found = None
            self._touched = dict.fromkeys(self._rows)
        return True

    def judge(
        self,
        egress: array[int],
        ingress: array[int],
        staged: dict[int, Staged],
        at_most: int | None,
    ) -> bool:
        with self._lock:
            self._observe(egress, ingress, at_most)
            left = at_most
            for row in list(self._touched)[: _many(at_most)]:
                questions = self._rows.get(row)
                if questions is None:
                    del self._touched[row]
                    staged.pop(row, None)
                    continue
                for question in questions:
                    if question.found is None and question.seen is not None and left != 0:
                        question.found = self._comparison.of(question.seen)
                        left = left if left is None else left - 1
                if any(question.found is None for question in questions):
                    break
                del self._touched[row]
                staged[row] = self._told(questions)
            return not self._touched and not self._changed

    def _observe(self, egress: array[int], ingress: array[int], at_most: int | None) -> None:
        for number in list(self._changed)[: _many(at_most)]:
            attempt, scope = self._changed.pop(number)
            seen = self._observer.so_far(attempt, scope)
            version = _version(attempt, egress, ingress)
            self._count(number, version, seen, egress[number], ingress[number])

    def _count(
        self, number: int, version: int, seen: Iterable[Observation], egress: int, ingress: int
    ) -> None:
        """Count an attempt by what it asks now, and no longer by what it asked before."""
        now = []
        for one in seen:
            row = ingress if one.end == "ingress" else egress
            if row >= 0:
                now.append((row, self._question(one)))
        _, before = self._counted.get(number, (0, ()))
        after = tuple(now)
        self._counted[number] = version, after
        if after == before:
            return
        for row, question in before:
            counts = self._rows[row]
            counts[question] -= 1
            if not counts[question]:
                del counts[question]
                if not counts:
                    del self._rows[row]
            self._touched[row] = None
        for row, question in after:
            self._rows.setdefault(row, Counter())[question] += 1
            self._touched[row] = None

    def _question(self, seen: Observation) -> _Question:
        key = (
            seen.direction, seen.subject, seen.peer, seen.protocol, seen.asked_port, seen.outcome,
            seen.by_policy, seen.noise, seen.unknown, seen.cluster, seen.waits_for_auth, seen.peer_name,
            tuple([_request(one) for one in seen.requests]),
        )  # fmt: skip
        known = self._questions.get(key)
        if known is None:
            if len(self._questions) >= MAX_QUESTIONS:
                return self._too_many
            known = self._questions[key] = _Question(seen)
        return known

    def _told(self, questions: Mapping[_Question, int]) -> Staged:
        counts: Counter[str] = Counter()
        by: dict[str, tuple[int, int]] = {}
        why, most = "", (0, 0)
        for question, attempts in questions.items():
            found = question.found
            assert found is not None
            counts[found.change] += attempts
            changed = found.change in ("newly denied", "newly allowed")
            if (changed, attempts) > most:
                most, why = (changed, attempts), found.why
            if not changed:
                continue
            place = found.change == "newly allowed"
            for name in self._names(found):
                deny, admit = by.get(name, (0, 0))
                by[name] = deny + attempts * (not place), admit + attempts * place
        deny, admit, cant_tell, same = (counts[one] for one in CHANGES)
        return Staged(deny, admit, cant_tell, same, ordered(by), why)

    def _names(self, found: Compared) -> list[str]:
        """The staged policies that decide it; where none does by itself, whoever does."""
        assert found.decision is not None
        whose = deciders(found.decision)
        ours = [one for one in whose if one in self._ours]
        return [str(one) for one in ours or whose]

    def move(self, moved: Mapping[int, int]) -> None:
        with self._lock:
            rows: dict[int, Counter[_Question]] = {}
            for row, counts in self._rows.items():
                rows.setdefault(moved[row], Counter()).update(counts)
            self._rows = rows
            self._touched = dict.fromkeys(rows)
            self._counted = {
                number: (-1, tuple([(moved[row], question) for row, question in where]))
                for number, (_, where) in self._counted.items()
            }


def _many(at_most: int | None) -> int | None:
    return None if at_most is None else at_most * _PER_JUDGEMENT


def _request(request: Request) -> tuple[object, ...]:
    """All of it that policies ask about."""
    seen = request.layer7
    what = seen.dns_query, seen.http_method, seen.http_url, seen.http_headers
    return *what, request.passed, request.hidden


def _version(attempt: OpenAttempt, egress: array[int], ingress: array[int]) -> int:
    """What an attempt is counted by: its outcome, and at which ends it was seen."""
    ends = (egress[attempt.number] >= 0) | (ingress[attempt.number] >= 0) << 1
    return attempt.version << 2 | ends
