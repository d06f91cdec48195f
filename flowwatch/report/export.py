"""``export``: attempts, rows or records as CSV, JSON lines or Parquet.

    with open_output(path) as out:
        count = write_attempts(attempts, out, "csv")

All take any iterable and write as they read, so that what came before an error is written. They
return how many lines of data they wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from flowwatch.egress.record_schema import RECORD
from flowwatch.egress.rows import Row
from flowwatch.egress.schema import ATTEMPT, ATTRIBUTED, Column, row_columns
from flowwatch.errors import OutputError
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.model import Flow
from flowwatch.output import Output
from flowwatch.report.tables import TABLE_FORMATS as TABLE_FORMATS
from flowwatch.report.tables import table_writer

Item = TypeVar("Item")


def write_attempts(
    attempts: Iterable[Attempt],
    out: Output,
    table_format: str = "csv",
    *,
    attributed: bool = False,
) -> int:
    """One line per attempt: ``export``; ``attributed``: with the column of ``--policies``."""
    return _write(ATTRIBUTED if attributed else ATTEMPT, attempts, out, table_format)


def write_rows(
    rows: Iterable[Row],
    out: Output,
    table_format: str = "csv",
    *,
    attributed: bool = False,
    staged: bool = False,
    columns: tuple[Column[Row], ...] = (),
) -> int:
    """One line per pod and destination: ``export --grouped``, ``summary -o csv``; ``attributed``: with
    the columns of ``--policies``; ``staged``: with those of ``--staged``; ``columns``: with these behind."""
    shown = (*row_columns(attributed=attributed, staged=staged), *columns)
    return _write(shown, rows, out, table_format)


def write_records(flows: Iterable[Flow], out: Output, table_format: str = "csv") -> int:
    """One line per record: ``export --raw``."""
    return _write(RECORD, flows, out, table_format)


def _write(
    columns: tuple[Column[Item], ...], items: Iterable[Item], out: Output, table_format: str
) -> int:
    writer = table_writer(table_format, columns, out)
    count = 0
    try:
        for item in items:
            writer.write(item)
            count += 1
    except OutputError:
        raise
    except BaseException:
        # The source failed, or Ctrl-C: what was written so far must be readable.
        writer.close()
        raise
    writer.close()
    return count
