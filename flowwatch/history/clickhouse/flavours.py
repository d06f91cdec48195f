"""What servers of different ages know: how a column is declared, sent and read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from flowwatch.history.arrow import Arrow, is_always, types
from flowwatch.history.columns import Kept

SINCE = (22, 3)
"""The first version with all of :data:`TODAY`; before it times are plain numbers, and blocks native."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """One of them."""

    types: dict[str, str]
    """By the kind of a column."""
    repeated: str
    """A text of which there are few different ones."""
    arrow: bool
    """Whether it takes and gives Arrow, and has times to the nanosecond, codecs, and a TTL."""
    at: Callable[[int], str]
    """A time (ns since 1970) in SQL."""
    number: Callable[[str], str]
    """A column of times as ns since 1970, in SQL."""

    def type_of(self, column: Kept) -> str:
        """What a column is declared as."""
        text = column.kind == "text" and (column.part != "flow" or column.name in _REPEATED)
        made = self.repeated if text else self.types[column.kind]
        if column.kind in _NEVER_NULL or _there(column):
            return made
        if made.startswith("LowCardinality("):
            return made.replace("(", "(Nullable(", 1) + ")"
        return f"Nullable({made})"

    def taken(self, pa: Arrow, table: Arrow, columns: Sequence[Kept]) -> Arrow:
        """``table`` as the server takes it: what can't be missing there is empty."""
        made = {one.name: self._filled(pa, table.column(one.name), one) for one in columns}
        return pa.table(made)

    def _filled(self, pa: Arrow, column: Arrow, of: Kept) -> Arrow:
        compute: Any = import_module("pyarrow.compute")
        if of.kind == "time":
            numbers = compute.fill_null(column.cast(pa.int64()), 0)
            return numbers.cast(types(pa)["time"]) if self.arrow else numbers
        if of.kind in _LISTS and column.null_count:
            return pa.chunked_array([pa.array([one or [] for one in column.to_pylist()],
                                              types(pa)[of.kind])])  # fmt: skip
        if column.null_count and _there(of):
            return compute.fill_null(column, "" if of.kind == "text" else 0)
        return column

    def given(self, pa: Arrow, table: Arrow, columns: Sequence[Kept]) -> Arrow:
        """What the server gave as files have it."""
        known = types(pa)
        made = {one.name: table.column(one.name).cast(known[one.kind]) for one in columns}
        if "policy_log" in made and "encrypted" in made:
            # A list is never missing there; the flag beside it tells of a record without either.
            compute: Any = import_module("pyarrow.compute")
            none = pa.scalar(None, known["texts"])
            made["policy_log"] = compute.if_else(
                made["encrypted"].is_valid(), made["policy_log"], none
            )
        return pa.table(made)

    def written(self, column: Kept, values: list[Any]) -> list[Any]:
        """Values as the client's native blocks take them."""
        if column.kind in _TUPLES:
            return [[json.dumps(list(one.values())) for one in value] for value in values]
        return values

    def read(self, pa: Arrow, found: Sequence[Any], columns: Sequence[Kept]) -> Arrow:
        """What the client made of native blocks, as Arrow."""
        made = {}
        # Of no rows it makes no columns.
        for one, values in zip(columns, found or [()] * len(columns), strict=True):
            kind = pa.int64() if one.kind == "time" else types(pa)[one.kind]
            made[one.name] = pa.array([_plain(one, value) for value in values], kind)
        return pa.table(made)


def _plain(column: Kept, value: Any) -> Any:
    match column.kind:
        case "bool":
            return None if value is None else bool(value)
        case "policies" | "pairs":
            names = _TUPLES[column.kind]
            return [dict(zip(names, json.loads(one), strict=True)) for one in value]
    return value


_TUPLES = {"policies": ("effect", "kind", "namespace", "name"), "pairs": ("name", "value")}
_LISTS = ("texts", *_TUPLES)
_NEVER_NULL = (*_LISTS, "time")
"""Kinds that are empty (a time: 1970) where a file has nothing."""
_THERE = frozenset(
    {"source_address", "source_port", "destination_address", "destination_port", "what", "name", "text",
     "count", "flush", "number"}
)  # fmt: skip
"""Columns without a null beside those that every file fills."""


def _there(column: Kept) -> bool:
    return column.name in _THERE or is_always(column)


_REPEATED = ("run", "server", "what", "name")


_COMMON = {
    "text": "String",
    "int": "Int64",
    "uint": "UInt64",
    "uuid": "FixedString(16)",
    "bytes": "String",
}

TODAY = Flavour(
    {
        **_COMMON,
        "bool": "Bool",
        "time": "DateTime64(9, 'UTC')",
        "texts": "Array(LowCardinality(String))",
        **{
            kind: f"Array(Tuple({', '.join(f'{name} String' for name in names)}))"
            for kind, names in _TUPLES.items()
        },
    },
    "LowCardinality(String)",
    True,
    lambda time: f"fromUnixTimestamp64Nano(toInt64({time}), 'UTC')",
    lambda name: f"toUnixTimestamp64Nano({name})",
)
BEFORE = Flavour(
    # Tuples in lists would be several columns there: each is a text, of JSON.
    {**_COMMON, "bool": "UInt8", "time": "Int64", **dict.fromkeys(_LISTS, "Array(String)")},
    "String",
    False,
    lambda time: f"toInt64({time})",
    lambda name: name,
)


def flavour_of(version: str) -> Flavour:
    """That of a server's version."""
    numbers = tuple([int(one) for one in re.findall(r"\d+", version)[:2]])
    return TODAY if numbers >= SINCE else BEFORE
