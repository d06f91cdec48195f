"""The demo server, asked by gRPC as any client asks a Hubble server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import flowwatch
from flowwatch.demo import service
from flowwatch.demo.server import PAST, DemoServer
from flowwatch.errors import FlowwatchError, UsageError
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2 as api
from flowwatch.hubble.wire.pb.relay import relay_pb2

SECOND = 1_000_000_000
DROPPED = flow_pb2.FlowFilter(verdict=[flow_pb2.DROPPED])


@pytest.fixture(scope="module")
def whole() -> Iterator[DemoServer]:
    with DemoServer(seed=2, live=False, duration=100) as server:
        yield server


class Client:
    """The calls of observer.Observer on a channel."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def flows(self, **fields: Any) -> Any:
        call = self.channel.unary_stream(
            "/observer.Observer/GetFlows",
            request_serializer=api.GetFlowsRequest.SerializeToString,
            response_deserializer=api.GetFlowsResponse.FromString,
        )
        return call(api.GetFlowsRequest(**fields), timeout=20)

    def ask(self, method: str, request: Any, answer: Any) -> Any:
        call = self.channel.unary_unary(
            f"/observer.Observer/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return call(request, timeout=5)


@pytest.fixture
def client(whole: DemoServer) -> Iterator[Client]:
    with Client(whole.address) as made:
        yield made


def only_flows(responses: Any) -> list[flow_pb2.Flow]:
    return [response.flow for response in responses if response.HasField("flow")]


def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_presents_itself_as_relay(whole: DemoServer, client: Client) -> None:
    call = client.flows(number=1)
    responses = list(call)
    assert dict(call.initial_metadata())["hubble-relay-version"] == "1.20.2"
    status = responses[0].node_status
    assert status.state_change == relay_pb2.NODE_CONNECTED
    assert list(status.node_names) == ["demo/node-1", "demo/node-2"]
    # N flows of each node.
    assert [response.node_name for response in responses[1:]] == sorted(
        status.node_names, key=[r.node_name for r in responses[1:]].index
    )
    answer = client.ask("ServerStatus", api.ServerStatusRequest(), api.ServerStatusResponse)
    assert answer.num_connected_nodes.value == 2
    assert answer.HasField("num_unavailable_nodes")
    assert answer.version == "hubble-relay v1.20.2"
    assert answer.num_flows == answer.seen_flows + 1  # the lost-events notice is a record, too
    assert 10 < answer.flows_rate < 60
    nodes = client.ask("GetNodes", api.GetNodesRequest(), api.GetNodesResponse).nodes
    assert [node.name for node in nodes] == ["demo/node-1", "demo/node-2"]
    assert sum(node.num_flows for node in nodes) == answer.num_flows
    assert nodes[0].tls.server_name == "node-1.demo.hubble-grpc.cilium.io"
    spaces = client.ask("GetNamespaces", api.GetNamespacesRequest(), api.GetNamespacesResponse)
    assert {"weather", "shop", "kube-system"} <= {one.namespace for one in spaces.namespaces}


def test_all_of_the_story_is_there_and_ends_now(whole: DemoServer, client: Client) -> None:
    responses = list(client.flows())[1:]
    times = [response.time.ToNanoseconds() for response in responses]
    assert times == sorted(times)
    assert times[-1] < time.time_ns()
    assert times[-1] - times[0] > 70 * SECOND
    assert times[0] < whole.policy_time < times[-1]
    flows = only_flows(responses)
    assert len({flow.uuid for flow in flows}) == len(flows)
    assert all(r.flow.time == r.time and r.flow.node_name == r.node_name for r in responses[:50])


def test_filters_choose(client: Client) -> None:
    flows = only_flows(client.flows())
    chosen = only_flows(client.flows(whitelist=[DROPPED]))
    assert [flow.uuid for flow in chosen] == [
        flow.uuid for flow in flows if flow.verdict == flow_pb2.DROPPED
    ]
    rest = only_flows(client.flows(blacklist=[DROPPED]))
    assert len(chosen) + len(rest) == len(flows)
    weather = flow_pb2.FlowFilter(source_pod=["weather/"])
    of_app = only_flows(client.flows(whitelist=[weather], blacklist=[DROPPED], number=5))
    assert len(of_app) == 10
    assert all(flow.source.namespace == "weather" and flow.verdict != 2 for flow in of_app)


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        (
            {"first": True, "follow": True},
            grpc.StatusCode.INVALID_ARGUMENT,
            "first cannot be specified with follow",
        ),
        (
            {"whitelist": [flow_pb2.FlowFilter(source_port=["x"])]},
            grpc.StatusCode.UNKNOWN,
            "invalid source port filter",
        ),
        (
            {"blacklist": [flow_pb2.FlowFilter(source_cluster_name=[""])]},
            grpc.StatusCode.UNKNOWN,
            "invalid filter, name must not be empty",
        ),
        (
            {"field_mask": {"paths": ["time", "nowhere"]}},
            grpc.StatusCode.UNKNOWN,
            "invalid fieldmask",
        ),
    ],
)
def test_a_bad_request_is_refused_in_hubbles_words(
    client: Client, fields: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        list(client.flows(**fields))
    error: Any = refused.value
    assert error.code() is code
    assert words in error.details()


@pytest.mark.parametrize(
    ("method", "request_", "answer"),
    [
        ("GetAgentEvents", api.GetAgentEventsRequest(), api.GetAgentEventsResponse),
        ("GetDebugEvents", api.GetDebugEventsRequest(), api.GetDebugEventsResponse),
        ("Nothing", api.GetNodesRequest(), api.GetNodesResponse),
    ],
)
def test_what_relay_does_not_serve(client: Client, method: str, request_: Any, answer: Any) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        client.ask(method, request_, answer)
    error: Any = refused.value
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_field_mask_leaves_only_what_is_asked(client: Client) -> None:
    paths = ["time", "node_name", "source.pod_name", "l4", "IP.destination", "is_reply"]
    for response in list(client.flows(number=30, field_mask={"paths": paths}))[1:]:
        if not response.HasField("flow"):
            continue
        flow = response.flow
        assert {f.name for f, _ in flow.ListFields()} <= {path.split(".")[0] for path in paths}
        assert {f.name for f, _ in flow.source.ListFields()} <= {"pod_name"}
        assert flow.IP.destination
        assert not flow.IP.source
        assert response.time == flow.time
        assert response.node_name == flow.node_name != ""
    # Without time and node_name the response's own are blank, as from the real server.
    blank = list(client.flows(number=1, field_mask={"paths": ["source.pod_name"]}))[1]
    assert not blank.HasField("time")
    assert not blank.node_name
    assert blank.flow.HasField("source")


def test_masked_ports_are_never_another_flows(client: Client) -> None:
    icmp = flow_pb2.FlowFilter(protocol=["icmp"])
    paths = ["time", "l4.TCP.destination_port", "l4.UDP"]
    flows = only_flows(client.flows(whitelist=[icmp], field_mask={"paths": paths}))
    assert flows
    assert not any(flow.l4.WhichOneof("protocol") for flow in flows)


def test_health_is_served(client: Client) -> None:
    channel: Any = client.channel
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    name = b"hubble.server.Observer"
    assert check(b"", timeout=5) == b"\x08\x01"
    assert check(bytes((0x0A, len(name))) + name, timeout=5) == b"\x08\x01"
    with pytest.raises(grpc.RpcError) as refused:
        check(b"\x0a\x01x", timeout=5)
    error: Any = refused.value
    assert error.code() is grpc.StatusCode.NOT_FOUND
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=5)
    assert next(watch) == b"\x08\x01"
    watch.cancel()


