"""Minimal records for the tests: only what a test names differs from a plain TCP SYN."""

from __future__ import annotations

from typing import Any

import msgspec

from flowwatch.flows.coverage import Coverage, NodeAway
from flowwatch.flows.known import make_flow
from flowwatch.flows.model import Direction, Endpoint, EventType, Flow, Layer7, PolicyRef, Verdict

APP = Endpoint(identity=1001, namespace="weather", pod="weather-app-1", workload="weather-app")
WORLD = Endpoint(identity=2, labels=("reserved:world",), entity="world")
API = Endpoint(identity=1002, namespace="api", pod="api-1", workload="api")
SECOND = 1_000_000_000
SYN, SYN_ACK, ACK, PSH_ACK = 2, 18, 16, 24
ALLOW = PolicyRef("CiliumNetworkPolicy", "weather", "weather-egress")
DENY = PolicyRef("CiliumClusterwideNetworkPolicy", "", "deny-world")


def flow(at: float = 0.0, **fields: Any) -> Flow:
    """A trace at to-stack of weather-app-1's SYN to 1.2.3.4:443, ``at`` seconds after the start."""
    values: dict[str, Any] = {
        "time": int((1_700_000_000 + at) * SECOND),
        "verdict": Verdict.FORWARDED,
        "drop_reason": 0,
        "direction": Direction.EGRESS,
        "is_reply": False,
        "event_type": EventType.TRACE,
        "sub_type": 3,
        "source": APP,
        "destination": WORLD,
        "source_ip": "10.0.0.1",
        "destination_ip": "1.2.3.4",
        "protocol": "TCP",
        "source_port": 40000,
        "destination_port": 443,
        "tcp_flags": SYN,
        "source_names": (),
        "destination_names": (),
        "source_service": "",
        "destination_service": "",
        "l7": None,
        "allowed_by": (),
        "denied_by": (),
        "match_type": 0,
        "auth_type": 0,
        "node": "node-1",
        "uuid": "",
    }
    return make_flow(**(values | fields))


def said(one: Flow) -> dict[str, Any]:
    """All that a record says, by name."""
    return {
        field.name: getattr(part, field.name)
        for part in (one.kind, one.ends, one)
        for field in msgspec.structs.fields(part)
        if field.required and field.name not in ("kind", "ends")
    }


def verdict(at: float = 0.0, **fields: Any) -> Flow:
    """A policy-verdict record that allows it."""
    return flow(at, **({"event_type": EventType.POLICY_VERDICT, "sub_type": 0} | fields))


def denied(at: float = 0.0, reason: int = 133, **fields: Any) -> list[Flow]:
    """The pair that a denied packet leaves: its policy-verdict and its drop."""
    same = {"verdict": Verdict.DROPPED, "drop_reason": reason, "is_reply": None} | fields
    return [
        flow(at, event_type=EventType.POLICY_VERDICT, sub_type=0, **same),
        flow(at + 0.00001, event_type=EventType.DROP, sub_type=reason, **same),
    ]


def reply(at: float = 0.0, **fields: Any) -> Flow:
    """The answer's trace at to-endpoint: ends swapped, direction still the connection's."""
    values: dict[str, Any] = {
        "source": WORLD,
        "destination": APP,
        "source_ip": "1.2.3.4",
        "destination_ip": "10.0.0.1",
        "source_port": 443,
        "destination_port": 40000,
        "is_reply": True,
        "sub_type": 0,
        "tcp_flags": SYN_ACK,
    }
    return flow(at, **(values | fields))


def l7(at: float = 0.0, record: Layer7 | None = None, **fields: Any) -> Flow:
    """The proxy's record of a request."""
    seen = record or Layer7(type=1, http_method="GET", http_url="http://api/x")
    same = {"event_type": EventType.L7, "sub_type": 0, "tcp_flags": 0, "l7": seen}
    return flow(at, **(same | fields))


def take_coverage(changes: dict[str, Any]) -> Coverage:
    """The coverage that ``changes`` describe, among other things: its fields are taken out of them."""
    away = changes.pop("nodes_unavailable", ())
    known = {one: changes.pop(one) for one in Coverage.__struct_fields__ if one in changes}
    return Coverage(**({"nodes_away": tuple([NodeAway(one, 0, "") for one in away])} | known))
