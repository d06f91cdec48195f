"""The path of a request URI, as Go's url.ParseRequestURI reads it (Go 1.26)."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from flowwatch.hubble.filters.match.addresses import parse_address

_CONTROL = re.compile("[\x00-\x1f\x7f]")
_SCHEME = re.compile(r"([A-Za-z][-+.0-9A-Za-z]*)?:")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PORT = re.compile("(?::[0-9]*)?")
_USER = re.compile(r"[-A-Za-z0-9._:~!$&'()*+,;=%@]*")
# In a host: these, anything that isn't ASCII, and escapes of what isn't ASCII.
_HOST = re.compile(
    r"(?:[-A-Za-z0-9._~!\"$&'()*+,:;<=>\[\]]|[^\x00-\x7f]|%[89A-Fa-f][0-9A-Fa-f]|%25)*"
)


def request_path(uri: str) -> str | None:
    """The decoded path, "" for an opaque URI; None where Go refuses the URI.

    Bytes that aren't UTF-8 become U+FFFD, one each, as a Go regular expression sees them.
    """
    if not uri or _CONTROL.search(uri):
        return None
    if uri == "*":
        return "*"
    scheme, rest = "", uri
    if found := _SCHEME.match(uri):
        scheme, rest = (found[1] or "").lower(), uri[found.end() :]
        if not scheme:
            return None
    # A request has no fragment: # is part of the path.
    rest = rest.partition("?")[0]
    if not rest.startswith("/"):
        return "" if scheme else None
    if scheme and rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        if not _authority(scheme, authority):
            return None
        rest = slash + path
    if _BAD_ESCAPE.search(rest):
        return None
    decoded = unquote_to_bytes(rest).decode("utf-8", "surrogateescape")
    return re.sub("[\udc80-\udcff]", "\ufffd", decoded)


def _authority(scheme: str, text: str) -> bool:
    user, at, host = text.rpartition("@")
    if at and (not _USER.fullmatch(user) or _BAD_ESCAPE.search(user)):
        return False
    if host.startswith("["):
        inside, bracket, port = host[1:].rpartition("]")
        return bool(bracket) and bool(_PORT.fullmatch(port)) and _ipv6(inside)
    if "[" in host:
        return False
    if ":" in host:
        # Only http and https mind a second colon.
        strict = scheme in ("http", "https")
        at_colon = host.index(":") if strict else host.rindex(":")
        if not _PORT.fullmatch(host[at_colon:]):
            return False
    return bool(_HOST.fullmatch(host))


def _ipv6(text: str) -> bool:
    host, zone_mark, zone = text.partition("%25")
    if not _HOST.fullmatch(host) or _BAD_ESCAPE.search(zone):
        return False
    try:
        decoded = unquote_to_bytes(host).decode("utf-8", "replace")
        return parse_address(decoded + ("%" + zone if zone_mark else "")).bits == 128
    except ValueError:
        return False
