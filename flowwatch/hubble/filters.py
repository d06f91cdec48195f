"""Hubble's filter flags, made into FlowFilters as ``hubble observe`` makes them.

A flow is shown when one of ``allow`` matches (or there are none) and none of ``deny`` does. Within
one FlowFilter fields are AND and the values of a field OR. "At either end" needs an OR over fields,
so the command line builds two filters, left and right: an either-end flag writes the source's field
into the left one and the destination's into the right one, every other flag writes into both, and
equal ones are sent once. ``--not`` sends the next flag to a second such pair, the deny list.

Source of the facts: Cilium 1.20.2, hubble/cmd/observe/flows_filter.go and flows.go, and running it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format

from flowwatch.errors import UsageError
from flowwatch.hubble.jsonprint import message_to_json
from flowwatch.hubble.pb.flow import flow_pb2
from flowwatch.hubble.pb.flow.flow_pb2 import FlowFilter
from flowwatch.text import safe

Occurrence = tuple[str, str]
"""A filter flag's name without dashes, and its value."""


@dataclass(slots=True)
class Filters:
    """What is asked of a server, or of :func:`flowwatch.hubble.match.compile_filters`."""

    allow: list[FlowFilter] = field(default_factory=list)
    deny: list[FlowFilter] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.allow or self.deny)


# flag → field of the source, field of the destination. Flags with "from-" and "to-" before them
# are about one of the two.
_ENDS = {
    "pod": ("source_pod", "destination_pod"),
    "service": ("source_service", "destination_service"),
    "workload": ("source_workload", "destination_workload"),
    "fqdn": ("source_fqdn", "destination_fqdn"),
    "ip": ("source_ip", "destination_ip"),
    "port": ("source_port", "destination_port"),
    "label": ("source_label", "destination_label"),
    "identity": ("source_identity", "destination_identity"),
    "cluster": ("source_cluster_name", "destination_cluster_name"),
}
_FIELDS = {
    "uuid": "uuid",
    "snat-ip": "source_ip_xlated",
    "ipv4": "ip_version",
    "ipv6": "ip_version",
    "ip-version": "ip_version",
    "trace-id": "trace_id",
    "ip-trace-id": "ip_trace_id",
    "verdict": "verdict",
    "drop-reason-desc": "drop_reason_desc",
    "http-status": "http_status_code",
    "http-method": "http_method",
    "http-path": "http_path",
    "http-url": "http_url",
    "http-header": "http_header",
    "type": "event_type",
    "protocol": "protocol",
    "node-name": "node_name",
    "node-label": "node_labels",
    "tcp-flags": "tcp_flags",
    "traffic-direction": "traffic_direction",
    "interface": "interface",
    "encrypted": "encrypted",
    "unencrypted": "encrypted",
    "reply": "reply",
    "not-reply": "reply",
}
_ALL_NAMESPACES = ("all-namespaces", "from-all-namespaces", "to-all-namespaces")

# Any two of a group refuse each other, looked for in this order.
_CONFLICTS: tuple[tuple[str, ...], ...] = (
    ("from-fqdn", "from-ip", "ip", "fqdn", "from-namespace", "namespace", "from-all-namespaces",
     "all-namespaces"),
    ("from-fqdn", "from-ip", "ip", "fqdn", "from-pod", "pod"),
    ("to-fqdn", "to-ip", "ip", "fqdn", "to-namespace", "namespace", "to-all-namespaces",
     "all-namespaces"),
    ("to-fqdn", "to-ip", "ip", "fqdn", "to-pod", "pod"),
    ("to-pod", "namespace", "all-namespaces"),
    ("from-pod", "namespace", "all-namespaces"),
    ("to-service", "namespace", "all-namespaces"),
    ("from-service", "namespace", "all-namespaces"),
    ("label", "from-label"),
    ("label", "to-label"),
    ("service", "from-service"),
    ("service", "to-service"),
    ("port", "to-port"),
    ("port", "from-port"),
    ("identity", "to-identity"),
    ("identity", "from-identity"),
    ("workload", "to-workload"),
    ("workload", "from-workload"),
    ("encrypted", "unencrypted"),
    ("reply", "not-reply"),
)  # fmt: skip

