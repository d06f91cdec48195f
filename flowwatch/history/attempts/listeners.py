"""Who listens while attempts are made, and what is kept of it beside them.

One more is one more line of :data:`LISTENERS`. Its files lie in a folder of its own below ``made``. Who knows
what this room doesn't (policies) is given by whoever asks for the making; :data:`SOUND` has a line of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Protocol

from flowwatch.flows.join import Join
from flowwatch.history.attempts import asked, checkpoint
from flowwatch.history.attempts.summaries import Counting


class Kept(Protocol):
    """Made with the join that it listens to; asked for its files when all records were read."""

    folder: ClassVar[str]
    """Below ``made``; no other's."""

    def __init__(self, join: Join) -> None: ...

    def files(self) -> Iterator[tuple[str, int, bytes]]:
        """Each file's path below ``made``, how many rows it has, and its content."""

    def kept(self) -> bytes:
        """Its state between two batches, for who goes on later."""

    def go_on(self, kept: bytes) -> None:
        """Take over such a state, just made with the join that was kept with it.

        ValueError, LookupError or TypeError for what contradicts itself: anybody may have written it.
        """


Listeners = tuple[type[Kept], ...]
LISTENERS: Listeners = (Counting,)
SOUND: Mapping[str, Callable[[Path], bool]] = {
    Counting.folder: Counting.sound,
    asked.FOLDER: asked.sound,
    checkpoint.FOLDER: checkpoint.is_sound,
}
"""By folder, whether a file there can be read."""


def sound_of(name: str) -> Callable[[Path], bool] | None:
    """Who tells whether the file of that path below ``made`` can be read; None: it holds attempts."""
    return SOUND.get(name.partition("/")[0])
