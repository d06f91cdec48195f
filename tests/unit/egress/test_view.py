"""What a view is given: the last records, rates, clusters by their names."""

from __future__ import annotations

import pytest

from flowwatch.egress import aggregate as aggregate_module
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import records, snapshot
from flowwatch.flows.model import (
    Batch,
    Endpoint,
    LostEvents,
)
from tests.unit.egress.made import counted, rows, traffic
from tests.unit.flows.made import (
    denied,
    flow,
    reply,
)


def test_the_last_records_of_a_row_are_kept_and_told_from_its_pods_side() -> None:
    aggregate = counted(flow(), reply(1), flow(2, destination_ip="9.9.9.9", source_port=7))
    [first] = [row for row in snapshot(aggregate, Query()).rows if row.peer == "1.2.3.4"]
    told = records(aggregate, 10, {first.key})
    assert [(r.pod, r.peer, r.port, r.kind) for r in told] == [
        ("weather-app-1", "1.2.3.4", 443, "to-stack"),
        ("weather-app-1", "1.2.3.4", 443, "to-endpoint"),
    ]
    assert len(records(aggregate, 2)) == 2


def test_a_rate_is_of_late() -> None:
    [row] = rows(*(flow(i / 10, source_port=i + 1) for i in range(1200)))
    assert row.rate == pytest.approx(10, rel=0.05)
    aggregate = counted(*(flow(i / 10, source_port=i + 1) for i in range(1200)))
    aggregate.join.add(Batch(flows=[flow(1000, source_port=5, destination_ip="9.9.9.9")]))
    [idle] = [row for row in snapshot(aggregate, Query()).rows if row.peer == "1.2.3.4"]
    assert idle.rate < 0.001


def test_recent_records_are_bounded() -> None:
    aggregate = counted(*traffic(5000))
    assert len(aggregate.recent) == aggregate_module.RECENT


def test_pods_of_several_clusters_have_rows_of_their_own() -> None:
    east, west = (
        Endpoint(identity=1, namespace="weather", pod="app-0", cluster=name)
        for name in ("east", "west")
    )
    aggregate = counted(
        flow(source=east, node="east/n1"),
        flow(source=west, node="west/n1", source_ip="10.9.0.1"),
        # Peers of the other cluster are named with it, those of the own without.
        flow(source=east, destination=west, destination_ip="10.9.0.1", source_port=2),
        flow(source=east, destination=east, destination_ip="10.0.0.9", source_port=3),
    )
    taken = snapshot(aggregate, Query(order="peer"))
    assert [(row.cluster, row.peer) for row in taken.rows] == [
        ("east", "1.2.3.4"),
        ("west", "1.2.3.4"),
        ("east", "weather/app-0"),
        ("east", "west/weather/app-0"),
    ]
    assert taken.coverage.clusters == ("east", "west")
    assert snapshot(aggregate, Query(text="west app")).matched == 2


def test_the_same_connection_at_two_servers_is_two_attempts() -> None:
    aggregate = Aggregate(100)
    for server in ("a:1", "b:1"):
        aggregate.join.add(Batch(flows=denied(), origin=server))
        aggregate.join.add(
            Batch(lost=[LostEvents("HUBBLE_RING_BUFFER", 1, "node-1", 5)], origin=server)
        )
    taken = snapshot(aggregate, Query(), recent=10)
    assert taken.totals.dropped == 2
    assert [(row.cluster, row.server, row.dropped) for row in taken.rows] == [
        ("default (a:1)", "a:1", 1),
        ("default (b:1)", "b:1", 1),
    ]
    assert taken.coverage.nodes == ("node-1 (a:1)", "node-1 (b:1)")
    assert [lost.node for lost in taken.coverage.lost] == ["node-1 (a:1)", "node-1 (b:1)"]
    assert len(taken.recent) == 4
