"""Rows, attempts and snapshots for the tests of the formats."""

from __future__ import annotations

from typing import Any

from flowwatch.egress.rows import Row, Run, Snapshot, Totals
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.coverage import LostTotal
from flowwatch.flows.model import PolicyRef
from tests.unit.flows.made import take_coverage

START = 1_772_600_767_089_000_123
"""2026-03-04T05:06:07.089000123Z."""

DENY = PolicyRef("CiliumNetworkPolicy", "weather", "only-openweathermap")
ALLOW = PolicyRef("CiliumClusterwideNetworkPolicy", "", "dns")

HOSTILE = "=cmd()|\x1b[2J`[x](y)`\u202e\n<b>&\\|"


def row(**changes: Any) -> Row:
    values: dict[str, Any] = {
        "direction": "egress",
        "namespace": "weather",
        "pod": "weather-app-6d5fd48c7d-cnsfl",
        "workload": "weather-app",
        "peer": "google.com",
        "peer_kind": "dns",
        "port": 443,
        "protocol": "TCP",
        "forwarded": 2,
        "dropped": 3,
        "audited": 0,
        "errors": 0,
        "unknown": 0,
        "records": 22,
        "drop_reasons": {"POLICY_DENIED": 2, "POLICY_DENY": 1},
        "allowed_by": (ALLOW,),
        "denied_by": (DENY,),
        "first_seen": START,
        "last_seen": START + 90_000_000_000,
        "rate": 0.12345,
        "peer_addresses": ("142.250.1.1", "142.250.1.2"),
        "runs": (
            Run("forwarded", START, START + 10_000_000_000),
            Run("dropped", START + 20_000_000_000, START + 90_000_000_000),
        ),
    }
    return Row(**{**values, **changes})


def attempt(**changes: Any) -> Attempt:
    values: dict[str, Any] = {
        "direction": "egress",
        "outcome": "dropped",
        "namespace": "weather",
        "pod": "weather-app-6d5fd48c7d-cnsfl",
        "workload": "weather-app",
        "pod_address": "10.0.1.5",
        "source_port": 40_000,
        "peer": "google.com",
        "peer_kind": "dns",
        "peer_address": "142.250.1.1",
        "port": 443,
        "protocol": "TCP",
        "drop_reason": "POLICY_DENIED",
        "drop_reason_number": 133,
        "first_seen": START,
        "last_seen": START + 7_000_000_000,
        "records": 8,
        "node": "demo/node-1",
        "denied_by": (DENY,),
    }
    return Attempt(**{**values, **changes})


def forwarded(**changes: Any) -> Row:
    nothing: dict[str, Any] = {"dropped": 0, "drop_reasons": {}, "denied_by": (), "forwarded": 7}
    return row(**{**nothing, **changes})


def snapshot(*rows: Row, **changes: Any) -> Snapshot:
    totals = Totals(
        forwarded=sum(r.forwarded for r in rows),
        dropped=sum(r.dropped for r in rows),
        audited=sum(r.audited for r in rows),
        errors=sum(r.errors for r in rows),
        unknown=sum(r.unknown for r in rows),
        rows=len(rows),
    )
    values: dict[str, Any] = {
        "rows": rows,
        "matched": len(rows),
        "totals": totals,
        "first_seen": START,
        "last_seen": START + 90_000_000_000,
        "records_read": 412,
        "records_skipped": {"not JSON": 2, "no flow": 1},
        "lost": (LostTotal("demo/node-1", "HUBBLE_RING_BUFFER", 12, START),),
        "nodes": ("demo/node-1", "demo/node-2"),
        "nodes_unavailable": ("demo/node-3",),
        "nodes_known": 3,
        "warnings": ("12 events were lost: counts are 'at least'", "node \x1b[31mred"),
    }
    values |= changes
    return Snapshot(coverage=take_coverage(values), **values)
