"""Hubble's records as structs: what msgspec reads a block of JSON lines into.

Only what is counted is listed; parts that repeat from record to record stay JSON text.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from google.protobuf.descriptor import Descriptor

from flowwatch.flows.ranges import LAST_TYPE, WITH_TYPES, OutOfRange
from flowwatch.hubble.wire.errors import WRONG_VALUE, NotAFlow
from flowwatch.hubble.wire.jsonpb import UNREADABLE, BadTime, nanoseconds
from flowwatch.hubble.wire.pb.observer import observer_pb2

Raw = msgspec.Raw
NONE = Raw()
"""A part that isn't there; compare by identity."""
_Unsigned = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Signed = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Name = str | _Signed


class _Ports(msgspec.Struct, gc=False):
    source_port: _Unsigned = 0
    destination_port: _Unsigned = 0
    flags: Raw = NONE
    type: _Unsigned = 0


class JsonLayer4(msgspec.Struct, gc=False):
    TCP: _Ports | None = None
    UDP: _Ports | None = None
    ICMPv4: _Ports | None = None
    ICMPv6: _Ports | None = None
    SCTP: _Ports | None = None
    VRRP: _Ports | None = None
    IGMP: _Ports | None = None


class _Addresses(msgspec.Struct, gc=False):
    source: str = ""
    destination: str = ""
    encrypted: bool = False


class _Event(msgspec.Struct, gc=False):
    type: _Signed = 0
    sub_type: _Signed = 0


class JsonFlow(msgspec.Struct, gc=False):
    """flow.Flow as JSON, in the order in which Hubble writes it (msgspec finds keys faster so)."""

    time: str = ""
    uuid: str = ""
    emitter: Raw = NONE
    verdict: Name = 0
    drop_reason: _Unsigned = 0
    auth_type: Name = 0
    IP: _Addresses | None = None
    l4: JsonLayer4 | None = None
    tunnel: Raw = NONE
    source: Raw = NONE
    destination: Raw = NONE
    Type: Raw = NONE
    node_name: str = ""
    source_names: tuple[str, ...] = ()
    destination_names: tuple[str, ...] = ()
    l7: Raw = NONE
    reply: bool = False
    event_type: _Event | None = None
    source_service: Raw = NONE
    destination_service: Raw = NONE
    traffic_direction: Name = 0
    policy_match_type: _Unsigned = 0
    ip_trace_id: Raw = NONE
    drop_reason_desc: Name = 0
    is_reply: bool | None = None
    Summary: Raw = NONE
    egress_allowed_by: Raw = NONE
    ingress_allowed_by: Raw = NONE
    egress_denied_by: Raw = NONE
    ingress_denied_by: Raw = NONE
    policy_log: Raw = NONE
    aggregate: Raw = NONE


class JsonLine(JsonFlow, gc=False):
    """A record: wrapped (``flow`` and the response's own fields), or a bare flow."""

    flow: JsonFlow | None = None
    lost_events: Raw = NONE
    node_status: Raw = NONE
    agent_event: Raw = NONE
    debug_event: Raw = NONE


# Not strict: numbers may be strings, as proto3's JSON allows.
_decode = msgspec.json.Decoder(JsonLine, strict=False).decode_lines
_decode_texts = msgspec.json.Decoder(Raw).decode_lines


def _camel_keys(message: Descriptor, into: dict[bytes, bytes]) -> dict[bytes, bytes]:
    for field in message.fields:
        key = field.json_name.encode()
        if field.json_name != field.name and key not in into:
            into[key] = field.name.encode()
        if field.message_type is not None and field.message_type.full_name != message.full_name:
            _camel_keys(field.message_type, into)
    return into


_SNAKE = _camel_keys(observer_pb2.ExportEvent.DESCRIPTOR, {})
# A quote inside of a string has a backslash before it, so this can only be a key.
CAMEL = re.compile(rb'"(?!ipVersion)([a-z]++[A-Z][A-Za-z]*+)"(?=\s*+:)')


def in_snake_case(text: bytes) -> bytes:
    return CAMEL.sub(lambda match: b'"' + _SNAKE.get(match[1], match[1]) + b'"', text)


def structs_of(block: bytes) -> list[JsonLine] | None:
    """The records in ``block``, whole values in a row; None when one isn't what the structs take."""
    try:
        lines = _decode(block)
        flows = [line.flow or line for line in lines]
        # A key that shows its case; every record of a whole flow has one.
        snake = [f.node_name or f.event_type or f.traffic_direction for f in flows]
        if not all(snake) and CAMEL.search(block):
            lines = _decode(in_snake_case(block))
    except UNREADABLE:
        return None
    return lines


def texts_of(block: bytes) -> list[bytes]:
    """The text of each record of a ``block`` that :func:`structs_of` could take."""
    return [bytes(text) for text in _decode_texts(block)]


def is_flow(line: JsonLine) -> bool:
    """Whether ``line`` is a flow, wrapped or bare."""
    return line.flow is not None or (
        line.lost_events is NONE
        and line.node_status is NONE
        and line.agent_event is NONE
        and line.debug_event is NONE
        and has_flow_fields(line)
    )


def may_wrap(line: JsonLine) -> bool:
    """Whether ``line`` is none of Hubble's records by itself, but may hold one."""
    return (
        line.flow is None
        and not line.verdict
        and line.IP is None
        and line.lost_events is NONE
        and line.node_status is NONE
        and line.agent_event is NONE
        and line.debug_event is NONE
    )


def time_of(line: JsonLine) -> int:
    """Nanoseconds of when ``line`` was recorded, 0 when it doesn't say; NotAFlow when unreadable."""
    return _time(line.time or (line.flow.time if line.flow is not None else ""))


def _time(text: str) -> int:
    try:
        return nanoseconds(text) if text else 0
    except BadTime:
        raise NotAFlow(WRONG_VALUE, "time") from None


def has_flow_fields(line: JsonLine) -> bool:
    return bool(
        line.verdict
        or line.IP is not None
        or line.l4 is not None
        or line.event_type is not None
        or line.traffic_direction
        or line.drop_reason_desc
        or line.drop_reason
        or line.uuid
        or any(
            part is not NONE
            for part in (line.source, line.destination, line.l7, line.Type, line.Summary)
        )
        or line.aggregate is not NONE
    )


NO_PORTS = ("", 0, 0)
"""Protocol and ports of a record without."""


def decided(m: JsonFlow) -> tuple[object, ...]:
    """What of a policy's verdict its kind depends on."""
    return (
        m.policy_match_type,
        m.auth_type,
        bytes(m.egress_allowed_by),
        bytes(m.egress_denied_by),
        bytes(m.ingress_allowed_by),
        bytes(m.ingress_denied_by),
    )


def ports_of(l4: JsonLayer4) -> tuple[str, int, int]:
    """Protocol and ports of what isn't TCP; for ICMP the message type is the destination port."""
    if (part := l4.UDP) is not None:
        return "UDP", part.source_port, part.destination_port
    if (part := l4.SCTP) is not None:
        return "SCTP", part.source_port, part.destination_port
    for protocol in WITH_TYPES:
        if (part := getattr(l4, protocol)) is not None:
            if part.type > LAST_TYPE:
                raise OutOfRange
            return protocol, 0, part.type
    return NO_PORTS
