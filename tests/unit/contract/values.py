"""Every field of Hubble's contract, and the values at the edges of what its type can hold."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from flowwatch.hubble.wire.jsonpb import FlowParser
from flowwatch.hubble.wire.pb.observer import observer_pb2 as pb

_F = FieldDescriptor
_U32 = (0, 1, 255, 256, 65535, 65536, 65536 + 443, 2**31 - 1, 2**31, 2**32 - 1)
_I32 = (-(2**31), -7007, -1001, -1, 0, 1, 99, 255, 65536, 2**31 - 1)
_U64 = (0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
_I64 = (-(2**63), -62_135_596_801, -1, 0, 1, 2**33, 253_402_300_800, 2**62, 2**63 - 1)
_TEXTS = (
    "",
    "x",
    "é😀",
    "\0\x1b]0;owned\x07\x9b31m\u202e",
    "=1+1",
    "##[group]::error::",
    "http://[/x",
    "10.0.0.1",
    "fe80::1%eth0",
    "::ffff:1.2.3.4/120",
    "/",
    "k8s:a=b=c",
    "reserved:",
    "reserved:world",
    "a" * 3000,
    "a,b;c\n\r\t\"'",
)
EDGES: dict[int, tuple[Any, ...]] = {
    _F.TYPE_BOOL: (False, True),
    _F.TYPE_UINT32: _U32,
    _F.TYPE_INT32: _I32,
    _F.TYPE_UINT64: _U64,
    _F.TYPE_INT64: _I64,
    _F.TYPE_DOUBLE: (0.0, -1.0, 1e308, math.nan, math.inf, -math.inf),
    _F.TYPE_STRING: _TEXTS,
    _F.TYPE_BYTES: (b"", b"\xff\x00"),
    _F.TYPE_ENUM: _I32,
}

Path = tuple[FieldDescriptor, ...]


@dataclass(frozen=True)
class Leaf:
    """A field that holds a value, and the way to it from the outermost message."""

    path: Path

    @property
    def name(self) -> str:
        return ".".join(field.name for field in self.path)

    @property
    def values(self) -> tuple[Any, ...]:
        field = self.path[-1]
        if field.enum_type is not None:
            known = sorted(field.enum_type.values_by_number)
            return tuple(dict.fromkeys((known[0], known[len(known) // 2], known[-1], *_I32)))
        return EDGES[field.type]

    def put(self, message: Message, value: Any) -> None:
        """Set it in ``message``, and nothing else but the messages around it."""
        at: Any = message
        for field in self.path[:-1]:
            inner = getattr(at, field.name)
            at = (inner[0] if len(inner) else inner.add()) if field.is_repeated else inner
            if not field.is_repeated:
                at.SetInParent()
        last = self.path[-1]
        if last.is_repeated:
            getattr(at, last.name).append(value)
        else:
            setattr(at, last.name, value)


def leaves(message: Descriptor, around: Path = ()) -> Iterator[Leaf]:
    """All of ``message``, at every depth; a message is not entered inside of itself."""
    for field in message.fields:
        path = (*around, field)
        if field.message_type is None:
            yield Leaf(path)
        elif field.message_type not in [outer.containing_type for outer in path]:
            yield from leaves(field.message_type, path)


LEAVES = tuple(leaves(pb.GetFlowsResponse.DESCRIPTOR))

_ENDS = {
    "source": {
        "identity": 1000,
        "namespace": "odd",
        "pod_name": "app-1",
        "labels": ["k8s:app=app", "k8s:io.kubernetes.pod.namespace=odd"],
        "workloads": [{"name": "app", "kind": "Deployment"}],
    },
    "destination": {"identity": 2, "labels": ["reserved:world"]},
}
_TCP = {"TCP": {"source_port": 40000, "destination_port": 443, "flags": {"SYN": True}}}
_FLOW: dict[str, Any] = {
    "time": "2026-01-31T10:00:00.5Z",
    "IP": {"source": "10.0.0.1", "destination": "1.2.3.4", "ipVersion": "IPv4"},
    "l4": _TCP,
    "traffic_direction": "EGRESS",
    "node_name": "node-1",
    **_ENDS,
}
_POLICY = [{"name": "deny", "namespace": "odd", "kind": "CiliumNetworkPolicy"}]
_DNS = {"type": "RESPONSE", "dns": {"query": "a.example.", "ips": ["1.2.3.4"], "ttl": 5}}
_HTTP = {"type": "REQUEST", "http": {"method": "GET", "url": "http://a.example/x"}}

BASES: dict[str, dict[str, Any]] = {
    "denied": {
        "flow": _FLOW
        | {
            "verdict": "DROPPED",
            "drop_reason_desc": "POLICY_DENIED",
            "event_type": {"type": 5},
            "egress_denied_by": _POLICY,
        }
    },
    "passed": {
        "flow": _FLOW
        | {"verdict": "FORWARDED", "event_type": {"type": 4, "sub_type": 3}, "is_reply": False}
    },
    "dns": {"flow": _FLOW | {"verdict": "FORWARDED", "event_type": {"type": 129}, "l7": _DNS}},
    "http": {"flow": _FLOW | {"verdict": "DROPPED", "event_type": {"type": 129}, "l7": _HTTP}},
    "lost": {"lost_events": {"source": "HUBBLE_RING_BUFFER", "num_events_lost": 3}},
    "node": {"node_status": {"state_change": "NODE_UNAVAILABLE", "node_names": ["node-2"]}},
}
"""Usual messages, into which one odd value is put."""


_OUTER = {"node_name": "node-1", "time": "2026-01-31T10:00:00.5Z"}
_PARSER = FlowParser()
_USUAL = {
    name: _PARSER.response(json.dumps(base | _OUTER).encode()) for name, base in BASES.items()
}


def usual(name: str, uuid: str = "") -> pb.GetFlowsResponse:
    """A message of its own, made as BASES has it."""
    message = pb.GetFlowsResponse()
    message.CopyFrom(_USUAL[name])
    if uuid:
        message.flow.uuid = uuid
    return message


_ARMS = {"lost_events": ("lost",), "node_status": ("node",), "flow": ("denied", "passed")}
_L7 = {"dns": ("dns",), "http": ("http",)}


def bases_of(leaf: Leaf) -> tuple[str, ...]:
    """The usual messages in which a value of ``leaf`` has the most to do."""
    names = [field.name for field in leaf.path]
    if "l7" in names:
        return next((found for name in names if (found := _L7.get(name))), ("dns", "http"))
    return _ARMS.get(names[0], ("denied", "lost"))


def odd_messages() -> Iterator[tuple[str, bytes]]:
    """For each field, each of its edges, in a usual message; with a name to find it by."""
    for leaf in LEAVES:
        for base in bases_of(leaf):
            for number, value in enumerate(leaf.values):
                message = usual(base)
                leaf.put(message, value)
                yield f"{leaf.name}[{number}] in {base}", message.SerializeToString()
