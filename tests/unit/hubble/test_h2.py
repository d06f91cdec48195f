"""The stream reader against a scripted peer: whatever way valid frames are cut, the messages are the same."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from flowwatch.errors import Refused, ServerError, Unreachable
from flowwatch.hubble import h2
from flowwatch.hubble.config import Settings
from flowwatch.hubble.h2 import H2Stream

ACK, END_STREAM, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 1) -> bytes:
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes((kind, flags))
        + struct.pack(">I", stream)
        + payload
    )


def message(data: bytes, packed: int = 0) -> bytes:
    return struct.pack(">BI", packed, len(data)) + data


SETTINGS = frame(h2.SETTINGS, stream=0)
ANSWER = Encoder().encode([(":status", "200"), ("content-type", "application/grpc")])
RESPONSE = frame(h2.HEADERS, ANSWER, END_HEADERS)


def trailers(status: int = 0, words: str = "") -> bytes:
    pairs = [("grpc-status", str(status)), ("grpc-message", words)]
    return frame(h2.HEADERS, Encoder().encode(pairs), END_HEADERS | END_STREAM)


@contextmanager
def peer(
    *writes: bytes, pause: float = 0.0, hold: bool = False
) -> Iterator[tuple[Settings, list[bytes]]]:
    """A server that writes what it is given to the first who comes, and keeps what it is sent."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65536))
                for data in writes:
                    connection.sendall(data)
                    time.sleep(pause)
                if hold:
                    connection.settimeout(10)
                    while heard[-1]:
                        try:
                            heard.append(connection.recv(65536))
                        except OSError:
                            return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Settings(server=f"127.0.0.1:{listener.getsockname()[1]}", request_timeout=1.0), heard
        thread.join(5)


def read(server: Settings) -> list[bytes]:
    stream = H2Stream(server, server.address, "/observer.Observer/GetFlows", b"request")
    return [each for messages in stream.lists() for each in messages]


WHOLE = [b"one", b"", b"three" * 4000, b"four"]
PLAIN = b"".join(frame(h2.DATA, message(m)) for m in WHOLE if len(m) < 16_000)


def test_messages_and_a_status_of_ok() -> None:
    with peer(SETTINGS + RESPONSE + PLAIN + trailers()) as (server, heard):
        assert read(server) == [m for m in WHOLE if len(m) < 16_000]
    assert heard[0].startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert b"/observer.Observer/GetFlows" in heard[0]
    assert message(b"request") in heard[0]


@settings(max_examples=40, deadline=None)
@given(
    messages=st.lists(st.binary(max_size=300), max_size=12),
    frames=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    padding=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
)
def test_however_frames_and_packets_are_cut(
    messages: list[bytes], frames: list[int], padding: list[int], cuts: list[int]
) -> None:
    body = b"".join(message(m) for m in messages)
    wire, number = SETTINGS + RESPONSE, 0
    while body:
        size, pad = frames[number % len(frames)], padding[number % len(padding)]
        part, body = body[:size], body[size:]
        wire += (
            frame(h2.DATA, bytes((pad,)) + part + bytes(pad), PADDED)
            if pad
            else frame(h2.DATA, part)
        )
        if number % 3 == 0:
            wire += frame(h2.PING, b"12345678", stream=0) + frame(
                0x42, b"unknown kinds are ignored"
            )
        number += 1
    wire += trailers()
    packets, at, number = [], 0, 0
    while at < len(wire):
        packets.append(wire[at : at + cuts[number % len(cuts)]])
        at += len(packets[-1])
        number += 1
    # Many small writes in few system calls would be joined by the kernel: feed the parser itself.
    assert fed(packets) == messages


def fed(packets: list[bytes]) -> list[bytes]:
    """What the reader makes of ``packets``, each one recv, over a socket pair."""
    left, right = socket.socketpair()
    server = Settings(server="unix:///nowhere")
    stream = H2Stream(server, server.address, "/x", b"")
    with left, right:
        original = type(server.address).connect
        got: list[bytes] = []

        def serve() -> None:
            left.recv(65536)
            for packet in packets:
                left.sendall(packet)
            left.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            type(server.address).connect = lambda _self, _timeout: right  # type: ignore[assignment,method-assign]
            for messages in stream.lists():
                got += messages
        finally:
            type(server.address).connect = original  # type: ignore[method-assign]
        thread.join(5)
        return got


def test_a_header_block_over_several_frames() -> None:
    wire = (
        SETTINGS
        + frame(h2.HEADERS, b"\x00\x00\x00\x00\x05" + ANSWER[:3], PRIORITY)
        + frame(h2.CONTINUATION, ANSWER[3:], END_HEADERS)
        + frame(h2.DATA, message(b"x"))
        + trailers()
    )
    with peer(wire) as (server, _):
        assert read(server) == [b"x"]


