"""The careful way for a line of JSON: what :mod:`flowwatch.flows.mend` does for a message."""

from __future__ import annotations

from flowwatch.flows import ranges
from flowwatch.flows.enums import DIRECTIONS, REASONS
from flowwatch.flows.json_structs import JsonLayer4, JsonLine
from flowwatch.flows.mend import odd_layer4
from flowwatch.flows.ranges import WITH_PORTS, WITH_TYPES
from flowwatch.hubble.wire.jsonwire import nanoseconds


def mend_line(line: JsonLine, odd: list[str]) -> str:
    """Take a flow's values that can't be out of ``line``, in place; their names go to ``odd``.

    What it calls its direction, if that is none we know. NotAFlow and BadTime may come through.
    """
    flow = line.flow or line
    stamp = flow.time or line.time
    if stamp and not 0 <= nanoseconds(stamp) <= ranges.LATEST:
        flow.time = line.time = ""
        odd.append(ranges.TIME)
    if not ranges.is_reason(REASONS[flow.drop_reason_desc]):
        flow.drop_reason_desc = 0
        odd.append(ranges.REASON)
    if not ranges.is_reason(flow.drop_reason):
        flow.drop_reason = 0
        odd.append(ranges.REASON)
    if flow.l4 is not None:
        _mend_json_layer4(flow.l4, odd)
    odd[:] = dict.fromkeys(odd)
    direction = DIRECTIONS[flow.traffic_direction]
    if direction in ranges.WAYS:
        return ""
    flow.traffic_direction = 0
    name = ranges.direction_name(direction)
    odd.append(ranges.newer_direction(name))
    return name


def _mend_json_layer4(l4: JsonLayer4, odd: list[str]) -> None:
    for kind in WITH_PORTS:
        part = getattr(l4, kind)
        if part is not None and odd_layer4(kind, part):
            odd.append(ranges.PORT)
            part.source_port = _port(part.source_port)
            part.destination_port = _port(part.destination_port)
    for kind in WITH_TYPES:
        part = getattr(l4, kind)
        if part is not None and odd_layer4(kind, part):
            odd.append(ranges.TYPE)
            setattr(l4, kind, None)


def _port(number: int) -> int:
    return number if number <= ranges.LAST_PORT else 0
