"""Why talking to a server failed, in one line that says what to do.

gRPC's own words are about sockets and channels. When a connection could not be made at all,
:mod:`flowwatch.hubble.client.probe` has one look at what answers there; status codes are told apart by
whether trying again makes sense (:class:`Unreachable`) or not (:class:`Refused`).
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any

import msgspec

from flowwatch.errors import Refused, ServerError, Unreachable
from flowwatch.hubble.client.address import Address
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.wire.refusals import way_out
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.hubble.client.probe import Certificate, Probed

SECRET = "hubble-relay-server-certs"
"""The secret in the cluster that holds relay's CA (Cilium 1.20, helm chart)."""
WORDS = 500
"""Characters of what a server says about an error: it may send 16 KiB of them."""


class Failure(msgspec.Struct, frozen=True):
    error: ServerError
    answered: bool
    """Whether a server of gRPC's kind said so itself."""


def closed(address: Address) -> Unreachable:
    """The connection was closed by ourselves while a call was under way."""
    return Unreachable(f"the connection to {_at(address)} was closed")


def no_connection(settings: Settings, address: Address, error: OSError) -> Unreachable:
    """``error`` while connecting with a plain socket."""
    words = safe(error.strerror or str(error) or type(error).__name__)
    return Unreachable(
        f"cannot connect to {_at(address)}: {words[:1].lower()}{words[1:]}",
        _start(settings, address),
    )


# Codes of google.rpc.Code that mean "the request, or who asks, is wrong": a retry changes nothing.
_HINTS = {
    "INVALID_ARGUMENT": "",
    "UNKNOWN": "",
    "NOT_FOUND": "",
    "FAILED_PRECONDITION": "",
    "OUT_OF_RANGE": "",
    "UNAUTHENTICATED": "give --basic-auth-username and --basic-auth-password, or a client certificate",
    "PERMISSION_DENIED": "this user may not; ask who runs the cluster",
    "RESOURCE_EXHAUSTED": "a message is larger than the limit, or the server is out of something",
}
_NOT_HUBBLE = "is it a Hubble observer or relay? --server says where one is"


def explain(
    error: Any, settings: Settings, address: Address, path: str, *, reached: bool
) -> Failure:
    """The failure behind a ``grpc.RpcError`` of a call of ``path``.

    ``reached`` says that a server had answered on this connection before. May take a few seconds
    when nothing had: then it looks at what is at the address.
    """
    return explain_status(
        error.code().name, str(error.details() or ""), settings, address, path, reached=reached
    )


def explain_status(
    code: str, details: str, settings: Settings, address: Address, path: str, *, reached: bool
) -> Failure:
    """As :func:`explain`, for the code's name and the server's text."""
    at, words = _at(address), safe(details[:WORDS]) + "…" * (len(details) > WORDS)
    status = _web_status(words)
    if status and code == "UNAVAILABLE":
        return Failure(
            Unreachable(f"{at} is not ready: a proxy before it answers with HTTP status {status}"),
            False,
        )
    if status and code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        words = f"a proxy before it answers with HTTP status {status}"
    elif _came_from_web(words):
        return Failure(Refused(f"{at} does not speak Hubble's protocol", _NOT_HUBBLE), False)
    if code == "UNIMPLEMENTED":
        method = path.rpartition("/")[2]
        if method == "Check":
            return Failure(
                Refused(f"{at} is not a Hubble server: it has no health service", _NOT_HUBBLE), True
            )
        if method == "GetFlows":
            return Failure(
                Refused(f"{at} is not a Hubble server: it knows no {method}", _NOT_HUBBLE), True
            )
        return Failure(Refused(f"{at} knows no {method}", _WHO_KNOWS.get(method, "")), True)
    if code == "UNKNOWN":
        # The server's own words about our request; hubble prints them bare too.
        return Failure(Refused(words or f"{at} failed without a word", way_out(words)), True)
    if code in _HINTS:
        return Failure(
            Refused(f"{at} refused: {words or code}", _HINTS[code] or way_out(words)), True
        )
    if code == "DEADLINE_EXCEEDED" and reached:
        return Failure(_too_late(settings, address), False)
    if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED") and not reached:
        return Failure(_unreachable(settings, address, code, words), False)
    if code == "UNAVAILABLE" and "too_many_pings" in words:
        return Failure(Unreachable(f"{at} ended the connection: too many pings"), True)
    lost = words or code
    return Failure(Unreachable(f"the connection to {at} was lost: {lost}"), code != "UNAVAILABLE")


