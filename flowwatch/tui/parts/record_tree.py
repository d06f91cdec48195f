"""A record whole, as a tree: what Hubble said, by Hubble's names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowwatch.egress.rows import Recent
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.kinds import tcp_flags
from flowwatch.flows.meaning import verdict_name
from flowwatch.flows.model import DIRECTION_WORDS, Endpoint, Flow
from flowwatch.flows.reasons import reason
from flowwatch.text import safe
from flowwatch.tui.format import Line, stamp, wrap

_INDENT = 2

Tree = dict[str, Any]


def record_lines(record: Recent, columns: int) -> list[Line]:
    """The record, its parts below each other; what it doesn't say is left out."""
    head: Line = ((f" {record.kind}  {safe(record.verdict)}  {stamp(record.time)} UTC", "strong"),)
    if record.flow is None:
        return [head, ((" nothing more of it was kept", "dim"),), ()]
    return [head, *_lines(_tree(record.flow), columns, 1), ()]


def _lines(tree: Tree, columns: int, depth: int) -> Iterator[Line]:
    for name, value in tree.items():
        if not value:
            continue
        label = " " * (depth * _INDENT) + name
        if isinstance(value, dict):
            yield ((label, "head"),)
            yield from _lines(value, columns, depth + 1)
            continue
        texts = value if isinstance(value, list | tuple) else [value]
        for number, text in enumerate(texts):
            parts = wrap(safe(str(text)), max(columns - 26, 20))
            for place, part in enumerate(parts):
                first = label if not number and not place else ""
                yield ((f"{first:<24} ", "dim"), (part, "text"))


def _tree(flow: Flow) -> Tree:
    kind, ends, extras = flow.kind, flow.ends, flow.extras
    why = reason(kind.drop_reason) if kind.drop_reason else None
    return {
        "time": f"{time_of_day(flow.time)} UTC",
        "uuid": flow.uuid,
        "verdict": verdict_name(kind.verdict),
        "drop_reason_desc": f"{why.name} ({kind.drop_reason}): {why.plain}" if why else "",
        "traffic_direction": DIRECTION_WORDS.get(kind.direction, kind.newer_direction),
        "is_reply": "" if kind.is_reply is None else str(kind.is_reply).lower(),
        "node_name": kind.node,
        "event_type": {"type": kind.event_type, "sub_type": kind.sub_type},
        "IP": {"source": flow.source_ip, "destination": flow.destination_ip},
        "l4": {
            kind.protocol or "protocol": {
                "source_port": flow.source_port,
                "destination_port": flow.destination_port,
                "flags": ", ".join(tcp_flags(flow)),
            }
        },
        "source": _end(ends.source, ends.source_names, ends.source_service),
        "destination": _end(ends.destination, ends.destination_names, ends.destination_service),
        "l7": _layer7(flow),
        "allowed_by": [str(one) for one in kind.allowed_by],
        "denied_by": [str(one) for one in kind.denied_by],
        "policy_log": list(extras.policy_log) if extras is not None else [],
        "encrypted": "true" if extras is not None and extras.encrypted else "",
        "emitter": kind.emitter,
    }


def _end(end: Endpoint, names: tuple[str, ...], service: str) -> Tree:
    return {
        "namespace": end.namespace,
        "pod_name": end.pod,
        "workload": end.workload,
        "identity": end.identity,
        "cluster_name": end.cluster,
        "names": names,
        "service": service,
        "labels": end.labels,
    }


def _layer7(flow: Flow) -> Tree:
    l7 = flow.l7
    if l7 is None:
        return {}
    return {
        "dns": {
            "query": l7.dns_query,
            "ips": l7.dns_ips,
            "ttl": l7.dns_ttl,
            "cnames": l7.dns_cnames,
        },
        "http": {
            "method": l7.http_method,
            "url": l7.http_url,
            "code": l7.http_code,
            "headers": [f"{name}: {value}" for name, value in l7.http_headers],
        },
    }
