"""The kinds of rules: what each makes of a step, and when its alerts are over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt

import msgspec

from flowwatch.flows.reasons import reason
from flowwatch.marks.changes import ChangesReport
from flowwatch.marks.finding import TOGETHER
from flowwatch.marks.sightings import Edge
from flowwatch.watching.alerts import Alert, Alerts, about
from flowwatch.watching.destinations import PathState, Step, Steps
from flowwatch.watching.names import Names, Path, renamed
from flowwatch.watching.rules import SECOND, Kind, WatchRule

_PAUSES = 5
"""Times its own usual pause that a destination may be quiet."""
_DEVIATIONS = 3
_REMEMBERED = 60
"""Windows that a workload's normal is made of, mostly."""

Owner = tuple[str, str, str]
"""Direction, cluster, workload."""


class Learned(msgspec.Struct):
    """What rules know of how things are; kept over a restart."""

    paths: dict[Path, PathState] = {}
    blocked: dict[str, dict[Path, int]] = {}
    """By rule, those known to be blocked, with when they were so last."""
    cut: dict[Path, int] = {}
    """Those that were told to be cut, with the mark's time."""
    normal: dict[str, Normal] = {}
    """By rule, direction, cluster and workload."""
    since: int = 0
    """When watching began, in flow time."""

    def rename(self, by: Callable[[Path], Path]) -> None:
        """Go on by the names of now; ``paths`` are somebody else's."""
        self.blocked = {rule: renamed(one, by, max) for rule, one in self.blocked.items()}
        self.cut = renamed(self.cut, by, max)
        normal, self.normal = self.normal, {}
        for name, one in normal.items():
            rule, direction, cluster, subject = name.split("\0")
            owner = by(Path(direction, cluster, subject, "", 0, ""))[:3]
            there = self.normal.setdefault("\0".join((rule, *owner)), one)
            if one.windows > there.windows:
                self.normal["\0".join((rule, *owner))] = one


class Normal(msgspec.Struct):
    """A workload's share of drops, as it usually is; and the window that isn't full yet."""

    windows: int = 0
    mean: float = 0.0
    variance: float = 0.0
    passed: int = 0
    dropped: int = 0
    since: int = 0

    def learn(self, share: float) -> None:
        """Take in a window."""
        self.windows += 1
        part = 1 / min(self.windows, _REMEMBERED)
        off = share - self.mean
        self.mean += part * off
        self.variance = (1 - part) * (self.variance + part * off * off)

    def limit(self, above: float) -> float:
        """What is more than normal."""
        return self.mean + max(above, _DEVIATIONS * sqrt(self.variance))


class Now(msgspec.Struct):
    """The step that is looked at."""

    end: int
    """Nanoseconds since 1970."""
    steps: Steps
    learned: Learned
    alerts: Alerts
    names: Names
    watched_since: int
    """Since when flows come without a break that is known of."""


class RuleOf:
    """One rule, at work. What its alerts are about stands in their labels."""

    def __init__(self, rule: WatchRule) -> None:
        self.rule = rule

    def look(self, now: Now) -> None:
        """Look at one step."""
        raise NotImplementedError

    def rename(self, by: Callable[[Path], Path]) -> None:
        """Go on by the names of now."""

    def _about(self, now: Now, path: Path) -> bool:
        """Whether it watches this destination, by whatever name a record has it."""
        rule, (direction, _, subject, peer, _, _) = self.rule, path
        return rule.about(direction, subject, peer) or (
            rule.peer != "*"
            and any(rule.about(direction, subject, other) for other in now.names.others(path))
        )

    def _mine(self, now: Now) -> list[tuple[Path, Step]]:
        return [(path, step) for path, step in now.steps.items() if self._about(now, path)]

    def _active(self, alerts: Alerts) -> list[tuple[str, Alert]]:
        return [
            (key, alert) for key, alert in alerts.active.items() if alert.rule == self.rule.alert
        ]

    def _fire(self, now: Now, path: Path, starts: int, words: str) -> None:
        now.alerts.fire(self.rule, path, {"summary": words}, starts)