_IP_VERSIONS = {
    **dict.fromkeys(("4", "v4", "ipv4", "ip4"), flow_pb2.IPv4),
    **dict.fromkeys(("6", "v6", "ipv6", "ip6"), flow_pb2.IPv6),
}
# pkg/monitor/api/types.go: MessageTypeNames.
_TYPES = {
    "drop": 1, "debug": 2, "capture": 3, "trace": 4, "policy-verdict": 5,
    "trace-sock": 7, "l7": 129, "agent": 130,
}  # fmt: skip
_TRACE_POINTS = {
    "to-endpoint": 0, "to-proxy": 1, "to-host": 2, "to-stack": 3, "to-overlay": 4,
    "from-endpoint": 5, "from-proxy": 6, "from-host": 7, "from-stack": 8, "from-overlay": 9,
    "from-network": 10, "to-network": 11, "from-crypto": 12, "to-crypto": 13,
}  # fmt: skip
_AGENT_EVENTS = {
    "unspecified": 0, "message": 1, "agent-started": 2, "endpoint-regenerate-success": 3,
    "endpoint-regenerate-failure": 4, "policy-updated": 5, "policy-deleted": 6,
    "endpoint-created": 7, "endpoint-deleted": 8, "ipcache-upserted": 9, "ipcache-deleted": 10,
}  # fmt: skip
# pkg/identity/numericidentity.go: reserved names, and the well-known ones that --identity takes.
_IDENTITIES = {
    "host": 1, "world": 2, "unmanaged": 3, "health": 4, "init": 5, "remote-node": 6,
    "kube-apiserver": 7, "ingress": 8, "world-ipv4": 9, "world-ipv6": 10,
    "aggregate-cluster": 11, "aggregate-cluster-mesh": 12, "aggregate-world": 13,
    "aggregate-remote-node": 14,
}  # fmt: skip
_TCP_FLAGS = ("SYN", "FIN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS")
_UINT32, _UINT64 = 2**32, 2**64


class _Bad(ValueError):
    """A value that hubble refuses, in hubble's words."""


def _uint(text: str, limit: int, name: str = "ParseUint") -> int:
    quoted = json.dumps(text)
    if not text.isascii() or not text.isdecimal():
        raise _Bad(f"strconv.{name}: parsing {quoted}: invalid syntax")
    if int(text) >= limit:
        raise _Bad(f"strconv.{name}: parsing {quoted}: value out of range")
    return int(text)


def _event_type(text: str) -> flow_pb2.EventTypeFilter:
    name, colon, sub = text.partition(":")
    number = _TYPES.get(name)
    if number is None:
        try:
            number = _uint(name, _UINT32)
        except _Bad as error:
            raise _Bad(
                f"unable to parse type '{name}', not a known type name and "
                f"unable to parse as numeric value: {error}"
            ) from None
    wanted = flow_pb2.EventTypeFilter(type=number)
    if colon:
        subs = {"trace": _TRACE_POINTS, "agent": _AGENT_EVENTS}.get(name, {})
        known = subs.get(sub)
        if known is None:
            try:
                known = _uint(sub, _UINT32)
            except _Bad as error:
                raise _Bad(
                    f"unable to parse event sub-type '{sub}', not a known sub-type name and "
                    f"unable to parse as numeric value: {error}"
                ) from None
        wanted.match_sub_type = True
        wanted.sub_type = known
    return wanted


def _tcp_flags(text: str) -> flow_pb2.TCPFlags:
    flags = flow_pb2.TCPFlags()
    for name in text.split(","):
        if name.upper() not in _TCP_FLAGS:
            raise _Bad(f"unknown tcp flag: {name}")
        setattr(flags, name.upper(), True)
    return flags


def _identity(text: str) -> int:
    if text in _IDENTITIES:
        return _IDENTITIES[text]
    try:
        # Go's ParseUint with base 0: 0x, 0o and 0b are numbers too.
        number = int(text, 0) if text[:1].isdecimal() else -1
    except ValueError:
        number = -1
    if not 0 <= number < _UINT32:
        names = " ".join(_IDENTITIES)
        raise _Bad(f"invalid security identity, expected one of [{names}] or a numeric value")
    return number


