"""What ``status``, ``list nodes`` and ``list namespaces`` print: hubble's own forms.

Pure functions from the server's messages to text (Cilium 1.20.2, hubble/cmd/status, hubble/cmd/list,
hubble/pkg/printer). Names from the network are made safe.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TypeVar

from flowwatch.errors import UsageError
from flowwatch.hubble.wire.jsonprint import message_to_json
from flowwatch.hubble.wire.pb.observer import observer_pb2 as pb
from flowwatch.report.goformat import align
from flowwatch.text import json_safe, safe

NONE = "N/A"
_STATUS_FORMS = {
    "compact": "compact",
    "dict": "dict",
    "json": "json",
    "JSON": "json",
    "jsonpb": "json",
    "tab": "table",
    "table": "table",
}
_LIST_FORMS = ("table", "wide", "json")
# relay.NodeState by number.
_STATES = ("Unknown", "Connected", "Unavailable", "Gone", "Error")

_Message = TypeVar("_Message", pb.Node, pb.Namespace)


def check_status_output(form: str) -> str:
    """The format that ``status -o`` means; UsageError in hubble's words."""
    if form not in _STATUS_FORMS:
        raise UsageError(f"invalid output format: {safe(form)}")
    return _STATUS_FORMS[form]


def check_list_output(form: str) -> str:
    """The format that ``list -o`` means; UsageError in hubble's words."""
    if form not in _LIST_FORMS:
        raise UsageError(f"unknown output format: {safe(form)}")
    return form


def health_line(address: str, health: str) -> str:
    """``Healthcheck (via ADDRESS): Ok``; ``health`` is the name of a gRPC serving status."""
    return (
        f"Healthcheck (via {address}): {'Ok' if health == 'SERVING' else f'Unavailable: {health}'}"
    )


def status_text(status: pb.ServerStatusResponse, form: str) -> str:
    """ServerStatus in one of the four formats, ending in a newline."""
    if form == "json":
        return message_to_json(status) + "\n"
    if form == "compact":
        return "".join(f"{line}\n" for line in _compact(status))
    connected = status.num_connected_nodes.value if status.HasField("num_connected_nodes") else NONE
    away = status.num_unavailable_nodes.value if status.HasField("num_unavailable_nodes") else NONE
    fields = (
        ("NUM FLOWS", f"{status.num_flows:,}"),
        ("MAX FLOWS", f"{status.max_flows:,}"),
        ("SEEN FLOWS", f"{status.seen_flows:,}"),
        ("FLOWS PER SECOND", f"{status.flows_rate:.2f}" if status.flows_rate > 0 else NONE),
        ("UPTIME", duration(status.uptime_ns)),
        ("NUM CONNECTED NODES", str(connected)),
        ("NUM UNAVAILABLE NODES", str(away)),
        ("VERSION", safe(status.version)),
    )
    if form == "table":
        return "".join(f"{line}\n" for line in align(list(zip(*fields, strict=True))))
    names = {"NUM UNAVAILABLE NODES": "NUM UNAVAIL. NODES"}
    return "".join(f"{names.get(name, name):>19}: {value}\n" for name, value in fields)


def _compact(status: pb.ServerStatusResponse) -> Iterable[str]:
    share = f" ({status.num_flows / status.max_flows:.2%})" if status.max_flows else ""
    yield f"Current/Max Flows: {status.num_flows:,}/{status.max_flows:,}{share}"
    rate = status.flows_rate
    if rate <= 0 and status.uptime_ns:
        rate = status.seen_flows / (status.uptime_ns / 1e9)
        yield f"Flows/s: {rate:.2f}"
    else:
        yield f"Flows/s: {f'{rate:.2f}' if rate > 0 else NONE}"
    connected, away = status.num_connected_nodes.value, status.num_unavailable_nodes.value
    if status.HasField("num_connected_nodes"):
        both = f"/{connected + away}" if status.HasField("num_unavailable_nodes") else ""
        yield f"Connected Nodes: {connected}{both}"
    if away:
        yield f"Unavailable Nodes: {away}"
        names = sorted(status.unavailable_nodes)
        for name in names:
            yield f"  - {safe(name)}"
        if names and away > len(names):
            yield f"  - and {away - len(names)} more..."


def nodes_text(nodes: Sequence[pb.Node], form: str) -> str:
    """Relay's nodes by name, as table, wide table or JSON."""
    nodes = sorted(nodes, key=lambda node: node.name)
    if form == "json":
        return _json(nodes)
    wide = form == "wide"
    head = ("NAME", "STATUS", "AGE", "FLOWS/S", "CURRENT/MAX-FLOWS")
    rows = [head + (("VERSION", "ADDRESS", "TLS") if wide else ())]
    for node in nodes:
        uptime = (node.uptime_ns + 5 * 10**8) // 10**9
        flows = NONE
        if node.max_flows:
            flows = f"{node.num_flows}/{node.max_flows} ({node.num_flows / node.max_flows:7.2%})"
        row: tuple[str, ...] = (
            safe(node.name),
            _STATES[node.state] if 0 <= node.state < len(_STATES) else _STATES[0],
            duration(uptime * 10**9) if uptime > 0 else NONE,
            f"{node.seen_flows / uptime:.2f}" if uptime > 0 else NONE,
            flows,
        )
        if wide:
            tls = NONE
            if node.HasField("tls"):
                tls = "Enabled" if node.tls.enabled else "Disabled"
            row += (safe(node.version) or NONE, safe(node.address), tls)
        rows.append(row)
    return "".join(f"{line}\n" for line in align(rows))


def namespaces_text(namespaces: Sequence[pb.Namespace], form: str) -> str:
    """Namespaces in the server's order, as table, wide table (with cluster) or JSON."""
    if form == "json":
        return _json(namespaces)
    if form != "wide":
        return "".join(
            f"{line}\n" for line in ("NAMESPACE", *(safe(n.namespace) for n in namespaces))
        )
    lines = ["NAMESPACE   CLUSTER"]
    # Go's tabwriter aligns neighbours that have the cell; a namespace without a cluster has none.
    for has_cluster, group in groupby(namespaces, key=lambda one: bool(one.cluster)):
        rows = [(safe(one.namespace), safe(one.cluster)) for one in group]
        if has_cluster:
            head = [("NAMESPACE", "CLUSTER")] if len(lines) == 1 else []
            lines[len(lines) - len(head) :] = align([*head, *rows])
        else:
            lines += [name for name, _ in rows]
    return "".join(f"{line}\n" for line in lines)


def _json(messages: Sequence[_Message]) -> str:
    if not messages:
        return "null\n"
    objects = [json.loads(message_to_json(message)) for message in messages]
    return json_safe(json.dumps(objects, indent=2, ensure_ascii=False)) + "\n"


def duration(nanoseconds: int) -> str:
    """A duration as Go writes it: ``1h2m3.5s``, ``1.5ms``, ``0s``."""
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if nanoseconds < size * 1000:
            return _decimal(nanoseconds, size) + unit
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = _decimal(rest, 10**9) + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _decimal(value: int, size: int) -> str:
    whole, part = divmod(value, size)
    if not part:
        return str(whole)
    return f"{whole}.{str(part).zfill(len(str(size)) - 1).rstrip('0')}"
