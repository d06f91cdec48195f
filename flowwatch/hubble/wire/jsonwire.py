"""JSON values into protobuf's wire format, by tables compiled from the wire contract."""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Callable
from datetime import datetime
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from flowwatch.hubble.wire.enum_names import newer_number
from flowwatch.hubble.wire.errors import WRONG_VALUE, NotAFlow

Encode = Callable[[Any], bytes]


_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)"
)
_SECONDS = 16_384
_seconds: dict[str, int] = {}


class BadTime(ValueError):
    """Text that is no RFC 3339 time."""


def nanoseconds(text: str) -> int:
    """RFC 3339 ``text`` as nanoseconds since 1970; BadTime when it isn't."""
    # JSON may hold anything there, and a slice of a dict is a key that Python 3.12 looks for.
    if not isinstance(text, str):
        raise BadTime("a time is text")
    # Records come many to a second, so the calendar is asked once for each.
    base = _seconds.get(text[:19])
    if base is not None and len(text) == 30 and text[19] == "." and text[29] == "Z":
        digits = text[20:29]
        if digits.isdecimal():
            return base + int(digits)
    return _any_time(text)


def _any_time(text: str) -> int:
    match = _RFC3339.fullmatch(text) if text.isascii() else None
    try:
        if match is None:
            raise ValueError
        day, clock, fraction, zone = match.groups()
        base = timegm(datetime.fromisoformat(f"{day}T{clock}").timetuple()) * 1_000_000_000
    except ValueError:
        raise BadTime(f"not a time: {text[:40]!r}") from None
    if zone in "Zz":
        if len(_seconds) >= _SECONDS:
            _seconds.clear()
        _seconds[text[:19]] = base
    else:
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        base -= (offset if zone[0] == "+" else -offset) * 1_000_000_000
    return base + int((fraction or "").ljust(9, "0"))


_ENUM_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_ONE_BYTE = tuple(bytes((n,)) for n in range(128))


def varint(n: int) -> bytes:
    if n < 128:
        return _ONE_BYTE[n]
    out = bytearray()
    while n >= 128:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def tag_of(field: FieldDescriptor, wire_type: int) -> bytes:
    return varint(field.number << 3 | wire_type)


_RANGES = {
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
}
_WRAPPERS = {
    "google.protobuf.BoolValue",
    "google.protobuf.UInt32Value",
    "google.protobuf.Int32Value",
}
_TIMESTAMP = "google.protobuf.Timestamp"


def _wrong(field: FieldDescriptor) -> NotAFlow:
    return NotAFlow(WRONG_VALUE, field.full_name)


def _integer(value: Any) -> int:
    """As proto3's JSON has integers: numbers, whole floats, and either as strings."""
    kind = type(value)
    if kind is int:
        return int(value)
    if kind is str and (value.isdecimal() or value[:1] == "-"):
        return int(value)
    if kind is str or kind is float:
        number = float(value)
        if number.is_integer():
            return int(number)
    raise ValueError("not an integer")


def _as_varint(field: FieldDescriptor) -> Encode:
    """JSON value → varint, for the types that are one on the wire."""
    if field.type == FieldDescriptor.TYPE_BOOL:

        def boolean(value: Any) -> bytes:
            if value is True:
                return b"\x01"
            if value is False:
                return b"\x00"
            raise _wrong(field)

        return boolean
    if field.enum_type is not None:
        return _as_enum(field, field.enum_type)
    low, high = _RANGES[field.type]

    def integer(value: Any) -> bytes:
        try:
            number = _integer(value)
        except (ValueError, OverflowError):
            raise _wrong(field) from None
        if not low <= number <= high:
            raise _wrong(field)
        return varint(number if number >= 0 else number + 2**64)

    return integer


def enum_number(value: Any) -> int:
    """The number of an enum value that isn't one of our names: itself, or one for a newer name.

    Raises ValueError for what can be neither.
    """
    if type(value) is str and _ENUM_NAME.fullmatch(value):
        return newer_number(value)
    number = _integer(value)
    if not -(2**31) <= number < 2**31:
        raise ValueError("out of range")
    return number


def _as_enum(field: FieldDescriptor, enum: EnumDescriptor) -> Encode:
    numbers = {name: value.number for name, value in enum.values_by_name.items()}

    def number(value: Any) -> bytes:
        found = numbers.get(value) if type(value) is str else None
        if found is None:
            try:
                found = enum_number(value)
            except (ValueError, OverflowError):
                raise _wrong(field) from None
        return varint(found if found >= 0 else found + 2**64)

    return number


