"""The join: records in, attempts out, once for whoever listens.

    join = Join()
    aggregate, audit = Aggregate(join), Audit(join, policies)
    for batch in source.batches():
        join.add(batch)

Records mean nothing beyond the server they come from: each has its own attempts and names. What was
read, and what wasn't, is counted here too, so that all who listen say the same about it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec
from msgspec.structs import replace

from flowwatch.flows.attempts import Attempts
from flowwatch.flows.counting import Tally
from flowwatch.flows.coverage import Coverage, error_words
from flowwatch.flows.model import Batch
from flowwatch.flows.open_attempt import News, Numbers, OpenAttempt


class Joined(msgspec.Struct, frozen=True):
    """One batch, and what it told of attempts."""

    batch: Batch
    attempts: list[OpenAttempt | None]
    """For each of ``batch.flows`` its attempt; None when it belongs to none. An attempt whose
    ``records`` began with this batch is new."""
    news: list[tuple[OpenAttempt, News]]
    """What the flows told of each attempt that they belong to: see
    :attr:`flowwatch.flows.attempts.Attempts.news`."""
    closed: list[OpenAttempt]
    """Attempts that no record can join any more. Their numbers are used again by later batches."""
    scope: Attempts
    """Those of the batch's server, with its names."""
    extras: bool
    """The batch's own."""
    changed: list[OpenAttempt]
    """See :attr:`flowwatch.flows.attempts.Attempts.changed`."""


class Listener(Protocol):
    """Keeps numbers of its own, by ``OpenAttempt.number``."""

    def take(self, joined: Joined) -> None:
        """Called with each batch, in the order of the batches, in the thread that reads."""
        ...


class Join:
    """Joins the batches of a source into attempts, and tells those who listen.

    One thread adds. Others may look at attempts, names and the tally while they hold ``lock``; it is
    free while listeners take a batch, so that none waits for another's.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tally = Tally()
        """What was read, and what was not."""
        self.scopes: dict[str, Attempts] = {}
        """By server, where there are several; under "" that of a single one."""
        self.numbers = Numbers()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Tell ``listener`` of every batch from now on."""
        self._listeners.append(listener)

    def add(self, batch: Batch) -> None:
        """Take in a batch, and tell of it."""
        with self.lock:
            joined = self._joined(batch)
        told = self._told(joined)
        for listener in self._listeners:
            listener.take(told)
        for scope in self.scopes.values():
            scope.told_ahead = scope.clocks.ahead
        self.numbers.give_back(joined.closed)

    def _joined(self, batch: Batch) -> Joined:
        scope = self.scopes.get(batch.origin)
        if scope is None:
            scope = self.scopes[batch.origin] = Attempts(numbers=self.numbers)
            self.tally.clocks[batch.origin] = scope.clocks
        self.tally.add(batch)
        for event in batch.lost:
            scope.unseen.lost(event)
        extras = batch.extras
        observe = scope.observe_rare if extras else scope.observe_all
        attempts = observe(batch.flows)
        scope.clocks.check(batch.flows, attempts)
        return Joined(
            batch, attempts, scope.news, scope.take_closed(), scope, extras, scope.changed
        )

    def _told(self, joined: Joined) -> Joined:
        """What those who listen are told of it: all."""
        return joined

    def open_attempts(self) -> Iterator[tuple[str, Attempts, OpenAttempt]]:
        """All that are open, with their server and its scope; of each server the oldest first."""
        for origin, scope in self.scopes.items():
            for attempt in scope.open_attempts():
                yield origin, scope, attempt

    def read(self, batches: Iterable[Batch]) -> None:
        """All of ``batches``. Raises what they raise; what came before was told."""
        for batch in batches:
            self.add(batch)

    @property
    def shows_answers(self) -> bool:
        """Whether records of answers are among those read: else none came for want of records."""
        return any(scope.answers or scope.replies for scope in self.scopes.values())

    def coverage(self) -> Coverage:
        """What was and wasn't seen, by now."""
        seen, errors = self.tally.coverage(), self.errors_dropped
        return replace(
            seen,
            replies=self.replies,
            unattributed=self.unattributed,
            errors_dropped=errors,
            warnings=(*seen.warnings, *error_words(errors)),
        )

    @property
    def errors_dropped(self) -> int:
        """Records of ICMP errors that were dropped."""
        return sum(one.errors_dropped for one in self.scopes.values())

    @property
    def replies(self) -> int:
        """Records of replies that belong to no attempt."""
        return sum(one.replies + one.lines.replies for one in self.scopes.values())

    @property
    def unattributed(self) -> int:
        """Records without a direction and without an attempt that they could belong to."""
        return sum(one.unattributed + one.lines.unattributed for one in self.scopes.values())

    @property
    def closed_early(self) -> int:
        """How often attempts were closed before their time, for want of room."""
        return sum(scope.closed_early for scope in self.scopes.values())
