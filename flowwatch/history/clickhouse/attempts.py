"""Attempts, and their counts by the minute, in tables of their own beside a history's records.

    flowwatch_made               a row per making: of which records, as ``made.json`` of a folder
    flowwatch_attempts           a row per attempt, as ``made/attempts/``
    flowwatch_attempt_minutes    their counts by the minute, as ``made/minutes/``

Each row names its ``making``, and counts once ``flowwatch_made`` has a row of that name, which comes last: so
what is made appears whole or not at all. Of several the newest counts. Each has a partition, to go
at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from flowwatch.errors import OutputError, UsageError
from flowwatch.flows.attempt import Attempt
from flowwatch.history.arrow import Arrow, load
from flowwatch.history.attempts.columns import ATTEMPTS, KEYS, MINUTES, Of
from flowwatch.history.attempts.made import Made, made_from, text_of
from flowwatch.history.attempts.made import Table as Name
from flowwatch.history.attempts.making import HELD, attempts_of
from flowwatch.history.attempts.tables import minutes_of, table_of
from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.flavours import SINCE
from flowwatch.history.clickhouse.records import TableRecords
from flowwatch.history.clickhouse.tables import (
    EVENTS_TABLE,
    FLOWS_TABLE,
    TABLES,
    columns_of,
    foreign,
    named,
    number_of,
    quoted,
)
from flowwatch.history.reading import HistorySource

MARKER = "flowwatch_made"
NAMES: dict[Name, str] = {
    "attempts": "flowwatch_attempts",
    "minutes": "flowwatch_attempt_minutes",
}
_COLUMNS: dict[Name, tuple[Of, ...]] = {"attempts": ATTEMPTS, "minutes": MINUTES}
_ORDER: dict[Name, str] = {"attempts": "first_seen", "minutes": "minute"}
LEFT = 86_400
"""Seconds until rows of a making that never appeared go: whoever made them was killed."""

_TYPES = {
    "text": "String", "int": "Int64", "bool": "Bool", "time": "DateTime64(6, 'UTC')",
    "texts": "Array(LowCardinality(String))",
}  # fmt: skip
_CODECS = {"time": "Delta, ZSTD"}


def knows(database: Database) -> bool:
    """Whether the server is new enough. OSError."""
    return database.flavour.arrow


def too_old(database: Database) -> str:
    """What is said of one that isn't."""
    return f"attempts need ClickHouse {SINCE[0]}.{SINCE[1]} or later, {database.name} is {database.version}"


def create(database: Database) -> None:
    """Make the tables, and the columns that an earlier flowwatch didn't have. OSError, UsageError."""
    there = columns_of(database, (MARKER, *NAMES.values()))
    for name in there:
        if "making" not in there[name]:
            error = foreign(database, name, "making")
            raise UsageError(error.message, error.hint)
    database.do(
        f"CREATE TABLE IF NOT EXISTS {MARKER} (`making` String COMMENT 'its name', "
        "`at` DateTime64(9, 'UTC') COMMENT 'when it was done', "
        "`said` String COMMENT 'of which records, as JSON') "
        "ENGINE = MergeTree PARTITION BY making ORDER BY at"
    )
    for table, name in NAMES.items():
        columns = ["`making` LowCardinality(String) COMMENT 'which of flowwatch_made it is of'"]
        columns += [_declared(one) for one in _COLUMNS[table]]
        database.do(
            f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(columns)}) "
            f"ENGINE = MergeTree PARTITION BY making ORDER BY {_ORDER[table]}"
        )
        for one in _COLUMNS[table]:
            if name in there and one.name not in there[name]:
                database.do(f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {_declared(one)}")


def _declared(column: Of) -> str:
    repeated = column.kind == "text" and column.name in KEYS
    kind = "LowCardinality(String)" if repeated else _TYPES[column.kind]
    unit = f" [{column.unit}]" if column.unit else ""
    codec = _CODECS.get(column.kind, "ZSTD")
    return f"{named(column.name)} {kind} COMMENT {quoted(column.meaning + unit)} CODEC({codec})"


def read_made(database: Database, problems: list[str]) -> Made | None:
    """What was made last of the history; None, and a line where that isn't because there is none. OSError."""
    try:
        found = database.rows(
            f"SELECT making, said FROM {MARKER} ORDER BY at DESC, making DESC LIMIT 1"
        )
    except FileNotFoundError:
        return None
    if not found:
        return None
    made = made_from(str(found[0][1]), MARKER, problems)
    if made is not None:
        made.making = str(found[0][0])
    return made


def there(database: Database) -> tuple[dict[str, tuple[int, int]], int]:
    """By run, when the first and the last of its rows came (ns since 1970); and how many rows. OSError."""
    runs: dict[str, tuple[int, int]] = {}
    rows = 0
    recorded = database.flavour.number("recorded")
    for table in TABLES:
        for run, count, first, last in database.rows(
            f"SELECT run, count(), min({recorded}), max({recorded}) FROM {table.name} GROUP BY run"
        ):
            before = runs.get(run, (first, last))
            runs[run] = min(first, before[0]), max(last, before[1])
            rows += count
    return runs, rows


def newer(database: Database, made: Made) -> int:
    """Records that ``made`` doesn't know, or that went since: about so many, 0 if none. OSError."""
    runs, rows = there(database)
    if made.of_just(runs, rows):
        return 0
    since = f"recorded > {database.flavour.at(made.until)}"
    return number_of(database, FLOWS_TABLE, [since]) or max(1, abs(rows - made.rows))


def rows_of(database: Database, table: Name, made: Made) -> int:
    """Rows of ``made``. OSError."""
    found = database.rows(
        f"SELECT count() FROM {NAMES[table]} WHERE making = {quoted(made.making)}"
    )
    return int(found[0][0])


def make(database: Database, *, now: Callable[[], int] = time.time_ns) -> Made | None:
    """Make all anew, if the records are others than last time; None if not.

    OSError where the server doesn't do it, InputError where records can't be read, OutputError.
    """
    runs, rows = there(database)
    before = read_made(database, [])
    if not rows:
        return None
    if before is not None and before.of_just(runs, rows):
        _tidy(database, now())
        return None
    create(database)
    forgotten = _forgotten(database)
    began = now()
    making = f"{_moment(began)}-{os.urandom(4).hex()}"
    try:
        attempts = _write(database, making, attempts_of(HistorySource(TableRecords(database))))
    except BaseException:
        with suppress(OSError):
            _drop(database, making)
        raise
    until = max((last for _, last in runs.values()), default=0)
    made = Made(runs, rows, attempts, until, making=making)
    # Whether it came when nobody answers isn't known: its rows stay then.
    _appear(database, made, now())
    if _forgotten(database) != forgotten:
        _drop(database, making)
        raise OutputError(
            f"records of {database.name} were deleted meanwhile", "flowwatch history compact again"
        )
    _tidy(database, now())
    return made


def _moment(time_: int) -> str:
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(time_ / 1e9))


