"""What a record consists of: ``observe -o csv`` and ``export --raw`` print the same columns."""

from __future__ import annotations

from flowwatch.egress.schema import VERSION, Column, column, policies
from flowwatch.flows.kinds import kind, match_type, tcp_flags
from flowwatch.flows.meaning import verdict_name
from flowwatch.flows.model import DIRECTION_WORDS, EventType, Extras, Flow, Verdict
from flowwatch.flows.reasons import L7_DENIED, reason
from flowwatch.flows.standing import standing


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


_NO_EXTRAS = Extras()


def _extras(flow: Flow) -> Extras:
    return flow.extras or _NO_EXTRAS


def _encrypted(flow: Flow) -> bool | None:
    return _extras(flow).encrypted if flow.event_type == EventType.TRACE else None


def _tunnel(flow: Flow) -> str:
    tunnel = _extras(flow).tunnel
    if tunnel is None:
        return ""
    return f"{tunnel.protocol} {tunnel.vni} {tunnel.source_ip} > {tunnel.destination_ip}"


def _stands_for(flow: Flow) -> int:
    found = standing(flow)
    return found.records if found is not None else 1


RECORD: tuple[Column[Flow], ...] = (
    VERSION,
    column("time", "time", "when the node's agent read the event"),
    column("node", "text", "the node that saw it"),
    column(
        "direction",
        "text",
        "`egress`, `ingress` or `unknown`: the connection's; a newer one as Hubble writes it",
        lambda f: DIRECTION_WORDS.get(f.direction) or f.newer_direction or "unknown",
    ),
    column("is_reply", "bool", "whether it goes from server to client"),
    column(
        "verdict",
        "text",
        "Hubble's verdict: `FORWARDED`, `DROPPED`, `AUDIT`, `REDIRECTED` …",
        lambda f: verdict_name(f.verdict),
    ),
    column("kind", "text", "`drop`, `policy-verdict`, `to-stack`, `dns-request` …", kind),
    column(
        "drop_reason",
        "text",
        "Hubble's name; `L7_DENIED` if the proxy refused; empty if not dropped",
        lambda f: reason(number(f)).name if _dropped(f) else "",
    ),
    column(
        "drop_reason_number",
        "int",
        "Hubble's number, 0 if not dropped; negative: -7007 `L7_DENIED`, else a newer name's",
        number,
    ),
    column(
        "explanation",
        "text",
        "what happened, in one plain sentence; empty if not dropped",
        lambda f: reason(number(f)).plain if _dropped(f) else "",
    ),
    column("match_type", "text", "what the policy matched, on policy verdicts", match_type),
    column("source_namespace", "text", "the sender's namespace", lambda f: f.source.namespace),
    column("source_pod", "text", "the sending pod", lambda f: f.source.pod),
    column("source_workload", "text", "its workload, if known", lambda f: f.source.workload),
    column("source_entity", "text", "`host`, `world` … if it is one", lambda f: f.source.entity),
    column("source_identity", "int", "Cilium's security identity", lambda f: f.source.identity),
    column("source_address", "text", "IP address", lambda f: f.source_ip),
    column("source_port", "int", "port, 0 if none"),
    column("source_names", "texts", "DNS names of that address"),
    column("source_service", "text", "service of that address"),
    column(
        "destination_namespace",
        "text",
        "the receiver's namespace",
        lambda f: f.destination.namespace,
    ),
    column("destination_pod", "text", "the receiving pod", lambda f: f.destination.pod),
    column(
        "destination_workload", "text", "its workload, if known", lambda f: f.destination.workload
    ),
    column(
        "destination_entity",
        "text",
        "`host`, `world` … if it is one",
        lambda f: f.destination.entity,
    ),
    column(
        "destination_identity",
        "int",
        "Cilium's security identity",
        lambda f: f.destination.identity,
    ),
    column("destination_address", "text", "IP address", lambda f: f.destination_ip),
    column("destination_port", "int", "port, 0 if none; for ICMP the type"),
    column("destination_names", "texts", "DNS names of that address"),
    column("destination_service", "text", "service of that address"),
    column("protocol", "text", "`TCP`, `UDP`, `SCTP`, `ICMPv4` …"),
    column("tcp_flags", "texts", "`SYN`, `ACK` …", tcp_flags),
    column("l7", "text", "what the proxy saw: `DNS example.com`, `GET http://… 200`", _l7),
    column(
        "policies",
        "policies",
        "policies that denied or allowed it, as far as Hubble names them",
        lambda f: policies(f.allowed_by, f.denied_by),
    ),
    column("uuid", "text", "the record's own id"),
    column("source_cluster", "text", "the sender's cluster", lambda f: f.source.cluster),
    column(
        "destination_cluster", "text", "the receiver's cluster", lambda f: f.destination.cluster
    ),
    column(
        "encrypted",
        "bool",
        "whether the packet was encrypted (IPsec, WireGuard) where it was seen; only trace records tell",
        _encrypted,
    ),
    column(
        "policy_log",
        "texts",
        "`log: value` of the policies that decided, on policy verdicts",
        lambda f: _extras(f).policy_log,
    ),
    column(
        "ip_trace_id",
        "uint",
        "what the sender put into an IP option to follow the packet by, 0 if nothing",
        lambda f: _extras(f).trace_id,
    ),
    column(
        "tunnel",
        "text",
        "the headers around the packet: `VXLAN 2 172.18.0.3 > 172.18.0.4` (network number, addresses)",
        _tunnel,
    ),
    column("emitter", "text", "who wrote the record: `Hubble 1.20.2`; empty before Cilium 1.19"),
    column(
        "stands_for",
        "int",
        "records that an aggregated line stands for, in its direction; else 1",
        _stands_for,
        unit="records",
    ),
)
"""One line per Hubble record."""
