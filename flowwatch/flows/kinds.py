"""What kind of record a flow is, and its numbers in Hubble's words: the same on every output."""

from __future__ import annotations

from flowwatch.flows.model import EventType, Flow
from flowwatch.hubble.wire.names import (
    L7_TYPES,
    MATCH_TYPES,
    SOCKET_POINTS,
    TCP_FLAGS,
    TRACE_POINTS,
)

_KINDS = {
    int(EventType.DROP): "drop",
    int(EventType.POLICY_VERDICT): "policy-verdict",
    int(EventType.CAPTURE): "capture",
}


def kind(flow: Flow) -> str:
    """``drop``, ``policy-verdict``, ``to-stack``, ``pre-xlate-fwd``, ``dns-request`` …; ``unknown``.

    hubble's TYPE without what is told beside it (reason, match, direction). A trace at a point that is
    newer than we are is ``trace-`` or ``trace-sock-`` with its number.
    """
    if flow.l7 is not None:
        which = "dns" if flow.l7.dns_query else "http" if flow.l7.http_method else "l7"
        return f"{which}-{L7_TYPES.get(flow.l7.type, 'unknown')}"
    sub = flow.sub_type & 0xFF
    if flow.event_type == EventType.TRACE:
        return TRACE_POINTS[sub] if sub < len(TRACE_POINTS) else f"trace-{sub}"
    if flow.event_type == EventType.TRACE_SOCK:
        return SOCKET_POINTS.get(sub, f"trace-sock-{sub}")
    return _KINDS.get(flow.event_type, "unknown")


def tcp_flags(flow: Flow) -> tuple[str, ...]:
    """``SYN``, ``ACK`` …: those that are set, in the order of their bits."""
    return tuple([name for bit, name in enumerate(TCP_FLAGS) if flow.tcp_flags & 1 << bit])


def match_type(flow: Flow) -> str:
    """What the policy matched, as ``L3-L4``; empty but on policy verdicts."""
    if flow.event_type != EventType.POLICY_VERDICT:
        return ""
    known = flow.match_type < len(MATCH_TYPES)
    return MATCH_TYPES[flow.match_type] if known else str(flow.match_type)
