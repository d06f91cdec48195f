"""What few records carry is read alike live and from files: a policy's log, encryption, traces, tunnels.

Of aggregated lines (Cilium 1.19's ``fieldAggregate``) each stands for several records.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.record_schema import RECORD
from flowwatch.egress.rows import Row
from flowwatch.egress.view import snapshot
from flowwatch.flows.decode_json import LineDecoder
from flowwatch.flows.listing import AttemptListing
from flowwatch.flows.meaning import OUTCOMES
from flowwatch.flows.model import Direction, Extras, Flow, Standing, Tunnel
from flowwatch.hubble.wire.jsonprint import response_to_json
from tests.unit.flows.test_hostile_records import from_file, live, message, record, wire

TUNNEL = {
    "protocol": "VXLAN",
    "IP": {"source": "172.18.0.3", "destination": "172.18.0.4"},
    "l4": {"UDP": {"source_port": 50000, "destination_port": 8472}},
    "vni": 2,
}
BOTH_ENDS = {"source": "10.0.0.1", "destination": "1.2.3.4"}

CARRIED: dict[str, tuple[dict[str, Any], Extras | None]] = {
    "nothing": ({}, None),
    "log: value of two policies": (
        {"policy_log": ["pci", "team-a"]},
        Extras(policy_log=("pci", "team-a")),
    ),
    "an encrypted packet": ({"IP": {**BOTH_ENDS, "encrypted": True}}, Extras(encrypted=True)),
    "one that isn't": ({"IP": {**BOTH_ENDS, "encrypted": False}}, None),
    "an id in an IP option": (
        {"ip_trace_id": {"trace_id": "18446744073709551615", "ip_option_type": 136}},
        Extras(trace_id=2**64 - 1),
    ),
    "the headers around it": (
        {"tunnel": TUNNEL},
        Extras(tunnel=Tunnel("VXLAN", "172.18.0.3", "172.18.0.4", 2)),
    ),
    "a newer tunnel": ({"tunnel": {"protocol": 7}}, Extras(tunnel=Tunnel("7"))),
    "all of it": (
        {
            "policy_log": ["pci"],
            "IP": {**BOTH_ENDS, "encrypted": True},
            "ip_trace_id": {"trace_id": "7"},
            "tunnel": TUNNEL,
        },
        Extras(("pci",), True, 7, Tunnel("VXLAN", "172.18.0.3", "172.18.0.4", 2)),
    ),
}


def both(**changes: Any) -> list[Flow]:
    """The flows of one record, which are the same from a server and from a file."""
    flows = live(wire(**changes)).flows
    assert from_file(record(**changes)).flows == flows
    return flows


@pytest.mark.parametrize("case", CARRIED)
def test_what_few_records_carry(case: str) -> None:
    changes, carried = CARRIED[case]
    [flow] = both(**changes)
    assert flow.extras == carried


@pytest.mark.parametrize("case", CARRIED)
def test_a_value_that_cant_be_costs_none_of_it(case: str) -> None:
    changes, carried = CARRIED[case]
    [flow] = both(traffic_direction=7, **changes)
    assert (flow.newer_direction, flow.extras) == ("7", carried)


def test_who_wrote_a_record() -> None:
    assert [flow.emitter for flow in both()] == [""]
    [flow] = both(emitter={"name": "Hubble", "version": "1.20.2"})
    assert flow.emitter == "Hubble 1.20.2"


def test_batches_say_whether_any_has_some() -> None:
    assert not live(wire()).extras
    assert live(wire(), wire(policy_log=["pci"])).extras
    assert not from_file(record()).extras
    assert from_file(record(), record(IP={**BOTH_ENDS, "encrypted": True})).extras


AGGREGATED: dict[str, tuple[dict[str, Any], list[tuple[int, Standing]]]] = {
    "records of one end": (
        {"aggregate": {"egress_flow_count": 12}},
        [(Direction.EGRESS, Standing(egress=12))],
    ),
    "the key leaves out the direction": (
        {"aggregate": {"ingress_flow_count": 3}, "traffic_direction": None},
        [(Direction.INGRESS, Standing(ingress=3))],
    ),
    "which were seen leaving one pod and entering the other": (
        {
            "aggregate": {"ingress_flow_count": 3, "egress_flow_count": 4},
            "traffic_direction": None,
        },
        [(Direction.EGRESS, Standing(egress=4)), (Direction.INGRESS, Standing(ingress=3))],
    ),
    "some without a direction": (
        {
            "aggregate": {"egress_flow_count": 4, "unknown_direction_flow_count": 2},
            "traffic_direction": None,
        },
        [(Direction.EGRESS, Standing(egress=4)), (Direction.UNKNOWN, Standing(unknown=2))],
    ),
}


@pytest.mark.parametrize("case", AGGREGATED)
def test_an_aggregated_line_stands_for_the_records_of_each_direction(case: str) -> None:
    changes, told = AGGREGATED[case]
    flows = both(**changes)
    assert [(one.direction, one.extras and one.extras.standing) for one in flows] == told


PODS = {
    "source": {"identity": 1000, "namespace": "weather", "pod_name": "app"},
    "verdict": "FORWARDED",
    "drop_reason_desc": None,
    "egress_denied_by": None,
}


def told(*changes: dict[str, Any], text: str = "") -> list[Row]:
    """The rows of these records, which a word chooses."""
    aggregate = Aggregate()
    lines = [record(**(PODS | one), uuid=f"u{n}") for n, one in enumerate(changes)]
    aggregate.join.add(from_file(*lines))
    return list(snapshot(aggregate, Query(text=text)).rows)


def to(address: str, port: int, *, encrypted: bool = False) -> dict[str, Any]:
    """A trace of a connection of its own."""
    return {
        "IP": {"source": "10.0.0.1", "destination": address, "encrypted": encrypted},
        "l4": {"TCP": {"source_port": port, "destination_port": 443, "flags": {"SYN": True}}},
        "event_type": {"type": 4, "sub_type": 11},
    }


def test_rows_say_how_many_attempts_were_seen_encrypted() -> None:
    rows = told(
        to("192.0.2.1", 1, encrypted=True),
        to("192.0.2.1", 1),
        to("192.0.2.2", 2, encrypted=True),
        to("192.0.2.2", 3),
        to("192.0.2.3", 4),
    )
    assert {row.peer: row.encrypted for row in rows} == {
        "192.0.2.1": "all",
        "192.0.2.2": "mixed",
        "192.0.2.3": "none",
    }
    dropped = {**to("192.0.2.4", 5), "verdict": "DROPPED", "drop_reason_desc": "POLICY_DENIED"}
    assert [row.encrypted for row in told(dropped)] == [""]


def test_a_word_chooses_rows_by_what_few_have() -> None:
    logged = {**to("192.0.2.2", 2), "event_type": {"type": 5}, "policy_log": ["pci", "team-a"]}
    flows = (to("192.0.2.1", 1, encrypted=True), logged, to("192.0.2.3", 3))
    assert [row.peer for row in told(*flows, text="encrypted")] == ["192.0.2.1"]
    assert [row.policy_log for row in told(*flows, text="pci")] == [("pci", "team-a")]
    assert [row.peer for row in told(*flows, text="!encrypted !pci")] == ["192.0.2.3"]


def test_columns_of_a_record() -> None:
    everything, _ = CARRIED["all of it"]
    emitter = {"name": "Hubble", "version": "1.20.2"}
    [flow] = both(**everything, emitter=emitter, event_type={"type": 4})
    shown = {one.name: one.value(flow) for one in RECORD}
    names = ("encrypted", "policy_log", "ip_trace_id", "tunnel", "emitter", "stands_for")
    tunnel = "VXLAN 2 172.18.0.3 > 172.18.0.4"
    assert [shown[name] for name in names] == [True, ("pci",), 7, tunnel, "Hubble 1.20.2", 1]
    [line] = both(aggregate={"egress_flow_count": 12})
    shown = {one.name: one.value(line) for one in RECORD}
    assert (shown["stands_for"], shown["encrypted"]) == (12, None)


def test_an_attempt_has_them_too() -> None:
    batch = from_file(
        record(**(PODS | to("192.0.2.1", 1, encrypted=True))),
        record(**(PODS | to("192.0.2.1", 1) | {"event_type": {"type": 5}, "policy_log": ["pci"]})),
    )
    [one] = AttemptListing([batch], frozenset({"egress"}), frozenset(OUTCOMES))
    assert (one.encrypted, one.policy_log, one.uncounted) == (True, ("pci",), False)


def test_json_keeps_all_of_it() -> None:
    """``observe -o json``: a revision, a policy's kind, and what few records carry."""
    policy = {"name": "p", "namespace": "weather", "kind": "CiliumNetworkPolicy", "revision": "7"}
    everything, _ = CARRIED["all of it"]
    fields = {**everything, "egress_denied_by": [policy], "aggregate": {"egress_flow_count": 4}}
    printed = json.loads(response_to_json(message(**fields)))["flow"]
    assert {name: printed[name] for name in fields} == fields


def test_an_empty_aggregate_stands_for_nothing() -> None:
    [flow] = both(aggregate={})
    assert flow.extras is None
    assert LineDecoder().lines(record(aggregate=None))


def test_one_that_is_damaged_before_another_costs_its_record_alone() -> None:
    damaged = b"\x0a\x04\xc2\x02\x01\xff"  # a flow's ip_trace_id, whose byte is no message
    batch = live(damaged + wire(tunnel=TUNNEL))
    assert (batch.flows, batch.skipped) == ([], {"flow.ip_trace_id is damaged": 1})
