"""``flowwatch doctor`` on the real observer and relay: each state of a cluster names its cause."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.command import clean_environment, flowwatch
from tests.interop.control_plane import ControlPlane
from tests.interop.kubeapi import RIGHTS, KubeApi
from tests.interop.real import Certificates, Observer, Program, Relay, build, free_port

RELAY_NAME = "instance.hubble-relay.cilium.io"
STEPS = [
    "flowwatch",
    *("config", "kubeconfig", "port-forward", "name", "tcp", "tls", "health", "version", "nodes"),
    *("ring", "flows", "lost", "verdicts", "options", "dns", "aggregation", "clocks"),
]


@dataclass(frozen=True)
class Answer:
    code: int
    steps: dict[str, dict[str, str]]

    def of(self, name: str) -> tuple[str, str]:
        """State and everything that is said."""
        step = self.steps[name]
        return step["state"], f"{step['what']} → {step['next']}"

    def states(self, *names: str) -> set[str]:
        return {self.steps[name]["state"] for name in names}

    @property
    def failed(self) -> list[str]:
        return [name for name, step in self.steps.items() if step["state"] == "fail"]


def doctor(*arguments: str | Path, env: dict[str, str] | None = None) -> Answer:
    told = flowwatch("doctor", "-o", "json", *arguments, env=env)
    return answer(told)


def answer(told: subprocess.CompletedProcess[str]) -> Answer:
    assert told.stderr == ""
    rows = json.loads(told.stdout)
    assert [row["name"] for row in rows] == STEPS
    assert all(set(row) == {"name", "state", "what", "next"} for row in rows)
    found = Answer(told.returncode, {row["name"]: row for row in rows})
    assert found.code == bool(found.failed)
    return found


def after(name: str) -> list[str]:
    return STEPS[STEPS.index(name) + 1 :]


def only_failed(found: Answer, name: str) -> str:
    """What is said of the one step that failed; all later ones must say that it's why."""
    assert found.failed == [name]
    for later in after(name):
        assert found.of(later)[0] == "skipped"
        assert f"as {name} failed" in found.of(later)[1]
    return found.of(name)[1]


# Records ------------------------------------------------------------------------------------


