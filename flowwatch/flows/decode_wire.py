"""From the wire to :class:`Flow`: the hot path of everything live.

Messages are parsed with ``proto/narrow``, where sub-messages that repeat (endpoints, addresses,
ports, policies, services) stay bytes. Those bytes are looked up, and parsed only the first time.
On 65,535 generated flows this took 4.0 µs a flow, against 9.9 µs with the full messages.

So a message is parsed in two steps, and either may fail: then that record is unread, and told with
the field that is damaged; all others are read. One with a value that can't be
(:mod:`flowwatch.flows.ranges`) is mended (:mod:`flowwatch.flows.mend`) and read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from google.protobuf import wrappers_pb2
from google.protobuf.message import DecodeError

from flowwatch.errors import defect
from flowwatch.flows.enums import LOST_SOURCE, NODE_STATE, enum_name
from flowwatch.flows.extras import ENCRYPTED, emitter_name, extras_of, split
from flowwatch.flows.guard import records_in, unread
from flowwatch.flows.mend import mend, odd_layer4
from flowwatch.flows.model import (
    Batch,
    Direction,
    Endpoint,
    EventType,
    Extras,
    Flow,
    Layer7,
    LostEvents,
    NodeStatus,
    PolicyRef,
    Verdict,
)
from flowwatch.flows.ranges import (
    LAST_REASON,
    LATEST,
    PORT_BITS,
    SECOND,
    WAYS,
    OutOfRange,
    check_reason,
    count_odd,
    known_times,
    moment,
)
from flowwatch.flows.shared_values import make_endpoint, make_policy
from flowwatch.hubble.wire.damage import damage
from flowwatch.hubble.wire.names import TCP_FLAGS
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.narrow import narrow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.hubble.wire.pb.relay import relay_pb2

_Value = TypeVar("_Value")

# Distinct sub-messages remembered per kind. Past it the memory starts anew: an endpoint is then
# parsed once more, nothing else changes.
CACHE_LIMIT = 65_536

NEWER_KIND = "unknown kind of response"


EGRESS, FORWARDED = int(Direction.EGRESS), int(Verdict.FORWARDED)
POLICY_VERDICT = int(EventType.POLICY_VERDICT)
NO_NAMES: tuple[str, ...] = ()
NO_POLICIES: tuple[PolicyRef, ...] = ()

Addresses = tuple[str, str, bool]
Ports = tuple[str, int, int, int]


def _endpoint(data: bytes) -> Endpoint:
    message = flow_pb2.Endpoint.FromString(data)
    return make_endpoint(
        message.identity,
        message.namespace,
        message.pod_name,
        tuple(message.labels),
        message.workloads[0].name if message.workloads else "",
        message.cluster_name,
    )


def _addresses(data: bytes) -> Addresses:
    message = flow_pb2.IP.FromString(data)
    return message.source, message.destination, message.encrypted


def _parsed_ports(data: bytes) -> Ports:
    message = flow_pb2.Layer4.FromString(data)
    kind = message.WhichOneof("protocol")
    if kind is None:
        return "", 0, 0, 0
    part = getattr(message, kind)
    if odd_layer4(kind, part):
        raise OutOfRange
    if kind == "TCP":
        set_flags = part.flags
        flags = sum(1 << bit for bit, name in enumerate(TCP_FLAGS) if getattr(set_flags, name))
        return kind, part.source_port, part.destination_port, flags
    if kind in ("UDP", "SCTP"):
        return kind, part.source_port, part.destination_port, 0
    return kind, 0, part.type, 0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


# Layer4 { TCP = 1, UDP = 2 } of { source_port = 1, destination_port = 2, flags = 3 }.
_TCP_TAG, _UDP_TAG, _SOURCE_TAG, _DESTINATION_TAG, _FLAGS_TAG = 0x0A, 0x12, 0x08, 0x10, 0x1A


def _ports(data: bytes) -> Ports:
    """Ports and flags, read off the bytes where they have the form that every Hubble writes.

    Nearly every connection has ports of its own, so remembering helps little here and the 2.3 µs
    of a real parse would be a tenth of a flow's whole time; this takes 0.6. Any other form (a
    field left out, in another order, or unknown) is left to protobuf.
    """
    try:
        tag = data[0]
        if (tag != _TCP_TAG and tag != _UDP_TAG) or data[2] != _SOURCE_TAG:
            return _parsed_ports(data)
        if data[1] != len(data) - 2:
            return _parsed_ports(data)
        source, at = _varint(data, 3)
        if data[at] != _DESTINATION_TAG:
            return _parsed_ports(data)
        destination, at = _varint(data, at + 1)
        if (source | destination) >> PORT_BITS:
            return _parsed_ports(data)
        if tag == _UDP_TAG:
            return ("UDP", source, destination, 0) if at == len(data) else _parsed_ports(data)
        if at == len(data):
            return "TCP", source, destination, 0
        if data[at] != _FLAGS_TAG or at + 2 + data[at + 1] != len(data):
            return _parsed_ports(data)
    except IndexError:
        return _parsed_ports(data)
    return "TCP", source, destination, _FLAG_BITS[data[at:]]


def _flag_bits(tail: bytes) -> int:
    """The flags, from the end of a Layer4 that holds nothing else."""
    return _parsed_ports(bytes((_TCP_TAG, len(tail))) + tail)[3]


def _policy(data: bytes) -> tuple[PolicyRef, int]:
    message = flow_pb2.Policy.FromString(data)
    policy = make_policy(message.kind, message.namespace, message.name, message.labels)
    return policy, message.revision


def _service(data: bytes) -> str:
    message = flow_pb2.Service.FromString(data)
    return f"{message.namespace}/{message.name}" if message.namespace else message.name


def _event(data: bytes) -> tuple[int, int]:
    message = flow_pb2.CiliumEventType.FromString(data)
    return message.type, message.sub_type


def _layer7(data: bytes) -> Layer7:
    message = flow_pb2.Layer7.FromString(data)
    dns, http = message.dns, message.http
    return Layer7(
        message.type,
        dns.query.rstrip("."),
        tuple(dns.ips),
        dns.ttl,
        tuple(dns.cnames),
        http.method,
        http.url,
        http.code,
        tuple((one.key, one.value) for one in http.headers),
    )


class _Memory(dict[bytes, _Value]):
    """bytes → what they mean, parsed on the first look-up; bounded by CACHE_LIMIT."""

    def __init__(self, parse: Callable[[bytes], _Value]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, data: bytes) -> _Value:
        value = self._parse(data)
        if len(self) >= CACHE_LIMIT:
            self.clear()
        self[data] = value
        return value


class _Same(dict[str, str]):
    """Equal texts as one object."""

    def __missing__(self, text: str) -> str:
        self[text] = text
        return text


_FLAG_BITS = _Memory(_flag_bits)


def _is_true(data: bytes) -> bool:
    return wrappers_pb2.BoolValue.FromString(data).value


def _emitter(data: bytes) -> str:
    return emitter_name(flow_pb2.Emitter.FromString(data))


def _rare(data: bytes) -> Extras | None:
    return extras_of(observer_pb2.GetFlowsResponse.FromString(data).flow)


class WireDecoder:
    """Decodes GetFlowsResponse messages; keeps what it learnt about repeated parts. One thread."""

    def __init__(self) -> None:
        self._endpoints = _Memory(_endpoint)
        self._addresses = _Memory(_addresses)
        self._ports = _Memory(_ports)
        self._policies = _Memory(_policy)
        self._layer7 = _Memory(_layer7)
        self._events = _Memory(_event)
        self._services = _Memory(_service)
        self._replies = _Memory(_is_true)
        self._emitters = _Memory(_emitter)
        self._nodes = _Same()
        self._before = 0
        """Messages decoded before the present ones."""

    def decode(self, messages: Iterable[bytes], latest: int = LATEST) -> Batch:
        """One :class:`Batch` of all ``messages`` in their order.

        ``latest`` (ns since 1970): a time after it can't be.

        A message that can't be read is ``unread``; one with an arm of the response that this version
        doesn't know is counted in ``skipped``. Raises nothing.
        """
        batch = Batch()
        listed = list(messages)
        rest = iter(listed)
        while True:
            try:
                self._decode(rest, batch, latest)
            except Exception:  # noqa: BLE001 - of one record, which is read again, with care
                self._careful(listed[records_in(batch)], batch, latest)
            else:
                self._before += len(listed)
                if batch.extras:
                    split(batch)
                return batch

    def _careful(self, data: bytes, batch: Batch, latest: int) -> None:
        """One message that could not be read as it is."""
        odd: list[str] = []
        number = self._before + records_in(batch) + 1

        def where(message: bytes) -> tuple[int, bytes]:
            return number, message

        try:
            mended, direction = mend(data, odd, latest)
            self._decode(iter((mended,)), batch, latest)
        except DecodeError:
            unread(batch, damage(data), where, data)
        except Exception as error:  # noqa: BLE001 - counted and told, and the bytes can be kept
            unread(batch, defect(error), where, data)
        else:
            count_odd(batch.odd, odd)
            if direction:
                batch.flows[-1].newer_direction = direction
            if batch.flows and batch.flows[-1].extras is not None:
                # What is mended has but one of them left.
                batch.flows[-1].extras = _rare(data)

    def _decode(self, messages: Iterator[bytes], batch: Batch, latest: int) -> None:
        """Decode until the end, or until a message can't be: that raises, whatever it may be.

        ``batch`` has then got all before it, and nothing of it.
        """
        add = batch.flows.append
        parse = narrow_pb2.Response.FromString
        endpoints, addresses, ports = self._endpoints, self._addresses, self._ports
        events, services, nodes = self._events, self._services, self._nodes
        replies, ways, emitters = self._replies, WAYS, self._emitters
        # Reading an attribute of a message costs 0.1 to 0.3 µs, so what only some records have
        # (section by section of pkg/hubble/parser) is read from those alone.
        for data in messages:
            response = parse(data)
            m = response.flow
            ip = m.IP
            if not ip and not response.HasField("flow"):
                self._other(data, response, batch)
                continue
            stamp = m.time
            nanos = stamp.nanos
            time = stamp.seconds * SECOND + nanos
            if not 0 <= time <= latest or not 0 <= nanos < SECOND:
                raise OutOfRange
            event, sub_type = events[m.event_type]
            direction = m.traffic_direction
            if direction not in ways:
                raise OutOfRange
            verdict = m.verdict
            reason = 0
            if verdict != FORWARDED:
                reason = m.drop_reason_desc or m.drop_reason
                if reason < 0 or reason > LAST_REASON:
                    check_reason(reason)
            source_ip, destination_ip, encrypted = addresses[ip]
            protocol, source_port, destination_port, flags = ports[m.l4]
            # BoolValue: 08 01 is true, empty is false. Old servers only have `reply`, true if known.
            if said := m.is_reply:
                reply: bool | None = replies[said]
            elif m.HasField("is_reply"):
                reply = False
            else:
                reply = True if m.reply else None
            # Names and services are the far end's: of the source in a reply, else the destination.
            source_names = names = NO_NAMES
            source_service = service = ""
            if reply:
                if seen := m.source_names:
                    source_names = tuple(seen)
                if part := m.source_service:
                    source_service = services[part]
            else:
                if seen := m.destination_names:
                    names = tuple(seen)
                if part := m.destination_service:
                    service = services[part]
                if direction != EGRESS and (seen := m.source_names):
                    source_names = tuple(seen)
            revision = 0
            allowed = denied = NO_POLICIES
            match_type = auth_type = 0
            if event == POLICY_VERDICT:
                allowed, denied, revision = self._policies_of(m, direction)
                match_type, auth_type = m.policy_match_type, m.auth_type
            extras: Extras | None = None
            if m.HasField("rare"):
                extras = _rare(data)
                batch.extras = True
            elif encrypted:
                extras = ENCRYPTED
                batch.extras = True
            l7 = m.l7
            node = m.node_name or response.node_name
            add(
                Flow(
                    time,
                    verdict,
                    reason,
                    direction,
                    reply,
                    event,
                    sub_type,
                    endpoints[m.source],
                    endpoints[m.destination],
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
                    self._layer7[l7] if l7 else None,
                    allowed,
                    denied,
                    match_type,
                    auth_type,
                    nodes[node],
                    m.uuid,
                    revision,
                    "",
                    emitters[m.emitter],
                    extras,
                )
            )

    def _policies_of(
        self, m: narrow_pb2.Flow, direction: int
    ) -> tuple[tuple[PolicyRef, ...], tuple[PolicyRef, ...], int]:
        """Who allowed and who denied, and at which revision; Hubble fills only the lists of the
        record's direction."""
        if direction == EGRESS:
            allowed, denied = m.egress_allowed_by, m.egress_denied_by
        else:
            allowed, denied = m.ingress_allowed_by, m.ingress_denied_by
        if not allowed and not denied:
            return NO_POLICIES, NO_POLICIES, 0
        policies = self._policies
        by = [policies[p] for p in allowed]
        against = [policies[p] for p in denied]
        revision = 0
        for _, at in by + against:
            revision = max(revision, at)
        return tuple([one for one, _ in by]), tuple([one for one, _ in against]), revision

    def _other(self, data: bytes, response: narrow_pb2.Response, batch: Batch) -> None:
        if response.HasField("lost_events"):
            whole = observer_pb2.GetFlowsResponse.FromString(data)
            batch.lost.append(_lost(whole, batch.odd))
        elif response.HasField("node_status"):
            batch.nodes.append(_node_status(response.node_status))
        else:
            batch.skipped[NEWER_KIND] = batch.skipped.get(NEWER_KIND, 0) + 1


def _lost(response: observer_pb2.GetFlowsResponse, odd: dict[str, int]) -> LostEvents:
    message = response.lost_events
    time, first, last = known_times(
        odd,
        *(moment(at.seconds, at.nanos) for at in (response.time, message.first, message.last)),
    )
    return LostEvents(
        source=enum_name(LOST_SOURCE, message.source),
        count=message.num_events_lost,
        node=response.node_name,
        time=time,
        first=first,
        last=last,
    )


def _node_status(data: bytes) -> NodeStatus:
    message = relay_pb2.NodeStatusEvent.FromString(data)
    state = enum_name(NODE_STATE, message.state_change)
    return NodeStatus(state, tuple(message.node_names), message.message)
