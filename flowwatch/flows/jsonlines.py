"""From Hubble's JSON to :class:`Flow`: the hot path of capture files.

msgspec reads whole blocks of lines straight into structs that list only what is counted; parts that
repeat (endpoints, policies, services) stay JSON text, which is the key under which their meaning
is looked up, as on the wire. What the structs can't take (numbers as strings are fine, but not
``null`` or a float) goes the long way round through :mod:`flowwatch.hubble.jsonpb` and comes back
in Hubble's own form, so that there is only one reading of it. The rules about what is kept from
which record are those of :mod:`flowwatch.flows.wire`; of records without an event type (masked
exports, old captures) everything is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor

from flowwatch.flows.intern import make_endpoint, make_policy, service_name
from flowwatch.flows.model import (
    Batch,
    Direction,
    Endpoint,
    EventType,
    Flow,
    Layer7,
    LostEvents,
    NodeStatus,
    PolicyRef,
    Verdict,
)
from flowwatch.hubble.jsonpb import BadTime, FlowParser, message_to_json, nanoseconds
from flowwatch.hubble.newer import newer_name, newer_number
from flowwatch.hubble.pb.flow import flow_pb2
from flowwatch.hubble.pb.observer import observer_pb2
from flowwatch.hubble.pb.relay import relay_pb2
from flowwatch.hubble.records import (
    AGENT_EVENT,
    AGGREGATED,
    DEBUG_EVENT,
    NO_FLOW,
    WRONG_VALUE,
    NotAFlow,
)

CACHE_LIMIT = 65_536
"""Distinct parts remembered per kind; past it the memory starts anew."""

_Value = TypeVar("_Value")
_Raw = msgspec.Raw
_NONE = _Raw()
_Unsigned = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Signed = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_Name = str | _Signed


class _Ports(msgspec.Struct, gc=False):
    source_port: _Unsigned = 0
    destination_port: _Unsigned = 0
    flags: _Raw = _NONE
    type: _Unsigned = 0


class _Layer4(msgspec.Struct, gc=False):
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


class _Event(msgspec.Struct, gc=False):
    type: _Signed = 0
    sub_type: _Signed = 0


class _Flow(msgspec.Struct, gc=False):
    """flow.Flow as JSON, in the order in which Hubble writes it (msgspec finds keys faster so)."""

    time: str = ""
    uuid: str = ""
    verdict: _Name = 0
    drop_reason: _Unsigned = 0
    auth_type: _Name = 0
    IP: _Addresses | None = None
    l4: _Layer4 | None = None
    source: _Raw = _NONE
    destination: _Raw = _NONE
    Type: _Raw = _NONE
    node_name: str = ""
    source_names: tuple[str, ...] = ()
    destination_names: tuple[str, ...] = ()
    l7: _Raw = _NONE
    reply: bool = False
    event_type: _Event | None = None
    source_service: _Raw = _NONE
    destination_service: _Raw = _NONE
    traffic_direction: _Name = 0
    policy_match_type: _Unsigned = 0
    drop_reason_desc: _Name = 0
    is_reply: bool | None = None
    Summary: _Raw = _NONE
    egress_allowed_by: _Raw = _NONE
    ingress_allowed_by: _Raw = _NONE
    egress_denied_by: _Raw = _NONE
    ingress_denied_by: _Raw = _NONE
    aggregate: _Raw = _NONE


class _Line(_Flow, gc=False):
    """A record: wrapped (``flow`` and the response's own fields), or a bare flow."""

    flow: _Flow | None = None
    lost_events: _Raw = _NONE
    node_status: _Raw = _NONE
    agent_event: _Raw = _NONE
    debug_event: _Raw = _NONE


# Not strict: numbers may be strings, as proto3's JSON allows.
_decode = msgspec.json.Decoder(_Line, strict=False).decode_lines
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


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
_CAMEL = re.compile(rb'"(?!ipVersion)([a-z]++[A-Z][A-Za-z]*+)"(?=\s*+:)')


def _in_snake_case(text: bytes) -> bytes:
    return _CAMEL.sub(lambda match: b'"' + _SNAKE.get(match[1], match[1]) + b'"', text)


class _Memory(dict[bytes, _Value]):
    """JSON text → what it means, parsed on the first look-up; bounded by CACHE_LIMIT."""

    def __init__(self, parse: Callable[[bytes], _Value]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, text: bytes) -> _Value:
        value = self._parse(text)
        if len(self) >= CACHE_LIMIT:
            self.clear()
        self[text] = value
        return value


class _Numbers(dict[_Name, int]):
    """Enum name or number → number; names newer than ours get one of their own."""

    def __init__(self, enum: EnumDescriptor) -> None:
        super().__init__({name: value.number for name, value in enum.values_by_name.items()})
        self[""] = 0

    def __missing__(self, value: _Name) -> int:
        if isinstance(value, int):
            return value
        if value.lstrip("-").isdecimal():
            return int(value)
        if not value.isascii() or not value.isidentifier() or len(value) > 64:
            raise NotAFlow(WRONG_VALUE, "enum name")
        return newer_number(value)


_VERDICTS = _Numbers(flow_pb2.Verdict.DESCRIPTOR)
_DIRECTIONS = _Numbers(flow_pb2.TrafficDirection.DESCRIPTOR)
_REASONS = _Numbers(flow_pb2.DropReason.DESCRIPTOR)
_AUTH_TYPES = _Numbers(flow_pb2.AuthType.DESCRIPTOR)
_LOST_SOURCE = flow_pb2.LostEventSource.DESCRIPTOR
_NODE_STATE = relay_pb2.NodeState.DESCRIPTOR
_FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS")

_EGRESS, _FORWARDED = int(Direction.EGRESS), int(Verdict.FORWARDED)
# Records that carry policies; those without an event type may be of this kind.
_DECISIONS = frozenset({int(EventType.POLICY_VERDICT), int(EventType.UNKNOWN)})
_NO_PORTS = ("", 0, 0)
_NO_NAMES: tuple[str, ...] = ()
_NO_POLICIES: tuple[PolicyRef, ...] = ()
_NO_ENDPOINT = make_endpoint(0, "", "", (), (), "")


def _enum_name(enum: EnumDescriptor, number: int) -> str:
    known = enum.values_by_number.get(number)
    return known.name if known is not None else newer_name(number) or str(number)


class LineDecoder:
    """Decodes records; keeps what it learnt about repeated parts. One thread."""

    def __init__(self) -> None:
        self.parser = FlowParser()
        self._endpoints = _Memory(self._endpoint)
        self._policies = _Memory(self._policy_list)
        self._services = _Memory(self._service)
        self._layer7 = _Memory(self._l7)
        self._flags = _Memory(self._flag_bits)
        self._nodes: dict[str, str] = {}

    def lines(self, block: bytes) -> Batch | None:
        """All of ``block``, whole lines of JSON; None when some line isn't what the structs take."""
        decoded = self.structs(block)
        return None if decoded is None else self.batch(decoded)

    def structs(self, block: bytes) -> list[_Line] | None:
        """``block`` as structs for :meth:`batch`, one for each record."""
        try:
            lines = _decode(block)
            if not all(map(_is_snake, lines)) and _CAMEL.search(block):
                lines = _decode(_in_snake_case(block))
        except UNREADABLE:
            return None
        return lines

    def record(self, record: bytes, batch: Batch) -> None:
        """Add one record to ``batch``, by the long way when it needs that."""
        lines = self.structs(record)
        if lines is None:
            try:
                lines = self.structs(message_to_json(self.parser.response(record)).encode())
            except NotAFlow as error:
                count(batch.skipped, error.reason)
                return
        merge(batch, self.batch(lines or []))

    def batch(self, lines: list[_Line]) -> Batch:
        """What ``lines`` say, in their order; what is no flow is counted."""
        batch = Batch()
        add = batch.flows.append
        nodes, endpoints = self._nodes, self._endpoints
        for line in lines:
            try:
                m = line.flow
                if m is None:
                    if not self._is_bare(line, batch):
                        continue
                    m = line
                if m.aggregate is not _NONE and bytes(m.aggregate) not in (b"null", b"{}"):
                    raise NotAFlow(AGGREGATED)
                verdict = _VERDICTS[m.verdict]
                direction = _DIRECTIONS[m.traffic_direction]
                if (happened := m.event_type) is not None:
                    event, sub_type = happened.type, happened.sub_type
                else:
                    event = sub_type = 0
                if (ip := m.IP) is not None:
                    source_ip, destination_ip = ip.source, ip.destination
                else:
                    source_ip = destination_ip = ""
                flags = 0
                if (l4 := m.l4) is None:
                    protocol, source_port, destination_port = _NO_PORTS
                elif (tcp := l4.TCP) is not None:
                    protocol, source_port, destination_port = (
                        "TCP",
                        tcp.source_port,
                        tcp.destination_port,
                    )
                    if (raw := tcp.flags) is not _NONE:
                        flags = self._flags[bytes(raw)]
                else:
                    protocol, source_port, destination_port = _ports(l4)
                reply = m.is_reply
                if reply is None and m.reply:
                    # Old servers have only this one, true when known.
                    reply = True
                # Names and services are the far end's: of the source in a reply, else the
                # destination.
                source_names = names = _NO_NAMES
                source_service = service = ""
                if reply:
                    source_names = m.source_names
                    if (raw := m.source_service) is not _NONE:
                        source_service = self._services[bytes(raw)]
                else:
                    names = m.destination_names
                    if (raw := m.destination_service) is not _NONE:
                        service = self._services[bytes(raw)]
                    if direction != _EGRESS:
                        source_names = m.source_names
                allowed = denied = _NO_POLICIES
                match_type = auth_type = 0
                if event in _DECISIONS:
                    allowed, denied = self._policies_of(m, direction)
                    match_type, auth_type = m.policy_match_type, _AUTH_TYPES[m.auth_type]
                time = m.time or line.time
                node = m.node_name or line.node_name
                raw_source, raw_destination = m.source, m.destination
                add(
                    Flow(
                        nanoseconds(time) if time else 0,
                        verdict,
                        (_REASONS[m.drop_reason_desc] or m.drop_reason)
                        if verdict != _FORWARDED
                        else 0,
                        direction,
                        reply,
                        event,
                        sub_type,
                        endpoints[bytes(raw_source)] if raw_source is not _NONE else _NO_ENDPOINT,
                        endpoints[bytes(raw_destination)]
                        if raw_destination is not _NONE
                        else _NO_ENDPOINT,
                        source_ip,
                        destination_ip,
                        protocol,
                        source_port,
                        destination_port,
                        flags,
                        source_names,
                        names,
                        source_service,
                        service,
                        self._layer7[bytes(m.l7)] if m.l7 is not _NONE else None,
                        allowed,
                        denied,
                        match_type,
                        auth_type,
                        nodes.get(node) or nodes.setdefault(node, node),
                        m.uuid,
                    )
                )
            except NotAFlow as error:
                count(batch.skipped, error.reason)
            except BadTime:
                count(batch.skipped, WRONG_VALUE)
        return batch

    def _policies_of(
        self, m: _Flow, direction: int
    ) -> tuple[tuple[PolicyRef, ...], tuple[PolicyRef, ...]]:
        """Who allowed and who denied; Hubble fills only the lists of the record's direction."""
        if direction == _EGRESS:
            allowed, denied = m.egress_allowed_by, m.egress_denied_by
        else:
            allowed, denied = m.ingress_allowed_by, m.ingress_denied_by
        return (
            self._policies[bytes(allowed)] if allowed is not _NONE else _NO_POLICIES,
            self._policies[bytes(denied)] if denied is not _NONE else _NO_POLICIES,
        )

    def _is_bare(self, line: _Line, batch: Batch) -> bool:
        """Whether ``line`` is a flow by itself; anything else it may be is dealt with."""
        if line.lost_events is not _NONE:
            batch.lost.append(self._lost(line))
        elif line.node_status is not _NONE:
            batch.nodes.append(self._node_status(line))
        elif line.agent_event is not _NONE:
            raise NotAFlow(AGENT_EVENT)
        elif line.debug_event is not _NONE:
            raise NotAFlow(DEBUG_EVENT)
        elif not _has_flow_fields(line):
            raise NotAFlow(NO_FLOW)
        else:
            return True
        return False

    # The parts that repeat are parsed by the wire contract's own tables.

    def _endpoint(self, text: bytes) -> Endpoint:
        message = self.parser.flow({"source": _Raw(text)}).source
        return make_endpoint(
            message.identity,
            message.namespace,
            message.pod_name,
            tuple(message.labels),
            tuple((w.kind, w.name) for w in message.workloads),
            message.cluster_name,
        )

    def _policy_list(self, text: bytes) -> tuple[PolicyRef, ...]:
        policies = self.parser.flow({"egress_allowed_by": _Raw(text)}).egress_allowed_by
        return tuple(make_policy(p.kind, p.namespace, p.name) for p in policies)

    def _service(self, text: bytes) -> str:
        message = self.parser.flow({"source_service": _Raw(text)}).source_service
        return service_name(message.namespace, message.name)

    def _flag_bits(self, text: bytes) -> int:
        flow = self.parser.flow({"l4": _Raw(b'{"TCP":{"flags":' + text + b"}}")})
        flags = flow.l4.TCP.flags
        return sum(1 << bit for bit, name in enumerate(_FLAG_NAMES) if getattr(flags, name))

    def _l7(self, text: bytes) -> Layer7 | None:
        flow = self.parser.flow({"l7": _Raw(text)})
        if not flow.HasField("l7"):
            return None
        message = flow.l7
        dns, http = message.dns, message.http
        return Layer7(
            message.type,
            dns.query.rstrip("."),
            tuple(dns.ips),
            dns.ttl,
            dns.rcode,
            tuple(dns.cnames),
            http.method,
            http.url,
            http.code,
        )

    def _lost(self, line: _Line) -> LostEvents:
        message = self.parser.response(b'{"lost_events":' + bytes(line.lost_events) + b"}")
        lost = message.lost_events
        return LostEvents(
            source=_enum_name(_LOST_SOURCE, lost.source),
            count=lost.num_events_lost,
            node=line.node_name,
            time=_time(line.time),
            first=lost.first.ToNanoseconds() if lost.HasField("first") else 0,
            last=lost.last.ToNanoseconds() if lost.HasField("last") else 0,
        )

    def _node_status(self, line: _Line) -> NodeStatus:
        message = self.parser.response(b'{"node_status":' + bytes(line.node_status) + b"}")
        status = message.node_status
        return NodeStatus(
            _enum_name(_NODE_STATE, status.state_change),
            tuple(status.node_names),
            status.message,
        )


def _ports(l4: _Layer4) -> tuple[str, int, int]:
    """Protocol and ports of what isn't TCP; for ICMP the message type is the destination port."""
    if (part := l4.UDP) is not None:
        return "UDP", part.source_port, part.destination_port
    if (part := l4.SCTP) is not None:
        return "SCTP", part.source_port, part.destination_port
    for protocol in ("ICMPv4", "ICMPv6", "VRRP", "IGMP"):
        if (part := getattr(l4, protocol)) is not None:
            return protocol, 0, part.type
    return _NO_PORTS


def time_of(line: _Line) -> int:
    """Nanoseconds of when ``line`` was recorded, 0 when it doesn't say; NotAFlow when unreadable."""
    return _time(line.time or (line.flow.time if line.flow is not None else ""))


def merge(batch: Batch, more: Batch) -> None:
    """Add what ``more`` holds to ``batch``."""
    batch.flows += more.flows
    batch.lost += more.lost
    batch.nodes += more.nodes
    for reason, number in more.skipped.items():
        count(batch.skipped, reason, number)


def count(skipped: dict[str, int], reason: str, number: int = 1) -> None:
    """Count ``number`` records that were passed over because of ``reason``."""
    skipped[reason] = skipped.get(reason, 0) + number


def _time(text: str) -> int:
    try:
        return nanoseconds(text) if text else 0
    except BadTime:
        raise NotAFlow(WRONG_VALUE, "time") from None


def _has_flow_fields(line: _Line) -> bool:
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
            part is not _NONE
            for part in (line.source, line.destination, line.l7, line.Type, line.Summary)
        )
        or line.aggregate is not _NONE
    )


def _is_snake(line: _Line) -> bool:
    """Whether ``line`` has a key that shows its case; every record of a whole flow has one."""
    flow = line.flow or line
    return bool(flow.node_name or flow.event_type or flow.traffic_direction)