def test_live_it_starts_with_the_past_and_goes_on() -> None:
    with DemoServer(speed=5) as server, Client(server.address) as client:
        started = time.time_ns()
        past = only_flows(client.flows())
        assert past[0].time.ToNanoseconds() < server.policy_time < started
        assert server.policy_time - server.begin_time == PAST / 2 * SECOND
        drops = [
            flow.time.ToNanoseconds()
            for flow in past
            if flow.source.namespace == "weather" and flow.verdict == flow_pb2.DROPPED
        ]
        assert len(drops) > 100
        assert min(drops) >= server.policy_time

        following = client.flows(follow=True)
        live = only_flows(next(following) for _ in range(121))
        times = [flow.time.ToNanoseconds() for flow in live]
        assert times == sorted(times)
        assert times[0] >= started
        assert times[-1] <= time.time_ns()
        # Five times as fast as some 25 a second.
        assert 40 < len(times) / ((times[-1] - times[0]) / SECOND) < 400
        following.cancel()
    assert server.failure is None


def test_without_history_the_policy_is_still_to_come() -> None:
    begin = time.time_ns()
    with DemoServer(seed=2, speed=100, history=False) as live, Client(live.address) as asker:
        assert live.begin_time >= begin
        assert live.policy_time == live.begin_time + 120 * SECOND // 100
        cut = "api.github.com"
        tries = flow_pb2.FlowFilter(
            source_pod=["weather/"],
            destination_fqdn=[cut],
            event_type=[flow_pb2.EventTypeFilter(type=5)],
        )
        call = asker.flows(follow=True, first=False, number=100, whitelist=[tries])
        told: list[flow_pb2.Flow] = []
        for response in call:
            if response.HasField("flow"):
                told.append(response.flow)
                if told[-1].verdict == flow_pb2.DROPPED:
                    break
        call.cancel()
    assert told[0].verdict == flow_pb2.FORWARDED
    assert [flow.verdict for flow in told[:-1]] == [flow_pb2.FORWARDED] * (len(told) - 1)
    assert told[0].time.ToNanoseconds() >= begin
    # The machine may be busy, and then the story is late; it is never early.
    assert told[-1].time.ToNanoseconds() >= live.policy_time


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="no clock of a thread here")
def test_a_story_faster_than_the_machine_leaves_room_for_its_readers() -> None:
    with DemoServer(speed=1000) as live, Client(live.address) as asker:
        assert live._writer.ident is not None
        writer = time.pthread_getcpuclockid(live._writer.ident)
        used, began = time.clock_gettime(writer), time.monotonic()
        time.sleep(1.5)
        # It writes half of the time; one that never rests takes all of a core that it can get.
        share = (time.clock_gettime(writer) - used) / (time.monotonic() - began)
        status = asker.ask("ServerStatus", api.ServerStatusRequest(), api.ServerStatusResponse)
        assert status.max_flows == 2 * 16383
    assert 0 < share < 0.75
    assert live.failure is None


