"""Reading a source to its end for verbs that answer once, and ending well when it breaks."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import BinaryIO

from flowwatch import output
from flowwatch.cli.main import INTERRUPTED
from flowwatch.errors import FlowwatchError, UsageError
from flowwatch.flows.model import Batch
from flowwatch.flows.source import Source
from flowwatch.sources.keeping import kept_words


class Reading:
    """Iterates the batches of ``source``; remembers, instead of raising, what ended them early.

    So a verb first shows or writes what was read until then, and then ends with :meth:`finish`.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.failure: FlowwatchError | None = None
        self.interrupted = False
        self.read = 0

    def batches(self) -> Iterator[Batch]:
        """Batch by batch; Ctrl-C ends it between two of them, so that none is taken in by half."""
        waiting = True

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            again, self.interrupted = self.interrupted, True
            if waiting or again:
                raise KeyboardInterrupt

        try:
            with _on_interrupt(interrupt):
                for batch in self._source.batches():
                    waiting = False
                    self.read += len(batch.flows)
                    yield batch
                    waiting = True
                    if self.interrupted:
                        return
        except FlowwatchError as error:
            self.failure = error
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            self._source.close()
            for line in kept_words(self._source):
                output.say(line)

    @property
    def partial(self) -> bool:
        """Whether the end wasn't reached."""
        return self.failure is not None or self.interrupted

    def nothing(self) -> None:
        """Raise what went wrong if nothing at all was read before: then there is nothing to show."""
        if self.failure is not None and not self.read:
            raise self.failure

    def finish(self, warn: Callable[[str], None] | None = None) -> int:
        """Say that the answer is partial, and why; the exit code."""
        say = warn or output.say
        if self.failure is not None:
            say(f"{self.failure}; this is what was read until then ({self.read:,} flows): partial")
            return self.failure.exit_code
        if self.interrupted:
            say(f"interrupted after {self.read:,} flows: this is partial")
            return INTERRUPTED
        return 0


@contextmanager
def _on_interrupt(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call ``handler`` on Ctrl-C; Python lets only the main thread say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def standard_input(what: str) -> BinaryIO:
    """Standard input, which should bring ``what``. Raises UsageError when it is closed."""
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("standard input is closed", f"name a file, or pipe {what} in")
    return sys.stdin.buffer


def at_terminal() -> bool:
    """Whether a person sits at both ends of this program."""
    return sys.stdin is not None and sys.stdin.isatty() and output.is_terminal()
