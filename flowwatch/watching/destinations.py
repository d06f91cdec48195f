"""What rules look at: of each workload's destination what became of its attempts, step by step.

Time goes in steps of flow time, so that what is told depends on the flows alone, and not on how they came in
batches. An attempt is an event of the step in which its outcome was decided; one that comes when its step is
over belongs to the next.
"""

from __future__ import annotations

from array import array

import msgspec

from flowwatch.flows import meaning
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.join import Joined
from flowwatch.flows.noise import noise
from flowwatch.flows.open_attempt import ANSWERED, REFUSED, UNREACHABLE, OpenAttempt, addresses
from flowwatch.watching.names import Names, Path, renamed
from flowwatch.watching.rules import SECOND

STEP = 5 * SECOND
SETTLE = 2 * SECOND
"""After a step, until all of its records are here."""
WAIT = 10 * SECOND
"""An answer that isn't here by then doesn't come: three SYNs were sent."""
MOST = 50_000
"""Destinations remembered; past it the half of which least came of late is forgotten."""

_NOT_YET = -1
_PASSED = (meaning.FORWARDED, meaning.AUDIT)
_WAYS = ("egress", "ingress")


class PathState(msgspec.Struct):
    """What is known of a path; times in nanoseconds since 1970, 0 for never."""

    first: int = 0
    last: int = 0
    """When something of it was seen last, be it in a connection that goes on."""
    tried: int = 0
    """Attempts."""
    passed: int = 0
    """How many were let through, and when the last was."""
    passed_at: int = 0
    dropped_at: int = 0
    answered: bool = False
    """Whether anybody ever answered."""
    silent: int = 0
    """Attempts since then that were let through and that nobody answered."""
    silent_at: int = 0

    def add(self, other: PathState) -> PathState:
        """Itself, with what was known of it by another name."""
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)
        self.tried += other.tried
        self.passed += other.passed
        self.passed_at = max(self.passed_at, other.passed_at)
        self.dropped_at = max(self.dropped_at, other.dropped_at)
        self.answered = self.answered or other.answered
        self.silent += other.silent
        self.silent_at = max(self.silent_at, other.silent_at)
        return self


class Step(msgspec.Struct):
    """What became of a path's attempts in one step."""

    passed: int = 0
    dropped: int = 0
    answered: int = 0
    silent: int = 0
    last: int = 0
    """When the last of these was decided."""
    reason: int = 0
    """Why the last was dropped, and by which policies, where records name them."""
    denied_by: tuple[str, ...] = ()

    def add(self, other: Step) -> Step:
        """Itself, with what became of those to the same destination by another name."""
        self.passed += other.passed
        self.dropped += other.dropped
        self.answered += other.answered
        self.silent += other.silent
        if other.last >= self.last:
            self.last = other.last
            self.reason = other.reason or self.reason
            self.denied_by = other.denied_by or self.denied_by
        return self


Steps = dict[Path, Step]


