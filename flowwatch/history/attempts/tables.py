"""Attempts as Arrow tables, and their counts by the minute."""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter

from flowwatch.flows.attempt import Attempt
from flowwatch.history.arrow import Arrow, load
from flowwatch.history.arrow import array as plain_array
from flowwatch.history.attempts.columns import ATTEMPTS, KEYS, MINUTE, MINUTES, Of

_LATE = "waited_us"


def types(pa: Arrow) -> dict[str, Arrow]:
    """By the kind of a column. Times are to the microsecond: Spark reads no others."""
    text = pa.string()
    return {
        "text": text,
        "int": pa.int64(),
        "bool": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
        "texts": pa.list_(pa.field("element", text, nullable=False)),
    }


def schema(pa: Arrow, columns: tuple[Of, ...]) -> Arrow:
    """The schema of a file with these columns: no value is missing, so no engine has to ask."""
    known = types(pa)
    return pa.schema([pa.field(one.name, known[one.kind], nullable=False) for one in columns])


def table_of(attempts: list[Attempt]) -> Arrow:
    """``attempts`` as a table of :data:`ATTEMPTS`, by time."""
    pa, _ = load()
    ordered = sorted(attempts, key=attrgetter("first_seen"))
    made = [_column(pa, one, ordered) for one in ATTEMPTS]
    return pa.table(made, schema=schema(pa, ATTEMPTS))


def _column(pa: Arrow, column: Of, attempts: list[Attempt]) -> Arrow:
    values = [column.value(one) for one in attempts]
    if column.kind == "time":
        return pa.array([value // 1000 for value in values], pa.int64()).cast(types(pa)["time"])
    if column.kind == "texts":
        # Not by way of a nullable list, which Arrow doesn't cast to one that isn't.
        flat = plain_array(pa, [text for value in values for text in value], "text")
        offsets = [0]
        for value in values:
            offsets.append(offsets[-1] + len(value))
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), flat, type=types(pa)["texts"]
        )
    if column.kind == "text":
        return plain_array(pa, values, "text")
    return pa.array(values, types(pa)[column.kind])


def minutes_of(table: Arrow) -> Arrow:
    """The counts of a table of attempts, as one of :data:`MINUTES`."""
    pa, _ = load()
    compute = import_module("pyarrow.compute")
    first = table.column("first_seen").cast(pa.int64())
    minute = compute.multiply(compute.divide(first, MINUTE), MINUTE)
    counted = {
        "minute": minute,
        **{name: table.column(name) for name in KEYS},
        "attempts": pa.array([1] * table.num_rows, pa.int64()),
        "tries": table.column("tries"),
        "records": table.column("records"),
        "late": compute.greater(table.column(_LATE), 0).cast(pa.int64()),
        "uncounted": table.column("uncounted").cast(pa.int64()),
        "first_seen": first,
        "last_seen": table.column("last_seen").cast(pa.int64()),
    }
    sums = ("attempts", "tries", "records", "late", "uncounted")
    grouped = (
        pa.table(counted)
        .group_by(["minute", *KEYS])
        .aggregate([*[(name, "sum") for name in sums], ("first_seen", "min"), ("last_seen", "max")])
    )
    names = {name: f"{name}_sum" for name in sums}
    names |= {"first_seen": "first_seen_min", "last_seen": "last_seen_max"}
    wanted = schema(pa, MINUTES)
    columns = [
        grouped.column(names.get(one.name, one.name)).cast(wanted.field(one.name).type)
        for one in MINUTES
    ]
    return pa.table(columns, schema=wanted).sort_by([("minute", "ascending")])
