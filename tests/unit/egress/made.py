"""Aggregates of made-up records."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Row
from flowwatch.egress.view import snapshot
from flowwatch.flows.model import (
    Batch,
    Endpoint,
    Flow,
)
from flowwatch.flows.source import SourceState
from tests.unit.flows.made import (
    denied,
    flow,
)


def counted(*flows: Flow, max_rows: int = 100) -> Aggregate:
    aggregate = Aggregate(max_rows)
    aggregate.join.add(Batch(flows=list(flows)))
    return aggregate


def rows(*flows: Flow, query: Query | None = None) -> list[Row]:
    return list(snapshot(counted(*flows), query or Query()).rows)


def traffic(count: int, workloads: int = 0) -> list[Flow]:
    """Attempts of many pods to many peers, some denied, from a fixed seed.

    The pods are of so many ``workloads``, and then have labels; 0: of none that is known.
    """
    chance = random.Random(1)
    flows: list[Flow] = []
    for i in range(count):
        number = chance.randrange(5)
        pod = Endpoint(namespace="ns", pod=f"pod-{number}")
        if workloads:
            of = number % workloads
            pod = Endpoint(
                namespace="ns", pod=pod.pod, workload=f"w{of}", labels=(f"k8s:app=w{of}",)
            )
        to: dict[str, Any] = {
            "source": pod,
            "source_ip": f"10.0.0.{pod.pod[-1]}",
            "destination_ip": f"1.1.1.{chance.randrange(9)}",
            "source_port": 1024 + i,
        }
        flows += denied(i, **to) if chance.random() < 0.4 else [flow(i, **to)]
    return flows


def pods(*numbers: int, dropped: frozenset[int] = frozenset()) -> Aggregate:
    """Attempts of pods of one Deployment to one peer, one each; those ``dropped`` were blocked."""
    flows = []
    for number in numbers:
        base = flow(number)
        end = msgspec.structs.replace(
            base.source, pod=f"weather-app-7d9f8-x{number:04}", workload="weather-app"
        )
        fields: dict[str, Any] = {
            "source": end,
            "source_ip": f"10.0.1.{number}",
            "source_port": 40_000 + number,
        }
        flows += denied(number, **fields) if number in dropped else [flow(number, **fields)]
    return counted(*flows)


class Scripted:
    """A source that yields these batches, and raises what is among them; ``go`` lets it begin."""

    def __init__(self, *batches: Batch | BaseException) -> None:
        self._batches = batches
        self.go = threading.Event()
        self.closed = threading.Event()

    def batches(self) -> Iterator[Batch]:
        self.go.wait(30)
        for batch in self._batches:
            if isinstance(batch, BaseException):
                raise batch
            yield batch

    def state(self) -> SourceState:
        return SourceState("a script", "reading")

    def close(self) -> None:
        self.closed.set()
        self.go.set()
