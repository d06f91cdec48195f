"""The frames of HTTP/2 (RFC 9113) as one call that only receives needs them: written, and checked.

What may be where, and how long, is a table (:data:`RULES`); so is what gRPC makes of HTTP/2's errors
and of the answers of a web server (grpc, doc/PROTOCOL-HTTP2.md, doc/http-grpc-status-mapping.md).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NoReturn

import msgspec

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)  # fmt: skip
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

STREAM = 1
"""The one stream of a connection of ours."""
FRAME_LIMIT = 16_384
"""The frame size that HTTP/2 starts with; we ask for no other."""
FIRST_WINDOW = 65_535
"""Bytes that either side may send before it is told otherwise."""
NUMBERS = 0x7FFF_FFFF
"""Streams and windows have 31 bits; the highest says nothing."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# A frame's header, and of the gRPC message that mostly fills it alone: 3 bytes length, type, flags,
# stream; compressed flag, length.
HEAD = struct.Struct(">BHBBI")
HEAD_AND_MESSAGE = struct.Struct(">BHBBIBI")
MESSAGE_HEAD = struct.Struct(">BI")


class Ended(Exception):
    """The stream is over: the status's name and words."""

    def __init__(self, code: str, details: str = "") -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


def words(error: OSError) -> str:
    """What went wrong with a socket, without the place in Python's source that ssl adds."""
    return (error.strerror or str(error)).partition(" (_ssl.c:")[0]


def broken(what: str) -> NoReturn:
    """The other side doesn't keep to HTTP/2: its connection is of no use any more."""
    raise Ended("INTERNAL", f"the server breaks HTTP/2: {what}")


class Rule(msgspec.Struct, frozen=True):
    """Where a kind of frame may be, and how long it is."""

    name: str
    on: str
    """``stream``, ``connection``, ``either`` or ``any stream``, also one that was never opened."""
    lengths: range


_ANY = range(FRAME_LIMIT + 1)
RULES = {
    DATA: Rule("DATA", "stream", _ANY),
    HEADERS: Rule("HEADERS", "stream", _ANY),
    PRIORITY: Rule("PRIORITY", "any stream", range(5, 6)),
    RST_STREAM: Rule("RST_STREAM", "stream", range(4, 5)),
    SETTINGS: Rule("SETTINGS", "connection", range(0, FRAME_LIMIT + 1, 6)),
    PUSH_PROMISE: Rule("PUSH_PROMISE", "stream", _ANY),
    PING: Rule("PING", "connection", range(8, 9)),
    GOAWAY: Rule("GOAWAY", "connection", range(8, FRAME_LIMIT + 1)),
    WINDOW_UPDATE: Rule("WINDOW_UPDATE", "either", range(4, 5)),
    CONTINUATION: Rule("CONTINUATION", "stream", _ANY),
}
"""RFC 9113, 6.1 to 6.10. Kinds that it doesn't know are ignored (4.1)."""

_PLACES: dict[str, Callable[[int], bool]] = {
    "stream": lambda stream: stream == STREAM,
    "connection": lambda stream: stream == 0,
    "either": lambda stream: stream in (0, STREAM),
    "any stream": lambda stream: stream != 0,
}


def check(kind: int, flags: int, stream: int, size: int) -> None:
    """Raise Ended for a frame that may not be where it is, or not be so long."""
    rule = RULES.get(kind)
    if rule is None:
        return
    if not _PLACES[rule.on](stream):
        broken(f"{rule.name} on stream {stream}")
    if size not in rule.lengths or (kind == SETTINGS and flags & ACK and size):
        broken(f"{rule.name} of {size} bytes")


class Code(msgspec.Struct, frozen=True):
    """An error of HTTP/2, and the status that gRPC makes of it when it ends a stream."""

    name: str
    status: str = "INTERNAL"


