"""A fold out of the columns is what its rows are together, whatever rows have."""

from __future__ import annotations

import random

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.folding import BY_WORKLOAD, By, fold
from flowwatch.egress.query import Query
from flowwatch.egress.table import ANY_POD
from flowwatch.egress.view import snapshot
from flowwatch.flows.cause import Cause
from flowwatch.flows.model import PolicyRef
from flowwatch.flows.peers import Peer
from flowwatch.flows.staged import Did, Staged
from tests.unit.egress.test_groups import without_keys

BYS = (
    BY_WORKLOAD,
    By("namespace", "", True, True),
    By("namespace", "", False, True),
    By("workload", "", True, False),
    By("", "", False, False),
    By("", "", True, True),
)
PODS = (
    ("ns", "web-1", "web"), ("ns", "web-2", "web"), ("ns", "web-3", ""), ("ns", "", "batch"),
    ("ns", "db-0", "db"), ("other", "web-1", "web"), ("other", "", "batch"), ("", "host", ""),
)  # fmt: skip
PEERS = (Peer("dns", "a.example"), Peer("dns", "b.example"), Peer("address", "1.1.1.1"),
         Peer("address", "::1"), Peer("pod", "ns/db-0"), Peer("entity", "world"))  # fmt: skip
REFS = tuple(PolicyRef("CiliumNetworkPolicy", "ns", f"p{number}") for number in range(4))
PLACES = (("", ""), ("east", "one"), ("east", "two"))
REASONS = (133, 181, 132)


def full(seed: int) -> Aggregate:
    """Rows that have, each by chance, whatever a row can have."""
    chance = random.Random(seed)
    aggregate = Aggregate(10_000)
    columns = aggregate.columns
    for number in range(300):
        row = columns.row(
            chance.choice((1, 2)), chance.choice(PODS), chance.choice(PEERS),
            chance.choice((53, 443)), chance.choice(("TCP", "UDP")), 1 + chance.randrange(20),
            number + 1, chance.choice(PLACES),
        )  # fmt: skip
        for column, most in zip(columns.counts, (9, 9, 2, 2, 2), strict=True):
            column[row] = chance.randrange(most)
        columns.records[row] += chance.randrange(50)
        columns.last[row] = 20 + chance.randrange(9)
        columns.answered[row] = chance.randrange(4)
        columns.rate[row], columns.rated[row] = chance.random(), 1.0
        columns.reason[row] = chance.choice(REASONS)
        columns.add_policies(
            row, tuple(chance.sample(REFS, chance.randrange(3))), tuple(chance.sample(REFS, 1))
        )
        for _ in range(chance.randrange(3)):
            aggregate.turns.add(row, chance.randrange(4), 1 + chance.randrange(30))
        if chance.random() < 0.3:
            rarely(aggregate, row, chance)
    return aggregate


def rarely(aggregate: Aggregate, row: int, chance: random.Random) -> None:
    """What few rows have."""
    columns = aggregate.columns
    columns.more_reasons[row] = {one: chance.randrange(4) for one in REASONS}
    columns.addresses[row] = tuple(f"10.0.0.{chance.randrange(9)}" for _ in range(3))
    columns.proxy_refused[row] = tuple(f"GET /{chance.randrange(9)}" for _ in range(2))
    columns.waiting[row] = chance.randrange(10**10)
    columns.noise[row] = {"multicast": chance.randrange(3), "ndp": 1}
    columns.causes[row] = Cause(f"why {chance.randrange(3)}", f"because {row}")
    columns.staged[row] = Staged(chance.randrange(3), 1, 0, 2, (Did("ns/draft", 1, 1),), "so")
    rare = columns.rarity(row)
    rare.answers[1 + chance.randrange(len(rare.answers) - 1)] += 2
    rare.late, rare.uncounted, rare.unsure = (chance.randrange(3) for _ in range(3))
    rare.wait(chance.choice((0.0, 1.0, 3.0)), chance.randrange(4))
    rare.encrypted = chance.randrange(9)
    rare.log((f"value {chance.randrange(3)}",))


@pytest.mark.parametrize("by", BYS, ids=str)
@pytest.mark.parametrize("seed", range(8))
def test_a_fold_is_what_its_rows_are_together(by: By, seed: int) -> None:
    aggregate = full(seed)
    assert any(name.startswith(ANY_POD) for _, name, _, _ in aggregate.columns.pods.things)
    plain = snapshot(aggregate, Query(direction="both"))
    folded = snapshot(aggregate, Query(direction="both", by=by))
    told = fold(plain.rows, by)
    assert len(told) < len(plain.rows)
    assert sorted(map(str, without_keys(folded.rows))) == sorted(map(str, without_keys(told)))
    rates = [round(sum(row.rate for row in rows), 9) for rows in (plain.rows, folded.rows)]
    assert rates[0] == rates[1] > 0
