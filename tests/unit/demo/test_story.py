"""The story's records: of the shape that Hubble gives them, agreeing with each other and the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest
import yaml

from flowwatch.demo import weather
from flowwatch.demo.cluster import POLICIES
from flowwatch.demo.stage import Moment
from flowwatch.demo.story import OTHERS, WEATHER, Story, beside, policy_text, story
from flowwatch.egress import view
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.hubble.wire.jsonprint import message_to_json
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow

SECONDS = 200.0
MICRO, SECOND = 1_000, 1_000_000_000
DROP, TRACE, VERDICT, SOCK, L7 = 1, 4, 5, 7, 129


@pytest.fixture(scope="module")
def told() -> tuple[Story, list[Moment]]:
    telling = Story(seed=3, duration=SECONDS)
    return telling, list(telling.moments())


def flows(told: tuple[Story, list[Moment]]) -> Iterator[tuple[Moment, Flow]]:
    for moment in told[1]:
        if isinstance(moment.record, Flow):
            yield moment, moment.record


def tuple_of(flow: Flow) -> tuple[object, ...]:
    ports = (flow.l4.TCP.source_port, flow.l4.TCP.destination_port)
    return flow.node_name, flow.traffic_direction, flow.IP.source, flow.IP.destination, ports


# What the facts say about each kind of record (hubble-interface, section 3): the fields that all of
# a kind have, and those that some have. Whatever else turns up is wrong.
COMMON = {
    "uuid",
    "emitter",
    "verdict",
    "IP",
    "l4",
    "source",
    "destination",
    "Type",
    "node_name",
    "node_labels",
    "event_type",
    "Summary",
}
PACKET = COMMON | {"ethernet", "traffic_direction"}
NAMES = {"destination_names", "source_names", "destination_service"}
KINDS: dict[str, tuple[Callable[[Flow], bool], set[str], set[str]]] = {
    "drop": (
        lambda f: f.event_type.type == DROP,
        PACKET | {"drop_reason", "drop_reason_desc", "file"},
        NAMES - {"source_names"},
    ),
    "denying verdict": (
        lambda f: f.event_type.type == VERDICT and f.verdict == flow_pb2.DROPPED,
        PACKET | {"drop_reason", "drop_reason_desc"},
        NAMES - {"source_names"} | {"policy_match_type", "egress_denied_by"},
    ),
    "other verdict": (
        lambda f: f.event_type.type == VERDICT and f.verdict != flow_pb2.DROPPED,
        PACKET | {"is_reply"},
        NAMES - {"source_names"} | {"policy_match_type", "egress_allowed_by", "ingress_allowed_by"},
    ),
    "trace": (
        lambda f: f.event_type.type == TRACE,
        PACKET | {"is_reply", "trace_observation_point", "trace_reason"},
        NAMES | {"reply", "interface", "proxy_port"},
    ),
    "l7": (
        lambda f: f.event_type.type == L7,
        COMMON | {"is_reply", "l7", "traffic_direction"},
        NAMES | {"reply"},
    ),
    "sock": (
        lambda f: f.event_type.type == SOCK,
        COMMON | {"sock_xlate_point", "socket_cookie", "cgroup_id"},
        {"destination_service"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_has_the_fields_of_its_kind(told: tuple[Story, list[Moment]], kind: str) -> None:
    mine, always, sometimes = KINDS[kind]
    seen = [{field.name for field, _ in flow.ListFields()} for _, flow in flows(told) if mine(flow)]
    assert seen
    for fields in seen:
        assert always <= fields
        assert fields <= always | sometimes


def test_every_flow_is_of_one_of_these_kinds(told: tuple[Story, list[Moment]]) -> None:
    for _, flow in flows(told):
        assert sum(mine(flow) for mine, _, _ in KINDS.values()) == 1


def test_parts_that_depend_on_the_kind(told: tuple[Story, list[Moment]]) -> None:
    for _, flow in flows(told):
        kind, point = flow.event_type.type, flow.trace_observation_point
        if kind == DROP:
            assert flow.event_type.sub_type == flow.drop_reason == flow.drop_reason_desc
            assert flow.file.name == "bpf_lxc.c"
        elif kind == TRACE:
            assert flow.event_type.sub_type == (0 if point == flow_pb2.TO_ENDPOINT else point)
            assert flow.is_reply.value == flow.reply == (flow.trace_reason == flow_pb2.REPLY)
            assert bool(flow.proxy_port) == (point == flow_pb2.TO_PROXY)
        else:
            assert flow.event_type.sub_type == (flow.sock_xlate_point if kind == SOCK else 0)
        if kind in (L7, SOCK):
            assert not flow.l4.TCP.HasField("flags")
        elif flow.l4.HasField("TCP"):
            assert flow.l4.TCP.HasField("flags")
            assert flow.Summary.startswith("TCP Flags: ")
        if kind == L7:
            # Answers and codes are in responses only, a latency in HTTP responses only.
            response = flow.l7.type == flow_pb2.RESPONSE
            assert flow.is_reply.value == response
            assert bool(flow.l7.http.code) == (response and flow.l7.HasField("http"))
            assert bool(flow.l7.latency_ns) == bool(flow.l7.http.code)
            assert bool(flow.l7.dns.ips) == (response and flow.l7.HasField("dns"))
            assert flow.l7.dns.query.endswith(".") == flow.l7.HasField("dns")
            assert not flow.drop_reason


def test_a_denied_packet_leaves_two_records(told: tuple[Story, list[Moment]]) -> None:
    verdicts: dict[tuple[object, ...], list[tuple[Moment, Flow]]] = defaultdict(list)
    twins = 0
    for moment, flow in flows(told):
        if flow.event_type.type == VERDICT and flow.verdict == flow_pb2.DROPPED:
            verdicts[tuple_of(flow)].append((moment, flow))
        elif flow.event_type.type == DROP and flow.drop_reason in (133, 181):
            before, verdict = verdicts[tuple_of(flow)].pop()
            assert 0 < moment.offset - before.offset < 20 * MICRO
            assert verdict.drop_reason == flow.drop_reason
            assert verdict.source == flow.source
            assert verdict.destination == flow.destination
            assert verdict.destination_names == flow.destination_names
            assert verdict.l4 == flow.l4
            assert verdict.ethernet == flow.ethernet
            twins += 1
    assert twins > 100
    assert not any(verdicts.values())


def test_default_deny_names_no_policy_and_a_deny_rule_does(
    told: tuple[Story, list[Moment]],
) -> None:
    seen = set()
    for _, flow in flows(told):
        if flow.event_type.type == VERDICT and flow.verdict == flow_pb2.DROPPED:
            names = [policy.name for policy in flow.egress_denied_by]
            assert names == (["deny-known-bad"] if flow.drop_reason == 181 else [])
            assert not flow.policy_match_type or flow.drop_reason == 181
            seen.add(flow.drop_reason)
    assert seen == {133, 181}


def test_ends_are_written_as_the_observing_node_knows_them(
    told: tuple[Story, list[Moment]],
) -> None:
    cluster = told[0].cluster
    runs = {
        (pod.namespace, pod.name): pod.node.name
        for workload in ("weather/weather-app", "shop/frontend", "data/redis", "geo/geocoder")
        for pod in cluster.pods(workload)
    }
    labels: dict[object, set[str]] = defaultdict(set)
    for _, flow in flows(told):
        for end in (flow.source, flow.destination):
            assert list(end.labels) == sorted(end.labels)
            local = bool(end.ID)
            assert bool(end.workloads) == local
            if (end.namespace, end.pod_name) in runs:
                assert local == (runs[end.namespace, end.pod_name] == flow.node_name)
                assert f"k8s:io.kubernetes.pod.namespace={end.namespace}" in end.labels
            # Numbers of identities outside are a node's own.
            scope = flow.node_name if end.identity >= 1 << 24 else ""
            labels[scope, end.identity].add(",".join(end.labels))
            if end.identity >= 1 << 24:
                assert "reserved:world" in end.labels
            assert bool(end.cluster_name) == (256 <= end.identity < 1 << 16)
        if flow.destination_names:
            assert flow.source.ID
        if flow.source_names:
            assert flow.destination.ID
    assert all(len(texts) == 1 for texts in labels.values())


def test_the_story_is_in_order_and_each_record_its_own(told: tuple[Story, list[Moment]]) -> None:
    offsets = [moment.offset for moment in told[1]]
    assert offsets == sorted(offsets)
    assert offsets[-1] < SECONDS * SECOND
    assert offsets[-1] - offsets[0] > 0.9 * SECONDS * SECOND
    uuids = [flow.uuid for _, flow in flows(told)]
    assert len(set(uuids)) == len(uuids)
    rate = len(offsets) / SECONDS
    assert 10 < rate < 40


def test_the_seed_decides_everything() -> None:
    def lines(seed: int) -> list[bytes]:
        return [r.SerializeToString(deterministic=True) for r in story(seed, 30.0)]

    assert lines(5) == lines(5)
    assert lines(5) != lines(6)


def test_the_policy_changes_what_the_app_reaches(told: tuple[Story, list[Moment]]) -> None:
    before: dict[str, set[int]] = defaultdict(set)
    after: dict[str, set[int]] = defaultdict(set)
    for moment, flow in flows(told):
        app = flow.source.namespace == "weather" and flow.l4.HasField("TCP")
        if app and flow.event_type.type == VERDICT:
            when = before if moment.offset < told[0].policy_at else after
            peer = next(iter(flow.destination_names), flow.IP.destination)
            when[peer].add(flow.verdict)
            allowed_by = [policy.name for policy in flow.egress_allowed_by]
            if when is before:
                # Cilium's own rule has labels, and no name.
                assert allowed_by == [""]
                assert flow.egress_allowed_by[0].labels[0].endswith("=allow-any-egress")
                assert flow.policy_match_type == 4
            elif flow.verdict == flow_pb2.FORWARDED:
                assert allowed_by == ["weather-egress"]
                assert f"fqdn:{weather.ALLOWED}" in flow.destination.labels
    names = {"telemetry.skydata.example", "api.github.com", "www.google.com", weather.ALLOWED}
    assert names | {"169.254.169.254"} <= set(before) == set(after)
    assert len(before) == 7  # and the geocoder, and the database
    assert all(verdicts == {flow_pb2.FORWARDED} for verdicts in before.values())
    assert after.pop(weather.ALLOWED) == {flow_pb2.FORWARDED}
    assert all(verdicts == {flow_pb2.DROPPED} for verdicts in after.values())


def test_the_policy_is_the_one_that_is_served_as_a_document(
    told: tuple[Story, list[Moment]],
) -> None:
    policy = yaml.safe_load(policy_text())
    assert policy["kind"] == "CiliumNetworkPolicy"
    assert (policy["metadata"]["namespace"], policy["metadata"]["name"]) == (
        "weather",
        "weather-egress",
    )
    dns, api = policy["spec"]["egress"]
    assert api["toFQDNs"] == [{"matchName": weather.ALLOWED}]
    selected = policy["spec"]["endpointSelector"]["matchLabels"]
    pod = told[0].cluster.pod("weather/weather-app")
    have = pod.seen_by(pod.node).labels
    assert all(f"k8s:{key}={value}" in have for key, value in selected.items())
    server = told[0].cluster.dns_on(pod.node)
    wanted = dns["toEndpoints"][0]["matchLabels"]
    assert all(f"{key}={value}" in server.seen_by(pod.node).labels for key, value in wanted.items())


def test_a_denied_connection_is_tried_again_as_linux_does(
    told: tuple[Story, list[Moment]],
) -> None:
    tries: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for moment, flow in flows(told):
        if flow.event_type.type == DROP and "api.github.com" in flow.destination_names:
            tries[tuple_of(flow)].append(moment.offset)
    assert len(tries) > 3
    for offsets in tries.values():
        seconds = [round((at - offsets[0]) / SECOND, 3) for at in offsets]
        assert seconds == [0, 1, 3, 7]


def test_the_database_connection_is_cut_in_the_middle(told: tuple[Story, list[Moment]]) -> None:
    states: dict[tuple[object, ...], list[tuple[int, bool]]] = defaultdict(list)
    for _, flow in flows(told):
        if flow.destination.pod_name == "postgres-0" and flow.traffic_direction == flow_pb2.EGRESS:
            states[tuple_of(flow)].append((flow.verdict, flow.l4.TCP.flags.SYN))
    cut = [seen for seen in states.values() if seen[0][0] == flow_pb2.FORWARDED]
    assert len(cut) == 3
    for seen in cut:
        assert seen[-1] == (flow_pb2.DROPPED, False)


def test_the_noise_has_every_kind_of_trouble(told: tuple[Story, list[Moment]]) -> None:
    seen = {
        (flow.event_type.type, flow.verdict, flow.drop_reason_desc, flow.traffic_direction)
        for _, flow in flows(told)
    }
    egress, ingress = flow_pb2.EGRESS, flow_pb2.INGRESS
    assert (DROP, flow_pb2.DROPPED, flow_pb2.SERVICE_BACKEND_NOT_FOUND, egress) in seen
    assert (DROP, flow_pb2.DROPPED, flow_pb2.POLICY_DENY, egress) in seen
    assert (DROP, flow_pb2.DROPPED, flow_pb2.POLICY_DENIED, ingress) in seen
    assert (VERDICT, flow_pb2.AUDIT, 0, egress) in seen
    assert (VERDICT, flow_pb2.REDIRECTED, 0, egress) in seen
    assert (SOCK, flow_pb2.TRACED, 0, 0) in seen
    assert (SOCK, flow_pb2.TRANSLATED, 0, 0) in seen
    denied = [
        flow.l7 for _, flow in flows(told) if flow.event_type.type == L7 and flow.verdict == 2
    ]
    assert {l7.WhichOneof("record") for l7 in denied} == {"dns", "http"}
    assert any(flow.l4.HasField("ICMPv4") for _, flow in flows(told))
    lost = [m.record for m in told[1] if isinstance(m.record, flow_pb2.LostEvent)]
    assert [(one.source, one.HasField("cpu")) for one in lost] == [
        (flow_pb2.PERF_EVENT_RING_BUFFER, True)
    ]
    assert {moment.node.name for moment in told[1]} == {"demo/node-1", "demo/node-2"}


def test_records_are_lost_in_both_places_each_told_in_its_own_shape() -> None:
    lost = [
        moment.response(2_000 * SECOND + moment.offset)
        for moment in Story(seed=2, duration=400.0).moments()
        if isinstance(moment.record, flow_pb2.LostEvent)
    ]
    in_kernel, in_agent = (response.lost_events for response in lost)
    assert in_kernel.source == flow_pb2.PERF_EVENT_RING_BUFFER
    assert in_agent.source == flow_pb2.OBSERVER_EVENTS_QUEUE
    # Only the agent's queue knows since when; both name a CPU.
    assert not in_kernel.HasField("first")
    assert in_agent.first.ToNanoseconds() < in_agent.last.ToNanoseconds()
    assert in_agent.last == lost[1].time
    assert all(response.lost_events.HasField("cpu") for response in lost)
    assert all(response.lost_events.num_events_lost >= 12 for response in lost)


@pytest.mark.parametrize("seed", range(1, 7))
def test_what_flowwatch_counts_is_the_truth(seed: int) -> None:
    telling = Story(seed, duration=150.0)
    responses = [moment.response(SECOND + moment.offset) for moment in telling.moments()]
    aggregate = Aggregate()
    aggregate.join.add(WireDecoder().decode([r.SerializeToString() for r in responses]))
    counted, remarks = {}, {}
    for row in view.snapshot(aggregate, Query()).rows:
        counts = {
            "forwarded": row.forwarded,
            "dropped": row.dropped,
            "audited": row.audited,
            "errors": row.errors,
            "unknown": row.unknown,
        }
        key = (row.namespace, row.pod, row.peer, row.port, row.protocol)
        for remark in ("late", "refused", "unreachable", "answers_dropped"):
            if number := getattr(row, remark):
                remarks[key, remark] = number
        counted[key] = {outcome: number for outcome, number in counts.items() if number}
    assert counted == {tuple(key): counts for key, counts in telling.truth.counts().items()}
    assert remarks == telling.truth.remarks
    assert {remark for _, remark in remarks} == {
        "late",
        "refused",
        "unreachable",
        "answers_dropped",
    }


def test_a_record_reads_as_hubbles_json(told: tuple[Story, list[Moment]]) -> None:
    drop = next(moment for moment, flow in flows(told) if flow.event_type.type == DROP)
    line = message_to_json(drop.response(1_790_000_000 * SECOND))
    assert '"drop_reason_desc":"' in line
    assert '"emitter":{"name":"Hubble","version":"1.20.2"}' in line
    assert '"time":"2026-09-21T14:13:20Z"' in line


def test_every_policy_that_records_name_is_there_as_a_document() -> None:
    documents = [*yaml.safe_load_all(policy_text()), *yaml.safe_load_all(beside(WEATHER, OTHERS))]
    named = [one["metadata"] for one in documents]
    assert sorted("/".join(filter(None, (m.get("namespace"), m["name"]))) for m in named) == sorted(
        POLICIES
    )
