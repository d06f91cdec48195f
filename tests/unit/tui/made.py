"""Snapshots by hand, and a monitor that shows them: what the dashboard's tests look at."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from flowwatch.egress.folding import By
from flowwatch.egress.passing import Passing
from flowwatch.egress.query import Monitor, Query
from flowwatch.egress.rows import CloseUp, Fold, Recent, Row, Snapshot, Timeline, Totals
from flowwatch.flows.coverage import LostTotal
from flowwatch.flows.hiding import Hiding
from flowwatch.flows.model import Endpoint, PolicyRef
from flowwatch.flows.source import SourceState
from tests.unit.flows.made import take_coverage

SECOND = 1_000_000_000
NOON = 1_700_049_600 * SECOND
"""2023-11-15 12:00:00 UTC: the tests' window begins here."""
ALLOW = PolicyRef("CiliumNetworkPolicy", "weather", "weather-egress")
DENY = PolicyRef("CiliumClusterwideNetworkPolicy", "", "deny-world")


def row(key: int, **fields: Any) -> Row:
    """A row of weather/weather-app-1 to api.openweathermap.org:443, forwarded 10 times."""
    values: dict[str, Any] = {
        "direction": "egress",
        "namespace": "weather",
        "pod": "weather-app-7d9f8-x2x4z",
        "workload": "weather-app",
        "peer": "api.openweathermap.org",
        "peer_kind": "dns",
        "port": 443,
        "protocol": "TCP",
        "forwarded": 10,
        "dropped": 0,
        "audited": 0,
        "errors": 0,
        "unknown": 0,
        "records": 40,
        "drop_reasons": {},
        "allowed_by": (ALLOW,),
        "denied_by": (),
        "first_seen": NOON,
        "last_seen": NOON + 50 * SECOND,
        "rate": 0.2,
        "peer_addresses": ("37.139.20.5",),
        "key": key,
    }
    return Row(**(values | fields))


def denied(key: int, **fields: Any) -> Row:
    """A row that default deny dropped 12 times."""
    return row(
        key,
        **(
            {
                "peer": "www.google.com",
                "forwarded": 0,
                "dropped": 12,
                "records": 48,
                "drop_reasons": {"POLICY_DENIED": 12},
                "allowed_by": (),
                "peer_addresses": ("142.250.74.36",),
            }
            | fields
        ),
    )


def record(key: int, at: float = 0.0, **fields: Any) -> Recent:
    """The drop record of a SYN, ``at`` seconds after the start."""
    values: dict[str, Any] = {
        "key": key,
        "number": 1,
        "time": NOON + int(at * SECOND),
        "namespace": "weather",
        "pod": "weather-app-7d9f8-x2x4z",
        "peer": "www.google.com",
        "port": 443,
        "protocol": "TCP",
        "direction": "egress",
        "kind": "drop",
        "verdict": "DROPPED",
        "reason": "POLICY_DENIED",
        "flags": "SYN",
        "node": "node-1",
    }
    return Recent(**(values | fields))


STORY: tuple[Row, ...] = (
    denied(1),
    denied(2, peer="example.com", dropped=3, drop_reasons={"POLICY_DENY": 3}, denied_by=(DENY,)),
    row(3, peer="metrics.example.net", forwarded=0, audited=4, peer_addresses=()),
    row(4, forwarded=0, errors=2, peer="api/reports", peer_kind="service", port=80),
    row(5),
    row(6, peer="kube-system/coredns-5d78", peer_kind="pod", port=53, protocol="UDP"),
    row(7, namespace="shop", pod="cart-0", workload="cart", peer="10.0.9.9", peer_kind="address"),
)


