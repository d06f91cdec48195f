"""What a history asks of the place where its files lie, be it a folder or a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class File:
    """One file, as a listing tells it."""

    path: str
    """Relative to the place, with slashes."""
    size: int
    """Bytes."""
    changed: int
    """When it was written, ns since 1970."""


class Place(Protocol):
    """A folder's worth of files. Paths are relative to it, with slashes.

    What reads raises OSError, with words for a user in ``strerror``: FileNotFoundError for what isn't there,
    PermissionError for what may not be read, ConnectionError for a server that doesn't answer.
    """

    @property
    def name(self) -> str:
        """As the user wrote it, safe to print."""

    @property
    def local(self) -> Path | None:
        """The folder of this machine that it is; None for any other place."""

    def check(self) -> None:
        """FileNotFoundError where there is no such place."""

    def make(self) -> None:
        """Make it, where that can be. OSError."""

    def top(self) -> list[str]:
        """Names of what lies in it directly. OSError."""

    def files(self) -> Iterator[File]:
        """Every file in it and below, in the order of names. OSError."""

    def read(self, path: str) -> bytes:
        """All of a small file."""

    def open(self, path: str) -> Any:
        """A file as pyarrow's readers take it."""

    def put(self, path: str, data: bytes) -> None:
        """Write a file: it is there whole and to stay when this returns, or not at all. OutputError."""

    def delete(self, path: str) -> None:
        """Delete a file; that it is gone already is no matter. OSError."""

    def alone(self) -> AbstractContextManager[Callable[[], None]]:
        """While nobody else changes what is there. UsageError when somebody does, OutputError.

        What it gives is called before each change, and raises OutputError where another took over.
        """

    def url(self, path: str) -> str:
        """A file as other programs name it."""
