"""Every way in which a connection to the real observer and relay fails: one line, soon, and the right one.

Servers that aren't Hubble are in tests/unit/cli/test_bad_input.py and tests/unit/hubble.
"""

from __future__ import annotations

import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flowwatch.errors import Refused, ServerError, Unreachable
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.client.connection import connect
from flowwatch.hubble.client.stream import End, Follow, ReadAll
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsRequest, GetFlowsResponse
from tests.command import clean_environment, flowwatch, one_line
from tests.interop.real import Certificates, Observer, Program, Relay, build, free_port, hubble

RELAY_NAME = "instance.hubble-relay.cilium.io"
# The longest, a server that says nothing, takes a request timeout and one look at the port.
SOON = 12.0


@dataclass(frozen=True)
class Secured:
    """Observers with TLS, and what belongs to them."""

    good: Certificates
    other: Certificates
    plain: Observer
    tls: Observer
    relay_like: Observer
    mutual: Observer
    expired: Observer
    early: Observer

    def server(self, name: str) -> str:
        """The address by name: relay_like's certificate isn't for it, the others' are."""
        observer: Observer = getattr(self, name)
        return f"localhost:{observer.address.rpartition(':')[2]}"

    def flags(self, words: str) -> list[str]:
        """``words`` with ``CA`` and so on replaced by the files' paths."""
        files = {
            "CA": self.good.ca,
            "OTHER-CA": self.other.ca,
            "CERT": self.good.client,
            "KEY": self.good.client_key,
            "OTHER-CERT": self.other.client,
            "OTHER-KEY": self.other.client_key,
        }
        return [str(files.get(word, word)) for word in words.split()]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    def certificates(name: str, *names: str, valid: tuple[str, str] | None = None) -> Certificates:
        return Certificates.make(tmp_path_factory.mktemp(name), *names, valid=valid)

    good = certificates("good", "localhost")
    relay_like = certificates("relay", "*.hubble-relay.cilium.io")
    expired = certificates("expired", "localhost", valid=("-48h", "-24h"))
    early = certificates("early", "localhost", valid=("24h", "48h"))
    with (
        Observer(generate=50) as plain,
        Observer(generate=50, tls=good) as tls,
        Observer(generate=50, tls=relay_like) as named,
        Observer(generate=50, tls=good, ask_client=True) as mutual,
        Observer(generate=50, tls=expired) as late,
        Observer(generate=50, tls=early) as soon,
    ):
        found = Secured(
            good, certificates("other", "localhost"), plain, tls, named, mutual, late, soon
        )
        yield found


# server, flags, kind of error, words that must stand in it
TLS_FAULTS = [
    ("tls", "", Refused, "speaks TLS: add --tls,"),
    ("relay_like", "", Refused, f"speaks TLS: add --tls --tls-server-name {RELAY_NAME},"),
    ("mutual", "", Refused, "speaks TLS: add --tls"),
    ("plain", "--tls --tls-ca-cert-files CA", Refused, "does not speak TLS: leave out --tls"),
    ("plain", "--tls --tls-allow-insecure", Refused, "does not speak TLS: leave out --tls"),
    ("tls", "--tls", Refused, "not vouched for by the CA (issued by flowwatch test CA)"),
    ("tls", "--tls --tls-ca-cert-files OTHER-CA", Refused, "secret hubble-relay-server-certs"),
    ("relay_like", "--tls", Refused, f"and --tls-server-name {RELAY_NAME}"),
    (
        "tls",
        "--tls --tls-ca-cert-files CA --tls-server-name relay.example",
        Refused,
        "is for localhost, not for relay.example: give --tls-server-name localhost",
    ),
    ("mutual", "--tls --tls-ca-cert-files CA", Refused, "wants a client certificate"),
    (
        "mutual",
        "--tls --tls-ca-cert-files CA --tls-client-cert-file OTHER-CERT --tls-client-key-file OTHER-KEY",
        Refused,
        "does not take this client certificate",
    ),
    ("expired", "--tls --tls-allow-insecure", Refused, "--tls-allow-insecure can't skip the dates"),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "reader"), [("status", ""), ("summary", ""), ("summary", "grpc")])
@pytest.mark.parametrize(("server", "flags", "kind", "words"), TLS_FAULTS)
def test_tls_that_fails_names_its_cause(
    verb: str,
    reader: str,
    server: str,
    flags: str,
    kind: type[ServerError],
    words: str,
    secured: Secured,
) -> None:
    began = time.monotonic()
    told = flowwatch(
        *(verb, "--server", secured.server(server), *secured.flags(flags)),
        env={"FLOWWATCH_READER": reader},
    )
    assert time.monotonic() - began < SOON
    assert told.returncode == 1
    assert told.stdout == ""
    lines = told.stderr.splitlines()
    if "--tls-allow-insecure" in flags:
        assert "is not verified (--tls-allow-insecure)" in lines.pop(0)
    (line,) = lines
    assert words in line
    # The real CLI doesn't get through either.
    assert hubble(
        "status", *secured.flags(flags), server=secured.server(server)
    ).returncode == 1 or (
        # Go skips the dates too.
        server == "expired"
    )


