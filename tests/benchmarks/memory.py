"""Memory of the aggregate: ``python -m tests.benchmarks.memory rows|stream [COUNT]``.

``rows``: a million distinct rows (1,000 pods × 1,000 peers, a tenth of them dropped).
``stream``: an endless stream in small, a slice a second of flow time: the slope of the memory.
Prints one JSON object.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.flows.known import make_kind
from flowwatch.flows.model import (
    Batch,
    Direction,
    Endpoint,
    Ends,
    EventType,
    Flow,
    Kind,
    Verdict,
)

START = 1_700_000_000_000_000_000
WORLD = Endpoint(identity=2, entity="world")


def resident() -> int:
    """Bytes of this process in memory now (Linux), else the most it ever had."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@cache
def address(first: int, number: int) -> str:
    """One text per address, as the decoders share them too."""
    return f"{first}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@cache
def kind_of(dropped: bool) -> Kind:
    return make_kind(
        verdict=Verdict.DROPPED if dropped else Verdict.FORWARDED,
        drop_reason=133 if dropped else 0,
        direction=Direction.EGRESS,
        is_reply=None if dropped else False,
        event_type=EventType.POLICY_VERDICT,
        sub_type=0,
        protocol="TCP",
        tcp_flags=2,
        allowed_by=(),
        denied_by=(),
        match_type=2,
        auth_type=0,
        node="node-1",
        revision=0,
        has_l7=False,
    )


@cache
def ends_of(pod: Endpoint) -> Ends:
    return Ends(pod, WORLD, (), (), "", "")


def record(pod: Endpoint, number: int, peer: int, port: int, time: int, dropped: bool) -> Flow:
    client, server = address(10, number), address(93, peer)
    return Flow(kind_of(dropped), ends_of(pod), time, client, server, port, 443, "", None)


def distinct_rows(count: int) -> Iterator[Batch]:
    pods = [
        Endpoint(namespace=f"ns-{i % 20}", pod=f"app-{i}-6b746f74dc-9rcxx") for i in range(1000)
    ]
    batch = Batch()
    for i in range(count):
        number, peer = i % 1000, i // 1000
        flow = record(
            pods[number], number, peer, 1024 + i % 60_000, START + i * 50_000, i % 10 == 0
        )
        batch.flows.append(flow)
        if len(batch.flows) == 512:
            yield batch
            batch = Batch()
    yield batch


def rows(count: int) -> dict[str, float]:
    before = resident()
    aggregate = Aggregate(max_rows=count + 1)
    for batch in distinct_rows(count):
        aggregate.join.add(batch)
    gc.collect()
    taken = snapshot(aggregate, Query(limit=50))
    return {
        "rows": taken.totals.rows,
        "process_mb": resident() / 1e6,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "bytes_a_row": (resident() - before) / count,
    }


def stream(seconds: int, rate: int = 2000) -> dict[str, float]:
    """``seconds`` of flow time at ``rate`` attempts a second, among 5,000 rows; memory over time."""
    pods = [Endpoint(namespace="ns", pod=f"app-{i}") for i in range(100)]
    aggregate = Aggregate()
    sizes: list[float] = []
    number = 0
    for second in range(seconds):
        batch = Batch()
        for _ in range(rate):
            number += 1
            pod, peer = number % 100, number // 100 % 50
            port = 1024 + number % 60_000
            time = START + second * 1_000_000_000
            batch.flows.append(record(pods[pod], pod, peer, port, time, number % 7 == 0))
        aggregate.join.add(batch)
        if second % 10 == 0:
            sizes.append(resident() / 1e6)
    half = len(sizes) // 2
    return {
        "records": number,
        "mb_at_half": sizes[half],
        "mb_at_end": sizes[-1],
        "slope_mb_an_hour": (sizes[-1] - sizes[half]) / (seconds / 2) * 3600,
    }


if __name__ == "__main__":
    kind, *rest = sys.argv[1:] or ["rows"]
    if kind == "rows":
        print(json.dumps(rows(int(rest[0]) if rest else 1_000_000)))
    else:
        print(json.dumps(stream(*(int(text) for text in rest or ["600"]))))
