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
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from flowwatch.errors import InputError, UsageError
from flowwatch.history.arrow import KEY, Arrow, declared, load
from flowwatch.history.columns import EVENTS, FLOWS, FORMAT, Kept
from flowwatch.history.parquet_files import Group, groups_from, parquet_bytes
from flowwatch.history.place import File, Place
from flowwatch.history.places import Where, place_of
from flowwatch.text import safe

MARKER = "history.json"
MADE = "made"
"""The folder of what was made of the records: flowwatch.history.attempts."""
HOUR = 3_600_000_000_000
"""Nanoseconds."""
NO_TIME = "unknown"
"""Date and hour of records without a time, and of those of very many hours at once."""
MERGED = "-merged.parquet"
"""How the name of a file ends that stands for others."""
LOOKS = 10
"""At most, until nothing is merged meanwhile."""
AT_ONCE = 16
"""Footers that are asked for at once of a server."""
_LONGEST = 100
"""Characters of a cluster's name in that of a folder."""

NUMBERS = ("recorded", "sequence", "time")
"""Columns of numbers that go up: kept as differences. All others repeat, and are kept by number."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One file that can be read."""

    place: Place
    path: str
    """Relative to the place, with slashes."""
    runs: dict[str, tuple[int, int]]
    """By run, when the first and the last of its rows came."""
    groups: tuple[Group, ...]
    replaces: tuple[str, ...]
    """Paths of files that it stands for."""
    size: int
    rows: int


@dataclass(slots=True)
class Listing:
    """What lies in a history."""

    flows: list[Piece] = field(default_factory=list)
    events: list[Piece] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Files that can't be read, or aren't a history's, with why: a safe line each."""
    replaced: list[str] = field(default_factory=list)
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


def create(where: Where) -> None:
    """Make ``where`` a history if it is none yet. UsageError where other things lie, or nothing can."""
    place = place_of(where)
    try:
        place.make()
        names = place.top()
    except (FileExistsError, NotADirectoryError):
        raise UsageError(
            f"cannot record to {place.name}: it is no folder, or lies in none",
            "name an empty folder, or one that doesn't exist",
        ) from None
    except OSError as error:
        raise UsageError(f"cannot record to {place.name}", str(error.strerror)) from None
    if MARKER in names:
        _check(place)
        return
    others = [name for name in names if not name.startswith(".")]
    if others:
        raise UsageError(
            f"{place.name} holds other things ({safe(sorted(others)[0])})",
            f"name an empty {'folder, or one' if place.local else 'prefix, or one'} that doesn't exist",
        )
    place.put(MARKER, (json.dumps({"flowwatch_history": FORMAT}) + "\n").encode())


