"""What survives a restart: what rules know, which alerts go on, and who is still to be told of what.

A folder with two files, each written aside and renamed. The outbox is written first: killed between both, a
run tells at worst twice, never not at all.
"""

from __future__ import annotations

import fcntl
from pathlib import Path as FilePath
from typing import Any, BinaryIO

import msgspec

from flowwatch.errors import InputError, OutputError
from flowwatch.output import open_output
from flowwatch.text import safe
from flowwatch.watching.alerts import Alert, Notice
from flowwatch.watching.destinations import PathState
from flowwatch.watching.kinds import Learned, Normal
from flowwatch.watching.names import Learnt, Path

VERSION = 1


class Saved(msgspec.Struct):
    """Where a watcher stands."""

    now: int = 0
    """Up to when it has looked, in flow time."""
    active: list[Alert] = []
    learned: Learned = msgspec.field(default_factory=Learned)
    names: Learnt = msgspec.field(default_factory=Learnt)


class _Paths(msgspec.Struct):
    """A watcher's state as a file has it: JSON knows no keys but words."""

    version: int
    now: int
    active: list[Alert]
    since: int
    paths: list[tuple[Path, PathState]]
    blocked: dict[str, list[tuple[Path, int]]]
    cut: list[tuple[Path, int]]
    normal: dict[str, Normal]
    names: Learnt = msgspec.field(default_factory=Learnt)


class Waiting(msgspec.Struct):
    """Notices of one receiver that it hasn't got yet, the oldest first."""

    notices: list[Notice] = []
    left_out: int = 0
    """Alerts that there was no room for, since it was last told how many; those that were over by then."""
    over: int = 0
    untold: set[str] = set()
    """Fingerprints of those of whose beginning it wasn't told, and won't be of their end."""


class Folder:
    """The files, and a lock that keeps a second run out while this one lives."""

    def __init__(self, path: str) -> None:
        """Raises OutputError where it can't be made, or another run has it."""
        self._folder = FilePath(path)
        self.name = safe(path)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock: BinaryIO = (self._folder / "lock").open("wb")
        except OSError as error:
            raise _wrong(self.name, error) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise OutputError(
                f"another flowwatch watch uses {self.name}", "end it, or give another --state DIR"
            ) from None

    def close(self) -> None:
        """Let another run have it."""
        self._lock.close()

    def load(self) -> Saved | None:
        """What an earlier run has left; None without any. Raises InputError."""
        known = self._read("state.json", _Paths)
        if known is None:
            return None
        learned = Learned(
            dict(known.paths),
            {rule: dict(pairs) for rule, pairs in known.blocked.items()},
            dict(known.cut),
            known.normal,
            known.since,
        )
        return Saved(known.now, known.active, learned, known.names)

    def save(self, saved: Saved) -> None:
        """Keep it. Raises OutputError."""
        learned = saved.learned
        pairs = _Paths(
            VERSION,
            saved.now,
            saved.active,
            learned.since,
            list(learned.paths.items()),
            {rule: list(known.items()) for rule, known in learned.blocked.items()},
            list(learned.cut.items()),
            learned.normal,
            saved.names,
        )
        self._write("state.json", pairs)

    def load_outbox(self) -> dict[str, Waiting]:
        """By receiver, what it still has to be told. Raises InputError."""
        return self._read("outbox.json", dict[str, Waiting]) or {}

    def save_outbox(self, waiting: dict[str, Waiting]) -> None:
        """Keep it. Raises OutputError."""
        self._write("outbox.json", waiting)

    def _read(self, name: str, kind: Any) -> Any:
        try:
            data = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"can't read {self.name}/{name}: {error.strerror}") from None
        try:
            found = msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, ValueError) as error:
            raise InputError(
                f"{self.name}/{name} is no state of flowwatch watch: {safe(str(error))}",
                "move it away, or give another --state DIR",
            ) from None
        version = getattr(found, "version", VERSION)
        if version != VERSION:
            raise InputError(
                f"{self.name}/{name} is of version {version}, and this flowwatch knows {VERSION}",
                "use the newer one, or give another --state DIR",
            )
        return found

    def _write(self, name: str, value: object) -> None:
        with open_output(str(self._folder / name), "json", private=True) as file:
            file.write_bytes(msgspec.json.encode(value))


def _wrong(name: str, error: OSError) -> OutputError:
    return OutputError(f"can't keep anything in {name}: {error.strerror or error}")
