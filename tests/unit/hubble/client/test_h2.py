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
from flowwatch.hubble.client import h2
from flowwatch.hubble.client import h2frames as h2f
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.client.h2 import H2Stream

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


SETTINGS = frame(h2f.SETTINGS, stream=0)
ANSWER = Encoder().encode([(":status", "200"), ("content-type", "application/grpc")])
RESPONSE = frame(h2f.HEADERS, ANSWER, END_HEADERS)


def trailers(status: int = 0, words: str = "") -> bytes:
    return trailers_of(str(status), words)


def trailers_of(status: str, words: str = "") -> bytes:
    pairs = [("grpc-status", status), ("grpc-message", words)]
    return frame(h2f.HEADERS, Encoder().encode(pairs), END_HEADERS | END_STREAM)


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
PLAIN = b"".join(frame(h2f.DATA, message(m)) for m in WHOLE if len(m) < 16_000)


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
            frame(h2f.DATA, bytes((pad,)) + part + bytes(pad), PADDED)
            if pad
            else frame(h2f.DATA, part)
        )
        if number % 3 == 0:
            wire += frame(h2f.PING, b"12345678", stream=0) + frame(
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
        + frame(h2f.HEADERS, b"\x00\x00\x00\x00\x05" + ANSWER[:3], PRIORITY)
        + frame(h2f.CONTINUATION, ANSWER[3:], END_HEADERS)
        + frame(h2f.DATA, message(b"x"))
        + trailers()
    )
    with peer(wire) as (server, _):
        assert read(server) == [b"x"]


def test_a_message_larger_than_a_frame() -> None:
    large = message(b"y" * 100_000)
    parts = [large[i : i + 16_384] for i in range(0, len(large), 16_384)]
    wire = SETTINGS + RESPONSE + b"".join(frame(h2f.DATA, p) for p in parts) + trailers()
    with peer(wire) as (server, _):
        assert [len(m) for m in read(server)] == [100_000]


def test_settings_and_pings_are_acknowledged() -> None:
    ping = frame(h2f.PING, b"abcdefgh", stream=0)
    with peer(SETTINGS + ping + RESPONSE, hold=True) as (server, heard):
        stream = H2Stream(server, server.address, "/x", b"")
        timer = threading.Timer(0.5, stream.cancel)
        timer.start()
        assert list(stream.lists()) == []
    sent = b"".join(heard[1:])
    assert frame(h2f.SETTINGS, b"", ACK, 0) in sent
    assert frame(h2f.PING, b"abcdefgh", ACK, 0) in sent