_WHO_KNOWS = {
    "GetNodes": "only relay does; this is a single node's observer",
    "GetNamespaces": "its Hubble is older than 1.14",
}


# What gRPC calls a status of HTTP other than 200.
_WEB_STATUS = re.compile(r"received http2 header with status: (\d{3})", re.IGNORECASE)


def _web_status(words: str) -> str:
    found = _WEB_STATUS.search(words)
    return found[1] if found else ""


def _came_from_web(words: str) -> bool:
    """gRPC makes a status of its own from a web server's answer."""
    return bool(_web_status(words)) or "content-type" in words.lower()


def _too_late(settings: Settings, address: Address) -> Unreachable:
    return Unreachable(
        f"{_at(address)} did not answer within {settings.request_timeout:g} s",
        "--request-timeout waits longer",
    )


def _unreachable(settings: Settings, address: Address, code: str, words: str) -> ServerError:
    # Only now: ssl takes 10 ms to load.
    from flowwatch.hubble.client.probe import ProbeAnswer, look

    found = look(address, tls_first=settings.encrypted, server_name=settings.tls_server_name)
    at = _at(address)
    if found.answer is ProbeAnswer.UNREACHABLE:
        why = safe(found.why) or "no answer"
        return Unreachable(
            f"cannot connect to {at}: {why[:1].lower()}{why[1:]}", _start(settings, address)
        )
    if found.answer is ProbeAnswer.SILENT:
        return Unreachable(
            f"{at} accepts the connection and says nothing", "is it a Hubble server?"
        )
    if found.answer is ProbeAnswer.HTTP1:
        return Refused(f"{at} is a web server (HTTP/1), not Hubble", _NOT_HUBBLE)
    if found.answer is ProbeAnswer.OTHER:
        return Refused(f"{at} speaks another protocol, not Hubble's", _NOT_HUBBLE)
    if found.answer is ProbeAnswer.CLOSES:
        return Unreachable(f"{at} accepts the connection and closes it", "is it a Hubble server?")
    if found.answer is ProbeAnswer.TLS and not settings.encrypted:
        return Refused(
            f"{at} speaks TLS",
            "add --tls-from-secret, which takes the certificates from the cluster"
            if settings.forwarded
            else f"add --tls{_name_flag(found.certificate, address.host)}, and the CA with "
            f"--tls-ca-cert-files (ca.crt in the secret {SECRET})",
        )
    if found.answer is ProbeAnswer.HTTP2 and settings.encrypted:
        return Refused(f"{at} does not speak TLS", "leave out --tls and tls://")
    if code == "DEADLINE_EXCEEDED":
        return _too_late(settings, address)
    if found.answer is ProbeAnswer.TLS:
        return _tls(settings, address, found, words)
    return Unreachable(f"{at} is not ready: {words or 'no answer'}")


