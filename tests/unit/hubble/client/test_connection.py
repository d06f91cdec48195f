"""The connection against a gRPC server of our own that answers as each test says.

The real observer and relay, and TLS, are in tests/interop/test_connect.py.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from flowwatch.errors import Refused, ServerError, Unreachable, UsageError
from flowwatch.hubble.client.config import Origin, Settings
from flowwatch.hubble.client.connection import Connection, connect
from flowwatch.hubble.client.stream import End, Follow, MessageStream, ReadAll
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsRequest, ServerStatusResponse
from tests.command import ROOT, clean_environment

Answer = Callable[[bytes, grpc.ServicerContext], Any]
HEALTH, STATUS = "/grpc.health.v1.Health/Check", "/observer.Observer/ServerStatus"
NODES, FLOWS = "/observer.Observer/GetNodes", "/observer.Observer/GetFlows"
SERVING = b"\x08\x01"


class Server(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers by method; what it has no answer for is UNIMPLEMENTED, as everywhere."""

    def __init__(self, **answers: Answer) -> None:
        self._answers = {
            HEALTH: answers.get("health", lambda *_: SERVING),
            STATUS: answers.get("status"),
            NODES: answers.get("nodes"),
            FLOWS: answers.get("flows"),
        }
        self.seen: list[str] = []

    def service(
        self, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        path = str(details.method)
        self.seen.append(path)
        answer = self._answers.get(path)
        if answer is None:
            return None
        if path == FLOWS:
            return grpc.unary_stream_rpc_method_handler(answer)
        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def serving(handler: Server, port: int = 0) -> Iterator[Settings]:
    options = [("grpc.so_reuseport", 0), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(8), options=options)
    server.add_generic_rpc_handlers((handler,))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield Settings(server=f"127.0.0.1:{bound}", request_timeout=3.0)
    finally:
        server.stop(0).wait()


@contextmanager
def connected(**answers: Answer) -> Iterator[Connection]:
    with serving(Server(**answers)) as settings, connect(settings) as connection:
        yield connection


def failing(code: grpc.StatusCode, words: str) -> Answer:
    def answer(_request: bytes, context: grpc.ServicerContext) -> None:
        context.abort(code, words)

    return answer


def flows_then(
    *messages: bytes, after: Callable[[grpc.ServicerContext], None] | None = None
) -> Answer:
    def answer(_request: bytes, context: grpc.ServicerContext) -> Iterable[bytes]:
        yield from messages
        if after is not None:
            after(context)

    return answer


def late(seconds: float) -> Answer:
    def answer(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        time.sleep(seconds)
        return b""

    return answer


def until_cancelled(context: grpc.ServicerContext) -> None:
    gone = threading.Event()
    if context.add_callback(gone.set):
        gone.wait(20)


def test_calls_give_messages_and_streams_give_bytes() -> None:
    status = ServerStatusResponse(num_flows=7, version="cilium v1.20.2")
    with connected(
        status=lambda *_: status.SerializeToString(), flows=flows_then(b"one", b"", b"three")
    ) as connection:
        assert not connection.reached
        assert connection.health() == "SERVING"
        assert connection.reached
        assert connection.server_status() == status
        assert list(connection.get_flows(GetFlowsRequest(number=3))) == [b"one", b"", b"three"]


def test_the_server_sees_the_request_and_no_call_it_was_not_sent() -> None:
    seen: list[bytes] = []

    def answer(request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
        seen.append(request)
        return iter(())

    handler = Server(flows=answer)
    with serving(handler) as settings, connect(settings) as connection:
        stream = connection.get_flows(GetFlowsRequest(number=20, follow=True))
        time.sleep(0.1)
        assert handler.seen == []
        assert list(stream) == []
    assert handler.seen == [HEALTH, FLOWS]
    assert GetFlowsRequest.FromString(seen[0]) == GetFlowsRequest(number=20, follow=True)


def test_metadata_of_the_server() -> None:
    def answer(_: bytes, context: grpc.ServicerContext) -> Iterable[bytes]:
        context.send_initial_metadata((("hubble-server-version", "cilium v1.20.2"),))
        yield b"one"

    with connected(flows=answer) as connection:
        stream = connection.get_flows(GetFlowsRequest())
        assert stream.initial_metadata() == {}
        assert list(stream) == [b"one"]
        assert stream.initial_metadata()["hubble-server-version"] == "cilium v1.20.2"


@pytest.mark.parametrize(
    ("reply", "health"),
    [(b"", "UNKNOWN"), (SERVING, "SERVING"), (b"\x08\x02", "NOT_SERVING"), (b"\x08\x63", "99")],
)
def test_health_by_its_name(reply: bytes, health: str) -> None:
    with connected(health=lambda *_: reply) as connection:
        assert connection.health() == health


CODES: list[tuple[grpc.StatusCode, type[ServerError], str]] = [
    (grpc.StatusCode.UNKNOWN, Refused, "the \\x1b[31mwords"),
    (grpc.StatusCode.INVALID_ARGUMENT, Refused, "the \\x1b[31mwords"),
    (grpc.StatusCode.UNAUTHENTICATED, Refused, "--basic-auth-username"),
    (grpc.StatusCode.PERMISSION_DENIED, Refused, "this user may not"),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, Refused, "too large|larger"),
    (grpc.StatusCode.UNIMPLEMENTED, Refused, "knows no|not a Hubble"),
    (grpc.StatusCode.UNAVAILABLE, Unreachable, "the \\x1b[31mwords"),
    (grpc.StatusCode.INTERNAL, Unreachable, "the \\x1b[31mwords"),
    (grpc.StatusCode.ABORTED, Unreachable, "the \\x1b[31mwords"),
]


@pytest.mark.parametrize(("code", "kind", "words"), CODES, ids=[str(c[0].name) for c in CODES])
def test_a_servers_error_is_one_safe_line_of_the_right_kind(
    code: grpc.StatusCode, kind: type[ServerError], words: str
) -> None:
    fails = failing(code, "the \x1b[31mwords\n of it")
    with connected(nodes=fails, flows=fails) as connection:
        connection.health()
        for call in (connection.nodes, lambda: list(connection.get_flows(GetFlowsRequest()))):
            with pytest.raises(kind) as told:
                call()
            assert type(told.value) is kind
            assert str(told.value).isprintable()
            assert any(word in str(told.value) for word in words.split("|"))


def test_what_is_not_hubble_is_told() -> None:
    with (
        connected(health=failing(grpc.StatusCode.UNIMPLEMENTED, "unknown service")) as connection,
        pytest.raises(Refused, match="is not a Hubble server"),
    ):
        connection.health()
    with connected() as connection, pytest.raises(Refused, match="is not a Hubble server"):
        list(connection.get_flows(GetFlowsRequest()))
    with connected() as connection, pytest.raises(Refused, match="only relay does"):
        connection.nodes()


def test_a_server_without_health_service_can_be_read() -> None:
    with connected(
        health=failing(grpc.StatusCode.UNIMPLEMENTED, ""), flows=flows_then(b"one")
    ) as connection:
        assert list(connection.get_flows(GetFlowsRequest())) == [b"one"]


def test_what_came_before_an_error_is_given_first() -> None:
    def gives_up(context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAVAILABLE, "node is gone")

    with connected(flows=flows_then(b"one", b"two", after=gives_up)) as connection:
        messages = ReadAll(connection.get_flows(GetFlowsRequest()))
        got: list[bytes] = []
        with pytest.raises(Unreachable, match="node is gone"):
            got.extend(m for chunk in messages.chunks() for m in chunk)
        assert got == [b"one", b"two"]


def test_a_server_that_dies_in_the_middle_is_told_soon() -> None:
    got: list[bytes] = []
    began = threading.Event()
    with serving(Server(flows=flows_then(b"one", after=until_cancelled))) as settings:
        connection = connect(settings)

        def read() -> None:
            try:
                for message in connection.get_flows(GetFlowsRequest(follow=True)):
                    got.append(message)
                    began.set()
            except ServerError as error:
                got.append(str(error).encode())

        reader = threading.Thread(target=read)
        reader.start()
        assert began.wait(10)
    reader.join(5)
    connection.close()
    assert got[0] == b"one"
    assert b"was lost" in got[1]


def test_a_message_larger_than_grpcs_own_limit_and_one_larger_than_ours() -> None:
    for size, fits in ((20 << 20, True), ((64 << 20) + 1, False)):
        with connected(flows=flows_then(bytes(size))) as connection:
            if fits:
                assert [len(m) for m in connection.get_flows(GetFlowsRequest())] == [size]
                continue
            with pytest.raises(Refused, match="larger than"):
                list(connection.get_flows(GetFlowsRequest()))


def test_a_slow_answer_ends_at_the_request_timeout() -> None:
    with serving(Server(status=late(2))) as settings:
        impatient = Settings(server=settings.server, request_timeout=0.3)
        with connect(impatient) as connection:
            connection.health()
            began = time.monotonic()
            with pytest.raises(
                Unreachable, match=r"did not answer within 0\.3 s.*--request-timeout"
            ):
                connection.server_status()
            assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("reader", [ReadAll, Follow])
def test_a_stream_that_is_silent_closes_at_once(
    reader: Callable[[Any], MessageStream],
) -> None:
    with connected(flows=flows_then(b"one", after=until_cancelled)) as connection:
        messages = reader(connection.get_flows(GetFlowsRequest(follow=True)))
        closed: list[float] = []

        def close() -> None:
            closed.append(time.monotonic())
            messages.close()

        threading.Timer(0.5, close).start()
        assert [m for chunk in messages.chunks() for m in chunk] == [b"one"]
        assert time.monotonic() - closed[0] < 0.3
        assert messages.end is End.CLOSED


def test_closing_the_connection_ends_what_waits_on_it() -> None:
    slow = Server(status=late(3), flows=flows_then(b"one", after=until_cancelled))
    with serving(slow) as settings:
        connection = connect(Settings(server=settings.server, request_timeout=30.0))
        ended: dict[str, object] = {}

        def ask() -> None:
            try:
                connection.server_status()
            except ServerError as error:
                ended["call"] = str(error)

        def follow() -> None:
            ended["stream"] = list(connection.get_flows(GetFlowsRequest(follow=True)))

        waiting = [threading.Thread(target=ask), threading.Thread(target=follow)]
        for thread in waiting:
            thread.start()
        time.sleep(0.6)
        began = time.monotonic()
        connection.close()
        connection.close()
        for thread in waiting:
            thread.join(5)
        assert time.monotonic() - began < 1.0
        assert "was closed" in str(ended["call"])
        assert ended["stream"] == [b"one"]
        with pytest.raises(ServerError, match="was closed"):
            connection.health()


def test_streams_outlive_the_name_of_their_connection() -> None:
    """grpcio ends the calls of a channel that nobody holds: "Channel deallocated"."""
    with serving(Server(flows=flows_then(*[b"x"] * 2000))) as settings:
        stream = connect(settings).get_flows(GetFlowsRequest())
        got = 0
        for _ in stream:
            if not got:
                gc.collect()
            got += 1
        assert got == 2000


def test_a_server_that_comes_back_is_reached_by_the_next_connection() -> None:
    with serving(Server()) as settings, connect(settings) as connection:
        connection.health()
    port = settings.address.port
    with connect(settings) as failed:
        with pytest.raises(Unreachable, match="refused"):
            failed.health()
        # While gRPC waits a second before it lets the failed one try again.
        with serving(Server(), port) as settings, connect(settings) as connection:
            assert connection.health() == "SERVING"


def test_a_hundred_connections_leave_nothing_behind() -> None:
    def round_trip(settings: Settings) -> None:
        with connect(settings) as connection:
            assert list(connection.get_flows(GetFlowsRequest())) == [b"one"]

    with serving(Server(flows=flows_then(b"one"))) as settings:
        for _ in range(10):
            round_trip(settings)
        gc.collect()
        threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            round_trip(settings)
        gc.collect()
        time.sleep(0.3)
        assert threading.active_count() <= threads + 2
        assert len(os.listdir("/proc/self/fd")) <= files + 5


CTRL_C = """
import sys
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.client.connection import connect
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsRequest
from flowwatch.hubble.client.stream import ReadAll

connection = connect(Settings(server=sys.argv[1]))
try:
    if sys.argv[2] == "call":
        print("waits", flush=True)
        connection.server_status()
    for chunk in ReadAll(connection.get_flows(GetFlowsRequest())).chunks():
        print("got", *chunk, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
input()
connection.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT")
@pytest.mark.parametrize(
    ("waits_for", "lines"), [("call", ["interrupted"]), ("stream", ["got b'one'", "interrupted"])]
)
def test_ctrl_c_is_quick_wherever_it_strikes(
    waits_for: str, lines: list[str], tmp_path: os.PathLike[str]
) -> None:
    began, gone = threading.Event(), threading.Event()

    def waits(context: grpc.ServicerContext) -> None:
        context.add_callback(gone.set)
        began.set()
        gone.wait(20)

    def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
        waits(context)
        return b""

    handler = Server(status=answer, flows=flows_then(b"one", after=waits))
    with serving(handler) as settings:
        process = subprocess.Popen(
            [sys.executable, "-c", CTRL_C, settings.server, waits_for],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=clean_environment(str(tmp_path)),
        )
        try:
            assert began.wait(20)
            time.sleep(0.4)
            struck = time.monotonic()
            process.send_signal(signal.SIGINT)
            # The call ends before the connection does.
            assert gone.wait(5)
            assert time.monotonic() - struck < 3
            out, err = process.communicate("\n", timeout=10)
        finally:
            process.kill()
        assert out.splitlines()[-len(lines) :] == lines
        assert err == ""
        assert process.returncode == 0


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tls_client_cert_file": "x"}, "only one was provided: give --tls-client-key-file"),
    ({"tls_client_key_file": "x"}, "only one was provided: give --tls-client-cert-file"),
    (
        {"tls_client_cert_file": "x", "tls_client_key_file": "y"},
        "transport layer security required: a client certificate needs --tls",
    ),
    ({"basic_auth_username": "u"}, "must specify both basic-auth-username and basic-auth-password"),
    (
        {"basic_auth_username": "u", "basic_auth_password": "secret"},
        "requires transport level security",
    ),
    ({"tls": True, "tls_ca_cert_files": ("none.pem",)}, "cannot load cert 'none.pem': open none"),
    ({"tls": True, "tls_ca_cert_files": (__file__,)}, "must be a PEM encoded certificate"),
    (
        {"tls": True, "tls_client_cert_file": "none", "tls_client_key_file": "none"},
        "open none: no such file or directory (--tls-client-key-file",
    ),
    (
        {"tls": True, "tls_client_cert_file": __file__, "tls_client_key_file": __file__},
        "not a PEM certificate and its key",
    ),
    ({"port_forward": True, "kubeconfig": "/none"}, "no kubeconfig: /none is not there"),
    ({"tls_from_secret": True, "kubeconfig": "/none"}, "no kubeconfig: /none is not there"),
    ({"server": "a:b:c"}, "too many colons"),
    ({"server": "u:secret@a:1"}, 'invalid target address "***@a:1": invalid host: no user part'),
    ({"tls": True, "tls_server_name": "a\0b"}, r"invalid --tls-server-name a\x00b"),
    ({"tls": True, "tls_server_name": "a..b"}, "invalid --tls-server-name a..b"),
    ({"tls": True, "tls_server_name": ".b"}, "invalid --tls-server-name .b: give a name in the"),
    ({"tls": True, "tls_ca_cert_files": ("/",)}, "cannot load cert '/': open /: is a directory"),
    ({"tls": True, "tls_ca_cert_files": ("/dev/zero",)}, "/dev/zero: it is larger than 4 mib"),
    ({"tls": True, "tls_ca_cert_files": ("a\0b",)}, "no file can have such a name"),
    (
        {"tls": True, "tls_client_cert_file": "/dev/zero", "tls_client_key_file": "/dev/null"},
        "open /dev/zero: it is larger than 4 mib (--tls-client-cert-file",
    ),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED)
def test_settings_that_cannot_be_carried_out(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as told:
        connect(Settings(**settings))
    assert words in str(told.value)
    assert "secret" not in str(told.value)


def test_a_host_that_no_name_can_be() -> None:
    settings = Settings(server=f"{'a' * 64}.example:1", request_timeout=2.0)
    with connect(settings) as connection, pytest.raises(Unreachable, match="cannot connect"):
        connection.health()


def test_a_proxy_never_stands_before_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Server()) as settings:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        for host in ("localhost", "127.0.0.1"):
            with connect(Settings(server=f"{host}:{settings.address.port}")) as connection:
                assert connection.health() == "SERVING"


def test_a_proxy_that_is_used_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://user:hunter2@127.0.0.1:1")
    for name in ("no_proxy", "no_grpc_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    # A name that exists nowhere (RFC 6761).
    origins = {"server": Origin("flag", "--server")}
    server = Settings(server="hubble.invalid:4245", request_timeout=3.0, origins=origins)
    with connect(server) as connection, pytest.raises(Unreachable) as told:
        connection.health()
    assert str(told.value).endswith("check --server and http_proxy, which is used")
    assert "hunter2" not in str(told.value)
