"""Rows of the columns put together as flowwatch.egress.folding has it, before any is spelt out.

These are few; a great many are put together by :mod:`flowwatch.egress.groups_large`, which loads numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import exp
from typing import Any

from flowwatch.egress.folding import By, subject
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Fold
from flowwatch.egress.table import ANY_POD, PROTOCOLS, RATE_SECONDS, Columns
from flowwatch.flows.model import DIRECTION_WORDS
from flowwatch.flows.peers import KINDS

Labels = Sequence[Sequence[str]]
"""By the number of a pod, its labels."""


class Subjects:
    """Under whom rows are folded: name, cluster and server, by the number of their pod."""

    def __init__(self, columns: Columns, by: By, labels: Labels = ()) -> None:
        self.by = by
        self.of: list[int] = []
        """By the number of a pod: whom of ``things``."""
        self.things: list[tuple[str, str, str]] = []
        self._numbers: dict[tuple[str, str, str], int] = {}
        self._grow(columns, labels)

    @classmethod
    def known(cls, columns: Columns, by: By) -> Subjects:
        """Those of before, with the pods that came since; not by a label, as pods may get others."""
        found: Subjects | None = columns.subjects.get(by)
        if found is None:
            found = columns.subjects[by] = cls(columns, by)
        found._grow(columns)
        return found

    def _grow(self, columns: Columns, labels: Labels = ()) -> None:
        for number in range(len(self.of), len(columns.pods)):
            namespace, pod, cluster, server = columns.pods.things[number]
            own = "" if pod.startswith(ANY_POD) else pod
            of = labels[number] if labels else ()
            name = subject(self.by, namespace, own, columns.workloads[number], of)
            whom = (name, cluster, server)
            if whom not in self._numbers:
                self._numbers[whom] = len(self.things)
                self.things.append(whom)
            self.of.append(self._numbers[whom])

    def fold(self, columns: Columns, row: int) -> Fold:
        """The fold that ``row`` is of."""
        name, cluster, server = self.things[self.of[columns.pod[row]]]
        kind, peer = columns.peer_of(row) if self.by.peer else ("", "")
        port, protocol = columns.port[row], PROTOCOLS[columns.protocol[row]]
        direction = DIRECTION_WORDS[columns.direction[row]]
        if not self.by.port:
            port, protocol = 0, ""
        return Fold(direction, cluster, server, name, peer, kind, port, protocol)


class Groups:
    """Folds in an order, each as the numbers of its rows."""

    def __init__(self, members: Sequence[Sequence[int]]) -> None:
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    def rows(self, place: int) -> Sequence[int]:
        """The rows of the fold at this place."""
        return self._members[place]

    def all(self) -> list[int]:
        """The rows of all of them."""
        return [row for rows in self._members for row in rows]


def put_together(
    columns: Columns, rows: Collection[int], subjects: Subjects, query: Query, now: float
) -> Groups:
    """``rows`` folded, in the order of ``query``, which chooses folds where it wants drops alone."""
    key = _identity(columns, subjects)
    found: dict[tuple[int, ...], list[int]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    counted = [_Summed(columns, members, query, now) for members in found.values()]
    if query.drops_only:
        counted = [one for one in counted if one.dropped or one.audited]
    order = _key(columns, subjects, query.order)
    return Groups([one.rows for one in sorted(counted, key=order, reverse=query.reverse)])


def _identity(columns: Columns, subjects: Subjects) -> Callable[[int], tuple[int, ...]]:
    of, pod, peer, by = subjects.of, columns.pod, columns.peer, subjects.by
    port, protocol, direction = columns.port, columns.protocol, columns.direction

    def key(row: int) -> tuple[int, ...]:
        return (
            of[pod[row]],
            direction[row],
            peer[row] if by.peer else 0,
            port[row] if by.port else 0,
            protocol[row] if by.port else 0,
        )

    return key


class _Summed:
    """What a fold is chosen and ordered by."""

    __slots__ = ("audited", "dropped", "errors", "forwarded", "last", "quiet", "rate", "rows")

    def __init__(self, columns: Columns, rows: list[int], query: Query, now: float) -> None:
        self.rows = rows
        self.forwarded, self.dropped, self.audited, self.errors = (
            sum([one[row] for row in rows]) for one in columns.counts[:4]
        )
        self.quiet = sum([columns.quiet(row) for row in rows]) if columns.noise else 0
        if not query.noise and query.drops_only:
            self.dropped -= self.quiet
            self.quiet = 0
        self.last = max([columns.last[row] for row in rows])
        self.rate = (
            sum(
                [columns.rate[row] * exp((columns.rated[row] - now) / RATE_SECONDS) for row in rows]
            )
            if query.order == "rate"
            else 0.0
        )


_FIRST: dict[str, Callable[[_Summed], tuple[float, ...]]] = {
    "pod": lambda one: (),
    "last": lambda one: (-one.last,),
    "rate": lambda one: (-one.rate,),
    "forwarded": lambda one: (-one.forwarded,),
    "drops": lambda one: (
        one.quiet - one.dropped,
        -one.audited,
        -one.errors,
        -one.forwarded,
        -one.dropped,
    ),
}


def _key(columns: Columns, subjects: Subjects, order: str) -> Callable[[_Summed], tuple[Any, ...]]:
    peers = columns.peer_names.things

    def names(one: _Summed) -> tuple[Any, ...]:
        row = one.rows[0]
        who = subjects.things[subjects.of[columns.pod[row]]]
        peer = peers[columns.peer[row] >> 3] if subjects.by.peer else ""
        port = columns.port[row] if subjects.by.port else 0
        return (peer, who, port) if order == "peer" else (who, peer, port)

    if order == "peer":
        return names
    first = _FIRST.get(order, _FIRST["drops"])
    return lambda one: (*first(one), *names(one))


def like(columns: Columns, fold: Fold) -> list[int]:
    """All rows that go where ``fold`` goes, whoever they are of."""
    name = columns.peer_names.numbers.get(fold.peer)
    if name is None:
        return []
    peer = name << 3 | KINDS.index(fold.peer_kind)
    port, protocol = fold.port, PROTOCOLS.index(fold.protocol)
    way = next(way for way, word in DIRECTION_WORDS.items() if word == fold.direction)
    return [
        row
        for row, number in enumerate(columns.peer)
        if number == peer
        and columns.port[row] == port
        and columns.protocol[row] == protocol
        and columns.direction[row] == way
    ]
