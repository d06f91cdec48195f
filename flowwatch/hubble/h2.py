"""One gRPC stream read straight from its socket: what a flow costs to receive, cut to a fifth.

grpcio hands over each message through its completion queue, at 10 µs of CPU apiece (65,535 flows from
the real observer: 0.65 s, and 0.1 s to import it). Here a ``recv`` takes some hundred messages at
once, and a message costs a slice: 1.3 µs. What is needed of HTTP/2 (RFC 9113) for one call that only
receives is little: frames, flow control, and the headers' compression, which is left to ``hpack``.

Plain TCP and unix sockets only. TLS, proxies and everything that isn't a stream go by grpcio
(:mod:`flowwatch.hubble.connection`), and ``FLOWWATCH_READER=grpc`` makes it read streams too.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from hpack import Decoder, HPACKError

from flowwatch.errors import ServerError
from flowwatch.hubble import faults
from flowwatch.hubble.address import Address
from flowwatch.hubble.config import Settings

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 5, 6, 7, 8, 9,
)  # fmt: skip
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY = 0x4, 0x8, 0x20

WINDOW = 8 << 20
"""Bytes that the server may send ahead of the reader: flow control stops it there."""
FRAME_LIMIT = 16_384
"""The frame size that HTTP/2 starts with; we ask for no other."""
MESSAGE_LIMIT = 64 << 20
HEADER_LIMIT = 64 << 10
RECEIVE = 256 << 10
"""Bytes of one recv at most: some 300 flows."""
REQUEST_LIMIT = 60_000
"""Bytes of a request that fit into the window that a server starts with."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_STREAM = 1
# A frame's header, and of the gRPC message that mostly fills it alone: 3 bytes length, type, flags,
# stream; compressed flag, length.
_HEAD = struct.Struct(">BHBBI")
_HEAD_AND_MESSAGE = struct.Struct(">BHBBIBI")
_MESSAGE_HEAD = struct.Struct(">BI")

# google.rpc.Code by number.
_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


class _Ended(Exception):
    """The stream is over: the status's name and words."""

    def __init__(self, code: str, details: str = "") -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


