"""What was made of a history's records, and whether it still is what they say.

    DIR/made/made.json                                        of which records, and which files
    DIR/made/attempts/cluster=default/date=…/hour=…/*.parquet by the attempt's first record (UTC)
    DIR/made/minutes/cluster=default/date=…/hour=…/*.parquet  their counts by the minute

The folder comes into being aside, and takes its name when all of it is on the disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

from flowwatch.history.arrow import KEY, Arrow, load
from flowwatch.history.attempts.columns import FORMAT
from flowwatch.history.columns import EVENTS
from flowwatch.history.events import Event, read_events
from flowwatch.history.parquet_files import groups_from
from flowwatch.history.store import HOUR, MADE, Listing, Piece, Unreadable, hour_of, listing, rows
from flowwatch.text import plural, safe

MARKER = "made.json"
Table = Literal["attempts", "minutes"]
TABLES: tuple[Table, ...] = ("attempts", "minutes")


@dataclass(slots=True)
class Made:
    """What :data:`MARKER` says."""

    runs: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of the records that were read: by run, when the first and the last came, ns since 1970."""
    rows: int = 0
    """Records and events that were read."""
    attempts: int = 0
    until: int = 0
    """When the last of the records came."""
    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By path below ``made``, rows and bytes."""
    summary: str = ""
    """The version that has counted the egress table of all; empty where none was kept."""
    written: int = 0
    """When it was made, by the file system's clock, ns since 1970."""
    making: str = ""
    """In a database, which rows are of it."""
    how: str = ""
    """Said by who has just made it: from where on records were read, or why all were; a safe line."""

    def of(self, found: Listing) -> bool:
        """Whether it was made of just what lies in the history."""
        return self.of_just(found.runs, rows_of(found))

    def of_just(self, runs: Mapping[str, tuple[int, int]], rows: int) -> bool:
        """The same of what has these runs, and so many rows."""
        return bool(self.rows) and (self.runs, self.rows) == (runs, rows)


def rows_of(found: Listing) -> int:
    """Records and events of a history."""
    return sum(piece.rows for piece in (*found.flows, *found.events))


def text_of(made: Made) -> str:
    """``made`` as :data:`MARKER` has it."""
    said = {
        "format": FORMAT, "until": made.until, "rows": made.rows, "attempts": made.attempts,
        "runs": made.runs, "files": made.files, "summary": made.summary,
    }  # fmt: skip
    return json.dumps(said) + "\n"


def read_made(folder: Path, problems: list[str]) -> Made | None:
    """What was made of the history in ``folder``; None, and a line where that isn't because there is none."""
    path = folder / MADE / MARKER
    name = f"{MADE}/{MARKER}"
    try:
        made = made_from(path.read_bytes(), name, problems)
        if made is not None:
            made.written = path.stat().st_mtime_ns
        return made
    except FileNotFoundError:
        if (folder / MADE).exists():
            problems.append(f"{name} is missing")
    except OSError as error:
        problems.append(f"{name} can't be read: {error.strerror}")
    return None


