"""TLS with a server, looked at closely: which certificate of its chain fails, and why.

Two handshakes with Python's ssl: one that trusts anybody, to see what is shown, and one that
verifies as gRPC will. Where both do, the days that are left are told.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from dataclasses import dataclass
from typing import Any

from flowwatch.errors import FlowwatchError, Refused
from flowwatch.hubble.client import faults, probe, tls
from flowwatch.hubble.client.address import Address
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.client.probe import ProbeAnswer
from flowwatch.hubble.kube.material import load_pair, pem_text
from flowwatch.text import plural, safe

SOON = 14
"""Days: a certificate that ends before is worth a warning. Cilium's own last a year and are
renewed every four months (helm chart, hubble.tls.auto)."""

_DAY = 86_400.0
_PATH = "/grpc.health.v1.Health/Check"

# OpenSSL's X509_V_ERR_… (x509_vfy.h), which Python has no names for.
_NOT_YET, _EXPIRED, _SIGNATURE = 9, 10, 7
_NAME, _ADDRESS = 62, 64


@dataclass(frozen=True, slots=True)
class Told:
    """What was found when nothing failed."""

    what: str
    next: str = ""
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class _Certificate:
    subject: str
    issuer: str
    not_before: float
    """Unix time, as ``not_after``."""
    not_after: float

    def days_left(self, now: float) -> int:
        return int((self.not_after - now) // _DAY)


def examine(settings: Settings) -> Told:
    """Whether the server speaks (or doesn't) TLS as ``settings`` ask for.

    Raises UsageError for files that don't do, ServerError with the cause for everything else.
    """
    address = settings.address
    tls.check(settings)
    if not settings.encrypted:
        return _plain(settings, address)
    chain, protocol = _shown(settings, address)
    now = time.time()
    days = [one for one in chain if one.not_after]
    soonest = min(days, key=lambda one: one.not_after) if days else None
    if settings.tls_allow_insecure:
        _dates(chain, address, now, " (--tls-allow-insecure can't skip the dates)")
        return Told(
            f"{protocol}, and nobody vouches for the server (--tls-allow-insecure)",
            "give --tls-ca-cert-files and leave out --tls-allow-insecure",
            True,
        )
    _verify(settings, address, chain, now)
    what = f"{protocol}, verified for {_wanted(settings, address)}"
    if soonest is None:
        return Told(what)
    left = soonest.days_left(now)
    what += f"; certificate {safe(soonest.subject)} is valid for {_days(left)} more"
    if left < SOON:
        return Told(what, "see that it is renewed (hubble.tls.auto, or cert-manager)", True)
    return Told(what)


def _days(number: int) -> str:
    return "less than a day" if number < 1 else plural(number, "day")


def _plain(settings: Settings, address: Address) -> Told:
    found = probe.look(address, tls_first=False, server_name=settings.tls_server_name)
    if found.answer is not ProbeAnswer.HTTP2:
        raise _explained(settings, address, "")
    if address.is_loopback:
        return Told("none asked for, and the server speaks HTTP/2 without")
    return Told(
        "none: what flows is readable on the way",
        "relay can speak TLS (hubble.relay.tls.server.enabled)",
        True,
    )


def _explained(settings: Settings, address: Address, words: str) -> FlowwatchError:
    """The cause as every verb tells it."""
    return faults.explain_status(
        "UNAVAILABLE", words, settings, address, _PATH, reached=False
    ).error


def _wanted(settings: Settings, address: Address) -> str:
    # Go, and so flowwatch.hubble.client.tls, takes "localhost" for a unix socket.
    return settings.tls_server_name or address.host or "localhost"


def _client_context(settings: Settings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    if settings.tls_client_cert_file:
        # Says first, in its own words, what is wrong with the pair.
        key, chain = tls.client_pair(settings.tls_client_cert_file, settings.tls_client_key_file)
        load_pair(context, chain or b"", key or b"")
    return context


def _shown(settings: Settings, address: Address) -> tuple[list[_Certificate], str]:
    """The chain as the server shows it, its own first, and TLS's version; nothing is verified."""
    context = _client_context(settings)
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            address.connect(settings.connect_timeout) as sock,
            context.wrap_socket(sock, server_hostname=_wanted(settings, address)) as secured,
        ):
            protocol = (secured.version() or "TLS").replace("TLSv", "TLS ")
            if secured.selected_alpn_protocol() != "h2":
                raise Refused(
                    f"{address.text} speaks {protocol}, but not HTTP/2 over it",
                    "is it a Hubble observer or relay? --server says where one is",
                )
            return _chain(secured), protocol
    except OSError as error:
        raise _explained(settings, address, str(error)) from None


