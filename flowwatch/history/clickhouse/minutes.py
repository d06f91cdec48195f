"""Records counted by the minute, by the server itself: a materialized view, into a table that adds up.

flowwatch_minutes      a row per minute, ends, port and verdict; several until the server merges them
flowwatch_by_minute    the view that fills it
"""

from __future__ import annotations

from typing import NamedTuple

from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.flavours import Flavour
from flowwatch.history.clickhouse.tables import FLOWS_TABLE, quoted

TABLE, VIEW = "flowwatch_minutes", "flowwatch_by_minute"
SECOND = 1_000_000_000
"""Nanoseconds."""


class Of(NamedTuple):
    """One column."""

    name: str
    meaning: str
    value: str = ""
    """Of a record, in SQL; "" where it is the column of that name."""
    number: bool = False


KEYS = (
    Of("direction", "`egress`, `ingress`, `unknown`"),
    Of("verdict", "Hubble's name"),
    Of("drop_reason", "Hubble's name, empty if it wasn't dropped"),
    Of("source_namespace", "of the sender"),
    Of("source_workload", "what made its pod"),
    Of("source_pod", "its pod"),
    Of("destination_namespace", "of the receiver"),
    Of("destination_workload", "what made its pod"),
    Of("destination_pod", "its pod"),
    Of("destination_peer", "outside of pods: its first DNS name, else its address",
       "if(destination_pod != '', '', if(empty(destination_names), destination_address, "
       "destination_names[1]))"),
    Of("destination_port", "the port, of ICMP the type", number=True),
    Of("protocol", "`TCP` …"),
    Of("node", "that saw it"),
)  # fmt: skip
"""Records that agree in these count together. Answers, whose port is another each time, don't count."""


def minute(flavour: Flavour) -> str:
    """The minute of a record, in SQL; of one without a time that in which it came."""
    time, recorded = flavour.number("time"), flavour.number("recorded")
    return f"toDateTime(intDiv(if({time} > 0, {time}, {recorded}), {60 * SECOND}) * 60, 'UTC')"


def create(database: Database) -> None:
    """Make the table and its view, if they aren't there. OSError."""
    flavour = database.flavour
    columns = ["`minute` DateTime('UTC')" if flavour.arrow else "`minute` DateTime"]
    columns += [f"`{one.name}` {'Int64' if one.number else flavour.repeated}" for one in KEYS]
    columns.append("`records` UInt64")
    if flavour.arrow:
        meanings = [
            "its beginning",
            *(one.meaning for one in KEYS),
            "how many there were: sum them",
        ]
        columns = [
            f"{column} COMMENT {quoted(meaning)}"
            for column, meaning in zip(columns, meanings, strict=True)
        ]
    names = ", ".join(one.name for one in KEYS)
    database.do(
        f"CREATE TABLE IF NOT EXISTS {TABLE} ({', '.join(columns)}) "
        f"ENGINE = SummingMergeTree PARTITION BY tuple() ORDER BY (minute, {names})"
    )
    values = ", ".join(f"{one.value or one.name} AS {one.name}" for one in KEYS)
    database.do(
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {VIEW} TO {TABLE} AS "
        f"SELECT {minute(flavour)} AS minute, {values}, count() AS records FROM {FLOWS_TABLE.name} "
        f"WHERE NOT ifNull(is_reply, 0) GROUP BY minute, {names}"
    )


def before(time: int) -> str:
    """Minutes that began before ``time`` (ns since 1970), in SQL."""
    return f"minute < toDateTime({-(-time // SECOND)}, 'UTC')"
