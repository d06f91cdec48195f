"""Status and lists as text. Beside the real CLI they are in tests/interop/test_status.py."""

from __future__ import annotations

import json
from typing import cast

import pytest

from flowwatch.hubble.wire.pb.observer import observer_pb2 as pb
from flowwatch.hubble.wire.pb.relay import relay_pb2
from flowwatch.report.status import duration, health_line, namespaces_text, nodes_text, status_text

HOSTILE = "a\x1b]0;x\x07\u202eb\nc"
SAFE = "a\\x1b]0;x\\x07\\u202eb\\x0ac"


def relay(**fields: object) -> pb.ServerStatusResponse:
    status = pb.ServerStatusResponse(num_flows=3356, max_flows=131_070, seen_flows=90_000)
    status.uptime_ns = 3_725_500_000_000
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(status, name).extend(value)
        elif name.startswith("num_"):
            getattr(status, name).value = value
        else:
            setattr(status, name, value)
    return status


def test_compact() -> None:
    assert status_text(
        relay(num_connected_nodes=2, num_unavailable_nodes=1, unavailable_nodes=["n3"]), "compact"
    ) == (
        "Current/Max Flows: 3,356/131,070 (2.56%)\n"
        "Flows/s: 24.16\n"
        "Connected Nodes: 2/3\n"
        "Unavailable Nodes: 1\n"
        "  - n3\n"
    )


def test_compact_of_more_unavailable_nodes_than_are_named() -> None:
    shown = status_text(
        relay(num_connected_nodes=0, num_unavailable_nodes=12, unavailable_nodes=["b", "a"]),
        "compact",
    )
    assert shown.endswith("Unavailable Nodes: 12\n  - a\n  - b\n  - and 10 more...\n")
    shown = status_text(relay(num_unavailable_nodes=12), "compact")
    assert shown.endswith("Unavailable Nodes: 12\n")
    assert "Connected" not in shown


def test_compact_of_a_server_that_has_just_begun() -> None:
    assert status_text(pb.ServerStatusResponse(), "compact") == (
        "Current/Max Flows: 0/0\nFlows/s: N/A\n"
    )


def test_dict_and_table_of_an_observer() -> None:
    shown = status_text(relay(version="cilium v1.20.2", flows_rate=1.5), "dict")
    assert shown == (
        "          NUM FLOWS: 3,356\n"
        "          MAX FLOWS: 131,070\n"
        "         SEEN FLOWS: 90,000\n"
        "   FLOWS PER SECOND: 1.50\n"
        "             UPTIME: 1h2m5.5s\n"
        "NUM CONNECTED NODES: N/A\n"
        " NUM UNAVAIL. NODES: N/A\n"
        "            VERSION: cilium v1.20.2\n"
    )
    head, row = status_text(relay(), "table").splitlines()
    assert head.startswith("NUM FLOWS   MAX FLOWS   SEEN FLOWS   FLOWS PER SECOND   UPTIME")
    assert row.startswith("3,356       131,070     90,000       N/A                1h2m5.5s")


NODES = [
    pb.Node(name="faz", version="4", state=relay_pb2.NODE_ERROR),
    pb.Node(
        name="foo",
        version="1",
        state=relay_pb2.NODE_CONNECTED,
        address="1.2.3.4",
        tls=pb.TLS(enabled=True, server_name="foo.bar.tls"),
        uptime_ns=10**12,
        num_flows=500,
        max_flows=1000,
        seen_flows=2500,
    ),
    pb.Node(
        name="bar", version="2", state=relay_pb2.NODE_UNAVAILABLE, address="5.6.7.8", tls=pb.TLS()
    ),
    pb.Node(name="new", state=cast(relay_pb2.NodeState.ValueType, 99)),
]


def test_nodes_in_a_table() -> None:
    assert nodes_text(NODES, "wide") == (
        "NAME   STATUS        AGE      FLOWS/S   CURRENT/MAX-FLOWS    VERSION   ADDRESS   TLS\n"
        "bar    Unavailable   N/A      N/A       N/A                  2         5.6.7.8   Disabled\n"
        "faz    Error         N/A      N/A       N/A                  4                   N/A\n"
        "foo    Connected     16m40s   2.50      500/1000 ( 50.00%)   1         1.2.3.4   Enabled\n"
        "new    Unknown       N/A      N/A       N/A                  N/A                 N/A\n"
    )
    assert nodes_text([], "table") == "NAME   STATUS   AGE   FLOWS/S   CURRENT/MAX-FLOWS\n"


def test_nodes_as_json() -> None:
    first, *_ = json.loads(nodes_text(NODES[1:2], "json"))
    assert first == {
        "name": "foo",
        "version": "1",
        "address": "1.2.3.4",
        "state": "NODE_CONNECTED",
        "tls": {"enabled": True, "server_name": "foo.bar.tls"},
        "uptime_ns": "1000000000000",
        "num_flows": "500",
        "max_flows": "1000",
        "seen_flows": "2500",
    }
    assert nodes_text([], "json") == "null\n"


@pytest.mark.parametrize(
    ("uptime", "age"),
    [
        (499_999_999, "N/A"),
        (500_000_000, "1s"),
        (2_500_000_000, "3s"),
        (7_200_000_000_000, "2h0m0s"),
    ],
)
def test_ages_are_rounded_as_go_rounds(uptime: int, age: str) -> None:
    line = nodes_text([pb.Node(name="n", uptime_ns=uptime)], "table").splitlines()[1]
    assert line.split()[2] == age


def test_namespaces() -> None:
    found = [pb.Namespace(namespace="b", cluster="c1"), pb.Namespace(namespace="a")]
    assert namespaces_text(found, "table") == "NAMESPACE\nb\na\n"
    assert namespaces_text(found, "wide") == "NAMESPACE   CLUSTER\nb           c1\na\n"
    assert json.loads(namespaces_text(found, "json")) == [
        {"cluster": "c1", "namespace": "b"},
        {"namespace": "a"},
    ]


def test_what_a_server_calls_itself_cannot_move_the_cursor() -> None:
    status = relay(version=HOSTILE, num_unavailable_nodes=1, unavailable_nodes=[HOSTILE])
    shown = [status_text(status, form) for form in ("compact", "dict", "table")]
    node = pb.Node(name=HOSTILE, version=HOSTILE, address=HOSTILE)
    shown.append(nodes_text([node], "wide"))
    shown.append(namespaces_text([pb.Namespace(namespace=HOSTILE, cluster=HOSTILE)], "wide"))
    for text in shown:
        assert SAFE in text
        assert all(line.isprintable() for line in text.split("\n"))
    for text in (
        status_text(status, "json"),
        nodes_text([node], "json"),
        namespaces_text([pb.Namespace(namespace=HOSTILE)], "json"),
    ):
        assert all(line.isprintable() for line in text.split("\n"))
        assert json.dumps(HOSTILE) in json.dumps(json.loads(text))


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (1, "1ns"), (1500, "1.5µs"), (2_000_000, "2ms"), (10**9, "1s"),
     (61_500_000_000, "1m1.5s"), (3_600_000_000_000, "1h0m0s"), (10**9 + 1, "1.000000001s")],
)  # fmt: skip
def test_durations_as_go_writes_them(nanoseconds: int, text: str) -> None:
    assert duration(nanoseconds) == text


def test_health() -> None:
    assert health_line("localhost:4245", "SERVING") == "Healthcheck (via localhost:4245): Ok"
    assert health_line("[::1]:1", "NOT_SERVING") == (
        "Healthcheck (via [::1]:1): Unavailable: NOT_SERVING"
    )
