"""``clickhouse://[user[:password]@]host[:port]/database[?secure=1]``: where a server is, and who asks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from flowwatch.errors import UsageError
from flowwatch.history.clickhouse.tls import FILES, check_files
from flowwatch.redact import remember, user_part
from flowwatch.text import safe

SCHEME = "clickhouse://"
FORM = "as clickhouse://HOST/DATABASE, or clickhouse://HOST:8443/DATABASE?secure=1"
PORT, SECURE_PORT = 8123, 8443
"""Of the HTTP interface, by its own defaults."""
USER, PASSWORD, PASSWORD_FILE = "CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD", "CLICKHOUSE_PASSWORD_FILE"
"""Environment variables: the first two are those of clickhouse-client, the last that of its image."""
_SWITCHES = {"0": False, "1": True, "false": False, "true": True}
OPTIONS = ("secure", "verify", "compress", *FILES)
_LONGEST = 4096
"""Bytes of a password file."""


@dataclass(frozen=True, slots=True)
class Server:
    """What a URL says."""

    host: str
    port: int
    database: str
    user: str = "default"
    password: str = field(default="", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    """As clickhouse-connect calls them: ``secure``, ``verify`` …"""

    @property
    def name(self) -> str:
        """The URL without who asks, safe to print."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        secure = bool(self.options.get("secure"))
        port = "" if self.port == (SECURE_PORT if secure else PORT) else f":{self.port}"
        return safe(f"{SCHEME}{host}{port}/{self.database}{'?secure=1' if secure else ''}")


def server_of(url: str, environ: Mapping[str, str] = os.environ) -> Server:
    """The server. UsageError, whose line hides the password."""
    remember(*user_part(url))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _invalid(url, safe(str(error))) from None
    database = unquote(parts.path.strip("/"))
    if not parts.hostname or not database or "/" in database or parts.fragment:
        raise _invalid(url, FORM)
    options = _options(url, parts.query)
    check_files(options)
    return Server(
        parts.hostname,
        port or (SECURE_PORT if options.get("secure") else PORT),
        database,
        unquote(parts.username or "") or environ.get(USER, "") or "default",
        _password(parts.password, environ),
        options,
    )


def _invalid(url: str, hint: str) -> UsageError:
    return UsageError(f"invalid ClickHouse URL: {safe(url)}", hint)


def _options(url: str, query: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS:
            raise _invalid(url, f"no option {safe(name)}; there are {', '.join(OPTIONS)}")
        if name not in FILES and value.lower() not in _SWITCHES:
            raise _invalid(url, f"{name} is 0 or 1")
        given[name] = value if name in FILES else _SWITCHES[value.lower()]
    return given


def _password(given: str | None, environ: Mapping[str, str]) -> str:
    """Of the URL, or better of the environment or a file, which no list of processes shows."""
    if given is not None:
        password = unquote(given)
    elif path := environ.get(PASSWORD_FILE):
        password = _of_file(path)
    else:
        password = environ.get(PASSWORD, "")
    remember(password)
    return password


def _of_file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_LONGEST).decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise UsageError(f"cannot read {PASSWORD_FILE}: {error.strerror}", safe(path)) from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read {PASSWORD_FILE}: it is no text", safe(path)) from None