class Destinations:
    """Takes in what the join tells, and gives it out by steps."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.paths: dict[Path, PathState] = {}
        self.forgotten = 0
        """Paths of more than MOST."""
        self.skip_until = 0
        """What was decided until then was told by an earlier run."""
        self._steps: dict[int, Steps] = {}
        self._done = 0
        """Steps below it are over."""
        self._told = {way: array("b") for way in _WAYS}
        self._answer = array("b")
        self._version = array("i")
        self._waiting: dict[int, tuple[int, Path]] = {}
        """By number, when an attempt was let through that nobody has answered yet."""
        self._path: list[Path | None] = []

    def take(self, joined: Joined) -> None:
        """Take in a batch (flowwatch.flows.join.Listener)."""
        for attempt, news in joined.news:
            number = attempt.number
            ends = news.flow.ends
            self._names.see(ends.source)
            self._names.see(ends.destination)
            if number >= len(self._path):
                self._grow(number + 1)
            if news.last and (path := self._path[number]) is not None:
                state = self.paths.get(path)
                if state is not None and news.last > state.last:
                    state.last = news.last
            told = self._told["ingress" if news.ingress else "egress"][number]
            if attempt.version != self._version[number] or told == _NOT_YET:
                self._see(attempt, joined.scope)
        for attempt in joined.changed:
            if attempt.number < len(self._path):
                self._see(attempt, joined.scope)
        for attempt in joined.closed:
            self._forget(attempt.number)

    def _grow(self, size: int) -> None:
        more = size - len(self._path)
        self._path += [None] * more
        for column in (*self._told.values(), self._answer, self._version):
            column.extend([_NOT_YET] * more)

    def _forget(self, number: int) -> None:
        if number >= len(self._path):
            return
        self._path[number] = None
        self._answer[number] = self._version[number] = _NOT_YET
        for column in self._told.values():
            column[number] = _NOT_YET
        if (waited := self._waiting.pop(number, None)) is not None:
            time, path = waited
            self._silent(time + WAIT, path)

    def _see(self, attempt: OpenAttempt, scope: Attempts) -> None:
        """Something is new of an attempt."""
        number, outcome = attempt.number, attempt.outcome
        self._version[number] = attempt.version
        time = scope.shared(attempt.decided or attempt.first, attempt.node)
        for way, seen in (("egress", attempt.egress), ("ingress", attempt.ingress)):
            told = self._told[way]
            if not seen or told[number] == outcome:
                continue
            first = told[number] in (_NOT_YET, meaning.UNKNOWN)
            told[number] = outcome
            if outcome == meaning.UNKNOWN or not time or _is_noise(attempt):
                continue
            path = self._names.of(attempt, way)
            if way == "egress" or not attempt.egress:
                self._path[number] = path
            if time <= self.skip_until:
                continue
            self._count(time, path, attempt, tried=first)
            waits = outcome == meaning.FORWARDED and way == "egress" and not attempt.midway
            if waits and not (attempt.unsure or attempt.standing or attempt.answer):
                self._waiting[number] = time, path
        self._answered(attempt, time)

    def _count(self, time: int, path: Path, attempt: OpenAttempt, *, tried: bool) -> None:
        step = self._step(time, path)
        state = self._state(path, time)
        state.tried += tried
        if attempt.outcome in _PASSED:
            step.passed += 1
            state.passed += 1
            state.passed_at = max(state.passed_at, time)
        elif attempt.outcome == meaning.DROPPED:
            step.dropped += 1
            step.reason = attempt.reason
            step.denied_by = tuple(map(str, attempt.denied_by)) or step.denied_by
            state.dropped_at = max(state.dropped_at, time)

    def _answered(self, attempt: OpenAttempt, time: int) -> None:
        number, answer = attempt.number, attempt.answer
        if answer == self._answer[number]:
            return
        self._answer[number] = answer
        path = self._path[number]
        if not answer or path is None or path.direction != "egress":
            return
        self._waiting.pop(number, None)
        if time <= self.skip_until:
            return
        if answer == ANSWERED:
            self._step(time, path).answered += 1
        elif answer in (REFUSED, UNREACHABLE):
            self._silent(time, path)

    def _silent(self, time: int, path: Path) -> None:
        if time > self.skip_until:
            self._step(time, path).silent += 1

    def _state(self, path: Path, time: int) -> PathState:
        state = self.paths.get(path)
        if state is None:
            if len(self.paths) >= MOST:
                self._forget_half()
            state = self.paths[path] = PathState(first=time)
        state.first = min(state.first, time)
        state.last = max(state.last, time)
        return state

    def _forget_half(self) -> None:
        by_age = sorted(self.paths.items(), key=lambda one: one[1].last)
        self.forgotten += len(by_age) // 2
        self.paths = dict(by_age[len(by_age) // 2 :])

    def _step(self, time: int, path: Path) -> Step:
        number = max(time // STEP, self._done)
        steps = self._steps.setdefault(number, {})
        step = steps.get(path)
        if step is None:
            step = steps[path] = Step()
        step.last = max(step.last, time)
        return step

    def rename(self) -> None:
        """Go on by the names of now."""
        by = self._names.path
        self.paths = renamed(self.paths, by, PathState.add)
        self._steps = {number: renamed(one, by, Step.add) for number, one in self._steps.items()}
        self._path = [path and by(path) for path in self._path]
        self._waiting = {number: (at, by(path)) for number, (at, path) in self._waiting.items()}

    def over(self, now: int, *, all_of_it: bool = False) -> list[tuple[int, Steps]]:
        """The steps that are over at ``now`` (ns since 1970), each with its end, in their order; of those
        without any attempt the last alone."""
        last = (now if all_of_it else now - SETTLE) // STEP - (0 if all_of_it else 1)
        if last < self._done or last < 0:
            return []
        for number, (time, path) in list(self._waiting.items()):
            if time + WAIT < (last + 1) * STEP:
                del self._waiting[number]
                self._silent(time + WAIT, path)
        numbers = sorted({number for number in self._steps if number <= last} | {last})
        found = [((number + 1) * STEP, self._steps.pop(number, {})) for number in numbers]
        self._done = last + 1
        return found


def _is_noise(attempt: OpenAttempt) -> bool:
    if attempt.outcome != meaning.DROPPED:
        return False
    _, _, _, port, protocol = attempt.key
    return bool(noise(attempt.reason, protocol, port, *addresses(attempt.key)))
