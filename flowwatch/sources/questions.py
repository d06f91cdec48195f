"""What a source asks a Hubble server beside its stream of flows (flowwatch.sources.server.Server)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from flowwatch.errors import Refused, Unreachable
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.hubble.wire.pb.relay import relay_pb2
from flowwatch.sources.nodes import UNAVAILABLE, NodeNow, ServerNow

if TYPE_CHECKING:
    from flowwatch.hubble.client.connection import Connection

PEEKED = 20
"""Records looked at of those that a silent stream should have brought."""


def server_now(connection: Connection) -> ServerNow:
    """The server and its nodes. Raises ServerError.

    Of a relay too old for a list of nodes, the status still names those that it can't reach, ten
    at most.
    """
    status = connection.server_status()
    if not status.HasField("num_connected_nodes"):
        alone = NodeNow("", uptime=status.uptime_ns, held=status.num_flows, room=status.max_flows)
        return ServerNow(status.version, (alone,))
    connected = status.num_connected_nodes.value
    unavailable = status.num_unavailable_nodes.value
    try:
        listed = connection.nodes().nodes
    except Refused:
        away = tuple(NodeNow(name, UNAVAILABLE) for name in status.unavailable_nodes)
        return ServerNow(status.version, away, connected, unavailable, complete=False)
    states = relay_pb2.NodeState.values()
    nodes = tuple(
        NodeNow(
            node.name,
            relay_pb2.NodeState.Name(node.state) if node.state in states else UNAVAILABLE,
            node.uptime_ns,
            node.num_flows,
            node.max_flows,
        )
        for node in listed
    )
    return ServerNow(status.version, nodes, connected, unavailable)


def oldest(connection: Connection) -> dict[str, int]:
    """Time (ns) of the oldest record in each node's ring; of an observer's under "".

    The first record of all: relay asks that of each node. Raises ServerError.
    """
    request = observer_pb2.GetFlowsRequest(number=1, first=True)
    request.field_mask.paths.extend(("time", "node_name"))
    alone = not connection.server_status().HasField("num_connected_nodes")
    found: dict[str, int] = {}
    for flow in WireDecoder().decode(_answer(connection, request)).flows:
        if flow.time:
            name = "" if alone else flow.node
            found[name] = min(flow.time, found.get(name, flow.time))
    return found


def peek(connection: Connection, request: observer_pb2.GetFlowsRequest) -> list[bytes]:
    """The first messages that answer ``request``, without following. Raises ServerError."""
    once = observer_pb2.GetFlowsRequest()
    once.CopyFrom(request)
    once.follow = False
    once.number = PEEKED
    return _answer(connection, once)


def _answer(connection: Connection, request: observer_pb2.GetFlowsRequest) -> list[bytes]:
    """All that answers a request that ends; it has the time that other calls have."""
    stream = connection.get_flows(request)
    late = threading.Event()

    def give_up() -> None:
        late.set()
        stream.cancel()

    timer = threading.Timer(connection.settings.request_timeout, give_up)
    timer.daemon = True
    timer.start()
    try:
        found = list(stream)
    finally:
        timer.cancel()
    if late.is_set():
        raise Unreachable(f"{connection.address.text} did not answer in time")
    return found
