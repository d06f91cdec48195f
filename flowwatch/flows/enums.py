"""Hubble's enums: their names and numbers, and names newer than ours as JSON may have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.descriptor import EnumDescriptor

from flowwatch.hubble.wire.enum_names import newer_name
from flowwatch.hubble.wire.errors import WRONG_VALUE, NotAFlow
from flowwatch.hubble.wire.jsonwire import enum_number
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.relay import relay_pb2

if TYPE_CHECKING:
    from flowwatch.flows.json_structs import Name


class Numbers(dict["Name", int]):
    """Enum name or number → number; names newer than ours get one of their own."""

    def __init__(self, enum: EnumDescriptor) -> None:
        super().__init__({name: value.number for name, value in enum.values_by_name.items()})

    def __missing__(self, value: Name) -> int:
        try:
            return value if isinstance(value, int) else enum_number(value)
        except (ValueError, OverflowError):
            raise NotAFlow(WRONG_VALUE, "enum") from None


VERDICTS = Numbers(flow_pb2.Verdict.DESCRIPTOR)
DIRECTIONS = Numbers(flow_pb2.TrafficDirection.DESCRIPTOR)
REASONS = Numbers(flow_pb2.DropReason.DESCRIPTOR)
AUTH_TYPES = Numbers(flow_pb2.AuthType.DESCRIPTOR)
LOST_SOURCE = flow_pb2.LostEventSource.DESCRIPTOR
NODE_STATE = relay_pb2.NodeState.DESCRIPTOR


def enum_name(enum: EnumDescriptor, number: int) -> str:
    """The name of ``number``; the number as text where it is newer than we are and came without one."""
    known = enum.values_by_number.get(number)
    return known.name if known is not None else newer_name(number) or str(number)
