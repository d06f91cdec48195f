"""More of one row, or of one fold: its last records, who its ends are, and who else goes where it goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.folding import BY_WORKLOAD, PLAIN, By
from flowwatch.egress.groups import Subjects, like
from flowwatch.egress.lookups import Lookup
from flowwatch.egress.query import Query
from flowwatch.egress.rows import CloseUp, Fate, Fold
from flowwatch.egress.table import ANY_POD, Columns
from flowwatch.egress.view import moment, records, subjects_of
from flowwatch.egress.window import windowed
from flowwatch.flows.model import Direction, Endpoint

PODS = 50
"""Pods that are told one by one, and other workloads."""

_ENDS = 1_000
"""Pods of a fold of which is looked what they share."""


class _Counted(NamedTuple):
    """How the attempts of some rows went."""

    forwarded: int
    dropped: int
    audited: int


def close_up(
    aggregate: Aggregate,
    query: Query,
    key: int,
    fold: Fold | None,
    count: int,
    *,
    live: bool = False,
) -> CloseUp | None:
    """See :meth:`flowwatch.egress.query.Monitor.close_up`; ``live`` as for a snapshot."""
    aggregate = windowed(aggregate, query, moment(aggregate, live=live)).aggregate
    columns = aggregate.columns
    by = query.by if fold is not None else PLAIN
    if fold is None:
        if key not in columns.ident:
            return None
        number = columns.ident.index(key)
        own = subjects_of(aggregate, BY_WORKLOAD)
        rows, around = [number], own.fold(columns, number)
    else:
        own, rows, around = subjects_of(aggregate, by), [], fold
    there = like(columns, around)
    mine = [row for row in there if own.fold(columns, row) == around]
    rows = rows or mine
    if not rows:
        return None
    pods = [_fate(aggregate, [row]) for row in mine]
    pods.sort(key=lambda one: (-one.dropped, -one.audited, -one.forwarded, one.namespace, one.name))
    others = _others(aggregate, there, set(mine), by)
    keys = {columns.ident[row] for row in rows}
    return CloseUp(
        tuple(records(aggregate, count, keys)),
        _ends(aggregate, rows[:_ENDS]),
        tuple(pods[:PODS]),
        len(pods),
        tuple(others[:PODS]),
        len(others),
        _refused(columns, rows),
        _asked(aggregate, rows),
    )


def _refused(columns: Columns, rows: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """What the proxy refused in these rows, the most first."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(columns.refused.get(row, {}))
    return tuple(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def _asked(aggregate: Aggregate, rows: Sequence[int]) -> tuple[Lookup, ...]:
    """The names that the pods of these rows asked for, up to the last record of any."""
    columns = aggregate.columns
    if aggregate.lookups is None or columns.direction[rows[0]] != Direction.EGRESS:
        return ()
    pods = {columns.pods.things[columns.pod[row]][:2] for row in rows[:_ENDS]}
    return aggregate.lookups.of(pods, max(columns.last[row] for row in rows))


def _others(aggregate: Aggregate, there: Sequence[int], mine: set[int], by: By) -> list[Fate]:
    """The others that go there, by workload; those that get through first."""
    columns = aggregate.columns
    workloads = (
        subjects_of(aggregate, BY_WORKLOAD) if by != BY_WORKLOAD else Subjects.known(columns, by)
    )
    found: dict[Fold, list[int]] = {}
    for row in there:
        if row not in mine:
            found.setdefault(workloads.fold(columns, row), []).append(row)
    others = [_fate(aggregate, rows) for rows in found.values()]
    return sorted(others, key=lambda one: (-one.forwarded, one.dropped, one.namespace, one.name))


def _fate(aggregate: Aggregate, rows: Sequence[int]) -> Fate:
    columns = aggregate.columns
    row = rows[0]
    namespace, pod, _, _ = columns.pods.things[columns.pod[row]]
    single = len(rows) == 1
    name = pod if single and not pod.startswith(ANY_POD) else columns.workloads[columns.pod[row]]
    ends = aggregate.ends.of(row) if single and aggregate.ends is not None else None
    counted = _Counted(*(sum([one[i] for i in rows]) for one in columns.counts[:3]))
    return Fate(
        namespace,
        name,
        len(rows),
        columns.nodes.things[columns.node[row]][1] if single else "",
        ends[0].identity if ends is not None else 0,
        *counted,
        state=runs[-1].state if (runs := aggregate.turns.of(row)) and single else "",
    )


def _ends(aggregate: Aggregate, rows: Sequence[int]) -> tuple[Endpoint, Endpoint] | None:
    """Of several rows what their ends share."""
    if aggregate.ends is None:
        return None
    each = [aggregate.ends.of(row) for row in rows]
    return _shared([pod for pod, _ in each]), _shared([peer for _, peer in each])


def _shared(ends: Sequence[Endpoint]) -> Endpoint:
    known = [end for end in ends if end.labels or end.identity] or list(ends[:1])
    first = known[0]
    if len(known) == 1:
        return first
    labels = set(first.labels).intersection(*(end.labels for end in known))
    identities = {end.identity for end in known}
    return Endpoint(
        identity=first.identity if len(identities) == 1 else 0,
        labels=tuple([label for label in first.labels if label in labels]),
    )
