"""Metrics hold to what the join tells, stay bounded, and never go down."""

from __future__ import annotations

import socket
import urllib.request
from collections import Counter
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flowwatch.egress.aggregate import Aggregate
from flowwatch.errors import UsageError
from flowwatch.flows.join import Join
from flowwatch.flows.meaning import OUTCOMES
from flowwatch.flows.model import Batch, Direction
from flowwatch.sources.files import FileSource
from flowwatch.watching.metrics import ATTEMPTS, METRICS, MOST, Metrics, Served
from tests.material import OWN
from tests.unit.marks.traffic import API, EVIL, Traffic, pod

CAPTURE = OWN / "captures" / "weather.jsonl"
_WAYS = {"egress": int(Direction.EGRESS), "ingress": int(Direction.INGRESS)}


def batches() -> Iterator[Batch]:
    yield from FileSource([str(CAPTURE)]).batches()


def counted(metrics: Metrics) -> Counter[tuple[str, ...]]:
    values = dict(metrics.values())[ATTEMPTS]
    return Counter({labels: int(value) for labels, value in values})


def test_all_attempts_of_a_capture_are_counted_as_the_table_counts_them() -> None:
    join = Join()
    aggregate, metrics = Aggregate(join=join), Metrics(join, live=False)
    join.read(batches())
    metrics.finish()
    by_way = Counter[tuple[str, str]]()
    for (way, _, _, outcome, _), number in counted(metrics).items():
        by_way[way, outcome] += number
    for way, number in _WAYS.items():
        totals = dict(zip(OUTCOMES, aggregate.totals[number], strict=True))
        assert {outcome: by_way[way, outcome] for outcome in OUTCOMES} == totals
    assert sum(by_way.values()) > 20


def test_no_count_goes_down_as_records_come() -> None:
    join = Join()
    metrics = Metrics(join, live=False)
    before = counted(metrics)
    looks = 0
    for batch in batches():
        # As live traffic comes: one at a time.
        for at in range(len(batch.flows)):
            join.add(Batch(flows=batch.flows[at : at + 1]))
            now = counted(metrics)
            assert all(now[labels] >= number for labels, number in before.items())
            looks += now != before
            before = now
    assert looks > 5


def test_a_retry_that_gets_through_counts_as_what_it_became() -> None:
    traffic = Traffic()
    traffic.fails(0, API, source=pod(1))
    traffic.passes(60, EVIL, source=pod(1))
    join = Join()
    metrics = Metrics(join, live=False)
    join.add(Batch(flows=traffic.records[:1]))
    # Nothing is known for sure yet.
    assert not counted(metrics)
    join.add(Batch(flows=traffic.records[1:]))
    assert sum(number for labels, number in counted(metrics).items() if "dropped" in labels) == 1
    assert not metrics._settled.waiting()


def test_what_is_tried_again_waits_until_it_is_given_up() -> None:
    traffic = Traffic()
    for after in (0, 1, 3, 7):
        traffic.fails(after, EVIL, source=pod(1), source_port=40000)
    traffic.passes(50, API, source=pod(2))
    join = Join()
    metrics = Metrics(join, live=False)
    flows = sorted(traffic.records, key=lambda flow: flow.time)
    join.add(Batch(flows=flows[:-4]))
    (waits,) = metrics._settled.waiting().values()
    assert waits == 1
    join.add(Batch(flows=flows[-4:]))
    assert not metrics._settled.waiting()


def test_workloads_past_the_bound_are_one() -> None:
    traffic = Traffic()
    for number in range(MOST + 20):
        traffic.fails(number / 100, EVIL, source=pod(number))
    join = Join()
    metrics = Metrics(join, live=False)
    join.add(Batch(flows=traffic.records))
    metrics.finish()
    by_workload = Counter({labels[2]: number for labels, number in counted(metrics).items()})
    assert len(by_workload) <= MOST + 1
    if len(by_workload) > MOST:
        assert by_workload["other"] == 20


def test_what_is_served_is_the_text_of_prometheus() -> None:
    join = Join()
    metrics = Metrics(join, live=True, active=lambda: {"A": 1}, fired=lambda: {"A": 2, 'B"\n': 1})
    join.read(batches())
    served = Served(metrics, "127.0.0.1", 0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        served.close()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert list(families) == [one.name for one in METRICS]
    for one in METRICS:
        family = families[one.name]
        assert family.documentation == one.help
        assert {sample.name for sample in family.samples} <= {one.sample}
        assert all(set(sample.labels) == set(one.labels) for sample in family.samples)
    fired = {s.labels["alertname"]: s.value for s in families["flowwatch_alerts_fired"].samples}
    assert fired == {"A": 2.0, 'B"\n': 1.0}
    active = {s.labels["alertname"]: s.value for s in families["flowwatch_alerts_active"].samples}
    assert active == {"A": 1.0, 'B"\n': 0.0}
    assert sum(sample.value for sample in families["flowwatch_attempts"].samples) > 20


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot serve metrics on 127.0.0.1:{port}: Address"):
            Served(Metrics(Join(), live=True), "127.0.0.1", port)
    with pytest.raises(UsageError, match="cannot serve metrics"):
        Served(Metrics(Join(), live=True), "no.such.host.invalid", 0)
