"""Through the Kubernetes API to relay: the real streaming code, a real relay, with and without TLS."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from flowwatch.errors import FlowwatchError, Refused, Unreachable, UsageError
from flowwatch.hubble.client import forward
from flowwatch.hubble.client.config import Origin, Settings
from flowwatch.hubble.client.connection import connect
from flowwatch.hubble.wire.pb.observer import observer_pb2 as pb
from flowwatch.sources.live import LiveSource
from tests.benchmarks.pty_driver import Terminal, cursor_row
from tests.interop.control_plane import SERVER_NAME, ControlPlane
from tests.interop.kubeapi import KubeApi, write_kubeconfig
from tests.interop.real import Certificates, Observer, Relay, free_port, hubble, wait_until
from tests.proxies import Connect, Proxy, Socks5

POD = "hubble-relay-7d4b9-x2x5k"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Relay's, as Cilium makes them: no address and no localhost in it."""
    folder = tmp_path_factory.mktemp("relay-certs")
    return Certificates.make(folder, "*.hubble-relay.cilium.io")


@pytest.fixture(scope="module")
def observer() -> Iterator[Observer]:
    with Observer(generate=300) as observer:
        yield observer


@pytest.fixture(scope="module")
def relay(observer: Observer) -> Iterator[Relay]:
    with Relay([observer]) as relay:
        relay.wait_until_serving()
        yield relay


@pytest.fixture(scope="module")
def strict_relay(observer: Observer, certificates: Certificates) -> Iterator[Relay]:
    """One that speaks TLS and takes only clients with a certificate."""
    with Relay([observer], tls=certificates, ask_client=True) as relay:
        relay.wait_until_serving()
        yield relay


@pytest.fixture
def kube(api: ControlPlane) -> Iterator[KubeApi]:
    with KubeApi(api) as kube:
        yield kube


def through(kube: KubeApi, folder: Path, **more: object) -> Settings:
    settings = Settings(
        port_forward=True,
        port_forward_port=0,
        kubeconfig=str(kube.kubeconfig(folder)),
        origins={"port-forward-port": Origin("flag", "--port-forward-port")},
    )
    return replace(settings, **more)


def flows(settings: Settings) -> int:
    with connect(settings) as connection:
        request = pb.GetFlowsRequest(number=2**64 - 1)
        responses = [pb.GetFlowsResponse.FromString(m) for m in connection.get_flows(request)]
    return sum(response.HasField("flow") for response in responses)


