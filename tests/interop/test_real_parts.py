"""The real parts themselves: if these fail, no other test in this folder means anything."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.interop.build import HUBBLE
from tests.interop.real import (
    Certificates,
    Follow,
    Observer,
    PartFailed,
    Relay,
    hubble,
    wait_until,
)
from tests.material import OWN, SHARED, where_shared

CHECKOUT = Path(__file__).parents[2]


def flow(n: int, **fields: object) -> dict[str, object]:
    """A flow that can be told from others by its port, one second after the one before."""
    return {
        "time": f"2026-01-31T12:{n // 60:02}:{n % 60:02}Z",
        "verdict": "FORWARDED",
        "l4": {"TCP": {"source_port": 40000 + n, "destination_port": 443}},
        "source": {"namespace": "weather", "pod_name": "weather-app-1"},
        **fields,
    }


def ports(output: str) -> list[int]:
    """The source ports in the CLI's JSON lines, in order."""
    flows = [json.loads(line)["flow"] for line in output.splitlines()]
    return [f["l4"]["TCP"]["source_port"] for f in flows]


def observe(*args: str, server: Observer | Relay) -> list[int]:
    """The source ports that the CLI gets."""
    return ports(hubble("observe", "-o", "jsonpb", *args, server=server, check=True).stdout)


@pytest.mark.parametrize(
    ("name", "records", "skipped"),
    [
        ("weather.jsonl", 64, 0),
        ("bare.jsonl", 3, 0),
        ("array.json", 3, 0),
        ("lost-events.json", 0, 1),
        ("malformed.jsonl", 2, 1),
        ("small.jsonl.gz", 3, 0),
        ("empty.jsonl", 0, 0),
    ],
)
def test_observer_serves_a_capture(name: str, records: int, skipped: int) -> None:
    assert_served(OWN / "captures" / name, records, skipped)


@where_shared(
    "captures",
    "name,records,skipped",
    [
        ("hubble-otel/basic-sample-348-http-flows.json", 348, 0),
        ("hubble-otel/basic-sample-400-tcp-flows.json", 400, 0),
        ("cilium-docs/export.rst.jsonl", 2, 0),
        ("accuknox/TC_07_egress_toFQDNs_single_port.json", 2, 0),
        ("misc/flowguarder.protojson.jsonl", 5, 0),
        ("misc/lost-events.json", 0, 1),  # of a kind that is made for each reader, not stored
        ("malformed/malformed.jsonl", 2, 1),
        ("malformed/small.jsonl.gz", 3, 0),
        ("malformed/empty.jsonl", 0, 0),
    ],
)
def test_observer_serves_a_published_capture(name: str, records: int, skipped: int) -> None:
    assert_served(SHARED / "captures" / name, records, skipped)


def assert_served(capture: Path, records: int, skipped: int) -> None:
    with Observer(captures=[capture]) as observer:
        lines = hubble("observe", "--all", "-o", "jsonpb", server=observer, check=True).stdout
        assert lines.count('{"flow":') == records
        assert (observer.records, observer.skipped) == (records, skipped)


def test_written_records_can_be_read_at_once() -> None:
    with Observer() as observer:
        observer.write(flow(0))
        with Follow("observe", "-f", "-o", "jsonpb", server=observer) as cli:
            # A follower gets the newest old record too; from then on its stream is open.
            assert ports(cli.line()) == [40000]
            for n in (1, 2):
                assert observer.write(flow(n)) == n + 1
                assert ports(cli.line()) == [40000 + n]
        assert observe("--last", "2", server=observer) == [40001, 40002]
        assert observe("--first", "2", server=observer) == [40000, 40001]
        assert observe("--since", "2026-01-31T12:00:01Z", server=observer) == [40001, 40002]
        assert observe("--until", "2026-01-31T12:00:01Z", server=observer) == [40000, 40001]


def test_hold_back_keeps_the_newest_as_an_agent_does() -> None:
    with Observer(hold_back=True) as observer:
        observer.write(*(flow(n) for n in range(12)))
        assert observe("--all", server=observer) == [40000 + n for n in range(11)]


