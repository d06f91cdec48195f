"""Who is at the two ends of a row: labels and identities, as Hubble told them last."""

from __future__ import annotations

from typing import Any

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.close_up import close_up
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.flows.model import Endpoint
from tests.unit.egress.made import counted
from tests.unit.flows.made import API, APP, WORLD, flow

BEFORE = Endpoint(identity=1, namespace="a", pod="p", labels=("k8s:app=p",))
AFTER = Endpoint(identity=2, namespace="a", pod="p", labels=("k8s:app=p", "k8s:env=prod"))
BARE = Endpoint(namespace="a", pod="p")


def of(aggregate: Aggregate, **query: Any) -> tuple[Endpoint, Endpoint] | None:
    [row] = snapshot(aggregate, Query(**query)).rows
    return ends(aggregate, row.key)


def ends(aggregate: Aggregate, key: int) -> tuple[Endpoint, Endpoint] | None:
    more = close_up(aggregate, Query(), key, None, 0)
    return more.ends if more is not None else None


def test_the_pod_comes_first_in_either_direction() -> None:
    assert of(counted(flow())) == (APP, WORLD)
    far = flow(source=APP, destination=API, direction=1)
    assert of(counted(far), direction="ingress") == (API, APP)


def test_labels_that_change_are_those_of_now_and_a_record_without_any_takes_none_away() -> None:
    aggregate = counted(
        *(flow(i, source=pod, source_port=i + 1) for i, pod in enumerate((BEFORE, AFTER, BARE)))
    )
    assert of(aggregate) == (AFTER, WORLD)


def test_folded_rows_are_nobodys() -> None:
    aggregate = counted(
        *(flow(i, destination_ip=f"1.1.1.{i}", source_port=i + 1) for i in range(9)), max_rows=4
    )
    rows = snapshot(aggregate, Query(order="last")).rows
    assert {ends(aggregate, row.key) for row in rows if row.peer_kind == "other"} == {
        (Endpoint(), Endpoint())
    }
    assert {ends(aggregate, row.key) for row in rows if row.peer_kind != "other"} == {(APP, WORLD)}


def test_without_a_dashboard_none_are_kept() -> None:
    aggregate = Aggregate(keep_recent=False)
    assert ends(aggregate, 1) is None
    assert ends(counted(flow()), 999) is None
