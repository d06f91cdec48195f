"""pyarrow, which is not installed with flowwatch: loaded when a history is written or read."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flowwatch.errors import UsageError
from flowwatch.history.columns import Kept

Arrow = Any
"""Anything of pyarrow's: it has no types of its own."""


KEY = "flowwatch"
"""In a file's footer."""
ROWS = 65_536
"""Of a row group: what is held in memory to be written, or read, at a time."""


def load() -> tuple[Arrow, Arrow]:
    """``pyarrow`` and ``pyarrow.parquet``. UsageError with the line to type where they aren't installed."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError("a history needs pyarrow", "pip install 'flowwatch[history]'") from error


def types(pa: Arrow) -> dict[str, Arrow]:
    """By the kind of a column."""
    text = pa.string()
    return {
        "text": text,
        "int": pa.int64(),
        "uint": pa.uint64(),
        "bool": pa.bool_(),
        "time": pa.timestamp("ns", tz="UTC"),
        "texts": pa.list_(text),
        "policies": pa.list_(
            pa.struct([(name, text) for name in ("effect", "kind", "namespace", "name")])
        ),
        "pairs": pa.list_(pa.struct([("name", text), ("value", text)])),
        "uuid": pa.binary(16),
        "bytes": pa.binary(),
    }


def schema(pa: Arrow, columns: tuple[Kept, ...]) -> Arrow:
    """The schema of a file with these columns."""
    known = types(pa)
    return pa.schema([(one.name, known[one.kind]) for one in columns])


_EVERY_ROW = frozenset({"recorded", "run", "sequence", "server"})


def is_always(one: Kept) -> bool:
    """Whether each row has a value there."""
    return one.name in _EVERY_ROW or (one.part in ("kind", "ends") and one.kind != "bool")


def declared(pa: Arrow, table: Arrow, columns: tuple[Kept, ...]) -> bool:
    """Whether ``table`` has these columns, of their types: a footer that was spoilt may name others."""
    wanted = schema(pa, columns)
    return all(
        one.name in table.column_names
        and table.schema.field(one.name).type.equals(wanted.field(one.name).type)
        and not (is_always(one) and table.column(one.name).null_count)
        for one in columns
    )


def array(pa: Arrow, values: list[Any], kind: str) -> Arrow:
    """``values`` as a column of that kind; a text that is no Unicode loses what isn't."""
    wanted = types(pa)[kind]
    try:
        return pa.array(values, wanted)
    except UnicodeEncodeError:
        return pa.array([_whole(one) for one in values], wanted)


def _whole(value: Any) -> Any:
    """``value`` with lone halves of characters, which JSON may hold and UTF-8 can't, replaced."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case dict():
            return {name: _whole(one) for name, one in value.items()}
        case list() | tuple():
            return [_whole(one) for one in value]
    return value
