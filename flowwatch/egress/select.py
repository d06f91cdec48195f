"""Which rows a query means, and in which order.

Few rows are chosen and sorted as they are: importing numpy takes 0.1 s, half of what ``summary`` of
a small capture takes in all. Many are left to :mod:`flowwatch.egress.select_large`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from math import exp
from typing import TYPE_CHECKING, Any

from flowwatch.egress.ends import RowEnds
from flowwatch.egress.query import Query
from flowwatch.egress.table import COUNTS, PROTOCOLS, RATE_SECONDS, Columns
from flowwatch.egress.words import (
    DEFAULT_DENY,
    INGRESS,
    NO_RULE,
    PROXY_ERROR,
    WOULD_DENY,
    Word,
    message,
    pod_texts,
)
from flowwatch.flows.reasons import reason

if TYPE_CHECKING:
    from flowwatch.egress.filters import Atom

FEW = 20_000
"""Rows up to which Python sorts them itself: in 40 ms at most."""

SOME = 2_000
"""Rows up to which it does so where numpy is there anyhow."""


def many(rows: int) -> bool:
    """Whether so many rows are left to numpy."""
    return rows > FEW or (rows > SOME and "numpy" in sys.modules)


def select(
    columns: Columns,
    query: Query,
    directions: tuple[int, ...],
    now: float,
    ends: RowEnds | None = None,
    *,
    first: int | None = None,
    only: Sequence[int] | None = None,
) -> Sequence[int]:
    """The rows of ``directions`` that ``query`` means, in its order; its limit is the caller's.

    Ties are by namespace, pod, destination, port. ``now`` (seconds) is when rates are asked for;
    ``ends``: whose labels ``label:`` asks for; ``first``: how many the caller needs in order, those after
    them may be in any; ``only``: the rows that are chosen from, in order, if not all are.
    """
    if many(len(columns)):
        from flowwatch.egress import select_large

        return select_large.select(columns, query, directions, now, ends, first=first, only=only)
    way = columns.direction
    among = range(len(columns)) if only is None else only
    chosen = [row for row in among if way[row] in directions]
    if query.drops_only:
        dropped, audited = (columns.counts[COUNTS.index(n)] for n in ("dropped", "audited"))
        chosen = [row for row in chosen if dropped[row] or audited[row]]
    if query.text:
        chosen = _found(columns, ends, query.text, chosen)
    return sorted(chosen, key=_key(columns, query.order, now), reverse=query.reverse)


def _found(columns: Columns, ends: RowEnds | None, text: str, rows: list[int]) -> list[int]:
    """Those of ``rows`` that the filter ``text`` means."""
    from flowwatch.egress.filters import lenient_filter

    for term in lenient_filter(text):
        hits = [_holds(columns, ends, atom) for atom in term.atoms]
        rows = [row for row in rows if any(hit(row) for hit in hits) is term.wanted]
    return rows


def _holds(columns: Columns, ends: RowEnds | None, atom: Atom) -> Callable[[int], bool]:
    """Whether ``atom`` holds of a row."""
    from flowwatch.egress.found import find, tester

    if not atom.key:
        return _mentions(columns, atom.text)
    return tester(columns, find(columns, ends, atom))


def _mentions(columns: Columns, text: str) -> Callable[[int], bool]:
    """Whether a row shows the word ``text``; each distinct text is searched once."""
    word = Word(text)
    texts = pod_texts(columns)
    pods = [word.within(one) for one in texts]
    peers = [word.within(name) for name in columns.peer_names.things]
    protocols = [word.within(protocol) for protocol in PROTOCOLS]
    policies = [word.in_policies(sides) for sides in columns.policy_sets.things]
    told = _told(columns, word, text)
    at_port = _at_port(columns, word, texts) if word.port is not None else None
    messages = {
        (number, port): word.within(message(PROTOCOLS[number], port))
        for number, port in set(zip(columns.protocol, columns.port, strict=True))
        if PROTOCOLS[number].startswith("ICMP")
    }
    pod, peer, protocol, policy = columns.pod, columns.peer, columns.protocol, columns.policies

    def hit(row: int) -> bool:
        return (
            pods[pod[row]]
            or peers[peer[row] >> 3]
            or protocols[protocol[row]]
            or messages.get((protocol[row], columns.port[row]))
            or policies[policy[row]]
            or row in told
            or (at_port is not None and at_port(row))
        )

    return hit


def _told(columns: Columns, word: Word, text: str) -> set[int]:
    """Rows that show the word in what few of them have: drop reasons and what stands in their place,
    addresses, what came back, what the proxy refused."""
    found = {row for row, rare in columns.rare.items() if rare.mentions(text)}
    found.update(row for row, texts in columns.addresses.items() if any(map(word.within, texts)))
    found.update(row for row, texts in columns.proxy_refused.items() if word.in_refused(texts))
    found.update(row for row, cause in columns.causes.items() if word.within(cause.words))
    for shown, name in ((WOULD_DENY, "audited"), (PROXY_ERROR, "errors")):
        if word.within(shown):
            counts = columns.counts[COUNTS.index(name)]
            found.update(row for row, count in enumerate(counts) if count)
    reasons: dict[int, bool] = {}
    no_rule, dropped = word.within(NO_RULE), columns.counts[COUNTS.index("dropped")]
    nameless = [not denied for _, denied in columns.policy_sets.things]
    for row in [row for row, count in enumerate(dropped) if count]:
        for number in columns.reasons(row):
            known = reasons.get(number)
            if known is None:
                known = reasons[number] = word.within(reason(number).name)
            shows = number == DEFAULT_DENY and no_rule and row not in columns.causes
            if known or (shows and nameless[columns.policies[row]]):
                found.add(row)
    return found


def _at_port(columns: Columns, word: Word, pods: list[str]) -> Callable[[int], bool]:
    """Whether a row is at the port that the word names, and that is of what is named before it, if
    anything is: of the peer, in ingress of the pod."""
    port, protocols = word.port, word.protocols()
    at_pod = [word.host_within(text) for text in pods]
    at_peer = [word.host_within(name) for name in columns.peer_names.things]

    def named(row: int) -> bool:
        if not word.has_host:
            return True
        if columns.direction[row] == INGRESS:
            return at_pod[columns.pod[row]]
        return at_peer[columns.peer[row] >> 3] or any(
            word.host_within(address) for address in columns.addresses.get(row, ())
        )

    def hit(row: int) -> bool:
        return columns.port[row] == port and protocols[columns.protocol[row]] and named(row)

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
