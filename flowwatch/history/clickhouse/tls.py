"""TLS to a ClickHouse server: the files that a URL names, and what can go wrong, in words for a user."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from flowwatch.errors import UsageError
from flowwatch.text import safe

FILES = ("ca_cert", "client_cert", "client_cert_key")
"""Options that name one, in PEM."""
_EXPIRED, _NOT_YET = 10, 9
_OTHER_NAME = (62, 64)
# OpenSSL's X509_V_ERR_…: of dates, of a name or an address.


def check_files(options: Mapping[str, Any]) -> None:
    """UsageError for files that can't be used: before anybody is asked, and without asking for a password."""
    given = [name for name in FILES if name in options]
    if given and not options.get("secure"):
        raise UsageError(f"{given[0]} is of TLS, and this URL asks for none", "add secure=1")
    for name in given:
        try:
            with open(options[name], "rb"):
                pass
        except OSError as error:
            raise UsageError(
                f"cannot read {name}: {error.strerror}", safe(str(options[name]))
            ) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if "ca_cert" in options:
        try:
            context.load_verify_locations(options["ca_cert"])
        except ssl.SSLError:
            raise UsageError(
                "ca_cert holds no certificate in PEM", safe(str(options["ca_cert"]))
            ) from None
    if "client_cert_key" in options and "client_cert" not in options:
        raise UsageError("client_cert_key is the key of client_cert", "name both")
    if "client_cert" in options:
        _check_pair(context, options["client_cert"], options.get("client_cert_key"))


def _check_pair(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    try:
        # A locked key would have OpenSSL ask for its password on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError):
        raise UsageError(
            "client_cert and client_cert_key are no certificate and its key, in PEM and not locked",
            safe(f"{certificate}, {key or 'no key is named'}"),
        ) from None


def trouble(error: BaseException, host: str, options: Mapping[str, Any]) -> str:
    """What is wrong with TLS, and what to do; "" where ``error`` tells of something else."""
    found = next(_of_tls(error), None)
    if isinstance(found, ssl.SSLCertVerificationError):
        return _untrusted(found, host)
    if found is None:
        return ""
    said = str(found)
    if "WRONG_VERSION_NUMBER" in said or "HTTP_REQUEST" in said:
        return "no TLS is spoken at this port: name that of HTTPS, or leave out secure=1"
    if "ALERT" in said or isinstance(found, ssl.SSLEOFError):
        if options.get("client_cert"):
            return "it ends TLS, as if it doesn't take this client certificate: name one of a CA it trusts"
        return "it ends TLS, as if it wants a client certificate: add client_cert=FILE&client_cert_key=FILE"
    return f"TLS with it fails ({safe(said)})"


def _untrusted(error: ssl.SSLCertVerificationError, host: str) -> str:
    if error.verify_code == _EXPIRED:
        return "its certificate has expired: renew it, or check this machine's clock"
    if error.verify_code == _NOT_YET:
        return "its certificate is not valid yet: check both clocks"
    if error.verify_code in _OTHER_NAME:
        return f"its certificate is not for {safe(host)}: ask for it by a name that stands there"
    why = safe(error.verify_message)
    return (
        f"its certificate is not vouched for by a CA that is known here ({why}): add ca_cert=FILE"
    )


def _of_tls(error: BaseException | None) -> Iterator[ssl.SSLError]:
    """Those of TLS among what led to ``error``; urllib3 keeps them as arguments."""
    while error is not None:
        for one in (error, *error.args):
            if isinstance(one, ssl.SSLError):
                yield one
        error = error.__cause__ or error.__context__