def _workload(text: str) -> flow_pb2.Workload:
    kind, slash, name = text.partition("/")
    return flow_pb2.Workload(kind=kind, name=name) if slash else flow_pb2.Workload(name=text)


def _http_header(text: str) -> flow_pb2.HTTPHeader:
    key, colon, value = text.partition(":")
    if not colon:
        raise _Bad(f"invalid http-header value {json.dumps(text)}, expected name:value")
    return flow_pb2.HTTPHeader(key=key, value=value)


def _direction(text: str) -> int:
    known = {"ingress": flow_pb2.INGRESS, "egress": flow_pb2.EGRESS}.get(text.lower())
    if known is None:
        raise _Bad(f"{text.lower()}: invalid traffic direction, expected ingress or egress")
    return known


def _ip_trace_id(text: str) -> int:
    if text == "0":
        raise _Bad("invalid --ip-trace-id value; must be greater than 0")
    try:
        return _uint(text, _UINT64)
    except _Bad as error:
        raise _Bad(f"invalid --ip-trace-id value: {error}") from None


def _named(enum: Any, flag: str, text: str) -> int:
    if flag == "drop-reason-desc" and not text:
        raise _Bad("empty --drop-reason-desc value")
    number = dict(enum.items()).get(text)
    if number is None:
        raise _Bad(f"invalid --{flag} value: {text}")
    return int(number)


def _value(flag: str, text: str) -> Any:
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


def _append(target: FlowFilter, name: str, value: Any) -> None:
    values = getattr(target, name)
    if isinstance(value, (str, int)):
        values.append(value)
    else:
        values.add().CopyFrom(value)


class _Pair:
    """The left and the right filter of one list, while the command line is read."""

    def __init__(self) -> None:
        self.left = FlowFilter()
        self.right = FlowFilter()
        self.namespaces: dict[str, list[str]] = {"": [], "from-": [], "to-": []}
        self.used: list[str] = []
        self.touched = False

    def add(self, flag: str, text: str) -> None:
        """Take in one occurrence; raises _Bad in hubble's words."""
        if flag not in self.used:
            self.used.append(flag)
        self._refuse_conflicts()
        side = next((s for s in ("from-", "to-") if flag.startswith(s)), "")
        bare = flag.removeprefix(side)
        if bare == "namespace" or flag in _ALL_NAMESPACES:
            self.namespaces[side].append(text if bare == "namespace" else "")
        else:
            self.touched = True
            self._write(flag, side, bare, _value(flag, text))
        for one in (self.left, self.right) if self.touched else ():
            self._refuse_namespaces(one)

    def _write(self, flag: str, side: str, bare: str, value: Any) -> None:
        if flag == "cel-expression":
            for one in (self.left, self.right):
                one.experimental.cel_expression.append(value)
            return
        source, destination = _ENDS.get(bare, ("", ""))
        if not source:
            left = right = _FIELDS[flag]
        elif side:
            left = right = source if side == "from-" else destination
        else:
            left, right = source, destination
        _append(self.left, left, value)
        _append(self.right, right, value)

    def _refuse_conflicts(self) -> None:
        for group in _CONFLICTS:
            used = [flag for flag in group if flag in self.used]
            if len(used) > 1:
                raise _Bad(f"filters --{used[0]} and --{used[1]} cannot be combined")

    def _refuse_namespaces(self, one: FlowFilter) -> None:
        source = (one.source_pod, one.source_service)
        destination = (one.destination_pod, one.destination_service)
        found = []
        for side, lists in (
            ("", source + destination),
            ("from-", source),
            ("to-", destination),
        ):
            for names in lists:
                found += _conflict(self.namespaces[side], names)
        for pods, services in (source, destination):
            found += _disagreement(pods, services)
        if found:
            raise _Bad("\n".join(found))

    def filters(self) -> list[FlowFilter]:
        """The finished filters: none, one, or left and right."""
        if not self.touched and not any(self.namespaces.values()):
            return []
        left, right = self.left, self.right
        for one in (left, right):
            _into_namespaces(one, "destination", self.namespaces["to-"])
            _into_namespaces(one, "source", self.namespaces["from-"])
        _into_namespaces(left, "source", self.namespaces[""])
        _into_namespaces(right, "destination", self.namespaces[""])
        return [left] if left == right else [left, right]


