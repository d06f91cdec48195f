"""What a target makes and is given back: the files of one input, and how the program is called on them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

_CALL = "call.json"


@dataclass(frozen=True)
class Input:
    """One input. ``call`` says what is done with it: a verb's arguments, or a name of the target's own."""

    call: tuple[str, ...]
    files: dict[str, bytes]
    tried: int = 1
    """Spoilt messages, lines or documents in it."""
    environ: dict[str, str] = field(default_factory=dict)

    def write(self, place: Path) -> None:
        """Its files into the folder ``place``."""
        for name, data in self.files.items():
            (place / name).write_bytes(data)

    def save(self, folder: Path) -> None:
        """All that :func:`load` needs to have it again."""
        folder.mkdir(parents=True, exist_ok=True)
        self.write(folder)
        what = {"call": self.call, "files": list(self.files), "environ": self.environ}
        (folder / _CALL).write_text(json.dumps(what, indent=1) + "\n")


def load(folder: Path) -> Input:
    """An input that was saved."""
    what = json.loads((folder / _CALL).read_text())
    files = {name: (folder / name).read_bytes() for name in what["files"]}
    return Input(tuple(what["call"]), files, len(files), what["environ"])


class Target(Protocol):
    """Something that is given spoilt inputs."""

    name: str
    what: str
    """What is counted as tried: "messages", "captures" …"""

    def make(self, random: Random) -> Input: ...

    def run(self, given: Input, place: Path) -> None:
        """Run the program on it in the empty folder ``place``; raises whatever goes wrong."""
        ...

    def close(self) -> None: ...
