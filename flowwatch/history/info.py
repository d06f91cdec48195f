"""What lies in a history: from when to when, of whom, how much, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowwatch.history.arrow import load
from flowwatch.history.attempts.made import TABLES, Files, files_of, newer_records, read_made
from flowwatch.history.columns import EVENTS, FLOWS, Kept
from flowwatch.history.events import Event, read_events
from flowwatch.history.places import Where, place_of
from flowwatch.history.store import MADE, Listing, Piece, Unreadable, listing, rows


@dataclass(slots=True)
class Run:
    """One recorder, from its start to its end. Times in ns since 1970."""

    name: str
    source: str = ""
    filters: str = ""
    began: int = 0
    last: int = 0
    """When its last row came."""
    ended: str = ""
    """Why it ended; "" where it didn't say: it is at work, or was killed."""


@dataclass(slots=True)
class Info:
    """What :func:`info` found."""

    first: int = 0
    """Time of the earliest record, ns since 1970; 0 where there is none."""
    last: int = 0
    records: int = 0
    bytes: int = 0
    """Of all files that :func:`flowwatch.history.upkeep.verify` checks, what was made of records included."""
    files: int = 0
    unit: str = "file"
    """What they are: the parts of a table, in a database."""
    nodes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By node its records, and the time of the last."""
    runs: list[Run] = field(default_factory=list)
    gaps: list[Event] = field(default_factory=list)
    deleted: list[Event] = field(default_factory=list)
    attempts: int | None = None
    """Attempts that were made of the records; None where none were."""
    attempts_until: int = 0
    """When the last record that they were made of came."""
    not_made: int = 0
    """Records that are in no attempt yet."""
    left_out: list[str] = field(default_factory=list)
    """Files that can't be read: a safe line each."""


def info(where: Where) -> Info:
    """Look at all of it, but only at two columns of the records. InputError for what is no history."""
    place = place_of(where)
    found = listing(place)
    told = Info(left_out=list(found.left_out))
    for piece in (*found.flows, *found.events):
        told.files += 1
        told.bytes += piece.size
    for piece in found.flows:
        _records(piece, told)
    tell_events(told, [one for piece in found.events for one in _events(piece, told)], found.runs)
    if place.local is not None:
        _made(place.local, found, told)
    return told


def tell_events(told: Info, events: list[Event], spans: Mapping[str, tuple[int, int]]) -> None:
    """Tell what ``events`` say; ``spans``: by run, when the first and the last of its rows came."""
    runs = {run: Run(run, began=first, last=last) for run, (first, last) in spans.items()}
    for one in sorted(events, key=lambda one: one.recorded):
        match one.what:
            case "run":
                runs[one.run].source, runs[one.run].filters = one.name, one.text
            case "end":
                runs[one.run].ended = one.text or "ended"
            case "gap":
                told.gaps.append(one)
            case "deleted":
                told.deleted.append(one)
    told.runs = sorted((one for one in runs.values() if one.source), key=lambda one: one.began)


def _made(folder: Path, found: Listing, told: Info) -> None:
    made = read_made(folder, told.left_out)
    if made is None:
        return
    files: list[Files] = [files_of(folder, made, table) for table in TABLES]
    names = [[str(path.relative_to(folder / MADE)) for path in one.paths] for one in files]
    told.attempts = sum(made.files[name][0] for name in names[0])
    told.attempts_until = made.until
    told.not_made = newer_records(made, found)
    for one, of in zip(files, names, strict=True):
        told.files += len(of)
        told.bytes += sum(made.files[name][1] for name in of)
        told.left_out += one.left_out
    for name, (_, size) in made.files.items():
        if name.partition("/")[0] not in TABLES and (folder / MADE / name).is_file():
            told.files += 1
            told.bytes += size


def _records(piece: Piece, told: Info) -> None:
    table = _read(piece, [one for one in FLOWS if one.name in ("node", "time")], told)
    if table is None:
        return
    pa, _ = load()
    told.records += table.num_rows
    grouped = table.group_by("node").aggregate(
        [("time", "min"), ("time", "max"), ("time", "count")]
    )
    rows = zip(
        grouped.column("node").to_pylist(),
        grouped.column("time_min").cast(pa.int64()).to_pylist(),
        grouped.column("time_max").cast(pa.int64()).to_pylist(),
        grouped.column("time_count").to_pylist(),
        strict=True,
    )
    for node, first, last, count in rows:
        records, newest = told.nodes.get(node, (0, 0))
        told.nodes[node] = records + count, max(newest, last or 0)
        told.last = max(told.last, last or 0)
        told.first = min(told.first or first or 0, first or told.first)


def _events(piece: Piece, told: Info) -> list[Event]:
    table = _read(piece, EVENTS, told)
    return list(read_events(table)) if table is not None else []


def _read(piece: Piece, columns: Sequence[Kept], told: Info) -> Any:
    try:
        return rows(piece, columns)
    except Unreadable as error:
        told.left_out.append(str(error))
        return None
