"""The state of a join and of an aggregate, kept and read again: the same graph of objects, to the last field.

Fields that are added to any of their classes are looked at by themselves: one that isn't kept fails here.
"""

from __future__ import annotations

import threading
from array import array
from collections import deque
from random import Random
from typing import Any

import msgspec
import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.keeping import KeptAggregate, kept_aggregate, set_aggregate
from flowwatch.egress.row_index import RowIndex
from flowwatch.flows import generations
from flowwatch.flows.clocks import Clocks
from flowwatch.flows.join import Join
from flowwatch.flows.keeping import KeptJoin, join_of, kept_join
from flowwatch.flows.model import Endpoint, Ends, Kind, PolicyRef
from tests.unit.history.traffic import batches

NOT_KEPT = {
    # Of one batch: the next begins without.
    "news", "changed", "egress_news", "ingress_news",
    # Memory, which is filled again.
    "_rows", "subjects",
    # Who listens.
    "_listeners",
}  # fmt: skip
PLAIN = (int, float, str, bytes, bool, type(None), array, set)
SHARED = (tuple, Endpoint, PolicyRef, Kind, Ends)
"""Never changed, so that no matter which of two equal ones it is."""


def fields(of: Any) -> dict[str, Any]:
    """All that an object holds, by name."""
    slots = [name for one in type(of).__mro__ for name in getattr(one, "__slots__", ())]
    names = [*getattr(of, "__dict__", {}), *slots, *getattr(of, "__struct_fields__", ())]
    found = {name: getattr(of, name) for name in names if name not in NOT_KEPT}
    if isinstance(of, Clocks):
        # By places in memory.
        found["_assumed"] = list(of._assumed.values())
    return found


class Alike:
    """Compares two graphs of objects: equal values, and what is one object here is one there."""

    def __init__(self) -> None:
        self.pairs: dict[int, int] = {}
        self.seen: set[tuple[int, int]] = set()
        self.held: list[Any] = []

    def check(self, one: Any, other: Any, path: str = "") -> None:
        # Some that are made up are numbers with a name.
        assert type(one) is type(other) or isinstance(one, int), path
        if isinstance(one, PLAIN):
            assert one == other, path
            return
        if isinstance(one, (RowIndex, type(threading.Lock()))):
            assert not isinstance(one, RowIndex) or len(one) == len(other)
            return
        # So that no place in memory is another's later.
        self.held += [one, other]
        if not isinstance(one, SHARED):
            assert self.pairs.setdefault(id(one), id(other)) == id(other), path
            assert self.pairs.setdefault(-id(other), id(one)) == id(one), path
        if (id(one), id(other)) in self.seen:
            return
        self.seen.add((id(one), id(other)))
        if isinstance(one, dict):
            self.check(list(one), list(other), f"{path} keys")
            one, other = list(one.values()), list(other.values())
        if isinstance(one, (list, tuple, deque)):
            assert len(one) == len(other), path
            for number, (a, b) in enumerate(zip(one, other, strict=True)):
                self.check(a, b, f"{path}[{number}]")
            return
        self.check(list(fields(one).items()), list(fields(other).items()), path)


def again(join: Join, aggregate: Aggregate) -> tuple[Join, Aggregate]:
    """Both by way of what is kept."""
    kept = msgspec.msgpack.encode((kept_join(join), kept_aggregate(aggregate)))
    of_join, of_aggregate = msgspec.msgpack.decode(kept, type=tuple[KeptJoin, KeptAggregate])
    nodes: dict[str, str] = {}
    read = join_of(of_join, nodes)
    counting = Aggregate(60, keep_recent=False, join=read)
    set_aggregate(counting, of_aggregate)
    for _, _, attempt in read.open_attempts():
        assert attempt.node is nodes[attempt.node]
        assert attempt.other is None or attempt.other is nodes[attempt.other]
    return read, counting


@pytest.mark.parametrize("seed", range(4))
def test_all_of_it_is_kept(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that some are of the older generation.
    monkeypatch.setattr(generations, "OPEN_AT_LEAST", 60)
    monkeypatch.setattr(generations, "GAP", 15 * 10**9)
    join = Join()
    aggregate = Aggregate(60, keep_recent=False, join=join)
    random = Random(seed)
    for batch in batches(seed, 250, servers=1 + seed % 2):
        join.add(batch)
        if random.random() < 0.02:
            read, counted = again(join, aggregate)
            Alike().check([join, aggregate], [read, counted])
