"""What the campaign starts from: a record of each kind, and hostile ones that others found, if there.

The records are made here, as Hubble prints them; what lies in ``../shared/cases/hostile`` is read
where it is, and a campaign without it starts from our own alone.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict

from flowwatch.hubble.wire.jsonprint import message_to_json
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsResponse

HOSTILE = Path(__file__).parents[3] / "shared" / "cases" / "hostile"
Record = dict[str, Any]

GOOD = "good"
"""The namespace of records that must all count, whatever stands beside them."""


def _end(identity: int, namespace: str = "", pod: str = "", *labels: str) -> Record:
    end: Record = {"identity": identity, "labels": list(labels)}
    if pod:
        end |= {
            "namespace": namespace,
            "pod_name": pod,
            "workloads": [{"name": pod.rpartition("-")[0], "kind": "Deployment"}],
            "cluster_name": "default",
        }
    return end


def _app(namespace: str) -> Record:
    space = f"k8s:io.kubernetes.pod.namespace={namespace}"
    return _end(1001, namespace, "app-1", "k8s:app=app", space)


WORLD = _end(2, "", "", "reserved:world")
DNS = _end(1003, "kube-system", "coredns-1", "k8s:k8s-app=kube-dns")
RULE = {"name": "egress", "namespace": "weather", "kind": "CiliumNetworkPolicy", "revision": "1"}
SYN = {"TCP": {"source_port": 40000, "destination_port": 443, "flags": {"SYN": True}}}


def _flow(second: int, namespace: str = "weather", /, **fields: Any) -> Record:
    flow = {
        "time": f"2026-01-31T10:00:{second:02d}.5Z",
        "uuid": f"{namespace}-{second}",
        "verdict": "FORWARDED",
        "IP": {"source": "10.0.0.1", "destination": "1.2.3.4", "ipVersion": "IPv4"},
        "l4": SYN,
        "source": _app(namespace),
        "destination": WORLD,
        "Type": "L3_L4",
        "node_name": "node-1",
        "event_type": {"type": 4, "sub_type": 3},
        "traffic_direction": "EGRESS",
        "trace_observation_point": "TO_STACK",
        "is_reply": False,
        "Summary": "TCP Flags: SYN",
        **fields,
    }
    return {"flow": flow, "node_name": "node-1", "time": flow["time"]}


def _denied(second: int, kind: int, namespace: str = "weather") -> Record:
    """One of the two records that a denied packet leaves: its verdict (5) or its drop (1)."""
    return _flow(
        second,
        namespace,
        verdict="DROPPED",
        drop_reason=133,
        drop_reason_desc="POLICY_DENIED",
        event_type={"type": kind, "sub_type": 133 if kind == 1 else 0},
        destination_names=["example.org"],
        egress_denied_by=[RULE] if kind == 5 else [],
        is_reply=None,
    )


def _l7(second: int, **layer: Any) -> Record:
    kind = {"Type": "L7", "event_type": {"type": 129}, "trace_observation_point": "TO_PROXY"}
    return _flow(second, **kind, l7=layer)


HTTP = {
    "code": 200,
    "method": "GET",
    "url": "http://api.example.org/v1?q=1",
    "protocol": "HTTP/1.1",
    "headers": [{"key": "User-Agent", "value": "curl"}],
}
RECORDS: tuple[Record, ...] = (
    _flow(1),
    _flow(2, event_type={"type": 5}, policy_match_type=1, egress_allowed_by=[RULE]),
    _denied(3, 5),
    _denied(3, 1),
    _flow(
        4,
        source=WORLD,
        destination=_app("weather"),
        IP={"source": "1.2.3.4", "destination": "10.0.0.1", "ipVersion": "IPv4"},
        l4={"TCP": {"source_port": 443, "destination_port": 40000, "flags": {"SYN": True, "ACK": True}}},
        is_reply=True,
        source_names=["example.org"],
    ),
    _flow(5, l4={"UDP": {"source_port": 5353, "destination_port": 53}}, destination=DNS),
    _flow(6, l4={"SCTP": {"source_port": 1, "destination_port": 2}}),
    _flow(7, l4={"ICMPv4": {"type": 8, "code": 0}}, is_reply=None),
    _flow(8, l4={"ICMPv6": {"type": 128}}, IP={"source": "fd00::1", "destination": "fd00::2"}),
    _l7(9, type="REQUEST", dns={"query": "example.org.", "observation_source": "proxy", "qtypes": ["A"]}),
    _l7(10, type="RESPONSE", dns={"query": "example.org.", "ips": ["1.2.3.4"], "ttl": 60, "rcode": 0,
                                  "cnames": ["a.example.org."], "rrtypes": ["A"]}),
    _l7(11, type="REQUEST", http=HTTP, latency_ns="100"),
    _l7(12, type="RESPONSE", kafka={"error_code": 0, "api_version": 1, "api_key": "produce", "topic": "t"}),
    _flow(13, traffic_direction="INGRESS", source_service={"name": "api", "namespace": "weather"},
          destination_service={"name": "api", "namespace": "weather"}, auth_type="SPIRE",
          ingress_allowed_by=[RULE], event_type={"type": 5}),
    _flow(14, verdict="AUDIT", event_type={"type": 5}, policy_match_type=4),
    _flow(15, event_type={"type": 2, "sub_type": 0}, interface={"index": 2, "name": "eth0"},
          debug_capture_point="DBG_CAPTURE_DELIVERY", sock_xlate_point="SOCK_XLATE_POINT_PRE_DIRECTION_FWD",
          socket_cookie="12", cgroup_id="9", tunnel={"protocol": "VXLAN", "vni": 3}),
    {"lost_events": {"source": "PERF_EVENT_RING_BUFFER", "num_events_lost": "12", "cpu": 1,
                     "first": "2026-01-31T10:00:01Z", "last": "2026-01-31T10:00:02Z"},
     "node_name": "node-1", "time": "2026-01-31T10:00:16Z"},
    {"node_status": {"state_change": "NODE_UNAVAILABLE", "node_names": ["node-2"], "message": "gone"},
     "node_name": "node-1", "time": "2026-01-31T10:00:17Z"},
)  # fmt: skip


def good(namespace: str = GOOD) -> list[Record]:
    """Records of a pod that nothing else speaks of: an attempt that went through, and a denied one."""
    records = [_flow(20, namespace), _denied(21, 5, namespace), _denied(21, 1, namespace)]
    for number, record in enumerate(records):
        record["flow"] |= {
            "uuid": f"{namespace}-{number}",
            "IP": {"source": "10.9.9.9", "destination": "198.51.100.7", "ipVersion": "IPv4"},
            "destination_names": ["good.example"],
        }
    return records


def wire(record: Record) -> bytes:
    """``record`` as a serialized GetFlowsResponse."""
    return ParseDict(record, GetFlowsResponse()).SerializeToString()


def printed(record: Record) -> bytes:
    """``record`` as a line that Hubble prints: the form that the scanner knows."""
    return message_to_json(ParseDict(record, GetFlowsResponse())).encode()


def line(record: Record) -> bytes:
    """``record`` as a line of a capture, in another form of JSON."""
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")


@cache
def hostile(pattern: str) -> tuple[bytes, ...]:
    """Contents of the shared hostile files that fit ``pattern``; none where they aren't."""
    return tuple(path.read_bytes() for path in sorted(HOSTILE.glob(pattern)))
