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
from flowwatch.egress.words import (
    DEFAULT_DENY,
    NO_RULE,
    PROXY_ERROR,
    WOULD_DENY,
    Word,
    pod_texts,
)
from flowwatch.flows.reasons import reason

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


def _mentions(columns: Columns, text: str) -> Callable[[int], bool]:
    """Whether a row shows the word ``text``; each distinct text is searched once."""
    word = Word(text)
    texts = pod_texts(columns)
    pods = [word.within(one) for one in texts]
    peers = [word.within(name) for name in columns.peer_names.things]
    protocols = [word.within(protocol) for protocol in PROTOCOLS]
    policies = [word.in_policies(sides) for sides in columns.policy_sets.things]
    nameless = [not denied for _, denied in columns.policy_sets.things]
    no_rule, would_deny, proxy_error = (
        word.within(shown) for shown in (NO_RULE, WOULD_DENY, PROXY_ERROR)
    )
    audited, failed = (columns.counts[COUNTS.index(name)] for name in ("audited", "errors"))
    at_port = _at_port(columns, word, texts)

    def hit(row: int) -> bool:
        reasons = columns.reasons(row)
        return (
            pods[columns.pod[row]]
            or peers[columns.peer[row] >> 3]
            or protocols[columns.protocol[row]]
            or policies[columns.policies[row]]
            or at_port(row)
            or any(word.within(reason(n).name) for n in reasons)
            or (no_rule and DEFAULT_DENY in reasons and nameless[columns.policies[row]])
            or (would_deny and audited[row] > 0)
            or (proxy_error and failed[row] > 0)
            or any(word.within(address) for address in columns.addresses.get(row, ()))
            or (row in columns.rare and columns.rare[row].mentions(text))
            or (row in columns.proxy_refused and word.in_refused(columns.proxy_refused[row]))
        )

    return hit


def _at_port(columns: Columns, word: Word, pods: list[str]) -> Callable[[int], bool]:
    """Whether a row is at the port that the word names, and at its name if there is one before it."""
    if word.port is None:
        return lambda row: False
    port, protocols = word.port, word.protocols()
    at_pod = [word.host_within(text) for text in pods]
    at_peer = [word.host_within(name) for name in columns.peer_names.things]

    def hit(row: int) -> bool:
        return (
            columns.port[row] == port
            and protocols[columns.protocol[row]]
            and (
                not word.has_host
                or at_pod[columns.pod[row]]
                or at_peer[columns.peer[row] >> 3]
                or any(word.host_within(address) for address in columns.addresses.get(row, ()))
            )
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
