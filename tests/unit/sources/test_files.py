"""Captures as a source of flows: what is read, what is left out, and what is said of it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowwatch.errors import InputError
from flowwatch.flows.decode_json import LineDecoder
from flowwatch.flows.model import Batch, Flow, LostEvents, NodeStatus, PolicyRef
from flowwatch.hubble.captures import files as captures
from flowwatch.hubble.captures.replay import FileRecords, Selection
from flowwatch.hubble.wire.enum_names import newer_name
from flowwatch.hubble.wire.errors import (
    AGENT_EVENT,
    CUT_OFF,
    DEBUG_EVENT,
    NO_FLOW,
    NOT_JSON,
    NOT_UTF8,
    WRONG_VALUE,
)
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.sources.files import FileSource
from tests.in_process import no_newer_names
from tests.unit.flows.made import said

Record = dict[str, Any]
SECOND = 1_000_000_000


def flow(number: int = 0, **fields: Any) -> Record:
    """A wrapped flow of second ``number`` of 1970."""
    time = f"1970-01-01T00:{number // 60:02d}:{number % 60:02d}Z"
    inner = {"time": time, "uuid": str(number), "verdict": "FORWARDED", "node_name": "n1", **fields}
    return {"flow": inner, "node_name": "n1", "time": time}


def lost(number: int) -> Record:
    return {
        "lost_events": {"source": "HUBBLE_RING_BUFFER", "num_events_lost": str(number)},
        "node_name": "n1",
        "time": f"1970-01-01T00:00:{number:02d}Z",
    }


Write = Callable[..., Path]


@pytest.fixture
def capture(tmp_path: Path) -> Write:
    """Writes records (or raw bytes) as lines of a file."""

    def write(*records: Record | bytes, name: str = "flows.jsonl") -> Path:
        lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
        path = tmp_path / name
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    return write


def gather(source: FileSource) -> Batch:
    whole = Batch()
    for batch in source.batches():
        whole.flows += batch.flows
        whole.lost += batch.lost
        whole.nodes += batch.nodes
        for reason, number in batch.skipped.items():
            whole.skipped[reason] = whole.skipped.get(reason, 0) + number
    return whole


def only(path: Path) -> Flow:
    batch = gather(FileSource([path]))
    assert batch.skipped == {}
    (one,) = batch.flows
    return one


def uuids(batch: Batch) -> list[str]:
    return [f.uuid for f in batch.flows]


def test_a_whole_flow(capture: Write) -> None:
    one = only(
        capture(
            flow(
                5,
                verdict="DROPPED",
                drop_reason=133,
                drop_reason_desc="POLICY_DENIED",
                IP={"source": "10.0.0.1", "destination": "1.2.3.4", "ipVersion": "IPv4"},
                l4={"TCP": {"source_port": 4000, "destination_port": 443, "flags": {"SYN": True}}},
                source={
                    "ID": 9,
                    "identity": 5000,
                    "cluster_name": "c",
                    "namespace": "weather",
                    "labels": ["k8s:app=weather"],
                    "pod_name": "weather-1",
                    "workloads": [{"name": "weather", "kind": "Deployment"}, {"name": "second"}],
                },
                destination={"identity": 16777217, "labels": ["cidr:1.2.3.4/32", "reserved:world"]},
                destination_names=["api.openweathermap.org"],
                event_type={"type": 5},
                traffic_direction="EGRESS",
                policy_match_type=2,
                egress_denied_by=[
                    {"name": "p", "namespace": "weather", "kind": "CiliumNetworkPolicy"}
                ],
            )
        )
    )
    assert one.time == 5 * SECOND
    assert (one.verdict, one.drop_reason, one.direction, one.is_reply) == (2, 133, 2, None)
    assert (one.event_type, one.sub_type, one.match_type) == (5, 0, 2)
    assert (one.source_ip, one.destination_ip) == ("10.0.0.1", "1.2.3.4")
    assert (one.protocol, one.source_port, one.destination_port, one.tcp_flags) == (
        "TCP",
        4000,
        443,
        2,
    )
    source = one.source
    assert (source.namespace, source.pod, source.identity) == ("weather", "weather-1", 5000)
    assert (source.workload, source.cluster) == ("weather", "c")
    assert (one.destination.entity, one.destination_names) == ("world", ("api.openweathermap.org",))
    # Of a default deny: it only selects the pod.
    assert one.denied_by == (PolicyRef("CiliumNetworkPolicy", "weather", "p", True),)
    assert (one.node, one.uuid) == ("n1", "5")


def test_equal_ends_are_one_object(capture: Write) -> None:
    end = {"namespace": "a", "pod_name": "p"}
    first, second = gather(FileSource([capture(flow(1, source=end), flow(2, source=end))])).flows
    assert first.source is second.source


@pytest.mark.parametrize(
    "missing", ["source", "destination", "IP", "l4", "event_type", "time", "uuid"]
)
def test_flows_without_a_part(missing: str, capture: Write) -> None:
    full = flow(
        1,
        source={"pod_name": "a"},
        destination={"pod_name": "b"},
        IP={"source": "1.1.1.1"},
        l4={"UDP": {"source_port": 1}},
        event_type={"type": 4},
    )
    whole = only(capture(full))
    del full["flow"][missing]
    if missing == "time":
        assert only(capture(full)).time == SECOND  # the response's
        del full["time"]
    less = only(capture(full))
    before, after = said(whole), said(less)
    differing = {name for name in before if before[name] != after[name]}
    assert differing <= {missing, "source_ip", "protocol", "source_port"}
    assert len(differing) >= 1


def test_null_is_absent_and_numbers_may_be_strings(capture: Write) -> None:
    plain = flow(1, l4={"TCP": {"source_port": 1, "destination_port": 80}}, policy_match_type=4)
    odd = flow(1, l4={"TCP": {"source_port": "1", "destination_port": 80.0, "flags": None}})
    odd["flow"] |= {"policy_match_type": "4", "uuid": "1", "source": None, "source_names": None}
    odd["flow"] |= {"is_reply": None, "drop_reason_desc": None, "l7": None, "verdict": 1}
    assert only(capture(odd)) == only(capture(plain))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"is_reply": False}, False),
        ({"is_reply": True}, True),
        ({"reply": True}, True),
        ({"reply": False}, None),
        ({"reply": True, "is_reply": False}, False),
    ],
)
def test_reply_has_three_values(fields: Record, expected: bool | None, capture: Write) -> None:
    assert only(capture(flow(1, **fields))).is_reply is expected


def test_servers_before_drop_reason_desc(capture: Write) -> None:
    assert only(capture(flow(1, verdict="DROPPED", drop_reason=181))).drop_reason == 181


def test_a_drop_reason_newer_than_ours_stays_visible(capture: Write) -> None:
    path = capture(
        flow(1, verdict="DROPPED", drop_reason_desc="FLUX_OF_A_FILE"),
        flow(2, verdict="DROPPED", drop_reason_desc=214),
        flow(3, verdict="TELEPORTED"),
    )
    # Names that other tests met in this process would stand before it in the warning.
    with no_newer_names():
        source = FileSource([path])
        named, numbered, teleported = gather(source).flows
        assert newer_name(named.drop_reason) == "FLUX_OF_A_FILE"
        assert numbered.drop_reason == 214
        assert teleported.verdict < 0
        assert any("FLUX_OF_A_FILE" in warning for warning in source.warnings)


@pytest.mark.parametrize(
    ("l4", "expected"),
    [
        ({"ICMPv4": {"type": 8}}, ("ICMPv4", 0, 8)),
        ({"ICMPv6": {"type": 135, "code": 0}}, ("ICMPv6", 0, 135)),
        ({"SCTP": {"source_port": 1, "destination_port": 2, "chunk_type": "INIT"}}, ("SCTP", 1, 2)),
        ({"VRRP": {"type": 1, "vrid": 5}}, ("VRRP", 0, 1)),
        ({"IGMP": {"type": 34, "group_address": "224.0.0.1"}}, ("IGMP", 0, 34)),
        ({"QUICK": {"port": 1}}, ("", 0, 0)),
        ({}, ("", 0, 0)),
    ],
)
def test_protocols(l4: Record, expected: tuple[str, int, int], capture: Write) -> None:
    one = only(capture(flow(1, l4=l4)))
    assert (one.protocol, one.source_port, one.destination_port) == expected


def test_policies_of_a_masked_record_without_event_type(capture: Write) -> None:
    one = only(
        capture(
            flow(1, traffic_direction="INGRESS", ingress_allowed_by=[{"name": "p", "kind": "K"}])
        )
    )
    assert one.allowed_by == (PolicyRef("K", "", "p"),)


def test_hostile_names_come_through_as_they_are(capture: Write) -> None:
    name = '\x1b[31m\x9b[bold]\u202e=cmd()"\\'
    one = only(capture(flow(1, source={"pod_name": name}, destination_names=[name], uuid=name)))
    assert (one.source.pod, one.destination_names, one.uuid) == (name, (name,), name)


def test_everything_that_is_no_flow_is_counted(capture: Write) -> None:
    path = capture(
        flow(1),
        lost(2),
        {
            "node_status": {
                "state_change": "NODE_UNAVAILABLE",
                "node_names": ["n2"],
                "message": "gone",
            }
        },
        {"agent_event": {"type": "AGENT_STARTED"}},
        {"debug_event": {"type": "DBG_GENERIC"}, "node_name": "n1"},
        {"hello": "world"},
        b"\x80 binary",
        flow(4, l4={"TCP": {"source_port": -5}}),
        flow(5, time="soon"),
        flow(6, source="a pod"),
        b'{"flow":{"source":{"labels":["\xff"]}}}',
        flow(7),
        b'{"flow":{"time":"19',
    )
    batch = gather(FileSource([path]))
    assert uuids(batch) == ["1", "7"]
    assert batch.lost == [LostEvents("HUBBLE_RING_BUFFER", 2, "n1", 2 * SECOND)]
    assert batch.nodes == [NodeStatus("NODE_UNAVAILABLE", ("n2",), "gone")]
    expected = {
        AGENT_EVENT: 1,
        DEBUG_EVENT: 1,
        NO_FLOW: 1,
        NOT_JSON: 1,
        NOT_UTF8: 1,
        WRONG_VALUE: 3,
        CUT_OFF: 1,
    }
    assert batch.skipped == expected
    records = FileRecords([path])
    assert [r.flow.uuid for r in records if r.HasField("flow")] == ["1", "7"]
    assert records.skipped == expected


def test_one_bad_line_costs_nothing_else(capture: Write) -> None:
    good = [flow(n) for n in range(60)] * 50
    path = capture(*good[:1500], b"junk", *good[1500:])
    batch = gather(FileSource([path]))
    assert len(batch.flows) == 3000
    assert batch.skipped == {NOT_JSON: 1}
    assert uuids(batch) == [record["flow"]["uuid"] for record in good]


def test_bare_wrapped_and_camel_case_side_by_side(capture: Write) -> None:
    wrapped = flow(1, event_type={"type": 4, "sub_type": 3}, source={"pod_name": "p"})
    bare = wrapped["flow"]
    camel = {
        "flow": {
            **{k: bare[k] for k in ("time", "uuid", "verdict")},
            "nodeName": "n1",
            "eventType": {"type": 4, "subType": 3},
            "source": {"podName": "p"},
        },
        "nodeName": "n1",
    }
    batch = gather(FileSource([capture(wrapped, bare, camel, camel["flow"], lost(1))]))
    assert batch.skipped == {}
    assert len(batch.flows) == 4
    assert all(f == batch.flows[0] for f in batch.flows)


def test_text_that_looks_like_a_camel_case_key_stays(capture: Write) -> None:
    tricky = '"nodeName":1, "podName":'
    record = flow(1, source={"pod_name": tricky})
    del record["flow"]["node_name"]
    camel = {"flow": {"nodeName": "n", "source": {"podName": tricky}}}
    batch = gather(FileSource([capture(record, camel)]))
    assert [f.source.pod for f in batch.flows] == [tricky, tricky]


def test_files_follow_each_other(capture: Write) -> None:
    first, second = capture(flow(9), name="b"), capture(flow(3), name="a")
    assert uuids(gather(FileSource([first, second]))) == ["9", "3"]


def test_a_pretty_printed_array(tmp_path: Path) -> None:
    path = tmp_path / "flows.json"
    path.write_text(json.dumps([flow(n)["flow"] for n in range(50)], indent=2))
    assert len(gather(FileSource([path])).flows) == 50


# ---- windows and filters


def numbered(capture: Write) -> Path:
    """Not in the order of time, as Hubble's captures aren't."""
    order = [4, 1, 3, 2, 5, 6]
    return capture(*[flow(n, verdict="DROPPED" if n % 2 else "FORWARDED") for n in order], lost(3))


WINDOWS = [
    (Selection(), ["4", "1", "3", "2", "5", "6"], 1),
    (Selection(since=2 * SECOND), ["4", "3", "2", "5", "6"], 1),
    (Selection(until=2 * SECOND), ["1", "2"], 0),
    (Selection(since=2 * SECOND, until=4 * SECOND), ["4", "3", "2"], 1),
    (Selection(first=2), ["4", "1"], None),
    (Selection(last=2), ["5", "6"], 1),
    (Selection(last=100), ["4", "1", "3", "2", "5", "6"], 1),
    (Selection(until=4 * SECOND, last=2), ["3", "2"], 1),
    (Selection(since=2 * SECOND, first=2), ["4", "3"], None),
]


@pytest.mark.parametrize(("window", "expected", "lost_events"), WINDOWS)
def test_windows(
    window: Selection, expected: list[str], lost_events: int | None, capture: Write
) -> None:
    path = numbered(capture)
    batch = gather(FileSource([path], window=window))
    assert uuids(batch) == expected
    responses = list(FileRecords([path], window=window))
    assert [r.flow.uuid for r in responses if r.HasField("flow")] == expected
    if lost_events is not None:
        assert len(batch.lost) == lost_events
        assert sum(r.HasField("lost_events") for r in responses) == lost_events


def test_what_few_records_carry_counts_in_the_last_too(capture: Write) -> None:
    path = capture(*[flow(n, IP={"encrypted": True}) for n in range(3)])
    for window in (Selection(), Selection(first=2), Selection(last=2)):
        assert [
            batch.extras for batch in FileSource([path], window=window).batches() if batch.flows
        ] == [True]


def test_a_record_without_time_is_outside_of_any_limit(capture: Write) -> None:
    timeless = {"flow": {"uuid": "x", "verdict": "FORWARDED"}}
    path = capture(timeless, flow(1))
    assert uuids(gather(FileSource([path], window=Selection(since=0)))) == ["1"]
    assert uuids(gather(FileSource([path], window=Selection(last=5)))) == ["x", "1"]


class Dropped:
    """A filter that says what it looks at."""

    fields = frozenset({"verdict"})

    def __init__(self) -> None:
        self.seen: list[flow_pb2.Flow] = []

    def __call__(self, flow: flow_pb2.Flow) -> bool:
        self.seen.append(flow)
        return flow.verdict == flow_pb2.DROPPED


def test_filters(capture: Write) -> None:
    path = numbered(capture)
    batch = gather(FileSource([path], match=lambda f: f.verdict == flow_pb2.DROPPED))
    assert uuids(batch) == ["1", "3", "5"]
    assert len(batch.lost) == 1
    match = Dropped()
    assert uuids(gather(FileSource([path], match=match, window=Selection(last=2)))) == ["3", "5"]
    assert all(not seen.uuid for seen in match.seen)
    records = FileRecords([path], match=Dropped(), window=Selection(first=2))
    assert [r.flow.uuid for r in records if r.HasField("flow")] == ["1", "3"]


def test_filters_see_the_flow_whatever_its_form(capture: Write) -> None:
    bare = flow(1, verdict="DROPPED")["flow"]
    camel = {"flow": {"nodeName": "n", "trafficDirection": "EGRESS", "verdict": 2, "uuid": "2"}}
    broken = b'{"flow":{"\xff":1,"verdict":"DROPPED"}}'
    path = capture(
        bare, camel, lost(1), {"agent_event": {}}, broken, flow(3), flow(4, verdict=None)
    )
    for match in (Dropped(), lambda f: f.verdict == flow_pb2.DROPPED):
        batch = gather(FileSource([path], match=match))
        assert uuids(batch) == ["1", "2"]
        assert batch.skipped == {AGENT_EVENT: 1, WRONG_VALUE: 1}
        assert len(batch.lost) == 1


# ---- states and errors


def test_states(capture: Write) -> None:
    source = FileSource([capture(flow(1))])
    assert source.state().phase == "connecting"
    batches = source.batches()
    next(batches)
    assert source.state().phase == "reading"
    list(batches)
    assert (source.state().phase, source.state().where) == ("ended", "flows.jsonl")


def test_how_much_is_read_is_told_of_files_and_not_of_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "BLOCK", 1 << 10)
    lines = (json.dumps(flow(1)) + "\n").encode() * 100
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    plain.write_bytes(lines)
    packed.write_bytes(gzip.compress(lines, 0))
    source = FileSource([plain, packed])
    told = [source.state().progress or 0.0 for _ in source.batches()]
    assert told == sorted(told)
    assert 0.4 < told[len(told) // 2] < 0.6
    assert source.state().progress is None
    with plain.open("rb") as file:
        reader = captures.CaptureReader([plain, "-"], stdin=file)
        piped = FileSource([], reader=reader)
        assert {piped.state().progress for _ in piped.batches()} == {None}


@pytest.mark.parametrize("window", [Selection(), Selection(last=5)])
def test_a_cut_gzip_file_counts_as_far_as_it_goes(window: Selection, tmp_path: Path) -> None:
    path = tmp_path / "flows.gz"
    lines = b"".join(json.dumps(flow(n % 60)).encode() + b"\n" for n in range(2000))
    path.write_bytes(gzip.compress(lines)[:-8])
    source = FileSource([path], window=window)
    flows: list[Flow] = []

    def read() -> None:
        for batch in source.batches():
            flows.extend(batch.flows)

    with pytest.raises(InputError, match="cut off"):
        read()
    assert len(flows) == (window.last or 2000)
    assert source.state().phase == "failed"
    assert "cut off" in source.state().message


def test_a_file_of_something_else_is_an_error_an_empty_one_isnt(capture: Write) -> None:
    path = capture(b"hello", b"world", {"kind": "Pod"})
    for reading in (lambda: gather(FileSource([path])), lambda: list(FileRecords([path]))):
        with pytest.raises(InputError, match=r"2 × not JSON, 1 × JSON without a flow") as caught:
            reading()
        assert "\n" not in str(caught.value)
    assert gather(FileSource([capture()])) == Batch()
    assert list(FileRecords([capture()])) == []


def test_filtered_to_nothing_is_no_error(capture: Write) -> None:
    batch = gather(FileSource([capture(flow(1), b"junk")], match=lambda _: False))
    assert (batch.flows, batch.skipped) == ([], {NOT_JSON: 1})


def test_a_missing_file_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        FileSource([tmp_path / "missing"])


def test_closing_ends_the_batches(capture: Write) -> None:
    path = capture(*[flow(n % 60) for n in range(5000)])
    source = FileSource([path])
    batches = source.batches()
    seen = len(next(batches).flows)
    source.close()
    source.close()
    assert seen + sum(len(batch.flows) for batch in batches) < 5000


def test_the_memory_of_repeated_parts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowwatch.flows.known.CACHE_LIMIT", 10)
    decoder = LineDecoder()
    for n in range(100):
        line = json.dumps(flow(1, source={"pod_name": f"p{n}"})).encode()
        batch = decoder.lines(line)
        assert batch is not None
        assert batch.flows[0].source.pod == f"p{n}"
    assert len(decoder._endpoints) <= 10
