"""Files of Parquet, and what their footers say of each row group in words of our own.

Parquet's statistics say some of it too. But to ask pyarrow for those of a footer that was spoilt ends the
whole program (26.0.1: an exception of C++ that nobody catches), where a damaged file is to be named and left
out. And its checksums are of pages' contents alone: what a flipped bit in a page's head made of the labels
(one of 3,000 tried) would be taken for what was recorded.
"""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO

from flowwatch.history.arrow import KEY, ROWS, Arrow, load

SPANNED = ("recorded", "time")


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: what can be known of its rows without reading them. Times in ns since 1970."""

    number: int
    rows: int
    recorded: tuple[int, int]
    """First and last."""
    times: tuple[int, int]
    """The records' own, earliest and latest; (0, 0) where none has one."""
    begin: int = 0
    """Where its bytes begin in the file, and end; both 0 where that isn't known."""
    end: int = 0
    crc: int = 0
    """CRC-32 of these bytes."""

    def is_whole(self, file: BinaryIO) -> bool:
        """Whether its bytes in ``file`` are those that were written. OSError."""
        file.seek(self.begin)
        return not self.end or zlib.crc32(file.read(self.end - self.begin)) == self.crc


def parquet_bytes(
    table: Arrow, *, shared: list[str], numbers: list[str], about: dict[str, Any]
) -> bytes:
    """``table`` as a file of Parquet, packed by zstd, with checksums.

    ``shared``: leaves whose values are written once each; ``numbers``: columns written as differences, times
    and counts; ``about``: what the footer says of the file, as JSON below KEY, beside its groups.
    """
    pa, parquet = load()
    sink = io.BytesIO()
    groups = []
    with parquet.ParquetWriter(
        pa.PythonFile(sink, mode="w"),
        table.schema,
        compression="zstd",
        use_dictionary=shared,
        column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        for first in range(0, table.num_rows, ROWS):
            part = table.slice(first, ROWS)
            begin = sink.tell()
            writer.write_table(part, row_group_size=ROWS)
            end = sink.tell()
            groups.append([*_spans(part), begin, end, zlib.crc32(sink.getbuffer()[begin:end])])
        writer.add_key_value_metadata({KEY: json.dumps({**about, "groups": groups})})
    return sink.getvalue()


def _spans(part: Arrow) -> list[int]:
    """How many rows, and first and last of the columns of :data:`SPANNED` (0 where there is none)."""
    compute = import_module("pyarrow.compute")
    found = [part.num_rows]
    for name in SPANNED:
        if name in part.column_names:
            span = compute.min_max(part.column(name).cast("int64")).as_py()
            found += [span["min"] or 0, span["max"] or 0]
        else:
            found += [0, 0]
    return found


def groups_from(said: dict[str, Any], file: Arrow) -> tuple[Group, ...]:
    """The groups of an open file whose footer says ``said``. ValueError where that isn't what the file has.

    Raises TypeError too, and Arrow's own, for what is spoilt. Of a file that was written before footers said
    so the two columns are read.
    """
    about = file.metadata
    groups = said.get("groups")
    if groups is None:
        there = [name for name in SPANNED if name in file.schema_arrow.names]
        groups = [
            _spans(file.read_row_group(number, columns=there))
            for number in range(about.num_row_groups)
        ]
    found = [
        Group(number, int(rows), (int(first), int(last)), (int(earliest), int(latest)), *map(int, bytes_))
        for number, (rows, first, last, earliest, latest, *bytes_) in enumerate(groups)
    ]  # fmt: skip
    if len(found) != about.num_row_groups or sum(one.rows for one in found) != about.num_rows:
        raise ValueError("it has other groups than it says")
    return tuple(found)