def _forgotten(database: Database) -> int:
    """How often it was told that records were to be forgotten."""
    return number_of(database, EVENTS_TABLE, ["what = 'deleted' AND name = 'forgotten'"])


def _write(database: Database, making: str, attempts: Iterable[Attempt]) -> int:
    pa, _ = load()
    count = 0
    for some in _batched(attempts):
        table = table_of(some)
        count += len(some)
        for name, rows in (("attempts", table), ("minutes", minutes_of(table))):
            of = pa.array([making] * rows.num_rows, pa.string())
            database.add(NAMES[name], rows.append_column("making", of))  # type: ignore[index]
    return count


def _batched(attempts: Iterable[Attempt]) -> Iterator[list[Attempt]]:
    each = iter(attempts)
    while some := list(islice(each, HELD)):
        yield some


def _appear(database: Database, made: Made, at: int) -> None:
    pa, _ = load()
    row: Arrow = pa.table(
        {
            "making": pa.array([made.making], pa.string()),
            "at": pa.array([at], pa.int64()).cast(pa.timestamp("ns", tz="UTC")),
            "said": pa.array([text_of(made)], pa.string()),
        }
    )
    database.add(MARKER, row)


def _makings(database: Database) -> set[str]:
    """Of which there are rows."""
    return {
        str(making)
        for name in NAMES.values()
        for (making,) in database.rows(f"SELECT making FROM {name} GROUP BY making")
    }


def _tidy(database: Database, now: int) -> None:
    """Take away what the newest one stands for, and what others have left half made."""
    appeared = _appeared(database)
    left = _moment(now - LEFT * 10**9)
    half = {one for one in _makings(database) - {*appeared} if one < left}
    for one in (*appeared[1:], *sorted(half)):
        _drop(database, one)


def _appeared(database: Database) -> list[str]:
    """The makings that have a name, the newest first: whoever looks finds the same one there."""
    found = database.rows(f"SELECT making FROM {MARKER} ORDER BY at DESC, making DESC")
    return [str(making) for (making,) in found]


def _drop(database: Database, making: str) -> None:
    """Take away one of them, its name first: nobody shall find half of it. OSError."""
    for name in (MARKER, *NAMES.values()):
        database.do(f"ALTER TABLE {name} DROP PARTITION {quoted(making)}")


def unmake(database: Database) -> bool:
    """Take away all that was made, or is being made; whether there was any. OSError."""
    if MARKER not in columns_of(database, (MARKER,)):
        return False
    appeared = _appeared(database)
    for one in (*appeared, *sorted(_makings(database) - {*appeared})):
        _drop(database, one)
    return bool(appeared)


def tables(database: Database) -> list[tuple[str, str]]:
    """Those that are there, each with its column of a time. OSError."""
    found = columns_of(database, tuple(NAMES.values()))
    return [(name, _ORDER[table]) for table, name in NAMES.items() if name in found]
