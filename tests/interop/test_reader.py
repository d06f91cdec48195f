"""Both readers give the same bytes in the same order, and fail in the same words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from flowwatch.errors import FlowwatchError
from flowwatch.hubble.client import tls
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.client.connection import connect
from flowwatch.hubble.client.h2 import H2Stream, can_read
from flowwatch.hubble.wire.pb.flow.flow_pb2 import FlowFilter
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsRequest
from tests.command import flowwatch
from tests.interop.real import Certificates, Observer, Relay

PATH = "/observer.Observer/GetFlows"


def by_socket(server: str, request: GetFlowsRequest) -> list[bytes]:
    return read(Settings(server=server), request)


def read(settings: Settings, request: GetFlowsRequest) -> list[bytes]:
    address, serialized = settings.address, request.SerializeToString()
    assert can_read(settings, address, serialized, {})
    stream = H2Stream(
        settings, address, PATH, serialized, security=tls.secure(settings, settings.address)
    )
    return [message for messages in stream.lists() for message in messages]


def by_grpcio(server: str, request: GetFlowsRequest) -> list[bytes]:
    with connect(Settings(server=server)) as connection:
        return list(connection.get_flows(request))


@pytest.fixture(scope="module")
def observer() -> Iterator[Observer]:
    with Observer(generate=30_000) as one:
        yield one


@pytest.mark.parametrize(
    "request_",
    [
        GetFlowsRequest(number=1),
        GetFlowsRequest(number=29_000),
        GetFlowsRequest(number=500, whitelist=[FlowFilter(source_pod=["weather/"])]),
        GetFlowsRequest(number=100, blacklist=[FlowFilter()]),
    ],
    ids=["one", "many", "filtered", "none"],
)
def test_the_same_messages(request_: GetFlowsRequest, observer: Observer) -> None:
    ours = by_socket(observer.address, request_)
    theirs = by_grpcio(observer.address, request_)
    # A loss that a full ring reports comes when it comes.
    assert [m for m in ours if len(m) > 100] == [m for m in theirs if len(m) > 100]


REFUSED: list[GetFlowsRequest] = [
    GetFlowsRequest(whitelist=[FlowFilter(source_port=["abc"])]),
    GetFlowsRequest(first=True, follow=True),
    GetFlowsRequest(whitelist=[FlowFilter(source_pod=[""])]),
]


@pytest.mark.parametrize("request_", REFUSED, ids=["bad port", "first and follow", "no name"])
def test_the_same_refusals(request_: GetFlowsRequest, observer: Observer) -> None:
    said = []
    readers: list[Callable[[str, GetFlowsRequest], list[bytes]]] = [by_socket, by_grpcio]
    for reader in readers:
        with pytest.raises(FlowwatchError) as refused:
            reader(observer.address, request_)
        said.append((type(refused.value), str(refused.value)))
    assert said[0] == said[1]


def test_through_relay() -> None:
    with Observer(node="one", generate=500) as one, Relay([one]) as relay:
        request = GetFlowsRequest(number=500)
        ours = [m for m in by_socket(relay.address, request) if len(m) > 200]
        theirs = [m for m in by_grpcio(relay.address, request) if len(m) > 200]
        assert sorted(ours) == sorted(theirs)
        assert ours


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Of an observer that takes only clients with a certificate."""
    certificates = Certificates.make(tmp_path_factory.mktemp("tls"), "*.hubble-relay.cilium.io")
    with Observer(generate=30_000, tls=certificates, ask_client=True) as one:
        yield Settings(
            server=f"tls://{one.address}",
            tls_ca_cert_files=(str(certificates.ca),),
            tls_client_cert_file=str(certificates.client),
            tls_client_key_file=str(certificates.client_key),
            tls_server_name="instance.hubble-relay.cilium.io",
        )


@pytest.mark.parametrize("number", [1, 29_000])
def test_the_same_messages_over_mutual_tls(number: int, secured: Settings) -> None:
    request = GetFlowsRequest(number=number)
    ours = read(secured, request)
    with connect(secured) as connection:
        theirs = list(connection.get_flows(request))
    assert [m for m in ours if len(m) > 100] == [m for m in theirs if len(m) > 100]
    assert len(ours) >= number


def test_tls_with_each_reader_gives_the_same_rows(secured: Settings) -> None:
    arguments = [
        *("summary", "-o", "json", "--server", secured.server),
        *("--tls-ca-cert-files", *secured.tls_ca_cert_files),
        *("--tls-client-cert-file", secured.tls_client_cert_file),
        *("--tls-client-key-file", secured.tls_client_key_file),
        *("--tls-server-name", secured.tls_server_name),
    ]
    fast = flowwatch(*arguments)
    slow = flowwatch(*arguments, env={"FLOWWATCH_READER": "grpc"})
    assert (fast.returncode, fast.stderr) == (0, "")
    assert fast.stdout == slow.stdout


def test_the_variable_chooses_grpcio(observer: Observer) -> None:
    arguments = ["summary", "-o", "json", "--server", observer.address]
    fast = flowwatch(*arguments)
    slow = flowwatch(*arguments, env={"FLOWWATCH_READER": "grpc"})
    assert fast.stdout == slow.stdout