ERRORS = (
    Code("NO_ERROR"), Code("PROTOCOL_ERROR"), Code("INTERNAL_ERROR"), Code("FLOW_CONTROL_ERROR"),
    Code("SETTINGS_TIMEOUT"), Code("STREAM_CLOSED"), Code("FRAME_SIZE_ERROR"),
    Code("REFUSED_STREAM", "UNAVAILABLE"), Code("CANCEL", "CANCELLED"), Code("COMPRESSION_ERROR"),
    Code("CONNECT_ERROR"), Code("ENHANCE_YOUR_CALM", "RESOURCE_EXHAUSTED"),
    Code("INADEQUATE_SECURITY", "PERMISSION_DENIED"), Code("HTTP_1_1_REQUIRED", "UNKNOWN"),
)  # fmt: skip
"""By number: RFC 9113, 7."""


def error(number: int) -> Code:
    return ERRORS[number] if number < len(ERRORS) else Code(f"error {number}")


STATUSES = {
    "400": "INTERNAL", "401": "UNAUTHENTICATED", "403": "PERMISSION_DENIED", "404": "UNIMPLEMENTED",
    "429": "UNAVAILABLE", "502": "UNAVAILABLE", "503": "UNAVAILABLE", "504": "UNAVAILABLE",
}  # fmt: skip
"""What gRPC makes of an HTTP status other than 200; UNKNOWN of the rest."""

# google.rpc.Code by number, as it stands in grpc-status.
CODES = dict(enumerate((
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)))  # fmt: skip
GRPC_STATUS = {str(number): name for number, name in CODES.items()}


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return HEAD.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def unpadded(flags: int, payload: bytes) -> bytes:
    """The content of a DATA or HEADERS frame."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        broken("a frame with more padding than content")
    return payload[1 : len(payload) - payload[0]]


def settings(payload: bytes) -> dict[int, int]:
    """The values of a SETTINGS frame by number. Raises Ended for those that may not be."""
    found = dict(struct.iter_unpack(">HI", payload))
    if found.get(2, 0) != 0:
        broken("the server wants to be pushed to")
    if found.get(4, 0) > NUMBERS:
        broken("a window larger than 2^31-1")
    if not FRAME_LIMIT <= found.get(5, FRAME_LIMIT) < 1 << 24:
        broken(f"a frame size of {found[5]}")
    return found


def opening(
    authority: bytes,
    path: str,
    request: bytes,
    window: int,
    *,
    encrypted: bool = False,
    authorization: str = "",
) -> bytes:
    """Everything that is ever sent but acknowledgements: preface, settings, and the request."""
    ours = struct.pack(">HIHI", 2, 0, 4, window)  # no push; the stream's window
    headers = b"".join(
        (
            b"\x83\x87" if encrypted else b"\x83\x86",  # :method POST, :scheme https or http
            b"\x04" + _text(path.encode()),  # :path
            b"\x01" + _text(authority),  # :authority
            _header(b"te", b"trailers"),
            _header(b"content-type", b"application/grpc"),
            _header(b"user-agent", b"flowwatch"),
            _secret(b"authorization", authorization.encode()) if authorization else b"",
        )
    )
    message = MESSAGE_HEAD.pack(0, len(request)) + request
    parts = [message[i : i + FRAME_LIMIT] for i in range(0, len(message), FRAME_LIMIT)]
    return b"".join(
        (
            PREFACE,
            frame(SETTINGS, 0, 0, ours),
            frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", window - FIRST_WINDOW)),
            frame(HEADERS, END_HEADERS, STREAM, headers),
            *(frame(DATA, END_STREAM if part is parts[-1] else 0, STREAM, part) for part in parts),
        )
    )


def _header(name: bytes, value: bytes) -> bytes:
    """A literal that nobody needs to remember (RFC 7541, 6.2.2)."""
    return b"\x00" + _text(name) + _text(value)


def _secret(name: bytes, value: bytes) -> bytes:
    """A literal that nobody on the way may remember (RFC 7541, 6.2.3)."""
    return b"\x10" + _text(name) + _text(value)


def _text(value: bytes) -> bytes:
    """A string literal without Huffman: a length of 7 bits and what goes beyond, and the bytes."""
    length = len(value)
    if length < 127:
        return bytes((length,)) + value
    length -= 127
    head = bytearray(b"\x7f")
    while length >= 128:
        head.append(length % 128 + 128)
        length //= 128
    head.append(length)
    return bytes(head) + value
