"""What waits while a server doesn't answer: Parquet in a folder of this machine, as a history has it.

It can be read as one (``--history``), outlasts the process, and goes as it is sent.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from flowwatch.errors import InputError, OutputError, UsageError
from flowwatch.history import store
from flowwatch.history.arrow import Arrow
from flowwatch.history.clickhouse.tables import EVENTS_TABLE, FLOWS_TABLE, Table
from flowwatch.history.columns import EVENTS, FLOWS
from flowwatch.history.folder import Folder
from flowwatch.history.store import Listing, Piece, Unreadable, listing, rows
from flowwatch.history.writing import Job, write

_NAME = re.compile(r"-(\d+)\.parquet")


def folder_of(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Where what waits for the database of that name lies, unless it is said."""
    state = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state, "flowwatch", re.sub(r"[^\w.-]+", "-", name).strip("-"))


class Waiting(NamedTuple):
    """One file of it."""

    table: Table
    rows: Arrow
    number: int
    """Of the flush."""
    path: str


class Aside:
    """The folder."""

    def __init__(self, path: Path) -> None:
        self._folder = Folder(path)
        self.problems: list[str] = []
        """What was found there last, and can't be sent: a safe line each."""

    @property
    def name(self) -> str:
        """As a user names it."""
        return self._folder.name

    def keep(self, job: Job) -> None:
        """Write a job there. OutputError."""
        try:
            store.create(self._folder)
        except UsageError as error:
            raise OutputError(error.message, error.hint) from None
        write(self._folder, job)

    def files(self) -> Iterator[Waiting]:
        """What lies there, events first; nothing where there is no such folder, or another sends it."""
        self.problems = []
        if store.MARKER not in _names(self._folder):
            return
        # Who else sends it is done with it soon.
        with contextlib.suppress(UsageError), self._folder.alone():
            try:
                found = listing(self._folder)
            except InputError as error:
                self.problems.append(str(error))
                return
            self.problems += found.left_out
            yield from self._found(found)

    def _found(self, found: Listing) -> Iterator[Waiting]:
        for table, columns, pieces in (
            (EVENTS_TABLE, EVENTS, found.events),
            (FLOWS_TABLE, FLOWS, found.flows),
        ):
            for piece in pieces:
                try:
                    yield Waiting(table, rows(piece, columns), _number(piece), piece.path)
                except Unreadable as error:
                    self.problems.append(str(error))

    def drop(self, path: str) -> None:
        """Delete a file that was sent. OutputError."""
        try:
            self._folder.delete(path)
        except OSError as error:
            raise OutputError(f"can't delete {self._folder.url(path)}: {error.strerror}") from None


def _names(folder: Folder) -> list[str]:
    try:
        return folder.top()
    except OSError:
        return []


def _number(piece: Piece) -> int:
    found = _NAME.search(piece.path)
    return int(found[1]) if found else 0
