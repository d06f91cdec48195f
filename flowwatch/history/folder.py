"""A folder of this machine that holds a history."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from flowwatch.errors import OutputError, UsageError
from flowwatch.history.place import File
from flowwatch.output import open_output
from flowwatch.text import safe

_LOCK = ".upkeep.lock"


class Folder:
    """See :class:`flowwatch.history.place.Place`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """As written."""
        return safe(str(self._path))

    @property
    def local(self) -> Path:
        """It itself."""
        return self._path

    def check(self) -> None:
        """FileNotFoundError where it isn't."""
        if not self._path.exists():
            raise FileNotFoundError(2, "there is no such folder")

    def make(self) -> None:
        """With those above it."""
        self._path.mkdir(parents=True, exist_ok=True)

    def top(self) -> list[str]:
        """Its names."""
        return os.listdir(self._path)

    def files(self) -> Iterator[File]:
        """Folders that may not be listed hold none for us."""
        for where, folders, names in os.walk(self._path):
            folders.sort()
            for name in sorted(names):
                path = Path(where, name)
                inside = path.relative_to(self._path).as_posix()
                try:
                    about = path.stat()
                except OSError:
                    # It went just now, or is a link to nowhere: who opens it says so.
                    yield File(inside, 0, 0)
                else:
                    yield File(inside, about.st_size, about.st_mtime_ns)

    def read(self, path: str) -> bytes:
        """All of it."""
        return (self._path / path).read_bytes()

    def open(self, path: str) -> str:
        """Its whole name."""
        return self.url(path)

    def url(self, path: str) -> str:
        """Its whole name."""
        return str(self._path / path)

    def put(self, path: str, data: bytes) -> None:
        """Written aside, on the disk, and renamed (:mod:`flowwatch.output.files`)."""
        target = self._path / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"can't write {safe(str(target))}: {error.strerror}") from None
        with open_output(str(target), "parquet") as out:
            out.write_bytes(data)

    def delete(self, path: str) -> None:
        """Take its name away."""
        (self._path / path).unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self) -> Iterator[Callable[[], None]]:
        """By a lock of the system's: it ends with the process."""
        try:
            descriptor = os.open(self._path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputError(f"can't change {self.name}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield lambda: None
        except BlockingIOError:
            raise UsageError(
                f"another flowwatch is changing {self.name}", "try again when it is done"
            ) from None
        finally:
            os.close(descriptor)
