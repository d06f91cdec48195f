"""The stream reader under TLS against peers that do odd things there, with certificates of Go's making."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from flowwatch.errors import Refused, Unreachable
from flowwatch.hubble.client import h2frames, tls
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.client.h2 import H2Stream
from tests.interop.real import Certificates
from tests.unit.hubble.client.test_h2 import RESPONSE, SETTINGS, frame, message, trailers

RECORDS = [b"one", b"two" * 5000, b""]
WHOLE = b"".join(frame(h2frames.DATA, message(record)) for record in RECORDS)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("tls"), "localhost")


@contextmanager
def listening(serve: Callable[[socket.socket], None], ca: Certificates) -> Iterator[Settings]:
    """``serve`` is given each connection; settings that trust ``ca`` come out."""
    ended = threading.Event()

    def accept(listener: socket.socket) -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError):
                near, _ = listener.accept()
                with near:
                    serve(near)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        yield Settings(
            server=f"tls://localhost:{listener.getsockname()[1]}",
            tls_ca_cert_files=(str(ca.ca),),
            request_timeout=1.0,
        )
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive()


def server_context(certificates: Certificates, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def opened(settings: Settings) -> H2Stream:
    address = settings.address
    return H2Stream(
        settings, address, "/x", b"request", 5.0, security=tls.secure(settings, address)
    )


def read(settings: Settings) -> list[bytes]:
    return [each for messages in opened(settings).lists() for each in messages]


def answering(
    context: ssl.SSLContext, *writes: bytes, heard: list[bytes] | None = None, drop: bool = False
) -> Callable[[socket.socket], None]:
    """A server that writes what it is given, and then says good-bye as TLS has it, or drops the line."""

    def serve(near: socket.socket) -> None:
        near.settimeout(10)
        with context.wrap_socket(near, server_side=True) as secured:
            words = secured.recv(65536)
            if heard is not None:
                heard.append(words)
            for data in writes:
                secured.sendall(data)
            if not drop:
                with contextlib.suppress(OSError):
                    secured.unwrap()

    return serve


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [1, 700, 1 << 20])
def test_however_it_is_cut_into_records(
    version: ssl.TLSVersion, size: int, certificates: Certificates
) -> None:
    context = server_context(certificates, "h2")
    context.maximum_version = version
    wire = SETTINGS + RESPONSE + WHOLE + trailers()
    parts = [wire[at : at + size] for at in range(0, len(wire), size)]
    with listening(answering(context, *parts), certificates) as settings:
        assert read(settings) == RECORDS


@pytest.mark.parametrize("drop", [False, True])
def test_an_end_in_mid_stream_is_a_loss(drop: bool, certificates: Certificates) -> None:
    serve = answering(
        server_context(certificates, "h2"), SETTINGS + RESPONSE + WHOLE + b"\0\0", drop=drop
    )
    with listening(serve, certificates) as settings:
        got: list[bytes] = []
        with pytest.raises(Unreachable, match="was lost: the server closed the connection"):
            got.extend(each for messages in opened(settings).lists() for each in messages)
        assert got == RECORDS


@pytest.mark.parametrize("how", ["changed", "cut", "good-bye"])
def test_a_record_that_is_spoilt_or_cut_and_a_good_bye_with_the_line_open_are_losses(
    how: str, certificates: Certificates
) -> None:
    """What came before is given, and nothing is waited for."""
    context = server_context(certificates, "h2")

    def serve(near: socket.socket) -> None:
        near.settimeout(10)
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        secured = context.wrap_bio(into, out, server_side=True)
        while True:
            try:
                secured.do_handshake()
                break
            except ssl.SSLWantReadError:
                near.sendall(out.read())
                into.write(near.recv(65536))
        secured.write(SETTINGS + RESPONSE + WHOLE)
        near.sendall(out.read())
        if how == "good-bye":
            with contextlib.suppress(ssl.SSLWantReadError):
                secured.unwrap()
        else:
            secured.write(WHOLE)
        last = bytearray(out.read())
        if how == "changed":
            last[len(last) // 2] ^= 1
        near.sendall(last[: len(last) // 2] if how == "cut" else last)
        if how != "cut":
            while near.recv(65536):
                pass

    with listening(serve, certificates) as settings:
        got: list[bytes] = []
        with pytest.raises(Unreachable, match="was lost") as lost:
            got.extend(each for messages in opened(settings).lists() for each in messages)
        assert got == RECORDS
        assert "_ssl.c" not in str(lost.value)


def test_the_password_goes_with_the_request_and_into_no_message(certificates: Certificates) -> None:
    heard: list[bytes] = []
    serve = answering(server_context(certificates, "h2"), SETTINGS, heard=heard)
    with listening(serve, certificates) as settings:
        named = replace(settings, basic_auth_username="jane", basic_auth_password="open-sesame")
        secured = tls.secure(named, named.address)
        assert "sesame" not in repr(secured)
        assert base64.b64encode(b"jane:open-sesame").decode() not in repr(secured)
        with pytest.raises(Unreachable) as lost:
            read(named)
    assert b"Basic " + base64.b64encode(b"jane:open-sesame") in heard[0]
    assert "sesame" not in str(lost.value)


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)])
def test_a_server_that_agrees_to_no_http2(
    protocols: tuple[str, ...], certificates: Certificates
) -> None:
    with (
        listening(answering(server_context(certificates, *protocols)), certificates) as settings,
        pytest.raises(Refused, match="speaks TLS, but not Hubble's protocol"),
    ):
        read(settings)


def silent(near: socket.socket) -> None:
    """Takes what comes, and says nothing."""
    near.settimeout(10)
    while near.recv(65536):
        pass


def test_a_handshake_that_nobody_answers_is_given_up(certificates: Certificates) -> None:
    with listening(silent, certificates) as settings:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="says nothing"):
            read(settings)
        assert time.monotonic() - began < 10


def trickling(near: socket.socket) -> None:
    """A byte of a TLS record now and then: no wait is long, all are."""
    near.settimeout(10)
    near.sendall(b"\x16\x03\x03\x3f\xff")
    for _ in range(100):
        near.sendall(b"\0")
        time.sleep(0.1)


def test_a_handshake_that_trickles_is_given_up_too(certificates: Certificates) -> None:
    with listening(trickling, certificates) as settings:
        began = time.monotonic()
        with pytest.raises((Unreachable, Refused)):
            read(settings)
        assert time.monotonic() - began < 10


def test_cancelled_amid_the_handshake(certificates: Certificates) -> None:
    arrived = threading.Event()

    def serve(near: socket.socket) -> None:
        near.settimeout(10)
        near.recv(65536)
        arrived.set()
        silent(near)

    with listening(serve, certificates) as settings:
        stream = opened(replace(settings, request_timeout=60.0))
        got: list[list[bytes]] = []
        reader = threading.Thread(target=lambda: got.extend(stream.lists()))
        reader.start()
        assert arrived.wait(10)
        stream.cancel()
        reader.join(10)
        assert not reader.is_alive()
        assert got == []


def test_cancelled_while_it_is_quiet(certificates: Certificates) -> None:
    context = server_context(certificates, "h2")

    def serve(near: socket.socket) -> None:
        near.settimeout(10)
        with context.wrap_socket(near, server_side=True) as secured:
            secured.recv(65536)
            secured.sendall(SETTINGS + RESPONSE + WHOLE)
            silent(secured)

    with listening(serve, certificates) as settings:
        stream = opened(settings)
        got: list[bytes] = []
        for messages in stream.lists():
            got += messages
            if got == RECORDS:
                threading.Timer(0.2, stream.cancel).start()
        assert got == RECORDS
