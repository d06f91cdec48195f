"""Aggregated lines: records are counted, attempts are "at least one", what the key leaves out isn't told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Row, Snapshot
from flowwatch.egress.schema import not_recorded
from flowwatch.egress.view import snapshot
from flowwatch.flows.decode_json import LineDecoder
from flowwatch.flows.standing import is_answer
from tests.unit.flows.made import API, APP, WORLD, flow

WEATHER = {"namespace": "weather", "workloads": [{"name": "weather-app", "kind": "Deployment"}]}
THE_API = {"namespace": "api", "workloads": [{"name": "api", "kind": "Deployment"}]}
OUTSIDE = {"identity": 2, "labels": ["reserved:world"]}


def line(egress: int = 0, ingress: int = 0, unknown: int = 0, at: int = 0, **key: Any) -> bytes:
    """A line of AKS's kind: workloads, ports and verdict are the key, each as many records."""
    fields = {
        "verdict": "FORWARDED",
        "source": WEATHER,
        "destination": THE_API,
        "l4": {"TCP": {"destination_port": 8080}},
        "time": f"2026-01-31T10:{at // 60:02}:{at % 60:02}Z",
        "aggregate": {
            "egress_flow_count": egress,
            "ingress_flow_count": ingress,
            "unknown_direction_flow_count": unknown,
        },
    }
    return json.dumps({"flow": {k: v for k, v in (fields | key).items() if v is not None}}).encode()


def shown(*lines: bytes, direction: str = "both") -> Snapshot:
    batch = LineDecoder().lines(b"\n".join(lines))
    assert batch is not None
    aggregate = Aggregate()
    aggregate.join.add(batch)
    return snapshot(aggregate, Query(direction=direction, order="pod"))


def told(row: Row) -> tuple[Any, ...]:
    return (
        row.direction,
        f"{row.namespace}/{row.workload}",
        (row.peer_kind, row.peer, row.port),
        {name: n for name in ("forwarded", "dropped", "unknown") if (n := getattr(row, name))},
        row.records,
    )


def test_lines_of_one_key_are_at_least_one_attempt() -> None:
    """A connection may go on through all of them; gaps of an hour say nothing about that."""
    seen = shown(line(egress=120), line(egress=40, at=30), line(egress=1, at=3599))
    [row] = seen.rows
    api = ("workload", "api/api", 8080)
    assert told(row) == ("egress", "weather/weather-app", api, {"forwarded": 1}, 161)
    assert (row.pod, row.uncounted, row.last_seen - row.first_seen) == ("", 1, 3599 * 10**9)
    coverage = seen.coverage
    assert (coverage.records_read, coverage.aggregated, coverage.aggregated_records) == (3, 3, 161)
    assert coverage.at_least
    assert coverage.warnings[0] == (
        "aggregated: 3 lines stand for 161 records; how many attempts these were can't be counted: "
        "'at least' one for each row"
    )


def test_one_line_counts_at_both_ends() -> None:
    seen = shown(line(egress=4, ingress=3))
    assert [told(row)[:2] + told(row)[3:] for row in seen.rows] == [
        ("ingress", "api/api", {"forwarded": 1}, 3),
        ("egress", "weather/weather-app", {"forwarded": 1}, 4),
    ]
    assert seen.coverage.records_read == 1


def test_what_was_dropped_is_another_attempt() -> None:
    dropped: dict[str, Any] = {"verdict": "DROPPED", "drop_reason_desc": "POLICY_DENIED"}
    [row] = shown(line(egress=4), line(egress=2, **dropped)).rows
    assert told(row)[3:] == ({"forwarded": 1, "dropped": 1}, 6)
    assert (row.drop_reasons, row.uncounted) == ({"POLICY_DENIED": 1}, 2)


KEYS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "workloads and the port": ({}, ("pod", "peer")),
    "workloads": ({"l4": None}, ("pod", "peer", "port", "protocol", "is_reply")),
    "an address outside": (
        {"destination": OUTSIDE, "IP": {"destination": "1.2.3.4"}},
        ("pod",),
    ),
    "namespaces": (
        {"source": {"namespace": "weather"}, "destination": {"namespace": "api"}},
        ("pod", "peer"),
    ),
    "pods": (
        {
            "source": WEATHER | {"pod_name": "weather-app-1"},
            "destination": THE_API | {"pod_name": "api-1"},
        },
        (),
    ),
    "the source": ({"destination": None}, ("pod", "peer")),
}


