"""What was seen, as what a filter's values may be: for completion, and for "did you mean"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from itertools import islice

from flowwatch.egress.ends import RowEnds
from flowwatch.egress.filters import VERDICTS, quoted
from flowwatch.egress.query import Query
from flowwatch.egress.select import select
from flowwatch.egress.table import ANY_POD, PROTOCOLS, Columns
from flowwatch.egress.words import DEFAULT_DENY, NO_RULE
from flowwatch.flows.model import DIRECTION_WORDS, Endpoint, PolicyRef
from flowwatch.flows.reasons import reason

LOOKED_AT = 20_000
"""Of each kind of name, so many are looked at, as people wait for the answer: 10 ms."""


NARROWED = 5_000
"""Rows up to which values are told of those alone that a filter finds: 10 ms. Of more, all are."""


def seen(columns: Columns, ends: RowEnds | None, key: str, query: Query | None = None) -> list[str]:
    """Values of a key of flowwatch.egress.filters.KEYS that rows have, in their order.

    ``query``: whose direction and words the rows must have, as far as there aren't too many.
    """
    if query is None or len(columns) > NARROWED:
        return sorted(dict.fromkeys(islice(_SEEN[key](columns, ends), LOOKED_AT)))
    ways = tuple(
        [way for way, word in DIRECTION_WORDS.items() if query.direction in (word, "both")]
    )
    of_row = _OF_ROW[key]
    rows = select(columns, query, ways, 0.0, ends)
    return sorted({value for row in rows for value in of_row(columns, ends, row)})


def beginning(values: Iterable[str], text: str, most: int = 50) -> list[str]:
    """Those of ``values`` that begin with ``text`` (any case), else those that have it; as they are typed."""
    folded = text.casefold()
    all_of_them = list(values)
    first = [one for one in all_of_them if one.casefold().startswith(folded)]
    found = first or [one for one in all_of_them if folded in one.casefold()]
    return [quoted(one) for one in found[:most]]


def near(values: Iterable[str], text: str) -> str:
    """What of ``values`` was probably meant; empty where nothing is like it."""
    short: dict[str, str] = {}
    for one in values:
        for part in (one, one.rpartition("/")[2], one.partition(".")[0]):
            short.setdefault(part.casefold(), one)
    typed = text.casefold().strip("=*")
    found = get_close_matches(typed, short, 1, 0.6)
    found = found or [one for one in short if typed and one.startswith(typed)]
    return short[found[0]] if found else ""


def _namespaces(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    return (pod[0] for pod in columns.pods.things if pod[0])


def _pods(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    return (_pod(columns, number) for number in range(len(columns.pods)))


def _pod(columns: Columns, number: int) -> str:
    return columns.workloads[number] or columns.pods.things[number][1].removeprefix(ANY_POD)


def _peers(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    return iter(columns.peer_names.things)


def _ports(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    for port, protocol in dict.fromkeys(zip(columns.port, columns.protocol, strict=True)):
        yield from _port(port, protocol)


def _port(port: int, protocol: int) -> Iterator[str]:
    if port and not PROTOCOLS[protocol].startswith("ICMP"):
        yield f"{port}/{PROTOCOLS[protocol].lower()}".rstrip("/")


def _reasons(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    more = (number for several in columns.more_reasons.values() for number in several)
    yield from (reason(number).name for number in {*columns.reason, *more} if number)
    if any(_nameless(columns, row) for row in range(min(len(columns), LOOKED_AT))):
        yield NO_RULE
    yield from (cause.words for cause in columns.causes.values())


def _nameless(columns: Columns, row: int) -> bool:
    """Whether nothing says which policy dropped its attempts."""
    if row in columns.causes or columns.policy_sets.things[columns.policies[row]][1]:
        return False
    return DEFAULT_DENY in columns.reasons(row)


def _reasons_of(columns: Columns, ends: RowEnds | None, row: int) -> Iterator[str]:
    yield from (reason(number).name for number in columns.reasons(row) if number)
    if _nameless(columns, row):
        yield NO_RULE
    if row in columns.causes:
        yield columns.causes[row].words


def _policies(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    return (name for sides in columns.policy_sets.things for name in _named(sides))


def _named(sides: Iterable[Iterable[PolicyRef]]) -> Iterator[str]:
    for side in sides:
        for one in side:
            yield f"{one.namespace}/{one.name}".removeprefix("/")


def _labels(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    if ends is not None:
        pods = {id(pod): pod for pod, _ in map(ends.of, range(min(len(columns), LOOKED_AT)))}
        for pod in pods.values():
            yield from _of_pod(pod)


def _of_pod(pod: Endpoint) -> Iterator[str]:
    return (label.partition(":")[2] for label in pod.labels)


def _staged(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    if columns.staged:
        yield from ("would deny", "would admit", "no change", "can't tell")
    yield from (one.policy for staged in columns.staged.values() for one in staged.by)


_SEEN: dict[str, Callable[[Columns, RowEnds | None], Iterator[str]]] = {
    "ns": _namespaces,
    "pod": _pods,
    "to": _peers,
    "port": _ports,
    "why": _reasons,
    "policy": _policies,
    "label": _labels,
    "staged": _staged,
    "verdict": lambda columns, ends: iter(VERDICTS),
}
"""Of all rows there are: each distinct name is looked at once."""

_OF_ROW: dict[str, Callable[[Columns, RowEnds | None, int], Iterable[str]]] = {
    "ns": lambda columns, _, row: filter(None, columns.pods.things[columns.pod[row]][:1]),
    "pod": lambda columns, _, row: (_pod(columns, columns.pod[row]),),
    "to": lambda columns, _, row: (columns.peer_names.things[columns.peer[row] >> 3],),
    "port": lambda columns, _, row: _port(columns.port[row], columns.protocol[row]),
    "why": _reasons_of,
    "policy": lambda columns, _, row: _named(columns.policy_sets.things[columns.policies[row]]),
    "label": lambda _, ends, row: () if ends is None else _of_pod(ends.of(row)[0]),
    # What rows are told apart by, and the few policies that do it.
    "staged": lambda columns, ends, _: _staged(columns, ends),
    "verdict": lambda columns, _, row: (
        name for name, counts in zip(VERDICTS, columns.counts, strict=True) if counts[row]
    ),
}