def _time(field: FieldDescriptor) -> Encode:
    def time(value: Any) -> bytes:
        try:
            seconds, nanos = divmod(nanoseconds(value), 1_000_000_000)
        except (ValueError, TypeError):
            raise _wrong(field) from None
        out = b"\x08" + varint(seconds if seconds >= 0 else seconds + 2**64)
        return out + b"\x10" + varint(nanos) if nanos else out

    return time


class Tables:
    """Compiled messages: JSON object → wire format."""

    def __init__(self, unknown: dict[str, int]) -> None:
        self._unknown = unknown
        self._tables: dict[str, dict[str, Encode]] = {}

    def table(self, message: Descriptor) -> dict[str, Encode]:
        """JSON key → function from JSON value to the field's bytes, tag included."""
        table = self._tables.get(message.full_name)
        if table is None:
            table = self._tables[message.full_name] = {}
            for field in message.fields:
                encode = self._field(field)
                if encode is not None:
                    table[field.json_name] = table[field.name] = encode
        return table

    def message(self, descriptor: Descriptor) -> Encode:
        """JSON object → the message's bytes, without tag and length."""
        table = self.table(descriptor)
        name, unknown = descriptor.name, self._unknown

        def message(value: Any) -> bytes:
            if type(value) is not dict:
                raise NotAFlow(WRONG_VALUE, name)
            parts = []
            for key, item in value.items():
                encode = table.get(key)
                if encode is None:
                    count_unknown(unknown, name, key)
                elif item is not None:
                    parts.append(encode(item))
            return b"".join(parts)

        return message

    def _field(self, field: FieldDescriptor) -> Encode | None:
        if field.type in (FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_STRING):
            one = self._with_length(field)
            return _each(field, one) if field.is_repeated else one
        if field.type not in _RANGES and field.type not in (
            FieldDescriptor.TYPE_BOOL,
            FieldDescriptor.TYPE_ENUM,
        ):
            return None
        one = _as_varint(field)
        if field.is_repeated:
            return _packed(field, one)
        tag = tag_of(field, 0)
        return lambda value: tag + one(value)

    def _with_length(self, field: FieldDescriptor) -> Encode | None:
        tag = tag_of(field, 2)
        kind = field.message_type
        if kind is None:

            def string(value: Any) -> bytes:
                if type(value) is not str:
                    raise _wrong(field)
                data = value.encode()
                return tag + varint(len(data)) + data

            return string
        if kind.full_name in _WRAPPERS:
            return _wrapper(tag, _as_varint(kind.fields_by_name["value"]))
        if kind.full_name == _TIMESTAMP:
            encode = _time(field)
        elif kind.full_name.startswith("google.protobuf."):
            return None
        else:
            # Compiled on first use: messages nest without end (Tunnel, its IP …), tables don't.
            encode = self._later(kind)

        def message(value: Any) -> bytes:
            data = encode(value)
            return tag + varint(len(data)) + data

        return message

    def _later(self, kind: Descriptor) -> Encode:
        compiled: list[Encode] = []

        def encode(value: Any) -> bytes:
            if not compiled:
                compiled.append(self.message(kind))
            return compiled[0](value)

        return encode


def _each(field: FieldDescriptor, one: Encode | None) -> Encode | None:
    if one is None:
        return None

    def each(value: Any) -> bytes:
        if type(value) is not list:
            raise _wrong(field)
        return b"".join([one(item) for item in value])

    return each


def _wrapper(tag: bytes, one: Encode) -> Encode:
    def wrapper(value: Any) -> bytes:
        data = one(value)
        # Zero is an empty message, as every writer of protobuf has it.
        return tag + (b"\0" if data == b"\0" else varint(len(data) + 1) + b"\x08" + data)

    return wrapper


def _packed(field: FieldDescriptor, one: Encode) -> Encode:
    tag = tag_of(field, 2)

    def packed(value: Any) -> bytes:
        if type(value) is not list:
            raise _wrong(field)
        data = b"".join([one(item) for item in value])
        return tag + varint(len(data)) + data

    return packed


UNKNOWN_LIMIT = 100
"""Different unknown fields counted."""


def count_unknown(unknown: dict[str, int], message: str, key: str) -> None:
    """Count ``key`` of ``message`` as a field that isn't in our wire contract; bounded."""
    name = f"{message}.{key[:64]}"
    if name in unknown or len(unknown) < UNKNOWN_LIMIT:
        unknown[name] = unknown.get(name, 0) + 1