@pytest.mark.parametrize("key", KEYS)
def test_what_the_key_leaves_out_is_not_recorded(key: str) -> None:
    fields, missing = KEYS[key]
    [row] = shown(line(egress=1, **fields)).rows
    assert not_recorded(row) == missing


def test_pods_that_have_no_name_are_told_by_their_workloads() -> None:
    other: dict[str, Any] = {
        "source": WEATHER | {"workloads": [{"name": "cron", "kind": "CronJob"}]}
    }
    rows = shown(line(egress=1), line(egress=1, **other)).rows
    assert sorted(row.workload for row in rows) == ["cron", "weather-app"]


def test_without_a_verdict_nobody_knows_what_became_of_it() -> None:
    [row] = shown(line(egress=7, verdict=None)).rows
    assert told(row)[3:] == ({"unknown": 1}, 7)


def test_records_whose_direction_hubble_did_not_know_are_nobodys() -> None:
    seen = shown(line(egress=4, unknown=2))
    assert [row.records for row in seen.rows] == [4]
    assert seen.coverage.unattributed == 2


def test_answers_are_no_attempts_of_the_server() -> None:
    """The direction is the connection's: nothing leaves the cluster's pods from outside."""
    to_world: dict[str, Any] = {"destination": OUTSIDE, "l4": {"TCP": {"destination_port": 443}}}
    back: dict[str, Any] = {
        "source": OUTSIDE,
        "destination": WEATHER,
        "l4": {"TCP": {"destination_port": 40000}},
    }
    seen = shown(line(egress=10, **to_world), line(egress=9, **back))
    [row] = seen.rows
    assert told(row)[2:] == (("entity", "world", 443), {"forwarded": 1}, 10)
    assert seen.coverage.replies == 9
    known: dict[str, Any] = {"IP": {"source": "10.0.0.1", "destination": "1.2.3.4"}}
    known |= {"l4": {"TCP": {"source_port": 40000, "destination_port": 443}}}
    swapped: dict[str, Any] = {"IP": {"source": "1.2.3.4", "destination": "10.0.0.1"}}
    swapped |= {"l4": {"TCP": {"source_port": 443, "destination_port": 40000}}}
    [row] = shown(line(egress=10, **to_world | known), line(egress=9, **back | swapped)).rows
    assert (row.answered, row.records) == (1, 19)


LOCAL_API = {"source": API, "destination": APP, "destination_port": 40000, "source_port": 0}
ANSWERS: dict[str, tuple[dict[str, Any], bool | None]] = {
    "Hubble says so": ({"is_reply": True}, True),
    "Hubble says it isn't": ({"is_reply": False, "destination_port": 50000}, False),
    "a SYN": ({"tcp_flags": 2}, False),
    "a SYN with ACK": ({"tcp_flags": 18}, True),
    "a drop never says": ({"verdict": 2}, False),
    "a policy's verdict is of the first packet": ({"event_type": 5}, False),
    "from a pod to the outside, in its egress": ({}, False),
    "from the outside to a pod, in its egress": ({"source": WORLD, "destination": APP}, True),
    "from the outside to a pod, in its ingress": (
        {"source": WORLD, "destination": APP, "direction": 1},
        False,
    ),
    "two pods of the node, to a high port": (LOCAL_API, None),
    "two pods of the node, from a low to a high port": (LOCAL_API | {"source_port": 443}, True),
    "two pods of the node, to a low port": (LOCAL_API | {"destination_port": 8080}, False),
    "two pods, without ports": (LOCAL_API | {"destination_port": 0}, None),
    "an echo request": ({"protocol": "ICMPv4", "destination_port": 8}, False),
    "an echo reply": ({"protocol": "ICMPv4", "destination_port": 0}, True),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_whether_it_is_an_answer_where_that_is_left_out(case: str) -> None:
    fields, answer = ANSWERS[case]
    values = {"is_reply": None, "tcp_flags": 0, "event_type": 0} | fields
    assert is_answer(flow(**values)) is answer


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowwatch.flows.standing.LIMIT", 10)
    ports = range(1, 26)
    lines = [line(egress=2, l4={"TCP": {"destination_port": port}}) for port in ports]
    seen = shown(*lines)
    assert len(seen.rows) == 25
    assert seen.totals.forwarded == 25
