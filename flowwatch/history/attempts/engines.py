"""The engines that answer: each is given SQL of its own, and files, and gives rows that are alike.

Ibis writes the SQL, and that is all it does here: its own connections to DuckDB and Spark ask for pandas,
and would convert what Arrow has already. None of these is installed with flowwatch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from flowwatch.errors import InputError, UsageError
from flowwatch.history.arrow import Arrow, load
from flowwatch.history.attempts.columns import ATTEMPTS, MINUTES
from flowwatch.text import safe

Run = Callable[[str, str, list[Path]], Arrow]
"""Answers SQL over a table of that name, which these files hold. Raises what its engine raises."""


class Engine(NamedTuple):
    """One of them."""

    name: str
    dialect: str
    """What Ibis calls its SQL."""
    install: str
    """What to type where it is missing."""
    run: Run


def load_ibis() -> Any:
    """``ibis``. UsageError with the line to type where it isn't installed."""
    try:
        return import_module("ibis")
    except ImportError as error:
        raise _missing("ibis", ENGINES["duckdb"]) from error


def _missing(name: str, of: Engine) -> UsageError:
    return UsageError(f"history ask needs {name}", of.install)


def _module(name: str, of: Engine) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise _missing(name, of) from error


def _duckdb(sql: str, table: str, files: list[Path]) -> Arrow:
    try:
        duckdb = import_module("duckdb")
    except ImportError as error:
        raise _missing("duckdb", ENGINES["duckdb"]) from error
    # Nothing is fetched, whatever the SQL: this machine may be inside of what is watched.
    config = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    with contextlib.closing(duckdb.connect(":memory:", config=config)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        names = [str(path) for path in files]
        connection.read_parquet(names, hive_partitioning=False).create_view(table)
        return connection.sql(sql).to_arrow_table()


def _chdb(sql: str, table: str, files: list[Path]) -> Arrow:
    session = _module("chdb.session", ENGINES["chdb"])
    pa, _ = load()
    # One at a time in a process: chDB's own rule.
    with contextlib.closing(session.Session()) as asked:
        asked.query("SET max_query_size = 100000000")
        common = os.path.commonpath([path.parent for path in files])
        names = ",".join(str(path.relative_to(common)) for path in files)
        pattern = f"{common}/{{{names}}}" if len(files) > 1 else str(files[0])
        asked.query(f"CREATE VIEW {table} AS SELECT * FROM file({_quoted(pattern)}, Parquet)")
        data = asked.query(sql, "ArrowStream").bytes()
        return pa.ipc.open_stream(data).read_all()


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SPARK_TYPES = {
    "text": "STRING", "int": "BIGINT", "bool": "BOOLEAN", "time": "TIMESTAMP", "texts": "ARRAY<STRING>",
}  # fmt: skip


def _spark(sql: str, table: str, files: list[Path]) -> Arrow:
    spark = _module("pyspark.sql", ENGINES["spark"]).SparkSession
    session = (
        spark.builder.appName("flowwatch history ask")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    # Not asked of the files, which would be a job of its own.
    columns = ATTEMPTS if table == "attempts" else MINUTES
    declared = ", ".join(f"{one.name} {_SPARK_TYPES[one.kind]}" for one in columns)
    reader = session.read.schema(declared)
    reader.parquet(*[str(path) for path in files]).createOrReplaceTempView(table)
    return session.sql(sql).toArrow()


ENGINES: Mapping[str, Engine] = {
    one.name: one
    for one in (
        Engine("duckdb", "duckdb", "pip install 'flowwatch[ask]'", _duckdb),
        Engine("chdb", "clickhouse", "pip install chdb", _chdb),
        Engine("spark", "pyspark", "pip install pyspark, and Java", _spark),
    )
}


class Reply(NamedTuple):
    """Names of columns, and rows: texts, whole numbers, fractions, times as ns since 1970."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def answer(engine: Engine, sql: str, table: str, files: list[Path]) -> Reply:
    """What it answers. InputError, one line, when a file is damaged, or the engine can't go on."""
    try:
        return answered(engine.run(sql, table, files))
    except (UsageError, KeyboardInterrupt):
        raise
    except Exception as error:  # each engine has errors of its own
        why = safe(next(iter(str(error).splitlines()), type(error).__name__))[:300]
        raise InputError(
            f"{engine.name} could not answer: {why}",
            "flowwatch history verify DIR says which file is damaged, if one is",
        ) from error


def answered(made: Arrow) -> Reply:
    """What an engine gave."""
    return Reply(made.column_names, list(_rows(made)))


def _rows(made: Arrow) -> Iterator[tuple[Any, ...]]:
    pa, _ = load()
    columns = []
    for column in made.columns:
        kind = column.type
        if pa.types.is_timestamp(kind):
            numbers = column.cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64())
            columns.append(numbers.to_pylist())
        elif pa.types.is_integer(kind) or pa.types.is_decimal(kind):
            # DuckDB adds up in 128 bits.
            columns.append(column.cast(pa.int64()).to_pylist())
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            columns.append([value.decode("utf-8", "replace") for value in column.to_pylist()])
        else:
            columns.append(column.to_pylist())
    return zip(*columns, strict=True)
