"""How fast attempts come: of the rows that are shown, over the last seconds of our own clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.rates import WINDOW, Rates
from flowwatch.egress.view import snapshot
from flowwatch.flows.model import Batch, Flow
from tests.unit.flows.made import denied, flow

PORTS = iter(range(1, 60_000))


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def seen(count: int, **fields: Any) -> Iterator[Flow]:
    """So many attempts, now."""
    at = time.time() - 1_700_000_000
    return (flow(at, source_port=next(PORTS), **fields) for _ in range(count))


def told(aggregate: Aggregate, rates: Rates, **query: Any) -> tuple[float, float]:
    """Dropped and forwarded per second."""
    shown = snapshot(aggregate, Query(**query), rates=rates)
    return shown.dropped_rate, shown.forwarded_rate


@pytest.fixture
def watched() -> tuple[Aggregate, Rates]:
    """Two seconds in which 4 attempts to 9.9.9.9 were dropped, and 20 to 1.2.3.4 forwarded; and one
    ingress attempt."""
    aggregate, clock = Aggregate(), Clock()
    rates = Rates(clock)
    aggregate.join.add(Batch(flows=list(seen(50))))
    assert not rates.note(aggregate)
    clock.now += 1.0
    at = time.time() - 1_700_000_000
    drops = [
        record
        for _ in range(4)
        for record in denied(at, source_port=next(PORTS), destination_ip="9.9.9.9")
    ]
    aggregate.join.add(Batch(flows=[*seen(20), *drops, *seen(1, direction=1)]))
    clock.now += 1.0
    assert rates.note(aggregate)
    return aggregate, rates


def test_rates_are_of_the_direction_that_is_shown(watched: tuple[Aggregate, Rates]) -> None:
    assert told(*watched) == (2.0, 10.0)
    assert told(*watched, direction="ingress") == (0.0, 0.5)
    assert told(*watched, direction="both") == (2.0, 10.5)


def test_a_filter_leaves_the_rates_of_its_rows(watched: tuple[Aggregate, Rates]) -> None:
    assert told(*watched, text="9.9.9.9") == (2.0, 0.0)
    assert told(*watched, text="!9.9.9.9") == (0.0, 10.0)
    assert told(*watched, drops_only=True) == (2.0, 0.0)


def test_what_came_before_the_last_seconds_counts_no_more(
    watched: tuple[Aggregate, Rates],
) -> None:
    aggregate, rates = watched
    clock = rates._clock
    assert isinstance(clock, Clock)
    for _ in range(2):
        clock.now += WINDOW - 0.5
        rates.note(aggregate)
    assert told(aggregate, rates) == (0.0, 0.0)


def test_once_is_no_rate() -> None:
    aggregate, rates = Aggregate(), Rates(Clock())
    aggregate.join.add(Batch(flows=list(seen(5))))
    rates.note(aggregate)
    assert told(aggregate, rates) == (0.0, 0.0)


def test_folding_gives_rows_other_numbers_and_begins_anew() -> None:
    clock = Clock()
    aggregate, rates = Aggregate(4), Rates(clock)
    for number in range(9):
        aggregate.join.add(Batch(flows=list(seen(2, destination_ip=f"1.1.1.{number}"))))
        clock.now += 1.0
        rates.note(aggregate)
        dropped, forwarded = told(aggregate, rates, text="1.1.1")
        assert (dropped, 0.0 <= forwarded <= 4.0) == (0.0, True)
