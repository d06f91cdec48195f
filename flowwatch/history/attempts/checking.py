"""Whether what was made of a history's records is sound."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from flowwatch.history.arrow import load
from flowwatch.history.attempts.listeners import sound_of
from flowwatch.history.attempts.made import TABLES, files_of, foreign, read_made, read_table
from flowwatch.history.store import LOOKS, MADE, listing
from flowwatch.text import safe


class Sound(NamedTuple):
    """What is sound of what was made."""

    files: int = 0
    bytes: int = 0
    attempts: int | None = None
    """That these hold; None where none were made."""


def verify_made(folder: Path, problems: list[str]) -> Sound:
    """What is sound of what was made of the history in ``folder``.

    ``problems`` gets a safe line for each that isn't.
    """
    for _ in range(LOOKS):
        before, found = read_made(folder, []), list[str]()
        told = _verified(folder, found)
        if before == read_made(folder, []):
            break
    problems += found
    return told


def _verified(folder: Path, problems: list[str]) -> Sound:
    made = read_made(folder, problems)
    if made is None:
        return Sound()
    pa, _ = load()
    problems += foreign(folder, made)
    sound, attempts = list[str](), 0
    for table in TABLES:
        found = files_of(folder, made, table)
        problems += found.left_out
        # With the records of an old hour its attempts go.
        if found.gone and made.of(listing(folder)):
            problems += [f"{safe(name)} is missing" for name in found.gone]
        for path in found.paths:
            name = str(path.relative_to(folder / MADE))
            try:
                rows = read_table(path).num_rows
            except FileNotFoundError:
                # Its hour grew old just now.
                continue
            except (OSError, ValueError, pa.ArrowException):
                problems.append(f"{safe(name)} is damaged")
                continue
            if rows != made.files[name][0]:
                problems.append(f"{safe(name)} has lost rows")
                continue
            sound.append(name)
            attempts += rows if table == "attempts" else 0
    for name in made.files:
        if (sounds := sound_of(name)) is not None:
            if sounds(folder / MADE / name):
                sound.append(name)
            else:
                problems.append(f"{safe(name)} is damaged, or is missing")
    return Sound(len(sound), sum(made.files[name][1] for name in sound), attempts)
