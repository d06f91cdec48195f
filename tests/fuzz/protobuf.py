"""A protobuf message as a tree of its fields, so that it can be spoilt where bytes alone rarely reach.

Bytes flipped at random mostly break a length, and the message is refused whole. Here a field takes
another value, type or number, stands twice or in the wrong message, and the lengths around it fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fuzz import mutate

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass
class Field:
    """One field as it stands on the wire; ``value`` is a list of fields where it is a message."""

    number: int
    kind: int
    value: int | bytes | list[Field]


def varint(number: int, size: int = 0) -> bytes:
    """``number`` in at least ``size`` bytes: longer than it need be is allowed, up to ten."""
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F or len(out) + 1 < size:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def parse(raw: bytes, descriptor: Any) -> list[Field]:
    """The fields of a message of ``descriptor``'s type. ValueError or IndexError if it is none."""
    fields = []
    at = 0
    while at < len(raw):
        tag, at = _read(raw, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            number_value, at = _read(raw, at)
            fields.append(Field(number, kind, number_value))
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind)
        if size is None:
            if kind != BYTES:
                raise ValueError("a group")
            size, at = _read(raw, at)
        part, at = raw[at : at + size], at + size
        known = descriptor.fields_by_number.get(number) if descriptor else None
        if kind == BYTES and known is not None and known.message_type is not None:
            fields.append(Field(number, kind, parse(part, known.message_type)))
        else:
            fields.append(Field(number, kind, part))
    return fields


def serialize(fields: list[Field], random: Random | None = None) -> bytes:
    """The bytes of ``fields``; with ``random`` a length or a tag is wrong now and then."""
    out = bytearray()
    for field in fields:
        odd = random is not None and random.random() < 0.01
        out += varint(field.number << 3 | field.kind, 3 if odd else 0)
        if isinstance(field.value, int):
            out += varint(field.value, 10 if odd else 0)
            continue
        value = serialize(field.value, random) if isinstance(field.value, list) else field.value
        if field.kind == BYTES:
            out += varint(len(value) + (1 if odd else 0))
        out += value
    return bytes(out)


def _all(fields: list[Field], descriptor: Any, found: list[Any]) -> list[Any]:
    """(the message's fields, index, the message's descriptor) of each field in the tree."""
    for index, field in enumerate(fields):
        found.append((fields, index, descriptor))
        if isinstance(field.value, list):
            known = descriptor.fields_by_number.get(field.number) if descriptor else None
            _all(field.value, known.message_type if known else None, found)
    return found


def _new(random: Random, descriptor: Any) -> Field:
    """A field that the message knows, mostly, with any value of its type, mostly."""
    known = list(descriptor.fields) if descriptor else []
    if not known or random.random() < 0.1:
        number = random.choice((1, 2, 99, 15, 16, 1 << 20, (1 << 29) - 1, 100_000))
        return Field(number, BYTES, random.choice(mutate.BYTES))
    one = random.choice(known)
    if one.message_type is not None:
        inner = [_new(random, one.message_type) for _ in range(random.randrange(3))]
        return Field(one.number, BYTES, inner)
    if one.cpp_type in (one.CPPTYPE_STRING,):
        return Field(one.number, BYTES, random.choice(mutate.BYTES))
    if one.cpp_type == one.CPPTYPE_DOUBLE:
        return Field(one.number, FIXED64, random.randbytes(8))
    if one.cpp_type == one.CPPTYPE_FLOAT:
        return Field(one.number, FIXED32, random.randbytes(4))
    return Field(one.number, VARINT, int(random.choice(mutate.NUMBERS)))


def _change(random: Random, field: Field) -> None:
    if isinstance(field.value, int):
        field.value = int(random.choice(mutate.NUMBERS))
    elif isinstance(field.value, list):
        field.value = mutate.data(random, serialize(field.value))
    else:
        other = random.choice(mutate.BYTES)
        field.value = random.choice((other, field.value + other, mutate.data(random, field.value)))


def spoil(random: Random, raw: bytes, descriptor: Any) -> bytes:
    """``raw``, a message of ``descriptor``'s type, with one to three of its fields spoilt."""
    try:
        fields = parse(raw, descriptor)
    except (ValueError, IndexError):
        return mutate.data(random, raw)
    for _ in range(random.randint(1, 3)):
        places = _all(fields, descriptor, [])
        if not places:
            fields.append(_new(random, descriptor))
            continue
        holder, index, its = random.choice(places)
        match random.randrange(8):
            case 0:
                del holder[index]
            case 1:
                holder.insert(random.randrange(len(holder) + 1), holder[index])
            case 2:
                holder[index].number = random.choice((*range(1, 40), 100_000))
            case 3 | 4:
                holder.insert(index, _new(random, its))
            case _:
                _change(random, holder[index])
    return serialize(fields, random)
