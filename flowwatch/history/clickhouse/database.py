"""Speaks to a ClickHouse server, by clickhouse-connect: its HTTP interface, rows as Arrow.

What fails is raised as an OSError with words for a user in ``strerror``: FileNotFoundError for what isn't
there, PermissionError for who may not, ConnectionError for a server that doesn't answer.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from flowwatch.errors import UsageError
from flowwatch.history.arrow import Arrow, load
from flowwatch.history.clickhouse.flavours import Flavour, flavour_of
from flowwatch.history.clickhouse.tls import trouble
from flowwatch.history.clickhouse.url import Server
from flowwatch.history.columns import Kept
from flowwatch.redact import redact
from flowwatch.text import safe

CONNECT_SECONDS, ANSWER_SECONDS = 5, 60
_INSTALL = "pip install 'flowwatch[clickhouse]'"
_LONGEST = 300
"""Characters of a server's words."""


class Database:
    """One database of a server. Any thread may ask."""

    def __init__(self, server: Server) -> None:
        """Nothing is asked yet. UsageError where clickhouse-connect isn't installed."""
        load()
        try:
            self._module: Any = import_module("clickhouse_connect")
        except ImportError as error:
            raise UsageError(
                "a history in ClickHouse needs clickhouse-connect", _INSTALL
            ) from error
        if server.options.get("verify") is False:
            # Said by who asks so; urllib3 would say it once more, with each question.
            warnings.filterwarnings("ignore", message="Unverified HTTPS request")
        # It logs what it raises as well.
        logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())
        self._server = server
        self._lock = threading.Lock()
        self._connected: Any = None

    @property
    def name(self) -> str:
        """The URL, without who asks."""
        return self._server.name

    @property
    def database(self) -> str:
        """The database's name."""
        return self._server.database

    @property
    def version(self) -> str:
        """The server's."""
        return str(self._client.server_version)

    @property
    def flavour(self) -> Flavour:
        """What the server knows."""
        return flavour_of(self.version)

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._connected is None:
                server = self._server
                with self._errors():
                    self._connected = self._module.get_client(
                        host=server.host,
                        port=server.port,
                        username=server.user,
                        password=server.password,
                        database=server.database,
                        connect_timeout=CONNECT_SECONDS,
                        send_receive_timeout=ANSWER_SECONDS,
                        # Several threads ask, and a session takes one question at a time.
                        autogenerate_session_id=False,
                        # Else a client certificate has it leave out the password, and say nothing.
                        tls_mode="strict" if server.password else None,
                        **{"compress": True, **server.options},
                    )
            return self._connected

    def close(self) -> None:
        """Give up what is open."""
        if self._connected is not None:
            self._connected.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of numbers and texts."""
        client = self._client
        with self._errors():
            return list(client.query(sql).result_rows)

    def lines(self, sql: str) -> list[list[str]]:
        """The texts of an answer to what is no SELECT."""
        client = self._client
        with self._errors():
            said = client.raw_query(sql, fmt="TabSeparated").decode("utf-8", "replace")
        return [line.split("\t") for line in said.splitlines()]

    def do(self, sql: str) -> None:
        """Have something changed."""
        client = self._client
        with self._errors():
            client.command(sql)

    def arrow(self, sql: str) -> Arrow:
        """Rows as they come, of a server that knows Arrow."""
        client = self._client
        with self._errors():
            return client.query_arrow(sql, use_strings=True)

    def table(self, sql: str, columns: Sequence[Kept]) -> Arrow:
        """Rows of ``columns``, which ``sql`` selects in their order, as files have them."""
        flavour, client = self.flavour, self._client
        pa, _ = load()
        if flavour.arrow:
            return flavour.given(pa, self.arrow(sql), columns)
        with self._errors():
            # What it takes for a text that is none it would spell in hexadecimal.
            plain = {one.name: "bytes" for one in columns if one.kind in ("bytes", "uuid")}
            made = client.query(sql, column_oriented=True, column_formats=plain).result_columns
        return flavour.given(pa, flavour.read(pa, made, columns), columns)

    def add(self, name: str, table: Arrow) -> None:
        """Add rows as they are, to a server that knows Arrow; they are there when this returns."""
        client = self._client
        with self._errors():
            client.insert_arrow(name, table, database=self.database)

    def insert(self, name: str, table: Arrow, columns: Sequence[Kept]) -> None:
        """Add rows; they are there when this returns."""
        flavour, client = self.flavour, self._client
        pa, _ = load()
        ready = flavour.taken(pa, table, columns)
        if flavour.arrow:
            self.add(name, ready)
            return
        with self._errors():
            client.insert(
                name,
                [flavour.written(one, ready.column(one.name).to_pylist()) for one in columns],
                database=self.database,
                column_names=[one.name for one in columns],
                column_type_names=[flavour.type_of(one) for one in columns],
                column_oriented=True,
            )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """The client's errors as Python's own."""
        exceptions: Any = import_module("clickhouse_connect.driver.exceptions")
        try:
            yield
        except Exception as error:
            # Of what the client stands on, too, which it doesn't always turn into its own.
            known = isinstance(error, exceptions.ClickHouseError)
            if not (known or type(error).__module__.startswith("urllib3.")):
                raise
            of_tls = trouble(error, self._server.host, self._server.options)
            if of_tls:
                raise ConnectionError(_NUMBERS[ConnectionError], of_tls) from None
            raise (_understood(error) if known else _unanswered(error)) from None


_CODES: dict[int, tuple[type[OSError], str]] = {
    60: (FileNotFoundError, "there is no such table"),
    81: (FileNotFoundError, "there is no such database"),
    192: (PermissionError, "it knows no such user"),
    193: (PermissionError, "the user or the password is wrong"),
    194: (
        PermissionError,
        "it asks for a password; CLICKHOUSE_PASSWORD has it, or CLICKHOUSE_PASSWORD_FILE",
    ),
    291: (PermissionError, "this user may not"),
    497: (PermissionError, "this user may not"),
    516: (PermissionError, "the user or the password is wrong"),
}
"""What the server's number of an error (its ErrorCodes.cpp) is to us."""
_NUMBERS: dict[type[OSError], int] = {
    FileNotFoundError: errno.ENOENT,
    PermissionError: errno.EACCES,
    ConnectionError: errno.ECONNABORTED,
    OSError: errno.EIO,
}


def _understood(error: Exception) -> OSError:
    said = str(error)
    code = re.search(r"\bCode: (\d+)", said)
    if code is None:
        if isinstance(_first(error), OSError) or "HTTP request" in said:
            return _unanswered(error)
        return OSError(errno.EIO, f"the client says: {_short(said)}")
    kind, words = _CODES.get(int(code[1]), (OSError, ""))
    return kind(_NUMBERS[kind], words or f"the server answers: {_short(_words(said))}")


def _words(said: str) -> str:
    """A server's sentence, without what stands around it."""
    found = re.search(
        r"DB::Exception: (.*?)(?:, e\.what\(\)|\(for url|\(version|$)", said, re.DOTALL
    )
    return found[1] if found else said


def _unanswered(error: Exception) -> OSError:
    first = _first(error)
    why = (first.strerror or str(first)) if isinstance(first, OSError) else ""
    if not why:
        why = "it took too long" if "timed out" in str(error).lower() else ""
    more = f" ({_short(why)})" if why else ""
    return ConnectionError(_NUMBERS[ConnectionError], f"the server cannot be reached{more}")


def _first(error: BaseException) -> BaseException:
    """What began it."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return error


def _short(text: str) -> str:
    return safe(redact(" ".join(text.split()).strip(" .")[:_LONGEST]))
