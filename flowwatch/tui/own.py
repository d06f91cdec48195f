"""Files of the user's own, in ``~/.config/flowwatch``: a line for each thing, ``name = value``.

What is wrong in one is told with its file and line, and what was probably meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from flowwatch import userfile
from flowwatch.errors import UsageError
from flowwatch.text import safe

LARGEST = 1 << 16
"""Bytes."""


class Entry(NamedTuple):
    """A line of such a file."""

    path: Path
    line: int
    name: str
    value: str

    def wrong(self, what: str, hint: str = "") -> UsageError:
        """An error that says where."""
        return UsageError(f"{safe(str(self.path))}:{self.line}: {what}", hint)


def short(error: UsageError) -> str:
    """The error for a line of the screen: without the folder that all these files are in."""
    return str(error).rpartition("/flowwatch/")[2]


def entries(path: Path) -> Iterator[Entry]:
    """The lines that say something; ``#`` begins a comment. Raises UsageError."""
    try:
        text = userfile.read(path, LARGEST).decode("utf-8")
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"can't read {safe(str(path))}: {safe(why)}") from None
    except UnicodeError:
        raise UsageError(f"can't read {safe(str(path))}", "it isn't UTF-8") from None
    for number, line in enumerate(text.split("\n"), 1):
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        name, equals, value = said.partition("=")
        entry = Entry(path, number, name.strip(), value.strip())
        if not equals or not entry.name:
            raise entry.wrong(f"'{safe(said)}' is no 'name = value'")
        yield entry


def meant(word: str, known: Iterable[str]) -> str:
    """``did you mean drop?``, or what there is."""
    names = list(known)
    near = get_close_matches(word, names, 1, 0.6)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