def _chain(secured: ssl.SSLSocket) -> list[_Certificate]:
    """The certificates that came, or none where this Python can't tell."""
    # Public from Python 3.13 on, there as DER only; the parsed one is the same in all versions.
    with contextlib.suppress(AttributeError, ValueError, KeyError):
        inner: Any = secured._sslobj  # type: ignore[attr-defined]
        return [_read(one.get_info()) for one in inner.get_unverified_chain() or ()]
    return []


def _read(info: Any) -> _Certificate:
    def name(of: str) -> str:
        parts = {str(kind): str(value) for group in info.get(of, ()) for kind, value in group}
        return parts.get("commonName") or parts.get("organizationName") or "without a name"

    return _Certificate(
        name("subject"),
        name("issuer"),
        ssl.cert_time_to_seconds(info["notBefore"]),
        ssl.cert_time_to_seconds(info["notAfter"]),
    )


def _dates(chain: list[_Certificate], address: Address, now: float, more: str = "") -> None:
    """Raise Refused for the first certificate of ``chain`` that isn't valid now."""
    for at, one in enumerate(chain):
        which = "the server's certificate" if at == 0 else "a CA's certificate in the chain"
        hint = f"renew it, or check this machine's clock{more}"
        if now > one.not_after:
            raise Refused(
                f"{which} of {address.text} ({safe(one.subject)}) expired on "
                f"{_day(one.not_after)}, {_days(int((now - one.not_after) // _DAY))} ago",
                hint,
            )
        if now < one.not_before:
            raise Refused(
                f"{which} of {address.text} ({safe(one.subject)}) is valid from "
                f"{_day(one.not_before)} on only",
                hint,
            )


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _verify(settings: Settings, address: Address, chain: list[_Certificate], now: float) -> None:
    """Raise Refused when the certificates don't stand up, or the server wants one of ours."""
    context = _client_context(settings)
    context.check_hostname = True
    roots = _roots(settings)
    if roots is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=pem_text(roots))
    # As gRPC does: a certificate that is trusted itself needs no issuer.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    try:
        with (
            address.connect(settings.connect_timeout) as sock,
            context.wrap_socket(sock, server_hostname=_wanted(settings, address)) as secured,
        ):
            _client_wanted(settings, address, secured)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (_NOT_YET, _EXPIRED):
            _dates(chain, address, now)
        if error.verify_code in (_NAME, _ADDRESS):
            raise _explained(settings, address, "Hostname Verification Check failed") from None
        raise _not_vouched(settings, address, chain, error) from None
    except OSError as error:
        raise _explained(settings, address, str(error)) from None


def _roots(settings: Settings) -> bytes | None:
    if settings.tls_material is not None and not settings.tls_ca_cert_files:
        return settings.tls_material.ca
    return tls.authorities(settings.tls_ca_cert_files)


def _not_vouched(
    settings: Settings,
    address: Address,
    chain: list[_Certificate],
    error: ssl.SSLCertVerificationError,
) -> FlowwatchError:
    files = ", ".join(safe(path) for path in settings.tls_ca_cert_files)
    if not files:
        files = "the cluster's secret" if settings.tls_material else "this system's CAs"
    secret = f"ca.crt in the secret {faults.SECRET}"
    hint = f"give --tls-ca-cert-files with the CA that issued it ({secret})"
    if error.verify_code in (_NOT_YET, _EXPIRED):
        return Refused(f"a CA's certificate in {files} is not valid now", hint)
    if not chain:
        return Refused(
            f"the certificate of {address.text} is not vouched for by {files}: "
            f"{safe(error.verify_message)}",
            hint,
        )
    top = chain[-1]
    which = "the server's certificate" if len(chain) == 1 else "the last certificate of the chain"
    return Refused(
        f"{which} of {address.text} ({safe(top.subject)}) is issued by {safe(top.issuer)}, which "
        f"is not vouched for by {files}: {safe(error.verify_message)}",
        hint,
    )


def _client_wanted(settings: Settings, address: Address, secured: ssl.SSLSocket) -> None:
    """With TLS 1.3 a server says only after the handshake that it takes no stranger."""
    if settings.tls_material is not None and settings.tls_material.certificate:
        # Its key is in memory only, and ssl reads keys from files: gRPC's own attempt will tell.
        return
    if probe.refuses_client(secured):
        raise _explained(settings, address, "")
