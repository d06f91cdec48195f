"""What answers at an address: asked once, with plain sockets, after gRPC has failed there.

gRPC says "failed to connect to all addresses" for a server that speaks TLS where plain text was
expected, for the reverse, for a web server and for a port that swallows everything. Two short
conversations tell them apart: a TLS handshake that verifies nothing, and the first bytes of HTTP/2.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from enum import Enum

import msgspec

from flowwatch.hubble.client.address import Address

STEP = 1.5
"""Seconds for each of the at most five steps: long enough for another continent."""

# RFC 9113, 3.4: the client's preface, and an empty SETTINGS frame behind it.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SETTINGS = 4
# OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for.
_NO_CHECK_TIME = 0x200000


class ProbeAnswer(Enum):
    """What was found."""

    UNREACHABLE = "no connection"
    SILENT = "accepts connections and says nothing"
    CLOSES = "accepts connections and closes them"
    HTTP2 = "HTTP/2 without TLS"
    HTTP1 = "HTTP/1 without TLS"
    OTHER = "another protocol without TLS"
    TLS = "TLS"


class Certificate(msgspec.Struct, frozen=True):
    """The server's certificate, as far as an error message needs it."""

    pem: str
    names: tuple[str, ...] = ()
    """DNS names and addresses that it is for."""
    issuer: str = ""
    not_before: float = 0.0
    """Unix time; 0 when the certificate could not be read."""
    not_after: float = 0.0


class Probed(msgspec.Struct, frozen=True):
    """What :func:`look` saw."""

    answer: ProbeAnswer
    why: str = ""
    """The system's words for UNREACHABLE."""
    certificate: Certificate | None = None
    http2: bool = False
    """Over TLS: the server agreed to speak HTTP/2 (ALPN ``h2``)."""
    wants_certificate: bool = False
    """Over TLS: it ended the handshake because the client showed no certificate."""


def look(address: Address, *, tls_first: bool, server_name: str = "") -> Probed:
    """Find out what answers at ``address``; takes at most some five times :data:`STEP` seconds."""
    try:
        address_answers(address)
    except OSError as error:
        return Probed(ProbeAnswer.UNREACHABLE, error.strerror or str(error))
    order = (_tls, _plain) if tls_first else (_plain, _tls)
    findings = []
    for ask in order:
        finding = ask(address, server_name)
        if finding.answer in (ProbeAnswer.TLS, ProbeAnswer.HTTP2, ProbeAnswer.HTTP1):
            return finding
        if finding.answer is ProbeAnswer.SILENT and not tls_first:
            # A TLS server ends such a conversation at once: asking again would only take time.
            return finding
        findings.append(finding)
    for finding in findings:
        if finding.answer is ProbeAnswer.OTHER:
            return finding
    return findings[-1] if ProbeAnswer.SILENT is not findings[0].answer else findings[0]


def address_answers(address: Address) -> None:
    """Raise OSError unless a connection can be made, the name's resolution in time included."""
    outcome: list[OSError | None] = []

    def attempt() -> None:
        try:
            address.connect(STEP).close()
            outcome.append(None)
        except OSError as error:
            outcome.append(error)

    # getaddrinfo has no timeout of its own.
    thread = threading.Thread(target=attempt, name="flowwatch-probe", daemon=True)
    thread.start()
    thread.join(2 * STEP)
    if not outcome:
        raise TimeoutError(f"no answer within {2 * STEP:.0f} s")
    if outcome[0] is not None:
        raise outcome[0]


def _plain(address: Address, _server_name: str) -> Probed:
    try:
        with address.connect(STEP) as sock:
            sock.sendall(_PREFACE)
            head = _read(sock, 9)
    except TimeoutError:
        return Probed(ProbeAnswer.SILENT)
    except OSError:
        return Probed(ProbeAnswer.CLOSES)
    if not head:
        return Probed(ProbeAnswer.CLOSES)
    # Some answer a version that they don't know without a status line, with their page alone.
    if head.startswith((b"HTTP/1", b"<!DOCTYP", b"<html", b"<HTML")):
        return Probed(ProbeAnswer.HTTP1)
    if len(head) == 9 and head[3] == _SETTINGS:
        return Probed(ProbeAnswer.HTTP2)
    # A TLS alert (21) or handshake (22) record: the other conversation will find more.
    return Probed(ProbeAnswer.CLOSES if head[0] in (21, 22) else ProbeAnswer.OTHER)


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            break
        data += part
    return data


