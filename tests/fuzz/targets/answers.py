"""What a Hubble server answers beside its flows, spoilt: health, status, nodes, namespaces; by grpcio."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.json_format import ParseDict

from flowwatch.hubble.wire.pb.observer import observer_pb2 as pb
from tests.fuzz import corpus, mutate, protobuf
from tests.fuzz.inputs import Input
from tests.fuzz.program import run
from tests.fuzz.readers import POLICY

if TYPE_CHECKING:
    _Generic = grpc.GenericRpcHandler[bytes, bytes]
else:
    _Generic = grpc.GenericRpcHandler

_STATUS = {
    "num_flows": "9", "max_flows": "4095", "seen_flows": "99", "uptime_ns": "3600000000", "version": "1.20.2",
    "num_connected_nodes": 2, "num_unavailable_nodes": 1, "unavailable_nodes": ["node-3"], "flows_rate": 1.5,
}  # fmt: skip
_NODES = {
    "nodes": [
        {"name": "default/node-1", "version": "1.20.2", "address": "10.0.0.1:4244", "state": "NODE_CONNECTED",
         "uptime_ns": "36000000", "num_flows": "9", "max_flows": "4095", "seen_flows": "99",
         "tls": {"enabled": True, "server_name": "node-1.default.hubble-grpc.cilium.io"}},
        {"name": "default/node-3", "state": "NODE_UNAVAILABLE"},
    ]
}  # fmt: skip
_NAMESPACES = {
    "namespaces": [{"cluster": "default", "namespace": "weather"}, {"namespace": "kube-system"}]
}
_ALONE = {name: value for name, value in _STATUS.items() if name not in ("num_connected_nodes",)}
_HEALTH = "/grpc.health.v1.Health/Check"
_FLOWS = "/observer.Observer/GetFlows"
SOUND: dict[str, tuple[str, Any, list[dict[str, Any]]]] = {
    "status": ("/observer.Observer/ServerStatus", pb.ServerStatusResponse, [_STATUS, _ALONE]),
    "nodes": ("/observer.Observer/GetNodes", pb.GetNodesResponse, [_NODES]),
    "namespaces": ("/observer.Observer/GetNamespaces", pb.GetNamespacesResponse, [_NAMESPACES]),
}
"""By name the path of a unary call, its answer's type, and sound ones."""
_CALLS: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("status", "-o", "json"),
    ("status", "-o", "dict"),
    ("list", "nodes"),
    ("list", "nodes", "-o", "wide"),
    ("list", "nodes", "-o", "json"),
    ("list", "namespaces"),
    ("doctor",),
    ("doctor", "-o", "json"),
    ("summary",),
)
_FOLLOWS = ("audit", "-f", "policy.yaml", "--follow", "--for", "700ms")


class Answers:
    """A real gRPC server that sends raw bytes; the flows go by grpcio too, or by our own reader."""

    name = "answers"
    what = "answers"

    def __init__(self) -> None:
        self._answers: dict[str, bytes] = {}
        self._flows: list[bytes] = []
        self._server = grpc.server(
            ThreadPoolExecutor(4, "fuzz"), options=[("grpc.so_reuseport", 0)]
        )
        self._server.add_generic_rpc_handlers((_Handler(self),))
        self._address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def make(self, random: Random) -> Input:
        files = {}
        for name, (_, message, sound) in SOUND.items():
            raw = ParseDict(random.choice(sound), message()).SerializeToString()
            files[name] = spoilt(random, raw, message.DESCRIPTOR) if random.random() < 0.6 else raw
        files["health"] = random.choice(
            (b"\x08\x01",) * 5 + (b"", b"\x08", b"\x08\x02", b"\xff\xff", b"\x08\xff\x01")
        )
        for number in range(random.randint(0, 4)):
            raw = corpus.wire(random.choice(corpus.RECORDS))
            files[f"{number:02}.bin"] = spoilt(random, raw, pb.GetFlowsResponse.DESCRIPTOR)
        call = _FOLLOWS if random.random() < 0.02 else random.choice(_CALLS)
        environ = {"FLOWWATCH_READER": "grpc"} if random.random() < 0.5 else {}
        return Input(call, files, len(files), environ)

    def run(self, given: Input, place: Path) -> None:
        self._answers = {path: given.files[name] for name, (path, *_) in SOUND.items()}
        self._answers[_HEALTH] = given.files["health"]
        self._flows = [data for name, data in sorted(given.files.items()) if name.endswith(".bin")]
        (place / "policy.yaml").write_bytes(POLICY)
        run(
            [*given.call, "--server", self._address, "--request-timeout", "5s"],
            place,
            environ=given.environ,
        )

    def answer(self, path: str) -> bytes:
        """The bytes of the unary call ``path``."""
        return self._answers.get(path, b"")

    def flows(self) -> list[bytes]:
        """The messages of GetFlows."""
        return self._flows

    def close(self) -> None:
        self._server.stop(0).wait()


def spoilt(random: Random, raw: bytes, descriptor: Any) -> bytes:
    """``raw``, a message of ``descriptor``'s type, by its fields mostly."""
    if random.random() < 0.2:
        return mutate.data(random, raw)
    return protobuf.spoil(random, raw, descriptor)


class _Handler(_Generic):
    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = str(details.method)
        if path == _FLOWS:
            return grpc.unary_stream_rpc_method_handler(
                lambda _request, _context: iter(self._answers.flows())
            )
        return grpc.unary_unary_rpc_method_handler(
            lambda _request, _context: self._answers.answer(path)
        )
