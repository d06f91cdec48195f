"""Asking a server how it is, beside the stream, in a thread of its own.

A stream that brings nothing may be a quiet network or a dead connection, and Hubble's servers end
connections that ping more often than every five minutes. So the question is an ordinary call.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from flowwatch.errors import FlowwatchError, Refused, ServerError
from flowwatch.sources.nodes import ServerNow

EVERY = 10.0
"""Seconds between polls: relay asks each of its nodes for an answer."""


class PollAnswer(msgspec.Struct, frozen=True):
    """What came of one poll."""

    at: int
    """Nanoseconds since 1970."""
    now: ServerNow | None
    """None when there was no answer."""
    error: ServerError | None = None


class Asking(Protocol):
    """Something that asks, until it is stopped: a thread of :class:`Polls`, or a test's script."""

    def answers(self) -> Iterator[PollAnswer]:
        """Those that came since the last call; never waits."""
        ...

    def stop(self) -> None:
        """Ask no more."""
        ...

    def join(self) -> None:
        """Wait for its end."""
        ...


Polling = Callable[[Callable[[], ServerNow], float], Asking]
"""Begins to ask by the function, every so many seconds."""


class Polls:
    """Asks ``ask`` every ``every`` seconds, the first time at once, until :meth:`stop`."""

    def __init__(self, ask: Callable[[], ServerNow], every: float = EVERY) -> None:
        self._ask = ask
        self._every = every
        self._answers: queue.SimpleQueue[PollAnswer] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flowwatch-polls", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            answered = True
            try:
                self._answers.put(PollAnswer(time.time_ns(), self._ask()))
            except Refused as error:
                # It answers, only not this: no use in asking again.
                self._answers.put(PollAnswer(time.time_ns(), ServerNow(), error))
                return
            except ServerError as error:
                answered = False
                self._answers.put(PollAnswer(time.time_ns(), None, error))
            except FlowwatchError:
                return
            took = time.monotonic() - began
            # A server that needs long for an answer has many nodes, or other work to do; one that
            # gives none may be dead, and the next poll makes it sure.
            self._stop.wait(max(self._every - took, self._every / 2, 4 * took * answered))

    def answers(self) -> Iterator[PollAnswer]:
        """Those that came since the last call; never waits."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._answers.get_nowait()

    def stop(self) -> None:
        """Ask no more; the connection must be closed by its owner, which ends a call under way."""
        self._stop.set()

    def join(self, timeout: float = 1.0) -> None:
        """Wait for the thread's end after :meth:`stop`."""
        self._thread.join(timeout)