def test_lost_events_come_through() -> None:
    lost = {"source": "PERF_EVENT_RING_BUFFER", "num_events_lost": "7", "cpu": 1}
    with Observer(node="c1/w1") as observer:
        observer.write({"lost_events": lost, "time": "2026-01-31T12:00:00Z"}, flow(1))
        first, _ = hubble("observe", "--all", "-o", "jsonpb", server=observer).stdout.splitlines()
        assert json.loads(first) == {
            "lost_events": lost,
            "node_name": "c1/w1",
            "time": "2026-01-31T12:00:00Z",
        }


def test_a_reader_that_is_too_slow_is_told_once_a_second() -> None:
    with (
        Observer(capacity=63, rate=20000) as observer,
        Follow("observe", "-f", "-o", "jsonpb", server=observer) as cli,
    ):
        notices: list[dict[str, str]] = []
        while len(notices) < 2:
            notices += filter(None, [json.loads(cli.line()).get("lost_events")])
    assert {notice["source"] for notice in notices} == {"HUBBLE_RING_BUFFER"}
    assert notices[1]["last"] > notices[1]["first"] > notices[0]["last"]


def test_a_bad_record_is_said_and_the_others_are_written() -> None:
    with Observer() as observer:
        with pytest.raises(PartFailed, match="neither a flow nor lost events"):
            observer.write(flow(1), {"node_status": {"message": "x"}}, flow(2))
        assert observe("--all", server=observer) == [40001, 40002]


def test_status_and_namespaces_are_filled_by_hubble_itself() -> None:
    with Observer() as observer:
        observer.write(*(flow(n, destination={"namespace": "kube-system"}) for n in range(5)))
        status = json.loads(hubble("status", "-o", "json", server=observer, check=True).stdout)
        assert status["seen_flows"] == "5"
        spaces = hubble("list", "namespaces", server=observer, check=True).stdout.split()
        assert spaces == ["NAMESPACE", "kube-system", "weather"]


def test_made_up_records_fill_the_ring_exactly() -> None:
    with Observer(generate=2000, capacity=1023) as observer:
        lines = hubble("observe", "--all", "-o", "jsonpb", server=observer).stdout.splitlines()
        assert sum(line.startswith('{"flow":') for line in lines) == 1023
        dropped = ("--verdict", "DROPPED", "--type", "drop", "--drop-reason-desc", "POLICY_DENIED")
        assert "Policy denied DROPPED" in hubble("observe", *dropped, server=observer).stdout


def test_made_up_records_keep_coming_at_the_rate() -> None:
    with Observer(rate=1000) as observer:

        def seen() -> int:
            status = json.loads(hubble("status", "-o", "json", server=observer, check=True).stdout)
            return int(status["seen_flows"])

        started, before = time.monotonic(), seen()
        time.sleep(2.0)
        rate = (seen() - before) / (time.monotonic() - started)
        assert 700 < rate < 1300


def test_restart_takes_the_same_address_with_an_empty_ring() -> None:
    with Observer() as observer:
        observer.write(flow(1))
        address = observer.address
        observer.kill()
        assert hubble("observe", server=address).returncode == 1
        observer.restart()
        assert observer.address == address
        assert observe("--all", server=observer) == []


def test_a_hanging_observer_answers_when_it_goes_on() -> None:
    with Observer() as observer:
        observer.write(flow(1))
        observer.hang()
        with pytest.raises(subprocess.TimeoutExpired):
            hubble("observe", "--all", server=observer, timeout=1.0)
        observer.go_on()
        assert observe("--all", server=observer) == [40001]


def test_relay_joins_two_nodes_and_survives_one_dying() -> None:
    with Observer(node="c1/w1") as one, Observer(node="c1/w2") as two, Relay([one, two]) as relay:
        one.write(flow(1), flow(3))
        two.write(flow(2), flow(4))
        assert observe("--all", server=relay) == [40001, 40002, 40003, 40004]
        assert {n.state for n in relay.nodes().values()} == {"NODE_CONNECTED"}

        two.kill()
        relay.wait_for("c1/w2", "NODE_UNAVAILABLE")
        assert observe("--all", server=relay) == [40001, 40003]

        two.restart()
        two.write(flow(5))
        relay.wait_for("c1/w2")
        assert observe("--all", server=relay) == [40001, 40003, 40005]


