"""The careful way: what can't be is taken out of a record, and told, so that the rest can be counted.

What can be is decided in :mod:`flowwatch.flows.ranges`; lines of JSON have a file of their own,
:mod:`flowwatch.flows.mend_json`.
"""

from __future__ import annotations

from typing import Any

from flowwatch.flows import ranges
from flowwatch.flows.ranges import WITH_PORTS
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.narrow import narrow_pb2


def mend(data: bytes, odd: list[str], latest: int) -> tuple[bytes, str]:
    """``data`` (a GetFlowsResponse) without a flow's values that can't be, whose names go to ``odd``.

    ``latest`` is a time (ns) after which none can be. Also what it calls its direction, if that is
    none we know. Raises DecodeError.
    """
    response = narrow_pb2.Response.FromString(data)
    if not response.HasField("flow"):
        return data, ""
    flow = response.flow
    time = ranges.moment(flow.time.seconds, flow.time.nanos)
    if time is None or time > latest:
        flow.ClearField("time")
        odd.append(ranges.TIME if time is None else ranges.AHEAD)
    odd_reasons = [
        name
        for name in ("drop_reason_desc", "drop_reason")
        if not ranges.is_reason(getattr(flow, name))
    ]
    for name in odd_reasons:
        flow.ClearField(name)  # type: ignore[arg-type]
    if odd_reasons:
        odd.append(ranges.REASON)
    _mend_layer4(flow, odd)
    direction = ""
    if flow.traffic_direction not in ranges.WAYS:
        direction = ranges.direction_name(flow.traffic_direction)
        odd.append(ranges.newer_direction(direction))
        flow.traffic_direction = 0
    return response.SerializeToString(), direction


def odd_layer4(kind: str, part: Any) -> str:
    """What can't be in ``part``, the message in Layer4's arm ``kind``; "" if all of it can."""
    if kind in WITH_PORTS:
        above = max(part.source_port, part.destination_port) > ranges.LAST_PORT
        return ranges.PORT if above else ""
    return ranges.TYPE if part.type > ranges.LAST_TYPE else ""


def _mend_layer4(flow: narrow_pb2.Flow, odd: list[str]) -> None:
    message = flow_pb2.Layer4.FromString(flow.l4)
    kind = message.WhichOneof("protocol")
    if kind is None:
        return
    part = getattr(message, kind)
    what = odd_layer4(kind, part)
    if not what:
        return
    odd.append(what)
    if kind in WITH_PORTS:
        for port in ("source_port", "destination_port"):
            if getattr(part, port) > ranges.LAST_PORT:
                part.ClearField(port)
    else:
        message.ClearField(kind)
    flow.l4 = message.SerializeToString()
