"""The two readers over messages that a test hands out one by one."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from flowwatch.errors import Unreachable
from flowwatch.hubble.client import stream
from flowwatch.hubble.client.stream import End, Follow, MessageStream, ReadAll


class Wire:
    """Messages as a connection gives them: they come when the test sends them, until cancelled."""

    def __init__(self, *lists: list[bytes], ends: bool = False) -> None:
        self._queue: queue.SimpleQueue[list[bytes] | BaseException | None] = queue.SimpleQueue()
        self.taken = 0
        self.cancelled = False
        self.reached = True
        for each in lists:
            self.send(*each)
        if ends:
            self.end()

    def send(self, *messages: bytes) -> None:
        self._queue.put(list(messages))

    def end(self, error: BaseException | None = None) -> None:
        self._queue.put(error)

    def cancel(self) -> None:
        self.cancelled = True
        self._queue.put(None)

    def lists(self) -> Iterator[list[bytes]]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            self.taken += len(item)
            yield item


Reader = Callable[[Wire], MessageStream]
BOTH = pytest.mark.parametrize("reader", [ReadAll, Follow])


def numbered(start: int, end: int) -> list[bytes]:
    return [b"%d" % n for n in range(start, end)]


def everything(messages: MessageStream) -> list[bytes]:
    return [message for chunk in messages.chunks() for message in chunk]


@BOTH
def test_all_that_came_in_its_order_and_then_the_end(reader: Reader) -> None:
    lists = [numbered(n, n + 7) for n in range(0, 7000, 7)]
    messages = reader(Wire(*lists, ends=True))
    before = messages.end
    assert everything(messages) == numbered(0, 7000)
    assert (before, messages.end) == (End.NOT_YET, End.SERVER)
    assert messages.backlog == 0


@BOTH
def test_an_error_is_raised_here_after_what_had_come(reader: Reader) -> None:
    wire = Wire(numbered(0, 5000))
    wire.end(Unreachable("gone"))
    messages = reader(wire)
    got: list[bytes] = []
    with pytest.raises(Unreachable, match="gone"):
        got.extend(m for chunk in messages.chunks() for m in chunk)
    assert got == numbered(0, 5000)
    assert messages.end is End.FAILED


def test_a_defect_in_the_reading_thread_is_not_swallowed() -> None:
    wire = Wire()
    wire.end(ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        everything(Follow(wire))


@BOTH
def test_closing_from_another_thread_is_quick_and_loses_nothing(reader: Reader) -> None:
    wire = Wire(numbered(0, 10))
    messages = reader(wire)
    closed_at: list[float] = []

    def close() -> None:
        closed_at.append(time.monotonic())
        messages.close()
        messages.close()

    timer = threading.Timer(0.3, close)
    timer.start()
    assert everything(messages) == numbered(0, 10)
    assert time.monotonic() - closed_at[0] < 0.3
    assert messages.end is End.CLOSED
    timer.join()


@BOTH
def test_closed_before_it_began(reader: Reader) -> None:
    messages = reader(Wire())
    messages.close()
    assert everything(messages) == []
    assert messages.end is End.CLOSED


@BOTH
def test_a_consumer_that_stops_ends_the_call(reader: Reader) -> None:
    wire = Wire(*[numbered(0, stream.CHUNK)] * 3)
    messages = reader(wire)
    chunks = messages.chunks()
    assert next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert wire.cancelled


def test_follow_ticks_while_nothing_comes() -> None:
    messages = Follow(Wire())
    threading.Timer(1.0, messages.close).start()
    ticks = list(messages.chunks())
    assert set(map(len, ticks)) == {0}
    assert 3 <= len(ticks) <= 11


def test_follow_hands_over_soon() -> None:
    wire = Wire()
    messages = Follow(wire)
    chunks = messages.chunks()
    next(chunks)
    sent = time.monotonic()
    wire.send(b"now")
    while not (chunk := next(chunks)):
        pass
    assert chunk == [b"now"]
    assert time.monotonic() - sent < 0.3
    messages.close()


def test_follow_stops_reading_at_its_limit_and_goes_on_when_there_is_room() -> None:
    """Then the messages wait in gRPC's window, and the server is stopped by flow control."""
    wire = Wire(*[[b"%d" % n] for n in range(5000)], ends=True)
    messages = Follow(wire, limit=100)
    chunks = messages.chunks()
    got = list(next(chunks))
    highest = 0
    for _ in range(3):
        time.sleep(0.1)
        highest = max(highest, messages.backlog)
        assert wire.taken - len(got) <= 100
    assert highest == 100
    got += [m for chunk in chunks for m in chunk]
    assert got == numbered(0, 5000)


