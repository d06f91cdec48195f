"""Records that are damaged, or hold what can't be: each costs itself, and is told; all others count.

The same records live (as the wire has them) and from files (as JSON), wherever both can hold them.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.flows import ranges
from flowwatch.flows.counting import Tally
from flowwatch.flows.decode_json import LineDecoder
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.flows.model import Batch, PolicyRef
from flowwatch.flows.peers import Peer
from flowwatch.hubble.wire.damage import NOT_A_MESSAGE, damage
from flowwatch.hubble.wire.jsonpb import FlowParser
from flowwatch.hubble.wire.jsonwire import varint
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2
from tests.unit.flows.made import said

FLOW: dict[str, Any] = {
    "time": "2026-01-31T10:00:00.5Z",
    "uuid": "u1",
    "verdict": "DROPPED",
    "drop_reason_desc": "POLICY_DENIED",
    "IP": {"source": "10.0.0.1", "destination": "1.2.3.4"},
    "l4": {"TCP": {"source_port": 40000, "destination_port": 443, "flags": {"SYN": True}}},
    "source": {"identity": 1000, "namespace": "weather", "pod_name": "app"},
    "destination": {"identity": 2, "labels": ["reserved:world"]},
    "event_type": {"type": 5},
    "traffic_direction": "EGRESS",
    "egress_denied_by": [{"name": "deny", "kind": "CiliumNetworkPolicy"}],
    "node_name": "node-1",
}
AT = 1769853600_500_000_000


def record(**changes: Any) -> bytes:
    """A dropped SYN as JSON, with some fields changed or (None) left out."""
    flow = {key: value for key, value in (FLOW | changes).items() if value is not None}
    return json.dumps({"flow": flow, "node_name": "node-1"}).encode()


def message(**changes: Any) -> observer_pb2.GetFlowsResponse:
    return FlowParser().response(record(**changes))


def wire(**changes: Any) -> bytes:
    return message(**changes).SerializeToString()


def tcp(source: int, destination: int) -> dict[str, Any]:
    return {"TCP": {"source_port": source, "destination_port": destination, "flags": {"SYN": True}}}


def live(*messages: bytes) -> Batch:
    return WireDecoder().decode(list(messages))


def from_file(*records: bytes) -> Batch:
    batch = LineDecoder().lines(b"\n".join(records))
    assert batch is not None
    return batch


# --- damaged ------------------------------------------------------------------------------------

GOOD = wire()


def cut(data: bytes, old: bytes, new: bytes) -> bytes:
    """``data`` with one part of it exchanged for another of the same length."""
    assert data.count(old) >= 1
    assert len(old) == len(new)
    return data.replace(old, new, 1)


POLICY = b"\n\x04deny*\x13CiliumNetworkPolicy"
NODE_GONE = b"\x12\x08\x08\xeb\x12\x01x\x1a\x01m"

# Message → what is said of it.
DAMAGED: dict[str, tuple[bytes, str]] = {
    "a pod's name that is no UTF-8": (
        cut(GOOD, b"app", b"a\xff\xfe"),
        "flow.source.pod_name is not UTF-8",
    ),
    "a label": (
        cut(GOOD, b"reserved:world", b"reserved:w\xc3\x28ld"),
        "flow.destination.labels is not UTF-8",
    ),
    "an address": (cut(GOOD, b"1.2.3.4", b"1.2.3.\x80"), "flow.IP.destination is not UTF-8"),
    "the node's name": (cut(GOOD, b"node-1", b"node-\xff"), "flow.node_name is not UTF-8"),
    "a policy's name": (cut(GOOD, b"deny", b"den\xed"), "flow.egress_denied_by.name is not UTF-8"),
    "ports that break off": (
        cut(GOOD, b"\x08\xc0\xb8\x02", b"\x08\xff\xff\xff"),
        "flow.l4.TCP is damaged",
    ),
    "a length beyond the end": (
        cut(GOOD, POLICY[:1] + b"\x04deny", b"\n\x7fdeny"),
        "flow.egress_denied_by is damaged",
    ),
    "an end in mid-message": (GOOD[:-3], NOT_A_MESSAGE),
    "nothing but noise": (bytes(range(255, 240, -1)), NOT_A_MESSAGE),
    "a node's state": (NODE_GONE, "node_status is damaged"),
    "lost events": (b"\x1a\x02\x08\xff", "lost_events is damaged"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_record_costs_itself_and_its_field_is_named(case: str) -> None:
    bad, why = DAMAGED[case]
    batch = live(GOOD, bad, wire(uuid="u2"))
    assert [flow.uuid for flow in batch.flows] == ["u1", "u2"]
    assert batch.skipped == {why: 1}
    assert [(one.number, one.why, one.data) for one in batch.unread] == [(2, why, bad)]


def test_numbers_go_on_from_batch_to_batch() -> None:
    decoder = WireDecoder()
    decoder.decode([GOOD, GOOD])
    bad = DAMAGED["an address"][0]
    batch = decoder.decode([bad, GOOD, bad])
    assert [one.number for one in batch.unread] == [3, 5]
    tally = Tally()
    tally.add(batch)
    assert list(tally.coverage().warnings) == [
        "2 records were skipped: flow.IP.destination is not UTF-8 (records 3, 5)"
    ]


def test_what_a_damaged_part_was_is_not_remembered() -> None:
    decoder = WireDecoder()
    bad = DAMAGED["a pod's name that is no UTF-8"][0]
    for _ in range(3):
        assert decoder.decode([bad]).skipped == {"flow.source.pod_name is not UTF-8": 1}
    assert len(decoder.decode([GOOD]).flows) == 1


def test_a_defect_of_ours_costs_one_record_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> tuple[str, str, bool]:
        if b"9.9.9.9" in data:
            raise KeyError("a defect")
        return "10.0.0.1", "1.2.3.4", False

    monkeypatch.setattr("flowwatch.flows.decode_wire._addresses", broken)
    odd = wire(IP={"source": "10.0.0.1", "destination": "9.9.9.9"}, uuid="u2")
    batch = live(GOOD, odd, wire(uuid="u3"))
    assert [flow.uuid for flow in batch.flows] == ["u1", "u3"]
    (why,) = batch.skipped
    assert why.startswith("a defect of flowwatch (KeyError at flows/known.py:")
    assert "please report it" in why
    assert [(one.number, one.data) for one in batch.unread] == [(2, odd)]


def test_the_same_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> int:
        if text == "2026-01-31T10:00:01Z":
            raise KeyError("a defect")
        return AT

    monkeypatch.setattr("flowwatch.flows.decode_json.nanoseconds", broken)
    batch = from_file(record(), record(time="2026-01-31T10:00:01Z", uuid="u2"), record(uuid="u3"))
    assert [flow.uuid for flow in batch.flows] == ["u1", "u3"]
    (why,) = batch.skipped
    assert why.startswith("a defect of flowwatch (KeyError at flows/decode_json.py:")


def test_a_record_with_two_things_amiss_costs_itself_too() -> None:
    """Its direction is none we know, so it is looked at again, and then its time is none."""
    batch = from_file(record(), record(traffic_direction="E", time="2026-01-31T10:0"), record())
    assert len(batch.flows) == 2
    assert sum(batch.skipped.values()) == 1


def test_damage_is_found_in_any_field_of_the_contract() -> None:
    # Every field that is text, at every depth: the message with a bad one there names that field.
    def spoil(kind: Any, path: str, depth: int) -> None:
        for field in kind.fields:
            name = f"{path}.{field.name}" if path else field.name
            if field.type == field.TYPE_STRING:
                bad = _field(field.number, b"\xff")
                assert damage(bad, kind) == f"{field.name} is not UTF-8", name
            elif field.message_type is not None and depth:
                spoil(field.message_type, name, depth - 1)

    spoil(observer_pb2.GetFlowsResponse.DESCRIPTOR, "", 6)


def _field(number: int, value: bytes) -> bytes:
    """A field of bytes on the wire."""
    return varint(number << 3 | 2) + varint(len(value)) + value


# --- what can't be ------------------------------------------------------------------------------

# Change → what is told, and what of the flow is then unknown.
IMPOSSIBLE: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "a time after 2262": ({"time": "9999-12-31T23:59:59.999999999Z"}, ranges.TIME, {"time": 0}),
    "a time just after": ({"time": "2262-04-11T23:47:16.854775808Z"}, ranges.TIME, {"time": 0}),
    "a time before 1970": ({"time": "1969-12-31T23:59:59.9Z"}, ranges.TIME, {"time": 0}),
    "the first year": ({"time": "0001-01-01T00:00:00Z"}, ranges.TIME, {"time": 0}),
    "both ports": (
        {"l4": tcp(2**32 - 1, 65536)},
        ranges.PORT,
        {"source_port": 0, "destination_port": 0},
    ),
    "the server's port": ({"l4": tcp(40000, 65536 + 443)}, ranges.PORT, {"destination_port": 0}),
    "the client's port": (
        {"l4": {"UDP": {"source_port": 70000, "destination_port": 53}}},
        ranges.PORT,
        {"source_port": 0, "destination_port": 53, "protocol": "UDP", "tcp_flags": 0},
    ),
    "SCTP": (
        {"l4": {"SCTP": {"source_port": 1, "destination_port": 65536}}},
        ranges.PORT,
        {"source_port": 1, "destination_port": 0, "protocol": "SCTP", "tcp_flags": 0},
    ),
    "an ICMP type": (
        {"l4": {"ICMPv4": {"type": 256}}},
        ranges.TYPE,
        {"protocol": "", "source_port": 0, "destination_port": 0, "tcp_flags": 0},
    ),
    "a drop reason": (
        {"drop_reason_desc": -7007},
        ranges.REASON,
        {"drop_reason": 0, "denied_by": (PolicyRef("CiliumNetworkPolicy", "", "deny"),)},
    ),
    "an old drop reason": (
        {"drop_reason_desc": None, "drop_reason": 2**32 - 1},
        ranges.REASON,
        {"drop_reason": 0, "denied_by": (PolicyRef("CiliumNetworkPolicy", "", "deny"),)},
    ),
    "a direction by number": (
        {"traffic_direction": 99},
        "the traffic direction 99, newer than this version",
        {"direction": 0, "newer_direction": "99", "denied_by": ()},
    ),
    "a negative direction": (
        {"traffic_direction": -1},
        "the traffic direction -1, newer than this version",
        {"direction": 0, "newer_direction": "-1", "denied_by": ()},
    ),
    "a direction by name": (
        {"traffic_direction": "SIDEWAYS"},
        "the traffic direction SIDEWAYS, newer than this version",
        {"direction": 0, "newer_direction": "SIDEWAYS", "denied_by": ()},
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_can_not_be_is_unknown_and_told_and_the_record_counts(case: str) -> None:
    change, what, unknown = IMPOSSIBLE[case]
    expected = said(live(GOOD).flows[0]) | {"uuid": "u2"} | unknown
    for batch in (
        live(GOOD, wire(uuid="u2", **change), wire(uuid="u3")),
        from_file(record(), record(uuid="u2", **change), record(uuid="u3")),
    ):
        assert [flow.uuid for flow in batch.flows] == ["u1", "u2", "u3"]
        assert (batch.odd, batch.skipped) == ({what: 1}, {})
        assert said(batch.flows[1]) == expected
        assert said(batch.flows[0]) == said(live(GOOD).flows[0])


# What is at the edge of what can be, and what is only newer, is read as it is.
POSSIBLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the last time": ({"time": "2262-04-11T23:47:16.854775807Z"}, {"time": 2**63 - 1}),
    "the last port": ({"l4": tcp(65535, 65535)}, {"source_port": 65535, "destination_port": 65535}),
    "a newer verdict": ({"verdict": 42}, {"verdict": 42}),
    "a newer drop reason": ({"drop_reason_desc": 250}, {"drop_reason": 250}),
    "a newer event": (
        {"event_type": {"type": 77, "sub_type": -5}},
        {"event_type": 77, "sub_type": -5, "denied_by": ()},
    ),
    "no direction": (
        {"traffic_direction": "TRAFFIC_DIRECTION_UNKNOWN"},
        {"direction": 0, "denied_by": ()},
    ),
}


@pytest.mark.parametrize("case", POSSIBLE)
def test_what_can_be_is_read_as_it_is(case: str) -> None:
    change, expected = POSSIBLE[case]
    for batch in (live(wire(**change)), from_file(record(**change))):
        assert (batch.odd, batch.skipped) == ({}, {})
        found = said(batch.flows[0])
        assert {name: found[name] for name in expected} == expected


def test_nanoseconds_that_no_timestamp_has() -> None:
    for nanos in (-1, 1_000_000_000, -(2**31), 2**31 - 1):
        odd = message()
        odd.flow.time.nanos = nanos
        batch = live(odd.SerializeToString())
        assert (batch.flows[0].time, batch.odd) == (0, {ranges.TIME: 1})


def test_a_negative_port_of_the_wire_is_no_port() -> None:
    # A varint of -1: ten bytes. protobuf takes the lower 32 bits, so did we not, and counted it so.
    tail = b"\x08\x01\x10" + b"\xff" * 9 + b"\x01"
    flow = flow_pb2.Flow(l4=flow_pb2.Layer4.FromString(b"\x0a" + bytes((len(tail),)) + tail))
    message = observer_pb2.GetFlowsResponse(flow=flow)
    batch = live(message.SerializeToString())
    assert (batch.flows[0].source_port, batch.flows[0].destination_port) == (1, 0)
    assert batch.odd == {ranges.PORT: 1}


def test_ports_are_read_as_protobuf_reads_them_whatever_the_bytes() -> None:
    # The quick way by hand must not see fields that belong to somebody else.
    odd = b"\x0a\x02\x08\x50\x10\xbb\x03"  # TCP{source_port: 80}, and a field 2 that is no UDP
    parsed = flow_pb2.Layer4.FromString(odd)
    assert (parsed.TCP.source_port, parsed.TCP.destination_port) == (80, 0)
    data = b"\x32" + bytes((len(odd),)) + odd
    flow = live(b"\x0a" + bytes((len(data),)) + data).flows[0]
    assert (flow.protocol, flow.source_port, flow.destination_port) == ("TCP", 80, 0)


def test_a_reply_that_says_no_in_full_is_none() -> None:
    # BoolValue{value: false} is empty from every writer, but 08 00 is the same message.
    flow = b"\xd2\x01\x02\x08\x00"
    assert live(b"\x0a" + bytes((len(flow),)) + flow).flows[0].is_reply is False


def test_lost_events_count_whenever_they_were() -> None:
    lost = flow_pb2.LostEvent(source=1, num_events_lost=2**64 - 1)  # type: ignore[arg-type]
    lost.first.seconds, lost.last.seconds = 2**62, -(2**62)
    response = observer_pb2.GetFlowsResponse(lost_events=lost, node_name="n")
    response.time.seconds = 2**62
    batch = live(GOOD, response.SerializeToString())
    (found,) = batch.lost
    assert (found.count, found.time, found.first, found.last) == (2**64 - 1, 0, 0, 0)
    assert (len(batch.flows), batch.odd) == (1, {ranges.TIME: 1})
    text = b'{"lost_events":{"source":1,"num_events_lost":7,"first":"9999-01-01T00:00:00Z"}}'
    assert from_file(text).lost[0].count == 7
    assert from_file(text).odd == {ranges.TIME: 1}


def test_a_live_record_of_a_far_future_has_no_time() -> None:
    batch = WireDecoder().decode([GOOD], latest=AT - 1)
    assert (batch.flows[0].time, batch.odd) == (0, {ranges.AHEAD: 1})
    assert WireDecoder().decode([GOOD], latest=AT).flows[0].time == AT


def test_many_different_directions_are_told_in_few_words() -> None:
    batch = live(*[wire(traffic_direction=n) for n in range(100, 300)])
    assert len(batch.flows) == 200
    assert len(batch.odd) == ranges.DIFFERENT + 1
    assert sum(batch.odd.values()) == 200


# --- what is made of it -------------------------------------------------------------------------


def counted(*records: bytes) -> tuple[Aggregate, dict[tuple[str, int], int]]:
    """Drops by peer and port."""
    aggregate = Aggregate()
    aggregate.join.add(from_file(*records))
    rows = snapshot(aggregate, Query()).rows
    return aggregate, {(row.peer, row.port): row.dropped for row in rows}


def test_no_port_is_counted_with_another_peer() -> None:
    peers = [{"source": "10.0.0.1", "destination": f"{n}.1.1.1"} for n in range(1, 5)]
    usual = [record(IP=ip, l4=tcp(100 + n, 443), uuid=f"w{n}") for n, ip in enumerate(peers)]
    _, before = counted(*usual)
    assert before == {(f"{n}.1.1.1", 443): 1 for n in range(1, 5)}
    for port in (65536 + 443, 2 * 65536 + 443, 2**32 - 1):
        _, after = counted(*usual, record(IP=peers[0], l4=tcp(200, port), uuid="x"))
        assert after == before | {("1.1.1.1", 0): 1}


def test_a_time_that_is_not_known_does_not_part_an_attempt() -> None:
    odd = {"time": "9999-01-01T00:00:00Z"}
    for times in ([{}, odd, {}], [odd, {}, {}], [{}, {}, odd]):
        aggregate, drops = counted(*[record(uuid=str(n), **one) for n, one in enumerate(times)])
        assert drops == {("1.2.3.4", 443): 1}
        (row,) = snapshot(aggregate, Query()).rows
        assert (row.records, row.last_seen) == (3, AT)


def test_a_row_is_whole_or_not_there() -> None:
    aggregate, _ = counted(record())
    columns = aggregate.columns
    pod, before = ("weather", "app", ""), len(columns)
    for direction, port, time in (
        (2, 65536, AT),
        (2, -1, AT),
        (2, 1, 2**63),
        (0, 1, AT),
        (3, 1, AT),
    ):
        with pytest.raises(ValueError, match="no row has"):
            columns.row(direction, pod, Peer("address", "9.9.9.9"), port, "TCP", time, 7)
    lengths = {len(columns), len(columns.port), len(columns.ident), len(columns.index)}
    assert lengths == {before}
    for order in ("drops", "pod", "peer", "last", "rate", "forwarded"):
        assert len(snapshot(aggregate, Query(order=order)).rows) == before


def test_it_is_told_in_the_warnings() -> None:
    aggregate, _ = counted(record(), record(l4=tcp(1, 70000)), record(traffic_direction="SIDEWAYS"))
    taken = snapshot(aggregate, Query(), recent=10)
    assert list(taken.coverage.warnings) == [
        "1 record has a port above 65535: taken as unknown",
        "1 record has the traffic direction SIDEWAYS, newer than this version: taken as unknown",
    ]
    assert sum(taken.coverage.values_unknown.values()) == 2
    assert taken.coverage.records_read == 3


def test_a_verdict_of_a_newer_hubble_is_told() -> None:
    """Nobody knows what became of such packets: that isn't passed over."""
    aggregate, _ = counted(record(verdict="DEFERRED"), record(verdict="DEFERRED"), record())
    assert list(snapshot(aggregate, Query(), recent=10).coverage.warnings) == [
        "2 records have the verdict DEFERRED, newer than this version: taken as unknown"
    ]
