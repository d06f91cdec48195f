"""The observer API over the rings of the demo's nodes, as Hubble's relay serves it.

Unlike relay, which turns a bad request into a NODE_ERROR of each node and status OK, it answers one
with a status, as an observer does: it can't be missed that way.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import Message

from flowwatch.demo import health, mask
from flowwatch.demo.cluster import CLUSTER, Node
from flowwatch.demo.ring import Entry, Reader, Ring
from flowwatch.hubble.filters.flags import Filters
from flowwatch.hubble.filters.match import FilterError, compile_filters
from flowwatch.hubble.wire.errors import NotAFlow
from flowwatch.hubble.wire.pb.observer import observer_pb2 as api
from flowwatch.hubble.wire.pb.relay import relay_pb2

VERSION = "1.20.2"
"""Of Cilium, as the demo presents itself."""

RELAY = "hubble-relay.demo"
"""What relay's own events, the node status, give as node."""

MAX_STREAMS = 48
"""Flow streams at a time; each holds a thread."""

_WAIT = 0.25
"""Seconds after which a waiting stream looks whether its client is still there."""

_NAMESPACE_SECONDS = 3600.0

Request = TypeVar("Request", bound=Message)


class Namespaces:
    """The namespaces seen in flows of the last hour."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    def add(self, entry: Entry) -> None:
        flow = entry.flow
        if flow is not None:
            for namespace in (flow.source.namespace, flow.destination.namespace):
                if namespace:
                    self._seen[namespace] = time.monotonic()

    def all(self) -> list[str]:
        """In alphabetical order."""
        oldest = time.monotonic() - _NAMESPACE_SECONDS
        return sorted(name for name, seen in list(self._seen.items()) if seen >= oldest)


class Observer:
    """The calls. ``stopped`` ends the streams."""

    def __init__(
        self,
        nodes: Sequence[Node],
        rings: Sequence[Ring],
        namespaces: Namespaces,
        news: threading.Condition,
        stopped: threading.Event,
    ) -> None:
        self._nodes, self._rings = tuple(nodes), tuple(rings)
        self._namespaces, self._news, self._stopped = namespaces, news, stopped
        self._started = time.monotonic_ns()
        self._streams = threading.BoundedSemaphore(MAX_STREAMS)

    def handler(self) -> grpc.GenericRpcHandler[Any, Any]:
        """All calls of observer.Observer."""
        unary: dict[str, tuple[Callable[..., Message], type[Message]]] = {
            "ServerStatus": (self.server_status, api.ServerStatusRequest),
            "GetNodes": (self.get_nodes, api.GetNodesRequest),
            "GetNamespaces": (self.get_namespaces, api.GetNamespacesRequest),
        }
        streams: dict[str, tuple[Callable[..., Iterator[Message]], type[Message]]] = {
            "GetFlows": (self.get_flows, api.GetFlowsRequest),
            "GetAgentEvents": (self.not_here("GetAgentEvents"), api.GetAgentEventsRequest),
            "GetDebugEvents": (self.not_here("GetDebugEvents"), api.GetDebugEventsRequest),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                _with_metadata(call), request.FromString, _serialize
            )
            for name, (call, request) in unary.items()
        }
        handlers |= {
            name: grpc.unary_stream_rpc_method_handler(
                _with_metadata(call), request.FromString, _serialize
            )
            for name, (call, request) in streams.items()
        }
        return grpc.method_handlers_generic_handler("observer.Observer", handlers)

    def server_status(
        self, request: api.ServerStatusRequest, context: grpc.ServicerContext
    ) -> api.ServerStatusResponse:
        now = time.time_ns()
        status = api.ServerStatusResponse(
            num_flows=sum(map(len, self._rings)),
            max_flows=sum(ring.capacity for ring in self._rings),
            seen_flows=sum(ring.flows for ring in self._rings),
            uptime_ns=time.monotonic_ns() - self._started,
            version=f"hubble-relay v{VERSION}",
            flows_rate=sum(ring.rate(now) for ring in self._rings),
        )
        status.num_connected_nodes.value = len(self._rings)
        status.num_unavailable_nodes.value = 0
        return status

    def get_nodes(
        self, request: api.GetNodesRequest, context: grpc.ServicerContext
    ) -> api.GetNodesResponse:
        uptime = time.monotonic_ns() - self._started
        return api.GetNodesResponse(
            nodes=[
                api.Node(
                    name=node.name,
                    version=f"cilium v{VERSION}",
                    address=f"{node.address}:4244",
                    state=relay_pb2.NODE_CONNECTED,
                    tls=api.TLS(enabled=True, server_name=_tls_name(node.name)),
                    uptime_ns=uptime,
                    num_flows=len(ring),
                    max_flows=ring.capacity,
                    seen_flows=ring.flows,
                )
                for node, ring in zip(self._nodes, self._rings, strict=True)
            ]
        )

    def get_namespaces(
        self, request: api.GetNamespacesRequest, context: grpc.ServicerContext
    ) -> api.GetNamespacesResponse:
        names = self._namespaces.all()
        return api.GetNamespacesResponse(
            namespaces=[api.Namespace(cluster=CLUSTER, namespace=name) for name in names]
        )

    def not_here(self, name: str) -> Callable[..., Iterator[Message]]:
        """A call that relay doesn't serve."""

        def refuse(request: Message, context: grpc.ServicerContext) -> NoReturn:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{name} not yet implemented")

        return refuse

    def get_flows(
        self, request: api.GetFlowsRequest, context: grpc.ServicerContext
    ) -> Iterator[api.GetFlowsResponse]:
        if request.first and request.follow:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "first cannot be specified with follow")
        try:
            match = compile_filters(Filters(list(request.whitelist), list(request.blacklist)))
            parts = mask.tree(request.field_mask)
        except (FilterError, mask.BadMask) as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        if not self._streams.acquire(blocking=False):
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the demo serves {MAX_STREAMS} flow streams at a time",
            )
        try:
            connected = api.GetFlowsResponse(node_name=RELAY)
            connected.time.GetCurrentTime()
            connected.node_status.state_change = relay_pb2.NODE_CONNECTED
            connected.node_status.node_names.extend(ring.node for ring in self._rings)
            yield connected
            readers = [Reader(ring, request, match) for ring in self._rings]
            for entry in self._entries(readers, request.follow, context):
                yield _masked(entry.response, parts) if parts else entry.response
        except NotAFlow as error:  # a filter that takes too long
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        finally:
            self._streams.release()

    def _entries(
        self, readers: list[Reader], follow: bool, context: grpc.ServicerContext
    ) -> Iterator[Entry]:
        """What the nodes have, in the order of time; then what comes, as it comes."""
        ends = [reader.ring.written for reader in readers]
        held = [reader.all(end) for reader, end in zip(readers, ends, strict=True)]
        yield from heapq.merge(*held, key=lambda entry: entry.time)
        while follow and context.is_active() and not self._stopped.is_set():
            taken = [entry for reader in readers for entry in reader.take()]
            yield from sorted(taken, key=lambda entry: entry.time)
            if all(reader.ended for reader in readers):
                return
            if not taken:
                with self._news:
                    if not any(reader.behind() for reader in readers):
                        self._news.wait(_WAIT)


