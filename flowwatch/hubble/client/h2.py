"""One gRPC stream read straight from its socket: what a flow costs to receive, cut to a fifth.

grpcio hands over each message through its completion queue, at 10 µs of CPU apiece (65,535 flows from
the real observer: 0.65 s, and 0.1 s to import it). Here a ``recv`` takes some hundred messages at
once, and a message costs a slice: 1.3 µs. What is needed of HTTP/2 (RFC 9113) for one call that only
receives is little: frames, flow control, and the headers' compression, which is left to ``hpack``.

Over TCP and unix sockets, plain or with TLS (:mod:`flowwatch.hubble.client.h2tls`). Proxies and everything
that isn't a stream go by grpcio (:mod:`flowwatch.hubble.client.connection`), and ``FLOWWATCH_READER=grpc``
makes it read streams too.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from hpack import Decoder, HPACKError, OversizedHeaderListError

from flowwatch.errors import ServerError
from flowwatch.hubble.client import faults, h2frames
from flowwatch.hubble.client.address import Address
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.client.h2bounds import HEADER_LIMIT, Patience
from flowwatch.hubble.client.h2frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    FRAME_LIMIT,
    GOAWAY,
    GRPC_STATUS,
    HEAD,
    HEAD_AND_MESSAGE,
    HEADERS,
    MESSAGE_HEAD,
    NUMBERS,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STATUSES,
    STREAM,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Ended,
    broken,
    frame,
    unpadded,
)
from flowwatch.hubble.wire import scanner

if TYPE_CHECKING:
    from flowwatch.hubble.client.h2tls import TlsSocket
    from flowwatch.hubble.client.tls import Security

WINDOW = 8 << 20
"""Bytes that the server may send ahead of the reader: flow control stops it there."""
MESSAGE_LIMIT = 64 << 20
RECEIVE = 256 << 10
"""Bytes of one recv at most: some 300 flows."""
LITTLE, GATHER = 48 << 10, 0.005
"""Bytes, when one recv brought fewer of a stream without end, after which more is let come for so many
seconds: to wake for each few flows costs more than to read them."""
REQUEST_LIMIT = 60_000
"""Bytes of a request that fit into the window that a server starts with."""

_NOWHERE = -1
_LARGE_HEADERS = "headers larger than 64 KiB"


class H2Stream:
    """One server-streaming call. Iterate ``lists()`` once, in one thread; ``cancel()`` from any."""

    def __init__(
        self,
        settings: Settings,
        address: Address,
        path: str,
        request: bytes,
        silence: float | None = None,
        security: Security | None = None,
    ) -> None:
        """Nothing is sent before ``lists()``; ``request`` is the serialized message.

        ``silence``: seconds without a byte of a record after which the stream is given up; None for
        one that may be quiet. ``security``: what TLS needs, where it is asked for.
        """
        self._settings = settings
        self._address = address
        self._path = path
        self._request = request
        self._silence = silence
        self._security = security
        self._socket: socket.socket | TlsSocket | None = None
        self._cancelled = False
        self._reached = False
        self._headers = Decoder(HEADER_LIMIT)
        self._block = bytearray()
        self._block_ends = False
        self._block_open = False
        self._data_on = _NOWHERE
        """The stream on which DATA may come now: not before the answer's headers, nor inside any."""
        self._answered = False
        self._partial = bytearray()
        self._out: list[bytes] = []
        self._seen = 0
        """Messages of ``_out`` that were there at the last frame but a common one."""
        self._patience = Patience(silence)
        self._agreed = False
        """The server has acknowledged our SETTINGS, with the window that they grant."""
        self._unagreed = 0
        """Bytes that it sent before it did."""
        self._first_window = FIRST_WINDOW
        self._credit: dict[int, int] = {}
        """What the server lets us send, by stream: kept to notice when it lets us send too much."""
        self.metadata: dict[str, str] = {}
        """What the server sent before its first message."""

    @property
    def reached(self) -> bool:
        """Whether a server that speaks HTTP/2 has answered."""
        return self._reached

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
        except Ended as end:
            if self._out:
                yield self._out
            if end.code != "OK" and not self._cancelled:
                raise self._explain(end.code, end.details) from None
        except TimeoutError as error:
            if not self._cancelled:
                raise self._late(error) from None
        except OSError as error:
            if not self._cancelled:
                raise self._explain("UNAVAILABLE", h2frames.words(error)) from None
        finally:
            if self._socket is not None:
                self._socket.close()

    def _late(self, error: TimeoutError) -> ServerError:
        if not self._reached:
            return self._explain("DEADLINE_EXCEEDED", "")
        # Without a number it is Python's own, of the time that we gave.
        quiet = f"nothing came for {self._silence or 0:g} s"
        words = error.strerror if error.errno and error.strerror else quiet
        return self._explain("UNAVAILABLE", words)

    def _explain(self, code: str, details: str) -> ServerError:
        if self._socket is not None:
            # It may be looked at what is there, and some take one connection at a time.
            self._socket.close()
        return faults.explain_status(
            code, details, self._settings, self._address, self._path, reached=self._reached
        ).error

    def _read(self) -> Iterator[list[bytes]]:
        sock = self._connect()
        if self._cancelled:
            return
        sock.sendall(self._opening())
        sent = MESSAGE_HEAD.size + len(self._request)
        self._credit = {0: FIRST_WINDOW - sent, STREAM: FIRST_WINDOW - sent}
        head_and_message, head = HEAD_AND_MESSAGE.unpack_from, HEAD.unpack_from
        module = scanner.module()
        scan = None if module is None else module.frames
        rest = b""
        taken = 0
        while True:
            got = sock.recv(RECEIVE)
            if not got:
                raise Ended("UNAVAILABLE", "the server closed the connection")
            data = rest + got if rest else got
            # A server that speaks HTTP/2 begins with SETTINGS; from then on silence is allowed.
            if not self._reached and len(data) > 3:
                if data[3] != SETTINGS:
                    raise Ended("UNAVAILABLE", "not HTTP/2")
                self._reached = True
                sock.settimeout(self._silence)
            size, at = len(data), 0
            out, had = self._out, len(self._partial)
            while size - at >= 14:
                if scan is not None and self._data_on == STREAM and not self._partial:
                    # The same frames as below, many at once.
                    found, end = scan(data, at, STREAM, FRAME_LIMIT)
                    out += found
                    taken += end - at - HEAD.size * len(found)
                    at = end
                    if size - at < 14:
                        break
                high, low, kind, flags, stream, packed, length = head_and_message(data, at)
                long = (high << 16) + low
                end = at + 9 + long
                if (
                    kind == DATA
                    and length + 5 == long <= FRAME_LIMIT
                    and stream == self._data_on
                    and not (flags or packed or self._partial)
                ):
                    # The frame holds one whole message: nearly all do.
                    if end > size:
                        break
                    out.append(data[at + 14 : end])
                elif long > FRAME_LIMIT:
                    broken("a frame larger than agreed")
                elif end > size:
                    break
                else:
                    self._frame(kind, flags, stream & NUMBERS, data[at + 9 : end])
                if kind == DATA:
                    taken += long
                at = end
            # Frames without 5 bytes in them: an empty SETTINGS, WINDOW_UPDATE, RST_STREAM.
            while size - at >= 9:
                high, low, kind, flags, stream = head(data, at)
                long = (high << 16) + low
                end = at + 9 + long
                if long > FRAME_LIMIT:
                    broken("a frame larger than agreed")
                if end > size:
                    break
                self._frame(kind, flags, stream & NUMBERS, data[at + 9 : end])
                if kind == DATA:
                    taken += long
                at = end
            rest = data[at:]
            if out:
                self._out, self._seen = [], 0
                self._patience.came()
                yield out
                if self._silence is None and size < LITTLE:
                    time.sleep(GATHER)
            self._patience.read(bool(out) or len(self._partial) != had)
            if taken >= WINDOW // 4:
                self._grant(taken)
                taken = 0

    def _connect(self) -> socket.socket | TlsSocket:
        """Connected, under TLS if that is asked for; each step within the time for it."""
        seconds = self._settings.connect_timeout
        self._socket = sock = self._address.connect(seconds)
        sock.settimeout(seconds)
        _notice_death(sock)
        if self._security is None or self._cancelled:
            return sock
        from flowwatch.hubble.client.h2tls import TlsSocket

        tls = TlsSocket(sock, self._security, self._address)
        tls.handshake(seconds)
        self._socket = tls
        return tls

    def _opening(self) -> bytes:
        secured = self._security
        return h2frames.opening(
            secured.name.encode() if secured and secured.name else _authority(self._address),
            self._path,
            self._request,
            WINDOW,
            encrypted=secured is not None,
            authorization=secured.authorization if secured else "",
        )

    def _grant(self, taken: int) -> None:
        """Let the server send anew what was ``taken``, and no more: a slow reader makes it wait."""
        if not self._agreed:
            # What it may send by HTTP/2 is 64 KiB; we mind when it is a whole window of ours.
            self._unagreed += taken
            if self._unagreed >= WINDOW:
                broken("it sends more than its window, and hasn't acknowledged our SETTINGS")
        update = struct.pack(">I", taken)
        self._send(frame(WINDOW_UPDATE, 0, 0, update) + frame(WINDOW_UPDATE, 0, STREAM, update))

    def _send(self, data: bytes) -> None:
        sock = self._socket
        assert sock is not None
        sock.settimeout(self._settings.connect_timeout)
        try:
            sock.sendall(data)
        except TimeoutError:
            raise Ended("UNAVAILABLE", "it sends, but takes nothing that it is sent") from None
        except OSError:
            pass  # what has come is taken in first: the next recv finds the end
        sock.settimeout(self._silence)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Any frame but the common one; raises Ended when it ends the stream."""
        if self._seen != len(self._out):
            self._seen = len(self._out)
            self._patience.came()
        if self._block_open and kind != CONTINUATION:
            broken("a frame inside of headers")
        h2frames.check(kind, flags, stream, len(payload))
        content = unpadded(flags, payload) if kind == DATA else b""
        self._patience.frame(len(content))
        if kind == DATA:
            self._data(content)
            if flags & END_STREAM:
                raise Ended("INTERNAL", "the stream ended without a status")
        elif kind in (HEADERS, CONTINUATION):
            self._header_block(kind, flags, payload)
        elif kind == SETTINGS and flags & ACK:
            self._agreed = True
        elif kind == SETTINGS:
            self._settle(h2frames.settings(payload))
            self._send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._send(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            self._let(stream, int.from_bytes(payload, "big") & NUMBERS)
        elif kind == RST_STREAM:
            code = h2frames.error(int.from_bytes(payload, "big"))
            raise Ended(code.status, f"the server reset the stream ({code.name})")
        elif kind == GOAWAY:
            last, number = struct.unpack_from(">II", payload)
            # Without an error it takes no new stream, but ends this one: an orderly end.
            if number or last & NUMBERS < STREAM:
                words = payload[8:].decode("utf-8", "replace")
                name = h2frames.error(number).name
                raise Ended("UNAVAILABLE", words or f"the server is going away ({name})")
        elif kind == PUSH_PROMISE:
            broken("it pushes what nobody asked for")

    def _settle(self, found: dict[int, int]) -> None:
        window = found.get(4, self._first_window)
        # It may become negative: what was sent before counts (RFC 9113, 6.9.2).
        self._credit[STREAM] += window - self._first_window
        self._first_window = window
        if self._credit[STREAM] > NUMBERS:
            broken("a window larger than 2^31-1")

    def _let(self, stream: int, more: int) -> None:
        if not more:
            broken("WINDOW_UPDATE by 0")
        self._credit[stream] += more
        if self._credit[stream] > NUMBERS:
            broken("a window larger than 2^31-1")

    def _data(self, payload: bytes) -> None:
        """Messages that are cut over frames, or share one."""
        if not self._answered:
            broken("DATA before the headers")
        partial = self._partial
        partial += payload
        while len(partial) >= 5:
            packed, length = MESSAGE_HEAD.unpack_from(partial)
            if packed:
                raise Ended("INTERNAL", "the server compresses, which was not offered")
            if length > MESSAGE_LIMIT:
                raise Ended("RESOURCE_EXHAUSTED", f"a message of {length:,} bytes")
            if len(partial) < 5 + length:
                return
            self._out.append(bytes(partial[5 : 5 + length]))
            del partial[: 5 + length]

    def _header_block(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == HEADERS:
            payload = unpadded(flags, payload)
            if flags & WITH_PRIORITY:
                # Of no use any more, but it may stand there: 5 bytes.
                if len(payload) < 5:
                    broken("HEADERS without their priority")
                payload = payload[5:]
            self._block = bytearray(payload)
            self._block_ends = bool(flags & END_STREAM)
            self._block_open = True
            self._data_on = _NOWHERE
        elif self._block_open:
            self._block += payload
        else:
            broken("CONTINUATION of nothing")
        if len(self._block) > HEADER_LIMIT:
            raise Ended("INTERNAL", _LARGE_HEADERS)
        if not flags & END_HEADERS:
            return
        self._block_open = False
        self._take_headers(self._unpacked(bytes(self._block)))

    def _unpacked(self, block: bytes) -> list[tuple[str, str]]:
        try:
            pairs = self._headers.decode(block, raw=True)
        except OversizedHeaderListError:
            raise Ended("INTERNAL", _LARGE_HEADERS) from None
        except HPACKError:
            # Its words hold all the bytes.
            raise Ended("INTERNAL", "headers that can't be read (HPACK)") from None
        # Bytes that are no UTF-8 are allowed in a value (RFC 9110, 5.5), and concern nobody here.
        return [
            (bytes(name).decode("utf-8", "replace"), bytes(value).decode("utf-8", "replace"))
            for name, value, *_ in pairs
        ]

    def _take_headers(self, fields: list[tuple[str, str]]) -> None:
        """The answer's headers, or its trailers, which end the stream."""
        found = dict(fields)
        first = not self._answered
        status = found.get(":status", "200")
        if first and len(status) == 3 and status.startswith("1") and not self._block_ends:
            # An interim answer: the real one follows.
            self._patience.interim(fields)
            return
        if first and "grpc-status" not in found:
            form = found.get("content-type", "")
            if status != "200":
                raise Ended(
                    STATUSES.get(status, "UNKNOWN"), f"Received http2 header with status: {status}"
                )
            if not form.startswith("application/grpc"):
                raise Ended("UNKNOWN", f"an answer of content-type {form or 'that it hides'}")
        if not self._block_ends:
            if not first:
                broken("headers amid the messages")
            self.metadata = found
            self._answered = True
            self._data_on = STREAM
            return
        if "grpc-status" not in found:
            raise Ended("INTERNAL", "the stream ended without a status")
        code = GRPC_STATUS.get(found["grpc-status"], "UNKNOWN")
        if code == "OK" and self._partial:
            raise Ended("INTERNAL", "the stream ended in mid-message")
        words = found.get("grpc-message", "")
        if "%" in words:
            from urllib.parse import unquote

            words = unquote(words)
        raise Ended(code, words)


def _notice_death(sock: socket.socket) -> None:
    """Let the system ask now and then whether the other end is still there (not over a socket file).

    Hubble's servers allow no pings of HTTP/2 more often than every five minutes.
    """
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if option := getattr(socket, name, 0):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


_KEEPALIVE = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4))
"""Seconds of silence, seconds between the questions, and how many may stay without an answer."""

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")


def can_read(
    settings: Settings, address: Address, request: bytes, environ: Mapping[str, str] = os.environ
) -> bool:
    """Whether an :class:`H2Stream` does what these settings ask for; else grpcio has to."""
    if environ.get("FLOWWATCH_READER") == "grpc" or len(request) > REQUEST_LIMIT:
        return False
    if settings.port_forward or settings.tls_from_secret:
        return False  # the way there isn't open yet
    proxy = any(environ.get(name) or environ.get(name.upper()) for name in _PROXIES)
    return address.is_loopback or not proxy


def _authority(address: Address) -> bytes:
    if address.path:
        return b"localhost"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}".encode("idna" if not host.isascii() else "ascii")
