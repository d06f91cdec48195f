"""What a view may ask: every order and direction that is offered has its meaning."""

from __future__ import annotations

import pytest

from flowwatch.egress.monitor import LiveMonitor
from flowwatch.egress.query import DIRECTIONS, ORDERS, Monitor, Query
from flowwatch.egress.view import snapshot
from flowwatch.flows.model import Direction
from tests.unit.egress.made import Scripted, counted, traffic
from tests.unit.flows.made import API, flow


def test_every_order_differs_from_every_other() -> None:
    aggregate = counted(*traffic(300))
    orders = {
        order: tuple(row.key for row in snapshot(aggregate, Query(order=order)).rows)
        for order in ORDERS
    }
    assert len(set(orders.values())) == len(ORDERS)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_direction_is_counted_on_its_own_and_both_together(direction: str) -> None:
    aggregate = counted(flow(), flow(1, destination=API, direction=Direction.INGRESS))
    taken = snapshot(aggregate, Query(direction=direction))
    wanted = {"egress", "ingress"} if direction == "both" else {direction}
    assert {row.direction for row in taken.rows} == wanted
    assert taken.totals.rows == len(wanted)


def test_a_live_monitor_is_what_views_ask() -> None:
    monitor: Monitor = LiveMonitor(Scripted())
    assert monitor.snapshot(Query()).rows == ()
    assert monitor.close_up(Query(), 1, None, 5) is None
