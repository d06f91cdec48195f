"""What Hubble writes of one connection: a builder for each kind of record.

The fields of each kind are those that Cilium 1.20 fills in (pkg/hubble/parser/threefour, seven and
sock): a drop has ``file`` and neither ``is_reply`` nor ``interface``, a denying verdict has no
``is_reply``, an L7 record has ports but no Ethernet and no TCP flags, a socket record one port.
Time, uuid, node and emitter are stamped on later, in the order of the story.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf.wrappers_pb2 import BoolValue

from flowwatch.demo.cluster import RESERVED, End, Node, Pod, Service
from flowwatch.hubble.wire.names import EVENT_TYPES
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.flow.flow_pb2 import (
    DROPPED,
    EGRESS,
    FORWARDED,
    INGRESS,
    REDIRECTED,
    REQUEST,
    RESPONSE,
    TO_ENDPOINT,
    TO_OVERLAY,
    TO_PROXY,
    Flow,
)

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
# In the order in which Hubble writes them.
_FLAGS = ((SYN, "SYN"), (ACK, "ACK"), (RST, "RST"), (FIN, "FIN"), (PSH, "PSH"))

_DROP, _TRACE, _VERDICT, _SOCK, _L7 = (
    EVENT_TYPES[name] for name in ("drop", "trace", "policy-verdict", "trace-sock", "l7")
)

POLICY_DENIED, POLICY_DENY, NO_BACKEND = 133, 181, 158

# Match types of a policy verdict (bpf/lib/policy.h).
MATCH_NONE, MATCH_L3, MATCH_L3_L4, MATCH_ALL = 0, 1, 2, 4

# Where bpf_lxc.c of 1.20.2 sends the drop notice: from the pod, into the pod, in the load balancer.
_LINES = {EGRESS: 1661, INGRESS: 2409}
_LINE_OF_SERVICE = 1731

DNS_PROXY_PORT, HTTP_PROXY_PORT = 38817, 14207
REFUSED = 5

# Types of ICMPv4 (RFC 792): of a request its answer's, and Hubble's names.
_ICMP_REPLIES = {8: 0, 13: 14}
_ICMP_NAMES = {8: "EchoRequest", 0: "EchoReply", 13: "TimestampRequest", 14: "TimestampReply"}

_REASON = {
    "new": flow_pb2.NEW,
    "established": flow_pb2.ESTABLISHED,
    "reply": flow_pb2.REPLY,
}


class Connection:
    """One attempt of ``client`` to reach ``server``: what all of its records have in common."""

    def __init__(
        self,
        client: End,
        server: End,
        protocol: str,
        client_port: int = 0,
        server_port: int = 0,
        *,
        names: Iterable[str] = (),
        service: Service | None = None,
        kind: int = 8,
    ) -> None:
        """Say who talks to whom.

        Args:
            client: who opens it.
            server: who is meant, after translation of a service's address.
            protocol: ``TCP``, ``UDP`` or ``ICMPv4``.
            client_port: 0 for ICMP.
            server_port: 0 for ICMP.
            names: of the server's address, as the client's node learned them through its DNS proxy.
            service: set only where the server's address *is* the service's frontend.
            kind: of ICMP, the request's type.
        """
        self.client, self.server = client, server
        self.protocol, self.kind = protocol, kind
        self.client_port, self.server_port = client_port, server_port
        self._names = tuple(names)
        self._service = service
        self._seen: dict[tuple[End, Node, bool], flow_pb2.Endpoint] = {}

    def verdict(
        self,
        node: Node,
        direction: flow_pb2.TrafficDirection.ValueType,
        verdict: flow_pb2.Verdict.ValueType,
        *,
        match: int,
        reason: int = 0,
        by: Sequence[flow_pb2.Policy] = (),
        flags: int = SYN,
    ) -> Flow:
        """The policy's decision; ``by`` allows or denies. ``reason`` is for DROPPED."""
        flow = self._record(node, direction, False, flags)
        flow.verdict = verdict
        flow.event_type.type = _VERDICT
        flow.policy_match_type = match
        if verdict == DROPPED:
            _dropped(flow, reason)
        else:
            flow.is_reply.CopyFrom(BoolValue(value=False))
        allows = verdict in (FORWARDED, REDIRECTED)
        if direction == EGRESS:
            (flow.egress_allowed_by if allows else flow.egress_denied_by).extend(by)
        else:
            (flow.ingress_allowed_by if allows else flow.ingress_denied_by).extend(by)
        return flow

    def drop(
        self,
        node: Node,
        direction: flow_pb2.TrafficDirection.ValueType,
        reason: int,
        flags: int = SYN,
    ) -> Flow:
        """The end of a packet."""
        flow = self._record(node, direction, False, flags)
        flow.verdict = DROPPED
        flow.event_type.type, flow.event_type.sub_type = _DROP, reason
        line = _LINE_OF_SERVICE if reason == NO_BACKEND else _LINES[direction]
        flow.file.name, flow.file.line = "bpf_lxc.c", line
        _dropped(flow, reason)
        return flow

    def answer_denied(self, node: Node, reason: int, flags: int) -> tuple[Flow, Flow]:
        """Verdict and drop of an answer by the client's own ingress policy.

        Their direction is that of the endpoint that drops, and neither says that it is an answer.
        """
        flows = tuple(self._record(node, EGRESS, True, flags) for _ in range(2))
        for flow in flows:
            flow.traffic_direction, flow.verdict = INGRESS, DROPPED
            _dropped(flow, reason)
        verdict, drop = flows
        verdict.event_type.type = _VERDICT
        drop.event_type.type, drop.event_type.sub_type = _DROP, reason
        drop.file.name, drop.file.line = "bpf_lxc.c", _LINES[INGRESS]
        return verdict, drop

    def error(self, node: Node) -> Flow:
        """An ICMP error about it: the server's port is closed."""
        flow = self.trace(node, EGRESS, TO_ENDPOINT, "reply")
        flow.ClearField("l4")
        flow.l4.ICMPv4.type, flow.l4.ICMPv4.code = 3, 3
        flow.Summary = "ICMPv4 DestinationUnreachable(Port)"
        flow.traffic_direction, flow.trace_reason = INGRESS, flow_pb2.RELATED
        _answers(flow, False)
        return flow

    def trace(
        self,
        node: Node,
        direction: flow_pb2.TrafficDirection.ValueType,
        point: flow_pb2.TraceObservationPoint.ValueType,
        reason: str,
        flags: int = 0,
    ) -> Flow:
        """A packet that passed ``point``; ``reason`` is ``new``, ``established`` or ``reply``."""
        reply = reason == "reply"
        flow = self._record(node, direction, reply, flags)
        flow.verdict = FORWARDED
        flow.event_type.type = _TRACE
        # The only point whose number is not its sub-type.
        flow.event_type.sub_type = 0 if point == TO_ENDPOINT else point
        flow.trace_observation_point = point
        flow.trace_reason = _REASON[reason]
        _answers(flow, reply)
        if point == TO_ENDPOINT:
            into = self.client if reply else self.server
            if isinstance(into, Pod):
                flow.interface.CopyFrom(into.interface)
        elif point == TO_OVERLAY:
            flow.interface.index, flow.interface.name = 5, "cilium_vxlan"
        elif point == TO_PROXY:
            flow.proxy_port = DNS_PROXY_PORT if self.server_port == 53 else HTTP_PROXY_PORT
        return flow

    def dns(
        self,
        name: str,
        *,
        verdict: flow_pb2.Verdict.ValueType = FORWARDED,
        answer: Sequence[str] | None = None,
        rcode: int = 0,
        ttl: int = 0,
    ) -> Flow:
        """The DNS proxy's record of a question about ``name``, or with ``answer`` of its answer."""
        flow = self._l7(answer is not None, verdict)
        dns = flow.l7.dns
        dns.query, dns.observation_source = f"{name}.", "proxy"
        dns.qtypes.append("A")
        if answer is None:
            flow.Summary = f"DNS Query {name}. A"
            return flow
        dns.ips.extend(answer)
        dns.ttl, dns.rcode = ttl, rcode
        dns.rrtypes.extend("A" for _ in answer[:1])
        said = f'"{",".join(answer)}"' if not rcode else "RCode: Non-Existent Domain"
        flow.Summary = f"DNS Answer {said} TTL: {ttl} (Proxy {name}. A)"
        return flow

    def http(
        self,
        method: str,
        url: str,
        request_id: str,
        *,
        verdict: flow_pb2.Verdict.ValueType = FORWARDED,
        code: int = 0,
        latency: int = 0,
    ) -> Flow:
        """The HTTP proxy's record of a request, or with ``code`` of its response.

        ``latency`` is in nanoseconds, as in the record.
        """
        flow = self._l7(bool(code), verdict)
        http = flow.l7.http
        http.method, http.url, http.protocol = method, url, "HTTP/1.1"
        headers = {"X-Request-Id": request_id}
        if code:
            http.code, flow.l7.latency_ns = code, latency
            headers |= {"Content-Type": "application/json", "Server": "envoy"}
            flow.Summary = f"HTTP/1.1 {code} {latency // 1_000_000}ms ({method} {url})"
        else:
            headers |= {":scheme": "http", "Accept": "*/*", "User-Agent": "Go-http-client/1.1"}
            flow.Summary = f"HTTP/1.1 {method} {url}"
        http.headers.extend(flow_pb2.HTTPHeader(key=k, value=headers[k]) for k in sorted(headers))
        return flow

    def _l7(self, response: bool, verdict: flow_pb2.Verdict.ValueType) -> Flow:
        node = self.client.node or self.server.node
        if node is None:
            raise ValueError("the proxy serves local pods only")
        flow = self._record(node, EGRESS, response, 0)
        flow.Type = flow_pb2.L7
        flow.ClearField("ethernet")
        if flow.l4.HasField("TCP"):
            flow.l4.TCP.ClearField("flags")
        flow.verdict = verdict
        flow.event_type.type = _L7
        flow.l7.type = RESPONSE if response else REQUEST
        _answers(flow, response)
        return flow

    def _record(
        self,
        node: Node,
        direction: flow_pb2.TrafficDirection.ValueType,
        reply: bool,
        flags: int,
    ) -> Flow:
        """What every record has; ``reply`` swaps the ends."""
        here = self.client if direction == EGRESS else self.server
        source_mac, destination_mac = (
            (here.mac, here.host_mac) if direction == EGRESS else (here.host_mac, here.mac)
        )
        source, destination = self.client, self.server
        source_port, destination_port = self.client_port, self.server_port
        if reply:
            source, destination = destination, source
            source_port, destination_port = destination_port, source_port
            source_mac, destination_mac = destination_mac, source_mac
        flow = Flow(
            ethernet=flow_pb2.Ethernet(source=source_mac, destination=destination_mac),
            IP=flow_pb2.IP(
                source=source.address, destination=destination.address, ipVersion=flow_pb2.IPv4
            ),
            source=self._end(source, node),
            destination=self._end(destination, node, reply),
            Type=flow_pb2.L3_L4,
            traffic_direction=direction,
        )
        if self._names and self.client.node is node:
            (flow.source_names if reply else flow.destination_names).extend(self._names)
        if self._service is not None and not reply:
            flow.destination_service.CopyFrom(self._service.message())
        if self.protocol == "TCP":
            tcp = flow.l4.TCP
            tcp.source_port, tcp.destination_port = source_port, destination_port
            names = [name for bit, name in _FLAGS if flags & bit]
            for name in names:
                setattr(tcp.flags, name, True)
            flow.Summary = "TCP Flags: " + ", ".join(names)
        elif self.protocol == "UDP":
            udp = flow.l4.UDP
            udp.source_port, udp.destination_port = source_port, destination_port
            flow.Summary = "UDP"
        else:
            kind = _ICMP_REPLIES[self.kind] if reply else self.kind
            flow.l4.ICMPv4.type = kind
            flow.Summary = f"ICMPv4 {_ICMP_NAMES[kind]}"
        return flow

    def _end(self, end: End, node: Node, answered: bool = False) -> flow_pb2.Endpoint:
        # Asked once, so that all records of a connection agree on its ends.
        seen = self._seen.get((end, node, answered))
        if seen is None:
            seen = end.answered_by(node) if answered else end.seen_by(node)
            self._seen[end, node, answered] = seen
        return seen


