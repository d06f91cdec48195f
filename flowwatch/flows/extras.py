"""What few records carry, read from the whole message by both decoders: see :class:`Extras`.

``policy_log``, ``encrypted``, ``ip_trace_id``, ``tunnel`` and ``aggregate`` of flow.Flow (Cilium 1.20.2,
api/v1/flow/flow.proto; written by pkg/policy/correlation, pkg/hubble/parser/threefour and
pkg/hubble/exporter/aggregator.go).
"""

from __future__ import annotations

from msgspec.structs import replace

from flowwatch.flows.enums import enum_name
from flowwatch.flows.known import changed
from flowwatch.flows.model import Batch, Direction, Extras, Flow, Standing, Tunnel
from flowwatch.hubble.wire.pb.flow import flow_pb2

ENCRYPTED = Extras(encrypted=True)
"""Of a record that carries nothing else: where packets are encrypted, many do."""

_TUNNELS = flow_pb2.Tunnel.Protocol.DESCRIPTOR


def extras_of(flow: flow_pb2.Flow) -> Extras | None:
    """What of the rare fields ``flow`` carries; None where it carries none."""
    extras = Extras(
        tuple(flow.policy_log),
        flow.IP.encrypted,
        flow.ip_trace_id.trace_id,
        _tunnel(flow.tunnel) if flow.HasField("tunnel") else None,
        _standing(flow.aggregate) if flow.HasField("aggregate") else None,
    )
    return None if extras == _NOTHING else extras


def emitter_name(message: flow_pb2.Emitter) -> str:
    """Name and version of who wrote a record."""
    return f"{message.name} {message.version}".strip()


def split(batch: Batch) -> None:
    """Make each aggregated line of ``batch`` one flow for each direction that it counts.

    A line whose key leaves the direction out stands for records of both: what was seen leaving one
    pod and entering the other.
    """
    flows: list[Flow] = []
    for flow in batch.flows:
        extras = flow.extras
        if extras is None or extras.standing is None:
            flows.append(flow)
        else:
            flows += _by_direction(flow, extras, extras.standing)
    batch.more += len(flows) - len(batch.flows)
    batch.flows = flows


_NOTHING = Extras()


def _tunnel(message: flow_pb2.Tunnel) -> Tunnel:
    return Tunnel(
        enum_name(_TUNNELS, message.protocol),
        message.IP.source,
        message.IP.destination,
        message.vni,
    )


def _standing(message: flow_pb2.Aggregate) -> Standing | None:
    found = Standing(
        message.ingress_flow_count,
        message.egress_flow_count,
        message.unknown_direction_flow_count,
    )
    # Empty braces stand for nothing.
    return found if found != Standing() else None


def _by_direction(flow: Flow, extras: Extras, standing: Standing) -> list[Flow]:
    counted = (
        (Direction.EGRESS, Standing(egress=standing.egress)),
        (Direction.INGRESS, Standing(ingress=standing.ingress)),
        (Direction.UNKNOWN, Standing(unknown=standing.unknown)),
    )
    ways = [(int(way), part) for way, part in counted if part != Standing()]
    if flow.direction or flow.newer_direction or len(ways) == 1:
        if not flow.direction:
            flow.kind = changed(flow.kind, direction=ways[0][0])
        return [flow]
    return [
        replace(
            flow,
            kind=changed(flow.kind, direction=way),
            extras=replace(extras, standing=part),
        )
        for way, part in ways
    ]
