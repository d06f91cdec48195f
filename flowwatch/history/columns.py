"""What is kept of a record, and of what was told between records: the columns of the Parquet files.

Those that ``export --raw`` has too are taken from its declaration
(:mod:`flowwatch.egress.record_schema`); beside them stands what the join needs and people don't: numbers
for names, labels, what DNS answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from flowwatch.egress.record_schema import RECORD
from flowwatch.flows.model import Flow

FORMAT = 1
"""Of the files. Raised when a column changes its meaning or goes; new columns may come without."""

Part = Literal["kind", "ends", "layer7", "extras", "flow"]
"""What a value depends on: of all but ``flow`` there are few, which stand once in memory."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One column."""

    name: str
    kind: str
    """As in docs/formats.md, "Values"; beside these ``bytes``, ``uuid`` (16 of them), and ``pairs`` of a
    name and a value."""
    meaning: str
    part: Part
    value: Callable[[Flow], Any]
    unit: str = ""


def _extra(name: str, empty: Any = None) -> Callable[[Flow], Any]:
    return lambda flow: getattr(flow.extras, name) if flow.extras is not None else empty


def _layer7(name: str) -> Callable[[Flow], Any]:
    return lambda flow: getattr(flow.l7, name) if flow.l7 is not None else None


def _tunnel(name: str) -> Callable[[Flow], Any]:
    def value(flow: Flow) -> Any:
        tunnel = flow.extras.tunnel if flow.extras is not None else None
        return getattr(tunnel, name) if tunnel is not None else None

    return value


def _standing(name: str) -> Callable[[Flow], Any]:
    def value(flow: Flow) -> Any:
        standing = flow.extras.standing if flow.extras is not None else None
        return getattr(standing, name) if standing is not None else None

    return value


_SHARED: dict[str, Part] = {
    **dict.fromkeys(
        ("node", "direction", "is_reply", "verdict", "kind", "drop_reason", "drop_reason_number",
         "match_type", "protocol", "tcp_flags", "policies", "emitter"),
        "kind",
    ),
    **dict.fromkeys(
        (f"{end}_{what}" for end in ("source", "destination")
         for what in ("namespace", "pod", "workload", "entity", "identity", "cluster", "names", "service")),
        "ends",
    ),
    **dict.fromkeys(("time", "source_address", "source_port", "destination_address", "destination_port"),
                    "flow"),
}  # fmt: skip
"""Those that ``export --raw`` has too, and what each depends on."""


def _flow(name: str, kind: str, meaning: str) -> Kept:
    return Kept(name, kind, meaning, "flow", lambda _: None)


