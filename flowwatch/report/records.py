"""Records as a table of our own: ``observe -o csv`` and ``export --raw`` print the same columns."""

from __future__ import annotations

from flowwatch.flows.kinds import kind, match_type, tcp_flags
from flowwatch.flows.meaning import verdict_name
from flowwatch.flows.model import Direction, Flow, Verdict
from flowwatch.flows.reasons import L7_DENIED, reason
from flowwatch.report.columns import Column, policies, versioned

_DIRECTIONS = {int(Direction.INGRESS): "ingress", int(Direction.EGRESS): "egress"}


def number(flow: Flow) -> int:
    """The drop reason; the proxy's denials, which carry none, get ``L7_DENIED``."""
    denied = flow.l7 is not None and flow.verdict == Verdict.DROPPED and not flow.drop_reason
    return L7_DENIED if denied else flow.drop_reason


def _dropped(flow: Flow) -> bool:
    return flow.verdict == Verdict.DROPPED or flow.drop_reason != 0


def _l7(flow: Flow) -> str:
    l7 = flow.l7
    if l7 is None:
        return ""
    if l7.dns_query:
        return f"DNS {l7.dns_query}"
    code = str(l7.http_code) if l7.http_code else ""
    return " ".join(part for part in (l7.http_method, l7.http_url, code) if part)


RECORD: tuple[Column[Flow], ...] = versioned(
    Column("time", "time", "when the node's agent read the event", lambda f: f.time),
    Column("node", "text", "the node that saw it", lambda f: f.node),
    Column(
        "direction",
        "text",
        "`egress`, `ingress` or `unknown`: the connection's; a newer one as Hubble writes it",
        lambda f: _DIRECTIONS.get(f.direction) or f.newer_direction or "unknown",
    ),
    Column("is_reply", "bool", "whether it goes from server to client", lambda f: f.is_reply),
    Column(
        "verdict",
        "text",
        "Hubble's verdict: `FORWARDED`, `DROPPED`, `AUDIT`, `REDIRECTED` …",
        lambda f: verdict_name(f.verdict),
    ),
    Column(
        "kind",
        "text",
        "`drop`, `policy-verdict`, `to-stack`, `dns-request` …",
        kind,
    ),
    Column(
        "drop_reason",
        "text",
        "Hubble's name; `L7_DENIED` if the proxy refused; empty if not dropped",
        lambda f: reason(number(f)).name if _dropped(f) else "",
    ),
    Column(
        "drop_reason_number",
        "int",
        "Hubble's number, 0 if not dropped; negative: -7007 `L7_DENIED`, else a newer name's",
        number,
    ),
    Column(
        "explanation",
        "text",
        "what happened, in one plain sentence; empty if not dropped",
        lambda f: reason(number(f)).plain if _dropped(f) else "",
    ),
    Column("match_type", "text", "what the policy matched, on policy verdicts", match_type),
    Column("source_namespace", "text", "the sender's namespace", lambda f: f.source.namespace),
    Column("source_pod", "text", "the sending pod", lambda f: f.source.pod),
    Column("source_workload", "text", "its workload, if known", lambda f: f.source.workload),
    Column("source_entity", "text", "`host`, `world` … if it is one", lambda f: f.source.entity),
    Column("source_identity", "int", "Cilium's security identity", lambda f: f.source.identity),
    Column("source_address", "text", "IP address", lambda f: f.source_ip),
    Column("source_port", "int", "port, 0 if none", lambda f: f.source_port),
    Column("source_names", "texts", "DNS names of that address", lambda f: f.source_names),
    Column("source_service", "text", "service of that address", lambda f: f.source_service),
    Column(
        "destination_namespace",
        "text",
        "the receiver's namespace",
        lambda f: f.destination.namespace,
    ),
    Column("destination_pod", "text", "the receiving pod", lambda f: f.destination.pod),
    Column(
        "destination_workload", "text", "its workload, if known", lambda f: f.destination.workload
    ),
    Column(
        "destination_entity",
        "text",
        "`host`, `world` … if it is one",
        lambda f: f.destination.entity,
    ),
    Column(
        "destination_identity",
        "int",
        "Cilium's security identity",
        lambda f: f.destination.identity,
    ),
    Column("destination_address", "text", "IP address", lambda f: f.destination_ip),
    Column(
        "destination_port",
        "int",
        "port, 0 if none; for ICMP the type",
        lambda f: f.destination_port,
    ),
    Column(
        "destination_names",
        "texts",
        "DNS names of that address",
        lambda f: f.destination_names,
    ),
    Column(
        "destination_service",
        "text",
        "service of that address",
        lambda f: f.destination_service,
    ),
    Column("protocol", "text", "`TCP`, `UDP`, `SCTP`, `ICMPv4` …", lambda f: f.protocol),
    Column(
        "tcp_flags",
        "texts",
        "`SYN`, `ACK` …",
        tcp_flags,
    ),
    Column("l7", "text", "what the proxy saw: `DNS example.com`, `GET http://… 200`", _l7),
    Column(
        "policies",
        "policies",
        "policies that denied or allowed it, as far as Hubble names them",
        lambda f: policies(f.allowed_by, f.denied_by),
    ),
    Column("uuid", "text", "the record's own id", lambda f: f.uuid),
    Column("source_cluster", "text", "the sender's cluster", lambda f: f.source.cluster),
    Column(
        "destination_cluster", "text", "the receiver's cluster", lambda f: f.destination.cluster
    ),
)
"""One line per Hubble record."""
