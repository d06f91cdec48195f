"""What earlier runs of a source have in a database: what a restart goes on from."""

from __future__ import annotations

from flowwatch.flows.model import Flow
from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.records import flows_of
from flowwatch.history.clickhouse.tables import (
    EVENTS_TABLE,
    FLOWS_TABLE,
    check,
    named,
    quoted,
    unreadable,
)
from flowwatch.history.recorder import Origin
from flowwatch.history.resume import KNOWN, Resume

PART = 50_000
"""Records that are asked for at once."""


def resume(database: Database, origin: Origin, *, live: bool) -> Resume:
    """What is there of ``origin``. InputError for what is no history, or a server that fails."""
    check(database)
    runs = (
        f"SELECT run FROM {EVENTS_TABLE.name} WHERE what = 'run' AND name = {quoted(origin.where)} "
        f"AND text = {quoted(origin.filters)}"
    )
    columns = ", ".join(named(one.name) for one in FLOWS_TABLE.columns)
    order = ", ".join(f"{name} DESC" for name in FLOWS_TABLE.order)
    flows: list[Flow] = []
    try:
        while len(flows) < KNOWN:
            table = database.table(
                f"SELECT {columns} FROM {FLOWS_TABLE.name} WHERE run IN ({runs}) "
                f"ORDER BY {order} LIMIT {len(flows)}, {PART}",
                FLOWS_TABLE.columns,
            )
            flows += flows_of(table)
            if table.num_rows < PART:
                break
    except OSError as error:
        raise unreadable(database, error) from None
    return Resume(flows, live=live)
