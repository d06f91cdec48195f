"""Faults that end a command at once: a certificate, a file, a server that is something else."""

from __future__ import annotations

import http.server
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsResponse, ServerStatusResponse
from tests.command import flowwatch
from tests.interop.certificates import Certificates
from tests.interop.faults.following import Outcome, neutral
from tests.interop.real import Observer
from tests.unit.hubble.client.test_connection import Server, failing, flows_then, serving

SOON = 20.0
"""Seconds in which a command must have ended, on a busy machine too."""

Setting = Callable[[Path], Iterator[list[str]]]


@dataclass(frozen=True)
class AtOnce:
    """A fault that a person has to mend, and what tells them how."""

    name: str
    setting: Setting
    """Makes it, in a folder of its own, and yields the command line."""
    words: str = ""
    """What the one line says; empty where nothing is wrong."""
    code: int = 1
    environ: tuple[tuple[str, str], ...] = ()

    def run(self) -> Outcome:
        """Run the program against it."""
        wrong: list[str] = []
        with (
            tempfile.TemporaryDirectory(prefix="faults-") as folder,
            contextmanager(self.setting)(Path(folder)) as arguments,
        ):
            began = time.monotonic()
            told = flowwatch(*arguments, env=dict(self.environ), timeout=60)
            took = time.monotonic() - began
        lines = told.stderr.splitlines()
        if told.returncode != self.code:
            wrong.append(f"exit code {told.returncode}")
        if len(lines) != bool(self.words) or "Traceback" in told.stderr:
            wrong.append(f"not one line: {told.stderr}")
        shown = lines[0].removeprefix("flowwatch: ") if lines else ""
        if self.words not in shown:
            wrong.append(f"{self.words!r} is not in {shown!r}")
        if took > SOON:
            wrong.append(f"took {took:.0f} s")
        records = f"none read: exit code {self.code}" if self.code else "all read"
        return Outcome(neutral(shown) or "nothing: it works", None, records, None, tuple(wrong))


@contextmanager
def _observer(folder: Path, *names: str, **options: object) -> Iterator[tuple[str, Certificates]]:
    certificates = Certificates.make(
        folder,
        *(names or ("localhost",)),
        valid=options.pop("valid", None),  # type: ignore[arg-type]
    )
    with Observer(generate=20, tls=certificates, **options) as server:  # type: ignore[arg-type]
        yield server.address.replace("127.0.0.1", "localhost"), certificates


def _dates(start: str, end: str) -> Setting:
    def setting(folder: Path) -> Iterator[list[str]]:
        with _observer(folder, valid=(start, end)) as (address, files):
            yield ["summary", "--server", address, "--tls", "--tls-ca-cert-files", str(files.ca)]

    return setting


def _wrong_name(folder: Path) -> Iterator[list[str]]:
    with _observer(folder, "*.hubble-relay.cilium.io") as (address, files):
        yield ["summary", "--server", address, "--tls", "--tls-ca-cert-files", str(files.ca)]


def _wrong_ca(folder: Path) -> Iterator[list[str]]:
    other = folder / "other"
    other.mkdir()
    files = Certificates.make(other, "localhost")
    with _observer(folder) as (address, _):
        yield ["summary", "--server", address, "--tls", "--tls-ca-cert-files", str(files.ca)]


def _no_client_certificate(folder: Path) -> Iterator[list[str]]:
    with _observer(folder, ask_client=True) as (address, files):
        yield ["summary", "--server", address, "--tls", "--tls-ca-cert-files", str(files.ca)]


def _ca_file(contents: bytes | None) -> Setting:
    def setting(folder: Path) -> Iterator[list[str]]:
        path = folder / "ca.crt"
        if contents is not None:
            path.write_bytes(contents)
        yield ["summary", "--server", "localhost:1", "--tls", "--tls-ca-cert-files", str(path)]

    return setting


def _key_of_another(folder: Path) -> Iterator[list[str]]:
    other = folder / "other"
    other.mkdir()
    ours, theirs = Certificates.make(folder, "localhost"), Certificates.make(other, "localhost")
    yield [
        *("summary", "--server", "localhost:1", "--tls", "--tls-ca-cert-files", str(ours.ca)),
        *("--tls-client-cert-file", str(ours.client)),
        *("--tls-client-key-file", str(theirs.client_key)),
    ]


def _client_file(flag: str, contents: bytes | None) -> Setting:
    """A client's certificate and key of which one is missing, or holds this."""

    def setting(folder: Path) -> Iterator[list[str]]:
        files = Certificates.make(folder, "localhost")
        ours = {"cert": files.client, "key": files.client_key}
        ours[flag] = folder / f"renewed-{flag}.pem"
        if contents is not None:
            ours[flag].write_bytes(contents)
        yield [
            *("summary", "--server", "localhost:1", "--tls", "--tls-ca-cert-files", str(files.ca)),
            *("--tls-client-cert-file", str(ours["cert"])),
            *("--tls-client-key-file", str(ours["key"])),
        ]

    return setting


