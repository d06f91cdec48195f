"""Destinations are put together as pods are."""

from __future__ import annotations

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.folding import BY_WORKLOAD, PLAIN, By
from flowwatch.egress.whose import whose
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch, Direction, Endpoint
from tests.unit.flows.made import flow

API = Endpoint(identity=9, namespace="api", pod="api-1", labels=("k8s:tier=back",))
"""As records of the client's node have it: without its workload."""


def aggregate() -> Aggregate:
    made = Aggregate(join=Join())
    there = Endpoint(identity=9, namespace="api", pod="api-1", workload="api")
    flows = [
        flow(0, destination=API, destination_ip="10.0.0.9"),
        flow(1, destination=API, destination_ip="10.0.0.9", source_port=2),
        flow(2, destination=there, direction=Direction.INGRESS, node="node-2", source_port=3),
        flow(3, destination=Endpoint(identity=8, namespace="db", pod="db-0"), source_port=4),
        flow(4, destination_names=("a.example",), source_port=5),
        flow(5, destination_service="shop/web", destination_ip="10.96.0.1", source_port=6),
    ]
    made.join.add(Batch(flows=flows))
    return made


def test_each_by_what_is_known_of_it() -> None:
    made = aggregate()
    client = {"weather/weather-app-1": "weather/weather-app"}
    assert whose(made, BY_WORKLOAD) == {"api/api-1": "api/api", "db/db-0": "db/db-0", **client}
    namespaces = whose(made, By("namespace", "", True, True))
    assert namespaces == {
        "api/api-1": "api", "db/db-0": "db", "shop/web": "shop", "weather/weather-app-1": "weather"
    }  # fmt: skip
    labels = whose(made, By("", "tier", True, True))
    assert (labels["api/api-1"], labels["db/db-0"]) == ("tier=back", "no label tier")
    assert whose(made, PLAIN) == {}
