"""Traffic of made-up pods, second by second, of which it is known when policies changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

import msgspec

from flowwatch.audits.judge import Judge
from flowwatch.flows.model import Batch, Endpoint, Flow, PolicyRef
from flowwatch.marks.changes import Changes, ChangesReport
from tests.unit.flows.made import ALLOW, APP, denied, flow, reply, verdict

LABELS = ("k8s:app=weather-app", "k8s:io.kubernetes.pod.namespace=weather")
POD = msgspec.structs.replace(APP, labels=LABELS)
OTHER = PolicyRef("CiliumNetworkPolicy", "weather", "allow-all")
API, EVIL, THIRD = "198.51.100.1", "203.0.113.9", "203.0.113.10"
SECOND = 1_000_000_000
START = 1_700_000_000


def pod(number: int) -> Endpoint:
    return msgspec.structs.replace(POD, pod=f"weather-app-{number}")


@dataclass
class Traffic:
    """Adds the records of one try after the other; each comes from a source port of its own."""

    records: list[Flow] = field(default_factory=list)
    _ports: Any = field(default_factory=lambda: count(30_000))

    def _same(self, to: str, source: Endpoint, node: str) -> dict[str, Any]:
        return {
            "destination_ip": to, "source": source, "node": node,
            "source_ip": f"10.0.0.{source.pod.rpartition('-')[2]}", "source_port": next(self._ports),
        }  # fmt: skip

    def passes(
        self, at: float, to: str = API, by: tuple[PolicyRef, ...] = (), *, asked: bool = True,
        revision: int = 0, source: Endpoint = POD, node: str = "node-1", answered: bool = True,
        **fields: Any,
    ) -> Self:  # fmt: skip
        """A connection that is let through; ``by`` these policies, if any was ``asked``."""
        same = self._same(to, source, node) | fields
        if asked:
            self.records.append(verdict(at, allowed_by=by, revision=revision, **same))
        self.records.append(flow(at + 0.0001, **same))
        if answered:
            self.records.append(
                reply(
                    at + 0.02, source_ip=to, destination_ip=same["source_ip"], destination=source,
                    destination_port=same["source_port"], node=node,
                    source_port=same.get("destination_port", 443),
                )
            )  # fmt: skip
        return self

    def fails(
        self, at: float, to: str = EVIL, *, source: Endpoint = POD, node: str = "node-1", **fields: Any
    ) -> Self:  # fmt: skip
        """A connection that a policy denies."""
        self.records += denied(at, **(self._same(to, source, node) | fields))
        return self

    def report(self, **changes: Any) -> ChangesReport:
        """What is told of it."""
        judge: Judge | None = changes.pop("judge", None)
        given = tuple(int((START + at) * SECOND) for at in changes.pop("given", ()))
        records = sorted(self.records, key=lambda one: one.time)
        return Changes(given=given, judge=judge, **changes).read([Batch(flows=records)])


def moments(report: ChangesReport) -> list[float]:
    """When its marks are, in seconds since the start."""
    return [round(one.mark.time / SECOND - START, 2) for one in report.differences]


def changed(report: ChangesReport, at: int = 0) -> dict[str, str]:
    """What became of each peer beside one mark."""
    return {row.edge.peer: row.change for row in report.differences[at].rows}


__all__ = [
    "ALLOW",
    "API",
    "EVIL",
    "OTHER",
    "POD",
    "START",
    "THIRD",
    "Traffic",
    "changed",
    "moments",
]