def flowwatch(
    *words: str | Path, home: Path, env: dict[str, str] | None = None, program: str = ""
) -> subprocess.CompletedProcess[str]:
    """The program as people run it, without a terminal."""
    command = [program] if program else [sys.executable, "-m", "flowwatch"]
    return subprocess.run(
        [*command, *map(str, words)],
        env={"PATH": os.environ["PATH"], "HOME": str(home), **(env or {})},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


# It works ---------------------------------------------------------------------------------------


def test_all_flows_come_through(
    kube: KubeApi, relay: Relay, observer: Observer, tmp_path: Path
) -> None:
    kube.put_relay(relay.address)
    assert flows(through(kube, tmp_path)) == observer.records
    wait_until(lambda: kube.told()["open"] == 0, "the forwards to end")


def test_with_mutual_tls_from_the_clusters_secrets(
    kube: KubeApi,
    strict_relay: Relay,
    observer: Observer,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    kube.put_relay(strict_relay.address)
    kube.put_secret("hubble-relay-server-certs", {"ca.crt": certificates.ca})
    pair = {"tls.crt": certificates.client, "tls.key": certificates.client_key}
    kube.put_secret("hubble-ui-client-certs", {"ca.crt": certificates.ca, **pair})
    assert flows(through(kube, tmp_path, tls_from_secret=True)) == observer.records


def test_with_mutual_tls_from_files(
    kube: KubeApi,
    strict_relay: Relay,
    observer: Observer,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    kube.put_relay(strict_relay.address)
    settings = through(
        kube,
        tmp_path,
        tls=True,
        tls_ca_cert_files=(str(certificates.ca),),
        tls_client_cert_file=str(certificates.client),
        tls_client_key_file=str(certificates.client_key),
    )
    assert flows(settings) == observer.records
    assert not [r for r in kube.told()["requests"] if "secrets" in r], "nobody asked for that"


def test_mutual_tls_without_a_forward(
    kube: KubeApi, strict_relay: Relay, certificates: Certificates, tmp_path: Path
) -> None:
    kube.put_secret("hubble-relay-server-certs", {"ca.crt": certificates.ca})
    pair = {"tls.crt": certificates.client, "tls.key": certificates.client_key}
    kube.put_secret("hubble-ui-client-certs", pair)
    settings = Settings(
        server=strict_relay.address,
        tls_from_secret=True,
        kubeconfig=str(kube.kubeconfig(tmp_path)),
    )
    with connect(settings) as connection:
        assert connection.health() == "SERVING"
    assert kube.told()["opened"] == 0


def test_relay_wants_a_client_certificate_that_nobody_may_read(
    kube: KubeApi, strict_relay: Relay, certificates: Certificates, tmp_path: Path
) -> None:
    kube.put_relay(strict_relay.address)
    kube.put_secret("hubble-relay-server-certs", {"ca.crt": certificates.ca})
    with pytest.raises(Refused, match="wants a client certificate: secret hubble-ui-client-certs"):
        flows(through(kube, tmp_path, tls_from_secret=True))


def test_relay_speaks_tls_and_nobody_said_so(
    kube: KubeApi, strict_relay: Relay, tmp_path: Path
) -> None:
    kube.put_relay(strict_relay.address)
    with pytest.raises(Refused, match="speaks TLS: add --tls-from-secret"):
        flows(through(kube, tmp_path))


PROXIES = (Socks5(), Socks5("jane", "pr0xy-secret"), Connect())


@pytest.mark.parametrize("proxy", PROXIES, ids=["socks5", "socks5 with password", "http"])
def test_through_the_proxy_of_the_kubeconfig(
    kube: KubeApi, relay: Relay, observer: Observer, tmp_path: Path, proxy: Proxy
) -> None:
    """The API server's name (`tls-server-name`) counts behind a proxy too."""
    kube.put_relay(relay.address)
    settings = through(kube, tmp_path)
    with proxy:
        cluster = {**kube.cluster, "proxy-url": proxy.url}
        write_kubeconfig(tmp_path, cluster, {"token": kube.token})
        assert flows(settings) == observer.records
    assert set(proxy.asked) == {kube.address}


def test_the_proxy_takes_no_such_password(kube: KubeApi, tmp_path: Path) -> None:
    with Socks5("jane", "right") as proxy:
        url = proxy.url.replace("right", "wr0ng")
        settings = through(kube, tmp_path)
        write_kubeconfig(tmp_path, {"server": f"http://{kube.address}", "proxy-url": url}, {})
        line = fails(settings)
    assert "can't be reached" in line
    assert "wr0ng" not in line
    assert f"through the proxy socks5://{proxy.address}" in line


def test_a_client_certificate_of_the_kubeconfig(
    kube: KubeApi, relay: Relay, tmp_path: Path
) -> None:
    kube.put_relay(relay.address)
    settings = through(kube, tmp_path)
    kube.kubeconfig(tmp_path, kube.certificate)
    with connect(settings) as connection:
        assert connection.health() == "SERVING"


def test_a_token_that_a_program_gives(kube: KubeApi, relay: Relay, tmp_path: Path) -> None:
    version = "client.authentication.k8s.io/v1"
    status = {"token": kube.token}
    credential = {"apiVersion": version, "kind": "ExecCredential", "status": status}
    plugin = {"apiVersion": version, "command": "echo", "args": [json.dumps(credential)]}
    kube.put_relay(relay.address)
    settings = through(kube, tmp_path)
    kube.kubeconfig(tmp_path, {"exec": {**plugin, "interactiveMode": "Never"}})
    with connect(settings) as connection:
        assert connection.health() == "SERVING"


def test_the_pod_that_kubectl_would_take(kube: KubeApi, relay: Relay, tmp_path: Path) -> None:
    kube.put_service()
    kube.put_pod("hubble-relay-1-pending", phase="Pending", ready=False)
    kube.put_pod("hubble-relay-2-unready", "127.0.0.1:1", ready=False)
    kube.put_pod("hubble-relay-3-ready", relay.address)
    with forward.open_way(through(kube, tmp_path)) as way:
        assert way.pod == "hubble-relay-3-ready"


def test_relay_is_replaced_and_no_flow_counts_twice(
    kube: KubeApi, relay: Relay, tmp_path: Path
) -> None:
    from flowwatch.cli.flags import parse
    from flowwatch.sources.hubble_server import HubbleServer
    from flowwatch.sources.request import flow_request

    with Observer(generate=0) as observer, Relay([observer]) as first, Relay([observer]) as second:
        observer.write(*({"uuid": f"before-{i}", "verdict": "DROPPED"} for i in range(50)))
        kube.put_relay(first.address, "hubble-relay-old")
        words = ["-P", "--port-forward-port=0", f"--kubeconfig={kube.kubeconfig(tmp_path)}"]
        wanted = flow_request(parse(["observe", "-f", "--since=1h", *words]), environ={})
        source = LiveSource(lambda: HubbleServer(wanted), where="relay", follow=True)
        seen: list[str] = []

        def read() -> None:
            for batch in source.batches():
                seen.extend(flow.uuid for flow in batch.flows)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        wait_until(lambda: len(seen) >= 50, "the flows of before", 30)
        kube.put_pod("hubble-relay-new", second.address)
        kube.end_pod("hubble-relay-old")
        observer.write(*({"uuid": f"after-{i}", "verdict": "DROPPED"} for i in range(50)))
        wait_until(lambda: len(seen) >= 100, "the flows of after", 60)
        source.close()
        reader.join(10)
    assert not reader.is_alive()
    assert len(seen) == len(set(seen)) == 100


def test_thirty_forwards_leave_nothing_open(kube: KubeApi, relay: Relay, tmp_path: Path) -> None:
    kube.put_relay(relay.address)
    settings = through(kube, tmp_path)

    def once() -> None:
        with forward.open_way(settings) as way, way.settings.address.connect(5) as sock:
            sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            assert sock.recv(100)

    once()
    wait_until(lambda: kube.told()["open"] == 0, "the forward to end")
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(30):
        once()
    wait_until(lambda: kube.told()["open"] == 0, "the forwards to end")
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 2
    assert threading.active_count() <= threads


# By itself ---------------------------------------------------------------------------------------

PORT_IN_USE = "something listens on this machine's port 4245"


def nothing_on_4245() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 4245)) != 0


@pytest.mark.skipif(not nothing_on_4245(), reason=PORT_IN_USE)
def test_with_no_flag_at_all(kube: KubeApi, relay: Relay, tmp_path: Path) -> None:
    kube.put_relay(relay.address)
    (tmp_path / ".kube").mkdir()
    kube.kubeconfig(tmp_path).rename(tmp_path / ".kube" / "config")
    done = flowwatch("status", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Healthcheck (via localhost:4245): Ok" in done.stdout
    (line,) = done.stderr.splitlines()
    assert "port-forward to relay in kube-system" in line
    forbidden = flowwatch("status", "--no-port-forward", home=tmp_path)
    assert forbidden.returncode == 1
    assert "localhost:4245" in forbidden.stderr
    assert "port-forward to relay" not in forbidden.stderr


@pytest.mark.skipif(not nothing_on_4245(), reason=PORT_IN_USE)
def test_the_dashboard_with_no_flag_at_all(kube: KubeApi, relay: Relay, tmp_path: Path) -> None:
    kube.put_relay(relay.address)
    (tmp_path / ".kube").mkdir()
    kube.kubeconfig(tmp_path).rename(tmp_path / ".kube" / "config")
    command = [sys.executable, "-m", "flowwatch"]
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "KUBECONFIG": ""}
    with Terminal(command, columns=140, lines=40, env=home) as terminal:
        terminal.wait_for(lambda screen: "relay in kube-system (port-forward)" in screen.text, 30)
        terminal.wait_for(lambda screen: cursor_row(screen, "▌") >= 0, 30)
        terminal.press("q")
        assert terminal.wait(20) == 0


def test_what_is_said_otherwise_wins(kube: KubeApi, relay: Relay, tmp_path: Path) -> None:
    config = str(kube.kubeconfig(tmp_path))
    said = Settings(
        server=relay.address, kubeconfig=config, origins={"server": Origin("flag", "--server")}
    )
    assert not forward.decide(said, {}).port_forward
    answers = Settings(server=relay.address, kubeconfig=config)
    assert not forward.decide(answers, {}).port_forward, "the default address answers"
    silent = Settings(server=f"127.0.0.1:{free_port()}", kubeconfig=config)
    assert forward.decide(silent, {}).port_forward
    assert not forward.decide(replace(silent, no_port_forward=True), {}).port_forward
    assert not forward.decide(replace(silent, kubeconfig=str(tmp_path / "none")), {}).port_forward
    off = replace(silent, origins={"port-forward": Origin("file", "config.yaml")})
    assert not forward.decide(off, {}).port_forward, "port-forward: false in hubble's file"


def test_hubble_itself_forwards_to_the_same_relay(
    kube: KubeApi, relay: Relay, tmp_path: Path
) -> None:
    """The kubelet of the tests is good enough for the real CLI, over SPDY."""
    kube.put_relay(relay.address)
    config = kube.kubeconfig(tmp_path)
    done = hubble("status", "-P", "--port-forward-port", "0", "--kubeconfig", config, check=True)
    assert "Ok" in done.stdout


@pytest.mark.parametrize("verb", ["summary", "observe", "export", "list nodes"])
def test_every_verb(kube: KubeApi, relay: Relay, tmp_path: Path, verb: str) -> None:
    kube.put_relay(relay.address)
    config = kube.kubeconfig(tmp_path)
    words: list[str | Path] = [*verb.split(), "-P", "--port-forward-port=0", "--kubeconfig", config]
    done = flowwatch(*words, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") > 1


# Faults, a line each -------------------------------------------------------------------------------


def fails(settings: Settings) -> str:
    started = time.monotonic()
    with pytest.raises(FlowwatchError) as caught, forward.open_way(settings, {"HOME": "/nowhere"}):
        pass
    assert time.monotonic() - started < 60
    line = str(caught.value)
    assert "\n" not in line
    assert kubeconfig_token(settings) not in line
    return line


def kubeconfig_token(settings: Settings) -> str:
    users = yaml.safe_load(Path(settings.kubeconfig).read_text())["users"]
    return str(users[0]["user"].get("token", "no token"))


RIGHTS = (
    ("get services", "no right to get services/hubble-relay in namespace kube-system"),
    ("list pods", "no right to list pods in namespace kube-system"),
    ("create pods/portforward", "no right to create pods/portforward in namespace kube-system"),
    ("get pods/portforward", "no right to get pods/portforward in namespace kube-system"),
)


@pytest.mark.parametrize(("right", "line"), RIGHTS, ids=[right for right, _ in RIGHTS])
def test_a_right_is_missing(
    kube: KubeApi, relay: Relay, tmp_path: Path, right: str, line: str
) -> None:
    kube.put_relay(relay.address)
    kube.deny(right)
    assert line in fails(through(kube, tmp_path))


@pytest.mark.parametrize("right", [right for right, _ in RIGHTS])
def test_a_refusal_is_asked_for_once(
    kube: KubeApi, relay: Relay, tmp_path: Path, right: str
) -> None:
    kube.put_relay(relay.address)
    kube.deny(right)
    fails(through(kube, tmp_path))
    asked = kube.told()["requests"]
    assert len(asked) == len(set(asked)), asked
    assert right.partition(" ")[2] in asked[-1]


def test_no_right_to_read_the_secret(kube: KubeApi, relay: Relay, tmp_path: Path) -> None:
    kube.put_relay(relay.address)
    kube.deny("get secrets")
    line = fails(through(kube, tmp_path, tls_from_secret=True))
    assert "no right to get secrets/hubble-relay-server-certs in namespace kube-system" in line


def test_no_such_secret(kube: KubeApi, relay: Relay, tmp_path: Path) -> None:
    kube.put_relay(relay.address)
    line = fails(through(kube, tmp_path, tls_from_secret=True))
    assert "secret hubble-relay-server-certs in namespace kube-system does not exist" in line


def test_expired_credentials(kube: KubeApi, tmp_path: Path) -> None:
    settings = through(kube, tmp_path)
    kube.end_session()
    line = fails(settings)
    assert "does not accept the credentials of user jane (context test)" in line


def test_no_relay(kube: KubeApi, tmp_path: Path) -> None:
    assert "no service hubble-relay in namespace kube-system" in fails(through(kube, tmp_path))
    kube.put_service()
    assert "service hubble-relay in namespace kube-system has no pod" in fails(
        through(kube, tmp_path)
    )
    kube.put_pod(POD, phase="Pending", ready=False)
    assert f"relay's pod {POD} is not running (Pending)" in fails(through(kube, tmp_path))


def test_nothing_listens_in_the_pod(kube: KubeApi, tmp_path: Path) -> None:
    kube.put_relay(f"127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable):
        flows(through(kube, tmp_path, request_timeout=8.0))


def test_the_api_server_is_away(kube: KubeApi, tmp_path: Path) -> None:
    settings = through(kube, tmp_path)
    server = f"https://127.0.0.1:{free_port()}"
    write_kubeconfig(tmp_path, {**kube.cluster, "server": server}, {"token": kube.token})
    assert "can't be reached: Connection refused (context test)" in fails(settings)


def test_the_api_server_says_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        cluster = {"server": f"http://127.0.0.1:{mute.getsockname()[1]}"}
        config = write_kubeconfig(tmp_path, cluster, {})
        settings = Settings(port_forward=True, kubeconfig=str(config), request_timeout=1.0)
        assert "did not answer in time (context test)" in fails(settings)


def test_the_api_servers_certificate_is_of_another_ca(
    kube: KubeApi, certificates: Certificates, tmp_path: Path
) -> None:
    cluster = {
        "server": f"https://{kube.address}",
        "certificate-authority": str(certificates.ca),
        "tls-server-name": SERVER_NAME,
    }
    settings = through(kube, tmp_path)
    write_kubeconfig(tmp_path, cluster, {"token": kube.token})
    line = fails(settings)
    assert "is not to be trusted" in line


def test_the_local_port_is_taken(kube: KubeApi, relay: Relay, tmp_path: Path) -> None:
    kube.put_relay(relay.address)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"can't listen on port {port} of this host"):
            forward.open_way(through(kube, tmp_path, port_forward_port=port))
        # Not asked for, but hubble's default: then any will do.
        default = through(kube, tmp_path, port_forward_port=port, origins={})
        with forward.open_way(default) as way:
            assert way.settings.address.port != port


def test_no_key_is_left_or_shown(
    kube: KubeApi,
    strict_relay: Relay,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    """Keys of the kubeconfig and of the secrets: not in output, not in a file, not in a repr."""
    kube.put_relay(strict_relay.address)
    kube.put_secret("hubble-relay-server-certs", {"ca.crt": certificates.ca})
    pair = {"tls.crt": certificates.client, "tls.key": certificates.client_key}
    kube.put_secret("hubble-ui-client-certs", pair)
    config = kube.kubeconfig(tmp_path, kube.certificate)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words: list[str | Path] = [
        "-P",
        "--port-forward-port=0",
        "--tls-from-secret",
        "--kubeconfig",
        config,
        "--debug",
    ]
    done = flowwatch("status", *words, home=tmp_path, env={"TMPDIR": str(scratch)})
    assert done.returncode == 0, done.stderr
    assert list(scratch.iterdir()) == []
    with forward.open_way(through(kube, tmp_path, tls_from_secret=True)) as way:
        shown = repr(way.settings) + repr(way.settings.tls_material)
    for text in (done.stdout, done.stderr, shown):
        assert "PRIVATE KEY" not in text
