"""The rows as a pandas frame: the same rows that the screen, the CSV and the JSON show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowwatch.egress.rows import Row

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "direction",
    "namespace",
    "pod",
    "workload",
    "peer",
    "peer_kind",
    "port",
    "protocol",
    "forwarded",
    "dropped",
    "audited",
    "errors",
    "unknown",
    "records",
    "drop_reasons",
    "policies",
    "first_seen",
    "last_seen",
    "rate",
    "peer_addresses",
    "cluster",
    "server",
)


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """One line per row, in their order.

    Counts are integers, ``first_seen`` and ``last_seen`` UTC timestamps (missing where no record
    had a time), ``drop_reasons`` dicts of attempts by reason, ``policies`` tuples of text as
    ``deny weather/deny-world (CiliumNetworkPolicy)``.
    """
    import pandas as pd

    table = pd.DataFrame(
        [
            (
                row.direction,
                row.namespace,
                row.pod,
                row.workload,
                row.peer,
                row.peer_kind,
                row.port,
                row.protocol,
                row.forwarded,
                row.dropped,
                row.audited,
                row.errors,
                row.unknown,
                row.records,
                row.drop_reasons,
                tuple(
                    [f"allow {policy}" for policy in row.allowed_by]
                    + [f"deny {policy}" for policy in row.denied_by]
                ),
                row.first_seen or None,
                row.last_seen or None,
                row.rate,
                row.peer_addresses,
                row.cluster,
                row.server,
            )
            for row in rows
        ],
        columns=list(COLUMNS),
    )
    for column in ("first_seen", "last_seen"):
        table[column] = pd.to_datetime(table[column], unit="ns", utc=True)
    for column in ("port", "forwarded", "dropped", "audited", "errors", "unknown", "records"):
        table[column] = table[column].astype("int64")
    return table
