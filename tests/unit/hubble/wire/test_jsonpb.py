"""JSON to messages and back: equal to json_format where that works, and better where it doesn't."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from flowwatch.hubble.wire.enum_names import newer_name
from flowwatch.hubble.wire.errors import NOT_JSON
from flowwatch.hubble.wire.jsonpb import (
    AGENT_EVENT,
    DEBUG_EVENT,
    NO_FLOW,
    NOT_UTF8,
    WRONG_VALUE,
    FlowParser,
    NotAFlow,
    nanoseconds,
)
from flowwatch.hubble.wire.jsonprint import message_to_json, response_to_json
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2


def parsed(record: Any) -> observer_pb2.GetFlowsResponse:
    return FlowParser().response(json.dumps(record).encode())


def by_json_format(record: Any) -> observer_pb2.GetFlowsResponse:
    return json_format.Parse(json.dumps(record), observer_pb2.GetFlowsResponse())


# ---- valid input

VALID: dict[str, Any] = {
    "empty flow": {"flow": {}},
    "empty parts": {"flow": {"source": {}, "l4": {"TCP": {}}, "IP": {}}, "time": None},
    "numbers as strings": {
        "flow": {"source": {"identity": "7"}, "l4": {"TCP": {"source_port": "1"}}}
    },
    "whole floats": {"flow": {"source": {"identity": 7.0, "ID": 1e3}}},
    "floats as strings": {"flow": {"source": {"identity": "7.0"}}},
    "enum numbers": {"flow": {"verdict": 2, "drop_reason_desc": 206, "IP": {"ipVersion": 1}}},
    "64 bits": {"flow": {"socket_cookie": str(2**64 - 1), "cgroup_id": 12}},
    "three-valued reply": {"flow": {"is_reply": False}},
    "camelCase": {
        "flow": {
            "nodeName": "n",
            "isReply": True,
            "trafficDirection": "EGRESS",
            "eventType": {"type": 4, "subType": 3},
            "l4": {"TCP": {"sourcePort": 1, "destinationPort": 2, "flags": {"SYN": True}}},
            "dropReasonDesc": "POLICY_DENIED",
            "source": {"podName": "p", "clusterName": "c"},
            "egressAllowedBy": [{"name": "x", "revision": "9"}],
        },
        "nodeName": "n",
    },
    "zone": {"time": "2026-01-02T03:04:05.5+02:00", "flow": {"time": "1969-12-31T23:59:59.25Z"}},
    "escapes": {"flow": {"Summary": 'a"\\\n\u0001é\u202e𝄞', "uuid": "\\"}},
    "lists": {"flow": {"source_names": ["a", "b"], "node_labels": [], "policy_log": ["x"]}},
    "dns": {
        "flow": {"l7": {"type": "RESPONSE", "latency_ns": "5", "dns": {"query": "a.", "ttl": 4}}}
    },
    "lost": {"lost_events": {"source": "HUBBLE_RING_BUFFER", "num_events_lost": "3", "cpu": 200}},
    "node status": {
        "node_status": {"state_change": "NODE_ERROR", "node_names": ["a"], "message": "m"}
    },
}


@pytest.mark.parametrize("name", VALID)
def test_equals_json_format(name: str) -> None:
    assert parsed(VALID[name]) == by_json_format(VALID[name])


@pytest.mark.parametrize("name", VALID)
def test_prints_what_json_format_prints(name: str) -> None:
    message = by_json_format(VALID[name])
    text = response_to_json(message)
    assert "\n" not in text
    assert json.loads(text) == json_format.MessageToDict(message, preserving_proto_field_name=True)


def test_a_bare_flow_is_wrapped_with_its_time_and_node() -> None:
    bare = {"verdict": "DROPPED", "node_name": "n", "time": "2026-01-01T00:00:00Z"}
    assert parsed(bare) == by_json_format({"flow": bare, "node_name": "n", "time": bare["time"]})


# ---- newer and odd input


def test_a_newer_drop_reason_is_not_none_and_keeps_its_name() -> None:
    message = parsed({"flow": {"verdict": "DROPPED", "drop_reason_desc": "QUANTUM_FLUX"}})
    assert message.flow.drop_reason_desc < -1000
    assert newer_name(message.flow.drop_reason_desc) == "QUANTUM_FLUX"
    assert json.loads(response_to_json(message))["flow"]["drop_reason_desc"] == "QUANTUM_FLUX"
    other = parsed({"flow": {"drop_reason_desc": "ANOTHER_FLUX"}})
    assert other.flow.drop_reason_desc != message.flow.drop_reason_desc


def test_unknown_enum_numbers_stay() -> None:
    message = parsed({"flow": {"drop_reason_desc": 250, "verdict": "99"}})
    assert (message.flow.drop_reason_desc, message.flow.verdict) == (250, 99)
    assert json.loads(response_to_json(message))["flow"] == {"drop_reason_desc": 250, "verdict": 99}


def test_unknown_fields_are_left_out_and_counted() -> None:
    parser = FlowParser()
    record = {
        "flow": {
            "verdict": "DROPPED",
            "quantum": {"spin": 1},
            "extensions": {"@type": "x/y.Z"},
            "source": {"pod_name": "p", "colour": "red"},
        },
        "wrapping": 1,
    }
    for _ in range(2):
        message = parser.response(json.dumps(record).encode())
        assert (message.flow.verdict, message.flow.source.pod_name) == (2, "p")
    assert parser.unknown_fields == {
        "Flow.quantum": 2,
        "Flow.extensions": 2,
        "Endpoint.colour": 1,
    }


REFUSED: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"hello", NOT_JSON),
    "cut": (b'{"flow":{"verdict":"DRO', NOT_JSON),
    "an array": (b"[]", WRONG_VALUE),
    "no flow": (b'{"hello":"world"}', NO_FLOW),
    "only outer fields": (b'{"node_name":"n","time":"2026-01-01T00:00:00Z"}', NO_FLOW),
    "flow is null": (b'{"flow":null}', NO_FLOW),
    "flow is text": (b'{"flow":"x"}', WRONG_VALUE),
    "a list where an object is due": (b'{"flow":{"source":[]}}', WRONG_VALUE),
    "a text where a list is due": (b'{"flow":{"source_names":"x"}}', WRONG_VALUE),
    "a number where a text is due": (b'{"flow":{"uuid":5}}', WRONG_VALUE),
    "a negative port": (b'{"flow":{"l4":{"TCP":{"source_port":-1}}}}', WRONG_VALUE),
    "a port beyond 32 bits": (b'{"flow":{"l4":{"TCP":{"source_port":4294967296}}}}', WRONG_VALUE),
    "half a port": (b'{"flow":{"l4":{"TCP":{"source_port":1.5}}}}', WRONG_VALUE),
    "true as number": (b'{"flow":{"proxy_port":true}}', WRONG_VALUE),
    "infinity": (b'{"flow":{"proxy_port":"inf"}}', WRONG_VALUE),
    "an enum of nonsense": (b'{"flow":{"verdict":"no such; thing"}}', WRONG_VALUE),
    "no time": (b'{"flow":{"time":"yesterday"}}', WRONG_VALUE),
    "no such day": (b'{"flow":{"time":"2026-02-30T00:00:00Z"}}', WRONG_VALUE),
    "bytes that are no UTF-8": (b'{"flow":{"uuid":"\xff"}}', NOT_UTF8),
    "bytes that are no UTF-8, deep": (b'{"flow":{"source":{"labels":["\xff"]}}}', NOT_UTF8),
    "half a surrogate": (b'{"flow":{"uuid":"\\ud800"}}', NOT_JSON),
    "agent event": (b'{"agent_event":{"type":"AGENT_STARTED"},"node_name":"n"}', AGENT_EVENT),
    "debug event": (b'{"debugEvent":{"type":"DBG_GENERIC"}}', DEBUG_EVENT),
    "nested without end": (b'{"flow":{"source":' + b'{"a":' * 50_000, NOT_JSON),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason_to_count(name: str) -> None:
    record, reason = REFUSED[name]
    with pytest.raises(NotAFlow) as caught:
        FlowParser().response(record)
    assert caught.value.reason == reason


def test_a_field_of_the_wrong_type_is_named() -> None:
    with pytest.raises(NotAFlow, match=r"flow\.UDP\.source_port"):
        parsed({"flow": {"l4": {"UDP": {"source_port": "x"}}}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-01-02T03:04:05Z", 1767323045_000000000),
        ("2026-01-02T03:04:05.1Z", 1767323045_100000000),
        ("2026-01-02T03:04:05.123456789Z", 1767323045_123456789),
        ("2026-01-02T03:04:05.1234567899Z", 1767323045_123456789),
        ("2026-01-02T05:04:05.000000001+02:00", 1767323045_000000001),
        ("2026-01-01T21:34:05-05:30", 1767323045_000000000),
        ("1969-12-31T23:59:59.999999999Z", -1),
    ],
)
def test_nanoseconds(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected
    assert nanoseconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "now", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05.12345678²Z"]
)
def test_not_a_time(text: str) -> None:
    nanoseconds("2026-01-02T03:04:05Z")
    with pytest.raises(ValueError, match="not a time"):
        nanoseconds(text)


# ---- printing


def test_hostile_text_prints_as_escapes_and_reads_back() -> None:
    text = "\x1b]0;x\x07\x9b31m\x7f\u202e<script>&\u2028[red]=cmd()"
    message = observer_pb2.GetFlowsResponse(flow=flow_pb2.Flow(Summary=text))
    line = response_to_json(message)
    assert line.isprintable()
    assert line.isascii()
    assert FlowParser().response(line.encode()) == message


def test_other_messages_print_too() -> None:
    status = observer_pb2.ServerStatusResponse(num_flows=5, flows_rate=1.5, version="v")
    status.num_connected_nodes.value = 0
    assert message_to_json(status) == (
        '{"num_flows":"5","num_connected_nodes":0,"version":"v","flows_rate":1.5}'
    )


def test_keys_stand_in_hubbles_order() -> None:
    message = parsed(
        {
            "flow": {
                "is_reply": False,
                "IP": {"destination": "b", "source_xlated": "x", "source": "a"},
                "source": {"namespace": "n", "cluster_name": "c", "identity": 1},
                "drop_reason_desc": "POLICY_DENIED",
                "traffic_direction": "EGRESS",
                "verdict": "DROPPED",
            },
            "node_name": "n",
        }
    )
    assert response_to_json(message) == (
        '{"flow":{"verdict":"DROPPED","IP":{"source":"a","source_xlated":"x","destination":"b"},'
        '"source":{"identity":1,"cluster_name":"c","namespace":"n"},"traffic_direction":"EGRESS",'
        '"drop_reason_desc":"POLICY_DENIED","is_reply":false},"node_name":"n"}'
    )


# ---- any message at all

_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: st.text(max_size=8),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
}


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    one: st.SearchStrategy[Any]
    if field.enum_type is not None:
        one = st.sampled_from([v.number for v in field.enum_type.values]) | st.integers(210, 260)
    elif field.message_type is None:
        one = _SCALARS[field.type]
    elif field.message_type.full_name == "google.protobuf.Timestamp":
        one = st.fixed_dictionaries(
            {"seconds": st.integers(-1000, 4 * 10**9), "nanos": st.integers(0, 10**9 - 1)}
        )
    else:
        one = st.deferred(lambda: messages(field.message_type))
    return st.lists(one, max_size=2) if field.is_repeated else one


def messages(kind: Descriptor | None) -> st.SearchStrategy[dict[str, Any]]:
    assert kind is not None
    plain: dict[str, st.SearchStrategy[Any]] = {}
    for field in kind.fields:
        # One arm of a oneof is enough. Any can't be made up.
        if field.full_name == "flow.Flow.extensions":
            continue
        if field.containing_oneof is not None and field.containing_oneof.fields[0] is not field:
            continue
        plain[field.name] = values(field)
    return st.lists(st.sampled_from(sorted(plain)), max_size=8, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: plain[name] for name in names})
    )


@settings(max_examples=150, deadline=None)
@given(messages(flow_pb2.Flow.DESCRIPTOR))
def test_any_flow_goes_through_json_and_back(content: dict[str, Any]) -> None:
    message = observer_pb2.GetFlowsResponse(flow=flow_pb2.Flow(**content), node_name="n")
    line = response_to_json(message)
    assert FlowParser().response(line.encode()) == message
    for snake in (True, False):
        theirs = json_format.MessageToJson(message, preserving_proto_field_name=snake)
        assert FlowParser().response(theirs.encode()) == message


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["flow", "source", "time", "verdict", "l4", "TCP", "labels", "is_reply"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        message = parsed(value)
    except NotAFlow:
        return
    assert FlowParser().response(response_to_json(message).encode()) == message