def _conflict(namespaces: list[str], names: Iterable[str]) -> list[str]:
    # hubble stops at the first name of a list that contradicts.
    for namespace in namespaces:
        for name in names:
            owner = _namespace(name)
            if owner and owner != namespace:
                return [
                    f"namespace conflict: {json.dumps(namespace)} does not contain {json.dumps(name)}"
                ]
    return []


def _disagreement(pods: Iterable[str], services: Iterable[str]) -> list[str]:
    for pod in pods:
        namespace = _namespace(pod)
        for service in services if namespace else ():
            if _namespace(service) != namespace:
                return [
                    f"namespace of service {json.dumps(service)} conflict with pod {json.dumps(namespace)}"
                ]
    return []


def _namespace(name: str) -> str:
    namespace, slash, _ = name.partition("/")
    return namespace if slash else ""


def _into_namespaces(one: FlowFilter, end: str, namespaces: list[str]) -> None:
    """Put the namespaces before pod and service names that have none."""
    if not namespaces:
        return
    pods, services = getattr(one, f"{end}_pod"), getattr(one, f"{end}_service")
    if not pods and not services:
        pods.append("")
    for names in (pods, services):
        full = [
            each
            for name in names
            for each in ([name] if "/" in name else [f"{ns}/{name}" for ns in namespaces])
        ]
        del names[:]
        names.extend(full)


def build(
    occurrences: Sequence[Occurrence],
    allowlist: Iterable[str] = (),
    denylist: Iterable[str] = (),
) -> Filters:
    """The filters for ``occurrences`` in their order, and JSON FlowFilters of the two lists.

    Raises UsageError with hubble's own words for what hubble's command line refuses. Ports,
    protocols, addresses, labels and HTTP statuses are looked at by the server only.
    """
    allow: _Pair | None = None
    deny: _Pair | None = None
    negate = False
    for flag, text in occurrences:
        try:
            if flag == "not":
                if negate:
                    raise _Bad("consecutive --not statements")
                negate = True
            elif negate:
                negate = False
                deny = deny or _Pair()
                deny.add(flag, text)
            else:
                allow = allow or _Pair()
                allow.add(flag, text)
        except _Bad as error:
            raise UsageError(
                f'invalid argument "{safe(text)}" for "{_written(flag)}" flag: {safe(str(error))}'
            ) from None
    if negate:
        raise UsageError("trailing --not found in the arguments")
    return Filters(
        allow=(allow.filters() if allow else []) + _from_json(allowlist, "allowlist"),
        deny=(deny.filters() if deny else []) + _from_json(denylist, "denylist"),
    )


_SHORTS = {
    "ipv4": "4",
    "ipv6": "6",
    "namespace": "n",
    "all-namespaces": "A",
    "label": "l",
    "type": "t",
}


def _written(flag: str) -> str:
    short = _SHORTS.get(flag)
    return f"-{short}, --{flag}" if short else f"--{flag}"


def _from_json(texts: Iterable[str], flag: str) -> list[FlowFilter]:
    """JSON FlowFilters, one or several in a text, with names in either case."""
    found = []
    decoder = json.JSONDecoder()
    for text in texts:
        at = 0
        try:
            while at < len(text):
                if text[at].isspace():
                    at += 1
                    continue
                value, at = decoder.raw_decode(text, at)
                found.append(json_format.ParseDict(value, FlowFilter()))
        except (ValueError, json_format.ParseError) as error:
            raise UsageError(
                f"invalid --{flag} flag: failed to decode '{safe(text)}': "
                # protobuf's parser goes on with a list of all fields.
                + safe(str(error).partition("\n")[0])
            ) from None
    return found


def raw_filters(filters: Filters) -> str:
    """What ``--print-raw-filters`` prints: YAML with a JSON string per filter."""
    lines = []
    for name, each in (("allowlist", filters.allow), ("denylist", filters.deny)):
        if each:
            lines.append(f"{name}:")
            # In YAML a quote within '…' is doubled.
            lines += ["    - '" + message_to_json(one).replace("'", "''") + "'" for one in each]
    return "\n".join(lines) + "\n" if lines else "{}\n"
