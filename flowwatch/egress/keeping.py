"""The state of an aggregate as plain data, and back, beside its join's (:mod:`flowwatch.flows.keeping`).

Of one that keeps no last records, and that nobody tells causes or staged policies. Columns are kept as bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable
from typing import Any, TypeVar

import msgspec

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.table import COUNTS, Columns, Interned, Rare
from flowwatch.egress.turns import Turns
from flowwatch.flows.keeping import Int, fields_of, held, set_fields
from flowwatch.flows.meaning import OUTCOMES
from flowwatch.flows.model import PolicyRef
from flowwatch.flows.open_attempt import ANSWERS
from flowwatch.flows.peers import KINDS

_Thing = TypeVar("_Thing", bound=Hashable)
Arrays = dict[str, bytes]
"""Columns by their name."""

_BY_ROW = ("more_reasons", "addresses", "proxy_refused", "refused", "waiting", "noise")
_WAYS = {1, 2}


class KeptRare(msgspec.Struct, array_like=True):
    answers: list[Int]
    late: Int
    waited: float
    retries: Int
    uncounted: Int
    unsure: Int
    encrypted: Int


class KeptTimeline(msgspec.Struct, array_like=True):
    width: Int
    kept: dict[Int, Int]
    dropped: dict[Int, Int]


class KeptColumns(msgspec.Struct, array_like=True):
    columns: Arrays
    counts: list[bytes]
    pods: list[tuple[str, str, str, str]]
    places: list[tuple[str, str]]
    workloads: list[str]
    peer_names: list[str]
    policy_sets: list[tuple[tuple[PolicyRef, ...], tuple[PolicyRef, ...]]]
    nodes: list[tuple[str, str]]
    rows_of: list[Int]
    rare: dict[int, tuple[KeptRare, tuple[str, ...]]]
    """With what policies log."""
    more_reasons: dict[int, dict[Int, Int]]
    addresses: dict[int, tuple[str, ...]]
    proxy_refused: dict[int, tuple[str, ...]]
    refused: dict[int, dict[str, Int]]
    waiting: dict[int, Int]
    noise: dict[int, dict[str, Int]]
    noise_of: dict[int, dict[str, Int]]


class KeptAggregate(msgspec.Struct, array_like=True):
    """All of an :class:`Aggregate` but its join."""

    columns: KeptColumns
    counted: Arrays
    totals: dict[int, list[Int]]
    timelines: dict[int, KeptTimeline]
    turns: Arrays
    several: dict[int, list[tuple[Int, int]]]
    folded_rows: Int
    idents: Int
    servers: list[str]
    """Those of whose clocks it was told."""


def kept_aggregate(aggregate: Aggregate) -> KeptAggregate:
    """The state of ``aggregate`` between two batches."""
    columns, turns = aggregate.columns, aggregate.turns
    return KeptAggregate(
        KeptColumns(
            _arrays(columns),
            [one.tobytes() for one in columns.counts],
            columns.pods.things,
            list(columns.places),
            columns.workloads,
            columns.peer_names.things,
            columns.policy_sets.things,
            columns.nodes.things,
            columns.rows_of,
            {
                row: (fields_of(one, KeptRare), tuple(one.policy_log))
                for row, one in columns.rare.items()
            },
            **{name: getattr(columns, name) for name in (*_BY_ROW, "noise_of")},
        ),
        _arrays(aggregate._counted),
        aggregate.totals,
        {way: fields_of(one, KeptTimeline) for way, one in aggregate.timelines.items()},
        _arrays(turns),
        turns._several,
        aggregate.folded_rows,
        aggregate._idents,
        list(aggregate._ahead),
    )


def set_aggregate(aggregate: Aggregate, kept: KeptAggregate) -> None:
    """Let one that was just made, and listens to the join kept with it, go on.

    ValueError, LookupError or TypeError for what contradicts itself.
    """
    aggregate.columns = _columns(kept.columns)
    rows, join = len(aggregate.columns), aggregate.join
    _fill(aggregate._counted, kept.counted)
    counted = aggregate._counted
    held(_lengths(counted) <= {join.numbers.size})
    for column in (counted.egress, counted.ingress):
        held(all(-1 <= row < rows for row in column))
    held(all(-1 <= one < len(OUTCOMES) for one in counted.outcome))
    held(all(0 <= one < len(ANSWERS) for one in counted.answer))
    held(kept.totals.keys() == kept.timelines.keys() == _WAYS)
    held(all(len(one) == len(COUNTS) for one in kept.totals.values()))
    aggregate.totals = kept.totals
    for way, one in kept.timelines.items():
        held(one.width > 0)
        set_fields(aggregate.timelines[way], one)
    aggregate.turns = _turns(kept)
    aggregate.folded_rows, aggregate._idents = kept.folded_rows, kept.idents
    # The very mappings: that they are others tells that clocks are.
    aggregate._ahead = {server: join.scopes[server].clocks.ahead for server in kept.servers}


def _columns(kept: KeptColumns) -> Columns:
    columns = Columns()
    _fill(columns, kept.columns)
    for column, data in zip(columns.counts, kept.counts, strict=True):
        column.frombytes(data)
    held(_lengths(columns) | {len(one) for one in columns.counts} == {len(columns)})
    _number(columns.pods, kept.pods)
    _number(columns.peer_names, kept.peer_names)
    _number(columns.policy_sets, kept.policy_sets)
    _number(columns.nodes, kept.nodes)
    columns.places = dict.fromkeys(kept.places)
    columns.workloads = kept.workloads
    held(len(kept.workloads) == len(kept.pods) and kept.policy_sets[0] == ((), ()))
    held(len(kept.rows_of) == len(columns.rows_of))
    columns.rows_of = kept.rows_of
    for row, (told, log) in kept.rare.items():
        rare = columns.rare[row] = Rare()
        set_fields(rare, told)
        rare.policy_log = dict.fromkeys(log)
        held(len(rare.answers) == len(ANSWERS))
    for name in _BY_ROW:
        setattr(columns, name, getattr(kept, name))
    for rows in (columns.rare, *[getattr(columns, name) for name in _BY_ROW]):
        held(all(0 <= row < len(columns) for row in rows))
    held(kept.noise_of.keys() == _WAYS)
    columns.noise_of = kept.noise_of
    _point(columns)
    return columns


def _number(interned: Interned[_Thing], things: list[_Thing]) -> None:
    interned.things = things
    interned.numbers = {thing: number for number, thing in enumerate(things)}
    held(len(interned.numbers) == len(things))


def _point(columns: Columns) -> None:
    """Check what rows point to, and find each by what it is, as the salt of a process has it."""
    held(set(columns.direction) <= _WAYS)
    for column, things in (
        (columns.pod, columns.pods),
        (columns.policies, columns.policy_sets),
        (columns.node, columns.nodes),
    ):
        held(max(column, default=-1) < len(things))
    held(all(one >> 3 < len(columns.peer_names) and one & 7 < len(KINDS) for one in columns.peer))
    for row, key in enumerate(zip(*columns._identity, strict=True)):
        held(columns.index.row(columns._identity, key) == row)


def _turns(kept: KeptAggregate) -> Turns:
    turns = Turns()
    _fill(turns, kept.turns)
    held(len(_lengths(turns)) == 1)
    held(all(-1 <= one < len(OUTCOMES) for one in turns._outcome))
    held(all(0 <= row < len(turns._last) for row in kept.several))
    held(all(0 <= one < len(OUTCOMES) for some in kept.several.values() for _, one in some))
    turns._several = kept.several
    return turns


def _named(of: object) -> Iterable[tuple[str, array[Any]]]:
    return [(name, value) for name, value in vars(of).items() if isinstance(value, array)]


def _arrays(of: object) -> Arrays:
    return {name: value.tobytes() for name, value in _named(of)}


def _fill(of: object, kept: Arrays) -> None:
    arrays = dict(_named(of))
    held(arrays.keys() == kept.keys())
    for name, value in arrays.items():
        value.frombytes(kept[name])


def _lengths(of: object) -> set[int]:
    return {len(value) for _, value in _named(of)}
