"""What was and wasn't seen, as JSON: keys of ``summary -o json``, and of the file beside a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import msgspec

from flowwatch.flows.coverage import Coverage
from flowwatch.report.goformat import TimeFormat
from flowwatch.text import safe

Item = TypeVar("Item")


class JsonKey(msgspec.Struct, Generic[Item], frozen=True):
    """A key of a JSON object."""

    name: str
    meaning: str
    """One phrase for the documentation."""
    value: Callable[[Item], Any]
    beside: bool = True
    """Whether the file beside a table has it too: not what only rows explain."""


def as_object(keys: Iterable[JsonKey[Item]], item: Item) -> dict[str, Any]:
    """The object of these keys."""
    return {key.name: key.value(item) for key in keys}


def warning_lines(coverage: Coverage) -> list[str]:
    """What makes the numbers less than the whole truth, a safe line each."""
    return [safe(warning) for warning in coverage.warnings]


def _moment(time: int) -> str | None:
    return TimeFormat.iso().nanoseconds(time) if time else None


def _window(seen: Coverage) -> dict[str, Any]:
    return {
        "first_seen": _moment(seen.first_seen),
        "last_seen": _moment(seen.last_seen),
        "seconds": round(seen.seconds, 3),
    }


def _lost(seen: Coverage) -> list[dict[str, Any]]:
    return [
        {
            "node": lost.node,
            "source": lost.source,
            "cause": lost.cause,
            "count": lost.count,
            "rate": round(lost.rate, 3),
            "last_seen": _moment(lost.last),
        }
        for lost in seen.lost
    ]


def _away(seen: Coverage) -> list[dict[str, Any]]:
    return [
        {"node": away.name, "since": _moment(away.since), "reason": away.why}
        for away in seen.nodes_away
    ]


def _gaps(seen: Coverage) -> list[dict[str, Any]]:
    return [
        {
            "start": _moment(gap.start),
            "end": _moment(gap.end),
            "seconds": round(gap.seconds, 3),
            "nodes": list(gap.nodes),
            "server": gap.origin,
            "cause": gap.why,
        }
        for gap in seen.gaps
    ]


def _skews(seen: Coverage) -> list[dict[str, Any]]:
    return [
        {
            "node": skew.node,
            "seconds_ahead": round(skew.ahead / 1e9, 3),
            "of": skew.of,
            "connections": skew.connections,
        }
        for skew in seen.clock_skews
    ]


WINDOW: JsonKey[Coverage] = JsonKey(
    "window",
    "object: `first_seen`, `last_seen` (null if nothing was seen), `seconds` between them",
    _window,
)
COVERAGE: tuple[JsonKey[Coverage], ...] = (
    JsonKey("records_read", "records that were read, of whatever kind", lambda c: c.records_read),
    JsonKey(
        "records_skipped",
        "records that could not be read",
        lambda c: sum(c.records_skipped.values()),
    ),
    JsonKey("skipped_by_reason", "object: the same by reason", lambda c: dict(c.records_skipped)),
    JsonKey(
        "values_unknown",
        "object: records with a value that can't be (a port above 65535) or that this version can't tell "
        "(a newer direction or verdict), by what it is; that value was taken as unknown, the record was "
        "counted",
        lambda c: dict(c.values_unknown),
    ),
    JsonKey(
        "not_recorded",
        "object: records without a field of Hubble's that an exporter's mask or key left out, by its name: "
        "what needs it can't be told",
        lambda c: dict(c.not_recorded),
    ),
    JsonKey(
        "aggregated",
        "lines that an exporter aggregated, of which each stands for several records: their attempts can't "
        "be counted, and each row has at least one",
        lambda c: c.aggregated,
    ),
    JsonKey(
        "aggregated_records",
        "records that these lines stand for, by the exporter's count",
        lambda c: c.aggregated_records,
    ),
    JsonKey(
        "replies",
        "records of replies that belong to no counted attempt",
        lambda c: c.replies,
        beside=False,
    ),
    JsonKey(
        "unattributed",
        "flows without a direction and without an attempt they could belong to",
        lambda c: c.unattributed,
        beside=False,
    ),
    JsonKey(
        "errors_dropped",
        "records of ICMP errors (unreachable, fragmentation needed …) that were dropped: no attempts",
        lambda c: c.errors_dropped,
        beside=False,
    ),
    JsonKey(
        "folded_rows",
        'rows folded into "other" because of the limit on rows',
        lambda c: c.folded_rows,
    ),
    JsonKey(
        "lost_events",
        'events that Hubble says it lost: if not 0, all counts are "at least"',
        lambda c: c.lost_events,
    ),
    JsonKey(
        "lost",
        "array of objects: `node`, `source` (Hubble's name), `cause` (in words), `count`, "
        "`rate` (per second), `last_seen`",
        _lost,
    ),
    JsonKey(
        "clusters",
        "names of the clusters that rows are of",
        lambda c: list(c.clusters),
        beside=False,
    ),
    JsonKey(
        "servers_failed",
        "of several servers, those that failed, so that their flows are missing",
        lambda c: list(c.servers_failed),
    ),
    JsonKey("nodes", "names of the nodes whose records were seen", lambda c: list(c.nodes)),
    JsonKey(
        "nodes_known",
        "number of nodes that the server told of, seen or not",
        lambda c: c.nodes_known,
    ),
    JsonKey(
        "nodes_unavailable",
        "names of the nodes that relay could not reach",
        lambda c: list(c.nodes_unavailable),
    ),
    JsonKey(
        "nodes_away",
        "array of objects: the same as `node`, `since` (null: all the time, or unknown), `reason`",
        _away,
    ),
    JsonKey(
        "gaps",
        "array of objects: `start`, `end`, `seconds`, `nodes` (empty: all), `server`, `cause`; times whose "
        "records are gone, as the connection was lost and the ring had been overwritten or emptied when it "
        "was back",
        _gaps,
    ),
    JsonKey(
        "clock_skews",
        "array of objects: nodes whose clocks are apart from the others', `node`, `seconds_ahead` (below 0: "
        "behind), `of` (another node; empty: of most), `connections` (seen by two nodes, by which it is "
        "known; 0: by how late its records come). Times of rows and the window are told by the clock that "
        "most nodes share",
        _skews,
    ),
    JsonKey(
        "at_least",
        "whether records are missing (lost, of nodes out of sight, in gaps) or stand for several "
        '(aggregated): all counts are then "at least"',
        lambda c: c.at_least,
    ),
    JsonKey(
        "warnings",
        "what makes the numbers less than the whole truth, a line each",
        warning_lines,
    ),
)
"""In their order; :data:`WINDOW` stands before the rows, these behind."""