@pytest.mark.parametrize(
    ("server", "words"),
    [("expired", "expired on 20"), ("early", "is valid from 20")],
)
def test_dates(server: str, words: str, tmp_path: Path) -> None:
    valid = ("-48h", "-24h") if server == "expired" else ("24h", "48h")
    certificates = Certificates.make(tmp_path, "localhost", valid=valid)
    with Observer(generate=10, tls=certificates) as observer:
        address = f"localhost:{observer.address.rpartition(':')[2]}"
        for verb in ("status", "summary"):
            told = flowwatch(
                verb, "--server", address, "--tls", "--tls-ca-cert-files", certificates.ca
            )
            assert told.returncode == 1
            assert f"the certificate of {address} {words}" in one_line(told)


TLS_WORKS = [
    ("tls", "--tls --tls-ca-cert-files CA"),
    ("tls", "--tls --tls-allow-insecure"),
    ("relay_like", "--tls --tls-allow-insecure"),
    ("relay_like", "--tls --tls-allow-insecure --tls-server-name wrong.example"),
    (
        "mutual",
        "--tls --tls-ca-cert-files CA --tls-client-cert-file CERT --tls-client-key-file KEY",
    ),
    (
        "mutual",
        "--tls --tls-allow-insecure --tls-client-cert-file CERT --tls-client-key-file KEY",
    ),
]


@pytest.mark.parametrize(("server", "flags"), TLS_WORKS)
def test_tls_that_works_gives_what_the_real_cli_gives(
    server: str, flags: str, secured: Secured
) -> None:
    address, words = secured.server(server), secured.flags(flags)
    ours = flowwatch("observe", "--all", "-o", "jsonpb", "--server", address, *words)
    theirs = hubble("observe", "--all", "-o", "jsonpb", *words, server=address, check=True)
    assert ours.stdout == theirs.stdout
    assert ours.stdout.count("\n") >= 50
    insecure = "--tls-allow-insecure" in flags
    assert ours.stderr.count("is not verified") == insecure
    assert len(ours.stderr.splitlines()) == insecure


def test_tls_by_its_prefix_and_by_the_environment(secured: Secured) -> None:
    address = secured.server("tls")
    environ = {
        "HUBBLE_TLS_CA_CERT_FILES": str(secured.good.ca),
        "HUBBLE_SERVER": f"tls://{address}",
    }
    ours = flowwatch("status", env=environ)
    assert (ours.returncode, ours.stderr) == (0, "")
    assert f"Healthcheck (via {address}): Ok" in ours.stdout


def test_relay_with_tls_on_both_sides(tmp_path: Path) -> None:
    for name in ("relay", "node"):
        (tmp_path / name).mkdir()
    relay_tls = Certificates.make(tmp_path / "relay", "*.hubble-relay.cilium.io")
    node_tls = Certificates.make(tmp_path / "node", "*.default.hubble-grpc.cilium.io")
    with (
        Observer(node="one", generate=300, tls=node_tls, ask_client=True) as one,
        Relay([one], tls=relay_tls, node_tls=node_tls) as relay,
    ):
        trust = [str(word) for word in relay.trust]
        ours = flowwatch("observe", "--all", "-o", "jsonpb", "--server", relay.address, *trust)
        theirs = hubble("observe", "--all", "-o", "jsonpb", *trust, server=relay, check=True)
        assert sorted(ours.stdout.splitlines()) == sorted(theirs.stdout.splitlines())
        assert ours.stdout.count('"flow"') == 300


FLAG_ERRORS = [
    "--tls-client-cert-file x",
    "--tls-client-key-file x --tls",
    "--tls-client-cert-file x --tls-client-key-file y",
    "--basic-auth-username u",
    "--tls --tls-ca-cert-files /none",
    "--tls --tls-client-cert-file /none --tls-client-key-file /none",
]


@pytest.mark.parametrize("flags", FLAG_ERRORS)
def test_flags_that_are_refused_are_so_in_hubbles_words(flags: str) -> None:
    ours = flowwatch("status", *flags.split())
    theirs = hubble("status", *flags.split())
    assert (ours.returncode, theirs.returncode) == (2, 1)
    assert one_line(ours).startswith(f"flowwatch: {theirs.stderr.strip()}")


def test_refused_as_long_as_nothing_listens() -> None:
    address = f"127.0.0.1:{free_port()}"
    began = time.monotonic()
    for verb in ("status", "summary", "observe", "list"):
        words = (verb, "nodes") if verb == "list" else (verb,)
        told = flowwatch(*words, "--server", address)
        assert told.returncode == 1
        assert one_line(told) == (
            f"flowwatch: cannot connect to {address}: connection refused: check --server"
        )
    assert time.monotonic() - began < SOON


