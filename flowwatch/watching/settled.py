"""Attempts as counters want them: each counted once, when nothing more is likely to change what became of it.

A counter must not go down (https://prometheus.io/docs/concepts/metric_types/), and an attempt's outcome may
change for a while: one that the near node forwarded is dropped at the far one, a denied one is let through on
a retry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flowwatch.flows.join import Joined
from flowwatch.flows.meaning import DROPPED, OUTCOMES
from flowwatch.flows.model import Endpoint
from flowwatch.flows.noise import noise
from flowwatch.flows.open_attempt import OpenAttempt, addresses
from flowwatch.flows.reasons import reason
from flowwatch.watching.names import Names
from flowwatch.watching.rules import SECOND

SETTLED = 10 * SECOND
"""An attempt is counted so long after its last change, in flow time, or when it is over."""
WAITING = 35 * SECOND
"""A dropped attempt that was tried again waits still: Linux waits 1, 2, 4, 8, 16, 32 s between its SYNs."""
_RETRY = SECOND // 2
"""A record so long after the drop is a retry's."""
NOISE = "noise"
"""Stands for the reason of what no policy was asked about."""


class Subject(NamedTuple):
    """Whose attempt it is."""

    namespace: str
    """"" of what is no pod."""
    workload: str


class Sort(NamedTuple):
    """What attempts are counted by."""

    direction: str
    subject: Subject
    outcome: str
    """One of :data:`flowwatch.flows.meaning.OUTCOMES`."""
    reason: str
    """Hubble's drop reason, or NOISE; "" of what wasn't dropped."""


class Settled:
    """Listens to a join. One thread adds to it, and asks here."""

    def __init__(self, count: Callable[[Sort], None], names: Names) -> None:
        """``count`` is called once for each end at which an attempt was seen."""
        self._count, self._names = count, names
        self._now = 0
        self._due: dict[int, tuple[int, OpenAttempt, int]] = {}
        """By number until when its attempt may change, and the version that it is; the next due in front."""
        self._told: set[int] = set()
        self._dropped: dict[int, OpenAttempt] = {}

    def take(self, joined: Joined) -> None:
        """Take in a batch (flowwatch.flows.join.Listener)."""
        due, told, dropped = self._due, self._told, self._dropped
        for attempt, news in joined.news:
            number = attempt.number
            self._now = max(self._now, news.last)
            if attempt.outcome == DROPPED:
                dropped[number] = attempt
            elif number in dropped:
                del dropped[number]
            if number in told:
                continue
            known = due.get(number)
            if known is None or known[2] != attempt.version:
                due.pop(number, None)
                due[number] = self._now + SETTLED, attempt, attempt.version
        while due:
            number = next(iter(due))
            until, attempt, _ = due[number]
            if until > self._now:
                break
            self._tell(attempt)
        for attempt in joined.closed:
            if attempt.number not in told:
                self._tell(attempt)
            told.discard(attempt.number)
            dropped.pop(attempt.number, None)

    def finish(self) -> None:
        """Nothing follows: what may still change is counted as it is."""
        for _, attempt, _ in list(self._due.values()):
            self._tell(attempt)

    def waiting(self) -> dict[tuple[str, Subject], int]:
        """Dropped attempts that are tried again at this moment, by direction and whose they are."""
        found: dict[tuple[str, Subject], int] = {}
        for attempt in self._dropped.values():
            retried = attempt.last - attempt.decided >= _RETRY and not attempt.uncounted
            if retried and self._now - attempt.last <= WAITING:
                for direction, subject in self._ends(attempt):
                    key = direction, subject
                    found[key] = found.get(key, 0) + 1
        return found

    def _tell(self, attempt: OpenAttempt) -> None:
        self._due.pop(attempt.number, None)
        self._told.add(attempt.number)
        outcome = OUTCOMES[attempt.outcome]
        why = _reason(attempt) if attempt.outcome == DROPPED else ""
        for direction, subject in self._ends(attempt):
            self._count(Sort(direction, subject, outcome, why))

    def _ends(self, attempt: OpenAttempt) -> list[tuple[str, Subject]]:
        """The ends at which an attempt was seen."""
        client, server = addresses(attempt.key)
        found = []
        if attempt.egress:
            found.append(("egress", self._subject(attempt.client, client)))
        if attempt.ingress:
            found.append(("ingress", self._subject(attempt.server, server)))
        return found

    def _subject(self, end: Endpoint, address: str) -> Subject:
        self._names.see(end)
        name = self._names.end(end, address)
        return Subject(end.namespace, name.removeprefix(f"{end.namespace}/"))


def _reason(attempt: OpenAttempt) -> str:
    _, _, _, port, protocol = attempt.key
    if noise(attempt.reason, protocol, port, *addresses(attempt.key)):
        return NOISE
    return reason(attempt.reason).name
