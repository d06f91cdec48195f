"""Why bytes are not the message that they should be: the first field that is wrong, and how.

protobuf itself only says that a message is corrupt, not where. This is the slow way, for the few
messages that could not be parsed.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from flowwatch.hubble.wire.pb.observer import observer_pb2

NOT_A_MESSAGE = "not a Hubble message"
"""What is said when no field can be named."""

_NO_UTF8, _DAMAGED = "is not UTF-8", "is damaged"
_VARINT, _EIGHT, _LENGTH, _GROUP, _END, _FOUR = range(6)
_LONGEST_VARINT = 10
_DEEPEST = 100
"""Messages inside of messages, as protobuf's own parsers limit it."""


class _Damage(ValueError):
    """The message breaks off, or has what no message can have."""


def damage(data: bytes, message: Descriptor = observer_pb2.GetFlowsResponse.DESCRIPTOR) -> str:
    """What is wrong with ``data`` as a ``message``, as ``flow.source.pod_name is not UTF-8``.

    The words come from the descriptors alone, so there are few of them and they are safe to show.
    """
    return _first(data, message, "", 0) or NOT_A_MESSAGE


def _first(data: bytes, message: Descriptor, path: str, depth: int) -> str:
    known = message.fields_by_number
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            number, kind = tag >> 3, tag & 7
            if not number:
                raise _Damage
            start, at = _skip(data, at, kind, number)
            field = known.get(number)
            if field is None or kind != _LENGTH:
                continue
            name = f"{path}.{field.name}" if path else field.name
            if found := _inside(data[start:at], field, name, depth):
                return found
    except _Damage:
        return f"{path} {_DAMAGED}" if path else ""
    return ""


def _inside(data: bytes, field: FieldDescriptor, name: str, depth: int) -> str:
    if field.message_type is not None:
        if depth >= _DEEPEST:
            return f"{name} {_DAMAGED}"
        return _first(data, field.message_type, name, depth + 1)
    if field.type == FieldDescriptor.TYPE_STRING:
        try:
            data.decode()
        except UnicodeDecodeError:
            return f"{name} {_NO_UTF8}"
    return ""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise _Damage


def _skip(data: bytes, at: int, kind: int, number: int) -> tuple[int, int]:
    """Where the value of a field begins and ends."""
    start = at
    if kind == _VARINT:
        _, at = _varint(data, at)
    elif kind == _LENGTH:
        length, start = _varint(data, at)
        at = start + length
    elif kind in (_EIGHT, _FOUR):
        at += 8 if kind == _EIGHT else 4
    elif kind == _GROUP:
        at = _after_group(data, at, number)
    else:
        raise _Damage
    if at > len(data):
        raise _Damage
    return start, at


def _after_group(data: bytes, at: int, number: int) -> int:
    """Groups have gone out of use, but a parser passes over one that it doesn't know."""
    open_groups = [number]
    while open_groups:
        tag, at = _varint(data, at)
        inner, kind = tag >> 3, tag & 7
        if kind == _GROUP and len(open_groups) < _DEEPEST:
            open_groups.append(inner)
        elif kind == _END:
            if open_groups.pop() != inner:
                raise _Damage
        else:
            _, at = _skip(data, at, kind, inner)
    return at
