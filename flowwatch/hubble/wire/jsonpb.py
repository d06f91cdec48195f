"""Hubble's JSON into its protobuf messages, fast.

The other half, printing, is :mod:`flowwatch.hubble.wire.jsonprint`.

``json_format`` takes 180 to 570 µs for a flow. Here each message of the wire contract is compiled
once into a table from JSON key (either case) to a function that writes the value in wire format;
and a flow's parts that repeat (endpoints, event types, policies) are looked up by their JSON text,
so that each distinct one is converted once.

On valid input the result equals json_format's. Where input is newer than our wire contract:

* an unknown field is left out, and counted in ``FlowParser.unknown_fields``;
* an unknown enum name keeps a number of its own, negative and below all of Hubble's, under which
  :func:`newer_name` finds the name again. (json_format fails, or makes it 0: a drop for a new
  reason would read as none.) Unknown numbers stay as they are;
* ``extensions`` (Any of a type that nobody has told us) is an unknown field.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from flowwatch.hubble.wire.enum_names import newer_name, newer_number
from flowwatch.hubble.wire.errors import (
    AGENT_EVENT,
    DEBUG_EVENT,
    NO_FLOW,
    NOT_JSON,
    NOT_UTF8,
    WRONG_VALUE,
    NotAFlow,
)
from flowwatch.hubble.wire.jsonwire import (
    BadTime,
    Encode,
    Tables,
    count_unknown,
    nanoseconds,
    tag_of,
    varint,
)
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2

__all__ = [
    "AGENT_EVENT",
    "DEBUG_EVENT",
    "NOT_UTF8",
    "NO_FLOW",
    "UNREADABLE",
    "WRONG_VALUE",
    "BadTime",
    "FlowParser",
    "NotAFlow",
    "nanoseconds",
    "newer_name",
    "newer_number",
]

MEMORY = 16_384
"""Distinct JSON texts remembered per field; past it the memory starts anew."""

Raws = dict[str, msgspec.Raw]


class _Wrapped(msgspec.Struct):
    """The usual record: ``{"flow":{…},"node_name":…,"time":…}``, its parts still JSON text."""

    flow: Raws | None = None
    node_name: msgspec.Raw = msgspec.Raw()
    nodeName: msgspec.Raw = msgspec.Raw()  # noqa: N815
    time: msgspec.Raw = msgspec.Raw()


class _Memory(dict[bytes, bytes]):
    """JSON text → wire format, converted on the first look-up; bounded by MEMORY."""

    def __init__(self, encode: Encode) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, text: bytes) -> bytes:
        value = _decode(text)
        data = b"" if value is None else self._encode(value)
        if len(self) >= MEMORY:
            self.clear()
        self[text] = data
        return data


class _Text(dict[bytes, bytes]):
    """The same for strings that hardly repeat: nothing is remembered, plain ones aren't decoded."""

    def __init__(self, field: FieldDescriptor, encode: Encode) -> None:
        super().__init__()
        self._tag = tag_of(field, 2)
        self._encode = encode

    def __missing__(self, text: bytes) -> bytes:
        if text[:1] == b'"' and b"\\" not in text:
            return self._tag + varint(len(text) - 2) + text[1:-1]
        value = _decode(text)
        return b"" if value is None else self._encode(value)


_decode = msgspec.json.Decoder().decode
_decode_wrapped = msgspec.json.Decoder(_Wrapped).decode
_decode_raws = msgspec.json.Decoder(Raws).decode

_FLOW = flow_pb2.Flow.DESCRIPTOR
_RESPONSE = observer_pb2.ExportEvent.DESCRIPTOR