def test_follow_stops_reading_at_its_limit_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BACKLOG_BYTES", 1000)
    wire = Wire(*[[bytes(400)] for _ in range(10)], ends=True)
    messages = Follow(wire)
    chunks = messages.chunks()
    got = list(next(chunks))
    time.sleep(0.2)
    assert wire.taken - len(got) == 3
    assert len(got) + sum(map(len, chunks)) == 10


def test_a_long_backlog_comes_in_pieces_so_that_the_clock_is_looked_at() -> None:
    wire = Wire(numbered(0, 20_000), ends=True)
    sizes = [len(chunk) for chunk in Follow(wire).chunks() if chunk]
    assert max(sizes) == stream.FOLLOW_CHUNK
    assert sum(sizes) == 20_000


def test_read_all_does_not_keep_what_came_until_a_list_is_full() -> None:
    wire = Wire()
    messages = ReadAll(wire)
    threading.Timer(0.2, wire.send, [b"late"]).start()
    threading.Timer(0.25, wire.send, [b"later"]).start()
    threading.Timer(0.6, wire.end).start()
    wire.send(b"first")
    chunks = [chunk for chunk in messages.chunks() if chunk]
    assert [m for chunk in chunks for m in chunk] == [b"first", b"late", b"later"]
    assert len(chunks) == 2


@BOTH
def test_ctrl_c_gives_what_had_come_and_then_ends(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(numbered(0, 10))
    messages = reader(wire)
    if reader is ReadAll:
        wire.end(KeyboardInterrupt())
    else:
        # In the consumer's thread it strikes while the consumer waits.
        slept = iter(range(3))

        def sleep(seconds: float) -> None:
            if threading.current_thread() is threading.main_thread() and next(slept, None) is None:
                monkeypatch.undo()
                wire.send(b"just before")
                threading.Event().wait(0.1)
                raise KeyboardInterrupt
            threading.Event().wait(seconds)

        monkeypatch.setattr("flowwatch.hubble.client.stream.time.sleep", sleep)
    got: list[bytes] = []
    with pytest.raises(KeyboardInterrupt):
        got.extend(m for chunk in messages.chunks() for m in chunk)
    assert got[:10] == numbered(0, 10)
    assert got[10:] == ([] if reader is ReadAll else [b"just before"])
    assert wire.cancelled


def test_a_stream_that_ought_to_end_is_given_up_when_nothing_comes() -> None:
    messages = ReadAll(Wire(numbered(0, 3)), silence=0.3)
    got: list[bytes] = []
    with pytest.raises(Unreachable, match=r"nothing came for 0\.3 s"):
        got.extend(m for chunk in messages.chunks() for m in chunk)
    assert got == numbered(0, 3)
    assert messages.end is End.FAILED


def test_a_slow_consumer_is_no_silence_of_the_server() -> None:
    messages = ReadAll(Wire(*[numbered(0, stream.CHUNK)] * 3, ends=True), silence=0.2)
    for chunk in messages.chunks():
        assert len(chunk) == stream.CHUNK
        time.sleep(0.5)
    assert messages.end is End.SERVER
