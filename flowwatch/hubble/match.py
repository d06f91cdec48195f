"""FlowFilters, evaluated here: the same flows as a Hubble server gives for the same filters.

    matches = compile_filters(filters)
    if matches(flow): ...

One function per field of FlowFilter, in a table. Within a filter all must hold (AND), for each the
values are alternatives (OR). The facts are those of Cilium 1.20.2, pkg/hubble/filters; the texts of
errors are the server's.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal
from urllib.parse import unquote_to_bytes, urlsplit

from flowwatch.hubble.filters import Filters
from flowwatch.hubble.gore import GoRegexError, compile_go
from flowwatch.hubble.pb.flow import flow_pb2
from flowwatch.hubble.pb.flow.flow_pb2 import Flow, FlowFilter
from flowwatch.hubble.selectors import SelectorError, parse_selector

Match = Callable[[Flow], bool]


class FilterError(ValueError):
    """A value that a Hubble server refuses, in its words."""


def compile_filters(filters: Filters) -> Match:
    """A function that says whether a flow is shown: one of ``allow`` matches, none of ``deny``.

    No ``allow`` at all shows everything; an empty FlowFilter matches everything. Raises FilterError.
    """
    allow = [_compile(one) for one in filters.allow]
    deny = [_compile(one) for one in filters.deny]

    def matches(flow: Flow) -> bool:
        if allow and not any(one(flow) for one in allow):
            return False
        return not any(one(flow) for one in deny)

    return matches


def _compile(one: FlowFilter) -> Match:
    tests = [
        test
        for field, _ in one.ListFields()
        for test in [_TESTS[field.name](getattr(one, field.name), one)]
        if test is not None
    ]
    if len(tests) == 1:
        return tests[0]
    return lambda flow: all(test(flow) for test in tests)


Build = Callable[[Any, FlowFilter], Match | None]


def _among(get: Callable[[Flow], Any]) -> Build:
    """The record's value is one of the filter's."""

    def build(values: Any, _: FlowFilter) -> Match:
        wanted = frozenset(values)
        return lambda flow: get(flow) in wanted

    return build


def _ip(get: Callable[[Flow], str]) -> Build:
    def build(values: Iterable[str], _: FlowFilter) -> Match:
        exact: set[str] = set()
        networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for text in values:
            kind = "IP prefix" if "/" in text else "IP address"
            try:
                if "/" in text:
                    # Only a prefix length: Go takes neither masks nor a bare slash.
                    if not text.rpartition("/")[2].isdecimal():
                        raise ValueError("bad bits after slash")
                    networks.append(ipaddress.ip_network(text, strict=False))
                else:
                    ipaddress.ip_address(text)
                    exact.add(text)
            except ValueError as error:
                raise FilterError(f"invalid {kind} {json.dumps(text)} in filter: {error}") from None

        def test(flow: Flow) -> bool:
            text = get(flow)
            if text in exact:
                return True
            if not networks or not text:
                return False
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                return False
            return any(address in network for network in networks)

        return test

    return build


def _named(get: Callable[[Flow], tuple[str, str]], what: str = "") -> Build:
    """``namespace/prefix``; without a slash the namespace is ``default``."""

    def build(values: Iterable[str], _: FlowFilter) -> Match:
        wanted = []
        for text in values:
            if not text:
                prefix = f"invalid {what} filter: " if what else ""
                raise FilterError(f"{prefix}invalid filter, name must not be empty")
            namespace, slash, name = text.partition("/")
            wanted.append((namespace, name) if slash else ("default", text))

        def test(flow: Flow) -> bool:
            namespace, name = get(flow)
            if not namespace and not name:
                return False
            return any(
                name.startswith(prefix) and (not ns or ns == namespace) for ns, prefix in wanted
            )

        return test

    return build


def _cluster(get: Callable[[Flow], str]) -> Build:
    def build(values: Sequence[str], one: FlowFilter) -> Match | None:
        if "" in values:
            raise FilterError("invalid filter, name must not be empty")
        return _among(get)(values, one)

    return build


def _pattern(pattern: str) -> str:
    """A DNS or node name with ``*`` as a regular expression."""
    name = pattern.strip().removesuffix(".").lower()
    if not name:
        raise FilterError("empty pattern")
    if name.endswith("."):
        raise FilterError("multiple trailing dots in pattern")
    out = []
    for char in name:
        if char == "*":
            out.append("[-.0-9a-z]*")
        elif char == ".":
            out.append(r"\.")
        elif char in "-_" or (char.isascii() and char.isalnum()):
            out.append(char)
        else:
            raise FilterError(f"'{char}': invalid rune in pattern")
    return "".join(out)


def _names(get: Callable[[Flow], Iterable[str]]) -> Build:
    def build(values: Iterable[str], _: FlowFilter) -> Match:
        found = re.compile("|".join(f"(?:{_pattern(text)})" for text in values)).fullmatch
        return lambda flow: any(found(name) for name in get(flow))

    return build


_ANY_NAME = r"(?:[-0-9_a-z]+(?:\.[-0-9_a-z]+)*)"


def _node_name(values: Iterable[str], _: FlowFilter) -> Match:
    parts = []
    for text in values:
        if not text:
            raise FilterError("empty pattern")
        elements = text.split("/")
        if len(elements) > 2:
            raise FilterError("too many slashes in pattern")
        cluster, node = elements if len(elements) == 2 else ["", text]
        parts.append("/".join(_pattern(e) if e else _ANY_NAME for e in (cluster, node)))
    found = re.compile("|".join(f"(?:{part})" for part in parts)).fullmatch

    def test(flow: Flow) -> bool:
        name = flow.node_name
        return bool(name) and found(name if "/" in name else f"default/{name}") is not None

    return test


def _labels(get: Callable[[Flow], Iterable[str]], what: str) -> Build:
    def build(values: Iterable[str], _: FlowFilter) -> Match:
        try:
            selectors = [parse_selector(text) for text in values]
        except SelectorError as error:
            raise FilterError(f"invalid {what} label filter: {error}") from None
        # Endpoints repeat: remember what each set of labels came to.
        known: dict[tuple[str, ...], bool] = {}

        def test(flow: Flow) -> bool:
            labels = tuple(get(flow))
            answer = known.get(labels)
            if answer is None:
                if len(known) > 10_000:
                    known.clear()
                answer = known[labels] = any(selector(labels) for selector in selectors)
            return answer

        return test

    return build


_PORTED = ("TCP", "UDP", "SCTP")


def _port(side: str, what: str) -> Build:
    def build(values: Iterable[str], _: FlowFilter) -> Match:
        wanted = set()
        for text in values:
            problem = "invalid syntax"
            if text.isascii() and text.isdecimal():
                if int(text) < 65536:
                    wanted.add(int(text))
                    continue
                problem = "value out of range"
            quoted = json.dumps(text)
            raise FilterError(
                f"invalid {what} port filter: invalid port {quoted}: "
                f"strconv.ParseUint: parsing {quoted}: {problem}"
            )

        def test(flow: Flow) -> bool:
            kind = flow.l4.WhichOneof("protocol")
            return kind in _PORTED and getattr(getattr(flow.l4, kind), side) in wanted

        return test

    return build


_L4 = {
    "icmp": ("ICMPv4", "ICMPv6"),
    "icmpv4": ("ICMPv4",),
    "icmpv6": ("ICMPv6",),
    "tcp": ("TCP",),
    "udp": ("UDP",),
    "sctp": ("SCTP",),
    "vrrp": ("VRRP",),
    "igmp": ("IGMP",),
}
_L7 = ("dns", "http")


def _protocol(values: Iterable[str], _: FlowFilter) -> Match:
    l4: set[str] = set()
    l7: set[str] = set()
    for text in values:
        name = text.lower()
        if name in _L7:
            l7.add(name)
        elif name in _L4:
            l4.update(_L4[name])
        else:
            raise FilterError(f"invalid protocol filter: unknown protocol: {json.dumps(text)}")
    return lambda flow: (
        flow.l4.WhichOneof("protocol") in l4 or (bool(l7) and flow.l7.WhichOneof("record") in l7)
    )


def _event_type(values: Sequence[flow_pb2.EventTypeFilter], _: FlowFilter) -> Match:
    wanted = [(v.type, v.sub_type if v.match_sub_type else None) for v in values]

    def test(flow: Flow) -> bool:
        if not flow.HasField("event_type"):
            return False
        event = flow.event_type
        return any(
            kind in (0, event.type) and (sub is None or sub == event.sub_type)
            for kind, sub in wanted
        )

    return test


def _drop_reason(values: Iterable[int], _: FlowFilter) -> Match:
    wanted = frozenset(values)
    return lambda flow: flow.verdict == flow_pb2.DROPPED and flow.drop_reason_desc in wanted


def _reply(values: Iterable[bool], _: FlowFilter) -> Match:
    wanted = frozenset(values)

    def test(flow: Flow) -> bool:
        if not flow.HasField("is_reply") and flow.verdict != flow_pb2.DROPPED:
            return False
        return flow.is_reply.value in wanted

    return test


_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS")


def _tcp_flags(values: Iterable[flow_pb2.TCPFlags], _: FlowFilter) -> Match:
    wanted = [[name for name in _FLAGS if getattr(value, name)] for value in values]

    def test(flow: Flow) -> bool:
        if flow.l4.WhichOneof("protocol") != "TCP" or not flow.l4.TCP.HasField("flags"):
            return False
        flags = flow.l4.TCP.flags
        return any(all(getattr(flags, name) for name in names) for names in wanted)

    return test


def _workload(get: Callable[[Flow], Iterable[flow_pb2.Workload]]) -> Build:
    def build(values: Iterable[flow_pb2.Workload], _: FlowFilter) -> Match:
        wanted = [(value.kind, value.name) for value in values]
        return lambda flow: any(
            kind in ("", has.kind) and name in ("", has.name)
            for has in get(flow)
            for kind, name in wanted
        )

    return build


def _identity(end: Literal["source", "destination"]) -> Build:
    def build(values: Iterable[int], _: FlowFilter) -> Match:
        wanted = frozenset(values)
        # No endpoint at all is none, not identity 0.
        return lambda flow: flow.HasField(end) and getattr(flow, end).identity in wanted

    return build


def _interface(values: Iterable[flow_pb2.NetworkInterface], _: FlowFilter) -> Match:
    wanted = [(value.index, value.name) for value in values]
    return lambda flow: (
        flow.HasField("interface")
        and any(
            index in (0, flow.interface.index) and name in ("", flow.interface.name)
            for index, name in wanted
        )
    )


_STATUS = re.compile(r"[1-5][0-9]{2}")
_STATUS_PREFIX = re.compile(r"[1-5][0-9]?\+")


def _need_l7(one: FlowFilter, what: str) -> None:
    if one.event_type and all(kind.type != 129 for kind in one.event_type):
        raise FilterError(
            f"filtering by http {what} requires the event type filter to only match 'l7' events"
        )


def _http_status(values: Iterable[str], one: FlowFilter) -> Match:
    _need_l7(one, "status code")
    starts = []
    for text in values:
        if not _STATUS.fullmatch(text) and not _STATUS_PREFIX.fullmatch(text):
            raise FilterError(
                f"invalid http status code filter: invalid status code prefix: {json.dumps(text)}"
            )
        starts.append(text.removesuffix("+"))
    wanted = tuple(starts)
    return lambda flow: bool(flow.l7.http.code) and f"{flow.l7.http.code:03d}".startswith(wanted)


def _http_method(values: Iterable[str], one: FlowFilter) -> Match:
    _need_l7(one, "method")
    wanted = {value.casefold() for value in values}
    return lambda flow: bool(flow.l7.http.method) and flow.l7.http.method.casefold() in wanted


def _regexes(values: Iterable[str], what: str) -> list[re.Pattern[str]]:
    found = []
    for text in values:
        try:
            found.append(compile_go(text))
        except GoRegexError as error:
            raise FilterError(f"invalid {what} filter: {text}: {error}") from None
    return found


def _http_url(values: Iterable[str], one: FlowFilter) -> Match:
    _need_l7(one, "url")
    regexes = _regexes(values, "http url")
    return lambda flow: (
        bool(flow.l7.http.url) and any(regex.search(flow.l7.http.url) for regex in regexes)
    )


def _http_path(values: Iterable[str], one: FlowFilter) -> Match:
    _need_l7(one, "path")
    regexes = _regexes(values, "http path")

    def test(flow: Flow) -> bool:
        path = _path(flow.l7.http.url)
        return path is not None and any(regex.search(path) for regex in regexes)

    return test


_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def _path(url: str) -> str | None:
    """The decoded path of a request URI, None where Go's url.ParseRequestURI fails."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if not url or (not parts.scheme and not url.startswith("/")) or _BAD_ESCAPE.search(parts.path):
        return None
    return unquote_to_bytes(parts.path).decode("utf-8", "replace")


