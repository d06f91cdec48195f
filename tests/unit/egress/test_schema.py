"""A field is declared in one line, and every format has it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

import pyarrow.parquet
import pytest

from flowwatch.egress.frame import frame
from flowwatch.egress.record_schema import RECORD
from flowwatch.egress.rows import Row
from flowwatch.egress.schema import ATTRIBUTED, CAUSED, ROW, Column, column
from flowwatch.output import Output
from flowwatch.report.reference import markdown_reference, with_tables
from flowwatch.report.tables import table_writer
from tests.unit.report.made import START, row

NEW: Column[Row] = column(
    "hops", "int", "routers on the way", lambda r: len(r.peer), unit="routers"
)


def file(form: str, columns: tuple[Column[Row], ...], rows: Iterable[Row]) -> bytes:
    out = io.BytesIO()
    with Output(out, "a test") as output:
        writer = table_writer(form, columns, output)
        for one in rows:
            writer.write(one)
        writer.close()
    return out.getvalue()


def last_of_each(columns: tuple[Column[Row], ...]) -> dict[str, tuple[str, Any]]:
    """Name and value of the last column, by format."""
    rows = [row(peer="a.io")]
    [line] = csv.DictReader(io.StringIO(file("csv", columns, rows).decode()))
    parquet = pyarrow.parquet.read_table(io.BytesIO(file("parquet", columns, rows)))
    table = frame(rows, columns)
    return {
        "csv": list(line.items())[-1],
        "json": list(json.loads(file("jsonl", columns, rows)).items())[-1],
        "parquet": list(parquet.to_pylist()[0].items())[-1],
        "frame": (table.columns[-1], table.iloc[0, -1]),
    }


def test_a_column_that_is_declared_is_in_every_format() -> None:
    assert last_of_each((*ROW, NEW)) == {
        "csv": ("hops", "4"),
        "json": ("hops", 4),
        "parquet": ("hops", 4),
        "frame": ("hops", 4),
    }


def test_and_in_the_documentation() -> None:
    page = "# Rows\n\n<!-- table: row -->\n\n| column |\n|---|\n| old |\n\nMore.\n"
    written = with_tables(page, {"row": markdown_reference((NEW,))})
    assert written == (
        "# Rows\n\n<!-- table: row -->\n\n| column | kind | unit | meaning |\n|---|---|---|---|\n"
        "| `hops` | int | routers | routers on the way |\n\nMore.\n"
    )
    assert with_tables(written, {"row": markdown_reference((NEW,))}) == written


def test_a_column_is_in_the_formats_that_it_names() -> None:
    only: Column[Row] = column(
        "hops", "int", "routers on the way", lambda r: 1, formats=frozenset({"json"})
    )
    found = last_of_each((*ROW, only))
    assert {form for form, (name, _) in found.items() if name == "hops"} == {"json"}


@pytest.mark.parametrize("columns", [CAUSED, ATTRIBUTED, RECORD], ids=["row", "attempt", "record"])
def test_every_name_stands_once(columns: tuple[Column[Any], ...]) -> None:
    names = [one.name for one in columns]
    assert len(set(names)) == len(names)
    assert names[0] == "schema_version"


def test_each_kind_in_a_frame() -> None:
    table = frame([row(first_seen=0), row(first_seen=START)])
    assert table["first_seen"].isna().tolist() == [True, False]
    assert table["first_seen"][1].value == START, "to the nanosecond, beside a missing one"
    assert table["rate"][0] == 0.12345
    assert table["drop_reasons"][0] == {"POLICY_DENIED": 2, "POLICY_DENY": 1}
    assert table["policies"][0] == (
        "allow dns (CiliumClusterwideNetworkPolicy)",
        "deny weather/only-openweathermap (CiliumNetworkPolicy)",
    )
    assert "schema_version" not in table
    empty = frame([])
    assert list(empty) == list(table)
    assert str(empty["forwarded"].dtype) == "int64"
    assert str(empty["last_seen"].dtype) == "datetime64[ns, UTC]"
