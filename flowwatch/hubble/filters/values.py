"""The values of filter flags: from a flag's text to what its field of FlowFilter holds.

Words of Cilium 1.20.2, hubble/cmd/observe; the tables are flowwatch.hubble.wire.names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowwatch.gotext import parse_uint, quote
from flowwatch.hubble.wire import names
from flowwatch.hubble.wire.pb.flow import flow_pb2

_IP_VERSIONS = {
    **dict.fromkeys(("4", "v4", "ipv4", "ip4"), flow_pb2.IPv4),
    **dict.fromkeys(("6", "v6", "ipv6", "ip6"), flow_pb2.IPv6),
}
_SUB_TYPES = {
    "trace": {name: number for number, name in enumerate(names.TRACE_POINTS)},
    "agent": {name: number for number, name in enumerate(names.AGENT_EVENTS)},
}
# Reserved names; --identity takes the well-known ones alone.
_IDENTITIES = {name: number for number, name in names.RESERVED.items()}


class BadValue(ValueError):
    """A value that hubble refuses, in hubble's words."""


class NotOneOf(BadValue):
    """The same, where only some words will do."""


def check_utf8(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        # Bytes of the command line; a request can't carry them.
        raise BadValue("contains invalid UTF-8") from None


def _int32(number: int) -> int:
    """Go's conversion: what is too large becomes negative."""
    return number - (number >> 31 << 32)


def _event_type(text: str) -> flow_pb2.EventTypeFilter:
    name, colon, sub = text.partition(":")
    number = names.EVENT_TYPES.get(name)
    if number is None:
        try:
            number = _int32(parse_uint(name, 32))
        except ValueError as error:
            raise NotOneOf(
                f"unable to parse type '{name}', not a known type name and "
                f"unable to parse as numeric value: {error}"
            ) from None
    wanted = flow_pb2.EventTypeFilter(type=number)
    if colon:
        known = _SUB_TYPES.get(name, {}).get(sub)
        if known is None:
            try:
                known = _int32(parse_uint(sub, 32))
            except ValueError as error:
                raise NotOneOf(
                    f"unable to parse event sub-type '{sub}', not a known sub-type name and "
                    f"unable to parse as numeric value: {error}"
                ) from None
        wanted.match_sub_type = True
        wanted.sub_type = known
    return wanted


def _tcp_flags(text: str) -> flow_pb2.TCPFlags:
    flags = flow_pb2.TCPFlags()
    for name in text.split(","):
        if name.upper() not in names.TCP_FLAGS:
            raise NotOneOf(f"unknown tcp flag: {name}")
        setattr(flags, name.upper(), True)
    return flags


def _identity(text: str) -> int:
    if text in _IDENTITIES:
        return _IDENTITIES[text]
    try:
        return parse_uint(text, 32, base=0)
    except ValueError:
        known = " ".join(_IDENTITIES)
        raise NotOneOf(
            f"invalid security identity, expected one of [{known}] or a numeric value"
        ) from None


def _workload(text: str) -> flow_pb2.Workload:
    kind, slash, name = text.partition("/")
    return flow_pb2.Workload(kind=kind, name=name) if slash else flow_pb2.Workload(name=text)


def _http_header(text: str) -> flow_pb2.HTTPHeader:
    key, colon, value = text.partition(":")
    if not colon:
        raise BadValue(f"invalid http-header value {quote(text)}, expected name:value")
    return flow_pb2.HTTPHeader(key=key, value=value)


def _direction(text: str) -> int:
    known = {"ingress": flow_pb2.INGRESS, "egress": flow_pb2.EGRESS}.get(text.lower())
    if known is None:
        raise NotOneOf(f"{text.lower()}: invalid traffic direction, expected ingress or egress")
    return known


def _ip_trace_id(text: str) -> int:
    if text == "0":
        raise BadValue("invalid --ip-trace-id value; must be greater than 0")
    try:
        return parse_uint(text, 64)
    except ValueError as error:
        raise BadValue(f"invalid --ip-trace-id value: {error}") from None


def _named(enum: Any, flag: str, text: str) -> int:
    if flag == "drop-reason-desc" and not text:
        raise BadValue("empty --drop-reason-desc value")
    number = dict(enum.items()).get(text)
    if number is None:
        raise NotOneOf(f"invalid --{flag} value: {text}")
    return int(number)


def value_of(flag: str, text: str) -> Any:
    """The value of one occurrence, of the type of its field."""
    bare = flag.removeprefix("from-").removeprefix("to-")
    if bare == "workload":
        return _workload(text)
    if bare == "identity":
        return _identity(text)
    if flag == "verdict":
        return _named(flow_pb2.Verdict, flag, text)
    if flag == "drop-reason-desc":
        return _named(flow_pb2.DropReason, flag, text)
    parse = _PARSERS.get(flag)
    return parse(text) if parse else text


_PARSERS: dict[str, Callable[[str], Any]] = {
    "type": _event_type,
    "tcp-flags": _tcp_flags,
    "http-header": _http_header,
    "traffic-direction": _direction,
    "ip-trace-id": _ip_trace_id,
    "ipv4": lambda _: flow_pb2.IPv4,
    "ipv6": lambda _: flow_pb2.IPv6,
    "ip-version": lambda text: _IP_VERSIONS.get(text.lower(), flow_pb2.IP_NOT_USED),
    "interface": lambda text: flow_pb2.NetworkInterface(name=text),
    "encrypted": lambda _: True,
    "unencrypted": lambda _: False,
    "reply": lambda _: True,
    "not-reply": lambda _: False,
}
