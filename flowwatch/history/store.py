"""The folder of a history: which files there are, of whom, and how one comes into being.

    DIR/history.json                                         that it is one, and its format
    DIR/flows/cluster=default/date=2026-01-31/hour=09/*.parquet    by the record's own time (UTC)
    DIR/events/date=2026-01-31/hour=09/*.parquet             by the recorder's
    DIR/made/                                                attempts: flowwatch.history.attempts.made

A file is written aside, reaches the disk, and takes its name then (:mod:`flowwatch.output.files`); its
name is nobody else's, so recorders need not know of each other. A file that says in its footer which others
it replaces stands for them: what merges files is safe at any moment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from flowwatch.errors import InputError, OutputError, UsageError
from flowwatch.history.arrow import Arrow, load
from flowwatch.history.columns import EVENTS, FLOWS, FORMAT, Kept
from flowwatch.output import open_output
from flowwatch.text import safe

MARKER = "history.json"
MADE = "made"
"""The folder of what was made of the records: flowwatch.history.attempts."""
HOUR = 3_600_000_000_000
"""Nanoseconds."""
NO_TIME = "unknown"
"""Date and hour of records without a time, and of those of very many hours at once."""
_KEY = "flowwatch"
_LONGEST = 100
"""Characters of a cluster's name in that of a folder."""

NUMBERS = ("recorded", "sequence", "time")
"""Columns of numbers that go up: kept as differences. All others repeat, and are kept by number."""


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: what can be known of its rows without reading them. Times in ns since 1970."""

    number: int
    rows: int
    recorded: tuple[int, int]
    """First and last."""
    times: tuple[int, int]
    """The records' own, earliest and latest; (0, 0) where none has one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One file that can be read."""

    path: Path
    runs: dict[str, tuple[int, int]]
    """By run, when the first and the last of its rows came."""
    groups: tuple[Group, ...]
    replaces: tuple[str, ...]
    """Files that it stands for, relative to the folder."""
    size: int
    rows: int


@dataclass(slots=True)
class Listing:
    """What lies in a history."""

    flows: list[Piece] = field(default_factory=list)
    events: list[Piece] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Files that can't be read, or aren't a history's, with why: a safe line each."""
    replaced: list[Path] = field(default_factory=list)
    """Files that others stand for: what a merge that was interrupted has left."""

    @property
    def runs(self) -> dict[str, tuple[int, int]]:
        """By run, when the first and the last of its rows came."""
        return spans((*self.flows, *self.events))


def spans(pieces: Iterable[Piece]) -> dict[str, tuple[int, int]]:
    """By run, when the first and the last of its rows in ``pieces`` came."""
    found: dict[str, tuple[int, int]] = {}
    for piece in pieces:
        for run, (first, last) in piece.runs.items():
            before = found.get(run, (first, last))
            found[run] = min(first, before[0]), max(last, before[1])
    return found


