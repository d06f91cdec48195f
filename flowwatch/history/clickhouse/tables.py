"""The tables of a history in ClickHouse, made from the declared columns when they are absent.

    flowwatch_history   one row: the format
    flowwatch_flows     a row per record, as ``flows/`` of a folder
    flowwatch_events    what was told between them, as ``events/``

Partitions are days of when rows came, so that a clock, or a capture, of any time makes few of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flowwatch.errors import InputError, UsageError
from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.flavours import Flavour
from flowwatch.history.columns import EVENTS, FLOWS, Kept
from flowwatch.text import safe

FORMAT = 1
"""Of the tables. Raised when a column changes its meaning or goes."""
MARKER = "flowwatch_history"


def _of_table(name: str, meaning: str) -> Kept:
    return Kept(name, "int", meaning, "flow", lambda _: None)


@dataclass(frozen=True, slots=True)
class Table:
    """One of them."""

    name: str
    columns: tuple[Kept, ...]
    order: tuple[str, ...]
    """What rows are sorted, and known again, by."""
    time: str
    """The column that ``--keep`` and ``--since`` look at."""


FLOWS_TABLE = Table(
    "flowwatch_flows",
    (
        *FLOWS,
        _of_table(
            "flush",
            "which of the run's inserts it came with; `kind_group` and `ends_group` are of one",
        ),
    ),
    ("recorded", "run", "sequence"),
    "time",
)
EVENTS_TABLE = Table(
    "flowwatch_events",
    (
        *EVENTS,
        _of_table("number", "its number within the run, in the order in which they were told"),
    ),
    ("recorded", "run", "number"),
    "recorded",
)
TABLES = (FLOWS_TABLE, EVENTS_TABLE)


def quoted(text: str) -> str:
    """``text`` as a string of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def named(name: str) -> str:
    """``name`` as SQL names a database or a table."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def day(flavour: Flavour) -> str:
    """The day that rows came, in SQL."""
    return "toDate(recorded)" if flavour.arrow else "toDate(intDiv(recorded, 1000000000))"


def made_of(table: Table, flavour: Flavour) -> str:
    """The statement that makes a table."""
    columns = ",\n".join(f"  {line}" for line in _lines(table, flavour))
    # Times of a day are found by the index, as rows lie by when they came.
    return (
        f"CREATE TABLE IF NOT EXISTS {table.name} (\n{columns}\n)\n"
        f"ENGINE = MergeTree PARTITION BY {day(flavour)} ORDER BY ({', '.join(table.order)})"
    )


def _lines(table: Table, flavour: Flavour) -> Iterator[str]:
    for one in table.columns:
        line = f"{named(one.name)} {flavour.type_of(one)}"
        if not flavour.arrow:
            yield line
            continue
        codec = "Delta, ZSTD" if one.kind == "time" or one.name == "sequence" else "ZSTD"
        unit = f" [{one.unit}]" if one.unit else ""
        yield f"{line} COMMENT {quoted(one.meaning + unit)} CODEC({codec})"
    if flavour.arrow and table.time != "recorded":
        yield f"INDEX by_{table.time} {table.time} TYPE minmax GRANULARITY 1"


def create(database: Database) -> None:
    """Make the tables that aren't there. UsageError where others are in their place, or nothing can."""
    try:
        there = _there(database)
        _check_format(database, there)
        flavour = database.flavour
        for table in TABLES:
            database.do(made_of(table, flavour))
        if MARKER not in there:
            database.do(
                f"CREATE TABLE IF NOT EXISTS {MARKER} (format UInt32) "
                "ENGINE = MergeTree PARTITION BY tuple() ORDER BY format"
            )
            database.do(f"INSERT INTO {MARKER} VALUES ({FORMAT})")
        _check_columns(_there(database), database)
    except InputError as error:
        raise UsageError(error.message, error.hint) from None
    except OSError as error:
        raise UsageError(f"cannot record to {database.name}", str(error.strerror)) from None


def check(database: Database) -> None:
    """InputError for a database that holds no history, or that of a newer flowwatch."""
    try:
        there = _there(database)
        _check_format(database, there)
    except OSError as error:
        raise unreadable(database, error) from None
    if MARKER not in there:
        raise InputError(
            f"{database.name} is no history: it has no table {MARKER}",
            f"flowwatch record --to {database.name} makes one",
        )
    _check_columns(there, database)


def unreadable(database: Database, error: OSError) -> InputError:
    """What is raised when the server can't be read from."""
    return InputError(f"cannot read {database.name}: {error.strerror}")


def _there(database: Database) -> dict[str, set[str]]:
    return columns_of(database, (MARKER, *(one.name for one in TABLES)))


def columns_of(database: Database, names: Sequence[str]) -> dict[str, set[str]]:
    """By those of these tables that are there, their columns. OSError."""
    found: dict[str, set[str]] = {}
    for table, column in database.rows(
        f"SELECT table, name FROM system.columns WHERE database = {quoted(database.database)} "
        f"AND table IN ({', '.join(map(quoted, names))})"
    ):
        found.setdefault(table, set()).add(column)
    return found


def _check_format(database: Database, there: dict[str, set[str]]) -> None:
    if MARKER not in there:
        return
    if "format" not in there[MARKER]:
        raise foreign(database, MARKER, "format")
    found = max((int(row[0]) for row in database.rows(f"SELECT format FROM {MARKER}")), default=0)
    if found > FORMAT:
        raise InputError(
            f"{database.name} was written by a newer flowwatch (format {found}, this one knows {FORMAT})",
            "update flowwatch",
        )


def _check_columns(there: dict[str, set[str]], database: Database) -> None:
    for table in TABLES:
        for one in table.columns:
            if one.name not in there.get(table.name, ()):
                raise foreign(database, table.name, one.name)


def foreign(database: Database, table: str, column: str) -> InputError:
    """What is raised where another's table has the name of ours."""
    return InputError(
        f"{database.name}: the table {table} is none of flowwatch's: it has no column {safe(column)}",
        "name another database",
    )


def conditions(where: Sequence[str]) -> str:
    """``where`` as SQL has it behind a table."""
    return f" WHERE {' AND '.join(where)}" if where else ""


def number_of(database: Database, table: Table, where: Sequence[str] = ()) -> int:
    """Rows of a table. OSError."""
    return int(database.rows(f"SELECT count() FROM {table.name}{conditions(where)}")[0][0])