class Unknown(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Whatever isn't served, refused in the words of a server that is written in Go."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        service, _, method = details.method.strip("/").rpartition("/")
        known = service in ("observer.Observer", health.NAME)
        what = (
            f"unknown method {method} for service {service}"
            if known
            else f"unknown service {service}"
        )

        def refuse(requests: Iterator[bytes], context: grpc.ServicerContext) -> NoReturn:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, what)

        return grpc.stream_stream_rpc_method_handler(refuse)


def _masked(response: api.GetFlowsResponse, parts: mask.Tree) -> api.GetFlowsResponse:
    """``response`` with a part of its flow; its own time and node are taken from that part."""
    if not response.HasField("flow"):
        return response
    smaller = api.GetFlowsResponse()
    flow = smaller.flow
    mask.copy(response.flow, flow, parts)
    smaller.flow.SetInParent()
    smaller.node_name = flow.node_name
    if flow.HasField("time"):
        smaller.time.CopyFrom(flow.time)
    return smaller


Reply = TypeVar("Reply")


def _with_metadata(
    call: Callable[[Request, grpc.ServicerContext], Reply],
) -> Callable[[Request, grpc.ServicerContext], Reply]:
    def answer(request: Request, context: grpc.ServicerContext) -> Reply:
        context.send_initial_metadata((("hubble-relay-version", VERSION),))
        return call(request, context)

    return answer


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _tls_name(node: str) -> str:
    """The name in an observer's certificate, as Cilium makes it of ``cluster/node``."""
    cluster, _, name = node.rpartition("/")
    return f"{name.replace('.', '-')}.{cluster.replace('.', '-')}.hubble-grpc.cilium.io"
