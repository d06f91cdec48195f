"""Why a peer is in a draft, or isn't: a sentence each, with what shows it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flowwatch.flows.model import Layer7
from tests.unit.drafts.test_draft import HOST, NODE, Seen, pod
from tests.unit.flows.made import ALLOW, l7
from tests.unit.marks.traffic import API, EVIL, POD


def why(seen: Seen, asked: str, **options: Any) -> list[str]:
    lines = seen.draft(explains=True, **options).why(asked)
    return [line.removeprefix("weather/weather-app: ") for line in lines]


def weather() -> Seen:
    seen = Seen().looks_up(0, "api.example.com", API).passes(1, API)
    seen.passes(
        2, "10.1.0.5", destination=pod("shop", "api"), destination_port=8080,
        destination_service="shop/front",
    )  # fmt: skip
    return seen.fails(3, EVIL).passes(4, "10.0.0.2", destination=NODE)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("api.example.com:443", "by the name that these pods asked for"),
        ("API.example.com.", "by the name that these pods asked for"),
        (API, f"by the name that these pods asked for: {API} was one of its addresses"),
        (
            "shop/api:8080",
            "stands in spec.egress.1, by app=api, the fewest that no other pod seen has",
        ),
        ("shop/front", "allows shop/api:8080/TCP"),
        ("remote-node", "by what Cilium calls it, whatever its address"),
        (f"{EVIL}:443", "which a policy drops: seen once"),
        ("api.example.com:80", "doesn't allow api.example.com:80: it was only seen on 443/TCP"),
        (f"{EVIL}:80", f"doesn't allow {EVIL}:80: it was only seen on 443/TCP"),
    ],
)
def test_each_peer_has_its_reason(asked: str, told: str) -> None:
    (line,) = why(weather(), asked)
    assert told in line


def test_of_what_nobody_tried_nothing_is_said() -> None:
    assert why(weather(), "nobody.example:443") == []


def test_an_address_without_a_name_says_that_it_may_change() -> None:
    (line,) = why(Seen().passes(0, "2001:db8::7", source_ip="2001:db8::1"), "[2001:db8::7]:443")
    assert line.endswith("by the address, as no name was seen for it: it may change")


def test_a_name_of_another_pod_says_so() -> None:
    seen = Seen().looks_up(0, "api.example.com", API, source=pod("shop", "web")).passes(60, API)
    (line,) = [one for one in why(seen, "api.example.com") if "allows" in one]
    assert "by the name that is the address's last known" in line


def test_pods_that_no_label_tells_apart_are_named() -> None:
    more = msgspec.structs.replace(pod("shop", "api", "k8s:tier=x", workload="two"), pod="two-1")
    seen = Seen().passes(0, "10.1.0.5", destination=pod("shop", "api", workload="one"))
    seen.passes(1, "10.1.0.6", source=more, destination=pod("shop", "db"))

    (line,) = why(seen, "shop/one")

    assert "by app=api, which shop/two has too" in line


def test_the_rule_that_names_need_is_there_for_them() -> None:
    seen = Seen().passes(0, API, destination_names=("api.example.com",))
    (line,) = why(seen, "kube-system/kube-dns")
    assert "no lookup was seen: these are Kubernetes' usual DNS pods" in line
    assert line.endswith("stands in spec.egress.0")


def test_a_scan_is_told() -> None:
    seen = Seen().passes(0, API)
    for port in range(20):
        seen.passes(1 + port, EVIL, destination_port=1000 + port, answered=False)

    assert why(seen, f"{EVIL}:1003") == [
        f"doesn't allow {EVIL}: 20 ports tried without an answer, a scan"
    ]


def test_what_a_proxy_refused_is_told() -> None:
    seen = Seen().passes(0, API, (ALLOW,), source_port=7000)
    refused = Layer7(type=1, http_method="GET", http_url="http://api/x")
    seen.records.append(
        l7(0.1, refused, verdict=2, destination_ip=API, source_port=7000, source=POD)
    )

    (line,) = why(seen, API)

    assert line == f"doesn't learn from 1 attempt to {API}:443/TCP: a proxy refused what was asked"


def test_a_name_that_was_looked_up_alone_is_told() -> None:
    (line,) = why(Seen().looks_up(0, "api.example.com", API), "api.example.com:443")
    assert "its name was looked up, but no attempt to reach it was seen" in line


def test_the_node_s_probes_are_told() -> None:
    seen = Seen().passes(
        0, "10.0.0.9", source=HOST, destination=POD, direction=1, source_ip="10.0.1.1",
        destination_port=8080,
    )  # fmt: skip

    (line,) = why(seen, "host", directions=frozenset({"ingress"}))

    assert line.startswith("needs no rule for 1 attempt of its node")


def test_equal_targets_are_one_line() -> None:
    seen = Seen().passes(0, API)
    for at, workload in enumerate(("postgres", "postgres-0")):
        end = pod("data", "postgres", workload=workload)
        seen.fails(1 + at, "10.1.0.7", destination=end, destination_port=5432)

    (line,) = why(seen, "data/postgres:5432")

    assert "2 attempts" in line
