"""FlowFilters, evaluated here: the same flows as a Hubble server gives for the same filters.

    matches = compile_filters(filters)
    if matches(flow): ...

One function per field of FlowFilter, in a table. Within a filter all must hold (AND), for each the
values are alternatives (OR). The facts are those of Cilium 1.20.2, pkg/hubble/filters; the texts of
errors are the server's. tests/interop holds both against the real CLI.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from flowwatch.hubble.filters.flags import Filters
from flowwatch.hubble.filters.match import http, names, packets
from flowwatch.hubble.filters.match.addresses import ip
from flowwatch.hubble.filters.match.base import Build, FilterError, Match
from flowwatch.hubble.filters.match.cel import experimental
from flowwatch.hubble.filters.match.labels import labels
from flowwatch.hubble.wire.pb.flow.flow_pb2 import FlowFilter

__all__ = ["FilterError", "Match", "compile_filters"]

_TESTS: tuple[tuple[str, Build], ...] = (
    ("uuid", packets.among(lambda f: f.uuid)),
    ("event_type", packets.event_type),
    ("verdict", packets.among(lambda f: f.verdict)),
    ("drop_reason_desc", packets.drop_reason),
    ("reply", packets.reply),
    ("encrypted", packets.among(lambda f: f.IP.encrypted)),
    ("source_identity", packets.identity("source")),
    ("destination_identity", packets.identity("destination")),
    ("protocol", packets.protocol),
    ("source_ip", ip(lambda f: f.IP.source)),
    ("destination_ip", ip(lambda f: f.IP.destination)),
    ("source_ip_xlated", ip(lambda f: f.IP.source_xlated)),
    ("source_pod", names.named(lambda f: (f.source.namespace, f.source.pod_name))),
    ("destination_pod", names.named(lambda f: (f.destination.namespace, f.destination.pod_name))),
    ("source_workload", packets.workload(lambda f: f.source.workloads)),
    ("destination_workload", packets.workload(lambda f: f.destination.workloads)),
    (
        "source_service",
        names.named(
            lambda f: (f.source_service.namespace, f.source_service.name), "source service"
        ),
    ),
    (
        "destination_service",
        names.named(
            lambda f: (f.destination_service.namespace, f.destination_service.name),
            "destination service",
        ),
    ),
    ("source_fqdn", names.names(lambda f: f.source_names)),
    ("destination_fqdn", names.names(lambda f: f.destination_names)),
    ("dns_query", http.dns_query),
    ("source_label", labels(lambda f: f.source.labels, "source")),
    ("destination_label", labels(lambda f: f.destination.labels, "destination")),
    ("node_labels", labels(lambda f: f.node_labels, "node")),
    ("source_port", packets.port("source_port", "source")),
    ("destination_port", packets.port("destination_port", "destination")),
    ("http_status_code", http.status),
    ("http_method", http.method),
    ("http_path", http.path),
    ("http_url", http.url),
    ("http_header", http.header),
    ("tcp_flags", packets.tcp_flags),
    ("node_name", names.node_name),
    ("source_cluster_name", names.cluster(lambda f: f.source.cluster_name)),
    ("destination_cluster_name", names.cluster(lambda f: f.destination.cluster_name)),
    ("ip_version", packets.among(lambda f: f.IP.ipVersion)),
    ("trace_id", packets.among(lambda f: f.trace_context.parent.trace_id)),
    ("traffic_direction", packets.among(lambda f: f.traffic_direction)),
    ("experimental", experimental),
    ("interface", packets.interface),
    ("ip_trace_id", packets.among(lambda f: f.ip_trace_id.trace_id)),
)
"""Every field of FlowFilter, and how it is tested; in the order in which a server finds mistakes."""


def compile_filters(filters: Filters) -> Match:
    """A function that says whether a flow is shown: one of ``allow`` matches, none of ``deny``.

    No ``allow`` at all shows everything; an empty FlowFilter matches everything. Raises FilterError.
    """
    shown = any_of([_compile(one) for one in filters.allow])
    hidden = any_of([_compile(one) for one in filters.deny])
    if not filters.allow:
        return lambda flow: not hidden(flow)
    if not filters.deny:
        return shown
    return lambda flow: shown(flow) and not hidden(flow)


def any_of(tests: Sequence[Match]) -> Match:
    """One of them holds."""
    if not tests:
        return lambda flow: False
    # Closures, not any(): a generator for each flow costs as much as a test.
    return reduce(lambda one, other: lambda flow: one(flow) or other(flow), tests)


def all_of(tests: Sequence[Match]) -> Match:
    """All of them hold."""
    if not tests:
        return lambda flow: True
    return reduce(lambda one, other: lambda flow: one(flow) and other(flow), tests)


def _compile(one: FlowFilter) -> Match:
    given = {field.name for field, _ in one.ListFields()}
    return all_of(
        [
            test
            for name, build in _TESTS
            if name in given
            for test in [build(getattr(one, name), one)]
            if test is not None
        ]
    )
