"""What an API server may answer, and what is made of it: one question, one line."""

import asyncio
import contextlib
import copy
import gzip
import json
import queue
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flowwatch.errors import Refused, ServerError, Unreachable, UsageError
from flowwatch.hubble.kube import client
from flowwatch.hubble.kube.access import Access
from flowwatch.hubble.kube.api import Cluster, Pod, wait
from flowwatch.hubble.kube.client import BadAnswer, KubeAnswer
from flowwatch.hubble.kube.material import pem_text
from flowwatch.hubble.kube.portforward import Carrier
from tests.proxies import Socks5

SERVICE: dict[str, Any] = {
    "spec": {"selector": {"k8s-app": "hubble-relay"}, "ports": [{"port": 80, "targetPort": "grpc"}]}
}
POD: dict[str, Any] = {
    "metadata": {"name": "relay-1", "creationTimestamp": "2026-01-31T10:00:00Z"},
    "spec": {"containers": [{"ports": [{"name": "grpc", "containerPort": 4245}]}]},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}
SERVICE_PATH = "/api/v1/namespaces/kube-system/services/hubble-relay"
PODS_PATH = "/api/v1/namespaces/kube-system/pods"


class Server(ThreadingHTTPServer):
    """Answers by path; ``status`` for all of them."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def put(self, path: str, body: object) -> None:
        self.bodies[path] = json.dumps(body).encode()

    @property
    def access(self) -> Access:
        return Access(server=f"http://127.0.0.1:{self.server_address[1]}", context="test")


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        self.send_response(self.server.status if path in self.server.bodies else 404)
        body = self.server.bodies.get(path, b"")
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        server.put(SERVICE_PATH, SERVICE)
        server.put(PODS_PATH, {"items": [POD]})
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def relay(access: Access, timeout: float = 10.0) -> Pod:
    async def ask() -> Pod:
        cluster = Cluster(access, "kube-system", timeout)
        try:
            return await cluster.relay()
        finally:
            await cluster.close()

    return wait(ask())


def test_relays_pod_and_the_port_behind_the_services(server: Server) -> None:
    assert relay(server.access) == Pod("relay-1", 4245)
    assert server.asked == [SERVICE_PATH, PODS_PATH]


REFUSALS = (
    (401, Refused, "does not accept the credentials"),
    (403, Refused, "no right to get services/hubble-relay in namespace kube-system"),
    (404, Refused, "no service hubble-relay in namespace kube-system"),
    (302, Unreachable, "answers HTTP 302 to get services/hubble-relay"),
    (500, Unreachable, "answers HTTP 500 to get services/hubble-relay"),
    (503, Unreachable, "answers HTTP 503 to get services/hubble-relay"),
)


@pytest.mark.parametrize(("status", "kind", "words"), REFUSALS, ids=[str(r[0]) for r in REFUSALS])
def test_a_refusal_is_asked_for_once(
    server: Server, status: int, kind: type[ServerError], words: str
) -> None:
    server.status = status
    with pytest.raises(kind, match=words):
        relay(server.access)
    assert server.asked == [SERVICE_PATH]


NO_OBJECTS = (
    b"",
    b"<html>log in</html>",
    b"[]",
    b"7",
    b"[" * 200_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b'{"a": "\xff"}',
    b'{"a": "\\ud800"}',
    b'{"a": ' + b"9" * 10_000 + b"}x",
)


@pytest.mark.parametrize("body", NO_OBJECTS, ids=[repr(body[:20]) for body in NO_OBJECTS])
def test_an_answer_that_is_no_object(server: Server, body: bytes) -> None:
    with pytest.raises(BadAnswer, match="is no JSON"):
        KubeAnswer(200, body).object()
    server.bodies[SERVICE_PATH] = body
    with pytest.raises(Refused, match="is no Kubernetes API server: its answer to get services"):
        relay(server.access)


def test_an_answer_without_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpacked: this one comes as 16 KB."""
    monkeypatch.setattr(client, "MAX_ANSWER", 1 << 20)
    server.bodies[SERVICE_PATH] = gzip.compress(b'{"a": "' + b" " * (16 << 20) + b'"}')
    server.headers["Content-Encoding"] = "gzip"
    with pytest.raises(Refused, match="larger than 1 MiB"):
        relay(server.access)


def test_an_answer_that_is_not_packed_as_it_says(server: Server) -> None:
    server.headers["Content-Encoding"] = "gzip"
    with pytest.raises(Unreachable, match="can't be reached"):
        relay(server.access)


