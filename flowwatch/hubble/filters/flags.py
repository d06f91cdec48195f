"""Hubble's filter flags, made into FlowFilters as ``hubble observe`` makes them.

A flow is shown when one of ``allow`` matches (or there are none) and none of ``deny`` does. Within
one FlowFilter fields are AND and the values of a field OR. "At either end" needs an OR over fields,
so the command line builds two filters, left and right: an either-end flag writes the source's field
into the left one and the destination's into the right one, every other flag writes into both, and
equal ones are sent once. ``--not`` sends the next flag to a second such pair, the deny list.

Source of the facts: Cilium 1.20.2, hubble/cmd/observe/flows_filter.go and flows.go, and running it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from flowwatch.errors import UsageError
from flowwatch.gotext import quote
from flowwatch.hubble.filters.values import BadValue, NotOneOf, check_utf8, value_of
from flowwatch.hubble.wire.pb.flow.flow_pb2 import FlowFilter
from flowwatch.text import safe

Occurrence = tuple[str, str]
"""A filter flag's name without dashes, and its value."""


class Filters(msgspec.Struct):
    """What is asked of a server, or of :func:`flowwatch.hubble.filters.match.compile_filters`."""

    allow: list[FlowFilter] = msgspec.field(default_factory=list)
    deny: list[FlowFilter] = msgspec.field(default_factory=list)

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


class Exclude(BadValue):
    """Two flags that hubble doesn't take together."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"filters --{one} and --{other} cannot be combined")
        self.flags = one, other


def _way_out(error: BadValue) -> str:
    """What to write instead where a flag is about both ends, and another about one: the other end."""
    if not isinstance(error, Exclude):
        return ""
    ends = {flag.partition("-")[0]: flag for flag in error.flags}
    both = [
        flag for flag in error.flags if flag in _ENDS or flag in ("namespace", "all-namespaces")
    ]
    other = "from" if "to" in ends else "to" if "from" in ends else ""
    return f"--{other}-{both[0]} asks about the other end alone" if other and both else ""


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
        """Take in one occurrence; raises BadValue in hubble's words."""
        if flag not in self.used:
            self.used.append(flag)
        self._refuse_conflicts()
        side = next((s for s in ("from-", "to-") if flag.startswith(s)), "")
        bare = flag.removeprefix(side)
        if bare == "namespace" or flag in _ALL_NAMESPACES:
            self.namespaces[side].append(text if bare == "namespace" else "")
        else:
            self.touched = True
            self._write(flag, side, bare, value_of(flag, text))
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
                raise Exclude(used[0], used[1])

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
            raise BadValue("\n".join(found))

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
                return [f"namespace conflict: {quote(namespace)} does not contain {quote(name)}"]
    return []


def _disagreement(pods: Iterable[str], services: Iterable[str]) -> list[str]:
    for pod in pods:
        namespace = _namespace(pod)
        for service in services if namespace else ():
            if _namespace(service) != namespace:
                return [
                    f"namespace of service {quote(service)} conflict with pod {quote(namespace)}"
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


def _no_advice(_flag: str, _text: str) -> str:
    return ""


def build(
    occurrences: Sequence[Occurrence],
    allowlist: Iterable[str] = (),
    denylist: Iterable[str] = (),
    *,
    advice: Callable[[str, str], str] = _no_advice,
) -> Filters:
    """The filters for ``occurrences`` in their order, and JSON FlowFilters of the two lists.

    ``advice`` is what follows a refusal, by flag and value: what to write instead. Raises UsageError
    with hubble's own words for what hubble's command line refuses. Ports, protocols, addresses,
    labels and HTTP statuses are looked at by the server only.
    """
    allow: _Pair | None = None
    deny: _Pair | None = None
    negate = False
    for flag, text in occurrences:
        try:
            check_utf8(text)
            if flag == "not":
                if negate:
                    raise BadValue("consecutive --not statements")
                negate = True
            elif negate:
                negate = False
                deny = deny or _Pair()
                deny.add(flag, text)
            else:
                allow = allow or _Pair()
                allow.add(flag, text)
        except BadValue as error:
            raise UsageError(
                f'invalid argument {quote(text)} for "{_written(flag)}" flag: {safe(str(error))}',
                advice(flag, text) if isinstance(error, NotOneOf) else _way_out(error),
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
    texts = tuple(texts)
    if not texts:
        return []
    import json

    from google.protobuf import json_format

    found = []
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    for text in texts:
        at = 0
        try:
            while at < len(text):
                if text[at] in " \t\r\n":
                    at += 1
                    continue
                value, end = decoder.raw_decode(text, at)
                if not isinstance(value, dict):
                    raise ValueError(f"unexpected token {text[at:end].strip()}")
                found.append(json_format.ParseDict(value, FlowFilter()))
                at = end
        except (ValueError, TypeError, RecursionError, json_format.ParseError) as error:
            raise UsageError(
                f"invalid --{flag} flag: failed to decode '{safe(text)}': "
                # protobuf's parser goes on with a list of all fields.
                + safe(str(error).partition("\n")[0])
            ) from None
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: set[str] = set()
    for name, _ in pairs:
        # source_pod and sourcePod are one field.
        field_name = name.replace("_", "").lower()
        if field_name in seen:
            raise ValueError(f"duplicate field {quote(name)}")
        seen.add(field_name)
    return dict(pairs)


def raw_filters(filters: Filters) -> str:
    """What ``--print-raw-filters`` prints: YAML with a JSON string per filter."""
    from flowwatch.hubble.wire.jsonprint import message_to_json

    lines = []
    for name, each in (("allowlist", filters.allow), ("denylist", filters.deny)):
        if each:
            lines.append(f"{name}:")
            # In YAML a quote within '…' is doubled.
            lines += ["    - '" + message_to_json(one).replace("'", "''") + "'" for one in each]
    return "\n".join(lines) + "\n" if lines else "{}\n"
