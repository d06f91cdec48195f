"""Tables of any items to CSV, JSON lines or Parquet, a few lines in memory at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable
from importlib import import_module
from typing import Any, Generic, Protocol, TypeVar

from flowwatch.egress.schema import Column, carried
from flowwatch.errors import UsageError
from flowwatch.output import Output, Writer
from flowwatch.report.columns import csv_cells, json_object
from flowwatch.report.jsontext import to_json

Item = TypeVar("Item")
In = TypeVar("In", contravariant=True)

TABLE_FORMATS: dict[str, str] = {
    "csv": "comma-separated, with a header, safe to open in a spreadsheet",
    "jsonl": "one JSON object per line",
    "parquet": "columns for pandas and friends; needs pyarrow",
}
"""What ``--format`` may say."""

# Items per row group: a few MB in memory, and large enough to compress well.
_GROUP = 50_000


class TableWriter(Protocol[In]):
    """Writes items one by one; :meth:`close` writes what is held back, but doesn't close the file."""

    def write(self, item: In) -> None: ...

    def close(self) -> None: ...


class CsvWriter(Generic[Item]):
    """CSV: header at once, ``\\n`` at line ends, quotes only where needed, formulae disarmed."""

    def __init__(self, columns: tuple[Column[Item], ...], out: Writer) -> None:
        self._rows = csv.writer(out, lineterminator="\n")
        self._rows.writerow([column.name for column in carried(columns, "csv")])
        self._cells: Callable[[Item], list[Any]] = csv_cells(columns)

    def write(self, item: Item) -> None:
        self._rows.writerow(self._cells(item))

    def close(self) -> None:
        """Nothing is held back."""


class JsonlWriter(Generic[Item]):
    """One JSON object per line, keys in the order of the columns."""

    def __init__(self, columns: tuple[Column[Item], ...], out: Writer) -> None:
        self._out = out
        self._object = json_object(columns)

    def write(self, item: Item) -> None:
        self._out.write(to_json(self._object(item)) + "\n")

    def close(self) -> None:
        """Nothing is held back."""


class ParquetWriter(Generic[Item]):
    """Parquet: times as UTC timestamps in ns, texts and policies as lists, counts as maps."""

    def __init__(self, columns: tuple[Column[Item], ...], out: Output) -> None:
        """UsageError with the line to type when pyarrow isn't installed."""
        try:
            pyarrow: Any = import_module("pyarrow")
            parquet: Any = import_module("pyarrow.parquet")
        except ImportError as error:
            raise UsageError(
                "writing Parquet needs pyarrow", "pip install 'flowwatch[parquet]'"
            ) from error
        types: dict[str, Any] = {
            "int": pyarrow.int64(),
            "uint": pyarrow.uint64(),
            "float": pyarrow.float64(),
            "bool": pyarrow.bool_(),
            "time": pyarrow.timestamp("ns", tz="UTC"),
            "texts": pyarrow.list_(pyarrow.string()),
            "policies": pyarrow.list_(
                pyarrow.struct(
                    [(name, pyarrow.string()) for name in ("effect", "kind", "namespace", "name")]
                )
            ),
            "counts": pyarrow.map_(pyarrow.string(), pyarrow.int64()),
        }
        columns = carried(columns, "parquet")
        self._schema = pyarrow.schema(
            [(c.name, types.get(c.kind, pyarrow.string())) for c in columns]
        )
        self._pyarrow = pyarrow
        self._object = json_object(tuple(c for c in columns if c.kind != "time"), "parquet")
        self._times = [(c.name, c.value) for c in columns if c.kind == "time"]
        self._held: list[dict[str, Any]] = []
        self._out = out
        # Its own __del__ writes the footer, into a file that an interrupt has closed by then.
        writer = type("Writer", (parquet.ParquetWriter,), {"__del__": lambda _: None})
        try:
            self._file = writer(out.binary, self._schema)
        except OSError as error:
            raise out.translate(error) from error

    def write(self, item: Item) -> None:
        values = self._object(item)
        for name, value in self._times:
            values[name] = value(item) or None
        self._held.append(values)
        if len(self._held) >= _GROUP:
            self._flush()

    def close(self) -> None:
        """Write the rest and the footer without which nobody can read the file."""
        if self._held:
            self._flush()
        try:
            self._file.close()
        except OSError as error:
            raise self._out.translate(error) from error

    def _flush(self) -> None:
        held, self._held = self._held, []
        table = self._pyarrow.Table.from_pylist(held, schema=self._schema)
        try:
            self._file.write_table(table)
        except OSError as error:
            raise self._out.translate(error) from error


def table_writer(
    table_format: str, columns: tuple[Column[Item], ...], out: Output
) -> TableWriter[Item]:
    """The writer for a key of TABLE_FORMATS; UsageError for anything else."""
    if table_format == "csv":
        return CsvWriter(columns, out)
    if table_format == "jsonl":
        return JsonlWriter(columns, out)
    if table_format == "parquet":
        return ParquetWriter(columns, out)
    known = ", ".join(TABLE_FORMATS)
    raise UsageError(f"invalid export format: {table_format}", f"choose one of {known}")