class NewBlocked(RuleOf):
    """A destination is dropped that was not blocked before."""

    def __init__(self, rule: WatchRule) -> None:
        super().__init__(rule)
        self._begun: dict[Path, tuple[int, int]] = {}
        """Of paths that were dropped, but not often enough yet: how often, and since when."""

    def rename(self, by: Callable[[Path], Path]) -> None:
        self._begun = renamed(self._begun, by, lambda a, b: (a[0] + b[0], min(a[1], b[1])))

    def look(self, now: Now) -> None:
        blocked = now.learned.blocked.setdefault(self.rule.alert, {})
        learning = now.end <= now.learned.since + self.rule.learn
        for path, step in self._mine(now):
            if not step.dropped or step.passed:
                continue
            known = path in blocked
            if known or learning:
                blocked[path] = now.end
                continue
            before, since = self._begun.get(path, (0, step.last))
            self._begun[path] = before + step.dropped, since
            if before + step.dropped < self.rule.attempts:
                continue
            del self._begun[path]
            blocked[path] = now.end
            by = f", by {', '.join(step.denied_by)}" if step.denied_by else ""
            words = f"{_words(now, path)} is blocked: {reason(step.reason).name}{by}"
            self._fire(now, path, since, words)
        for path, step in now.steps.items():
            if step.passed:
                # Were it blocked again, that would be new.
                blocked.pop(path, None)
                self._begun.pop(path, None)
        for key, alert in self._active(now.alerts):
            path = about(alert)
            step = now.steps.get(path, _NOTHING)
            last = blocked.get(path)
            if step.passed:
                now.alerts.recover(key, step.last)
            elif last is None or now.end - last > self.rule.clear:
                now.alerts.recover(key, now.end)


class DropShare(RuleOf):
    """A workload's share of drops is above its own normal."""

    def look(self, now: Now) -> None:
        sums: dict[Owner, list[int]] = {}
        for path, step in self._mine(now):
            both = sums.setdefault(path[:3], [0, 0])
            both[0] += step.passed
            both[1] += step.dropped
        of = now.learned.normal
        for owner, (passed, dropped) in sums.items():
            one = of.setdefault(self._name(owner), Normal(since=now.end))
            one.passed += passed
            one.dropped += dropped
        active = {about(alert)[:3]: key for key, alert in self._active(now.alerts)}
        for owner in {**sums, **active}:
            one = of.setdefault(self._name(owner), Normal(since=now.end))
            key = active.get(owner)
            if now.end - one.since < self.rule.window:
                continue
            if one.passed + one.dropped >= self.rule.attempts:
                self._window(now, owner, one, key)
            elif key is not None and now.end - one.since > self.rule.clear:
                now.alerts.recover(key, now.end)

    def _window(self, now: Now, owner: Owner, one: Normal, key: str | None) -> None:
        share = one.dropped / (one.passed + one.dropped)
        limit, passed, dropped = one.limit(self.rule.above), one.passed, one.dropped
        starts = one.since
        one.passed = one.dropped = 0
        one.since = now.end
        learnt = one.windows * self.rule.window >= self.rule.learn
        if key is not None:
            if share <= limit:
                now.alerts.recover(key, now.end)
            return
        if not learnt or share <= limit:
            one.learn(share)
            return
        path = Path(*owner, "", 0, "")
        words = (
            f"{path.subject}: {share:.0%} of its {passed + dropped} attempts were dropped, "
            f"where {one.mean:.0%} are normal"
        )
        self._fire(now, path, starts, words)

    def _name(self, owner: Owner) -> str:
        return "\0".join((self.rule.alert, *owner))