def test_a_message_larger_than_a_frame() -> None:
    large = message(b"y" * 100_000)
    parts = [large[i : i + 16_384] for i in range(0, len(large), 16_384)]
    wire = SETTINGS + RESPONSE + b"".join(frame(h2.DATA, p) for p in parts) + trailers()
    with peer(wire) as (server, _):
        assert [len(m) for m in read(server)] == [100_000]


def test_settings_and_pings_are_acknowledged() -> None:
    ping = frame(h2.PING, b"abcdefgh", stream=0)
    with peer(SETTINGS + ping + RESPONSE, hold=True) as (server, heard):
        stream = H2Stream(server, server.address, "/x", b"")
        timer = threading.Timer(0.5, stream.cancel)
        timer.start()
        assert list(stream.lists()) == []
    sent = b"".join(heard[1:])
    assert frame(h2.SETTINGS, b"", ACK, 0) in sent
    assert frame(h2.PING, b"abcdefgh", ACK, 0) in sent


BAD: list[tuple[str, bytes, type[ServerError], str]] = [
    ("status", trailers(3, "invalid%20filter"), Refused, "invalid filter"),
    ("server's own words", trailers(2, "invalid source port"), Refused, "invalid source port"),
    ("unimplemented", trailers(12, "unknown service"), Refused, "not a Hubble server"),
    ("unavailable", trailers(14, "going down"), Unreachable, "going down"),
    ("reset", frame(h2.RST_STREAM, b"\0\0\0\x08"), Unreachable, "reset"),
    ("goaway", frame(h2.GOAWAY, bytes(7) + b"\x0btoo_many_pings", 0, 0), Unreachable, "too many"),
    ("closed", b"", Unreachable, "was lost"),
    ("no status", frame(h2.DATA, b"", END_STREAM), Refused, "without a status"),
    ("compressed", frame(h2.DATA, message(b"x", 1) ), Unreachable, "compress"),
    ("huge", frame(h2.DATA, struct.pack(">BI", 0, 2**31) + b"x"), Refused, "bytes"),
    ("padding", frame(h2.DATA, b"\x09abc", PADDED), Unreachable, "padding"),
    ("large frame", b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(17_000), Unreachable, "frame"),
    ("headers", frame(h2.HEADERS, b"\xff\xff\xff\xff", END_HEADERS), Unreachable, "headers"),
    ("push", frame(h2.PUSH_PROMISE, b"\0\0\0\x02"), Unreachable, "push"),
    ("web", frame(h2.HEADERS, Encoder().encode([(":status", "404")]), END_HEADERS), Refused, "Hubble"),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "kind", "words"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_what_ends_a_stream_is_one_line_after_what_arrived(
    wire: bytes, kind: type[ServerError], words: str
) -> None:
    with peer(SETTINGS + RESPONSE + frame(h2.DATA, message(b"kept")), wire, pause=0.1) as (
        server,
        _,
    ):
        stream = H2Stream(server, server.address, "/observer.Observer/GetFlows", b"")
        got: list[bytes] = []
        with pytest.raises(kind, match=words):
            got.extend(each for messages in stream.lists() for each in messages)
        assert got == [b"kept"]


def test_silence_before_the_first_frame_ends_after_the_timeout() -> None:
    with peer(hold=True) as (server, _):
        began = time.monotonic()
        with pytest.raises(ServerError):
            read(server)
        assert time.monotonic() - began < 12


def test_silence_afterwards_is_waited_out_and_cancel_is_quick() -> None:
    with peer(SETTINGS + RESPONSE, hold=True) as (server, _):
        stream = H2Stream(server, server.address, "/x", b"")
        timer = threading.Timer(1.5, stream.cancel)
        timer.start()
        began = time.monotonic()
        assert list(stream.lists()) == []
        assert 1.2 < time.monotonic() - began < 3


def test_more_is_asked_for_only_as_it_is_taken() -> None:
    """Flow control: what the server is allowed to send grows by what was taken, and by no more."""
    body = frame(h2.DATA, message(b"z" * 16_000))
    count = h2.WINDOW // len(body)
    with peer(SETTINGS + RESPONSE, *[body] * count, hold=True) as (server, heard):
        stream = H2Stream(server, server.address, "/x", b"")
        got = 0
        for messages in stream.lists():
            got += len(messages)
            if got == count:
                time.sleep(0.3)
                stream.cancel()
    sent = b"".join(heard)[24:]
    allowed = 0
    while len(sent) >= 9:
        length, kind = int.from_bytes(sent[:3], "big"), sent[3]
        if kind == h2.WINDOW_UPDATE and sent[5:9] == b"\0\0\0\x01":
            allowed += int.from_bytes(sent[9:13], "big")
        sent = sent[9 + length :]
    taken = count * (len(body) - 9)
    assert taken - h2.WINDOW // 2 < allowed <= taken