class Proxied(End):
    """The proxy speaking for a pod: its identity, the node's address."""

    def __init__(self, pod: Pod) -> None:
        self._seen, self.address, self.home = pod.proxied(), pod.node.router, pod.node

    def seen_by(self, node: Node) -> flow_pb2.Endpoint:
        return self._seen

    def answered_by(self, node: Node) -> flow_pb2.Endpoint:
        # By address alone: nothing in the reply tells of the pod.
        name = "host" if node is self.home else "remote-node"
        return flow_pb2.Endpoint(identity=RESERVED[name], labels=[f"reserved:{name}"])


def socket(
    pod: Pod, service: Service, backend: Pod, protocol: str, cookie: int, cgroup: int
) -> list[Flow]:
    """The two records of a service's address being translated as ``pod`` connects."""
    flows = []
    for point, server, port in (
        (flow_pb2.SOCK_XLATE_POINT_PRE_DIRECTION_FWD, service.frontend, service.port),
        (flow_pb2.SOCK_XLATE_POINT_POST_DIRECTION_FWD, backend, service.port),
    ):
        before = point == flow_pb2.SOCK_XLATE_POINT_PRE_DIRECTION_FWD
        flow = Flow(
            verdict=flow_pb2.TRACED if before else flow_pb2.TRANSLATED,
            IP=flow_pb2.IP(source=pod.address, destination=server.address, ipVersion=flow_pb2.IPv4),
            source=pod.seen_by(pod.node),
            destination=server.seen_by(pod.node),
            Type=flow_pb2.SOCK,
            event_type=flow_pb2.CiliumEventType(type=_SOCK, sub_type=point),
            sock_xlate_point=point,
            socket_cookie=cookie,
            cgroup_id=cgroup,
            Summary=protocol,
        )
        getattr(flow.l4, protocol).destination_port = port
        if before:
            flow.destination_service.CopyFrom(service.message())
        flows.append(flow)
    return flows


def _dropped(flow: Flow, reason: int) -> None:
    flow.drop_reason = reason  # Deprecated, and filled by every agent all the same.
    flow.drop_reason_desc = flow_pb2.DropReason.ValueType(reason)


def _answers(flow: Flow, reply: bool) -> None:
    flow.reply = reply
    flow.is_reply.CopyFrom(BoolValue(value=reply))