def _http_header(values: Iterable[flow_pb2.HTTPHeader], one: FlowFilter) -> Match:
    _need_l7(one, "headers")
    wanted = {(value.key, value.value) for value in values}
    return lambda flow: any((has.key, has.value) in wanted for has in flow.l7.http.headers)


def _dns_query(values: Iterable[str], _: FlowFilter) -> Match:
    regexes = []
    for text in values:
        try:
            regexes.append(compile_go(text))
        except GoRegexError as error:
            raise FilterError(
                f"invalid DNS query filter: failed to compile regexp: {error}"
            ) from None
    return lambda flow: (
        flow.l7.HasField("dns") and any(regex.search(flow.l7.dns.query) for regex in regexes)
    )


def _experimental(value: flow_pb2.FlowFilter.Experimental, _: FlowFilter) -> Match | None:
    if value.cel_expression:
        raise FilterError("a CEL expression can be evaluated by a Hubble server only")
    return None


_TESTS: dict[str, Build] = {
    "uuid": _among(lambda f: f.uuid),
    "source_ip": _ip(lambda f: f.IP.source),
    "source_ip_xlated": _ip(lambda f: f.IP.source_xlated),
    "destination_ip": _ip(lambda f: f.IP.destination),
    "ip_version": _among(lambda f: f.IP.ipVersion),
    "encrypted": _among(lambda f: f.IP.encrypted),
    "source_pod": _named(lambda f: (f.source.namespace, f.source.pod_name)),
    "destination_pod": _named(lambda f: (f.destination.namespace, f.destination.pod_name)),
    "source_service": _named(
        lambda f: (f.source_service.namespace, f.source_service.name), "source service"
    ),
    "destination_service": _named(
        lambda f: (f.destination_service.namespace, f.destination_service.name),
        "destination service",
    ),
    "source_fqdn": _names(lambda f: f.source_names),
    "destination_fqdn": _names(lambda f: f.destination_names),
    "source_label": _labels(lambda f: f.source.labels, "source"),
    "destination_label": _labels(lambda f: f.destination.labels, "destination"),
    "node_labels": _labels(lambda f: f.node_labels, "node"),
    "source_workload": _workload(lambda f: f.source.workloads),
    "destination_workload": _workload(lambda f: f.destination.workloads),
    "source_cluster_name": _cluster(lambda f: f.source.cluster_name),
    "destination_cluster_name": _cluster(lambda f: f.destination.cluster_name),
    "source_identity": _identity("source"),
    "destination_identity": _identity("destination"),
    "source_port": _port("source_port", "source"),
    "destination_port": _port("destination_port", "destination"),
    "traffic_direction": _among(lambda f: f.traffic_direction),
    "verdict": _among(lambda f: f.verdict),
    "drop_reason_desc": _drop_reason,
    "interface": _interface,
    "event_type": _event_type,
    "protocol": _protocol,
    "reply": _reply,
    "tcp_flags": _tcp_flags,
    "http_status_code": _http_status,
    "http_method": _http_method,
    "http_path": _http_path,
    "http_url": _http_url,
    "http_header": _http_header,
    "dns_query": _dns_query,
    "node_name": _node_name,
    "trace_id": _among(lambda f: f.trace_context.parent.trace_id),
    "ip_trace_id": _among(lambda f: f.ip_trace_id.trace_id),
    "experimental": _experimental,
}
"""Every field of FlowFilter, and how it is tested."""
