"""What ``hubble observe`` calls the parts of a flow, taken from the message.

The words and where they come from: Cilium 1.20.2, hubble/pkg/printer and pkg/monitor/api. All text
that came over the network is escaped here, before colours are put around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowwatch.flows.model import EventType
from flowwatch.flows.reasons import REASONS
from flowwatch.hubble.wire.enum_names import newer_name
from flowwatch.hubble.wire.names import MATCH_TYPES, RESERVED, SOCKET_POINTS, TRACE_POINTS
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.report.goformat import join_host_port
from flowwatch.text import safe

RED, GREEN, YELLOW, MAGENTA, CYAN = 31, 32, 33, 35, 36

# Sub types of drop events below 130 aren't drops, but have texts all the same.
_DROP_TEXTS = {number: known.cilium_text for number, known in REASONS.items() if known.cilium_text}
_DROP_TEXTS |= {
    2: "Invalid packet",
    3: "Interface",
    4: "Interface Decrypted",
    5: "LB, sock cgroup: No backend slot entry found",
    6: "LB, sock cgroup: No backend entry found",
    7: "LB, sock cgroup: Reverse entry update failed",
    8: "LB, sock cgroup: Reverse entry stale",
    9: "Fragmented packet",
    10: "Fragmented packet entry update failed",
    11: "Missed tail call to custom program",
    12: "Interface Decrypting",
    13: "Interface Encrypting",
    14: "LB: sock cgroup: Reverse entry delete succeeded",
    15: "MTU error message",
}

_IDENTITIES = {0: "unknown"} | RESERVED

_VERDICT_COLORS = {1: GREEN, 5: GREEN, 2: RED, 3: RED, 4: YELLOW, 6: YELLOW, 7: YELLOW}
# On a policy verdict: FORWARDED and REDIRECTED, DROPPED and ERROR, AUDIT; the policies that did it.
_DECISIONS = {
    1: ("ALLOWED", "allowed_by"),
    5: ("ALLOWED", "allowed_by"),
    2: ("DENIED", "denied_by"),
    3: ("DENIED", "denied_by"),
    4: ("AUDITED", "denied_by"),
}


def enum_name(enum: Any, number: int) -> str:
    """The name of ``number`` in a generated enum; when it is newer than we are the number itself.

    A newer name that came from a file is printed as that name.
    """
    known = enum.DESCRIPTOR.values_by_number.get(number)
    return safe(newer_name(number)) or str(number) if known is None else str(known.name)


class Words:
    """The words of flows, with or without colours. Without state: one for all flows."""

    def __init__(
        self, *, color: bool = False, ip_translation: bool = True, policy_names: bool = False
    ) -> None:
        self._color = color
        self._translate = ip_translation
        self._policy_names = policy_names

    def _paint(self, color: int, text: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._color else text

    def hosts(self, flow: flow_pb2.Flow) -> tuple[str, str]:
        """Source and destination: pod, service, names or address, with the port; else the MACs."""
        if not flow.HasField("IP"):
            if not flow.HasField("ethernet"):
                return "", ""
            ethernet = flow.ethernet
            return (
                self._paint(CYAN, safe(ethernet.source)),
                self._paint(CYAN, safe(ethernet.destination)),
            )
        ports = ("", "")
        protocol = flow.l4.WhichOneof("protocol")
        if protocol in ("TCP", "UDP", "SCTP"):
            l4 = getattr(flow.l4, protocol)
            ports = str(l4.source_port), str(l4.destination_port)
        source = self._host(
            flow.IP.source, ports[0], flow.source, flow, "source_service", flow.source_names
        )
        destination = self._host(
            flow.IP.destination,
            ports[1],
            flow.destination,
            flow,
            "destination_service",
            flow.destination_names,
        )
        return self._paint(CYAN, source), self._paint(CYAN, destination)

    def _host(
        self,
        address: str,
        port: str,
        endpoint: flow_pb2.Endpoint,
        flow: flow_pb2.Flow,
        service_field: str,
        names: Iterable[str],
    ) -> str:
        host = address
        if self._translate:
            namespace, service = endpoint.namespace, ""
            if flow.HasField(service_field):  # type: ignore[arg-type]
                named = getattr(flow, service_field)
                # The service's namespace takes the place of the pod's, even when it is empty.
                namespace, service = named.namespace, named.name
            if owner := endpoint.pod_name or service:
                host = f"{namespace}/{owner}" if namespace else owner
            elif names:
                host = ",".join(names)
        host = safe(host)
        return join_host_port(host, self._paint(YELLOW, port)) if port not in ("", "0") else host

    def identity(self, number: int) -> str:
        """``(world)``, or ``(ID:1234)``."""
        name = _IDENTITIES.get(number)
        return self._paint(MAGENTA, f"({name})" if name else f"(ID:{number})")

    def kind(self, flow: flow_pb2.Flow) -> str:
        """The TYPE: ``to-endpoint``, ``Policy denied``, ``dns-response proxy`` …"""
        if flow.HasField("l7"):
            l7 = flow.l7
            which = l7.WhichOneof("record")
            kind = enum_name(flow_pb2.L7FlowType, l7.type).lower()
            if which == "dns":
                return f"dns-{kind} {safe(l7.dns.observation_source)}"
            return f"{'http' if which == 'http' else 'l7'}-{kind}"
        event, sub = flow.event_type.type, flow.event_type.sub_type
        match event:
            case EventType.TRACE:
                sub &= 0xFF
                return TRACE_POINTS[sub] if sub < len(TRACE_POINTS) else str(sub)
            case EventType.DROP:
                sub &= 0xFF
                return _DROP_TEXTS.get(sub) or f"{sub}, 0"
            case EventType.POLICY_VERDICT:
                match_type = flow.policy_match_type
                known = match_type < len(MATCH_TYPES)
                direction = enum_name(flow_pb2.TrafficDirection, flow.traffic_direction)
                return (
                    f"policy-verdict:{MATCH_TYPES[match_type] if known else 'unknown'} {direction}"
                )
            case EventType.CAPTURE:
                return enum_name(flow_pb2.DebugCapturePoint, flow.debug_capture_point)
            case EventType.TRACE_SOCK:
                return SOCKET_POINTS.get(sub, "SOCK_XLATE_POINT_UNKNOWN")
        return "UNKNOWN"

    def verdict(self, flow: flow_pb2.Flow) -> str:
        """The verdict; on policy verdicts what was decided, and by which policies if wanted."""
        number = flow.verdict
        text = enum_name(flow_pb2.Verdict, number)
        if flow.event_type.type == EventType.POLICY_VERDICT and number in _DECISIONS:
            text, by = _DECISIONS[number]
            if self._policy_names:
                direction = {1: "ingress", 2: "egress"}.get(flow.traffic_direction)
                if direction:
                    text += _policies(getattr(flow, f"{direction}_{by}"))
        color = _VERDICT_COLORS.get(number)
        return self._paint(color, text) if color else text

    def summary(self, flow: flow_pb2.Flow) -> str:
        """Hubble's own summary, with the trace id and the authentication when there are any."""
        text = safe(flow.Summary)
        if flow.ip_trace_id.trace_id:
            text = f"IP Trace ID: {flow.ip_trace_id.trace_id}; {text}"
        if flow.auth_type:
            name = enum_name(flow_pb2.AuthType, flow.auth_type)
            failing = flow.auth_type == flow_pb2.TEST_ALWAYS_FAIL
            text += "; Auth: " + self._paint(RED if failing else GREEN, name)
        return text


def _policies(policies: Iterable[flow_pb2.Policy]) -> str:
    """`` BY name (Kind), …`` of those that have both; Cilium's own rules have neither."""
    named = [f"{safe(p.name)} ({safe(p.kind)})" for p in policies if p.kind and p.name]
    return " BY " + ", ".join(named) if named else ""