# Keys that only a flow has: a record with one of them and no "flow" is a bare flow.
_FLOW_KEYS = frozenset(key for field in _FLOW.fields for key in (field.name, field.json_name)) - {
    "time",
    "node_name",
    "nodeName",
}
_ARMS = {
    key: field.name
    for field in _RESPONSE.oneofs_by_name["response_types"].fields
    for key in (field.name, field.json_name)
}
_REFUSED = {"agent_event": AGENT_EVENT, "debug_event": DEBUG_EVENT}

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What msgspec raises on bad input."""


class FlowParser:
    """Reads records (JSON objects) as GetFlowsResponse messages. Keeps what repeats; one thread."""

    def __init__(self) -> None:
        self.unknown_fields: dict[str, int] = {}
        """Fields that our wire contract hasn't, as ``Flow.name``, with how often they were met.

        In parts of a flow that repeat, only different ones are counted.
        """
        self._tables = Tables(self.unknown_fields)
        self._memories = self._remember(_FLOW)
        self._outer = self._remember(_RESPONSE)

    def response(self, record: bytes) -> observer_pb2.GetFlowsResponse:
        """The message that ``record`` stands for; raises NotAFlow.

        A bare flow is wrapped, with its own time and node name as the response's.
        """
        return _parsed(observer_pb2.GetFlowsResponse, self.wire(record))

    def wire(self, record: bytes) -> bytes:
        """The same in wire format."""
        try:
            wrapped = _decode_wrapped(record)
            if wrapped.flow is None:
                return self._unusual(_decode_raws(record))
            outer = self._outer
            return (
                _arm(1, self.flow_wire(wrapped.flow))
                + outer["node_name"][bytes(wrapped.node_name) or bytes(wrapped.nodeName) or b"null"]
                + outer["time"][bytes(wrapped.time) or b"null"]
            )
        except UNREADABLE as error:
            raise _unreadable(error) from None

    def peek(self, record: bytes, only: frozenset[str]) -> flow_pb2.Flow | None:
        """The fields in ``only`` of a wrapped flow; None when ``record`` is anything else."""
        try:
            raws = _decode_wrapped(record).flow
        except UNREADABLE:
            return None
        return None if raws is None or "aggregate" in raws else self.flow(raws, only)

    def flow(self, raws: Raws, only: frozenset[str] | None = None) -> flow_pb2.Flow:
        """The flow whose fields' JSON texts are ``raws``, or just the fields in ``only``."""
        try:
            return _parsed(flow_pb2.Flow, self.flow_wire(raws, only))
        except UNREADABLE as error:
            raise _unreadable(error) from None

    def flow_wire(self, raws: Raws, only: frozenset[str] | None = None) -> bytes:
        """The same in wire format. msgspec's errors may come through."""
        memories = self._memories
        parts = []
        for key, raw in raws.items():
            if only is not None and key not in only:
                continue
            memory = memories.get(key)
            if memory is None:
                count_unknown(self.unknown_fields, "Flow", key)
            else:
                parts.append(memory[bytes(raw)])
        return b"".join(parts)

    def _remember(self, message: Descriptor) -> dict[str, dict[bytes, bytes]]:
        memories: dict[str, dict[bytes, bytes]] = {}
        table = self._tables.table(message)
        for field in message.fields:
            encode = table.get(field.name)
            if encode is None:
                continue
            memory: dict[bytes, bytes] = _Memory(encode)
            if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
                memory = _Text(field, encode)
            memories[field.name] = memories[field.json_name] = memory
        return memories

    def _unusual(self, raws: Raws) -> bytes:
        """Everything but a wrapped flow: bare flows, lost events, node status, camelCase keys."""
        arm = next((key for key in raws if key in _ARMS and bytes(raws[key]) != b"null"), "")
        if arm:
            kind = _ARMS[arm]
            if kind in _REFUSED:
                raise NotAFlow(_REFUSED[kind])
        elif _FLOW_KEYS.isdisjoint(raws):
            raise NotAFlow(NO_FLOW)
        outer = {
            field.name: raws.get(field.name) or raws.get(field.json_name) or msgspec.Raw(b"null")
            for field in _RESPONSE.fields
            if field.name in ("node_name", "time")
        }
        body = self._outer[arm][bytes(raws[arm])] if arm else self._flow_arm(raws)
        return body + b"".join(self._outer[name][bytes(raw)] for name, raw in outer.items())

    def _flow_arm(self, raws: Raws) -> bytes:
        return _arm(1, self.flow_wire(raws))


def fields_in_both_cases(names: Iterable[str]) -> frozenset[str]:
    """Names of Flow's fields as they may stand in JSON: ``node_name`` and ``nodeName``."""
    fields = [_FLOW.fields_by_name[name] for name in names]
    return frozenset(key for field in fields for key in (field.name, field.json_name))


def _arm(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


_Message = TypeVar("_Message", observer_pb2.GetFlowsResponse, flow_pb2.Flow)


def _parsed(kind: type[_Message], data: bytes) -> _Message:
    try:
        return kind.FromString(data)
    except Exception as error:
        # google.protobuf.message.DecodeError: text that isn't UTF-8.
        if type(error).__name__ != "DecodeError":
            raise
        raise NotAFlow(NOT_UTF8) from None


def _unreadable(error: Exception) -> NotAFlow:
    if isinstance(error, UnicodeError):
        return NotAFlow(NOT_UTF8)
    return NotAFlow(WRONG_VALUE if isinstance(error, msgspec.ValidationError) else NOT_JSON)
