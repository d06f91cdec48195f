"""What a pod asked for before it was blocked, what was refused and how often, and which ICMP it was."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flowwatch.egress.close_up import close_up
from flowwatch.egress.lookups import NAMES, Lookups
from flowwatch.egress.query import Query
from flowwatch.egress.rows import CloseUp
from flowwatch.egress.view import snapshot
from flowwatch.egress.words import message
from flowwatch.flows.model import Endpoint, Flow, Layer7, Verdict
from flowwatch.report.summary_table import peer_text
from flowwatch.tui.parts.around import suspect
from tests.unit.egress.made import counted, rows
from tests.unit.flows.made import APP, denied, flow, l7
from tests.unit.report.made import row

DNS = Endpoint(identity=1003, namespace="kube-system", pod="coredns-1", workload="coredns")


def asks(at: float, name: str, **fields: Any) -> Flow:
    values: dict[str, Any] = {
        "protocol": "UDP", "destination_port": 53, "destination": DNS, "destination_ip": "10.0.0.53",
        "source_port": 30_000 + int(at * 10),
    }  # fmt: skip
    return l7(at, Layer7(type=1, dns_query=name), **(values | fields))


def looked_into(*flows: Flow, peer: str) -> CloseUp:
    aggregate = counted(*flows)
    (key,) = [one.key for one in snapshot(aggregate, Query()).rows if one.peer == peer]
    found = close_up(aggregate, Query(), key, None, 10)
    assert found is not None
    return found


def test_names_that_the_pod_asked_for_before_the_drop_the_latest_first() -> None:
    other = Endpoint(identity=1, namespace="shop", pod="cart-1")
    flows = [
        asks(0, "a.example"),
        asks(1, "b.example", verdict=Verdict.DROPPED),
        asks(2, "a.example"),
        asks(2.5, "cart.example", source=other, source_ip="10.0.0.9"),
        *denied(3),
        asks(9, "later.example"),
    ]
    asked = looked_into(*flows, peer="1.2.3.4").asked
    assert [(one.name, one.refused) for one in asked] == [("a.example", False), ("b.example", True)]
    assert asked[0].time - asked[1].time == 1_000_000_000


def test_an_answer_is_of_who_asked() -> None:
    lookups = Lookups()
    answer = asks(0, "a.example", is_reply=True, source=DNS, destination=APP)
    lookups.see(answer, "a.example")
    assert [one.name for one in lookups.of([("weather", APP.pod)], answer.time)] == ["a.example"]
    assert not lookups.of([("kube-system", "coredns-1")], answer.time)


def test_of_a_pod_the_last_names_are_kept() -> None:
    lookups = Lookups()
    for number in range(NAMES + 3):
        lookups.see(asks(number, ""), f"n{number}.example")
    names = [one.name for one in lookups.of([("weather", APP.pod)], 2**62)]
    assert names == [f"n{number}.example" for number in reversed(range(3, NAMES + 3))]


def test_what_was_refused_is_counted() -> None:
    refused = {"verdict": Verdict.DROPPED}
    flows = [asks(at, "clicks.example", **refused) for at in range(3)]
    flows += [asks(10, "ads.example", **refused), asks(11, "fine.example")]
    told = looked_into(*flows, peer="kube-system/coredns-1").refused
    assert told == (("DNS clicks.example", 3), ("DNS ads.example", 1))


@pytest.mark.parametrize(
    ("protocol", "port", "text"),
    [
        ("TCP", 443, "TCP"),
        ("ICMPv4", 0, "ICMPv4"),
        ("ICMPv4", 8, "ICMPv4"),
        ("ICMPv4", 13, "ICMPv4 type 13"),
        ("ICMPv6", 128, "ICMPv6"),
        ("ICMPv6", 135, "ICMPv6 neighbour solicitation"),
    ],
)
def test_messages_have_names(protocol: str, port: int, text: str) -> None:
    assert message(protocol, port) == text


def test_two_kinds_of_icmp_look_different_and_are_found_by_what_is_shown() -> None:
    icmp: dict[str, Any] = {"protocol": "ICMPv4", "source_port": 0, "tcp_flags": 0}
    flows = [flow(destination_port=8, **icmp), flow(1, destination_port=13, **icmp), *denied(2)]
    told = {peer_text(one) for one in rows(*flows)}
    assert told == {"1.2.3.4 ICMPv4", "1.2.3.4 ICMPv4 type 13", "1.2.3.4:443"}
    (found,) = rows(*flows, query=Query(text="ICMPv4 !type"))
    assert found.port == 8
    (found,) = rows(*flows, query=Query(text="ICMPv4 type 13"))
    assert found.port == 13
    assert peer_text(row(peer="fe80::1", protocol="ICMPv6", port=0)) == "fe80::1 ICMPv6"


def test_a_replica_that_worked_before_is_blocked_now_alone() -> None:
    second = msgspec.structs.replace(APP, pod="weather-app-2")
    same: dict[str, Any] = {"source": second, "source_ip": "10.0.0.2", "node": "node-2"}
    flows = [
        flow(),
        flow(1, **same),
        flow(2, source_port=40001),
        *denied(3, source_port=40002, **same),
    ]
    aggregate = counted(*flows)
    key = snapshot(aggregate, Query()).rows[0].key
    found = close_up(aggregate, Query(), key, None, 1)
    assert found is not None
    assert [(one.name, one.state) for one in found.pods] == [
        ("weather-app-2", "dropped"),
        (APP.pod, "forwarded"),
    ]
    assert suspect(found.pods) == "only some are blocked: those of node node-2, where no other is"