def _check(place: Place) -> None:
    """InputError for a place that is no history, or that of a newer flowwatch."""
    name = place.name
    try:
        found = json.loads(place.read(MARKER).decode("utf-8"))["flowwatch_history"]
    except FileNotFoundError:
        raise InputError(
            f"{name} is no history: {_why_not(place)}", "flowwatch record --to DIR makes one"
        ) from None
    except NotADirectoryError:
        raise InputError(
            f"{name} is no history: it is a file",
            "name the folder that flowwatch record --to DIR made; --input-file reads captures",
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


def _why_not(place: Place) -> str:
    try:
        place.check()
    except OSError as error:
        return str(error.strerror)
    return f"it holds no {MARKER}"


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


def hour_of(path: str) -> int | None:
    """When the hour began (ns since 1970) that a file lies in; None where it is of none."""
    try:
        date, hour = (part.partition("=")[2] for part in path.split("/")[-3:-1])
        return int(datetime.fromisoformat(f"{date}T{hour}:00:00+00:00").timestamp()) * 1_000_000_000
    except ValueError:
        return None


def write(where: Where, path: str, table: Arrow, runs: dict[str, tuple[int, int]],
          replaces: Iterable[str] = ()) -> int:  # fmt: skip
    """Write ``table`` as ``path`` there, whole or not at all; how many bytes. OutputError."""
    about = {"format": FORMAT, "runs": runs, "replaces": list(replaces)}
    numbers = [name for name in NUMBERS if name in table.column_names]
    shared = [
        leaf
        for one in (*FLOWS, *EVENTS)
        if one.name in table.column_names and one.name not in (*numbers, "uuid", "raw")
        for leaf in _leaves(one)
    ]
    data = parquet_bytes(table, shared=shared, numbers=numbers, about=about)
    place_of(where).put(path, data)
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


def listing(where: Where, *, since: int | None = None, until: int | None = None) -> Listing:
    """What lies in a history; flows of hours outside of ``since`` to ``until`` (ns) are passed over.

    InputError for what is no history, or can't be listed.
    """
    place = place_of(where)
    _check(place)
    found = Listing()
    try:
        files = _seen(place, since, until, found)
        for _ in range(LOOKS):
            found = _listed(place, files)
            before, files = files, _seen(place, since, until, more := Listing())
            found.left_out = more.left_out + found.left_out
            if not _merged_meanwhile(before, files):
                break
    except OSError as error:
        raise InputError(f"cannot read {place.name}: {error.strerror}") from None
    return found


def _seen(place: Place, since: int | None, until: int | None, found: Listing) -> list[File]:
    return [file for file in _files(place, found) if _in_time(file.path, since, until)]


def _merged_meanwhile(before: list[File], after: list[File]) -> bool:
    """Whether files went, or came to stand for others, while they were looked at.

    What is listed then may lack both a file that went and the one that stands for it.
    """
    first, second = ({file.path for file in one} for one in (before, after))
    return bool(first - second) or any(path.endswith(MERGED) for path in second - first)


def _listed(place: Place, files: list[File]) -> Listing:
    found = Listing()
    every = [piece for piece in _opened(place, files, found) if piece is not None]
    gone = {name for piece in every for name in piece.replaces}
    for piece in every:
        if piece.path in gone:
            found.replaced.append(piece.path)
        else:
            (found.flows if piece.path.startswith("flows/") else found.events).append(piece)
    return found


def _in_time(path: str, since: int | None, until: int | None) -> bool:
    """Whether a file may hold what is of that time."""
    hour = hour_of(path)
    if hour is None or not path.startswith("flows/"):
        return True
    return not (
        (since is not None and hour + HOUR <= since) or (until is not None and hour > until)
    )


def _opened(place: Place, files: list[File], found: Listing) -> Iterator[Piece | None]:
    if place.local is not None or len(files) < 2:
        return (open_piece(place, file, found) for file in files)
    # Each is a question to a server, and most of it is waiting.
    with ThreadPoolExecutor(AT_ONCE, "flowwatch-listing") as several:
        return iter(list(several.map(lambda file: open_piece(place, file, found), files)))


def _files(place: Place, found: Listing) -> Iterator[File]:
    """All that may be a history's; what can't be is noted."""
    for file in place.files():
        parts = file.path.split("/")
        if any(part.startswith(".") for part in parts) or parts == [MARKER] or parts[0] == MADE:
            continue
        if file.path.endswith(".parquet") and (parts[0], len(parts)) in (
            ("flows", 5),
            ("events", 4),
        ):
            yield file
        else:
            found.left_out.append(f"{safe(file.path)} is none of a history's files")


def open_piece(place: Place, file: File, found: Listing) -> Piece | None:
    """What the footer of a file tells; None, and a line in ``found``, where it can't be read."""
    pa, parquet = load()
    name = safe(file.path)
    try:
        with parquet.ParquetFile(place.open(file.path)) as opened:
            about = opened.metadata
            said: dict[str, Any] = json.loads((about.metadata or {})[KEY.encode()])
            newer = said["format"] > FORMAT
            runs = {str(run): (int(span[0]), int(span[1])) for run, span in said["runs"].items()}
            replaces = tuple(str(one) for one in said["replaces"])
            groups = () if newer else groups_from(said, opened)
    except (KeyError, TypeError, AttributeError):
        found.left_out.append(f"{name} was not written by flowwatch")
    except ConnectionError as error:
        raise InputError(f"cannot read {place.name}: {error.strerror}") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        found.left_out.append(f"{name} {_why(error, cut=True)}")
    else:
        if newer:
            found.left_out.append(f"{name} was written by a newer flowwatch")
            return None
        return Piece(place, file.path, runs, groups, replaces, file.size, about.num_rows)
    return None


class Unreadable(Exception):
    """Rows that can't be read; ``str()`` is a safe line that names the file and says why."""

    def __init__(self, line: str, *, gone: bool) -> None:
        super().__init__(line)
        self.gone = gone
        """Whether the file isn't there any more: its hour may have grown old."""


def rows(piece: Piece, columns: Sequence[Kept], group: Group | None = None) -> Arrow:
    """These columns of a file, or of one of its groups, its checksums checked. Unreadable."""
    pa, parquet = load()
    name = safe(piece.path)
    wanted = [one.name for one in columns]
    try:
        _check_bytes(piece, piece.groups if group is None else (group,))
        with parquet.ParquetFile(
            piece.place.open(piece.path),
            page_checksum_verification=True,
            pre_buffer=piece.place.local is None,
        ) as file:
            table = (
                file.read(columns=wanted)
                if group is None
                else file.read_row_group(group.number, columns=wanted)
            )
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        gone = isinstance(error, FileNotFoundError)
        raise Unreadable(f"{name} {_why(error)}", gone=gone) from None
    if not declared(pa, table, tuple(columns)):
        raise Unreadable(f"{name} is damaged", gone=False)
    return table


def _check_bytes(piece: Piece, groups: Iterable[Group]) -> None:
    """ValueError where these groups aren't what was written; of a bucket that would fetch all columns."""
    if piece.place.local is not None:
        with (piece.place.local / piece.path).open("rb") as file:
            if not all(one.is_whole(file) for one in groups):
                raise ValueError("bytes are others than were written")


def _why(error: Exception, *, cut: bool = False) -> str:
    """Why a file can't be read: what stands behind its name."""
    match error:
        case FileNotFoundError():
            return "went away while it was being read"
        case PermissionError():
            return "may not be read"
        case _ if isinstance(error, ConnectionError) or "AWS Error" in str(error):
            return f"could not be fetched ({error.strerror or 'the server failed'})"  # type: ignore[attr-defined]
    return "is damaged, or was cut off" if cut else "is damaged"