def made_from(text: str | bytes, name: str, problems: list[str]) -> Made | None:
    """What :func:`text_of` made; None, and a line about ``name``, where it is none."""
    try:
        said = json.loads(text)
        if said["format"] > FORMAT:
            problems.append(f"{name} was written by a newer flowwatch")
            return None
        return Made(
            {str(run): (int(span[0]), int(span[1])) for run, span in said["runs"].items()},
            int(said["rows"]),
            int(said["attempts"]),
            int(said["until"]),
            {str(one): (int(about[0]), int(about[1])) for one, about in said["files"].items()},
            str(said.get("summary", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        problems.append(f"{name} is damaged")
    return None


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether what was counted while attempts were made stands for reading all records."""

    made: Made | None = None
    """What was made, if it does."""
    why_not: str = ""
    """Why it doesn't though there is some: a safe line, else empty."""
    before: Made | None = None
    """What was made, if records came or went since."""
    found: Listing = field(default_factory=Listing)
    """What lies in the history."""


def version() -> str:
    """Of what counts: another may join attempts otherwise, and is asked itself then."""
    return metadata.version("flowwatch")


def standing(folder: Path) -> Standing:
    """Whether what was counted of the history in ``folder`` is what its records say. InputError for none."""
    made = read_made(folder, [])
    if made is None or made.summary != version():
        return Standing()
    found = listing(folder)
    if found.left_out:
        return Standing()
    if made.of(found):
        return Standing(made, found=found)
    newer = plural(newer_records(made, found), "record")
    return Standing(
        why_not=f"read record by record, as {newer} came or went since: flowwatch history compact",
        before=made,
        found=found,
    )


def newer_records(made: Made, found: Listing) -> int:
    """Records of the history that ``made`` doesn't know, or that went since: about so many, 0 if none."""
    if made.of(found):
        return 0
    fresh = sum(group.rows for piece in found.flows for group in piece.groups if _fresh(made, piece)
                and group.recorded[1] > made.until)  # fmt: skip
    return fresh or max(1, abs(rows_of(found) - made.rows))


def _fresh(made: Made, piece: Piece) -> bool:
    return any(last > made.runs.get(run, (0, 0))[1] for run, (_, last) in piece.runs.items())


@dataclass(slots=True)
class Files:
    """Those that an answer is read from."""

    paths: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Files that aren't what was written, with why: a safe line each."""
    gone: list[str] = field(default_factory=list)
    """Paths below ``made`` of files that are no longer there: as a rule their hours have grown old."""


def files_of(
    folder: Path, made: Made, table: Table, *, since: int | None = None, until: int | None = None
) -> Files:
    """The files of ``table`` with hours that overlap ``since`` to ``until`` (ns), each as it was written."""
    found = Files()
    for name, (_, size) in made.files.items():
        path = folder / MADE / name
        hour = hour_of(name)
        if not name.startswith(f"{table}/") or not _overlaps(hour, since, until):
            continue
        try:
            there = path.stat().st_size
        except FileNotFoundError:
            found.gone.append(name)
        except OSError as error:
            found.left_out.append(f"{safe(name)} may not be read ({error.strerror})")
        else:
            if there == size:
                found.paths.append(path)
            else:
                found.left_out.append(f"{safe(name)} is damaged, or was cut off")
    return found


def is_whole(folder: Path, made: Made) -> bool:
    """Whether each file is there, as long as it was when it was written."""
    try:
        return all(
            (folder / MADE / name).stat().st_size == size for name, (_, size) in made.files.items()
        )
    except OSError:
        return False


def _overlaps(hour: int | None, since: int | None, until: int | None) -> bool:
    if hour is None:
        return True
    return (since is None or hour + HOUR > since) and (until is None or hour <= until)


def foreign(folder: Path, made: Made) -> Iterator[str]:
    """Files below ``made`` that nobody wrote there: a safe line each."""
    for where, folders, names in os.walk(folder / MADE):
        folders.sort()
        for name in sorted(names):
            path = str(Path(where, name).relative_to(folder / MADE))
            if path not in made.files and path != MARKER and not name.startswith("."):
                yield f"{MADE}/{safe(path)} is none of a history's files"


def events_of(found: Listing, problems: list[str]) -> Iterator[Event]:
    """What was told between a history's records; ``problems`` gets a safe line for each damaged file."""
    for piece in found.events:
        try:
            yield from read_events(rows(piece, EVENTS))
        except Unreadable as error:
            problems.append(str(error))


def read_table(path: Path) -> Arrow:
    """A file, its checksums checked. Raises OSError, ValueError, or Arrow's own for one that is damaged."""
    _, parquet = load()
    with parquet.ParquetFile(path, page_checksum_verification=True) as file, path.open("rb") as raw:
        said = json.loads((file.metadata.metadata or {}).get(KEY.encode(), b"{}"))
        if not all(group.is_whole(raw) for group in groups_from(said, file)):
            raise ValueError("its bytes are others than were written")
        return file.read()
