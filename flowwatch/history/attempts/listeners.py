"""Who listens while attempts are made, and what is kept of it beside them.

One more is one more line of :data:`LISTENERS`. Its files lie in a folder of its own below ``made``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Protocol

from flowwatch.flows.join import Join
from flowwatch.history.attempts.summaries import Counting


class Kept(Protocol):
    """Made with the join that it listens to; asked for its files when all records were read."""

    folder: ClassVar[str]
    """Below ``made``; no other's."""

    def __init__(self, join: Join) -> None: ...

    def files(self) -> Iterator[tuple[str, int, bytes]]:
        """Each file's path below ``made``, how many rows it has, and its content."""

    @staticmethod
    def sound(path: Path) -> bool:
        """Whether what :meth:`files` gave can be read there."""


LISTENERS: tuple[type[Kept], ...] = (Counting,)


def folder_of(name: str) -> type[Kept] | None:
    """Who has written the file of that path below ``made``; None: none of them."""
    return next((one for one in LISTENERS if name.startswith(f"{one.folder}/")), None)
