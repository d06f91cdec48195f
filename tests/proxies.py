"""Proxies of loopback for tests: SOCKS5 (RFC 1928, with the passwords of RFC 1929), and HTTP's CONNECT.

with Socks5(user="jane", password="s3cret") as proxy:
    ... proxy.url, and afterwards proxy.asked: ["127.0.0.1:6443"]
"""

import contextlib
import ipaddress
import socket
import threading
from types import TracebackType
from typing import Self

_CONNECT, _NO_AUTH, _PASSWORD, _NONE_OF_THEM = 1, 0, 2, 0xFF
_IPV4, _NAME, _IPV6 = 1, 3, 4
_REFUSED = 5


class Proxy:
    """One that listens while it is entered; a thread a connection."""

    scheme = ""

    def __init__(self, user: str = "", password: str = "") -> None:
        """With a `user` it asks for both."""
        self.user, self.password = user, password
        self.asked: list[str] = []
        """Where it was asked to connect to, as `host:port`."""
        self.address = ""
        """Its `host:port`, once entered."""
        self._socket: socket.socket | None = None
        self._open: list[socket.socket] = []

    @property
    def url(self) -> str:
        """As a kubeconfig's `proxy-url`."""
        who = f"{self.user}:{self.password}@" if self.user else ""
        return f"{self.scheme}://{who}{self.address}"

    def __enter__(self) -> Self:
        listening = self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{listening.getsockname()[1]}"
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in [*self._open, *([self._socket] if self._socket else [])]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            to = self._greet(client)
            if to is None:
                client.close()
                return
            self._open.append(to)
            threading.Thread(target=_pump, args=(to, client), daemon=True).start()
            _pump(client, to)

    def _greet(self, client: socket.socket) -> socket.socket | None:
        """The connection that was asked for, once that is answered."""
        raise NotImplementedError


class Socks5(Proxy):
    """Connects to names and addresses."""

    scheme = "socks5"

    def _greet(self, client: socket.socket) -> socket.socket | None:
        _, count = _take(client, 2)
        offered = _take(client, count)
        wanted = _PASSWORD if self.user else _NO_AUTH
        client.sendall(bytes((5, wanted if wanted in offered else _NONE_OF_THEM)))
        if wanted not in offered or (self.user and not self._known(client)):
            return None
        _, command, _, kind = _take(client, 4)
        size = {_IPV4: 4, _IPV6: 16}.get(kind) or _take(client, 1)[0]
        raw = _take(client, size)
        host = raw.decode() if kind == _NAME else str(ipaddress.ip_address(raw))
        port = int.from_bytes(_take(client, 2), "big")
        self.asked.append(f"{host}:{port}")
        try:
            to = socket.create_connection((host, port), 10) if command == _CONNECT else None
        except OSError:
            to = None
        client.sendall(bytes((5, 0 if to else _REFUSED, 0, _IPV4, 0, 0, 0, 0, 0, 0)))
        return to

    def _known(self, client: socket.socket) -> bool:
        _, size = _take(client, 2)
        user = _take(client, size).decode()
        password = _take(client, _take(client, 1)[0]).decode()
        known = (user, password) == (self.user, self.password)
        client.sendall(bytes((1, 0 if known else 1)))
        return known


class Connect(Proxy):
    """HTTP's CONNECT; asks for no password."""

    scheme = "http"

    def _greet(self, client: socket.socket) -> socket.socket | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += _take(client, 1)
        host, _, port = head.split()[1].decode().rpartition(":")
        self.asked.append(f"{host}:{port}")
        to = socket.create_connection((host, int(port)), 10)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return to


def _take(client: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = client.recv(size - len(found))
        if not more:
            raise EOFError
        found += more
    return found


def _pump(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            to.sendall(data)
    for each in (source, to):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
