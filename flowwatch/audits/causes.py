"""What blocked the attempts of each row, by the policies that were given (flowwatch.flows.cause.Teller).

join = Join()
causes = RowCauses(Judge(policies), join)
aggregate = Aggregate(join=join, teller=causes)
"""

from __future__ import annotations

import threading
from functools import partial

from flowwatch.audits.attribution import causes
from flowwatch.audits.evidence import Observer
from flowwatch.audits.judge import Judge
from flowwatch.audits.remembered import Extra
from flowwatch.flows import meaning
from flowwatch.flows.cause import Cause, Telling
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.open_attempt import OpenAttempt

_BLOCKED = (meaning.DROPPED, meaning.AUDIT)


class Causes:
    """Tells causes by what an observer remembers, whoever lets that take in batches."""

    def __init__(self, judge: Judge, observer: Observer, join: Join) -> None:
        self.lock = threading.Lock()
        """Held while one is told, and before the join's: by whoever lets the observer take in more, too."""
        self._judge, self._observer, self._join = judge, observer, join
        self._extra: dict[int, Extra] = {}
        """By number, of the attempts that the present batch showed to be blocked."""
        observer.on_blocked = self._remember

    def begin(self) -> None:
        """A batch comes."""
        self._extra = {}

    def _remember(self, attempt: OpenAttempt, extra: Extra) -> None:
        self._extra[attempt.number] = extra

    def blocked(self, attempt: OpenAttempt, server: str, direction: str) -> Telling:
        """See flowwatch.flows.cause.Teller."""
        extra = self._extra.get(attempt.number) or self._observer.extra(attempt)
        return partial(self._tell, attempt, extra, server, direction)

    def _tell(
        self, attempt: OpenAttempt, extra: Extra, server: str, direction: str
    ) -> Cause | None:
        if attempt.outcome not in _BLOCKED:
            return None
        with self.lock, self._join.lock:
            seen = self._observer.over(attempt, self._join.scopes[server], extra)
            return causes(self._judge, seen).get(direction)


class RowCauses(Causes):
    """The same with an observer of its own."""

    def __init__(self, judge: Judge, join: Join) -> None:
        """Listens to ``join``: before the aggregate that asks it."""
        super().__init__(judge, Observer(reach=judge.policies.options.reach), join)
        self._closed: list[OpenAttempt] = []
        join.listen(self)

    def take(self, joined: Joined) -> None:
        """Take in a batch (flowwatch.flows.join.Listener)."""
        with self.lock:
            self.begin()
            for attempt in self._closed:
                self._observer.forget(attempt)
            self._observer.take(joined)
            # Those who count take the same batch after this.
            self._closed = joined.closed
