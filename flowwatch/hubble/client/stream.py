"""The one place where messages are read: a stream of raw bytes in, lists of raw bytes out.

Both readers leave the messages unparsed, so that a faster reader can take their place, and so that
whoever decodes them (:mod:`flowwatch.flows.decode_wire`) does so in one go per list.

    reader    for                       thread                     when the consumer is slow
    ReadAll   requests that end         the consumer's own         nothing is read meanwhile
    Follow    requests that don't       one that reads             it stops at the limit, gRPC's flow
                                                                   control stops the server, and that
                                                                   reports what its ring lost
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Protocol

from flowwatch.errors import ServerError, Unreachable

CHUNK = 1024
"""Messages in a list of ReadAll at most; twice to four times as many bring no more speed."""
FOLLOW_CHUNK = 4096
"""Messages in a list of Follow at most: some 40 ms of work, so that the clock is looked at."""
BACKLOG_LIMIT = 65_536
"""Messages read ahead at most: a whole ring of the largest size."""
BACKLOG_BYTES = 128 << 20
"""Bytes read ahead at most, for servers with very large messages."""
DRAIN_EVERY = 0.025
"""Seconds between looks into the buffer: below what an eye notices, above what costs CPU."""
SILENCE = 30.0
"""Seconds after which a stream that ought to end by itself is given up when nothing comes: a
server has all of its answer in memory."""
TICK = 0.1
"""Seconds after which an empty list is yielded when nothing came."""


class End(Enum):
    """How a stream ended."""

    NOT_YET = "open"
    SERVER = "the server ended it"
    """With status OK: all was sent. Under follow it means that all nodes are gone: reconnect."""
    CLOSED = "closed by us"
    FAILED = "failed"


class MessageStream(Protocol):
    """Iterate ``chunks()`` once, in one thread; everything else may be used from any thread."""

    @property
    def end(self) -> End: ...

    @property
    def backlog(self) -> int:
        """Messages read but not yet yielded, at most ``limit``."""
        ...

    @property
    def limit(self) -> int: ...

    @property
    def reached(self) -> bool:
        """Whether the server has answered: until then a stream isn't quiet, it isn't there."""
        ...

    def chunks(self) -> Iterator[list[bytes]]:
        """Yield lists of serialized ``observer.GetFlowsResponse``, in order of arrival.

        Returns when the server ended the stream, or soon after ``close()``; raises ServerError
        when it broke, after everything that had arrived was yielded.
        """
        ...

    def close(self) -> None:
        """End ``chunks()`` within 100 ms; safe to call twice, and from a signal handler."""
        ...


class Messages(Protocol):
    """What a reader reads: messages as they come, that another thread can cancel.

    :class:`flowwatch.hubble.client.h2.H2Stream` is one, and through grpcio
    :class:`flowwatch.hubble.client.connection.FlowStream`. Cancelling ends the iteration without an error.
    """

    @property
    def reached(self) -> bool:
        """Whether the server has answered."""
        ...

    def lists(self) -> Iterator[list[bytes]]:
        """What came at once, at least one message each."""
        ...

    def cancel(self) -> None: ...


class ReadAll:
    """Reads a stream that ends by itself, in the consumer's thread."""

    limit = CHUNK

    def __init__(self, messages: Messages, silence: float | None = None) -> None:
        """``silence``: seconds without a message after which the stream is given up, if ever."""
        self.end = End.NOT_YET
        self._messages = messages
        self._chunk: list[bytes] = []
        self._closed = False
        self._silence = silence
        self._waits = 0.0
        """time.monotonic() since which a message is waited for; 0 while none is."""
        self._done = threading.Event()
        self._given_up = False

    @property
    def backlog(self) -> int:
        return len(self._chunk)

    @property
    def reached(self) -> bool:
        return self._messages.reached

    def chunks(self) -> Iterator[list[bytes]]:
        """See :meth:`MessageStream.chunks`; on Ctrl-C too, what had arrived is yielded first."""
        now = time.monotonic
        failure: ServerError | KeyboardInterrupt | None = None
        chunk = self._chunk
        due = now() + TICK
        if self._silence is not None:
            threading.Thread(target=self._watch, name="flowwatch-silence", daemon=True).start()
        self._waits = now()
        try:
            for messages in self._messages.lists():
                chunk += messages
                time_now = now()
                if len(chunk) >= CHUNK or time_now >= due:
                    self._chunk = []
                    self._waits = 0.0
                    yield chunk
                    chunk = self._chunk
                    time_now = now()
                    due = time_now + TICK
                self._waits = time_now
        except (ServerError, KeyboardInterrupt) as error:
            failure = error
        finally:
            self._done.set()
            self._messages.cancel()
        if self._given_up and failure is None:
            failure = Unreachable(f"the connection was lost: nothing came for {self._silence:g} s")
        if self._chunk:
            chunk, self._chunk = self._chunk, []
            yield chunk
        if failure is not None:
            self.end = End.FAILED
            raise failure
        self.end = End.CLOSED if self._closed else End.SERVER

    def _watch(self) -> None:
        """Cancel the stream when nothing comes; in a thread of its own."""
        assert self._silence is not None
        while not self._done.wait(min(self._silence / 4, 1.0)):
            waits = self._waits
            if waits and time.monotonic() - waits > self._silence:
                self._given_up = True
                self._messages.cancel()
                return

    def close(self) -> None:
        self._closed = True
        self._messages.cancel()