def _tls(address: Address, server_name: str) -> Probed:
    context = _context()
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            address.connect(STEP) as sock,
            context.wrap_socket(sock, server_hostname=server_name or address.host or None) as tls,
        ):
            der = tls.getpeercert(binary_form=True) or b""
            http2 = tls.selected_alpn_protocol() == "h2"
            wants = refuses_client(tls)
    except TimeoutError:
        return Probed(ProbeAnswer.SILENT)
    except ssl.SSLError as error:
        # An alert is a word of TLS: the server speaks it, but not the way we do.
        answer = ProbeAnswer.TLS if "ALERT" in (error.reason or "") else ProbeAnswer.CLOSES
        return Probed(answer)
    except (OSError, ValueError):
        return Probed(ProbeAnswer.CLOSES)
    certificate = _describe(address, ssl.DER_cert_to_PEM_cert(der), server_name) if der else None
    return Probed(ProbeAnswer.TLS, certificate=certificate, http2=http2, wants_certificate=wants)


def refuses_client(tls: ssl.SSLSocket) -> bool:
    """Whether the server wants a client's certificate, or another one.

    With TLS 1.3 it refuses only after the client's last word. Sends HTTP/2's first bytes.
    """
    tls.settimeout(STEP / 3)
    try:
        tls.sendall(_PREFACE)
        tls.recv(9)
    except TimeoutError:
        return False
    except ssl.SSLError as error:
        return "CERTIFICATE_REQUIRED" in (error.reason or "") or "BAD_CERTIFICATE" in (
            error.reason or ""
        )
    except OSError:
        return False
    return False


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    return context


def _describe(address: Address, pem: str, server_name: str) -> Certificate:
    """Read the certificate by trusting nothing but itself, at whatever time.

    Python shows the contents of verified certificates only. Needs a second handshake; when that
    fails (the server may have several certificates), names and dates stay empty.
    """
    context = _context()
    fields: dict[str, object] = {}
    with contextlib.suppress(OSError, ValueError):
        context.load_verify_locations(cadata=pem)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
        with (
            address.connect(STEP) as sock,
            context.wrap_socket(sock, server_hostname=server_name or address.host or None) as tls,
        ):
            fields = dict(tls.getpeercert() or {})
    names = [str(value) for kind, value in _pairs(fields.get("subjectAltName")) if kind in _NAMES]
    issuer = {kind: value for group in _groups(fields.get("issuer")) for kind, value in group}
    return Certificate(
        pem=pem,
        names=tuple(names),
        issuer=issuer.get("commonName", "") or issuer.get("organizationName", ""),
        not_before=_time(fields.get("notBefore")),
        not_after=_time(fields.get("notAfter")),
    )


_NAMES = ("DNS", "IP Address")


def _pairs(value: object) -> list[tuple[str, str]]:
    return [(str(p[0]), str(p[1])) for p in value] if isinstance(value, tuple) else []


def _groups(value: object) -> list[list[tuple[str, str]]]:
    return [_pairs(group) for group in value] if isinstance(value, tuple) else []


def _time(value: object) -> float:
    return ssl.cert_time_to_seconds(value) if isinstance(value, str) else 0.0


def certificate(address: Address, server_name: str, timeout: float) -> Certificate | None:
    """The certificate that a TLS server at ``address`` shows, verified by nobody.

    Raises OSError when there is no connection; None when the server speaks no TLS.
    """
    context = _context()
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            address.connect(timeout) as sock,
            context.wrap_socket(sock, server_hostname=server_name or address.host or None) as tls,
        ):
            der = tls.getpeercert(binary_form=True) or b""
    except ssl.SSLError:
        return None
    return _describe(address, ssl.DER_cert_to_PEM_cert(der), server_name) if der else None
