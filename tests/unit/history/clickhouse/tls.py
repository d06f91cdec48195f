"""TLS before a server's HTTP interface, as it has it itself by its `https_port`."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.interop.certificates import Certificates
from tests.unit.history.clickhouse.servers import Today


@contextlib.contextmanager
def tls_before(port: int, of: Certificates, *, ask_client: bool = False) -> Iterator[int]:
    """The port where TLS is spoken; a thread a connection."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(of.server, of.server_key)
    if ask_client:
        context.load_verify_locations(of.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listening, context, port), daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        # A thread that waits for who comes isn't woken by close alone.
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def _accept(listening: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listening.accept()
            threading.Thread(target=_serve, args=(client, context, port), daemon=True).start()


def _serve(client: socket.socket, context: ssl.SSLContext, port: int) -> None:
    safe = context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
    # Who gives up amid the handshake is what is played.
    with contextlib.suppress(OSError), safe:
        try:
            safe.do_handshake()
        except ssl.SSLError:
            # What it is told has to arrive: with bytes unread, an end would be a reset.
            with socket.socket(fileno=safe.detach()) as plain:
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(65_536):
                    pass
            return
        with socket.create_connection(("127.0.0.1", port)) as server:
            _pass_on(safe, server)


def _pass_on(safe: ssl.SSLSocket, server: socket.socket) -> None:
    """Both ways, until one ends. In one thread: of OpenSSL no two may use a connection at once."""
    ways: dict[socket.socket, socket.socket] = {safe: server, server: safe}
    while True:
        ready = [safe] if safe.pending() else select.select(list(ways), [], [])[0]
        for source in ready:
            data = source.recv(65_536)
            if not data:
                return
            ways[source].sendall(data)


def made(folder: Path, *names: str, expired: bool = False) -> Certificates:
    """A CA of its own, and what it vouches for: for localhost, or these names."""
    folder.mkdir()
    valid = ("-48h", "-24h") if expired else None
    return Certificates.make(folder, *(names or ("localhost",)), valid=valid)


@dataclass(frozen=True)
class Secured:
    """Ports before a server, by what is the matter with each, and the certificates of each."""

    server: Today
    ports: dict[str, int]
    of: dict[str, Certificates]

    def url(self, kind: str, more: str = "", *, ca: str = "", database: str = "") -> str:
        """Of a database, or of a new one; `ca` is whose CA is trusted, `kind`'s own if none is named."""
        database = (self.server.url(database)).rpartition("/")[2].partition("?")[0]
        return (
            f"clickhouse://me:a-secret-word@localhost:{self.ports[kind]}/{database}"
            f"?secure=1&compress=0&ca_cert={self.of[ca or kind].ca}{more}"
        )

    def client(self, kind: str) -> str:
        """The options that name the client certificate of a CA."""
        of = self.of[kind]
        return f"&client_cert={of.client}&client_cert_key={of.client_key}"


@contextlib.contextmanager
def secured_before(server: Today, folder: Path) -> Iterator[Secured]:
    """Before `server`: `good`, `expired`, `elsewhere` (another name), `asking` (for a client's), `plain`."""
    of = {
        "good": made(folder / "good"),
        "expired": made(folder / "expired", expired=True),
        "elsewhere": made(folder / "elsewhere", "elsewhere.example"),
    }
    of["asking"] = of["plain"] = of["good"]
    ports = {"plain": server.port}
    with contextlib.ExitStack() as stack:
        for kind in ("good", "expired", "elsewhere", "asking"):
            way = tls_before(server.port, of[kind], ask_client=kind == "asking")
            ports[kind] = stack.enter_context(way)
        yield Secured(server, ports, of)
