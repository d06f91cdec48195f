"""Filters on the packet and on what was done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from flowwatch.gotext import parse_uint, quote
from flowwatch.hubble.filters.match.base import Build, FilterError, Match
from flowwatch.hubble.wire.names import TCP_FLAGS
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow, FlowFilter


def among(get: Callable[[Flow], Any]) -> Build:
    """The record's value is one of the filter's."""

    def build(values: Iterable[Any], _: FlowFilter) -> Match:
        wanted = frozenset(values)
        if len(wanted) == 1:
            (only,) = wanted
            return lambda flow: bool(get(flow) == only)
        return lambda flow: get(flow) in wanted

    return build


PORTED = ("TCP", "UDP", "SCTP")
"""Those that have ports."""


def port(side: str, what: str) -> Build:
    """A number; only TCP, UDP and SCTP have ports."""

    def build(values: Iterable[str], _: FlowFilter) -> Match:
        wanted: set[int] = set()
        for text in values:
            try:
                wanted.add(parse_uint(text, 16))
            except ValueError as error:
                problem = f"invalid port {quote(text)}: {error}"
                raise FilterError(f"invalid {what} port filter: {problem}") from None

        def test(flow: Flow) -> bool:
            l4 = flow.l4
            kind = l4.WhichOneof("protocol")
            # The record's field is wider than a port; hubble cuts it.
            return kind in PORTED and getattr(getattr(l4, kind), side) & 0xFFFF in wanted

        return test

    return build


L4 = {
    "icmp": ("ICMPv4", "ICMPv6"),
    "icmpv4": ("ICMPv4",),
    "icmpv6": ("ICMPv6",),
    "tcp": ("TCP",),
    "udp": ("UDP",),
    "sctp": ("SCTP",),
    "vrrp": ("VRRP",),
    "igmp": ("IGMP",),
}
"""By a filter's word what a record says of its packet."""
_L7 = ("dns", "http")


def protocol(values: Iterable[str], _: FlowFilter) -> Match:
    """Of the packet, or of what the proxy read in it."""
    l4: set[str | None] = set()
    l7: set[str | None] = set()
    for text in values:
        name = text.lower()
        if name in _L7:
            l7.add(name)
        elif name in L4:
            l4.update(L4[name])
        else:
            raise FilterError(f"invalid protocol filter: unknown protocol: {quote(text)}")
    if not l7:
        return lambda flow: flow.l4.WhichOneof("protocol") in l4
    return lambda flow: flow.l4.WhichOneof("protocol") in l4 or flow.l7.WhichOneof("record") in l7


def event_type(values: Sequence[flow_pb2.EventTypeFilter], _: FlowFilter) -> Match:
    """Type 0 is any; the subtype counts only where it is asked for."""
    types = {value.type for value in values if not value.match_sub_type}
    both = {(value.type, value.sub_type) for value in values if value.match_sub_type}

    def test(flow: Flow) -> bool:
        if not flow.HasField("event_type"):
            return False
        event = flow.event_type
        if event.type in types or 0 in types:
            return True
        return (event.type, event.sub_type) in both or (0, event.sub_type) in both

    return test


def drop_reason(values: Iterable[int], _: FlowFilter) -> Match:
    """Only what was dropped has a reason."""
    wanted = frozenset(values)
    return lambda flow: flow.verdict == flow_pb2.DROPPED and flow.drop_reason_desc in wanted


def reply(values: Iterable[bool], _: FlowFilter) -> Match:
    """Unknown is neither, but for drops: there it counts as no reply."""
    wanted = frozenset(values)

    def test(flow: Flow) -> bool:
        if not flow.HasField("is_reply") and flow.verdict != flow_pb2.DROPPED:
            return False
        return flow.is_reply.value in wanted

    return test


def tcp_flags(values: Iterable[flow_pb2.TCPFlags], _: FlowFilter) -> Match:
    """All of these are set; others may be."""
    wanted = [[name for name in TCP_FLAGS if getattr(value, name)] for value in values]

    def test(flow: Flow) -> bool:
        if flow.l4.WhichOneof("protocol") != "TCP" or not flow.l4.TCP.HasField("flags"):
            return False
        flags = flow.l4.TCP.flags
        return any(all(getattr(flags, name) for name in names) for names in wanted)

    return test


def workload(get: Callable[[Flow], Iterable[flow_pb2.Workload]]) -> Build:
    """Kind and name, exact; an empty one is any."""

    def build(values: Iterable[flow_pb2.Workload], _: FlowFilter) -> Match:
        wanted = [(value.kind, value.name) for value in values]

        def test(flow: Flow) -> bool:
            for has in get(flow):
                for kind, name in wanted:
                    if kind in ("", has.kind) and name in ("", has.name):
                        return True
            return False

        return test

    return build


def identity(end: Literal["source", "destination"]) -> Build:
    """A record without that endpoint has no identity, not identity 0."""

    def build(values: Iterable[int], _: FlowFilter) -> Match:
        wanted = frozenset(values)
        return lambda flow: flow.HasField(end) and getattr(flow, end).identity in wanted

    return build


def interface(values: Iterable[flow_pb2.NetworkInterface], _: FlowFilter) -> Match:
    """Index and name, exact; 0 and "" are any."""
    wanted = [(value.index, value.name) for value in values]

    def test(flow: Flow) -> bool:
        if not flow.HasField("interface"):
            return False
        has = flow.interface
        return any(index in (0, has.index) and name in ("", has.name) for index, name in wanted)

    return test