def test_relay_learns_of_nodes_that_come_and_go() -> None:
    with Observer(node="w1") as one, Observer(node="w2") as two, Relay([one]) as relay:
        assert list(relay.nodes()) == ["w1"]
        relay.add(two)
        relay.wait_for("w2")
        relay.remove("w1")
        wait_until(lambda: list(relay.nodes()) == ["w2"], "w1 to be forgotten")


def test_relay_gets_to_serving() -> None:
    with Observer() as observer, Relay([observer]) as relay:
        relay.wait_until_serving()
        assert "Connected Nodes: 1/1" in hubble("status", server=relay, check=True).stdout


def test_tls_with_client_certificates(tmp_path: Path) -> None:
    made = Certificates.make(tmp_path, "*.default.hubble-grpc.cilium.io")
    name = "w1.default.hubble-grpc.cilium.io"
    trust = ("--tls", "--tls-ca-cert-files", made.ca, "--tls-server-name", name)
    shown = ("--tls-client-cert-file", made.client, "--tls-client-key-file", made.client_key)
    with Observer(tls=made, ask_client=True) as observer:
        observer.write(flow(1))
        assert hubble("observe", "--all", server=observer).returncode == 1
        assert hubble("observe", "--all", *trust, server=observer).returncode == 1
        assert hubble("observe", "--all", *trust, *shown, server=observer, check=True).stdout


def test_relay_with_tls_on_both_sides(tmp_path: Path) -> None:
    made = Certificates.make(
        tmp_path, "*.hubble-relay.cilium.io", "*.default.hubble-grpc.cilium.io"
    )
    with (
        Observer(node="w1", tls=made, ask_client=True) as observer,
        Relay([observer], tls=made, node_tls=made) as relay,
    ):
        observer.write(flow(1))
        assert relay.nodes()["w1"].state == "NODE_CONNECTED"
        assert hubble("observe", "--all", server=relay).returncode == 1
        assert observe("--all", *map(str, relay.trust), server=relay) == [40001]


def test_nobodys_configuration_reaches_the_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBBLE_SERVER", "elsewhere:1")
    shown = hubble("config", "view", check=True).stdout
    assert "server: localhost:4245" in shown
    assert (
        "server: elsewhere:1"
        in hubble("config", "view", env={"HUBBLE_SERVER": "elsewhere:1"}).stdout
    )


def test_programs_end_when_the_interpreter_is_killed() -> None:
    script = """
import time
from tests.interop.real import Observer, Relay
with Observer() as observer, Relay([observer]) as relay:
    print(observer.program.pid, relay.program.pid, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as doomed:
        assert doomed.stdout is not None
        pids = [int(word) for word in doomed.stdout.readline().split()]
        doomed.send_signal(signal.SIGKILL)
    assert len(pids) == 2

    def ended(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # Where nobody collects orphans (a container's first process may not) a zombie remains.
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().rpartition(") ")[2].startswith("Z")

    wait_until(lambda: all(ended(pid) for pid in pids), "the orphans to end")


@pytest.mark.parametrize("ci", [False, True])
def test_without_go_the_tests_skip_but_fail_in_ci(tmp_path: Path, ci: bool) -> None:
    env = {
        "PATH": str(tmp_path),
        "FLOWWATCH_INTEROP_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path),
        **({"CI": "true"} if ci else {}),
    }
    this = f"{Path(__file__).relative_to(CHECKOUT)}::test_nobodys_configuration_reaches_the_cli"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-rs", "-p", "no:cacheprovider", this],
        cwd=CHECKOUT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Go is not installed" in done.stdout
    assert done.returncode == (1 if ci else 0)
    assert ("1 skipped" in done.stdout) is not ci


def test_the_go_side_passes_its_own_tests() -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed, the binaries are from the cache")
    done = subprocess.run(
        [go, "test", "./..."],
        cwd=HUBBLE,
        env={**os.environ, "GOWORK": "off"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