class GoneQuiet(RuleOf):
    """A destination that was reached again and again is tried no more."""

    def look(self, now: Now) -> None:
        for path, state in now.learned.paths.items():
            if state.passed < self.rule.attempts or state.tried < 2:
                continue
            pause = (state.last - state.first) // (state.tried - 1)
            since = max(state.last, now.watched_since)
            quiet = now.end - since
            if quiet <= max(self.rule.quiet, _PAUSES * pause) or quiet > self.rule.clear:
                continue
            if self._about(now, path):
                words = (
                    f"{_words(now, path)} was tried {state.tried} times, once in {pause / SECOND:.0f} s, "
                    f"and is no more"
                )
                self._fire(now, path, since, words)
        for key, alert in self._active(now.alerts):
            known = now.learned.paths.get(about(alert))
            if known is None or now.end - max(known.last, alert.starts) > self.rule.clear:
                now.alerts.recover(key, now.end)
            elif known.last > alert.starts:
                now.alerts.recover(key, known.last)


class Unanswered(RuleOf):
    """Attempts are let through, one after the other, and nobody answers."""

    def look(self, now: Now) -> None:
        paths = now.learned.paths
        for path, step in now.steps.items():
            state = paths.get(path)
            if state is None:
                continue
            if step.answered:
                continue
            # A datagram may want no answer.
            asks = path.protocol in ("TCP", "SCTP") or state.answered
            enough = step.silent and state.silent >= self.rule.attempts
            if enough and asks and self._about(now, path):
                words = f"{_words(now, path)}: {state.silent} attempts were let through, and nobody answered"
                self._fire(now, path, step.last, words)
        for key, alert in self._active(now.alerts):
            path = about(alert)
            state = paths.get(path)
            step = now.steps.get(path, _NOTHING)
            if step.answered:
                now.alerts.recover(key, step.last)
            elif state is None or now.end - state.silent_at > self.rule.clear:
                now.alerts.recover(key, now.end)


class CutOff(RuleOf):
    """A policy that came or changed cut off what worked."""

    def look(self, now: Now) -> None:
        for key, alert in self._active(now.alerts):
            state = now.learned.paths.get(about(alert), _NEVER)
            if state.passed_at > alert.starts:
                now.alerts.recover(key, state.passed_at)
            elif now.end - max(state.dropped_at, alert.starts) > self.rule.clear:
                now.alerts.recover(key, now.end)

    def changed(self, now: Now, report: ChangesReport) -> dict[Path, int]:
        """Take in what policies changed; what is told of now, with the mark's time."""
        found: dict[Path, int] = {}
        for difference in report.differences:
            time = difference.mark.time
            # Not as the report has them, the most dropped first: that goes on changing.
            rows = [(now.names.told(_path(row.edge)), row) for row in difference.rows]
            for path, row in sorted(rows, key=lambda one: one[0]):
                if row.change != "cut" or not self._about(now, path):
                    continue
                # A mark that is found again may be dated more exactly.
                if time <= now.learned.cut.get(path, 0) + TOGETHER:
                    continue
                found[path] = time
                by = ", ".join(difference.mark.policies) or "policies that no record names"
                words = f"{_words(now, path)} is cut since {by} changed: {row.cause}"
                self._fire(now, path, time, words)
        self.look(now)
        return found


_NOTHING = Step()
_NEVER = PathState()

OF_KIND: Mapping[Kind, type[RuleOf]] = {
    "new-blocked": NewBlocked,
    "drop-share": DropShare,
    "gone-quiet": GoneQuiet,
    "unanswered": Unanswered,
    "cut": CutOff,
}


def _path(edge: Edge) -> Path:
    return Path(edge.direction, edge.cluster, edge.subject, edge.peer, edge.port, edge.protocol)


def note(learned: Learned, steps: Steps) -> None:
    """Keep of a step who answered, and who didn't; before rules look at it."""
    for path, step in steps.items():
        state = learned.paths.get(path)
        if state is None:
            continue
        if step.answered:
            state.answered, state.silent = True, 0
        elif step.silent:
            state.silent += step.silent
            state.silent_at = step.last


def _words(now: Now, path: Path) -> str:
    arrow = "→" if path.direction == "egress" else "←"
    service = now.names.service(path)
    behind = f" (service {service})" if service else ""
    return f"{path.subject} {arrow} {path.peer}{f':{path.port}' if path.port else ''}{behind}"
