"""Rows spelt out of the columns: one, or a fold of them.

A fold is what :func:`flowwatch.egress.folding.together` makes of its rows, to the last field; a test holds
them together. But a namespace may have 500 rows to one destination, and to spell out each of them, only to
add them up, takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp
from operator import itemgetter
from typing import Any, TypeVar

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.folding import ALL, LISTED, By, each_once, runs_together, same
from flowwatch.egress.rows import Fold, Row
from flowwatch.egress.table import ANY_POD, PROTOCOLS, RATE_SECONDS, Columns, Rare
from flowwatch.flows.cause import Cause
from flowwatch.flows.model import DIRECTION_WORDS
from flowwatch.flows.open_attempt import ANSWER_DROPPED, REFUSED, UNREACHABLE
from flowwatch.flows.peers import KINDS
from flowwatch.flows.reasons import reason
from flowwatch.flows.staged import together as staged_together

_NOTHING_RARE = Rare()
_NO_CAUSE = Cause("", "")
_Thing = TypeVar("_Thing")


def row_of(aggregate: Aggregate, i: int, now: float, labels: Mapping[tuple[str, str], str]) -> Row:
    columns = aggregate.columns
    number = columns.pod[i]
    namespace, pod, cluster, server = columns.pods.things[number]
    kind, peer = columns.peer_of(i)
    allowed, denied = columns.policy_sets.things[columns.policies[i]]
    rare = columns.rare.get(i, _NOTHING_RARE)
    cause = columns.causes.get(i, _NO_CAUSE)
    fade = exp(min(columns.rated[i] - now, 0.0) / RATE_SECONDS)
    return Row(
        direction=DIRECTION_WORDS[columns.direction[i]],
        namespace=namespace,
        pod="" if pod.startswith(ANY_POD) else pod,
        workload=columns.workloads[number],
        peer=peer,
        peer_kind=kind,
        port=columns.port[i],
        protocol=PROTOCOLS[columns.protocol[i]],
        forwarded=columns.counts[0][i],
        dropped=columns.counts[1][i],
        audited=columns.counts[2][i],
        errors=columns.counts[3][i],
        unknown=columns.counts[4][i],
        records=columns.records[i],
        drop_reasons={reason(n).name: count for n, count in columns.reasons(i).items()},
        allowed_by=allowed,
        denied_by=denied,
        first_seen=columns.first[i],
        last_seen=columns.last[i],
        rate=columns.rate[i] * fade,
        peer_addresses=(peer,) if kind == "address" else columns.addresses.get(i, ()),
        cluster=labels[cluster, server],
        server=server,
        answered=columns.answered[i],
        refused=rare.answers[REFUSED],
        unreachable=rare.answers[UNREACHABLE],
        answers_dropped=rare.answers[ANSWER_DROPPED],
        late=rare.late,
        waited=rare.waited,
        retries=rare.retries,
        proxy_refused=columns.proxy_refused.get(i, ()),
        uncounted=rare.uncounted,
        unsure=rare.unsure,
        encrypted=_encrypted(columns.counts[0][i] + columns.counts[2][i], rare.encrypted),
        policy_log=tuple(rare.policy_log),
        key=columns.ident[i],
        noise=sums([columns.noise[i]]) if i in columns.noise else {},
        runs=aggregate.turns.of(i),
        cause=cause.words,
        attribution=cause.attribution,
        waiting=columns.waiting.get(i, 0) / 1e9,
        staged=columns.staged.get(i),
    )


def _encrypted(passed: int, encrypted: int) -> str:
    """How many of the attempts that were let through were seen encrypted, in a word."""
    if not passed:
        return ""
    if not encrypted:
        return "none"
    return "all" if encrypted >= passed else "mixed"


def sums(counted: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums by name, the most first."""
    sums: dict[str, int] = {}
    for counts in counted:
        for name, count in counts.items():
            sums[name] = sums.get(name, 0) + count
    return dict(
        sorted(((k, n) for k, n in sums.items() if n > 0), key=lambda one: (-one[1], one[0]))
    )


