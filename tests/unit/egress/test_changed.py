"""What an ICMP error tells of an attempt is counted, in whatever batch it comes."""

from __future__ import annotations

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.flows.model import Batch, Direction
from tests.unit.flows.made import flow
from tests.unit.flows.test_tries import ICMP_ERROR, udp


@pytest.mark.parametrize("apart", [False, True])
def test_an_error_of_a_later_batch_counts_as_one_of_the_same(apart: bool) -> None:
    asked = udp([flow()])
    error = flow(0.1, **ICMP_ERROR, direction=Direction.INGRESS)
    aggregate = Aggregate()
    batches = [asked, [error]] if apart else [[*asked, error]]
    for flows in batches:
        aggregate.join.add(Batch(flows=flows))
    (row,) = snapshot(aggregate, Query()).rows
    assert (row.forwarded, row.unreachable) == (1, 1)
