"""What is on the screen can be typed as a filter, and what is not on it finds nothing."""

from __future__ import annotations

from typing import Any

import pytest

from flowwatch.egress import select as select_module
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.flows.model import Endpoint, Layer7, Verdict
from tests.unit.egress.made import counted
from tests.unit.flows.made import ALLOW, DENY, denied, flow, l7, verdict

APP = Endpoint(identity=7, namespace="weather", pod="app-1", workload="app", cluster="default")
DNS = Endpoint(identity=8, namespace="kube-system", pod="coredns-5", cluster="default")


def story() -> Aggregate:
    """One pod of a cluster that is called ``default``, as most are, and where it goes."""
    app: dict[str, Any] = {"source": APP, "node": "default/node-1"}
    return counted(
        # A name with two addresses, allowed by a policy.
        flow(0, destination_names=("api.github.com",), destination_ip="140.82.1.3", **app),
        verdict(0, destination_ip="140.82.1.3", allowed_by=(ALLOW,), **app),
        flow(1, destination_names=("api.github.com",), destination_ip="140.82.1.4", **app),
        # The same port elsewhere, dropped by nobody in particular.
        *denied(2, destination_ip="9.9.9.9", source_port=2, **app),
        # Another port, dropped by a deny rule.
        *denied(3, 181, destination_ip="9.9.9.8", destination_port=8080, denied_by=(DENY,), **app),
        flow(4, destination=DNS, destination_ip="10.0.0.53", protocol="UDP", tcp_flags=0,
             destination_port=53, source_port=5, **app),
        flow(5, destination_ip="2001:db8::1", destination_port=443, source_port=6, **app),
        # Echo requests: 8 is their type, which is no port.
        flow(6, destination_ip="9.9.9.7", protocol="ICMPv4", source_port=0, destination_port=8,
             tcp_flags=0, **app),
        flow(7, destination_ip="9.9.9.6", destination_port=8, source_port=8, **app),
        l7(8, Layer7(type=1, http_method="GET", http_url="http://geo/admin"), source_port=9,
           verdict=Verdict.DROPPED, destination_ip="9.9.9.5", destination_port=80, **app),
        verdict(9, verdict=Verdict.AUDIT, destination_ip="9.9.9.4", destination_port=81,
                source_port=10, **app),
    )  # fmt: skip


GITHUB, IPV6 = "api.github.com", "2001:db8::1"
ALL = {GITHUB, "9.9.9.9", "9.9.9.8", "kube-system/coredns-5", IPV6, "9.9.9.7", "9.9.9.6",
       "9.9.9.5", "9.9.9.4"}  # fmt: skip


@pytest.mark.parametrize("few", [True, False], ids=["few rows", "many rows"])
@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("api.github.com:443", {GITHUB}),
        (":443", {GITHUB, "9.9.9.9", IPV6}),
        (":8080", {"9.9.9.8"}),
        (":80", {"9.9.9.5"}),
        ("8080", {"9.9.9.8"}),
        ("53/udp", {"kube-system/coredns-5"}),
        ("53/UDP", {"kube-system/coredns-5"}),
        (":53/u", {"kube-system/coredns-5"}),
        ("coredns-5:53/udp", {"kube-system/coredns-5"}),
        ("53/tcp", set()),
        ("443/tcp", {GITHUB, "9.9.9.9", IPV6}),
        ("github:443", {GITHUB}),
        ("github:80", set()),
        ("[2001:db8::1]:443", {IPV6}),
        ("2001:db8::1", {IPV6}),
        # The addresses that the detail shows, and one of them with the port.
        ("140.82.1.4", {GITHUB}),
        ("140.82.1.3:443", {GITHUB}),
        # A type of ICMP is no port.
        (":8", {"9.9.9.6"}),
        ("icmpv4", {"9.9.9.7"}),
        # What stands in the columns REASON and POLICY.
        ("no rule", {"9.9.9.9"}),
        ("no rule allows it", {"9.9.9.9"}),
        ("policy_denied", {"9.9.9.9"}),
        ("would deny", {"9.9.9.4"}),
        ("deny deny-world", {"9.9.9.8"}),
        ("allow weather/weather-egress", {GITHUB}),
        ("l7 refused", {"9.9.9.5"}),
        ("geo/admin", {"9.9.9.5"}),
        # As texts that are too long are shown.
        ("kube-s…dns-5:53/udp", {"kube-system/coredns-5"}),
        ("api.…com", {GITHUB}),
        ("api…api", set()),
        # One cluster is no news, and what kind a policy has isn't shown beside it.
        ("default", set()),
        ("node-1", set()),
        ("ciliumnetwork", set()),
        ("CiliumNetworkPolicy", {GITHUB}),
        ("!:443", ALL - {GITHUB, "9.9.9.9", IPV6}),
        ("weather/app", ALL),
        ("/", ALL),
    ],
)  # fmt: skip
def test_what_is_typed_finds_what_shows_it(
    few: bool, typed: str, found: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not few:
        monkeypatch.setattr(select_module, "FEW", 0)
    rows = snapshot(story(), Query(text=typed)).rows
    assert {row.peer for row in rows} == found
