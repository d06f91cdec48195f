"""Alerts: what is amiss now, each told once when it begins and once when it is over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from flowwatch.watching.names import Path
from flowwatch.watching.rules import SECOND, WatchRule

Status = Literal["firing", "resolved"]

LIMITED = 600 * SECOND
"""The time in which a rule's limit counts."""
MOST = 10_000
"""Alerts that are active at once; what is beyond is counted."""
_OFFSET, _PRIME = 14695981039346656037, 1099511628211
"""Of FNV-1a with 64 bits."""


class Alert(msgspec.Struct):
    """One alert; times in nanoseconds since 1970, the flows' own."""

    rule: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts: int
    ends: int = 0
    """0 while it goes on."""
    told: bool = False
    about: Path | None = None
    """By the names of now, which its labels keep not to: receivers know it by these. Of a workload as a
    whole, its destination is empty. None of one that an older flowwatch has kept."""

    @property
    def fingerprint(self) -> str:
        """What tells it from others, by its labels alone: as Alertmanager calls it."""
        return fingerprint(self.labels)


class Notice(msgspec.Struct, frozen=True):
    """An alert that began, or is over: what receivers are told."""

    status: Status
    alert: Alert


def fingerprint(labels: Mapping[str, str]) -> str:
    """Alertmanager's own, of a set of labels (prometheus/common, model/signature.go: FNV-1a of the sorted
    names and values, each with 0xff behind it)."""
    number = _OFFSET
    for name in sorted(labels):
        for byte in b"%b\xff%b\xff" % (name.encode(), labels[name].encode()):
            number = (number ^ byte) * _PRIME & 0xFFFFFFFFFFFFFFFF
    return f"{number:016x}"


class Alerts:
    """Those that are active. What begins, and what is over, gathers in ``news`` until it is taken."""

    def __init__(self, rules: Mapping[str, WatchRule]) -> None:
        self._rules = rules
        self.active: dict[str, Alert] = {}
        """By fingerprint."""
        self._about: dict[tuple[str, Path], str] = {}
        """By rule and what it is about."""
        self.news: list[Notice] = []
        self.came_and_went = 0
        """Alerts over before anybody was told, as there were too many."""
        self.beyond = 0
        """Not kept, as there were more than MOST."""
        self.fired: dict[str, int] = {}
        self._when: dict[str, deque[int]] = {}

    def begin(self, alerts: list[Alert]) -> None:
        """Go on with those of an earlier run."""
        self.active = {alert.fingerprint: alert for alert in alerts}
        self.rename(lambda path: path)

    def rename(self, by: Callable[[Path], Path]) -> None:
        """Go on by the names of now: of two that are one then, both go on."""
        for alert in self.active.values():
            alert.about = by(about(alert))
        self._about = {
            (alert.rule, about(alert)): key for key, alert in reversed(self.active.items())
        }

    def fire(self, rule: WatchRule, path: Path, annotations: Mapping[str, str], starts: int) -> str:
        """Begin an alert about it, unless it goes on already; its fingerprint."""
        known = self._about.get((rule.alert, path))
        if known is not None:
            return known
        every = {"severity": "warning", **_labels(path), **rule.labels, "alertname": rule.alert}
        key = fingerprint(every)
        if key in self.active:
            return key
        if len(self.active) >= MOST:
            self.beyond += 1
            return ""
        told = {**annotations, **rule.annotations}
        self.active[key] = Alert(rule.alert, every, told, starts, about=path)
        self._about[rule.alert, path] = key
        self.fired[rule.alert] = self.fired.get(rule.alert, 0) + 1
        return key

    def recover(self, key: str, ends: int) -> None:
        """End an alert, if it goes on."""
        alert = self.active.pop(key, None)
        if alert is None:
            return
        subject = alert.rule, about(alert)
        if self._about.get(subject) == key:
            del self._about[subject]
        alert.ends = max(ends, alert.starts)
        if alert.told:
            self.news.append(Notice("resolved", alert))
        else:
            self.came_and_went += 1

    def tell(self, now: int) -> None:
        """Let those be told that nobody knows of yet, within the limits of their rules."""
        for alert in self.active.values():
            if alert.told:
                continue
            rule = self._rules.get(alert.rule)
            times = self._when.setdefault(alert.rule, deque())
            while times and times[0] <= now - LIMITED:
                times.popleft()
            if rule is not None and len(times) >= rule.limit:
                continue
            times.append(now)
            alert.told = True
            # As it is now: it may be over before the receiver is told.
            self.news.append(Notice("firing", msgspec.structs.replace(alert)))

    @property
    def held(self) -> int:
        """Those that wait as their rule has told too many."""
        return sum(not alert.told for alert in self.active.values())

    def by_rule(self) -> dict[str, int]:
        """How many go on, by their rules."""
        found: dict[str, int] = {}
        for alert in list(self.active.values()):
            found[alert.rule] = found.get(alert.rule, 0) + 1
        return found

    def take_news(self) -> list[Notice]:
        """What began and what is over since the last time."""
        news, self.news = self.news, []
        return news


def about(alert: Alert) -> Path:
    """The path that an alert is about, by the names of now."""
    if alert.about is not None:
        return alert.about
    of = alert.labels.get
    return Path(
        of("direction", ""), of("cluster", ""), of("workload", ""), of("peer", ""),
        int(of("port", "0")), of("protocol", ""),
    )  # fmt: skip


def _labels(path: Path) -> dict[str, str]:
    labels = {
        "direction": path.direction,
        "cluster": path.cluster,
        "workload": path.subject,
        "peer": path.peer,
        "port": str(path.port or ""),
        "protocol": path.protocol,
    }
    return {name: value for name, value in labels.items() if value}
