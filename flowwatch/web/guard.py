"""Who may see the page. It acts as the user who started it: with his kubeconfig, on his files.

===============================  ===================================================================
another site, by a name that      its ``Host`` is neither an address nor a name of ours
leads here (DNS rebinding)
another site's script             its ``Origin`` isn't the page's own; browsers send it with each
                                  websocket (RFC 6455, 10.2)
another user of this machine      has no token
===============================  ===================================================================

The token stands in the address: a cookie would go to every port of the host.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from flowwatch.gotext import is_address


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status, with what to say of it in one line."""

    status: int
    text: str


class Guard:
    """Says of requests whether they are the user's own."""

    def __init__(self, token: str, names: Iterable[str] = ()) -> None:
        """``names``: of hosts by which the page may be asked for, beside addresses and this machine's."""
        self._token = token.encode()
        own = ("localhost", socket.gethostname())
        self._names = {name.lower().rstrip(".") for name in (*own, *names)}

    def refusal(self, headers: Mapping[str, str]) -> Refusal | None:
        """Why a request isn't answered at all: it came by another's name, or from another's page."""
        host = headers.get("Host", "")
        if not self._known(host):
            return Refusal(
                403, "this host name is not allowed: flowwatch web --host NAME allows it"
            )
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return Refusal(403, "this page belongs to another site")
        return None

    def knows(self, token: str) -> bool:
        """Whether ``token`` is the right one."""
        return secrets.compare_digest(token.encode("utf-8", "surrogatepass"), self._token)

    def _known(self, host: str) -> bool:
        # An address nobody can make lead elsewhere.
        name = host_name(host)
        return name.lower().rstrip(".") in self._names or is_address(name)


def host_name(host: str) -> str:
    """The name in ``name:port``, ``[::1]:port`` or ``name``; "" where there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(name: str) -> bool:
    """Whether only this machine reaches it."""
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)
