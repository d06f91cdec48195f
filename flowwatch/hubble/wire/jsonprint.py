"""Hubble's messages as JSON, one line each, as ``hubble observe -o json`` prints them.

Keys are the proto names in Hubble's order, zero values are left out, enums are
names (numbers where newer), 64-bit integers strings, times RFC 3339 with 0, 3, 6 or 9 digits. Like
Go's encoder ``< > &`` are escaped; and beyond it every control character that a terminal would
obey (C1, DEL, bidi), which changes nothing for who parses the line.

Each message type is compiled once; parts that repeat from flow to flow are printed once and looked
up by their bytes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring
from math import isfinite, isnan
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from flowwatch.hubble.wire.enum_names import newer_name
from flowwatch.hubble.wire.jsonorder import places
from flowwatch.text import json_safe

MEMORY = 16_384
"""Distinct parts remembered per message type; past it the memory starts anew."""

Print = Callable[[Any], str]

_64_BIT = {FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64}
_WRAPPERS = {
    "google.protobuf.BoolValue",
    "google.protobuf.UInt32Value",
    "google.protobuf.Int32Value",
}
_TIMESTAMP = "google.protobuf.Timestamp"
# Parts of a flow that repeat.
_REPEATING = {"flow.Endpoint", "flow.Policy", "flow.Ethernet", "flow.CiliumEventType", "flow.IP"}

# As Go's encoder does for HTML.
_SPECIAL = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&"})


def _string(text: str) -> str:
    quoted = encode_basestring(text)
    if (
        quoted.isascii()
        and quoted.isprintable()
        and not ("<" in text or ">" in text or "&" in text)
    ):
        return quoted
    return json_safe(quoted.translate(_SPECIAL))


EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
"""Timestamp's own bounds, in seconds: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z."""
NO_TIME = "null"
"""What stands for a time out of them: JSON has none, and hubble ends at it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_days: dict[int, str] = {}


def _timestamp(value: Any) -> str:
    seconds, nanos = value.seconds, value.nanos
    if not (EARLIEST <= seconds <= LATEST and 0 <= nanos < 1_000_000_000):
        return NO_TIME
    minute, second = divmod(seconds, 60)
    start = _days.get(minute)
    if start is None:
        if len(_days) >= MEMORY:
            _days.clear()
        start = (_EPOCH + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:")
        _days[minute] = start = start.rjust(17, "0")
    if not nanos:
        return f'"{start}{second:02d}Z"'
    if nanos % 1000:
        return f'"{start}{second:02d}.{nanos:09d}Z"'
    if nanos % 1_000_000:
        return f'"{start}{second:02d}.{nanos // 1000:06d}Z"'
    return f'"{start}{second:02d}.{nanos // 1_000_000:03d}Z"'


def _enum(enum: EnumDescriptor) -> Print:
    names = {number: f'"{value.name}"' for number, value in enum.values_by_number.items()}

    def name(value: Any) -> str:
        found = names.get(value)
        if found is None:
            newer = newer_name(value)
            return f'"{newer}"' if newer else str(int(value))
        return found

    return name


def _boolean(value: Any) -> str:
    return "true" if value else "false"


def _quoted_integer(value: Any) -> str:
    return f'"{value}"'


def _base64(value: bytes) -> str:
    return f'"{b64encode(value).decode()}"'


def _double(value: Any) -> str:
    if not isfinite(value):
        # As proto3's JSON has them.
        return '"NaN"' if isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    return str(int(value)) if value == int(value) and abs(value) < 1e21 else repr(float(value))


def _one(field: FieldDescriptor) -> Print:
    """Printer of one value of ``field``."""
    kind = field.type
    if field.message_type is not None:
        return _of_message(field.message_type)
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if kind == FieldDescriptor.TYPE_STRING:
        return _string
    if kind == FieldDescriptor.TYPE_BOOL:
        return _boolean
    if kind == FieldDescriptor.TYPE_DOUBLE:
        return _double
    if kind == FieldDescriptor.TYPE_BYTES:
        return _base64
    return _quoted_integer if kind in _64_BIT else str


def _field(field: FieldDescriptor) -> Print:
    """Printer of ``"name":value``."""
    one, key = _one(field), f'"{field.name}":'
    if field.is_repeated:
        return lambda value: f"{key}[{','.join([one(item) for item in value])}]"
    return lambda value: key + one(value)


def _of_message(kind: Descriptor) -> Print:
    if kind.full_name == _TIMESTAMP:
        return _timestamp
    if kind.full_name in _WRAPPERS:
        inner = _one(kind.fields_by_name["value"])
        return lambda value: inner(value.value)
    # Compiled when first met: types refer to each other.
    printer = _printers.get(kind.full_name)
    if printer is None:
        printer = _Printer(kind)
        _printers[kind.full_name] = printer
    return printer.remembered if kind.full_name in _REPEATING else printer


class _Printer:
    """Prints messages of one type."""

    def __init__(self, kind: Descriptor) -> None:
        self._kind = kind
        self._fields: dict[int, tuple[int, Print]] = {}
        self._memory: dict[bytes, str] = {}

    def __call__(self, message: Any) -> str:
        fields = self._fields
        if not fields:
            place = places(self._kind)
            fields.update(
                (field.number, (place[field.number], _field(field))) for field in self._kind.fields
            )
        parts = []
        for descriptor, value in message.ListFields():
            index, printer = fields[descriptor.number]
            parts.append((index, printer(value)))
        # ListFields goes by number.
        parts.sort()
        return f"{{{','.join([text for _, text in parts])}}}"

    def remembered(self, message: Any) -> str:
        """The same for a message that is likely to come again."""
        data = message.SerializeToString()
        memory = self._memory
        text = memory.get(data)
        if text is None:
            if len(memory) >= MEMORY:
                memory.clear()
            text = memory[data] = self(message)
        return text


_printers: dict[str, _Printer] = {}


def message_to_json(message: Any) -> str:
    """``message`` (of any type of Hubble's) as one line of JSON, without the line break."""
    return _of_message(message.DESCRIPTOR)(message)


response_to_json = message_to_json
"""A GetFlowsResponse as ``hubble observe -o json`` prints it, without the line break."""
