"""What a record's URL says of an HTTP request: the host and the path that a proxy's rules look at.

An agent writes the URL with Go's net/url, from the raw parts (Cilium 1.20, pkg/envoy/accesslog.go ParseURL,
and Hubble's parser). What can't come from there, or could come from several requests, isn't guessed at.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

_URL = re.compile(
    r"(?:[A-Za-z][-+.A-Za-z0-9]*+:)?+//(?P<host>[^/?#]*+)(?P<path>/[^?#]*+)?+(?P<query>\?[^#]*+)?+"
    r"(?:#.*+)?+|(?P<bare>/(?!/)[^?#]*+(?:\?[^#]*+)?+)(?:#.*+)?+",
    re.DOTALL,
)
_USUAL = re.compile(r"[a-z]++://([-A-Za-z0-9.]++(?::[0-9]++)?+)(/[-A-Za-z0-9/._~?&=+,:;@!$*]*+)")
"""What nearly all are, read in one go."""
_NEVER = re.compile("[\0-\x20\x7f\ud800-\udfff]")
"""Go escapes these."""
_NAME = r"-A-Za-z0-9._~!$&'()*+,;=%"
_HOST = re.compile(
    rf"(?:[{_NAME}:]*+@)?+(?:\[[0-9A-Fa-f:.]++(?:%25[{_NAME}]++)?+\]|[{_NAME}]*+)(?::[0-9]*+)?+"
)
_REDACTED = "HUBBLE_REDACTED"
_SHOWN = 80


class Requested(NamedTuple):
    """Host and path of a request, each as the several things it may have been; a doubt where nobody knows."""

    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    """With the query."""
    no_host: str = ""
    no_path: str = ""


def requested(url: str) -> Requested:
    """Read the URL of a record; hostile ones too, and none raises."""
    return _read(url) if len(url) <= 1024 else _read.__wrapped__(url)


@lru_cache(maxsize=8192)
def _read(url: str) -> Requested:
    if usual := _USUAL.fullmatch(url):
        host, path = usual.groups()
        return Requested((host,), (path,))
    if not url:
        return _unknown("the record has no URL")
    found = None if _NEVER.search(url) else _URL.fullmatch(url)
    if found is None:
        return _unknown(f"the record's URL can't be read: {_short(url)}")
    bare = found["bare"]
    if bare is not None:
        return Requested(paths=_either(bare), no_host="the record's URL has no host")
    host, query = found["host"], found["query"] or ""
    if not _HOST.fullmatch(host) or not (host or found["path"]):
        return _unknown(f"the record's URL has a host that is none: {_short(url)}")
    paths = tuple(path + query for path in _either(found["path"] or "/"))
    if not host or _REDACTED in host:
        return Requested(paths=paths, no_host="the record's URL has no host, or not all of it")
    return Requested(_either(host), paths)


def _unknown(why: str) -> Requested:
    return Requested(no_host=why, no_path=why)


def _either(text: str) -> tuple[str, ...]:
    """What was sent: this text, or the one that Go escaped so."""
    if "%" not in text:
        return (text,)
    return tuple(dict.fromkeys((text, unquote(text, errors="replace"))))


def _short(url: str) -> str:
    return url if len(url) <= _SHOWN else f"{url[:_SHOWN]}…"