def _tls(settings: Settings, address: Address, found: Probed, words: str) -> ServerError:
    """Both sides speak TLS, and one of them gave up. ``words`` are grpcio 1.85's, or Python's ssl's."""
    at, shown = _at(address), found.certificate
    wanted = settings.tls_server_name or address.host
    refused_by_us = "CERTIFICATE_VERIFY_FAILED" in words
    problem = _date_problem(shown) if shown and refused_by_us else ""
    if problem:
        still = (
            " (--tls-allow-insecure can't skip the dates)" if settings.tls_allow_insecure else ""
        )
        return Refused(
            f"the certificate of {at} {problem}", f"renew it, or check this machine's clock{still}"
        )
    if shown and any(said in words for said in _WRONG_NAME):
        names = ", ".join(safe(name) for name in shown.names[:5]) or "no name at all"
        return Refused(
            f"the certificate of {at} is for {names}, not for {safe(wanted)}",
            f"give --tls-server-name {_example(shown.names)}",
        )
    if refused_by_us:
        issuer = f" (issued by {safe(shown.issuer)})" if shown and shown.issuer else ""
        return Refused(
            f"the certificate of {at} is not vouched for by the CA{issuer}",
            f"give --tls-ca-cert-files (ca.crt in the secret {SECRET})"
            + _name_flag(shown, wanted, " and"),
        )
    if found.wants_certificate and settings.tls_client_cert_file:
        return Refused(
            f"{at} does not take this client certificate",
            "give --tls-client-cert-file and --tls-client-key-file of a CA that it trusts",
        )
    if found.wants_certificate:
        return Refused(
            f"{at} wants a client certificate",
            "give --tls-client-cert-file and --tls-client-key-file"
            if settings.tls_material is None
            else "secret hubble-ui-client-certs, which has one, is not there or may not be read: "
            "give --tls-client-cert-file and --tls-client-key-file",
        )
    if not found.http2:
        return Refused(f"{at} speaks TLS, but not Hubble's protocol", _NOT_HUBBLE)
    return Unreachable(f"TLS with {at} failed: {words}")


_WRONG_NAME = ("Hostname Verification", "Hostname mismatch", "IP address mismatch")
"""grpcio's words, and ssl's, which stand behind CERTIFICATE_VERIFY_FAILED too."""


def _name_flag(shown: Certificate | None, wanted: str, before: str = "") -> str:
    """The flag that is missing when the certificate ``shown`` isn't for ``wanted``."""
    if shown is None or not shown.names or _covers(shown.names, wanted):
        return ""
    return f"{before} --tls-server-name {_example(shown.names)}"


def _date_problem(shown: Certificate, now: float | None = None) -> str:
    now = time.time() if now is None else now
    if shown.not_after and now > shown.not_after:
        return f"expired on {time.strftime('%Y-%m-%d', time.gmtime(shown.not_after))}"
    if shown.not_before and now < shown.not_before:
        return f"is valid from {time.strftime('%Y-%m-%d', time.gmtime(shown.not_before))} only"
    return ""


def _covers(names: tuple[str, ...], wanted: str) -> bool:
    """Whether a certificate for ``names`` is one for ``wanted``; a wildcard is one label."""
    wanted = wanted.lower()
    for name in (name.lower() for name in names):
        if name == wanted:
            return True
        if name.startswith("*.") and wanted.partition(".")[2] == name[2:]:
            return True
    return False


def _example(names: tuple[str, ...]) -> str:
    if not names:
        return "NAME"
    return safe("instance." + names[0][2:] if names[0].startswith("*.") else names[0])


def _at(address: Address) -> str:
    return address.text


# Those that gRPC heeds (grpc, doc/environment_variables.md), as h2 does.
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")


def proxy_variable() -> str:
    """The variable that names a proxy, or "". Only its name: the value may hold a password."""
    return next((name for name in _PROXIES if os.environ.get(name)), "")


def _start(settings: Settings, address: Address) -> str:
    if settings.origin("server").kind == "default":
        return (
            "give --server, or reach relay with "
            "kubectl -n kube-system port-forward service/hubble-relay 4245:80"
        )
    proxy = proxy_variable()
    through = f" and {proxy}, which is used" if proxy and not address.is_loopback else ""
    return f"check {settings.origin('server')}{through}"
