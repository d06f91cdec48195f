"""From Hubble's JSON to :class:`Flow`: the hot path of capture files.

msgspec reads whole blocks of lines straight into structs that list only what is counted; parts that
repeat (endpoints, policies, services) stay JSON text, which is the key under which their meaning
is looked up, as on the wire. What the structs can't take (numbers as strings are fine, but not
``null`` or a float) goes the long way round through :mod:`flowwatch.hubble.wire.jsonpb` and comes back
in Hubble's own form, so that there is only one reading of it. The rules about what is kept from
which record are those of :mod:`flowwatch.flows.decode_wire`; of records without an event type (masked
exports, old captures) everything is kept.
"""

from __future__ import annotations

import msgspec

from flowwatch.errors import defect
from flowwatch.flows import json_parts
from flowwatch.flows.enums import (
    AUTH_TYPES,
    DIRECTIONS,
    LOST_SOURCE,
    NODE_STATE,
    REASONS,
    VERDICTS,
    enum_name,
)
from flowwatch.flows.extras import ENCRYPTED, emitter_name, extras_of, split
from flowwatch.flows.guard import Where, nowhere, unread
from flowwatch.flows.json_structs import (
    NO_PORTS,
    NONE,
    JsonFlow,
    JsonLine,
    Raw,
    decided,
    has_flow_fields,
    ports_of,
    structs_of,
    time_of,
)
from flowwatch.flows.known import Memory, changed, make_kind, remember
from flowwatch.flows.masked import count_masked
from flowwatch.flows.mend_json import mend_line
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
    PORT_BITS,
    TIME_BITS,
    WAYS,
    OutOfRange,
    check_reason,
    count_odd,
    known_times,
    moment,
)
from flowwatch.flows.shared_values import make_endpoint, make_policy, service_name
from flowwatch.hubble.wire.errors import (
    AGENT_EVENT,
    DEBUG_EVENT,
    NO_FLOW,
    WRONG_VALUE,
    NotAFlow,
)
from flowwatch.hubble.wire.jsonpb import UNREADABLE, BadTime, FlowParser, Raws, nanoseconds
from flowwatch.hubble.wire.names import TCP_FLAGS


class _Wrapped(msgspec.Struct):
    flow: Raws | None = None


_EndsKey = tuple[bytes, bytes, tuple[str, ...], tuple[str, ...], bytes, bytes]
"""Source and destination, names and services of each; as :class:`flowwatch.flows.model.Ends` has them."""

_decode_wrapped = msgspec.json.Decoder(_Wrapped).decode_lines
_decode_raws = msgspec.json.Decoder(Raws).decode_lines


_EGRESS, _FORWARDED = int(Direction.EGRESS), int(Verdict.FORWARDED)
# Records that carry policies; those without an event type may be of this kind.
_DECISIONS = frozenset({int(EventType.POLICY_VERDICT), int(EventType.UNKNOWN)})
_FORWARDED_NAME = Verdict.FORWARDED.name
_RARE = ("policy_log", "ip_trace_id", "tunnel", "aggregate")
_NOTHING = b""
_NO_NAMES: tuple[str, ...] = ()
_NO_POLICIES: tuple[PolicyRef, ...] = ()
_NOBODY: tuple[tuple[PolicyRef, ...], int] = (_NO_POLICIES, 0)
_NO_ENDPOINT = make_endpoint(0, "", "", (), "", "")


