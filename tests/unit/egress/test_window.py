"""Rows of a window of time: what began in it, and nothing else."""

from __future__ import annotations

import random

import pytest

from flowwatch.egress import select
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.folding import BY_WORKLOAD, PLAIN, By
from flowwatch.egress.query import Query
from flowwatch.egress.row_times import RowTimes
from flowwatch.egress.rows import SECOND, Snapshot
from flowwatch.egress.view import snapshot
from flowwatch.flows import meaning
from flowwatch.flows.model import Flow
from tests.unit.egress.made import counted, traffic
from tests.unit.flows.made import denied, flow

START = 1_700_000_000
OTHER = "9.9.9.9"


def tried(at: float, port: int, *, passes: bool = True, to: str = OTHER) -> list[Flow]:
    if passes:
        return [flow(at, source_port=port, destination_ip=to)]
    return denied(at, source_port=port, destination_ip=to)


def story() -> Aggregate:
    """A minute let through, then a minute denied; another destination once, at 30 s."""
    records: list[Flow] = []
    for at in range(0, 120, 10):
        records += tried(at, 1000 + at, passes=at < 60)
    records += tried(30, 5000, to="198.51.100.7")
    return counted(*sorted(records, key=lambda one: one.time))


def of(aggregate: Aggregate, start: int, end: int, **query: object) -> Snapshot:
    window = Query(window=(end - start) * SECOND, until=(START + end) * SECOND, **query)  # type: ignore[arg-type]
    return snapshot(aggregate, window)


@pytest.mark.parametrize(
    ("start", "end", "counts"),
    [
        (0, 60, {OTHER: (6, 0), "198.51.100.7": (1, 0)}),
        (60, 120, {OTHER: (0, 6)}),
        (50, 71, {OTHER: (1, 2)}),
        (25, 35, {OTHER: (1, 0), "198.51.100.7": (1, 0)}),
        (31, 39, {}),
    ],
)
def test_what_began_in_it(start: int, end: int, counts: dict[str, tuple[int, int]]) -> None:
    taken = of(story(), start, end)

    assert {row.peer: (row.forwarded, row.dropped) for row in taken.rows} == counts
    assert taken.window == ((START + start) * SECOND, (START + end) * SECOND)
    assert taken.totals.rows == taken.matched == len(counts)
    assert taken.totals.dropped == sum(dropped for _, dropped in counts.values())
    assert taken.forwarded_rate == sum(passed for passed, _ in counts.values()) / (end - start)


def test_rows_are_in_the_order_of_the_window() -> None:
    aggregate = counted(
        *[one for at in range(5) for one in tried(at, 1000 + at, passes=False)],
        *tried(50, 2000),
        *tried(51, 2001, passes=False, to="198.51.100.7"),
    )
    first = [row.peer for row in snapshot(aggregate, Query()).rows]
    assert first == [OTHER, "198.51.100.7"]
    assert [row.peer for row in of(aggregate, 40, 60).rows] == ["198.51.100.7", OTHER]


def test_a_window_without_end_ends_with_what_was_read() -> None:
    taken = snapshot(story(), Query(window=55 * SECOND))
    # The last attempt began at 110 s: so this is from 55 s on.
    assert [(row.forwarded, row.dropped) for row in taken.rows] == [(0, 6)]
    assert "of all that was read" in taken.coverage.warnings[-1]


def test_what_became_of_an_attempt_later_counts_where_it_began() -> None:
    audited = flow(5, verdict=4, event_type=5, source_port=7)
    aggregate = counted(flow(5, source_port=7), audited, flow(70, source_port=8))
    (row,) = of(aggregate, 0, 10).rows
    assert (row.forwarded, row.audited) == (0, 1)
    (row,) = of(aggregate, 60, 80).rows
    assert (row.forwarded, row.audited) == (1, 0)


def test_folds_are_the_sums_of_their_rows_in_it_too() -> None:
    aggregate = story()
    for start, end in ((0, 60), (50, 71), (60, 120)):
        each, folds = of(aggregate, start, end), of(aggregate, start, end, by=BY_WORKLOAD)
        for name in ("forwarded", "dropped", "audited", "errors", "unknown"):
            assert sum(getattr(row, name) for row in each.rows) == sum(
                getattr(row, name) for row in folds.rows
            )


def test_windows_side_by_side_come_to_the_whole() -> None:
    times, chance = RowTimes(cells=64, rows=8), random.Random(2)
    counts = [[0] * len(meaning.OUTCOMES) for _ in range(8)]
    for _ in range(500):
        row, outcome = chance.randrange(8), chance.randrange(len(meaning.OUTCOMES))
        time = START * SECOND + chance.randrange(600) * SECOND
        times.add(row, time, outcome == meaning.DROPPED, 1, outcome)
        counts[row][outcome] += 1
    # Places ran out, so buckets are wider by now.
    assert times.width > SECOND
    found = [[0] * len(meaning.OUTCOMES) for _ in range(8)]
    edge = times.bounds(START * SECOND, 0)[0]
    while edge < (START + 600) * SECOND:
        part = times.within(edge, edge + 3 * times.width)
        assert part is not None
        for outcome, column in enumerate(part):
            for row, count in enumerate(column):
                found[row][outcome] += count
        edge += 3 * times.width
    assert found == counts


def test_where_rows_are_too_many_all_is_told_and_said() -> None:
    aggregate = story()
    aggregate.row_times = RowTimes(cells=8, rows=1)
    for row in range(3):
        aggregate.row_times.add(row, START * SECOND, False)
    taken = of(aggregate, 0, 10)
    assert taken.all_of_time
    assert taken.window == (0, 0)
    assert "no window" in taken.coverage.warnings[-1]
    assert taken.totals.attempts == 13


@pytest.mark.parametrize("by", [PLAIN, BY_WORKLOAD])
@pytest.mark.parametrize("limit", [None, 3])
def test_of_a_window_many_rows_are_chosen_and_ordered_as_few_are(
    by: By, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregate = counted(*traffic(300, workloads=3))
    at = aggregate.tally.last_seen
    for text in ("", "pod-1"):
        query = Query(by=by, window=60 * SECOND, until=at - 100 * SECOND, limit=limit, text=text)
        few = snapshot(aggregate, query)
        with monkeypatch.context() as patched:
            patched.setattr(select, "FEW", 0)
            many = snapshot(aggregate, query)
        assert 0 < few.shown.attempts < 100
        assert many == few