BAD: list[tuple[str, bytes, type[ServerError], str]] = [
    ("status", trailers(3, "invalid%20filter"), Refused, "invalid filter"),
    ("server's own words", trailers(2, "invalid source port"), Refused, "invalid source port"),
    ("unimplemented", trailers(12, "unknown service"), Refused, "not a Hubble server"),
    ("unavailable", trailers(14, "going down"), Unreachable, "going down"),
    ("reset", frame(h2f.RST_STREAM, b"\0\0\0\x08"), Unreachable, "reset"),
    ("goaway", frame(h2f.GOAWAY, bytes(7) + b"\x0btoo_many_pings", 0, 0), Unreachable, "too many"),
    ("closed", b"", Unreachable, "was lost"),
    ("no status", frame(h2f.DATA, b"", END_STREAM), Unreachable, "without a status"),
    ("mid-message", frame(h2f.DATA, message(b"half")[:7]) + trailers(), Unreachable, "in mid-message"),
    ("refused stream", frame(h2f.RST_STREAM, b"\0\0\0\x07"), Unreachable, "REFUSED_STREAM"),
    ("calm", frame(h2f.RST_STREAM, b"\0\0\0\x0b"), Refused, "ENHANCE_YOUR_CALM"),
    ("security", frame(h2f.RST_STREAM, b"\0\0\0\x0c"), Refused, "INADEQUATE_SECURITY"),
    ("unknown reset", frame(h2f.RST_STREAM, b"\0\0\1\0"), Unreachable, "error 256"),
    ("goaway without words", frame(h2f.GOAWAY, bytes(7) + b"\x02", 0, 0), Unreachable, "INTERNAL_ERROR"),
    ("goaway before us", frame(h2f.GOAWAY, bytes(8), 0, 0), Unreachable, "NO_ERROR"),
    ("other stream", frame(h2f.DATA, message(b"of nobody"), 0, 3), Unreachable, "DATA on stream 3"),
    ("no stream", frame(h2f.DATA, message(b"of nobody"), 0, 0), Unreachable, "DATA on stream 0"),
    ("headers of another", frame(h2f.HEADERS, ANSWER, END_HEADERS, 3), Unreachable, "HEADERS on stream 3"),
    ("settings on the stream", frame(h2f.SETTINGS), Unreachable, "SETTINGS on stream 1"),
    ("settings cut", frame(h2f.SETTINGS, bytes(5), 0, 0), Unreachable, "SETTINGS of 5 bytes"),
    ("settings acknowledged with words", frame(h2f.SETTINGS, bytes(6), ACK, 0), Unreachable, "SETTINGS of 6"),
    ("settings push", frame(h2f.SETTINGS, b"\0\2\0\0\0\1", 0, 0), Unreachable, "pushed to"),
    ("settings window", frame(h2f.SETTINGS, b"\0\4\x80\0\0\0", 0, 0), Unreachable, "window larger"),
    ("settings frame", frame(h2f.SETTINGS, b"\0\5\0\0\0\1", 0, 0), Unreachable, "frame size of 1"),
    ("ping cut", frame(h2f.PING, bytes(7), 0, 0), Unreachable, "PING of 7 bytes"),
    ("ping on the stream", frame(h2f.PING, bytes(8)), Unreachable, "PING on stream 1"),
    ("window cut", frame(h2f.WINDOW_UPDATE, bytes(3)), Unreachable, "WINDOW_UPDATE of 3 bytes"),
    ("window by 0", frame(h2f.WINDOW_UPDATE, bytes(4)), Unreachable, "WINDOW_UPDATE by 0"),
    ("window overflow", frame(h2f.WINDOW_UPDATE, b"\x7f\xff\xff\xff"), Unreachable, "window larger"),
    ("reset cut", frame(h2f.RST_STREAM, bytes(3)), Unreachable, "RST_STREAM of 3 bytes"),
    ("goaway cut", frame(h2f.GOAWAY, bytes(7), 0, 0), Unreachable, "GOAWAY of 7 bytes"),
    ("continuation of nothing", frame(h2f.CONTINUATION, b"", END_HEADERS), Unreachable, "CONTINUATION"),
    (
        "inside of headers",
        frame(h2f.HEADERS, ANSWER) + frame(h2f.PING, bytes(8), 0, 0),
        Unreachable,
        "inside of headers",
    ),
    ("unknown inside of headers", frame(h2f.HEADERS, b"") + frame(0x42), Unreachable, "inside"),
    ("data in headers", frame(h2f.HEADERS, b"") + frame(h2f.DATA, message(b"x")), Unreachable, "inside"),
    ("headers again", frame(h2f.HEADERS, ANSWER, END_HEADERS), Unreachable, "amid the messages"),
    ("large data", frame(h2f.DATA, message(bytes(16_385))), Unreachable, "larger than agreed"),
    ("long status", trailers_of("9" * 5000), Refused, "failed without a word"),
    ("compressed", frame(h2f.DATA, message(b"x", 1) ), Unreachable, "compress"),
    ("huge", frame(h2f.DATA, struct.pack(">BI", 0, 2**31) + b"x"), Refused, "bytes"),
    ("padding", frame(h2f.DATA, b"\x09abc", PADDED), Unreachable, "padding"),
    ("large frame", b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(17_000), Unreachable, "frame"),
    ("headers", frame(h2f.HEADERS, b"\xff\xff\xff\xff", END_HEADERS), Unreachable, "headers"),
    ("push", frame(h2f.PUSH_PROMISE, b"\0\0\0\x02"), Unreachable, "push"),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "kind", "words"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_what_ends_a_stream_is_one_line_after_what_arrived(
    wire: bytes, kind: type[ServerError], words: str
) -> None:
    with peer(SETTINGS + RESPONSE + frame(h2f.DATA, message(b"kept")), wire, pause=0.1) as (
        server,
        _,
    ):
        stream = H2Stream(server, server.address, "/observer.Observer/GetFlows", b"")
        got: list[bytes] = []
        with pytest.raises(kind, match=words):
            got.extend(each for messages in stream.lists() for each in messages)
        assert got == [b"kept"]


def answer(status: str, form: str = "text/html", flags: int = 0) -> bytes:
    pairs = [(":status", status), ("content-type", form)]
    return frame(h2f.HEADERS, Encoder().encode(pairs), END_HEADERS | flags)


FIRST_ANSWERS: list[tuple[str, bytes, type[ServerError], str]] = [
    ("404", answer("404"), Refused, "does not speak Hubble's protocol"),
    ("400", answer("400"), Refused, "does not speak Hubble's protocol"),
    ("page", answer("200"), Refused, "does not speak Hubble's protocol"),
    ("403", answer("403"), Refused, "refused: a proxy before it answers with HTTP status 403"),
    (
        "503",
        answer("503"),
        Unreachable,
        "not ready: a proxy before it answers with HTTP status 503",
    ),
    ("429 at once", answer("429", flags=END_STREAM), Unreachable, "HTTP status 429"),
    ("data first", frame(h2f.DATA, message(b"early")), Unreachable, "DATA before the headers"),
    (
        "cut data first",
        frame(h2f.DATA, message(b"early")[:6]),
        Unreachable,
        "DATA before the headers",
    ),
    ("trailers alone", RESPONSE[:0] + trailers(16, "who?"), Refused, "who?"),
    (
        "no status",
        frame(h2f.HEADERS, ANSWER, END_HEADERS | END_STREAM),
        Unreachable,
        "without a status",
    ),
]


@pytest.mark.parametrize(
    ("wire", "kind", "words"), [b[1:] for b in FIRST_ANSWERS], ids=[b[0] for b in FIRST_ANSWERS]
)
def test_what_may_stand_where_the_answer_begins(
    wire: bytes, kind: type[ServerError], words: str
) -> None:
    with peer(SETTINGS + wire, pause=0.1) as (server, _), pytest.raises(kind, match=words):
        read(server)


def test_an_interim_answer_is_passed_over() -> None:
    with peer(
        SETTINGS + answer("103") + RESPONSE + frame(h2f.DATA, message(b"x")) + trailers()
    ) as (
        server,
        _,
    ):
        assert read(server) == [b"x"]


def test_an_orderly_goodbye_ends_nothing() -> None:
    goodbye = frame(h2f.GOAWAY, b"\x7f\xff\xff\xff" + bytes(4), 0, 0)
    with peer(SETTINGS + RESPONSE + goodbye + frame(h2f.DATA, message(b"x")) + trailers()) as (
        server,
        _,
    ):
        assert read(server) == [b"x"]


def test_windows_may_grow_to_their_bound_and_no_further() -> None:
    """The stream's window counts from what SETTINGS say, less what was sent (RFC 9113, 6.9.2)."""
    sent = len(message(b"request"))
    start = frame(h2f.SETTINGS, b"\0\4" + struct.pack(">I", 1000), 0, 0)
    most = struct.pack(">I", h2f.NUMBERS - 1000 + sent)
    body = RESPONSE + frame(h2f.DATA, message(b"x"))
    with peer(start + body + frame(h2f.WINDOW_UPDATE, most) + trailers()) as (server, _):
        assert read(server) == [b"x"]
    more = struct.pack(">I", h2f.NUMBERS - 1000 + sent + 1)
    with (
        peer(start + body + frame(h2f.WINDOW_UPDATE, more), pause=0.1) as (server, _),
        pytest.raises(Unreachable, match="window larger"),
    ):
        read(server)


def test_a_request_that_ends_is_given_up_when_nothing_comes() -> None:
    with peer(SETTINGS + RESPONSE + frame(h2f.DATA, message(b"kept")), hold=True) as (server, _):
        stream = H2Stream(server, server.address, "/x", b"", silence=0.5)
        got: list[bytes] = []
        with pytest.raises(Unreachable, match=r"was lost: nothing came for 0\.5 s"):
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
    body = frame(h2f.DATA, message(b"z" * 16_000))
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
        if kind == h2f.WINDOW_UPDATE and sent[5:9] == b"\0\0\0\x01":
            allowed += int.from_bytes(sent[9:13], "big")
        sent = sent[9 + length :]
    taken = count * (len(body) - 9)
    assert taken - h2.WINDOW // 2 < allowed <= taken