class LineDecoder:
    """Decodes records; keeps what it learnt about repeated parts. One thread."""

    def __init__(self) -> None:
        self.parser = FlowParser()
        self._endpoints = Memory(self._endpoint)
        self._policies = Memory(self._policy_list)
        self._services = Memory(self._service)
        self._layer7 = Memory(self._l7)
        self.layer7 = self._layer7.__getitem__
        self._flags = Memory(self._flag_bits)
        self._nodes: dict[str, str] = {}
        self._kinds: dict[tuple[object, ...], Kind] = {}
        self._ends: Memory[_EndsKey, Ends] = Memory(self._ends_of)

    def lines(self, block: bytes) -> Batch | None:
        """All of ``block``, whole lines of JSON; None when some line isn't what the structs take."""
        decoded = self.structs(block)
        return None if decoded is None else self.batch(decoded)

    def structs(self, block: bytes) -> list[JsonLine] | None:
        """``block`` as structs for :meth:`batch`, one for each record; None as for :meth:`lines`."""
        return structs_of(block)

    def any_record(self, record: bytes) -> tuple[bytes, list[JsonLine]]:
        """One record as JSON that the structs take, and the structs; raises NotAFlow."""
        lines = structs_of(record)
        if lines is None:
            from flowwatch.hubble.wire.jsonprint import message_to_json

            record = message_to_json(self.parser.response(record)).encode()
            lines = structs_of(record)
        if lines is None:
            raise NotAFlow(WRONG_VALUE)
        return record, lines

    def raws(self, block: bytes) -> list[Raws]:
        """The flows' fields in ``block`` as JSON text, one dict for each of its records.

        Raises NotAFlow when that can't be (a key that is no UTF-8).
        """
        try:
            wrapped = _decode_wrapped(block)
            if all(line.flow is not None for line in wrapped):
                return [line.flow or {} for line in wrapped]
            whole = _decode_raws(block)
        except UNREADABLE:
            raise NotAFlow(WRONG_VALUE) from None
        return [
            bare if line.flow is None else line.flow
            for line, bare in zip(wrapped, whole, strict=True)
        ]

    def ends(self, line: JsonLine) -> tuple[Endpoint, Endpoint]:
        """Source and destination of a record."""
        flow, ends = line.flow or line, self._endpoints
        source, destination = (
            _NO_ENDPOINT if end is NONE else ends[bytes(end)]
            for end in (flow.source, flow.destination)
        )
        return source, destination

    def batch(self, lines: list[JsonLine], where: Where[JsonLine] = nowhere) -> Batch:
        """What ``lines`` say, in their order; what is no flow is counted.

        ``where`` tells of a line that can't be read its number, and what it was read from.
        """
        batch = Batch()
        self._decode(lines, where, batch)
        if batch.extras:
            split(batch)
        count_masked(lines, batch.not_recorded)
        return batch

    def _decode(self, lines: list[JsonLine], where: Where[JsonLine], batch: Batch) -> None:
        add = batch.flows.append
        kinds, ends, layer7 = self._kinds, self._ends, self._layer7
        for line in lines:
            try:
                m = line.flow
                if m is None:
                    if not self._is_bare(line, batch):
                        continue
                    m = line
                event = sub_type = 0
                if (happened := m.event_type) is not None:
                    event, sub_type = happened.type, happened.sub_type
                source_ip = destination_ip = ""
                encrypted = False
                if (ip := m.IP) is not None:
                    source_ip, destination_ip, encrypted = ip.source, ip.destination, ip.encrypted
                extras: Extras | None = None
                if (
                    m.policy_log is not NONE
                    or m.ip_trace_id is not NONE
                    or m.tunnel is not NONE
                    or m.aggregate is not NONE
                ):
                    extras = self._rare(m)
                elif encrypted:
                    extras = ENCRYPTED
                flags = _NOTHING
                if (l4 := m.l4) is None:
                    protocol, source_port, destination_port = NO_PORTS
                elif (tcp := l4.TCP) is not None:
                    protocol = "TCP"
                    source_port, destination_port = tcp.source_port, tcp.destination_port
                    if (raw := tcp.flags) is not NONE:
                        flags = bytes(raw)
                else:
                    protocol, source_port, destination_port = ports_of(l4)
                if (source_port | destination_port) >> PORT_BITS:
                    raise OutOfRange
                l7 = layer7[bytes(m.l7)] if m.l7 is not NONE else None
                verdict, node = m.verdict, m.node_name or line.node_name
                key: tuple[object, ...] = (
                    event, sub_type, verdict, m.traffic_direction, m.is_reply, m.reply, protocol,
                    flags, node, bytes(raw) if (raw := m.emitter) is not NONE else _NOTHING, l7 is None,
                )  # fmt: skip
                if verdict != _FORWARDED_NAME:
                    key += m.drop_reason_desc, m.drop_reason
                if event in _DECISIONS:
                    key += decided(m)
                kind = kinds.get(key)
                if kind is None:
                    kind = self._kind(m, event, sub_type, protocol, flags, node, l7)
                    remember(kinds, key, kind)
                # Names and services are the far end's: of the source in a reply, else the
                # destination.
                if kind.is_reply:
                    between = (
                        bytes(m.source), bytes(m.destination), m.source_names, _NO_NAMES,
                        bytes(raw) if (raw := m.source_service) is not NONE else _NOTHING, _NOTHING,
                    )  # fmt: skip
                else:
                    between = (
                        bytes(m.source), bytes(m.destination),
                        _NO_NAMES if kind.direction == _EGRESS else m.source_names,
                        m.destination_names, _NOTHING,
                        bytes(raw) if (raw := m.destination_service) is not NONE else _NOTHING,
                    )  # fmt: skip
                time = nanoseconds(stamp) if (stamp := m.time or line.time) else 0
                if time >> TIME_BITS:
                    raise OutOfRange
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
                        l7,
                        extras,
                    )
                )
            except OutOfRange:
                self._mended(line, where, batch)
            except Exception as error:  # noqa: BLE001 - counted and told, and the text can be kept
                unread(batch, _why(error), where, line)

    def _mended(self, line: JsonLine, where: Where[JsonLine], batch: Batch) -> None:
        """Read ``line`` without the values that can't be, and tell of those."""
        odd: list[str] = []
        try:
            direction = mend_line(line, odd)
        except Exception as error:  # noqa: BLE001 - as above: it may have two things amiss
            unread(batch, _why(error), where, line)
            return
        if not odd:
            # Nothing to mend: it would come here again, for ever.
            unread(batch, WRONG_VALUE, where, line)
            return
        read = len(batch.flows)
        self._decode([line], where, batch)
        if len(batch.flows) > read:
            count_odd(batch.odd, odd)
            if direction:
                flow = batch.flows[-1]
                flow.kind = changed(flow.kind, newer_direction=direction)

    def _kind(
        self,
        m: JsonFlow,
        event: int,
        sub_type: int,
        protocol: str,
        flags: bytes,
        node: str,
        l7: Layer7 | None,
    ) -> Kind:
        """The kind of ``m``. Raises OutOfRange for what can't be, NotAFlow for what can't be read."""
        direction = DIRECTIONS[m.traffic_direction]
        if direction not in WAYS:
            raise OutOfRange
        verdict = VERDICTS[m.verdict]
        reason = 0
        if verdict != _FORWARDED:
            reason = REASONS[m.drop_reason_desc] or m.drop_reason
            if reason < 0 or reason > LAST_REASON:
                check_reason(reason)
        reply = m.is_reply
        if reply is None and m.reply:
            # Old servers have only this one, true when known.
            reply = True
        revision = match_type = auth_type = 0
        allowed = denied = _NO_POLICIES
        if event in _DECISIONS:
            allowed, denied, revision = self._policies_of(m, direction)
            match_type, auth_type = m.policy_match_type, AUTH_TYPES[m.auth_type]
        return make_kind(
            verdict,
            reason,
            direction,
            reply,
            event,
            sub_type,
            protocol,
            self._flags[flags] if flags else 0,
            allowed,
            denied,
            match_type,
            auth_type,
            self._nodes.setdefault(node, node),
            revision,
            emitter=self._emitter(bytes(m.emitter)) if m.emitter is not NONE else "",
            has_l7=l7 is not None,
        )

    def _ends_of(self, key: _EndsKey) -> Ends:
        source, destination, source_names, names, source_service, service = key
        return Ends(
            self._endpoints[source] if source else _NO_ENDPOINT,
            self._endpoints[destination] if destination else _NO_ENDPOINT,
            source_names,
            names,
            self._services[source_service] if source_service else "",
            self._services[service] if service else "",
        )

    def _policies_of(
        self, m: JsonFlow, direction: int
    ) -> tuple[tuple[PolicyRef, ...], tuple[PolicyRef, ...], int]:
        """Who allowed and who denied, and at which revision; Hubble fills only the lists of the
        record's direction."""
        if direction == _EGRESS:
            allowed, denied = m.egress_allowed_by, m.egress_denied_by
        else:
            allowed, denied = m.ingress_allowed_by, m.ingress_denied_by
        by, at = self._policies[bytes(allowed)] if allowed is not NONE else _NOBODY
        against, then = self._policies[bytes(denied)] if denied is not NONE else _NOBODY
        return by, against, max(at, then)

    def _is_bare(self, line: JsonLine, batch: Batch) -> bool:
        """Whether ``line`` is a flow by itself; anything else it may be is dealt with."""
        if line.lost_events is not NONE:
            batch.lost.append(self._lost(line, batch))
        elif line.node_status is not NONE:
            batch.nodes.append(self._node_status(line))
        elif line.agent_event is not NONE:
            raise NotAFlow(AGENT_EVENT)
        elif line.debug_event is not NONE:
            raise NotAFlow(DEBUG_EVENT)
        elif not has_flow_fields(line):
            raise NotAFlow(NO_FLOW)
        else:
            return True
        return False

    # The parts that repeat are parsed by the wire contract's own tables.

    def _endpoint(self, text: bytes) -> Endpoint:
        if (read := json_parts.endpoint(text)) is not None:
            return read
        message = self.parser.flow({"source": Raw(text)}).source
        return make_endpoint(
            message.identity,
            message.namespace,
            message.pod_name,
            tuple(message.labels),
            message.workloads[0].name if message.workloads else "",
            message.cluster_name,
        )

    def _policy_list(self, text: bytes) -> tuple[tuple[PolicyRef, ...], int]:
        policies = self.parser.flow({"egress_allowed_by": Raw(text)}).egress_allowed_by
        refs = tuple(make_policy(p.kind, p.namespace, p.name, p.labels) for p in policies)
        return refs, max((p.revision for p in policies), default=0)

    def _service(self, text: bytes) -> str:
        message = self.parser.flow({"source_service": Raw(text)}).source_service
        return service_name(message.namespace, message.name)

    def _flag_bits(self, text: bytes) -> int:
        flow = self.parser.flow({"l4": Raw(b'{"TCP":{"flags":' + text + b"}}")})
        flags = flow.l4.TCP.flags
        return sum(1 << bit for bit, name in enumerate(TCP_FLAGS) if getattr(flags, name))

    def _emitter(self, text: bytes) -> str:
        return emitter_name(self.parser.flow({"emitter": Raw(text)}).emitter)

    def _rare(self, m: JsonFlow) -> Extras | None:
        there = {key: raw for key in _RARE if (raw := getattr(m, key)) is not NONE}
        message = self.parser.flow(there)
        message.IP.encrypted = m.IP is not None and m.IP.encrypted
        return extras_of(message)

    def _l7(self, text: bytes) -> Layer7 | None:
        if (read := json_parts.layer7(text)) is not None:
            return read
        flow = self.parser.flow({"l7": Raw(text)})
        if not flow.HasField("l7"):
            return None
        message = flow.l7
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

    def _lost(self, line: JsonLine, batch: Batch) -> LostEvents:
        message = self.parser.response(b'{"lost_events":' + bytes(line.lost_events) + b"}")
        lost = message.lost_events
        time, first, last = known_times(
            batch.odd,
            time_of(line),
            moment(lost.first.seconds, lost.first.nanos),
            moment(lost.last.seconds, lost.last.nanos),
        )
        return LostEvents(
            source=enum_name(LOST_SOURCE, lost.source),
            count=lost.num_events_lost,
            node=line.node_name,
            time=time,
            first=first,
            last=last,
        )

    def _node_status(self, line: JsonLine) -> NodeStatus:
        message = self.parser.response(b'{"node_status":' + bytes(line.node_status) + b"}")
        status = message.node_status
        return NodeStatus(
            enum_name(NODE_STATE, status.state_change),
            tuple(status.node_names),
            status.message,
        )


def _why(error: Exception) -> str:
    """Why a record was not read, by what was raised."""
    if isinstance(error, NotAFlow):
        return error.reason
    return WRONG_VALUE if isinstance(error, BadTime) else defect(error)
