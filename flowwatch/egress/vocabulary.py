"""What was seen, as what a filter's values may be: for completion, and for "did you mean"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from itertools import islice

from flowwatch.egress.ends import RowEnds
from flowwatch.egress.filters import VERDICTS, quoted
from flowwatch.egress.table import ANY_POD, COUNTS, PROTOCOLS, Columns
from flowwatch.egress.words import DEFAULT_DENY, NO_RULE
from flowwatch.flows.reasons import reason

LOOKED_AT = 20_000
"""Of each kind of name, so many are looked at, as people wait for the answer: 10 ms."""


def seen(columns: Columns, ends: RowEnds | None, key: str) -> list[str]:
    """Values of a key of flowwatch.egress.filters.KEYS that rows have, in their order."""
    return sorted(dict.fromkeys(islice(_SEEN[key](columns, ends), LOOKED_AT)))


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
    for (_, name, _, _), workload in zip(columns.pods.things, columns.workloads, strict=True):
        yield workload or name.removeprefix(ANY_POD)


def _peers(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    return iter(columns.peer_names.things)


def _ports(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    for port, protocol in dict.fromkeys(zip(columns.port, columns.protocol, strict=True)):
        if port and not PROTOCOLS[protocol].startswith("ICMP"):
            yield f"{port}/{PROTOCOLS[protocol].lower()}".rstrip("/")


def _reasons(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    more = (number for several in columns.more_reasons.values() for number in several)
    yield from (reason(number).name for number in {*columns.reason, *more} if number)
    if any(DEFAULT_DENY in columns.reasons(row) for row in _nameless(columns)):
        yield NO_RULE
    yield from (cause.words for cause in columns.causes.values())


def _nameless(columns: Columns) -> Iterator[int]:
    """Rows with drops of which nothing says which policy it was."""
    dropped, sides = columns.counts[COUNTS.index("dropped")], columns.policy_sets.things
    for row, count in islice(enumerate(dropped), LOOKED_AT):
        if count and not sides[columns.policies[row]][1] and row not in columns.causes:
            yield row


def _policies(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    for sides in columns.policy_sets.things:
        for side in sides:
            for one in side:
                yield f"{one.namespace}/{one.name}".removeprefix("/")


def _labels(columns: Columns, ends: RowEnds | None) -> Iterator[str]:
    if ends is not None:
        pods = {id(pod): pod for pod, _ in map(ends.of, range(min(len(columns), LOOKED_AT)))}
        for pod in pods.values():
            yield from (label.partition(":")[2] for label in pod.labels)


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