def _web(_folder: Path) -> Iterator[list[str]]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield ["summary", "--server", f"localhost:{server.server_address[1]}"]
    finally:
        server.shutdown()
        server.server_close()


def _tls_unasked(folder: Path) -> Iterator[list[str]]:
    with _observer(folder) as (address, _):
        yield ["summary", "--server", address]


def _plain_unasked(folder: Path) -> Iterator[list[str]]:
    files = Certificates.make(folder, "localhost")
    with Observer(generate=20) as server:
        address = server.address.replace("127.0.0.1", "localhost")
        yield ["summary", "--server", address, "--tls", "--tls-ca-cert-files", str(files.ca)]


FLOW = GetFlowsResponse.FromString(b"")
FLOW.flow.source.pod_name = "app-1"
FLOW.flow.source.namespace = "weather"
FLOW.flow.time.FromSeconds(1_700_000_000)
FLOW.flow.traffic_direction = flow_pb2.EGRESS
FLOW.flow.verdict = flow_pb2.DROPPED
FLOW.flow.event_type.type = 5
FLOW.node_name = "worker1"
# A relay: only that counts its nodes.
RELAY = ServerStatusResponse(version="hubble-relay v1.10.0")
RELAY.num_connected_nodes.value = 1


def _grpc(*arguments: str, **answers: object) -> Setting:
    """A gRPC server of ours with these answers; what it has none for is UNIMPLEMENTED."""

    def setting(_folder: Path) -> Iterator[list[str]]:
        with serving(Server(**answers)) as settings:  # type: ignore[arg-type]
            yield [*arguments, "--server", settings.server]

    return setting


def _status(code: grpc.StatusCode, words: str) -> Setting:
    return _grpc("summary", flows=failing(code, words))


def _old(*arguments: str) -> Setting:
    """As relay was before it could list its nodes, or cut records down by a field mask."""
    whole = flows_then(FLOW.SerializeToString())
    return _grpc(*arguments, flows=whole, status=lambda *_: RELAY.SerializeToString())


def _nowhere(_folder: Path) -> Iterator[list[str]]:
    yield ["summary", "--server", "no-such-host.invalid:4245"]


_Code = grpc.StatusCode
AT_ONCE = (
    AtOnce("expired certificate", _dates("-48h", "-24h"), "expired on"),
    AtOnce("certificate not yet valid", _dates("24h", "48h"), "is valid from"),
    AtOnce("certificate for another name", _wrong_name, "give --tls-server-name"),
    AtOnce("certificate of another CA", _wrong_ca, "not vouched for by the CA"),
    AtOnce("client certificate required, not given", _no_client_certificate, "wants a client"),
    AtOnce("CA file missing", _ca_file(None), "no such file", 2),
    AtOnce("CA file empty", _ca_file(b""), "must be a PEM encoded certificate", 2),
    AtOnce("key that does not fit its certificate", _key_of_another, "does not match", 2),
    AtOnce("client certificate file missing", _client_file("cert", None), "no such file", 2),
    AtOnce("client certificate file empty", _client_file("cert", b""), "renewed-cert.pem", 2),
    AtOnce("client key file missing", _client_file("key", None), "no such file", 2),
    AtOnce("client key file empty", _client_file("key", b""), "renewed-key.pem", 2),
    AtOnce("server speaks HTTP/1", _web, "is a web server (HTTP/1), not Hubble"),
    AtOnce("server speaks TLS, plain text was asked", _tls_unasked, "speaks TLS: add --tls"),
    AtOnce("server speaks plain text, TLS was asked", _plain_unasked, "does not speak TLS"),
    AtOnce("not Hubble, or too old: unknown method", _grpc("summary"), "knows no GetFlows"),
    AtOnce(
        "older Hubble: no field mask",
        _old("observe", "-o", "jsonpb", "--field-mask", "time"),
        code=0,
    ),
    AtOnce("older Hubble: no node list (summary)", _old("summary"), code=0),
    AtOnce("older Hubble: no node list (list nodes)", _old("list", "nodes"), "knows no GetNodes"),
    AtOnce("UNAUTHENTICATED", _status(_Code.UNAUTHENTICATED, "who is it?"), "refused: who is it?"),
    AtOnce("RESOURCE_EXHAUSTED", _status(_Code.RESOURCE_EXHAUSTED, "full"), "refused: full"),
    AtOnce("UNIMPLEMENTED", _status(_Code.UNIMPLEMENTED, "no"), "knows no GetFlows"),
    AtOnce("name that does not resolve", _nowhere, "cannot connect to no-such-host.invalid:4245"),
)