def second_by_second(
    forwarded: Sequence[int], dropped: Sequence[int], start: int = NOON
) -> Timeline:
    """So many attempts in each second."""
    seconds = range(start // SECOND, start // SECOND + len(forwarded))
    return Timeline(SECOND, tuple(seconds), tuple(forwarded), tuple(dropped))


def total(rows: Sequence[Row]) -> Totals:
    return Totals(
        forwarded=sum(r.forwarded for r in rows),
        dropped=sum(r.dropped for r in rows),
        audited=sum(r.audited for r in rows),
        errors=sum(r.errors for r in rows),
        unknown=sum(r.unknown for r in rows),
        rows=len(rows),
    )


def snapshot(rows: tuple[Row, ...] = STORY, **fields: Any) -> Snapshot:
    """A minute of ``rows``, with totals that fit."""
    totals = total(rows)
    seen: dict[str, Any] = {
        "first_seen": NOON,
        "last_seen": NOON + 60 * SECOND,
        "records_read": 1_234,
        "nodes": ("node-1", "node-2"),
    } | fields
    made = Snapshot(
        coverage=take_coverage(seen),
        rows=rows,
        matched=len(rows),
        totals=totals,
        shown=totals,
        timeline=second_by_second(
            [2 + i % 3 for i in range(60)], [i % 5 if i > 30 else 0 for i in range(60)]
        ),
        recent=tuple(record(1, at) for at in range(20)),
        record_rate=120.0,
        dropped_rate=2.5,
        forwarded_rate=14.0,
    )
    return replace(made, **seen)


LOST = (LostTotal("node-2", "HUBBLE_RING_BUFFER", 312, NOON + 30 * SECOND),)

FOLLOWING = SourceState(
    where="localhost:4245", phase="following", nodes_connected=2, version="hubble-relay v1.20.2"
)
COMPLETE = SourceState(where="flows.jsonl", phase="ended")
"""A file read to its end: ages are counted to its last record, so tests know them."""


class ShownMonitor:
    """A monitor whose rows a test sets; filters, orders and limits them as the real one does."""

    def __init__(self, shown: Snapshot, state: SourceState = COMPLETE) -> None:
        self._lock = threading.Lock()
        self._shown = shown
        self._state = state
        self._revision = 1
        self.asked: list[Query] = []
        self.retried = 0
        self.passing = Passing()
        self.two_ends = (Endpoint(), Endpoint())
        """Of every row."""

    def put(self, shown: Snapshot | None = None, state: SourceState | None = None) -> None:
        with self._lock:
            self._shown = shown or self._shown
            self._state = state or self._state
            self._revision += 1

    def snapshot(self, query: Query) -> Snapshot:
        with self._lock:
            self.asked.append(query)
            rows = [r for r in self._shown.rows if query.direction in (r.direction, "both")]
            if query.drops_only:
                rows = [r for r in rows if r.dropped or r.audited]
            for word in query.text.casefold().split():
                rows = [r for r in rows if word in f"{r.namespace}/{r.pod} {r.peer}".casefold()]
            if query.order == "peer":
                rows.sort(key=lambda r: r.peer)
            if query.reverse:
                rows.reverse()
            first = tuple(rows[: query.limit])
            return replace(self._shown, rows=first, matched=len(rows), shown=total(rows))

    def close_up(self, query: Query, key: int, fold: Fold | None, records: int) -> CloseUp | None:
        if not any(r.key == key for r in self._shown.rows):
            return None
        return CloseUp(
            tuple(r for r in self._shown.recent if r.key == key)[-records:], self.two_ends
        )

    def retry(self) -> None:
        self.retried += 1

    def recent(self, count: int) -> tuple[Recent, ...]:
        return self._shown.recent[-count:]

    def hours(self, direction: str) -> list[int]:
        return []

    def whose(self, by: By) -> dict[str, str]:
        return {}

    def hidden(self, hiding: Hiding) -> Monitor:
        return self

    def seen(self, key: str, query: Query | None = None) -> list[str]:
        fields = {"ns": "namespace", "pod": "workload", "to": "peer"}
        return sorted({getattr(r, fields[key]) for r in self._shown.rows}) if key in fields else []

    def state(self) -> SourceState:
        return self._state

    @property
    def revision(self) -> int:
        return self._revision
