"""Reading a source to its end for verbs that answer once, and ending well when it breaks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice

from flowwatch import output, signals
from flowwatch.errors import Defect, FlowwatchError, Stopped
from flowwatch.flows.model import Batch
from flowwatch.flows.source import Source
from flowwatch.sources.keeping import kept_words
from flowwatch.text import plural

UNREADABLE = 2
"""Exit code of what other verbs end with 1 for, where 1 is an answer: CI must tell them apart."""


@contextmanager
def telling_apart() -> Iterator[None]:
    """Errors that would end with 1 end with UNREADABLE."""
    try:
        yield
    except FlowwatchError as error:
        if error.exit_code == FlowwatchError.exit_code:
            error.exit_code = UNREADABLE
        raise


class Reading:
    """Iterates the batches of ``source``; remembers, instead of raising, what ended them early.

    So a verb first shows or writes what was read until then, and then ends with :meth:`finish`.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.failure: FlowwatchError | None = None
        self.stopped: Stopped | None = None
        """The signal that ended it: Ctrl-C, SIGTERM, SIGHUP."""
        self.read = 0

    def batches(self) -> Iterator[Batch]:
        """Batch by batch; a signal ends it between two of them, so that none is taken in by half."""
        waiting = True

        def stop(number: int) -> None:
            again, self.stopped = self.stopped is not None, Stopped(number)
            if waiting or again:
                raise self.stopped

        try:
            with signals.handled_by(stop):
                for batch in self._source.batches():
                    waiting = False
                    self.read += len(batch.flows)
                    yield batch
                    waiting = True
                    if self.stopped is not None:
                        return
        except FlowwatchError as error:
            self.failure = error
        except KeyboardInterrupt as error:
            self.stopped = Stopped.of(error)
        except Exception as error:  # noqa: BLE001 - raised again by finish()
            self.failure = Defect.of(error)
        finally:
            self._source.close()
            for line in kept_words(self._source):
                output.say(line)

    def begun(self) -> Iterator[Batch]:
        """The same; the first is here when this returns, so a server is at work on what follows."""
        batches = self.batches()
        return chain(list(islice(batches, 1)), batches)

    def whole(self) -> Iterator[Batch]:
        """The same for who can't do with a part: what ends it early is raised."""
        yield from self.batches()
        if self.failure is not None:
            raise self.failure
        if self.stopped is not None:
            raise self.stopped

    @property
    def partial(self) -> bool:
        """Whether the end wasn't reached."""
        return self.failure is not None or self.stopped is not None

    def nothing(self) -> None:
        """Raise what went wrong if nothing at all was read before: then there is nothing to show."""
        if self.failure is not None and not self.read:
            raise self.failure

    def finish(self, warn: Callable[[str], None] | None = None) -> int:
        """Say that the answer is partial, and why; the exit code. Raises Defect if that is why."""
        say = warn or output.say
        if isinstance(self.failure, Defect):
            say(f"this is what was read until then ({plural(self.read, 'flow')}): partial")
            raise self.failure
        if self.failure is not None:
            say(
                f"{self.failure}; this is what was read until then ({plural(self.read, 'flow')}): partial"
            )
            return self.failure.exit_code
        if self.stopped is not None:
            say(f"{self.stopped.word} after {plural(self.read, 'flow')}: this is partial")
            return self.stopped.exit_code
        return 0


def at_terminal() -> bool:
    """Whether a person sits at both ends of this program."""
    return sys.stdin is not None and sys.stdin.isatty() and output.is_terminal()
