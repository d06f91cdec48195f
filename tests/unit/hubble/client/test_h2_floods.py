"""A server that keeps a reader busy, or fills it, without a record: each way ends in one line."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import pytest
from hpack import Encoder

from flowwatch.errors import Refused, Unreachable
from flowwatch.hubble.client import h2, h2bounds, h2frames
from flowwatch.hubble.client import h2frames as h2f
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.client.h2 import H2Stream
from flowwatch.hubble.client.h2bounds import FRAMES, HEADER_LIMIT, Patience
from tests.unit.hubble.client.test_h2 import (
    ACK,
    END_HEADERS,
    PADDED,
    RESPONSE,
    SETTINGS,
    frame,
    message,
    peer,
    read,
    trailers,
)

RECORD = frame(h2f.DATA, message(b"a record"))
AGREED = frame(h2f.SETTINGS, flags=ACK, stream=0)


@contextmanager
def endless(
    *writes: bytes, again: bytes, path: Path | None = None, pause: float = 0.0
) -> Iterator[Settings]:
    """A server that writes ``again`` until the reader goes away, and reads nothing."""
    with _unix(path) if path else socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                try:
                    for data in (*writes, *repeat(again, 1 << 24)):
                        connection.sendall(data)
                        time.sleep(pause)
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        name = f"unix://{path}" if path else f"127.0.0.1:{listener.getsockname()[1]}"
        yield Settings(server=name, request_timeout=5.0)
        thread.join(5)
        assert not thread.is_alive()


def _unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


OPEN_HEADERS = frame(h2f.HEADERS, b"")
LARGE = frame(h2f.DATA, struct.pack(">BI", 0, 60 << 20) + bytes(300))
FLOODS: list[tuple[str, bytes, bytes]] = [
    ("empty CONTINUATION", OPEN_HEADERS, frame(h2f.CONTINUATION)),
    (
        "interim answers",
        b"",
        frame(h2f.HEADERS, Encoder().encode([(":status", "103")]), END_HEADERS),
    ),
    ("empty DATA", RESPONSE, frame(h2f.DATA)),
    ("padding alone", RESPONSE, frame(h2f.DATA, b"\xff" + bytes(255), PADDED)),
    ("a byte at a time, padded", RESPONSE + LARGE, frame(h2f.DATA, b"\xfex" + bytes(254), PADDED)),
    ("a byte at a time", RESPONSE + LARGE, frame(h2f.DATA, b"x")),
    ("unknown kinds", RESPONSE, frame(0x42, b"what is this")),
    ("unknown kinds, empty", RESPONSE, frame(0xFF, stream=7)),
    ("PING", RESPONSE, frame(h2f.PING, b"12345678", stream=0)),
    ("PING acknowledged", RESPONSE, frame(h2f.PING, b"12345678", ACK, 0)),
    ("SETTINGS", RESPONSE, SETTINGS),
    ("SETTINGS, full", RESPONSE, frame(h2f.SETTINGS, b"\0\x99\0\0\0\1" * 2730, 0, 0)),
    ("SETTINGS acknowledged", RESPONSE, AGREED),
    ("WINDOW_UPDATE", RESPONSE, frame(h2f.WINDOW_UPDATE, b"\0\0\0\1")),
    ("PRIORITY", RESPONSE, frame(h2f.PRIORITY, bytes(5), stream=9)),
    ("goodbyes", RESPONSE, frame(h2f.GOAWAY, b"\x7f\xff\xff\xff" + bytes(4), 0, 0)),
]


@pytest.mark.parametrize(("begin", "again"), [f[1:] for f in FLOODS], ids=[f[0] for f in FLOODS])
def test_a_thousand_frames_without_a_record_are_enough(
    begin: bytes, again: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = 0
    check = h2frames.check

    def counted(kind: int, flags: int, stream: int, size: int) -> None:
        nonlocal looked_at
        looked_at += 1
        check(kind, flags, stream, size)

    monkeypatch.setattr(h2frames, "check", counted)
    # Many in one packet: else the server is what keeps a core busy.
    with (
        endless(SETTINGS + begin, again=again * 50) as server,
        pytest.raises(Unreachable, match="1,000 frames in a row hold no part of a record"),
    ):
        read(server)
    assert FRAMES < looked_at <= FRAMES + 4


def test_records_between_them_are_all_read() -> None:
    """Pings and settings between records do no harm, and after each one it is counted anew."""
    pings = frame(h2f.PING, b"12345678", stream=0) * (FRAMES - 1)
    with peer(SETTINGS + RESPONSE + (RECORD + pings) * 3 + RECORD + trailers(), hold=True) as (
        server,
        _,
    ):
        assert read(server) == [b"a record"] * 4


def test_a_message_in_small_frames_is_read() -> None:
    body = message(b"y" * 300_000)
    parts = [frame(h2f.DATA, body[i : i + 256]) for i in range(0, len(body), 256)]
    assert len(parts) > FRAMES
    with peer(SETTINGS + RESPONSE + b"".join(parts) + trailers(), hold=True) as (server, _):
        assert [len(m) for m in read(server)] == [300_000]


def test_a_quiet_stream_may_be_pinged_for_days() -> None:
    """Every ten seconds over a week, by a clock of our own; a thousand in 99 s are too many."""
    now = 0.0
    patience = Patience(clock=lambda: now)
    for now in range(0, 7 * 86_400, 10):  # noqa: B007  # the clock reads it
        patience.frame(0)
    patience = Patience(clock=lambda: now)
    for _ in range(FRAMES):
        patience.frame(0)
    now += h2bounds.FRAMES_SECONDS - 1
    with pytest.raises(h2frames.Ended, match="1,000 frames"):
        patience.frame(0)


def interim(size: int) -> bytes:
    block = Encoder().encode([(":status", "103"), ("link", "x" * size)], huffman=False)
    first, rest = block[:16_384], block[16_384:]
    wire = frame(h2f.HEADERS, first, 0 if rest else END_HEADERS)
    while rest:
        part, rest = rest[:16_384], rest[16_384:]
        wire += frame(h2f.CONTINUATION, part, 0 if rest else END_HEADERS)
    return wire


def test_interim_answers_together_are_no_larger_than_one_answer() -> None:
    end = RESPONSE + RECORD + trailers()
    with peer(SETTINGS + interim(HEADER_LIMIT // 2) + interim(1000) + end) as (server, _):
        assert read(server) == [b"a record"]
    with (
        peer(SETTINGS + interim(HEADER_LIMIT // 2) * 2 + end, pause=0.1) as (server, _),
        pytest.raises(Unreachable, match="interim answers larger than 64 KiB"),
    ):
        read(server)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (b"\x00\x01a\x7f\x81\xff\x03" + b"v" * 65_536, "headers larger than 64 KiB"),
        (b"\x88" * 3000, "headers larger than 64 KiB"),
        (b"\xff" * 9000, "headers that can't be read"),
        (b"\x00\x81\x00\x00", "headers that can't be read"),
    ],
    ids=["one value", "many of one byte each", "a number without end", "bad Huffman"],
)
def test_headers_are_bounded_packed_and_unpacked(block: bytes, words: str) -> None:
    parts = [block[i : i + 16_384] for i in range(0, len(block), 16_384)]
    wire = frame(h2f.HEADERS, parts[0], END_HEADERS if len(parts) == 1 else 0)
    for part in parts[1:]:
        wire += frame(h2f.CONTINUATION, part, END_HEADERS if part is parts[-1] else 0)
    with peer(SETTINGS + wire, pause=0.1) as (server, _), pytest.raises(Unreachable) as told:
        read(server)
    assert words in str(told.value)
    assert len(str(told.value)) < 200


def test_a_header_that_is_no_utf8_costs_nothing() -> None:
    fields: list[tuple[bytes | str, bytes | str]] = [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("hubble-node", b"\xff\xfe"),
        (b"x-\xff", "name"),
    ]
    odd = frame(h2f.HEADERS, Encoder().encode(fields), END_HEADERS)
    with peer(SETTINGS + odd + RECORD + trailers()) as (server, _):
        stream = H2Stream(server, server.address, "/x", b"")
        assert [m for messages in stream.lists() for m in messages] == [b"a record"]
        assert stream.metadata["hubble-node"] == "\ufffd\ufffd"


def test_a_server_has_no_more_words_than_fit_a_line() -> None:
    with (
        peer(SETTINGS + RESPONSE + trailers(3, "%00no " * 2000), pause=0.1) as (server, _),
        pytest.raises(Refused) as told,
    ):
        read(server)
    assert "no \\x00no" in str(told.value)
    assert len(str(told.value)) < 1000


def test_frames_now_and_then_are_silence_all_the_same() -> None:
    """Each is a byte that came; what counts for a request that ends is a record."""
    ping = frame(h2f.PING, b"12345678", stream=0)
    with endless(SETTINGS + RESPONSE + RECORD, again=ping, pause=0.05) as server:
        stream = H2Stream(server, server.address, "/x", b"", silence=0.5)
        got: list[bytes] = []
        with pytest.raises(Unreachable, match=r"no part of a record came for 0\.5 s"):
            got.extend(each for messages in stream.lists() for each in messages)
        assert got == [b"a record"]


def test_bytes_of_a_record_now_and_then_are_none() -> None:
    parts = [frame(h2f.DATA, part) for part in (message(b"slow")[:4], b"\4", b"s", b"l", b"ow")]
    with peer(SETTINGS + RESPONSE, *parts, trailers(), pause=0.2) as (server, _):
        stream = H2Stream(server, server.address, "/x", b"", silence=0.5)
        assert [m for messages in stream.lists() for m in messages] == [b"slow"]


def test_a_server_that_does_not_know_its_window_gets_no_more_than_ours() -> None:
    """Its window is 64 KiB until it acknowledges our SETTINGS, which make it 8 MiB."""
    large = frame(h2f.DATA, message(bytes(16_000)))
    count = h2.WINDOW // 16_000
    with endless(SETTINGS + RESPONSE, again=large) as server:
        stream = H2Stream(server, server.address, "/x", b"")
        got: list[bytes] = []
        with pytest.raises(Unreachable, match="hasn't acknowledged our SETTINGS"):
            got.extend(each for messages in stream.lists() for each in messages)
        assert count <= len(got) < count * 1.3
    with peer(SETTINGS + AGREED + RESPONSE + large * count * 2 + trailers(), hold=True) as (
        server,
        _,
    ):
        assert len(read(server)) == count * 2


def test_a_server_that_takes_nothing_is_left(tmp_path: Path) -> None:
    """Its pings are answered as long as it reads the answers."""
    pings = RECORD + frame(h2f.PING, b"12345678", stream=0) * 100
    with (
        endless(SETTINGS + RESPONSE, again=pings, path=tmp_path / "sock") as server,
        pytest.raises(Unreachable, match="takes nothing that it is sent"),
    ):
        read(server)
