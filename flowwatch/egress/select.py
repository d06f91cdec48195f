"""Which rows a query means, and in which order.

Few rows are chosen and sorted as they are: importing numpy takes 0.1 s, half of what ``summary`` of
a small capture takes in all. Many are left to :mod:`flowwatch.egress.select_large`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Any

from flowwatch.egress.query import Query
from flowwatch.egress.table import COUNTS, PROTOCOLS, RATE_SECONDS, Columns
from flowwatch.flows.reasons import reason
from flowwatch.gotext import whole_number

FEW = 20_000
"""Rows up to which Python sorts them itself: in 40 ms at most."""


def select(columns: Columns, query: Query, directions: tuple[int, ...], now: float) -> list[int]:
    """The rows of ``directions`` that ``query`` means, in its order; its limit is the caller's.

    Ties are by namespace, pod, destination, port. ``now`` (seconds) is when rates are asked for.
    """
    if len(columns) > FEW:
        from flowwatch.egress import select_large

        return select_large.select(columns, query, directions, now)
    chosen = [row for row, way in enumerate(columns.direction) if way in directions]
    if query.drops_only:
        dropped, audited = (columns.counts[COUNTS.index(n)] for n in ("dropped", "audited"))
        chosen = [row for row in chosen if dropped[row] or audited[row]]
    for word in query.text.casefold().split():
        hit = _mentions(columns, word.removeprefix("!"))
        wanted = not word.startswith("!")
        chosen = [row for row in chosen if hit(row) is wanted]
    return sorted(chosen, key=_key(columns, query.order, now), reverse=query.reverse)


def _mentions(columns: Columns, word: str) -> Callable[[int], bool]:
    """Whether a row holds ``word``; each distinct text is searched once."""
    pods = [
        word in f"{namespace}/{name} {workload} {cluster} {server}".casefold()
        for (namespace, name, cluster, server), workload in zip(
            columns.pods.things, columns.workloads, strict=True
        )
    ]
    peers = [word in name.casefold() for name in columns.peer_names.things]
    protocols = [word in protocol.casefold() for protocol in PROTOCOLS]
    policies = [
        word in " ".join(str(policy) for side in sides for policy in side).casefold()
        for sides in columns.policy_sets.things
    ]
    port = whole_number(word)

    def hit(row: int) -> bool:
        return (
            pods[columns.pod[row]]
            or peers[columns.peer[row] >> 3]
            or protocols[columns.protocol[row]]
            or policies[columns.policies[row]]
            or columns.port[row] == port
            or any(word in reason(n).name.casefold() for n in columns.reasons(row))
            or (row in columns.rare and columns.rare[row].mentions(word))
        )

    return hit


def _key(columns: Columns, order: str, now: float) -> Callable[[int], tuple[Any, ...]]:
    forwarded, dropped, audited, errors, _ = columns.counts
    pods, peers = columns.pods.things, columns.peer_names.things

    def pod(row: int) -> tuple[str, ...]:
        return pods[columns.pod[row]]

    def peer(row: int) -> str:
        return peers[columns.peer[row] >> 3]

    def faded(row: int) -> float:
        return columns.rate[row] * exp((columns.rated[row] - now) / RATE_SECONDS)

    keys: dict[str, Callable[[int], tuple[Any, ...]]] = {
        "pod": lambda row: (),
        "last": lambda row: (-columns.last[row],),
        "rate": lambda row: (-faded(row),),
        "forwarded": lambda row: (-forwarded[row],),
        "drops": lambda row: (
            columns.quiet(row) - dropped[row],
            -audited[row],
            -errors[row],
            -forwarded[row],
            -dropped[row],
        ),
    }
    if order == "peer":
        return lambda row: (peer(row), pod(row), columns.port[row])
    first = keys.get(order, keys["drops"])
    return lambda row: (*first(row), pod(row), peer(row), columns.port[row])
