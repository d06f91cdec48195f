"""From the wire to :class:`Flow`: the hot path of everything live.

Messages are parsed with ``proto/narrow``, where sub-messages that repeat (endpoints, addresses,
ports, policies, services) stay bytes. Those bytes are looked up, and parsed only the first time.
On 65,535 generated flows this took 4.0 µs a flow, against 9.9 µs with the full messages.

So a message is parsed in two steps, and either may fail: then that record is unread, and told with
the field that is damaged; all others are read. One with a value that can't be
(:mod:`flowwatch.flows.ranges`) is mended (:mod:`flowwatch.flows.mend`) and read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from google.protobuf import wrappers_pb2
from google.protobuf.message import DecodeError

from flowwatch.errors import defect
from flowwatch.flows.enums import LOST_SOURCE, NODE_STATE, enum_name
from flowwatch.flows.extras import ENCRYPTED, emitter_name, extras_of, split
from flowwatch.flows.guard import records_in, unread
from flowwatch.flows.known import Memory, changed, make_kind, remember
from flowwatch.flows.mend import mend, odd_layer4
from flowwatch.flows.model import (
    Batch,
    Direction,
    Endpoint,
    Ends,
    EventType,
    Extras,
    Flow,
    Kind,
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
from flowwatch.flows.scanning import Scanning
from flowwatch.flows.shared_values import make_endpoint, make_policy
from flowwatch.hubble.wire.damage import damage
from flowwatch.hubble.wire.names import TCP_FLAGS
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.narrow import narrow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.hubble.wire.pb.relay import relay_pb2

NEWER_KIND = "unknown kind of response"


EGRESS, FORWARDED = int(Direction.EGRESS), int(Verdict.FORWARDED)
POLICY_VERDICT = int(EventType.POLICY_VERDICT)
NO_NAMES: tuple[str, ...] = ()
NO_POLICIES: tuple[PolicyRef, ...] = ()

_EndsKey = tuple[bytes, bytes, tuple[str, ...], tuple[str, ...], bytes, bytes]
"""Source and destination, names and services of each; as :class:`flowwatch.flows.model.Ends` has them."""

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


_FLAG_BITS = Memory(_flag_bits)


def _emitter(data: bytes) -> str:
    return emitter_name(flow_pb2.Emitter.FromString(data))


def _rare(data: bytes) -> Extras | None:
    return extras_of(observer_pb2.GetFlowsResponse.FromString(data).flow)


class WireDecoder:
    """Decodes GetFlowsResponse messages; keeps what it learnt about repeated parts. One thread."""

    def __init__(self) -> None:
        self._endpoints = Memory(_endpoint)
        self._addresses = Memory(_addresses)
        self._ports = Memory(_ports)
        self._policies = Memory(_policy)
        self._layer7 = Memory(_layer7)
        self._events = Memory(_event)
        self._services = Memory(_service)
        self._nodes: dict[str, str] = {}
        self._kinds: dict[tuple[object, ...], Kind] = {}
        self._ends: Memory[_EndsKey, Ends] = Memory(self._ends_of)
        self._scanning = Scanning(self._layer7.__getitem__)
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
        for start, end, made, new in self._scanning.messages(listed, latest):
            if made is not None:
                batch.flows += made
                continue
            before, odd = len(batch.flows), sum(batch.odd.values())
            self._read(listed, iter(listed[start:end]), batch, latest)
            if new:
                flows = batch.flows[before:]
                sound = len(flows) == len(new) and odd == sum(batch.odd.values())
                alone = partial(self._alone, listed, start, latest)
                self._scanning.learn(new, flows if sound else None, alone)
        self._before += len(listed)
        if batch.extras:
            split(batch)
        return batch

    def _read(self, listed: list[bytes], rest: Iterator[bytes], batch: Batch, latest: int) -> None:
        """Decode ``rest``, which are those of ``listed`` that come next."""
        while True:
            try:
                self._decode(rest, batch, latest)
            except Exception:  # noqa: BLE001 - of one record, which is read again, with care
                self._careful(listed[records_in(batch)], batch, latest)
            else:
                return

    def _alone(self, listed: list[bytes], start: int, latest: int, at: int) -> Flow | None:
        """One message that holds a flow, if nothing is amiss in it."""
        batch = Batch()
        try:
            self._decode(iter((listed[start + at],)), batch, latest)
        except Exception:  # noqa: BLE001 - told where it was decoded first
            return None
        return batch.flows[0] if batch.flows else None

    def _careful(self, data: bytes, batch: Batch, latest: int) -> None:
        """One message that could not be read as it is."""
        odd: list[str] = []
        number = self._before + records_in(batch) + 1

        def where(message: bytes) -> tuple[int, bytes]:
            return number, message

        read = len(batch.flows)
        try:
            mended, direction = mend(data, odd, latest)
            self._decode(iter((mended,)), batch, latest)
            flow = batch.flows[read] if len(batch.flows) > read else None
            if flow is not None and flow.extras is not None:
                # What is mended has but one of them left.
                flow.extras = _rare(data)
        except DecodeError:
            del batch.flows[read:]
            unread(batch, damage(data), where, data)
        except Exception as error:  # noqa: BLE001 - counted and told, and the bytes can be kept
            del batch.flows[read:]
            unread(batch, defect(error), where, data)
        else:
            count_odd(batch.odd, odd)
            if direction and flow is not None:
                flow.kind = changed(flow.kind, newer_direction=direction)

    def _decode(self, messages: Iterator[bytes], batch: Batch, latest: int) -> None:
        """Decode until the end, or until a message can't be: that raises, whatever it may be.

        ``batch`` has then got all before it, and nothing of it.
        """
        add = batch.flows.append
        parse = narrow_pb2.Response.FromString
        addresses, ports, events = self._addresses, self._ports, self._events
        kinds, ends, layer7 = self._kinds, self._ends, self._layer7
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
            event, verdict, direction, l7 = m.event_type, m.verdict, m.traffic_direction, m.l7
            source_ip, destination_ip, encrypted = addresses[ip]
            protocol, source_port, destination_port, flags = ports[m.l4]
            # BoolValue: 08 01 is true, empty is false. Old servers only have `reply`, true if known.
            said = m.is_reply or (b"" if m.HasField("is_reply") else m.reply)
            node = m.node_name or response.node_name
            key: tuple[object, ...]
            key = event, verdict, direction, said, protocol, flags, node, m.emitter, not l7
            if verdict != FORWARDED:
                key += m.drop_reason_desc, m.drop_reason
            if events[event][0] == POLICY_VERDICT:
                key += self._decided(m, direction)
            kind = kinds.get(key)
            if kind is None:
                kind = self._kind(m, protocol, flags, node)
                remember(kinds, key, kind)
            # Names and services are the far end's: of the source in a reply, else the destination.
            source_names = names = NO_NAMES
            if kind.is_reply:
                if seen := m.source_names:
                    source_names = tuple(seen)
                between = m.source, m.destination, source_names, names, m.source_service, b""
            else:
                if seen := m.destination_names:
                    names = tuple(seen)
                if direction != EGRESS and (seen := m.source_names):
                    source_names = tuple(seen)
                between = m.source, m.destination, source_names, names, b"", m.destination_service
            extras: Extras | None = None
            if m.HasField("rare"):
                extras = _rare(data)
            elif encrypted:
                extras = ENCRYPTED
            add(
                Flow(
                    kind,
                    ends[between],
                    time,
                    source_ip,
                    destination_ip,
                    source_port,
                    destination_port,
                    m.uuid,
                    layer7[l7] if l7 else None,
                    extras,
                )
            )

    def _ends_of(self, key: _EndsKey) -> Ends:
        source, destination, source_names, names, source_service, service = key
        services = self._services
        return Ends(
            self._endpoints[source],
            self._endpoints[destination],
            source_names,
            names,
            services[source_service] if source_service else "",
            services[service] if service else "",
        )

    def _decided(self, m: narrow_pb2.Flow, direction: int) -> tuple[object, ...]:
        """What of a policy's verdict its kind depends on: Hubble fills only the lists of the record's
        direction."""
        if direction == EGRESS:
            allowed, denied = m.egress_allowed_by, m.egress_denied_by
        else:
            allowed, denied = m.ingress_allowed_by, m.ingress_denied_by
        return m.policy_match_type, m.auth_type, tuple(allowed), tuple(denied)

    def _kind(self, m: narrow_pb2.Flow, protocol: str, flags: int, node: str) -> Kind:
        """The kind of ``m``. Raises OutOfRange for what can't be."""
        direction, verdict = m.traffic_direction, m.verdict
        if direction not in WAYS:
            raise OutOfRange
        reason = 0
        if verdict != FORWARDED:
            reason = m.drop_reason_desc or m.drop_reason
            if reason < 0 or reason > LAST_REASON:
                check_reason(reason)
        event, sub_type = self._events[m.event_type]
        reply: bool | None = m.reply or None
        if m.HasField("is_reply"):
            reply = wrappers_pb2.BoolValue.FromString(m.is_reply).value
        revision = match_type = auth_type = 0
        allowed = denied = NO_POLICIES
        if event == POLICY_VERDICT:
            allowed, denied, revision = self._policies_of(m, direction)
            match_type, auth_type = m.policy_match_type, m.auth_type
        return make_kind(
            verdict,
            reason,
            direction,
            reply,
            event,
            sub_type,
            protocol,
            flags,
            allowed,
            denied,
            match_type,
            auth_type,
            self._nodes.setdefault(node, node),
            revision,
            emitter=_emitter(m.emitter),
            has_l7=bool(m.l7),
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