FLOWS: tuple[Kept, ...] = (
    _flow("recorded", "time", "when it came to the recorder; never goes back within a run"),
    _flow("run", "text", "which recorder wrote it: a name of its own each time one starts"),
    _flow("sequence", "int", "its number within the run, in the order in which records came"),
    _flow("server", "text", "the server it was seen through; empty if there was but one"),
    *(
        Kept(one.name, one.kind, one.meaning, _SHARED[one.name], one.value, one.unit)
        for one in RECORD
        if one.name in _SHARED
    ),
    _flow("uuid", "uuid", "the record's own id, its 16 bytes"),
    _flow("uuid_text", "text", "the same where it is no UUID; else null"),
    Kept("verdict_number", "int", "Hubble's number of the verdict", "kind", lambda f: f.verdict),
    Kept("event_type", "int", "Cilium's number: 1 drop, 4 trace, 5 policy verdict, 129 the proxy's", "kind",
         lambda f: f.event_type),
    Kept("event_sub_type", "int", "Cilium's number: the trace's point, the drop's reason", "kind",
         lambda f: f.sub_type),
    Kept("flags", "int", "bits of `tcp_flags`: FIN 1, SYN 2, RST 4 …", "kind", lambda f: f.tcp_flags),
    Kept("match_type_number", "int", "Cilium's number of `match_type`", "kind", lambda f: f.match_type),
    Kept("auth_type", "int", "what authentication the policy asks for, Cilium's number", "kind",
         lambda f: f.auth_type),
    Kept("revision", "uint", "the highest revision of the agent's policies among those named", "kind",
         lambda f: f.revision),
    Kept("source_labels", "texts", "the sender's labels", "ends", lambda f: f.source.labels),
    Kept("destination_labels", "texts", "the receiver's labels", "ends", lambda f: f.destination.labels),
    Kept("l7_type", "int", "1 request, 2 response, 3 sample; null if the proxy didn't write it", "layer7",
         _layer7("type")),
    Kept("dns_query", "text", "the name that was asked for", "layer7", _layer7("dns_query")),
    Kept("dns_addresses", "texts", "addresses that were answered", "layer7", _layer7("dns_ips")),
    Kept("dns_ttl", "int", "how long they hold", "layer7", _layer7("dns_ttl"), "s"),
    Kept("dns_cnames", "texts", "other names on the way", "layer7", _layer7("dns_cnames")),
    Kept("http_method", "text", "`GET` …", "layer7", _layer7("http_method")),
    Kept("http_url", "text", "what was asked for", "layer7", _layer7("http_url")),
    Kept("http_code", "int", "the answer's status, 0 if none", "layer7", _layer7("http_code")),
    Kept("http_headers", "pairs", "name and value, as Hubble leaves them", "layer7", _layer7("http_headers")),
    Kept("policy_log", "texts", "`log: value` of the policies that decided; null with the next ones where a "
         "record has none of them", "extras", _extra("policy_log")),
    Kept("encrypted", "bool", "whether the packet was encrypted where it was seen", "extras",
         _extra("encrypted")),
    Kept("ip_trace_id", "uint", "what the sender put into an IP option", "extras", _extra("trace_id")),
    Kept("tunnel_protocol", "text", "`VXLAN` or `GENEVE`, of the headers around the packet", "extras",
         _tunnel("protocol")),
    Kept("tunnel_source", "text", "their sender", "extras", _tunnel("source_ip")),
    Kept("tunnel_destination", "text", "their receiver", "extras", _tunnel("destination_ip")),
    Kept("tunnel_network", "int", "their network number", "extras", _tunnel("vni")),
    Kept("stands_for_ingress", "int", "ingress records that an aggregated line stands for", "extras",
         _standing("ingress"), "records"),
    Kept("stands_for_egress", "int", "egress records that it stands for", "extras", _standing("egress"),
         "records"),
    Kept("stands_for_unknown", "int", "records without a direction that it stands for", "extras",
         _standing("unknown"), "records"),
    _flow("raw", "bytes", "with `--raw`: the whole record, a GetFlowsResponse of Hubble's (protobuf)"),
    _flow("kind_group", "int", "rows of a row group with the same number agree in all that a kind of records "
          "says: node, verdict, policies …"),
    _flow("ends_group", "int", "the same of the two ends, their labels and names"),
)  # fmt: skip
"""``flows/``: one row per Hubble record."""


EVENTS: tuple[Kept, ...] = (
    _flow("recorded", "time", "when it was told; it belongs to the records of that moment and run"),
    _flow("run", "text", "which recorder wrote it"),
    _flow("sequence", "int", "records that the run had before it"),
    _flow("server", "text", "the server it is about, where there are several"),
    _flow(
        "what",
        "text",
        "`run` (who records what; again each hour), `end` (of the run), `gap`, `lost` (events), `node`, "
        "`skipped`, `unread`, `odd`, `unwrapped`, `not_recorded`, `split`, `note`, `aside`, `failed`, "
        "`late`, `deleted`",
    ),
    _flow(
        "name",
        "text",
        "of `lost`: Hubble's name of where; of `node`: its state; of `run`: the source; of the others: "
        "what is counted",
    ),
    _flow("nodes", "texts", "nodes that it is about"),
    _flow("text", "text", "why, or more of it; of `run`: the filters"),
    _flow("count", "int", "how many; of `late`: nanoseconds"),
    _flow("since", "time", "of `gap`: from when on nothing was recorded; of `lost`: the first"),
    _flow("until", "time", "of `gap`: until when; of `lost`: the last"),
    _flow("at", "time", "of `lost` and `node`: when it was"),
)
"""``events/``: what was told between records: gaps, losses, nodes, when recording began and ended."""