CA = """\
# Issuer: Société Générale
-----BEGIN CERTIFICATE-----
MIIBcjCCARegAwIBAgIUWisUq1vy06vGZwKUq0ZASUq0swkwCgYIKoZIzj0EAwIw
DTELMAkGA1UEAwwCY2EwIBcNMjYxMTI4MTUyNDQ4WhgPMjEyNjExMDQxNTI0NDha
MA0xCzAJBgNVBAMMAmNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExu+zuqq/
hbh1Yv6OA8xqFKgWZurzUnR4UabW3YNQ2zIf6YgdIMAuROg8dYZMR9pD8BIrS+uw
8hMwfkq8NoqPBKNTMFEwHQYDVR0OBBYEFMs92bWn7U+RvH60sg5Z3pmj4hv5MB8G
A1UdIwQYMBaAFMs92bWn7U+RvH60sg5Z3pmj4hv5MA8GA1UdEwEB/wQFMAMBAf8w
CgYIKoZIzj0EAwIDSQAwRgIhAJuLErneL16oBWT7Z1Pi172C6Q0Dgc7Egjqqmc+Z
avuZAiEA1o+amNugL0XNKXKQ2c24fNKEfietH3WatL9modRoIhE=
-----END CERTIFICATE-----
"""
"""Of no use; bundles have words between their certificates."""


def test_certificates_with_words_between_them() -> None:
    context = client._context(Access(server="https://x", ca=pem_text(CA.encode())))
    assert [one["subject"] for one in context.get_ca_certs()] == [((("commonName", "ca"),),)]


@pytest.mark.parametrize("ca", ["é", "-----BEGIN CERTIFICATE-----\n\0", "\x1b[2J"])
def test_certificates_that_are_none(ca: str) -> None:
    access = Access(server="https://x", ca=pem_text(ca.encode()), context="here", file="config")
    with pytest.raises(UsageError) as caught:
        relay(access)
    wanted = "certificate-authority of context here: a certificate in PEM is wanted"
    assert str(caught.value).startswith(f"kubeconfig config can't be used: {wanted}: mend it")


NO_HOSTS = (
    "https://xn--",
    "https://xn--a:6443",
    "https://[v1.x]:1",
    "https://１２７.0.0.1",
    "https://\u0300a",
)


@pytest.mark.parametrize("url", NO_HOSTS)
@pytest.mark.parametrize("field", ["server", "proxy-url"])
def test_a_host_that_no_url_can_have(field: str, url: str) -> None:
    """kubectl asks DNS for some of them; here httpx fails on them, at once or in the midst of work."""
    access = Access(server=url, file="config")
    if field == "proxy-url":
        access = Access(server="https://kube.test", proxy=url, file="config")
    with pytest.raises(UsageError, match=f"kubeconfig config can't be used: a {field} as http"):
        relay(access)


