"""More of one row: its pods, its records, and who else goes where it goes."""

from __future__ import annotations

import msgspec

from flowwatch.egress.close_up import close_up
from flowwatch.egress.folding import BY_WORKLOAD
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.flows.model import Batch
from tests.unit.egress.made import pods
from tests.unit.flows.made import flow


def test_a_close_up_of_a_fold_tells_its_pods_apart() -> None:
    aggregate = pods(1, 2, 3, dropped=frozenset({2}))
    query = Query(by=BY_WORKLOAD)
    taken = snapshot(aggregate, query)
    (one,) = taken.rows
    more = close_up(aggregate, query, one.key, taken.folds[one.key], 12)

    assert more is not None
    told = [(fate.name[-1], fate.dropped, fate.forwarded) for fate in more.pods]
    assert told == [("2", 1, 0), ("1", 0, 1), ("3", 0, 1)]
    assert more.pods_in_all == 3
    assert {record.pod[-1] for record in more.records} == {"1", "2", "3"}


def test_a_close_up_of_a_pod_tells_of_its_replicas_and_of_who_else_goes_there() -> None:
    other = flow(9, source=msgspec.structs.replace(flow().source, pod="web-0", workload="web"),
                 source_ip="10.0.2.9", source_port=9)  # fmt: skip
    aggregate = pods(1, 2, dropped=frozenset({1}))
    aggregate.join.add(Batch(flows=[other]))
    row = next(row for row in snapshot(aggregate, Query()).rows if row.dropped)
    more = close_up(aggregate, Query(), row.key, None, 12)

    assert more is not None
    assert [fate.name[-1] for fate in more.pods] == ["1", "2"]
    assert [(fate.name, fate.forwarded) for fate in more.others] == [("web-0", 1)]
    assert {record.pod for record in more.records} == {row.pod}
