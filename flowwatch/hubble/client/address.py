"""Where a Hubble server is: what ``--server`` may say, and what gRPC is given for it.

    localhost:4245   10.0.0.7:4245   [fd00::1]:4245   :4245 (this host)   relay.example (port 443)
    unix:///var/run/cilium/hubble.sock   unix:relative.sock
    tls://host:port (the same, and TLS)   dns:///host:port   passthrough:///host:port

The forms and the words of the errors are those of the hubble CLI 1.20.2, which hands the text to
grpc-go (google.golang.org/grpc, internal/resolver/dns and internal/resolver/unix).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from flowwatch import redact
from flowwatch.errors import UsageError
from flowwatch.gotext import is_loopback
from flowwatch.text import safe

if TYPE_CHECKING:
    import ipaddress
    import socket

DEFAULT_SERVER = "localhost:4245"
# grpc-go's port for a target without one.
_NO_PORT = 443
_TLS = "tls://"
_NAME_SCHEMES = ("dns:///", "passthrough:///")


class Address(msgspec.Struct, frozen=True):
    """A server's address, taken apart. Either ``path`` is set, or ``host`` and ``port``."""

    text: str
    """As it was written, without ``tls://``; safe to print."""
    tls: bool = False
    """``tls://`` stood before it."""
    host: str = ""
    """A name or an address, IPv6 without brackets."""
    port: int = 0
    path: str = ""
    """Of a unix socket."""

    @property
    def target(self) -> str:
        """The same for grpcio (https://grpc.github.io/grpc/core/md_doc_naming.html)."""
        from urllib.parse import quote

        if self.path:
            return f"unix:{quote(self.path)}"
        address = _ip(self.host)
        if address is None:
            return f"dns:///{self.host}:{self.port}"
        if address.version == 4:
            return f"ipv4:{self.host}:{self.port}"
        return f"ipv6:[{quote(self.host, safe=':')}]:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """A proxy must never stand between: a unix socket, ``localhost``, 127.0.0.0/8, ``::1``."""
        return bool(self.path) or is_loopback(self.host)

    @property
    def is_ip(self) -> bool:
        return not self.path and _ip(self.host) is not None

    def connect(self, timeout: float) -> socket.socket:
        """A plain socket to it, each step within ``timeout`` seconds. Raises OSError."""
        import socket

        if self.path:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            try:
                sock.connect(self.path)
            except OSError:
                sock.close()
                raise
            return sock
        try:
            return socket.create_connection((self.host, self.port), timeout)
        except UnicodeError:
            raise OSError(0, "this can't be a host's name") from None


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    import ipaddress

    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def parse(text: str) -> Address:
    """The address that ``text`` (of ``--server``) means; UsageError when it means none."""
    bare = text.removeprefix(_TLS)
    tls = bare != text
    if "@" in bare and not bare.startswith("unix:"):
        raise _bad(redact.address(bare), "invalid host: no user part (before @) can stand in it")
    if bare.startswith("unix:"):
        return Address(safe(bare), tls, path=_unix_path(bare))
    endpoint = bare
    for scheme in _NAME_SCHEMES:
        endpoint = endpoint.removeprefix(scheme)
    host, port = _split(endpoint)
    if any(c.isspace() or c in "/?#@" or not c.isprintable() for c in host):
        raise _bad(endpoint, f"address {safe(endpoint)}: invalid host")
    return Address(safe(bare), tls, host or "localhost", _port(endpoint, port))


def _bad(endpoint: str, why: str) -> UsageError:
    return UsageError(
        f'invalid target address "{safe(endpoint)}": {why}',
        "--server takes host:port, tls://host:port or unix:///path",
    )


def _unix_path(text: str) -> str:
    rest = text.removeprefix("unix:")
    if rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        if authority:
            raise _bad(text, f"invalid (non-empty) authority: {safe(authority)}")
        rest = slash + path
    if rest in ("", "/") or "\0" in rest:
        raise _bad(text, "missing path of the unix socket")
    return rest


def _split(endpoint: str) -> tuple[str, str]:
    """Host and port as Go's net.SplitHostPort, after grpc-go's rule for a missing port."""
    if not endpoint:
        raise _bad(endpoint, "missing address")
    address = _ip(endpoint)
    if address is not None:
        return endpoint, str(_NO_PORT)
    if endpoint.startswith("["):
        host, bracket, rest = endpoint[1:].partition("]")
        if not bracket:
            raise _bad(endpoint, f"address {safe(endpoint)}:{_NO_PORT}: missing ']' in address")
        if not rest:
            return host, str(_NO_PORT)
        if not rest.startswith(":"):
            raise _bad(endpoint, f"address {safe(endpoint)}: missing port in address")
        port = rest[1:]
    else:
        host, colon, port = endpoint.partition(":")
        if not colon:
            return host, str(_NO_PORT)
    if ":" in port:
        raise _bad(endpoint, f"address {safe(endpoint)}:{_NO_PORT}: too many colons in address")
    if not port:
        raise _bad(endpoint, "missing port after port-separator colon")
    return host, port


def _port(endpoint: str, text: str) -> int:
    if text.isascii() and text.isdigit():
        number = int(text) if len(text) < 6 else 1 << 16
        if not 0 < number < 1 << 16:
            raise _bad(endpoint, f"address {safe(text)}: invalid port")
        return number
    import socket

    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, ValueError):
        raise _bad(endpoint, f"lookup tcp/{safe(text)}: unknown port") from None