def fold_of(
    aggregate: Aggregate,
    numbers: Sequence[int],
    by: By,
    fold: Fold,
    now: float,
    labels: Mapping[tuple[str, str], str],
) -> Row:
    """The rows with these numbers, of which there is one at least, as the one row of ``fold``."""
    columns = aggregate.columns
    pick = _picker(numbers)
    pods = {columns.pods.things[number]: number for number in set(pick(columns.pod))}
    names = {(namespace, "" if pod.startswith(ANY_POD) else pod) for namespace, pod, _, _ in pods}
    workload = fold.name if by.label and fold.name else ""
    if not workload:
        workload = same(columns.workloads[number] for number in pods.values()) or ""
    peers = {(KINDS[n & 7], columns.peer_names.things[n >> 3]) for n in set(pick(columns.peer))}
    allowed, denied = zip(
        *[columns.policy_sets.things[n] for n in dict.fromkeys(pick(columns.policies))], strict=True
    )
    forwarded, dropped, audited, errors, unknown = (sum(pick(one)) for one in columns.counts)
    last = pick(columns.last)
    rare = _of(columns.rare, numbers)
    late = max(rare, key=lambda one: (one.waited, one.retries), default=_NOTHING_RARE)
    latest = _Latest(numbers, last)
    cause = _worst_cause(columns, numbers)
    _, _, cluster, server = next(iter(pods))
    return Row(
        direction=fold.direction,
        namespace=same(namespace for namespace, _ in names) or "",
        pod=next(iter(names))[1] if len(names) == 1 else "",
        workload=workload,
        peer=columns.peer_of(numbers[0]).name
        if by.peer
        else same(name for _, name in peers) or ALL,
        peer_kind=same(kind for kind, _ in peers) or "other",
        port=same(pick(columns.port)) or 0,
        protocol=PROTOCOLS[same(pick(columns.protocol)) or 0],
        forwarded=forwarded,
        dropped=dropped,
        audited=audited,
        errors=errors,
        unknown=unknown,
        records=sum(pick(columns.records)),
        drop_reasons=_reasons(columns, numbers),
        allowed_by=each_once(one for refs in allowed for one in refs),
        denied_by=each_once(one for refs in denied for one in refs),
        first_seen=min([first for first in pick(columns.first) if first], default=0),
        last_seen=max(last),
        rate=sum(
            rate * exp(min(rated - now, 0.0) / RATE_SECONDS)
            for rate, rated in zip(pick(columns.rate), pick(columns.rated), strict=True)
        ),
        peer_addresses=_addresses(columns, latest, by),
        cluster=labels[cluster, server],
        server=server,
        answered=sum(pick(columns.answered)),
        refused=sum(one.answers[REFUSED] for one in rare),
        unreachable=sum(one.answers[UNREACHABLE] for one in rare),
        answers_dropped=sum(one.answers[ANSWER_DROPPED] for one in rare),
        late=sum(one.late for one in rare),
        waited=late.waited,
        retries=late.retries,
        proxy_refused=latest.first_of(columns.proxy_refused),
        uncounted=sum(one.uncounted for one in rare),
        unsure=sum(one.unsure for one in rare),
        encrypted=_encrypted_together(columns, numbers),
        policy_log=each_once(value for one in rare for value in one.policy_log),
        key=fold.key,
        noise=sums(_of(columns.noise, numbers)),
        cause=cause.words,
        attribution=cause.attribution,
        runs=runs_together(aggregate.turns.of(i) for i in numbers),
        waiting=sum([one / 1e9 for one in _of(columns.waiting, numbers)], 0.0),
        staged=staged_together(_of(columns.staged, numbers)),
        pods=len(names),
    )


def _picker(numbers: Sequence[int]) -> Any:
    """What gives the values of a column at ``numbers``, one after the other."""
    return itemgetter(*numbers) if len(numbers) > 1 else lambda column: (column[numbers[0]],)


def _of(known: Mapping[int, _Thing], numbers: Sequence[int]) -> list[_Thing]:
    """What is known of few rows, of those among ``numbers``, in their order."""
    return [known[i] for i in numbers if i in known] if known else []


class _Latest:
    """Rows from the one seen last on, put in that order when somebody asks."""

    def __init__(self, numbers: Sequence[int], last: Sequence[int]) -> None:
        self.numbers, self._last = numbers, last

    def first_of(self, known: Mapping[int, tuple[str, ...]]) -> tuple[str, ...]:
        """The first different ones of what few rows have."""
        if not known:
            return ()
        there = [(seen, i) for seen, i in zip(self._last, self.numbers, strict=True) if i in known]
        there.sort(key=itemgetter(0), reverse=True)
        return each_once(one for _, i in there for one in known[i])[:LISTED]

    def all(self) -> list[int]:
        """Their numbers."""
        there = sorted(zip(self._last, self.numbers, strict=True), key=itemgetter(0), reverse=True)
        return [i for _, i in there]


def _addresses(columns: Columns, latest: _Latest, by: By) -> tuple[str, ...]:
    """Of peers that are addresses these, of others those behind their names."""
    if by.peer:
        kind, name = columns.peer_of(latest.numbers[0])
        return (name,) if kind == "address" else latest.first_of(columns.addresses)
    found: dict[str, None] = {}
    for i in latest.all():
        kind, name = columns.peer_of(i)
        found.update(dict.fromkeys((name,) if kind == "address" else columns.addresses.get(i, ())))
        if len(found) >= LISTED:
            break
    return tuple(found)[:LISTED]


def _worst_cause(columns: Columns, numbers: Sequence[int]) -> Cause:
    """Of the rows that policies blocked the cause of the one with the most blocked attempts."""
    if not columns.causes:
        return _NO_CAUSE

    def blocked(i: int) -> tuple[int, int]:
        return columns.counts[1][i] - columns.quiet(i), sum(one[i] for one in columns.counts)

    known = [i for i in numbers if i in columns.causes and columns.causes[i].words]
    return columns.causes[max(known, key=blocked)] if known else _NO_CAUSE


def _reasons(columns: Columns, numbers: Sequence[int]) -> dict[str, int]:
    """Dropped attempts by the name of their reason, the most first."""
    found: dict[int, int] = {}
    dropped, only, more = columns.counts[1], columns.reason, columns.more_reasons
    for i in numbers:
        if i not in more:
            found[only[i]] = found.get(only[i], 0) + dropped[i]
            continue
        for number, count in columns.reasons(i).items():
            found[number] = found.get(number, 0) + count
    return sums([{reason(number).name: count} for number, count in found.items()])


def _encrypted_together(columns: Columns, numbers: Sequence[int]) -> str:
    known = columns.rare
    found = {
        _encrypted(columns.counts[0][i] + columns.counts[2][i], known[i].encrypted)
        for i in (numbers if known else ())
        if i in known
    }
    if "none" not in found and any(
        columns.counts[0][i] or columns.counts[2][i] for i in numbers if i not in known
    ):
        found.add("none")
    found.discard("")
    return found.pop() if len(found) == 1 else "mixed" if found else ""