def flow(at: datetime, port: int, **more: Any) -> dict[str, Any]:
    """A trace record of a TCP packet that reached an endpoint."""
    return {
        "time": at.isoformat().replace("+00:00", "Z"),
        "verdict": "FORWARDED",
        "IP": {"source": "10.0.1.7", "destination": "10.0.2.9", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": port, "destination_port": 443, "flags": {"SYN": True}}},
        "source": {"identity": 1234, "namespace": "shop", "pod_name": "cart-0"},
        "destination": {"identity": 4321, "namespace": "shop", "pod_name": "pay-0"},
        "Type": "L3_L4",
        "event_type": {"type": 4},
        "traffic_direction": "EGRESS",
        "is_reply": False,
    } | more


def drop(at: datetime, port: int) -> dict[str, Any]:
    return flow(
        at,
        port,
        verdict="DROPPED",
        drop_reason_desc="POLICY_DENIED",
        event_type={"type": 1, "sub_type": 133},
    )


def now(offset: float = 0.0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=offset)


def written(observer: Observer, *records: dict[str, Any]) -> Answer:
    observer.write(*records)
    return doctor("--server", observer.address)


# What is there ---------------------------------------------------------------------------------


def test_nothing_listens() -> None:
    address = f"127.0.0.1:{free_port()}"
    words = only_failed(doctor("--server", address), "tcp")
    assert f"cannot connect to {address}: connection refused → check --server" in words


def test_nothing_listens_where_nothing_was_said() -> None:
    """The default address, which somebody may be listening on."""
    with socket.socket() as taken:
        if taken.connect_ex(("127.0.0.1", 4245)) == 0:
            pytest.skip("something listens on port 4245 of this machine")
    words = only_failed(doctor("--no-port-forward"), "tcp")
    assert "give --server, or reach relay with kubectl" in words


def test_a_name_that_does_not_resolve() -> None:
    words = only_failed(doctor("--server", "relay.invalid:4245"), "name")
    assert "relay.invalid does not resolve" in words
    assert "check the name in --server" in words


def test_a_plain_observer() -> None:
    with Observer(node="worker7", generate=3000, rate=50) as observer:
        found = doctor("--server", observer.address)
    assert found.code == 0
    assert found.states("config", "tcp", "tls", "health", "version", "ring", "flows") == {"ok"}
    state, words = found.of("nodes")
    assert state == "warn"
    assert "one node's observer" in words
    assert "ask relay" in words
    assert found.of("config")[1].startswith(f"no config file; server {observer.address} (--server)")
    assert "in 4 s of listening" in found.of("flows")[1]
    assert "3,0" in found.of("ring")[1].split(" of ")[0]
    assert found.of("verdicts")[0] == "ok"
    assert found.of("clocks") == ("ok", "worker7's clock and ours agree within 3 s → ")


def test_relay_with_a_dead_node() -> None:
    with (
        Observer(node="c1/one", generate=500, rate=20) as one,
        Observer(node="c1/two", generate=500, seed=2, rate=20) as two,
        Relay([one, two]) as relay,
    ):
        relay.wait_until_serving()
        well = doctor("--server", relay.address)
        assert well.code == 0
        assert well.of("nodes") == ("ok", "all 2 connected: c1/one, c1/two → ")
        assert "(relay)" in well.of("version")[1]
        two.kill()
        relay.wait_for("c1/two", "NODE_UNAVAILABLE")
        found = doctor("--server", relay.address)
    assert found.failed == ["nodes"]
    assert "1 of 2 connected; missing: c1/two → what these nodes see" in found.of("nodes")[1]
    # The rest is still looked at.
    assert found.states("ring", "flows", "clocks") == {"ok"}


def test_relay_with_no_node_at_all() -> None:
    with Relay([("c1/gone", f"127.0.0.1:{free_port()}")]) as relay:
        relay.wait_for("c1/gone", "NODE_UNAVAILABLE")
        found = doctor("--server", relay.address)
    assert found.failed == ["health", "nodes"]
    assert "NOT_SERVING" in found.of("health")[1]
    assert "0 of 1 connected; missing: c1/gone" in found.of("nodes")[1]


# TLS -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Secured:
    good: Certificates
    other: Certificates
    servers: dict[str, Observer]

    def server(self, name: str) -> str:
        return f"localhost:{self.servers[name].address.rpartition(':')[2]}"

    def ask(self, name: str, words: str) -> Answer:
        files = {"CA": self.good.ca, "OTHER-CA": self.other.ca}
        files |= {"CERT": self.good.client, "KEY": self.good.client_key}
        flags = [files.get(word, word) for word in words.split()]
        return doctor("--server", self.server(name), *flags)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    def make(folder: str, *names: str, valid: tuple[str, str] | None = None) -> Certificates:
        return Certificates.make(tmp_path_factory.mktemp(folder), *names, valid=valid)

    good = make("good", "localhost")
    kinds: dict[str, Observer] = {
        "plain": Observer(generate=50),
        "tls": Observer(generate=50, tls=good),
        "relay-like": Observer(generate=50, tls=make("relay", "*.hubble-relay.cilium.io")),
        "mutual": Observer(generate=50, tls=good, ask_client=True),
    }
    started: list[Observer] = []
    try:
        started.extend(one.start() for one in kinds.values())
        yield Secured(good, make("other", "localhost"), kinds)
    finally:
        for one in started:
            one.kill()


# server, flags, words that must stand in what is said of TLS
FAULTS = [
    ("tls", "", "speaks TLS → add --tls,"),
    ("relay-like", "", f"speaks TLS → add --tls --tls-server-name {RELAY_NAME},"),
    ("plain", "--tls", "does not speak TLS → leave out --tls"),
    (
        "tls",
        "--tls",
        "is issued by flowwatch test CA, which is not vouched for by this system's CAs",
    ),
    ("tls", "--tls --tls-ca-cert-files OTHER-CA", "secret hubble-relay-server-certs"),
    ("relay-like", "--tls --tls-ca-cert-files OTHER-CA", "is issued by flowwatch test CA"),
    (
        "tls",
        "--tls --tls-ca-cert-files CA --tls-server-name relay.example",
        "is for localhost, not for relay.example → give --tls-server-name localhost",
    ),
    ("mutual", "--tls --tls-ca-cert-files CA", "wants a client certificate → give"),
    ("tls", "--tls --tls-ca-cert-files /none", "cannot load cert '/none'"),
]


@pytest.mark.parametrize(("server", "flags", "words"), FAULTS)
def test_tls_that_fails(server: str, flags: str, words: str, secured: Secured) -> None:
    assert words in only_failed(secured.ask(server, flags), "tls")


@pytest.mark.parametrize(
    ("server", "flags", "words"),
    [
        # The test's certificates are good for a day.
        ("tls", "--tls --tls-ca-cert-files CA", "TLS 1.3, verified for localhost; certificate"),
        (
            "mutual",
            "--tls --tls-ca-cert-files CA --tls-client-cert-file CERT --tls-client-key-file KEY",
            "less than a day more → see that it is renewed",
        ),
        ("tls", "--tls --tls-allow-insecure", "nobody vouches for the server"),
        ("relay-like", "--tls --tls-allow-insecure", "nobody vouches for the server"),
    ],
)
def test_tls_that_works_with_something_to_say(
    server: str, flags: str, words: str, secured: Secured
) -> None:
    found = secured.ask(server, flags)
    assert found.failed == []
    state, said = found.of("tls")
    assert state == "warn"
    assert words in said


@pytest.mark.parametrize(
    ("valid", "words"),
    [(("-48h", "-25h"), "expired on 20"), (("24h", "48h"), "is valid from 20")],
)
def test_dates(valid: tuple[str, str], words: str, tmp_path: Path) -> None:
    made = Certificates.make(tmp_path, "localhost", valid=valid)
    with Observer(generate=10, tls=made) as observer:
        address = f"localhost:{observer.address.rpartition(':')[2]}"
        for trust in (("--tls-ca-cert-files", made.ca), ("--tls-allow-insecure",)):
            said = only_failed(doctor("--server", address, "--tls", *trust), "tls")
            assert f"the server's certificate of {address}" in said
            assert words in said
            assert "check this machine's clock" in said


def test_a_certificate_with_weeks_left_is_well(tmp_path: Path) -> None:
    made = Certificates.make(tmp_path, "localhost", valid=("-1h", f"{24 * 40 + 1}h"))
    with Observer(generate=10, tls=made) as observer:
        address = f"localhost:{observer.address.rpartition(':')[2]}"
        found = doctor("--server", address, "--tls", "--tls-ca-cert-files", made.ca)
    # The CA's own, which ends tomorrow, isn't in the chain that the server shows.
    assert found.of("tls")[0] == "ok"
    assert "is valid for 40 days more" in found.of("tls")[1]


# Servers that are something else -----------------------------------------------------------------


def test_a_web_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                with near:
                    near.recv(4096)
                    near.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        said = only_failed(doctor("--server", address), "tls")
        listener.shutdown(socket.SHUT_RDWR)
    assert f"{address} is a web server (HTTP/1), not Hubble" in said


def test_a_server_that_hangs_is_given_up() -> None:
    with Observer(generate=50) as observer:
        observer.hang()
        began = time.monotonic()
        said = only_failed(doctor("--server", observer.address), "tls")
        assert time.monotonic() - began < 30
    assert "says nothing" in said


def test_another_grpc_server() -> None:
    peer = Program([build().peer])
    try:
        found = doctor("--server", str(peer.answer()["address"]))
    finally:
        peer.kill()
    assert found.failed == ["health", "version"]
    assert "is not a Hubble server" in found.of("health")[1]
    assert found.states(*after("version")) == {"skipped"}


# What the records say ----------------------------------------------------------------------------


def test_no_policy_verdicts_and_no_dns() -> None:
    with Observer() as observer:
        records = [flow(now(-60 + at), 40000 + at) for at in range(20)]
        found = written(observer, *records)
    assert found.code == 0
    state, words = found.of("verdicts")
    assert state == "warn"
    assert "no policy-verdict record is in the ring" in words
    assert "if no policy selects a pod that talks, that is right" in words
    state, words = found.of("dns")
    assert state == "warn"
    assert "no DNS names come: policies with toFQDNs can't be checked" in words
    assert 'matchPattern: "*"' in words


def test_drops_without_verdicts_say_that_they_are_off() -> None:
    with Observer() as observer:
        found = written(observer, *(drop(now(-10), 40000 + at) for at in range(5)))
    state, words = found.of("verdicts")
    assert state == "warn"
    assert "dropped by policy, but no policy-verdict record" in words
    assert "bpf.events.policyVerdict.enabled=true" in words


def test_dns_past_the_proxy_is_told_from_no_dns() -> None:
    query = {"l4": {"UDP": {"source_port": 5000, "destination_port": 53}}}
    with Observer() as observer:
        found = written(observer, *(flow(now(-10 + at), 40000, **query) for at in range(5)))
    assert "past the proxy" in found.of("dns")[1]


def test_names_that_come() -> None:
    with Observer() as observer:
        named = flow(now(-5), 40001, destination_names=["api.example.com"])
        found = written(observer, flow(now(-9), 40000), named, flow(now(-1), 40002))
    assert found.of("dns")[0] == "ok"
    assert "as api.example.com" in found.of("dns")[1]


def test_an_empty_ring() -> None:
    with Observer() as observer:
        found = doctor("--server", observer.address)
    assert found.code == 0
    assert found.of("ring")[0] == found.of("flows")[0] == "warn"
    assert "none can be read yet" in found.of("ring")[1]
    assert found.states("verdicts", "dns", "aggregation", "clocks") == {"skipped"}


def test_a_ring_that_wraps_and_a_clock_that_is_ahead() -> None:
    with Observer(capacity=63, node="fast") as observer:
        found = written(observer, *(flow(now(90 + at / 10), 40000 + at) for at in range(100)))
    state, words = found.of("clocks")
    assert state == "warn"
    assert re.match(r"fast is \d+ s ahead of this machine → ", words)
    assert "NTP" in words
    state, words = found.of("ring")
    assert state == "warn"
    assert "hubble.eventBufferCapacity" in words


def test_lost_events_are_told_by_source_and_node() -> None:
    lost = {
        "lost_events": {"source": "PERF_EVENT_RING_BUFFER", "num_events_lost": 41, "cpu": 1},
        "node_name": "busy",
        "time": now(-4).isoformat().replace("+00:00", "Z"),
    }
    with Observer(node="busy") as observer:
        found = written(observer, flow(now(-9), 40000), lost, flow(now(-1), 40002))
    state, words = found.of("lost")
    assert state == "warn"
    assert "41 by PERF_EVENT_RING_BUFFER on busy (the kernel made events faster" in words


def test_aggregation_is_told_by_what_is_left_out() -> None:
    ack = {"l4": {"TCP": {"source_port": 1, "destination_port": 2, "flags": {"ACK": True}}}}
    kinds: dict[str, list[dict[str, Any]]] = {
        "off:": [flow(now(-9), 40000, event_type={"type": 4, "sub_type": 5}) for _ in range(3)],
        "low:": [flow(now(-9 + at), 40000, **ack) for at in range(3)],
        "medium or more": [flow(now(-30 + 6 * at), 40000, **ack) for at in range(3)],
    }
    for words, records in kinds.items():
        with Observer() as observer:
            found = written(observer, *records, flow(now(-1), 50000))
        assert found.of("aggregation")[1].startswith(words)


# Config, the way through the Kubernetes API, and text -----------------------------------------------


def test_the_config_file_and_where_each_value_came_from(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("server: localhost:1\ntls-server-name: from.file\nrequest-timeout: nonsense\n")
    found = doctor(
        "--config", file, "--timeout", "2s",
        env={"HUBBLE_SERVER": "127.0.0.1:1", "HUBBLE_BASIC_AUTH_PASSWORD": "hunter2"},
    )  # fmt: skip
    state, words = found.of("config")
    assert state == "warn"
    assert "server 127.0.0.1:1 (HUBBLE_SERVER)" in words
    assert "tls-server-name from.file (file)" in words
    assert "timeout 2 s (--timeout)" in words
    assert "request-timeout is ignored" in words
    assert "hunter2" not in json.dumps(found.steps)


def test_through_the_kubernetes_api_with_mutual_tls(api: ControlPlane, tmp_path: Path) -> None:
    (tmp_path / "relay").mkdir()
    made = Certificates.make(tmp_path / "relay", "*.hubble-relay.cilium.io")
    with (
        Observer(generate=300) as observer,
        Relay([observer], tls=made, ask_client=True) as relay,
        KubeApi(api) as kube,
    ):
        relay.wait_until_serving()
        kube.put_relay(relay.address)
        kube.put_secret("hubble-relay-server-certs", {"ca.crt": made.ca})
        client = {"tls.crt": made.client, "tls.key": made.client_key}
        kube.put_secret("hubble-ui-client-certs", client)
        words = ("--kubeconfig", kube.kubeconfig(tmp_path), "-P", "--port-forward-port", "0")
        found = doctor(*words, "--tls-from-secret")
        assert found.failed == []
        assert found.states("kubeconfig", "port-forward", "health", "nodes") == {"ok"}
        assert "to pod hubble-relay-" in found.of("port-forward")[1]
        assert "certificates taken from" in found.of("port-forward")[1]
        assert f"verified for {RELAY_NAME}" in found.of("tls")[1]
        assert kube.token not in json.dumps(found.steps)
        # Who has no right to the agents' options is told what isn't known.
        state, told = found.of("options")
        # Among what is generated are records of audit mode, so that this much is known.
        assert (state, "AUDIT records come" in told) == ("warn", True)
        assert "no right to get configmaps/cilium-config" in told
        # Without the secrets relay's TLS stands in the way, and the step says so.
        assert "speaks TLS → add --tls-from-secret" in only_failed(doctor(*words), "tls")
    assert "does not accept" in only_failed(doctor(*words), "port-forward"), "the user is gone"


def test_by_itself_through_the_kubernetes_api(api: ControlPlane, tmp_path: Path) -> None:
    with socket.socket() as taken:
        if taken.connect_ex(("127.0.0.1", 4245)) == 0:
            pytest.skip("something listens on port 4245 of this machine")
    with (
        Observer(generate=100) as observer,
        Relay([observer]) as relay,
        KubeApi(api) as kube,
    ):
        relay.wait_until_serving()
        kube.put_relay(relay.address)
        found = doctor(env={"KUBECONFIG": str(kube.kubeconfig(tmp_path))})
    assert found.failed == []
    assert found.states("config", "kubeconfig", "port-forward", "tls", "nodes") == {"ok"}
    assert "nothing answers on localhost:4245, so this way" in found.of("kubeconfig")[1]


def test_the_agents_options_are_read_from_the_cluster(api: ControlPlane, tmp_path: Path) -> None:
    with (
        Observer(node="default/one") as observer,
        Relay([observer]) as relay,
        KubeApi(api) as kube,
    ):
        observer.write(*(flow(now(-9 + at), 40000 + at) for at in range(5)))
        relay.wait_until_serving()
        kube.put_relay(relay.address)
        rights = [right.split() for right in (*RIGHTS, "get configmaps")]
        kube.allow_only([{"apiGroups": [""], "verbs": [v], "resources": [r]} for v, r in rights])
        words = ("--kubeconfig", kube.kubeconfig(tmp_path), "-P", "--port-forward-port", "0")
        state, told = doctor(*words).of("options")
        assert state == "skipped"
        assert "there is no configmap cilium-config in namespace kube-system" in told
        data = {"cluster-name": "default", "policy-cidr-match-mode": "nodes"}
        kube.put("configmaps", "cilium-config", {"data": data})
        state, told = doctor(*words).of("options")
        assert state == "ok"
        assert "policy-cidr-match-mode: nodes; blocks of addresses" in told
        kube.put("configmaps", "cilium-config", {"data": {"enable-policy": "perhaps"}})
        state, told = doctor(*words).of("options")
        assert state == "skipped"
        assert 'enable-policy: "perhaps": one of default, always, never' in told


def test_audit_records_that_never_come_though_the_mode_is_on(tmp_path: Path) -> None:
    config = tmp_path / "cilium-config.yaml"
    config.write_text('kind: ConfigMap\ndata: {policy-audit-mode: "true"}\n')
    asked = ("--cilium-config", config)
    with Observer(node="default/one") as observer:
        words = ("--server", observer.address, *asked)
        observer.write(drop(now(-3), 40000), flow(now(90), 1), flow(now(91), 2))
        state, told = doctor(*words).of("options")
        assert state == "warn"
        assert "no AUDIT record is in the ring: policies still drop (" in told
        assert "kubectl -n kube-system rollout restart daemonset/cilium" in told
        audited = flow(now(-2), 40001, verdict="AUDIT", event_type={"type": 5})
        observer.write(audited, flow(now(92), 3), flow(now(93), 4))
        state, told = doctor(*words).of("options")
        assert state == "warn"
        assert "what policies deny passes; AUDIT records come, the newest" in told
        # Nobody said the options: the records do.
        state, told = doctor("--server", observer.address).of("options")
        assert (state, "audit mode is on; not known" in told) == ("warn", True)
    config.write_text("kind: ConfigMap\ndata: {policy-audit-mode: maybe}\n")
    told_ = flowwatch("doctor", *asked)
    assert (told_.returncode, told_.stdout) == (2, "")
    assert told_.stderr == (f'flowwatch: {config}:2: policy-audit-mode: "maybe": true or false\n')


def test_a_kubeconfig_that_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("clusters: [\n")
    said = only_failed(doctor("-P", "--kubeconfig", file), "kubeconfig")
    assert str(file) in said


def test_a_port_forward_without_rights(api: ControlPlane, tmp_path: Path) -> None:
    with KubeApi(api) as kube:
        kube.put_relay(f"127.0.0.1:{free_port()}")
        kube.deny("create pods/portforward", "get pods/portforward")
        said = only_failed(
            doctor("-P", "--port-forward-port", "0", "--kubeconfig", kube.kubeconfig(tmp_path)),
            "port-forward",
        )
    assert "portforward" in said


def test_text_in_ascii_where_the_terminal_knows_no_more() -> None:
    address = f"127.0.0.1:{free_port()}"
    told = flowwatch("doctor", "--server", address)
    assert told.returncode == 1
    lines = told.stdout.splitlines()
    assert len(lines) == len(STEPS) + 1
    assert lines[STEPS.index("tcp")].startswith("✗ tcp  ")
    assert " → check --server" in lines[STEPS.index("tcp")]
    assert lines[-1] == "1 step failed"
    plain = flowwatch("doctor", "--server", address, env={"PYTHONIOENCODING": "ascii"})
    assert plain.stdout.isascii()
    assert plain.stdout.splitlines()[STEPS.index("tcp")].startswith("x tcp  ")


def test_each_line_appears_as_its_step_is_done() -> None:
    with Observer(generate=50) as observer, tempfile.TemporaryDirectory() as home:
        words = [sys.executable, "-m", "flowwatch", "doctor", "--server", observer.address]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=clean_environment(home)
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in STEPS[: STEPS.index("flows")]]
            # It listens for seconds now.
            assert process.poll() is None
            assert lines[-1].startswith("✓ ring ")
            lines += process.stdout.readlines()
    assert [line.split()[1] for line in lines[:-1]] == STEPS


@pytest.mark.parametrize("how", ["hang", "kill"])
def test_a_server_that_stops_while_it_is_asked_is_no_quiet_one(how: str) -> None:
    with Observer(generate=200) as observer, tempfile.TemporaryDirectory() as home:
        words = [sys.executable, "-m", "flowwatch", "doctor", "--server", observer.address]
        words += ["--request-timeout", "2s"]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=clean_environment(home)
        ) as process:
            assert process.stdout is not None
            while not process.stdout.readline().startswith("✓ ring "):
                assert process.poll() is None
            getattr(observer, how)()
            lines = process.stdout.readlines()
        assert process.returncode == 1
        assert lines[0].startswith("✗ flows ")
        assert all("not possible, as flows failed" in line for line in lines[1:-1])
        assert len(lines) == len(after("flows")) + 2


def test_names_from_the_network_can_do_nothing() -> None:
    evil = "a\x1b]0;owned\x07\u202e.example"
    with Observer(node="n\x1b[2J") as observer:
        observer.write(
            flow(now(-9), 40000, destination_names=[evil]), flow(now(90), 1), flow(now(91), 2)
        )
        for form in ("text", "json"):
            told = flowwatch("doctor", "--server", observer.address, "-o", form)
            assert told.returncode == 0
            assert not set("\x1b\x07\u202e") & set(told.stdout)
            assert "n\\x1b[2J" in told.stdout.replace("\\\\", "\\")


def test_an_output_that_is_none() -> None:
    told = flowwatch("doctor", "-o", "yaml")
    assert (told.returncode, told.stdout) == (2, "")
