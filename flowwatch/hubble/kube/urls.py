"""URLs that a person wrote into a kubeconfig: taken apart, or refused with what was expected."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from flowwatch.gotext import is_address

_MOST_NAME = 253
"""Characters of a DNS name (RFC 1035), and less than SOCKS5 can carry (255)."""
_MOST_USER = 255
"""Bytes of a user's name and password each (RFC 1929)."""


@dataclass(frozen=True, slots=True)
class Url:
    """One of the schemes that were allowed, with a host."""

    bare: str
    """Without the user part; safe to show when it is made so."""
    scheme: str
    host: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def parse(text: str, schemes: tuple[str, ...]) -> Url:
    """``text`` taken apart. ValueError says what is wrong with it, without a word of it."""
    if any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError("no space or control character can stand in it")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"it is no URL (as {schemes[0]}://host:port, port 1 to 65535)") from None
    if parts.scheme not in schemes:
        raise ValueError(f"it must begin with {' or '.join(f'{one}://' for one in schemes)}")
    if not host:
        raise ValueError("it names no host")
    if port == 0:
        raise ValueError("no server has port 0")
    if parts.query or parts.fragment:
        raise ValueError("it must end with its path: ? and # can't stand in it")
    check_name(host)
    before, at, place = parts.netloc.rpartition("@")
    user, _, password = before.partition(":") if at else ("", "", "")
    user, password = unquote(user), unquote(password)
    if max(len(user.encode()), len(password.encode())) > _MOST_USER:
        raise ValueError(f"its user part is longer than {_MOST_USER} bytes")
    bare = f"{parts.scheme}://{place}{parts.path}"
    return Url(bare, parts.scheme, host, user, password)


def check_name(host: str) -> None:
    """ValueError for what is neither an address nor a name that a certificate or DNS can hold."""
    if is_address(host):
        return
    try:
        encoded = host.encode("idna").decode()
    except UnicodeError:
        encoded = ""
    odd = any(not char.isprintable() or char in ' /?#@\\:[]<>"^`{|}%' for char in encoded)
    if not encoded or odd or len(encoded) > _MOST_NAME or encoded.startswith("."):
        raise ValueError("its host is neither a name nor an address")
