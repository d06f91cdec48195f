"""A Hubble server on loopback that sends whatever bytes it is given to whoever asks."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterable

from hpack import Encoder

from flowwatch.hubble.client import h2frames as h2f

ACK, END_STREAM, END_HEADERS = 1, 1, 4


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 1) -> bytes:
    """An HTTP/2 frame; ``payload`` is cut to what a length of 24 bits can say."""
    head = struct.pack(">I", len(payload))[1:]
    return head + bytes((kind & 255, flags & 255)) + struct.pack(">I", stream) + payload


def message(data: bytes) -> bytes:
    """A gRPC message as it stands in DATA."""
    return struct.pack(">BI", 0, len(data)) + data


def _headers(pairs: list[tuple[str, str]], flags: int = 0) -> bytes:
    return frame(h2f.HEADERS, Encoder().encode(pairs), END_HEADERS | flags)


SETTINGS = frame(h2f.SETTINGS, stream=0)
AGREED = frame(h2f.SETTINGS, flags=ACK, stream=0)
ANSWER = _headers([(":status", "200"), ("content-type", "application/grpc")])
OK = _headers([("grpc-status", "0")], END_STREAM)


def conversation(messages: Iterable[bytes]) -> list[bytes]:
    """The frames of a sound server that sends ``messages`` and ends."""
    data = [frame(h2f.DATA, message(one)) for one in messages if len(one) < 16_000]
    return [SETTINGS, AGREED, ANSWER, *data, OK]


class Served:
    """A server on loopback; everyone who connects is sent :attr:`wire`. Close it when done."""

    def __init__(self) -> None:
        self.wire = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, name="fuzz-server", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                try:
                    connection.recv(65_536)
                    connection.sendall(self.wire)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65_536):
                        pass
                except OSError:
                    continue

    def close(self) -> None:
        # A thread in accept() isn't woken by close() alone.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