class H2Stream:
    """One server-streaming call. Iterate ``lists()`` once, in one thread; ``cancel()`` from any."""

    def __init__(self, settings: Settings, address: Address, path: str, request: bytes) -> None:
        """Nothing is sent before ``lists()``; ``request`` is the serialized message."""
        self._settings = settings
        self._address = address
        self._path = path
        self._request = request
        self._socket: socket.socket | None = None
        self._cancelled = False
        self._reached = False
        self._headers = Decoder(HEADER_LIMIT)
        self._block = b""
        self._block_ends = False
        self._partial = bytearray()
        self._out: list[bytes] = []
        self.metadata: dict[str, str] = {}
        """What the server sent before its first message."""

    def cancel(self) -> None:
        """End ``lists()`` soon, without an error; safe to call twice and from a signal handler."""
        self._cancelled = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def lists(self) -> Iterator[list[bytes]]:
        """Lists of messages, each of what one recv brought.

        Returns when the server ended the stream with OK, and after ``cancel()``; raises ServerError
        otherwise, after everything that had arrived was yielded.
        """
        try:
            yield from self._read()
        except _Ended as end:
            if self._out:
                yield self._out
            if end.code != "OK" and not self._cancelled:
                raise self._explain(end.code, end.details) from None
        except TimeoutError:
            raise self._explain("DEADLINE_EXCEEDED", "") from None
        except OSError as error:
            if not self._cancelled:
                raise self._explain("UNAVAILABLE", error.strerror or str(error)) from None
        finally:
            if self._socket is not None:
                self._socket.close()

    def _explain(self, code: str, details: str) -> ServerError:
        return faults.explain_status(
            code, details, self._settings, self._address, self._path, reached=self._reached
        ).error

    def _read(self) -> Iterator[list[bytes]]:
        self._socket = sock = self._address.connect(self._settings.connect_timeout)
        if self._cancelled:
            return
        sock.settimeout(self._settings.connect_timeout)
        sock.sendall(_opening(self._address, self._path, self._request))
        head_and_message, head = _HEAD_AND_MESSAGE.unpack_from, _HEAD.unpack_from
        rest = b""
        taken = 0
        while True:
            got = sock.recv(RECEIVE)
            if not got:
                raise _Ended("UNAVAILABLE", "the server closed the connection")
            data = rest + got if rest else got
            # A server that speaks HTTP/2 begins with SETTINGS; from then on silence is allowed.
            if not self._reached and len(data) > 3:
                if data[3] != SETTINGS:
                    raise _Ended("UNAVAILABLE", "not HTTP/2")
                self._reached = True
                sock.settimeout(None)
            size, at = len(data), 0
            out = self._out
            while size - at >= 14:
                high, low, kind, flags, _, packed, length = head_and_message(data, at)
                frame = (high << 16) + low
                end = at + 9 + frame
                if kind == DATA and length + 5 == frame and not (flags or packed or self._partial):
                    # The frame holds one whole message: nearly all do.
                    if end > size:
                        break
                    out.append(data[at + 14 : end])
                elif end > size:
                    if frame > FRAME_LIMIT:
                        raise _Ended("INTERNAL", "a frame larger than agreed")
                    break
                else:
                    self._frame(kind, flags, data[at + 9 : end])
                if kind == DATA:
                    taken += frame
                at = end
            # Frames without 5 bytes in them: an empty SETTINGS, WINDOW_UPDATE, RST_STREAM.
            while size - at >= 9:
                high, low, kind, flags, _ = head(data, at)
                end = at + 9 + (high << 16) + low
                if end > size:
                    break
                self._frame(kind, flags, data[at + 9 : end])
                if kind == DATA:
                    taken += end - at - 9
                at = end
            rest = data[at:]
            if len(rest) > FRAME_LIMIT + 9:
                raise _Ended("INTERNAL", "a frame larger than agreed")
            if out:
                self._out = []
                yield out
            # Only what was taken is asked for anew: a slow reader makes the server wait.
            if taken >= WINDOW // 4:
                update = struct.pack(">I", taken)
                sock.sendall(
                    _frame(WINDOW_UPDATE, 0, 0, update) + _frame(WINDOW_UPDATE, 0, _STREAM, update)
                )
                taken = 0

    def _frame(self, kind: int, flags: int, payload: bytes) -> None:
        """Any frame but the common one; raises _Ended when it ends the stream."""
        sock = self._socket
        assert sock is not None
        if kind == DATA:
            self._data(_unpadded(flags, payload))
            if flags & END_STREAM:
                raise _Ended("UNKNOWN", "the stream ended without a status")
        elif kind in (HEADERS, CONTINUATION):
            self._header_block(kind, flags, payload)
        elif kind == SETTINGS and not flags & ACK:
            sock.sendall(_frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            sock.sendall(_frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM:
            raise _Ended("UNAVAILABLE", "the server reset the stream")
        elif kind == GOAWAY:
            last, code = struct.unpack_from(">II", payload.ljust(8, b"\0"))
            if code or last < _STREAM:
                words = payload[8:].decode("utf-8", "replace")
                raise _Ended("UNAVAILABLE", words or "the server is going away")
        elif kind == PUSH_PROMISE:
            raise _Ended("INTERNAL", "the server pushes what nobody asked for")

    def _data(self, payload: bytes) -> None:
        """Messages that are cut over frames, or share one."""
        partial = self._partial
        partial += payload
        while len(partial) >= 5:
            packed, length = _MESSAGE_HEAD.unpack_from(partial)
            if packed:
                raise _Ended("INTERNAL", "the server compresses, which was not offered")
            if length > MESSAGE_LIMIT:
                raise _Ended("RESOURCE_EXHAUSTED", f"a message of {length:,} bytes")
            if len(partial) < 5 + length:
                return
            self._out.append(bytes(partial[5 : 5 + length]))
            del partial[: 5 + length]

    def _header_block(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == HEADERS:
            payload = _unpadded(flags, payload)
            # Priority is of no use any more, but may stand there: 5 bytes.
            self._block = payload[5:] if flags & PRIORITY else payload
            self._block_ends = bool(flags & END_STREAM)
        else:
            self._block += payload
        if len(self._block) > HEADER_LIMIT:
            raise _Ended("INTERNAL", "headers larger than 64 KiB")
        if not flags & END_HEADERS:
            return
        try:
            pairs = self._headers.decode(self._block)
        except HPACKError as error:
            raise _Ended("INTERNAL", f"headers that can't be read: {error}") from None
        found = {str(name): str(value) for name, value, *_ in pairs}
        self._block = b""
        if found.get(":status", "200") != "200":
            status = found[":status"]
            raise _Ended("UNKNOWN", f"Received http2 header with status: {status}")
        if not self._block_ends:
            self.metadata = found
            return
        number = found.get("grpc-status", "2")
        code = (
            _CODES[int(number)] if number.isdecimal() and int(number) < len(_CODES) else "UNKNOWN"
        )
        raise _Ended(code, unquote(found.get("grpc-message", "")))


_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")


def can_read(
    settings: Settings, address: Address, request: bytes, environ: Mapping[str, str] = os.environ
) -> bool:
    """Whether an :class:`H2Stream` does what these settings ask for; else grpcio has to."""
    if environ.get("FLOWWATCH_READER") == "grpc" or len(request) > REQUEST_LIMIT:
        return False
    more_than_plain = (
        settings.encrypted
        or settings.port_forward
        or settings.tls_from_secret
        or settings.tls_client_cert_file
        or settings.tls_client_key_file
        or settings.basic_auth_username
        or settings.basic_auth_password
    )
    proxy = any(environ.get(name) or environ.get(name.upper()) for name in _PROXIES)
    return not more_than_plain and (address.is_loopback or not proxy)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise _Ended("INTERNAL", "a frame with more padding than content")
    return payload[1 : len(payload) - payload[0]]


def _opening(address: Address, path: str, request: bytes) -> bytes:
    """Everything that is ever sent but acknowledgements: preface, settings, and the request."""
    settings = struct.pack(">HIHI", 2, 0, 4, WINDOW)  # no push; the stream's window
    headers = b"".join(
        (
            b"\x83\x86",  # :method POST, :scheme http
            b"\x04" + _text(path.encode()),  # :path
            b"\x01" + _text(_authority(address)),  # :authority
            _header(b"te", b"trailers"),
            _header(b"content-type", b"application/grpc"),
            _header(b"user-agent", b"flowwatch"),
        )
    )
    message = _MESSAGE_HEAD.pack(0, len(request)) + request
    parts = [message[i : i + FRAME_LIMIT] for i in range(0, len(message), FRAME_LIMIT)]
    return b"".join(
        (
            _PREFACE,
            _frame(SETTINGS, 0, 0, settings),
            _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW - 65_535)),
            _frame(HEADERS, END_HEADERS, _STREAM, headers),
            *(
                _frame(DATA, END_STREAM if part is parts[-1] else 0, _STREAM, part)
                for part in parts
            ),
        )
    )


def _authority(address: Address) -> bytes:
    if address.path:
        return b"localhost"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}".encode("idna" if not host.isascii() else "ascii")


def _header(name: bytes, value: bytes) -> bytes:
    """A literal that nobody needs to remember (RFC 7541, 6.2.2)."""
    return b"\x00" + _text(name) + _text(value)


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
