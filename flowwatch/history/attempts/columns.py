"""What is kept of an attempt, and of a minute: the columns of the Parquet files below ``made/``.

Those that ``export`` has too are taken from its declaration (:mod:`flowwatch.egress.schema`). No value is
ever missing, and times are to the microsecond: so DuckDB, ClickHouse, Spark and pandas read the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowwatch.egress.schema import ATTEMPT
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.model import PolicyRef

FORMAT = 1
"""Of these files. Raised when a column changes its meaning or goes; new columns may come without."""

MINUTE = 60_000_000
"""Microseconds."""


@dataclass(frozen=True, slots=True)
class Of:
    """One column."""

    name: str
    kind: str
    """As in docs/formats.md, "Values"."""
    meaning: str
    value: Callable[[Attempt], Any]
    """Takes it from the attempt; times in ns."""
    unit: str = ""


def _names(policies: tuple[PolicyRef, ...], *, selects: bool = False) -> tuple[str, ...]:
    return tuple([str(one) for one in policies if one.selects == selects])


_NAMED = "`namespace/name (kind)`"
_ELSEWHERE = ("schema_version", "cluster", "policies", "waited")
"""Of an export's columns: what stands once in a file, in another column, in several, as a whole number."""

ATTEMPTS: tuple[Of, ...] = (
    *(
        Of(one.name, one.kind, one.meaning, one.value, one.unit)
        for one in ATTEMPT
        if one.name not in _ELSEWHERE
    ),
    Of("pod_cluster", "text", "the pod's cluster, as Hubble names it; the path has the node's",
       lambda a: a.cluster),
    Of("waited_us", "int", "time until a retry was let through, where the first was denied; else 0",
       lambda a: max(1, round(a.waited * 1e6)) if a.waited else 0, "µs"),
    Of("tries", "int", "1, and one for each SYN that was sent again", lambda a: 1 + a.retries, "packets"),
    Of("denied_by", "texts", f"policies with a rule that denied it: {_NAMED}", lambda a: _names(a.denied_by)),
    Of("default_denied_by", "texts", "policies that select the pod, and have no rule that allows it",
       lambda a: _names(a.denied_by, selects=True)),
    Of("allowed_by", "texts", "policies that allowed it", lambda a: _names(a.allowed_by)),
)  # fmt: skip
"""``made/attempts/``: one row per attempt, and direction that it was seen in."""

_KEPT = {one.name: one for one in ATTEMPTS}
KEYS = (
    "direction", "outcome", "namespace", "pod", "workload", "peer", "peer_kind", "port", "protocol",
    "drop_reason", "drop_reason_number", "answer", "noise", "node", "pod_cluster", "server",
)  # fmt: skip
"""Columns of attempts of which a row of a minute is one combination."""


def _sum(name: str, meaning: str, unit: str) -> Of:
    return Of(name, "int", meaning, lambda _: 0, unit)


MINUTES: tuple[Of, ...] = (
    Of("minute", "time", "its beginning (UTC), of attempts whose first record is of it", lambda _: 0),
    *(_KEPT[name] for name in KEYS),
    _sum("attempts", "how many there were; several rows may be of one combination: sum them", "attempts"),
    _sum("tries", "the same with each SYN that was sent again", "packets"),
    _sum("records", "Hubble's records of them", "records"),
    _sum("late", "attempts denied at first, let through on a retry", "attempts"),
    _sum("uncounted", "attempts of which each stands for at least one", "attempts"),
    Of("first_seen", "time", "the earliest of their first records", lambda _: 0),
    Of("last_seen", "time", "the latest of their last records", lambda _: 0),
)  # fmt: skip
"""``made/minutes/``: one row per minute, row of the egress table and outcome."""