class Follow:
    """Reads a stream without end, in a thread of its own, into a bounded buffer.

    The threads share plain attributes with one writer each, and no lock: a lock could be held by
    the very code that a signal handler, which calls ``close()``, has interrupted.
    """

    def __init__(self, messages: Messages, limit: int = BACKLOG_LIMIT) -> None:
        self.end = End.NOT_YET
        self.limit = limit
        self._messages = messages
        self._buffer: deque[bytes] = deque()
        self._bytes_in = 0
        self._bytes_out = 0
        self._failure: BaseException | None = None
        self._finished = False
        self._closed = False
        self._thread = threading.Thread(target=self._read, name="flowwatch-reader", daemon=True)

    @property
    def backlog(self) -> int:
        return len(self._buffer)

    @property
    def reached(self) -> bool:
        return self._messages.reached

    def _read(self) -> None:
        buffer, limit = self._buffer, self.limit
        try:
            for messages in self._messages.lists():
                buffer.extend(messages)
                self._bytes_in += sum(map(len, messages))
                if len(buffer) >= limit or self._bytes_in - self._bytes_out >= BACKLOG_BYTES:
                    self._wait_for_room()
        except BaseException as error:  # noqa: BLE001  # raised again in the consumer's thread
            self._failure = error
        finally:
            self._finished = True

    def _wait_for_room(self) -> None:
        # Until half of it is free: else a consumer that is just too slow makes the reader wait
        # and wake for each message.
        while not self._closed and (
            len(self._buffer) > self.limit // 2
            or self._bytes_in - self._bytes_out > BACKLOG_BYTES // 2
        ):
            time.sleep(DRAIN_EVERY)

    def chunks(self) -> Iterator[list[bytes]]:
        """See :meth:`MessageStream.chunks`; an empty list comes about ten times a second.

        After ``close()``, and on Ctrl-C, what is in the buffer is still yielded.
        """
        self._thread.start()
        interrupt: KeyboardInterrupt | None = None
        try:
            try:
                yield from self._drain()
            except KeyboardInterrupt as error:
                interrupt = error
                self.close()
                yield from self._drain()
        finally:
            closed, self._closed = self._closed, True
            self._messages.cancel()
            self._thread.join(1.0)
        if interrupt is not None:
            raise interrupt
        if closed:
            self.end = End.CLOSED
        elif self._failure is not None:
            self.end = End.FAILED
            raise self._failure
        else:
            self.end = End.SERVER

    def _drain(self) -> Iterator[list[bytes]]:
        buffer = self._buffer
        yielded = time.monotonic()
        while True:
            # Asked before the buffer is emptied: nothing can come in after it.
            last = self._finished or self._closed
            chunk = [buffer.popleft() for _ in range(min(len(buffer), FOLLOW_CHUNK))]
            self._bytes_out += sum(map(len, chunk))
            if chunk or time.monotonic() - yielded >= TICK:
                yield chunk
                yielded = time.monotonic()
            if len(chunk) == FOLLOW_CHUNK:
                continue
            if last:
                return
            time.sleep(DRAIN_EVERY)

    def close(self) -> None:
        self._closed = True
        self._messages.cancel()
