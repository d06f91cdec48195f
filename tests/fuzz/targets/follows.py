"""A stream that is followed over losses: spoilt messages and answers, and good records come once each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.json_format import ParseDict

from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.filters.flags import Filters
from flowwatch.hubble.filters.request import Window
from flowwatch.hubble.wire.pb.observer import observer_pb2 as pb
from flowwatch.sources.hubble_server import HubbleServer
from flowwatch.sources.live import LiveSource
from flowwatch.sources.phases import Retries
from flowwatch.sources.request import FlowRequest
from tests.fuzz import corpus
from tests.fuzz.inputs import Input
from tests.fuzz.program import Fault, alone, bounded, watched
from tests.fuzz.targets.answers import SOUND, spoilt
from tests.fuzz.targets.wire import Wire

if TYPE_CHECKING:
    _Generic = grpc.GenericRpcHandler[bytes, bytes]
else:
    _Generic = grpc.GenericRpcHandler

_ENDS = ("OK", "CANCELLED", "UNKNOWN", "UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED", "NOT_FOUND",
         "PERMISSION_DENIED", "UNAUTHENTICATED", "DATA_LOSS", "INVALID_ARGUMENT")  # fmt: skip
_FLOWS = "/observer.Observer/GetFlows"
_SECOND = 1_000_000_000
_RETRY = 0.01
"""Seconds: nobody is spared here."""
_AGO = 60
"""Seconds before now at which the first good record was made."""


class Follows:
    """A ring that grows with each connection: it gives what is asked for from ``since`` on, and then fails.

    A call names how each connection ends but the last, which stays open until the last good record came.
    """

    name = "follows"
    what = "messages"

    def __init__(self) -> None:
        self._wire = Wire()
        self._given = Input((), {})
        self._began = 0
        self._connections = 0
        self._server = grpc.server(
            ThreadPoolExecutor(8, "fuzz"), options=[("grpc.so_reuseport", 0)]
        )
        self._server.add_generic_rpc_handlers((_Handler(self),))
        self._address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def make(self, random: Random) -> Input:
        ends = tuple(random.choice(_ENDS) for _ in range(random.randint(1, 3)))
        files = {}
        for name, (_, message, sound) in SOUND.items():
            raw = ParseDict(random.choice(sound), message()).SerializeToString()
            files[name] = spoilt(random, raw, message.DESCRIPTOR) if random.random() < 0.6 else raw
        for number in range(random.randint(0, 12)):
            at = random.randrange(len(ends) + 1)
            files[f"{number:02}-{at}.bin"] = self._wire.spoilt(random)
        environ = {"FLOWWATCH_READER": "grpc"} if random.random() < 0.3 else {}
        return Input(ends, files, len(files), environ)

    def run(self, given: Input, place: Path) -> None:
        self._given, self._connections = given, 0
        self._began = time.time_ns() - _AGO * _SECOND
        last = f"{corpus.GOOD}-{len(given.call)}"
        seen: Counter[str] = Counter()
        wanted = FlowRequest(
            Settings(server=self._address, request_timeout=5.0), Filters(), Window(follow=True), []
        )
        with alone(place, given.environ), watched(), bounded():
            source = LiveSource(
                lambda: HubbleServer(wanted, with_ring=True),
                where="relay:4245", follow=True, keep_trying=True, poll_every=0.05, quiet=0.1,
                retries=Retries(_RETRY, _RETRY),
            )  # fmt: skip
            try:
                for batch in source.batches():
                    seen.update(flow.uuid for flow in batch.flows)
                    if last in seen:
                        source.close()
            finally:
                source.close()
        wrong = {
            name: seen[name]
            for name in (f"{corpus.GOOD}-{at}" for at in range(len(given.call) + 1))
            if seen[name] != 1
        }
        if wrong:
            raise Fault(f"good records that did not come once: {wrong}")

    def answer(self, path: str) -> bytes:
        """The bytes of the unary call ``path``."""
        return next(
            (self._given.files[name] for name, (its, *_) in SOUND.items() if its == path), b""
        )

    def flows(self, raw: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """What is held from ``since`` on; a stream that follows ends as the input says, or waits."""
        request = pb.GetFlowsRequest.FromString(raw)
        at = self._connections
        ends = self._given.call
        if not request.follow:
            yield from self._spoilt(at)
            return
        self._connections += 1
        since = request.since.ToNanoseconds() if request.HasField("since") else 0
        for number in range(min(at, len(ends)) + 1):
            when = self._began + number * 3 * _SECOND
            if when >= since:
                yield _good(number, when)
            if number == at:
                yield from self._spoilt(at)
        if at >= len(ends):
            while context.is_active():
                time.sleep(0.005)
        elif ends[at] != "OK":
            context.abort(grpc.StatusCode[ends[at]], "the end\x1b[2J")

    def _spoilt(self, at: int) -> list[bytes]:
        files = sorted(self._given.files.items())
        return [data for name, data in files if name.endswith(f"-{at}.bin")]

    def close(self) -> None:
        self._server.stop(0).wait()
        self._wire.close()


def _good(number: int, when: int) -> bytes:
    record: dict[str, Any] = corpus.good()[0]
    message = ParseDict(record, pb.GetFlowsResponse())
    message.flow.uuid = f"{corpus.GOOD}-{number}"
    message.flow.l4.TCP.source_port = 50_000 + number
    message.flow.time.FromNanoseconds(when)
    message.time.FromNanoseconds(when)
    return message.SerializeToString()


class _Handler(_Generic):
    def __init__(self, follows: Follows) -> None:
        self._follows = follows

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = str(details.method)
        if path == _FLOWS:
            return grpc.unary_stream_rpc_method_handler(self._follows.flows)
        return grpc.unary_unary_rpc_method_handler(
            lambda _request, _context: self._follows.answer(path)
        )
