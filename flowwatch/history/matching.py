"""Filters on what is kept: as a server, or a file, would have answered them.

The record is made of its columns again as far as filters look at it; of what has no column (network
interfaces, labels of nodes, SNAT addresses, OpenTelemetry, kinds of workloads, CEL) only whole records
tell, which ``record --raw`` keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from flowwatch.errors import UsageError
from flowwatch.flows.model import Endpoint, Flow, Layer7
from flowwatch.hubble.filters.flags import Filters
from flowwatch.hubble.wire.names import TCP_FLAGS
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2

Match = Callable[[flow_pb2.Flow], bool]

NOT_KEPT = {
    "source_ip_xlated": "--snat-ip",
    "node_labels": "--node-label",
    "trace_id": "--trace-id",
    "experimental": "--cel-expression",
    "interface": "--interface",
    "dns_query": "dns_query",
}
"""Fields of a FlowFilter that no column answers, and what a user writes for each."""


class Seeker(Protocol):
    """Who says, when nothing passes, why that may be (:class:`flowwatch.sources.sought.Sought`)."""

    def refused(self, ends: Callable[[], Iterable[Endpoint]], /) -> None: ...

    def again(self) -> None: ...

    def words(self) -> list[str]: ...


class Matching:
    """Whether a flow of a history passes filters."""

    def __init__(self, filters: Filters, match: Match, sought: Seeker) -> None:
        """``match`` is ``filters`` as a function on Hubble's messages."""
        self._match, self._sought, self._filters = match, sought, filters
        self._missing = _missing(filters)
        self._passed = False

    def __call__(self, flow: Flow) -> bool:
        """Whether it passes. UsageError when nothing that was kept of it tells."""
        passes = self._passes(flow)
        if not (passes or self._passed):
            self._sought.refused(lambda: (flow.source, flow.destination))
        self._passed |= passes
        return passes

    @property
    def decides(self) -> Filters | None:
        """What lets a flow through, so that others need not be asked about; None where each has to be."""
        return None if self._missing else self._filters

    @property
    def passed(self) -> bool:
        """Whether a flow has."""
        return self._passed

    def again(self) -> None:
        """Forget the flows that didn't pass: all are asked about anew."""
        self._sought.again()

    def words(self) -> list[str]:
        """Why nothing passed, if nothing has."""
        return [] if self._passed else self._sought.words()

    def _passes(self, flow: Flow) -> bool:
        if flow.raw:
            return self._match(observer_pb2.GetFlowsResponse.FromString(flow.raw).flow)
        if self._missing:
            raise UsageError(
                f"the history doesn't keep what {self._missing} asks for",
                "filter by it while recording, or record with --raw",
            )
        return self._match(message_of(flow))


def _missing(filters: Filters) -> str:
    for one in (*filters.allow, *filters.deny):
        for field, _ in one.ListFields():
            if field.name in NOT_KEPT:
                return NOT_KEPT[field.name]
        if any(workload.kind for workload in (*one.source_workload, *one.destination_workload)):
            return "a workload's kind"
    return ""


def message_of(flow: Flow) -> flow_pb2.Flow:
    """``flow`` as a message of Hubble's, as far as filters look at it."""
    message = flow_pb2.Flow(
        uuid=flow.uuid,
        verdict=flow.verdict,  # type: ignore[arg-type]  # a newer server's is a plain number
        drop_reason_desc=flow.drop_reason,  # type: ignore[arg-type]
        traffic_direction=flow.direction,  # type: ignore[arg-type]
        node_name=flow.node,
        source_names=flow.source_names,
        destination_names=flow.destination_names,
        source=_endpoint(flow.source),
        destination=_endpoint(flow.destination),
    )
    message.time.FromNanoseconds(flow.time)
    message.event_type.type, message.event_type.sub_type = flow.event_type, flow.sub_type
    if flow.is_reply is not None:
        message.is_reply.value = flow.is_reply
    _packet(message, flow)
    for name, service in (
        (flow.source_service, message.source_service),
        (flow.destination_service, message.destination_service),
    ):
        if name:
            service.namespace, _, service.name = name.rpartition("/")
    if flow.l7 is not None:
        _layer7(message.l7, flow.l7)
    return message


def _endpoint(end: Endpoint) -> flow_pb2.Endpoint:
    workloads = [flow_pb2.Workload(name=end.workload)] if end.workload else []
    return flow_pb2.Endpoint(
        identity=end.identity,
        namespace=end.namespace,
        pod_name=end.pod,
        labels=end.labels,
        cluster_name=end.cluster,
        workloads=workloads,
    )


def _packet(message: flow_pb2.Flow, flow: Flow) -> None:
    message.IP.source, message.IP.destination = flow.source_ip, flow.destination_ip
    if flow.source_ip:
        six = ":" in flow.source_ip
        message.IP.ipVersion = flow_pb2.IPv6 if six else flow_pb2.IPv4
    if flow.extras is not None:
        message.IP.encrypted = flow.extras.encrypted
        message.ip_trace_id.trace_id = flow.extras.trace_id
    kind = flow.protocol
    if not kind:
        return
    layer4 = getattr(message.l4, kind)
    layer4.SetInParent()
    if kind in ("TCP", "UDP", "SCTP"):
        layer4.source_port, layer4.destination_port = flow.source_port, flow.destination_port
    else:
        layer4.type = flow.destination_port
    if kind == "TCP":
        layer4.flags.SetInParent()
        for bit, name in enumerate(TCP_FLAGS):
            setattr(layer4.flags, name, bool(flow.tcp_flags & 1 << bit))


def _layer7(message: flow_pb2.Layer7, seen: Layer7) -> None:
    message.type = seen.type  # type: ignore[assignment]
    if seen.dns_query:
        message.dns.query = f"{seen.dns_query}."
    elif seen.http_method or seen.http_code or seen.http_url:
        message.http.method, message.http.url = seen.http_method, seen.http_url
        message.http.code = seen.http_code
        for name, value in seen.http_headers:
            message.http.headers.add(key=name, value=value)