def create(folder: Path) -> None:
    """Make ``folder`` a history if it is none yet. UsageError where other things lie, or nothing can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / MARKER).exists():
            _check(folder)
            return
        others = [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError as error:
        raise UsageError(f"cannot record to {safe(str(folder))}", str(error.strerror)) from None
    if others:
        raise UsageError(
            f"{safe(str(folder))} holds other things ({safe(sorted(others)[0])})",
            "name an empty folder, or one that doesn't exist",
        )
    text = json.dumps({"flowwatch_history": FORMAT})
    with open_output(str(folder / MARKER), "json") as out:
        out.write(text + "\n")


def _check(folder: Path) -> None:
    """InputError for a folder that is no history, or that of a newer flowwatch."""
    name = safe(str(folder))
    try:
        found = json.loads((folder / MARKER).read_text("utf-8"))["flowwatch_history"]
    except FileNotFoundError:
        why = "there is no such folder" if not folder.exists() else f"it holds no {MARKER}"
        raise InputError(
            f"{name} is no history: {why}", "flowwatch record --to DIR makes one"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise InputError(
            f"{name}/{MARKER} is damaged", 'it says: {"flowwatch_history": 1}'
        ) from None
    if not isinstance(found, int) or found > FORMAT:
        raise InputError(
            f"{name} was written by a newer flowwatch (format {safe(str(found))}, this one knows {FORMAT})",
            "update flowwatch",
        )


def partition(cluster: str, time: int | None) -> str:
    """The folder of records of ``cluster`` and a time (ns); None: of any."""
    return f"flows/cluster={quote(cluster, safe='')[:_LONGEST]}/{_hour(time)}"


def event_partition(time: int) -> str:
    """The folder of events that were told at ``time`` (ns)."""
    return f"events/{_hour(time)}"


def _hour(time: int | None) -> str:
    if not time:
        return f"date={NO_TIME}/hour={NO_TIME}"
    return f"{datetime.fromtimestamp(time // HOUR * 3600, UTC):date=%Y-%m-%d/hour=%H}"


def hour_of(path: Path) -> int | None:
    """When the hour began (ns since 1970) that a file lies in; None where it is of none."""
    try:
        date, hour = (part.partition("=")[2] for part in path.parts[-3:-1])
        return int(datetime.fromisoformat(f"{date}T{hour}:00:00+00:00").timestamp()) * 1_000_000_000
    except ValueError:
        return None


def cluster_of(path: Path) -> str:
    """The cluster of a file of flows."""
    return unquote(path.parts[-4].partition("=")[2])


def write(folder: Path, path: str, table: Arrow, runs: dict[str, tuple[int, int]],
          replaces: Iterable[str] = ()) -> int:  # fmt: skip
    """Write ``table`` as ``folder/path``, whole or not at all; how many bytes. OutputError."""
    pa, parquet = load()
    about = {"format": FORMAT, "runs": runs, "replaces": list(replaces)}
    sink = pa.BufferOutputStream()
    numbers = [name for name in NUMBERS if name in table.column_names]
    shared = [
        leaf
        for one in (*FLOWS, *EVENTS)
        if one.name in table.column_names and one.name not in (*numbers, "uuid", "raw")
        for leaf in _leaves(one)
    ]
    with parquet.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        use_dictionary=shared,
        column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        writer.write_table(table, row_group_size=ROWS)
        writer.add_key_value_metadata({_KEY: json.dumps(about)})
    data = sink.getvalue().to_pybytes()
    target = folder / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"can't write {safe(str(target))}: {error.strerror}") from None
    with open_output(str(target), "parquet") as out:
        out.write_bytes(data)
    return len(data)


_IN_LISTS = {
    "texts": ("",),
    "policies": (".effect", ".kind", ".namespace", ".name"),
    "pairs": (".name", ".value"),
}


def _leaves(column: Kept) -> list[str]:
    """What Parquet calls the values of a column."""
    within = _IN_LISTS.get(column.kind)
    return [f"{column.name}.list.element{leaf}" for leaf in within] if within else [column.name]


ROWS = 65_536
"""Of a row group: what is held in memory to be written, or read, at a time."""


def listing(folder: Path, *, since: int | None = None, until: int | None = None) -> Listing:
    """What lies in ``folder``; flows of hours outside of ``since`` to ``until`` (ns) are passed over.

    InputError for what is no history.
    """
    _check(folder)
    found = Listing()
    every: list[tuple[str, Piece]] = []
    for path in _files(folder, found):
        hour = hour_of(path)
        kind = path.relative_to(folder).parts[0]
        if kind == "flows" and hour is not None:
            if since is not None and hour + HOUR <= since:
                continue
            if until is not None and hour > until:
                continue
        piece = open_piece(path, folder, found)
        if piece is not None:
            every.append((kind, piece))
    gone = {name for _, piece in every for name in piece.replaces}
    for kind, piece in every:
        if str(piece.path.relative_to(folder)) in gone:
            found.replaced.append(piece.path)
        else:
            (found.flows if kind == "flows" else found.events).append(piece)
    return found


def _files(folder: Path, found: Listing) -> Iterator[Path]:
    """All that may be a history's; what can't be is noted."""
    for where, folders, names in os.walk(folder):
        aside = MADE if Path(where) == folder else ""
        folders[:] = sorted(one for one in folders if one != aside and not one.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            parts = path.relative_to(folder).parts
            if name.startswith(".") or parts == (MARKER,):
                continue
            if name.endswith(".parquet") and (parts[0], len(parts)) in (
                ("flows", 5),
                ("events", 4),
            ):
                yield path
            else:
                found.left_out.append(f"{_name(path, folder)} is none of a history's files")


def _name(path: Path, folder: Path) -> str:
    return safe(str(path.relative_to(folder)))


def open_piece(path: Path, folder: Path, found: Listing) -> Piece | None:
    """What the footer of a file tells; None, and a line in ``found``, where it can't be read."""
    pa, parquet = load()
    name = _name(path, folder)
    try:
        about = parquet.read_metadata(path)
        said: dict[str, Any] = json.loads((about.metadata or {})[_KEY.encode()])
        newer = said["format"] > FORMAT
        runs = {str(run): (int(span[0]), int(span[1])) for run, span in said["runs"].items()}
        replaces = tuple(str(one) for one in said["replaces"])
        groups = tuple(_group(about, number) for number in range(about.num_row_groups))
    except FileNotFoundError:
        found.left_out.append(f"{name} went away while it was being read")
    except PermissionError:
        found.left_out.append(f"{name} may not be read")
    except (KeyError, TypeError, AttributeError):
        found.left_out.append(f"{name} was not written by flowwatch")
    except (OSError, ValueError, pa.ArrowException):
        found.left_out.append(f"{name} is damaged, or was cut off")
    else:
        if newer:
            found.left_out.append(f"{name} was written by a newer flowwatch")
            return None
        return Piece(path, runs, groups, replaces, path.stat().st_size, about.num_rows)
    return None


def _group(about: Arrow, number: int) -> Group:
    group = about.row_group(number)
    spans: dict[str, tuple[int, int]] = {}
    for at in range(group.num_columns):
        column = group.column(at)
        if column.path_in_schema not in ("recorded", "time"):
            continue
        known = column.statistics
        if known is not None and known.has_min_max:
            spans[column.path_in_schema] = _nanos(known.min_raw), _nanos(known.max_raw)
    # A file without statistics isn't ours.
    return Group(number, group.num_rows, spans["recorded"], spans.get("time", (0, 0)))


def _nanos(value: Any) -> int:
    return int(value)