def test_a_story_that_breaks_is_not_hushed_up() -> None:
    wrong = LookupError("a deed went wrong")

    def break_down() -> None:
        raise wrong

    server = DemoServer(speed=10)
    server._story.after(PAST + 0.5, break_down)
    with pytest.raises(LookupError) as raised, server:
        until(lambda: server.failure is not None)
    assert raised.value is wrong
    # An error of the owner's own, on its way out, is not replaced.
    server = DemoServer(speed=10)
    server._story.after(PAST + 0.5, break_down)
    server.start()
    until(lambda: server.failure is not None)
    own = KeyError("the owner's")
    server.__exit__(KeyError, own, None)


def test_two_followers_see_the_same() -> None:
    with DemoServer(speed=20) as server:
        seen: dict[int, list[str]] = {}

        def follow(which: int) -> None:
            with Client(server.address) as client:
                call = client.flows(follow=True, number=1)
                seen[which] = [f.uuid for f in only_flows(next(call) for _ in range(300))]
                call.cancel()

        threads = [threading.Thread(target=follow, args=(which,)) for which in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        common = set(seen[1]) & set(seen[2])
        assert len(common) > 200
        assert [u for u in seen[1] if u in common] == [u for u in seen[2] if u in common]


def test_stopping_ends_followers_with_ok_and_at_once() -> None:
    with DemoServer() as server, Client(server.address) as client:
        following = client.flows(follow=True)
        next(following)
        began = time.monotonic()
        server.stop()
        list(following)
        assert following.code() is grpc.StatusCode.OK
        assert time.monotonic() - began < 1.5
        server.stop()


def test_a_client_that_does_not_read_holds_nothing_up_and_is_told() -> None:
    with DemoServer(speed=1000, capacity=511) as server, Client(server.address) as client:
        slow = client.flows(follow=True, since={"seconds": 1})
        next(slow)

        def seen() -> int:
            status = client.ask("ServerStatus", api.ServerStatusRequest(), api.ServerStatusResponse)
            assert status.num_flows <= 2 * 511
            return int(status.seen_flows)

        until(lambda: seen() > 25_000, 15)
        lost = 0
        for response in slow:
            if response.lost_events.source == flow_pb2.HUBBLE_RING_BUFFER:
                lost += response.lost_events.num_events_lost
                break
        assert lost > 0
        slow.cancel()


def test_streams_are_bounded(whole: DemoServer) -> None:
    with Client(whole.address) as client:
        calls = [client.flows(follow=True) for _ in range(service.MAX_STREAMS)]
        for call in calls:
            next(call)
        with pytest.raises(grpc.RpcError) as refused:
            next(client.flows(number=1))
        error: Any = refused.value
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # Calls that answer at once still do.
        client.ask("ServerStatus", api.ServerStatusRequest(), api.ServerStatusResponse)
        for call in calls:
            call.cancel()

        def free() -> bool:
            try:
                return bool(list(client.flows(number=1)))
            except grpc.RpcError:
                return False

        until(free)


@pytest.mark.filterwarnings("ignore:.*events were lost")
def test_flowwatch_counts_the_truth_through_its_own_client(
    whole: DemoServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    frame = flowwatch.read(server=whole.address, namespace="weather")
    outcomes = ["forwarded", "dropped", "audited", "errors", "unknown"]
    counted = {
        (row["namespace"], row["pod"], row["peer"], row["port"], row["protocol"]): {
            outcome: row[outcome] for outcome in outcomes if row[outcome]
        }
        for row in frame.to_dict("records")
    }
    truth = {tuple(key): counts for key, counts in whole.truth.counts("weather").items()}
    assert len(truth) == 24
    assert counted == truth


def test_new_records_end_after_the_duration() -> None:
    with DemoServer(speed=10, duration=0.3) as server, Client(server.address) as client:
        until(lambda: not server._writer.is_alive(), 3)
        ended = only_flows(client.flows())
        assert ended[-1].time.ToNanoseconds() < server.begin_time + (PAST + 0.4) * SECOND


def test_an_address_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(FlowwatchError, match=f"can't serve on 127.0.0.1:{port}: give a free"):
            DemoServer(f"127.0.0.1:{port}").start()
    with pytest.raises(FlowwatchError, match="can't serve on nonsense"):
        DemoServer("nonsense").start()
    with DemoServer() as one, pytest.raises(FlowwatchError, match="can't serve"):
        DemoServer(one.address).start()


def test_it_serves_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "hubble.sock"
    with DemoServer(f"unix://{path}", live=False, duration=20) as server:
        assert server.address == f"unix://{path}"
        with Client(server.address) as client:
            assert only_flows(client.flows(number=1))


@pytest.mark.parametrize(
    "arguments", [{"speed": 0}, {"speed": 1001}, {"duration": 0}, {"duration": 9999, "live": False}]
)
def test_values_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"invalid (speed|duration)"):
        DemoServer(**arguments)
