"""Every capture, ours and those that people have published: each is read with all its records."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from flowwatch.flows.decode_json import LineDecoder
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.flows.model import Batch
from flowwatch.hubble.captures.replay import FileRecords
from flowwatch.hubble.wire.errors import NOT_JSON
from flowwatch.hubble.wire.jsonpb import FlowParser
from flowwatch.hubble.wire.jsonprint import response_to_json
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.sources.files import FileSource
from tests.material import OWN, SHARED, name, needs

# File → flows, lost-events records, what was not read.
OURS: dict[str, tuple[int, int, dict[str, int]]] = {
    "array.json": (3, 0, {}),
    "bare.jsonl": (3, 0, {}),
    "camel-case.jsonl": (5, 0, {}),
    "dns.jsonl": (12, 0, {}),
    "empty.jsonl": (0, 0, {}),
    "http.jsonl": (12, 0, {}),
    "icmp.jsonl": (6, 0, {}),
    "lost-events.json": (0, 1, {}),
    "malformed.jsonl": (2, 0, {NOT_JSON: 1}),
    "small.jsonl.gz": (3, 0, {}),
    "tcp.jsonl": (40, 0, {}),
    "weather.jsonl": (64, 0, {}),
}
PUBLISHED: dict[str, tuple[int, int, dict[str, int]]] = {
    "accuknox/TC_01_egress_matchLabels_toPorts_singlePort.json": (2, 0, {}),
    "accuknox/TC_03_egress_matchlabels_toPorts_toHttps_single_url.json": (1, 0, {}),
    "accuknox/TC_05_egress_toCIDRs_toPorts_single_port.json": (1, 0, {}),
    "accuknox/TC_07_egress_toFQDNs_single_port.json": (2, 0, {}),
    "accuknox/TC_09_egress_toEntities_host.json": (1, 0, {}),
    "accuknox/TC_11_egress_toServices_single_pod.json": (2, 0, {}),
    "accuknox/TC_13_egress_matchLables_toPorts_rule_selector_aggregation.json": (3, 0, {}),
    "accuknox/TC_15_egress_matchLables_toPorts_toHttps_rule_selector_aggregation.json": (2, 0, {}),
    "accuknox/TC_17_egress_same_dest_matchlabels.json": (5, 0, {}),
    "accuknox/TC_19_egress_after_db_status_check_target_rule_merging.json": (2, 0, {}),
    "accuknox/TC_19_egress_before_db_status_check_target_rule_merging.json": (2, 0, {}),
    "accuknox/TC_21_ingress_matchLabels_toPorts_singlePort.json": (2, 0, {}),
    "accuknox/TC_23_ingress_matchlabels_toPorts_toHttps_single_url.json": (1, 0, {}),
    "accuknox/TC_25_ingress_fromEntities_unmanaged.json": (1, 0, {}),
    "accuknox/TC_27_ingress_targetRule_matchLabels_toPorts.json": (5, 0, {}),
    "accuknox/TC_29_ingress_after_db_status_check_target_rule_merging.json": (2, 0, {}),
    "accuknox/TC_29_ingress_before_db_status_check_target_rule_merging.json": (2, 0, {}),
    "accuknox/TC_31_egress_ingress_matchLabels_toPorts_singlePort.json": (1, 0, {}),
    "accuknox/TC_33_egress_ingress_toCIDRs_toPorts_multiple_ports.json": (2, 0, {}),
    "accuknox/TC_35_egress_ingress_toEntities_fromEntities_remote_node.json": (1, 0, {}),
    "accuknox/TC_37_egress_ingress_matchLabels_toPorts_selector_aggregation.json": (3, 0, {}),
    "accuknox/TC_39_egress_ingress_after_db_status_check_selector_aggregation.json": (1, 0, {}),
    "accuknox/TC_39_egress_ingress_before_db_status_check_selector_aggregation.json": (1, 0, {}),
    "cilium-docs/export.rst.jsonl": (2, 0, {}),
    "hubble-otel/basic-sample-10-flows.json": (10, 0, {}),
    "hubble-otel/basic-sample-330-dns-flows.json": (330, 0, {}),
    "hubble-otel/basic-sample-348-http-flows.json": (348, 0, {}),
    "hubble-otel/basic-sample-400-icmpv4-flows.json": (18, 0, {}),
    "hubble-otel/basic-sample-400-l7-redirected-flows.json": (400, 0, {}),
    "hubble-otel/basic-sample-400-tcp-flows.json": (400, 0, {}),
    "hubble-otel/basic-sample-400-udp-flows.json": (400, 0, {}),
    "hubble-otel/basic-sample-5-dns-flows.json": (5, 0, {}),
    "hubble-otel/basic-sample-5-http-flows.json": (5, 0, {}),
    "malformed/empty.jsonl": (0, 0, {}),
    "malformed/l7_dns.jsonl": (3, 0, {}),
    "malformed/l7_http.jsonl": (4, 0, {}),
    "malformed/malformed.jsonl": (2, 0, {NOT_JSON: 1}),
    "malformed/mixed_tcp_icmp.jsonl": (4, 0, {}),
    "malformed/small.jsonl": (3, 0, {}),
    "malformed/small.jsonl.gz": (3, 0, {}),
    "malformed/with_non_dropped.jsonl": (5, 0, {}),
    "misc/cilium-issue-18746-remote-node-dropped.json": (1, 0, {}),
    "misc/flowguarder.protojson.jsonl": (5, 0, {}),
    "misc/lost-events.json": (0, 1, {}),
}
ROOTS = {OWN / "captures": OURS, SHARED / "captures": PUBLISHED}
EXPECTED = {
    root / name: counts
    for root, table in ROOTS.items()
    if root.is_dir()
    for name, counts in table.items()
}
every_capture = pytest.mark.parametrize("path", EXPECTED, ids=name)


def everything(path: Path) -> Batch:
    """All batches of a file as one."""
    whole = Batch()
    for batch in FileSource([path]).batches():
        whole.flows += batch.flows
        whole.lost += batch.lost
        whole.nodes += batch.nodes
        for reason, number in batch.skipped.items():
            whole.skipped[reason] = whole.skipped.get(reason, 0) + number
    return whole


def objects(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records by Python's own json, another way than ours; and the lines that are none."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    try:
        whole = json.loads(text)
        return (whole if isinstance(whole, list) else [whole]), 0
    except ValueError:
        found, bad = [], 0
        for line in text.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                bad += 1
        return found, bad


def wrapped(record: dict[str, Any]) -> dict[str, Any]:
    if "flow" in record or "lost_events" in record:
        return record
    outer: dict[str, Any] = {key: record[key] for key in ("node_name", "time") if key in record}
    return {"flow": record, **outer}


def test_the_table_names_every_capture() -> None:
    assert {path for root in ROOTS for path in root.rglob("*.json*")} == set(EXPECTED)
    assert len(EXPECTED) >= len(OURS)


@every_capture
def test_all_records_are_read_and_the_rest_is_said(path: Path) -> None:
    flows, lost, skipped = EXPECTED[path]
    batch = everything(path)
    assert (len(batch.flows), len(batch.lost), batch.skipped) == (flows, lost, skipped)
    records, bad = objects(path)
    assert (flows + lost, sum(skipped.values())) == (len(records), bad)


@every_capture
def test_messages_are_those_of_json_format(path: Path) -> None:
    records, _ = objects(path)
    ours = list(FileRecords([path]))
    theirs = [
        json_format.Parse(json.dumps(wrapped(record)), observer_pb2.GetFlowsResponse())
        for record in records
    ]
    assert ours == theirs
    again = FlowParser()
    assert [again.response(response_to_json(r).encode()) for r in ours] == ours


@every_capture
def test_flows_are_those_that_the_wire_would_give(path: Path) -> None:
    parser = FlowParser()
    records, _ = objects(path)
    texts = [json.dumps(record).encode() for record in records]
    live = WireDecoder().decode(parser.wire(text) for text in texts)
    batch = everything(path)
    assert batch.flows == live.flows
    assert batch.lost == live.lost


def test_camel_case_gives_the_same_flows() -> None:
    for path in EXPECTED:
        messages = list(FileRecords([path]))
        camel = [json.dumps(json_format.MessageToDict(m)).encode() for m in messages]
        snake = [
            json.dumps(json_format.MessageToDict(m, preserving_proto_field_name=True)).encode()
            for m in messages
        ]
        decoder = LineDecoder()
        assert decoder.lines(b"\n".join(camel)) == decoder.lines(b"\n".join(snake)), path


@needs("captures")
def test_old_and_odd_captures_keep_what_matters() -> None:
    captures = SHARED / "captures"
    remote = everything(captures / "misc/cilium-issue-18746-remote-node-dropped.json").flows[0]
    assert (remote.drop_reason, remote.source.entity) == (133, "remote-node")
    lost = everything(captures / "misc/lost-events.json").lost[0]
    assert (lost.source, lost.count, lost.node) == ("HUBBLE_RING_BUFFER", 1, "kubernetes/worker1")
    dns = everything(captures / "malformed/l7_dns.jsonl").flows[0]
    assert dns.l7 is not None
    assert (dns.l7.dns_query, dns.source_port, dns.destination_port) == ("api.example.com", 0, 53)
    docs = everything(captures / "cilium-docs/export.rst.jsonl").flows
    assert [(f.drop_reason, f.protocol, f.destination_port) for f in docs] == [
        (132, "ICMPv6", 133),
        (133, "TCP", 80),
    ]
    accuknox = everything(
        captures / "accuknox/TC_01_egress_matchLabels_toPorts_singlePort.json"
    ).flows[0]
    assert (accuknox.event_type, accuknox.time, accuknox.protocol) == (0, 0, "UDP")