@pytest.mark.parametrize("url", [*NO_HOSTS, "http://127.0.0.1:99999", "http://"])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_of_the_environment_that_is_none(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    for other in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
        monkeypatch.delenv(other.lower(), raising=False)
    monkeypatch.setenv(name, url)
    with pytest.raises(UsageError, match=f"^{name}: a proxy as http://host:port or socks5:"):
        relay(Access(server="https://kube.test"))


# Objects that no API server makes -------------------------------------------------------------

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    99_999,
    1.5,
    "",
    "\x1b[2J\n",
    [],
    [[]],
    [None],
    {},
    {"a": []},
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Each place in it."""
    if at:
        yield at
    for name, inner in (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    ):
        yield from places(inner, (*at, name))


def changed(value: Any, at: tuple[Any, ...], by: Any) -> Any:
    whole = copy.deepcopy(value)
    inner = whole
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = by
    return whole


CASES: list[tuple[str, Callable[[Any], tuple[Any, Any]], Any, tuple[Any, ...]]] = [
    ("service", lambda made: (made, {"items": [POD]}), SERVICE, at) for at in places(SERVICE)
] + [
    ("pods", lambda made: (SERVICE, made), {"items": [POD]}, at) for at in places({"items": [POD]})
]


@pytest.mark.parametrize(
    ("which", "both", "good", "at"),
    CASES,
    ids=[f"{c[0]} {'.'.join(map(str, c[3]))}" for c in CASES],
)
def test_a_field_of_another_type(
    server: Server,
    which: str,
    both: Callable[[Any], tuple[Any, Any]],
    good: Any,
    at: tuple[Any, ...],
) -> None:
    """It makes no difference, or one line."""
    for odd in ODD:
        service, pods = both(changed(good, at, odd))
        server.put(SERVICE_PATH, service)
        server.put(PODS_PATH, pods)
        line = ""
        try:
            found = relay(server.access)
        except ServerError as error:
            line = str(error)
        else:
            assert 0 < found.port < 65536
        assert line.isprintable()


# Servers that don't answer -----------------------------------------------------------------------


@pytest.fixture
def drip() -> Iterator[str]:
    """The address of one that sends a byte of a header each 50 ms, as long as one listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    accepted, _ = listening.accept()
                    with accepted:
                        accepted.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                        while True:
                            accepted.sendall(b"x")
                            time.sleep(0.05)
                except ConnectionError:
                    continue
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("proxy", ["", "socks5://", "http://"])
def test_a_server_or_proxy_that_drips(drip: str, proxy: str) -> None:
    """The limit is for the answer, not for each byte."""
    access = Access(server=f"http://{drip}")
    if proxy:
        access = Access(server="http://kube.test", proxy=f"{proxy}{drip}")
    started = time.monotonic()
    with pytest.raises(Unreachable):
        relay(access, 0.5)
    assert time.monotonic() - started < 30


def test_nothing_behind_the_proxy() -> None:
    with socket.socket() as taken, Socks5() as proxy:
        taken.bind(("127.0.0.1", 0))
        access = Access(server=f"http://127.0.0.1:{taken.getsockname()[1]}", proxy=proxy.url)
        with pytest.raises(Unreachable, match=rf"through the proxy socks5://{proxy.address}\)"):
            relay(access)


def test_a_name_is_left_to_the_socks_proxy() -> None:
    with Socks5() as proxy, pytest.raises(Unreachable):
        relay(Access(server="http://kube.invalid:6443", proxy=proxy.url))
    assert proxy.asked == ["kube.invalid:6443"]


def test_a_websocket_that_is_refused_tells_why(server: Server) -> None:
    """With its answer, so that nobody has to ask again."""
    server.status = 403
    server.put("/forward", {"message": 'pods is forbidden: User "jane" cannot get resource "x"'})

    async def ask() -> KubeAnswer:
        asking = client.Client(server.access, 10.0)
        try:
            async with asking.websocket("/forward", {"ports": "1"}):
                raise AssertionError("it opened")
        except client.NotUpgraded as refused:
            return refused.answer
        finally:
            await asking.close()

    answer = asyncio.run(ask())
    assert answer.status == 403
    assert b"cannot get resource" in answer.body
    assert server.asked == ["/forward"]


# What nobody waits for ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("pod", "can't be asked to create pods/portforward: URL too long"),
        ("selector", "can't be asked to list pods: URL component 'query' too long"),
    ],
)
def test_a_name_too_long_for_a_url(server: Server, where: str, words: str) -> None:
    """It is the server's own; nothing but the line is told, in no thread."""
    long = "x" * 70_000
    if where == "pod":
        server.put(PODS_PATH, {"items": [changed(POD, ("metadata", "name"), long)]})
    else:
        server.put(SERVICE_PATH, changed(SERVICE, ("spec", "selector"), {"k8s-app": long}))
    pod = Pod(long, 4245) if where == "pod" else None
    with pytest.raises(Refused, match=words):
        carried(Cluster(server.access, "kube-system", 10.0), pod)


def carried(cluster: Cluster, pod: Pod | None) -> Carrier:
    """A port-forward to ``pod``, or to the one that is found."""
    sockets = [socket.create_server(("127.0.0.1", 0))]
    try:
        return Carrier(cluster, pod or wait(cluster.relay()), sockets)
    except BaseException:
        sockets[0].close()
        wait(cluster.close())
        raise


class Faulty(Cluster):
    """Forwards ``sound`` times, to nothing, and then fails as nobody foresaw."""

    sound = 0

    @contextlib.asynccontextmanager
    async def forward(self, pod: Pod) -> AsyncIterator[Any]:
        self.sound -= 1
        if self.sound < 0:
            raise LookupError("planted")
        yield _Nobody()


class _Nobody:
    async def receive_bytes(self) -> None:
        await asyncio.get_running_loop().create_future()


def test_a_fault_of_the_first_connection_is_raised_where_it_is_waited_for() -> None:
    with pytest.raises(LookupError, match="planted"):
        carried(Faulty(Access(server="http://127.0.0.1:1"), "", 1.0), Pod("relay-1", 4245))


def test_a_fault_of_a_later_connection_is_told_as_one_of_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which ends the work with exit code 70; asyncio would write a traceback, sooner or later."""
    told: queue.Queue[BaseException | None] = queue.Queue()
    monkeypatch.setattr(threading, "excepthook", lambda about: told.put(about.exc_value))
    cluster = Faulty(Access(server="http://127.0.0.1:1"), "", 1.0)
    cluster.sound = 1
    forward = carried(cluster, Pod("relay-1", 4245))
    try:
        with (
            socket.create_connection(("127.0.0.1", forward.port)),
            socket.create_connection(("127.0.0.1", forward.port)) as second,
        ):
            assert second.recv(1) == b"", "its connection ends"
        assert isinstance(told.get(timeout=30), LookupError)
    finally:
        forward.close()
