"""A port beside a name is that one's own: the server's, which in an ingress row is the pod, not the peer."""

from __future__ import annotations

from typing import Any

import pytest

from flowwatch.audits.ends import beside
from flowwatch.egress.query import Query
from flowwatch.report.summary_table import peer_text, pod_text
from tests.unit.egress.made import rows
from tests.unit.flows.made import ALLOW, API, denied, verdict
from tests.unit.report.made import row


@pytest.mark.parametrize(
    ("changes", "pod", "peer"),
    [
        ({}, "shop/api:8080", "web"),
        ({"direction": "egress"}, "shop/api", "web:8080"),
        ({"protocol": "UDP"}, "shop/api:8080/UDP", "web"),
        ({"protocol": "ICMPv4", "port": 8}, "shop/api", "web ICMPv4"),
        ({"namespace": "", "pod": "2001:db8::1"}, "[2001:db8::1]:8080", "web"),
    ],
)
def test_the_port_stands_beside_the_server(changes: dict[str, object], pod: str, peer: str) -> None:
    given = {"direction": "ingress", "namespace": "shop", "pod": "api", "peer": "web", "port": 8080}
    one = row(**{**given, **changes})
    assert (pod_text(one), peer_text(one)) == (pod, peer)


def test_in_sentences_too() -> None:
    assert beside("egress", "api.example", 443, "TCP") == "api.example:443/TCP"
    assert beside("egress", "2001:db8::1", 443, "TCP") == "[2001:db8::1]:443/TCP"
    assert beside("ingress", "shop/web", 80, "TCP") == "shop/web (to its 80/TCP)"
    assert beside("ingress", "answers of shop/api", 80, "TCP") == "answers of shop/api:80/TCP"
    assert (
        beside("egress", "answers of shop/web", 80, "TCP")
        == "answers of shop/web (from its 80/TCP)"
    )
    assert beside("egress", "host", 0, "") == "host"


def test_what_is_typed_into_the_filter_means_the_same() -> None:
    there: dict[str, Any] = {
        "destination": API,
        "destination_ip": "10.0.0.9",
        "destination_port": 8080,
    }
    flows = [verdict(**there), verdict(0.001, direction=1, node="node-2", **there)]

    def found(text: str) -> list[str]:
        return [one.direction for one in rows(*flows, query=Query(direction="both", text=text))]

    assert found("api-1:8080") == ["ingress", "egress"]
    assert found("weather-app-1:8080") == []
    assert found(":8080") == ["ingress", "egress"]


def test_a_policy_of_the_clients_egress_admits_nothing_at_the_server() -> None:
    there: dict[str, Any] = {"destination": API, "destination_ip": "10.0.0.9"}
    flows = [
        verdict(0, allowed_by=(ALLOW,), **there),
        *denied(0.001, direction=1, node="node-2", **there),
    ]
    egress, ingress = sorted(
        rows(*flows, query=Query(direction="both")), key=lambda one: one.direction
    )
    assert egress.allowed_by == (ALLOW,)
    assert ingress.allowed_by == ()