def test_a_server_that_hangs_is_given_up() -> None:
    with Observer(generate=50) as observer:
        observer.hang()
        for verb in ("status", "summary"):
            began = time.monotonic()
            told = flowwatch(verb, "--server", observer.address, "--request-timeout", "1s")
            assert time.monotonic() - began < SOON
            assert told.returncode == 1
            assert "says nothing" in one_line(told)
        observer.go_on()
        assert flowwatch("status", "--server", observer.address).returncode == 0


def test_not_an_observer_is_told() -> None:
    """The peer service speaks gRPC, but is not Hubble's API."""
    peer = Program([build().peer])
    try:
        address = peer.answer()["address"]
        for verb in ("status", "summary"):
            told = flowwatch(verb, "--server", address)
            assert told.returncode == 1
            assert f"{address} is not a Hubble server" in one_line(told)
    finally:
        peer.kill()


def pass_on(near: socket.socket, server: str) -> None:
    """Carry bytes between a client's connection and the server until either ends."""
    host, port = server.split(":")
    with near, socket.create_connection((host, int(port))) as far:
        other = {near: far, far: near}
        while True:
            for ready in select.select([near, far], [], [], 30)[0]:
                data = ready.recv(65536)
                if not data:
                    return
                other[ready].sendall(data)


def test_a_unix_socket(tmp_path: Path) -> None:
    """An agent's own socket: here a bridge from it to the observer's port."""
    with Observer(generate=100) as observer, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "hubble.sock"))
        listener.listen()
        connections: list[threading.Thread] = []

        def bridge() -> None:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                thread = threading.Thread(target=pass_on, args=(near, observer.address))
                connections.append(thread)
                thread.start()

        accepting = threading.Thread(target=bridge)
        accepting.start()
        server = f"unix://{tmp_path}/hubble.sock"
        theirs = hubble("observe", "--all", "-o", "jsonpb", server=observer, check=True)
        for reader in ("", "grpc"):
            environ = {"FLOWWATCH_READER": reader}
            words = ("observe", "--all", "-o", "jsonpb", "--server", server)
            assert flowwatch(*words, env=environ).stdout == theirs.stdout
        assert f"(via {server}): Ok" in flowwatch("status", "--server", server).stdout
        listener.shutdown(socket.SHUT_RDWR)
        for thread in (accepting, *connections):
            thread.join(10)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stream_that_breaks_gives_what_came_and_says_so(number: signal.Signals) -> None:
    with (
        Observer(generate=200, rate=200) as observer,
        connect(Settings(server=observer.address)) as connection,
    ):
        messages = Follow(connection.get_flows(GetFlowsRequest(number=50, follow=True)))
        flows = 0
        broke = 0.0

        def read() -> None:
            nonlocal flows, broke
            for chunk in messages.chunks():
                flows += sum(GetFlowsResponse.FromString(m).HasField("flow") for m in chunk)
                if flows >= 50 and not broke:
                    broke = time.monotonic()
                    observer.program.signal(number)

        with pytest.raises(Unreachable, match="was lost"):
            read()
        assert flows >= 50
        assert time.monotonic() - broke < 5
        assert messages.end is End.FAILED


def test_a_bounded_stream_ends_by_itself() -> None:
    with Observer(generate=5000) as observer, connect(Settings(server=observer.address)) as one:
        messages = ReadAll(one.get_flows(GetFlowsRequest(number=4000)))
        chunks = [chunk for chunk in messages.chunks() if chunk]
        assert sum(map(len, chunks)) == 4000
        assert messages.end is End.SERVER


def test_relay_names_its_version() -> None:
    with (
        Observer(node="one", generate=50) as one,
        Relay([one]) as relay,
        connect(Settings(server=relay.address)) as connection,
    ):
        stream = connection.get_flows(GetFlowsRequest(number=1))
        assert list(stream)
        # Empty in a relay that was built without its version.
        assert "hubble-relay-version" in stream.initial_metadata()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT")
def test_ctrl_c_while_a_server_hangs(tmp_path: Path) -> None:
    with Observer(generate=50) as observer:
        observer.hang()
        for verb in ("status", "summary"):
            program = Program(
                [sys.executable, "-m", "flowwatch", verb, "--server", observer.address],
                clean_environment(str(tmp_path)),
            )
            try:
                time.sleep(1.5)
                struck = time.monotonic()
                program.signal(signal.SIGINT)
                code = program.wait(10)
                assert time.monotonic() - struck < 2
                assert code != 0
                assert "Traceback" not in program.log()
                assert len(program.log().splitlines()) <= 1
            finally:
                program.kill()
        observer.go_on()
