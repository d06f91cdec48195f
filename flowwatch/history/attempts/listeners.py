"""Who listens while attempts are made, and what is kept of it beside them.

One more is one more line of :data:`LISTENERS`. Its files lie in a folder of its own below ``made``. Who knows
what this room doesn't (policies) is given by whoever asks for the making; :data:`SOUND` has a line of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from flowwatch.history.attempts import asked, checkpoint
from flowwatch.history.attempts.checkpoint import Kept
from flowwatch.history.attempts.summaries import Counting

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
