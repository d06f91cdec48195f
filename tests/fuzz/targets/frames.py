"""HTTP/2 frames, spoilt: what was whole before the first odd one is read, and the stream ends."""

from __future__ import annotations

import socket
from pathlib import Path
from random import Random
from typing import Any

from hpack import Encoder
from msgspec.structs import replace

from flowwatch.errors import FlowwatchError
from flowwatch.hubble.client import address
from flowwatch.hubble.client import h2frames as h2f
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.client.h2 import H2Stream
from tests.fuzz import corpus, mutate
from tests.fuzz.inputs import Input
from tests.fuzz.program import Fault, bounded, run
from tests.fuzz.served import AGREED, ANSWER, OK, SETTINGS, Served, frame, message

_FLAGS = (0, 1, 4, 5, 8, 9, 0x20, 0x2C, 0xFF)
_STREAMS = (0, 1, 1, 1, 1, 2, 3, 0x7FFFFFFF, 0x80000001)
_PAYLOADS = (
    b"",
    b"\0",
    bytes(4),
    bytes(5),
    bytes(6),
    bytes(8),
    b"\0\0\0\1",
    b"\x7f\xff\xff\xff",
    b"\xff" * 8,
)
_STATUS = (
    "0",
    "1",
    "2",
    "3",
    "12",
    "13",
    "14",
    "16",
    "17",
    "-1",
    "",
    "x",
    "٣",
    "99999999999999999999",
)
_HEADERS = (
    ":status", "content-type", "grpc-status", "grpc-message", "grpc-encoding", "x", "",
    ":path", "X", "hubble-node",
)  # fmt: skip


class Frames:
    """The reader is fed packets that were cut at random; now and then the whole verb by a socket."""

    name = "frames"
    what = "streams"

    def __init__(self) -> None:
        self._server = Served()
        self._messages = [corpus.wire(record) for record in corpus.RECORDS]

    def make(self, random: Random) -> Input:
        sent = random.sample(self._messages, random.randint(0, 5))
        frames = [SETTINGS, AGREED, ANSWER, *(frame(h2f.DATA, message(one)) for one in sent), OK]
        for _ in range(random.randint(1, 3)):
            _spoil(random, frames)
        packets, wire = [], b"".join(frames)
        while wire:
            size = random.choice((1, 7, 9, 14, 50, 1000, 300_000))
            packets.append(wire[:size])
            wire = wire[size:]
        if len(packets) > 400:
            packets = [*packets[:399], b"".join(packets[399:])]
        files = {f"{number:03}.packet": packet for number, packet in enumerate(packets)}
        return Input(("verb",) if random.random() < 0.03 else ("reader",), files)

    def run(self, given: Input, place: Path) -> None:
        packets = [data for _, data in sorted(given.files.items())]
        if given.call == ("verb",):
            self._server.wire = b"".join(packets)
            run(["summary", "--server", self._server.address, "--request-timeout", "2s"], place)
            return
        with bounded():
            got = fed(packets)
        whole = _whole(b"".join(packets))
        if got[: len(whole)] != whole:
            raise Fault(f"{len(got)} messages read, {len(whole)} were whole")

    def close(self) -> None:
        self._server.close()


def _spoil(random: Random, frames: list[bytes]) -> None:
    at = random.randrange(len(frames) + 1)
    one = frames[min(at, len(frames) - 1)] if frames else b""
    match random.randrange(8):
        case 0 if frames:
            del frames[min(at, len(frames) - 1)]
        case 1:
            frames.insert(at, one)
        case 2:
            frames.insert(at, _any(random))
        case 3 if one:
            head = bytearray(one)
            head[random.randrange(min(9, len(head)))] = random.choice((0, 1, 4, 5, 8, 9, 255))
            frames[min(at, len(frames) - 1)] = bytes(head)
        case 4:
            frames.insert(at, _block(random))
        case 5:
            frames.insert(at, _any(random) * random.choice((10, 900, 1100)))
        case _ if one:
            frames[min(at, len(frames) - 1)] = mutate.data(random, one)


def _any(random: Random) -> bytes:
    payload = random.choice(_PAYLOADS) * random.choice((1, 1, 1, 2, 1000))
    kind = random.choice((*range(11), 0x42, 255))
    return frame(kind, payload, random.choice(_FLAGS), random.choice(_STREAMS))


def _block(random: Random) -> bytes:
    """Headers that are well packed, but odd; cut over frames at times."""
    pairs: list[tuple[bytes | str, bytes | str]] = []
    for _ in range(random.randint(0, 5)):
        value = random.choice((*mutate.TEXTS, *_STATUS, "200", "103", "404", "application/grpc"))
        pairs.append((random.choice(_HEADERS), value.encode("utf-8", "surrogatepass")))
    block = Encoder().encode(pairs)
    block = mutate.data(random, block) if random.random() < 0.3 else block
    cut = random.randrange(len(block) + 1)
    ends = random.choice((0, h2f.END_STREAM))
    if random.random() < 0.6:
        return frame(h2f.HEADERS, block, h2f.END_HEADERS | ends)
    head = frame(h2f.HEADERS, block[:cut], ends)
    return head + frame(h2f.CONTINUATION, block[cut:], h2f.END_HEADERS)


def _whole(wire: bytes) -> list[bytes]:
    """The messages before anything odd: a sound opening, then plain DATA of one message each."""
    opening = SETTINGS + AGREED + ANSWER
    found: list[bytes] = []
    if not wire.startswith(opening):
        return found
    at = len(opening)
    while at + 14 <= len(wire):
        length = int.from_bytes(wire[at : at + 3], "big")
        size = int.from_bytes(wire[at + 10 : at + 14], "big")
        plain = wire[at + 3 : at + 10] == b"\0\0\0\0\0\1\0"
        if not plain or size + 5 != length or length > 16_384 or at + 9 + length > len(wire):
            break
        found.append(wire[at + 14 : at + 9 + length])
        at += 9 + length
    return found


class _Socket:
    """As far as the reader goes: each recv gives a packet, then the end."""

    family = socket.AF_UNIX

    def __init__(self, packets: list[bytes]) -> None:
        self._packets = [packet for packet in packets if packet]

    def recv(self, size: int) -> bytes:
        if not self._packets:
            return b""
        packet = self._packets.pop(0)
        if len(packet) > size:
            self._packets.insert(0, packet[size:])
        return packet[:size]

    def sendall(self, data: bytes) -> None: ...
    def settimeout(self, seconds: float | None) -> None: ...
    def shutdown(self, how: int) -> None: ...
    def close(self) -> None: ...


class _Address(address.Address, frozen=True):
    """An address at which packets wait, for the first who comes."""

    packets: list[list[bytes]] = []  # noqa: RUF012 - a Struct's, copied for each

    def connect(self, timeout: float) -> Any:
        if not self.packets:
            raise ConnectionRefusedError(111, "Connection refused")
        return _Socket(self.packets.pop())


def fed(packets: list[bytes]) -> list[bytes]:
    """The messages that the reader makes of ``packets``; it ends with an error of ours, or well."""
    where = _Address("relay:4245", path="/nowhere", packets=[packets])
    settings = replace(Settings(), server="unix:///nowhere")
    stream = H2Stream(settings, where, "/observer.Observer/GetFlows", b"", silence=30.0)
    got: list[bytes] = []
    try:
        for messages in stream.lists():
            got += messages
    except FlowwatchError as error:
        if len(str(error).splitlines()) != 1 or len(str(error)) > 5000:
            raise Fault(f"no line: {str(error)[:200]!r}") from None
    return got
