"""The demo server against the real Hubble: its CLI, its filters, its relay over two observers."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowwatch.demo.server import DemoServer
from tests.interop.real import Follow, Observer, Relay, hubble

NODES = ("demo/node-1", "demo/node-2")


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoServer]:
    with DemoServer(seed=4, live=False, duration=150) as server:
        yield server


@pytest.fixture(scope="module")
def dump(demo: DemoServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the demo's records, as the real CLI writes them."""
    path = tmp_path_factory.mktemp("demo") / "all.jsonl"
    path.write_text(observe(demo.address, "--all"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def relay(dump: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """The real relay over two real observers that hold the demo's records."""
    folder = tmp_path_factory.mktemp("nodes")
    files = {}
    for node in NODES:
        files[node] = folder / f"{node.replace('/', '-')}.jsonl"
        lines = [
            line
            for line in dump.read_text(encoding="utf-8").splitlines()
            if json.loads(line)["node_name"] == node
        ]
        files[node].write_text("\n".join(lines), encoding="utf-8")
    with (
        Observer(node=NODES[0], captures=[files[NODES[0]]]) as one,
        Observer(node=NODES[1], captures=[files[NODES[1]]]) as two,
        Relay([one, two]) as made,
    ):
        yield made


def observe(server: str | Relay, *flags: str) -> str:
    return hubble("observe", *flags, "-o", "json", server=server, check=True).stdout


def records(lines: str) -> Counter[str]:
    """What was told, in whatever order (relay's is best effort); node status is not compared."""
    kept: Counter[str] = Counter()
    for line in lines.splitlines():
        record = json.loads(line)
        if "lost_events" in record:
            kept[json.dumps(record["lost_events"], sort_keys=True)] += 1
        elif "flow" in record:
            kept[json.dumps(record, sort_keys=True)] += 1
    return kept


def flows(lines: str) -> list[dict[str, Any]]:
    return [record["flow"] for record in map(json.loads, lines.splitlines()) if "flow" in record]


# Any value that a record may have; both sides must choose the same records.
FILTERS = [
    ["-n", "weather"],
    ["--namespace", "weather", "--verdict", "DROPPED"],
    ["--from-pod", "weather/weather-app", "--to-port", "443"],
    ["--pod", "data/postgres"],
    ["--to-fqdn", "*.github.com"],
    ["--fqdn", "api.openweathermap.org"],
    ["--drop-reason-desc", "POLICY_DENY"],
    ["--drop-reason-desc", "SERVICE_BACKEND_NOT_FOUND"],
    ["--type", "drop"],
    ["--type", "drop:133"],
    ["--type", "trace:to-stack"],
    ["--type", "policy-verdict", "--verdict", "AUDIT"],
    ["--type", "trace-sock"],
    ["--type", "l7", "--verdict", "DROPPED"],
    ["--protocol", "icmp"],
    ["--protocol", "dns"],
    ["--http-status", "200"],
    ["--http-method", "DELETE"],
    ["--http-path", "/api/v1/items.*"],
    ["--label", "k8s:app=weather-app"],
    ["--to-label", "reserved:world", "--not", "--to-port", "443"],
    ["--identity", "world"],
    ["--to-identity", "kube-apiserver"],
    ["--workload", "Deployment/frontend"],
    ["--service", "shop/recommendations"],
    ["--ip", "10.244.0.0/24"],
    ["--to-ip", "169.254.169.254"],
    ["--node-name", "demo/node-2"],
    ["--node-name", "*1"],
    ["--node-label", "kubernetes.io/hostname=node-1"],
    ["--cluster", "demo"],
    ["--traffic-direction", "ingress"],
    ["--reply"],
    ["--not-reply"],
    ["--tcp-flags", "syn,ack"],
    ["--interface", "cilium_vxlan"],
    ["--not", "--namespace", "weather", "--not", "--verdict", "FORWARDED"],
    ["-A"],
    ["-6"],
]


@pytest.mark.parametrize("flags", FILTERS, ids=" ".join)
def test_filters_choose_what_the_real_ones_choose(
    demo: DemoServer, dump: Path, flags: list[str]
) -> None:
    """The oracle is the CLI's own filter code, run on a file of the same records."""
    served = flows(observe(demo.address, "--all", *flags))
    chosen = flows(observe_file(dump, *flags))
    assert [flow["uuid"] for flow in served] == [flow["uuid"] for flow in chosen]
    if flags != ["-6"]:
        assert served


def observe_file(path: Path, *flags: str) -> str:
    words = ["observe", "--input-file", str(path), *flags, "-o", "json"]
    return hubble(*words, check=True).stdout


def middle(dump: Path, part: float) -> str:
    """The time of a record somewhere in the story."""
    lines = dump.read_text(encoding="utf-8").splitlines()
    time: str = json.loads(lines[int(part * len(lines))])["time"]
    return time


@pytest.mark.parametrize(
    "flags",
    [
        ["--all"],
        ["--last", "7"],
        ["--last", "5", "--verdict", "DROPPED"],
        ["--first", "6"],
        ["--first", "4", "-n", "weather"],
        ["--since", "0.4"],
        ["--since", "0.4", "--last", "9"],
        ["--since", "0.7", "--type", "drop"],
        ["--until", "0.3"],
        ["--until", "0.6", "--first", "5"],
        ["--since", "0.3", "--until", "0.5"],
        ["--last", "1", "--field-mask", "time,node_name,source.namespace,l4,verdict"],
        ["--last", "9", "--field-mask", "source.pod_name,destination.labels", "--type", "drop"],
    ],
    ids=" ".join,
)
def test_requests_get_what_the_real_relay_gives(
    demo: DemoServer, relay: Relay, dump: Path, flags: list[str]
) -> None:
    words = [middle(dump, float(word)) if word.startswith("0.") else word for word in flags]
    ours = records(observe(demo.address, *words))
    assert ours == records(observe(relay, *words))
    assert ours


def test_compact_lines_are_the_real_relays(demo: DemoServer, relay: Relay) -> None:
    words = ("observe", "--all", "--print-node-name", "--print-policy-names")
    ours = hubble(*words, server=demo.address, check=True).stdout.splitlines()
    theirs = hubble(*words, server=relay, check=True).stdout.splitlines()
    assert sorted(ours) == sorted(theirs)
    assert len(ours) > 1000


@pytest.mark.parametrize(
    ("verb", "wrong"),
    [
        (["observe", "--first", "3", "--port", "http"], "invalid source port filter"),
        (["observe", "agent-events"], "GetAgentEvents not yet implemented"),
        (["observe", "debug-events"], "GetDebugEvents not yet implemented"),
        (["watch", "peers"], "unknown service peer.Peer"),
    ],
)
def test_errors_read_as_hubbles(demo: DemoServer, verb: list[str], wrong: str) -> None:
    done = hubble(*verb, server=demo.address)
    assert done.returncode == 1
    assert wrong in done.stderr


def test_status_and_lists(demo: DemoServer, relay: Relay) -> None:
    status = hubble("status", server=demo.address, check=True).stdout
    assert f"Healthcheck (via {demo.address}): Ok" in status
    assert "Connected Nodes: 2/2" in status

    def nodes(server: str | Relay) -> list[tuple[str, str]]:
        listed = hubble("list", "nodes", "-o", "json", server=server, check=True).stdout
        return sorted((node["name"], node["state"]) for node in json.loads(listed))

    assert nodes(demo.address) == nodes(relay)

    def namespaces(server: str | Relay) -> list[str]:
        listed = hubble("list", "namespaces", "-o", "json", server=server, check=True).stdout
        return sorted(one["namespace"] for one in json.loads(listed))

    assert namespaces(demo.address) == namespaces(relay)
    assert "weather" in namespaces(demo.address)


def test_the_real_cli_follows_the_story() -> None:
    with (
        DemoServer(speed=10) as live,
        Follow("observe", "-f", "-o", "json", "-n", "weather", server=live.address) as cli,
    ):
        lines: list[dict[str, Any]] = []
        enough = threading.Event()

        def read() -> None:
            while len(lines) < 150:
                record = json.loads(cli.line())
                if "flow" in record:
                    lines.append(record["flow"])
            enough.set()

        threading.Thread(target=read, daemon=True).start()
        assert enough.wait(30)
        ends = [
            {flow["source"].get("namespace"), flow["destination"].get("namespace")}
            for flow in lines
        ]
        assert all("weather" in namespaces for namespaces in ends)
        assert {"FORWARDED", "DROPPED"} <= {flow["verdict"] for flow in lines}
        times = [flow["time"] for flow in lines]
        assert times[0] <= times[-1]


# The keys that a record of each kind has in Hubble's JSON, and those that only some have.
KEYS = {
    1: (
        {"verdict", "drop_reason", "drop_reason_desc", "file", "ethernet", "traffic_direction"},
        {"destination_names", "destination_service"},
    ),
    4: (
        {"verdict", "ethernet", "traffic_direction", "trace_observation_point", "trace_reason"}
        | {"is_reply"},
        {"destination_names", "source_names", "interface", "reply", "proxy_port"},
    ),
    5: (
        {"verdict", "ethernet", "traffic_direction"},
        {"destination_names", "is_reply", "policy_match_type", "drop_reason", "drop_reason_desc"}
        | {"egress_allowed_by", "ingress_allowed_by", "egress_denied_by"},
    ),
    7: (
        {"verdict", "sock_xlate_point", "socket_cookie", "cgroup_id"},
        {"destination_service"},
    ),
    129: ({"verdict", "l7", "traffic_direction", "is_reply"}, {"reply"}),
}
ALL = {"time", "uuid", "emitter", "IP", "l4", "source", "destination", "Type", "node_name"}
ALL |= {"node_labels", "event_type", "Summary"}


def test_keys_of_hubbles_json_by_event_type(dump: Path) -> None:
    kinds = set()
    for flow in flows(dump.read_text(encoding="utf-8")):
        kind = flow["event_type"]["type"]
        always, sometimes = KEYS[kind]
        assert ALL | always <= set(flow) <= ALL | always | sometimes
        kinds.add(kind)
    assert kinds == set(KEYS)
