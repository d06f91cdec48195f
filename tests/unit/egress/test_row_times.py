"""A timeline of some rows alone: each row knows when its attempts began, in bounded memory."""

from __future__ import annotations

import random

from flowwatch.egress.query import Query
from flowwatch.egress.row_times import RowTimes
from flowwatch.egress.rows import SECOND, Timeline
from flowwatch.egress.view import snapshot
from tests.unit.egress.made import counted, traffic
from tests.unit.flows.made import denied, flow

NOW = 1_700_000_000 * SECOND


def timeline(times: RowTimes, *rows: int) -> Timeline:
    found = times.timeline(rows)
    assert found is not None
    return found


def test_a_filter_leaves_the_timeline_of_its_rows() -> None:
    aggregate = counted(
        flow(0),
        flow(5, source_port=2),
        *denied(7, source_port=3, destination_ip="9.9.9.9"),
    )
    whole = snapshot(aggregate, Query())
    assert (whole.timeline.forwarded, whole.timeline.dropped) == ((1, 1, 0), (0, 0, 1))
    blocked = snapshot(aggregate, Query(text="9.9.9.9"))
    assert (blocked.timeline.forwarded, blocked.timeline.dropped) == ((0,), (1,))
    assert blocked.timeline.start == whole.timeline.start + 7 * SECOND
    assert not blocked.of_all


def test_the_timelines_of_all_rows_are_that_of_the_whole() -> None:
    aggregate = counted(*traffic(500))
    whole = snapshot(aggregate, Query(direction="both"))
    assert aggregate.row_times is not None
    rows = range(len(aggregate.columns))
    assert aggregate.row_times.timeline(rows) == whole.timeline


def test_noise_is_in_no_figure_so_in_no_timeline_and_in_no_rate() -> None:
    """Rows of nothing else are folded; what is left is the whole, not a part of it."""
    quiet = denied(3, 132, protocol="ICMPv6", destination_ip="ff02::2", destination_port=133,
                   source_port=0, tcp_flags=0)  # fmt: skip
    aggregate = counted(flow(), *quiet)
    for noise in (True, False):
        shown = snapshot(aggregate, Query(noise=noise))
        assert (shown.timeline.forwarded, shown.timeline.dropped) == ((1,), (0,))
        assert (shown.shown, shown.of_all) == (shown.totals, False)
    assert snapshot(aggregate, Query(text="ff02")).timeline.buckets == ()


def test_an_attempt_that_is_denied_in_the_end_is_no_longer_among_the_forwarded() -> None:
    aggregate = counted(flow(), *denied(1), flow(2, destination_ip="9.9.9.9"))
    shown = snapshot(aggregate, Query(text="1.2.3.4")).timeline
    assert (sum(shown.forwarded), sum(shown.dropped)) == (0, 1)


def test_rows_that_are_folded_bring_their_times() -> None:
    flows = [flow(i, destination_ip=f"1.1.1.{i}", source_port=i + 1) for i in range(9)]
    aggregate = counted(*flows, max_rows=4)
    assert aggregate.folded_rows
    others = snapshot(aggregate, Query(text="other"))
    assert sum(others.timeline.forwarded) == others.shown.forwarded > 1


def test_when_the_cells_run_out_buckets_get_wider_and_nothing_is_lost() -> None:
    times, chance = RowTimes(cells=64, rows=8), random.Random(1)
    counts = {(row, dropped): 0 for row in range(8) for dropped in (True, False)}
    for _ in range(3_000):
        row, dropped = chance.randrange(8), chance.random() < 0.3
        counts[row, dropped] += 1
        times.add(row, NOW + chance.randrange(3_600) * SECOND, dropped)
        assert times._used <= 64
    assert times.width > SECOND
    for row in range(8):
        line = timeline(times, row)
        assert line.buckets == tuple(sorted(set(line.buckets)))
        assert (sum(line.forwarded), sum(line.dropped)) == (counts[row, False], counts[row, True])


def test_what_was_counted_can_be_taken_back_after_that() -> None:
    times = RowTimes(cells=8, rows=2)
    for second in range(30):
        times.add(0, NOW + second * SECOND, False)
    times.add(0, NOW, False, -1)
    times.add(0, NOW, True)
    line = timeline(times, 0)
    assert (sum(line.forwarded), sum(line.dropped)) == (29, 1)


def test_too_many_rows_have_none_of_their_own() -> None:
    """The view then shows that of all rows, and says so."""
    times = RowTimes(cells=64, rows=8)
    for row in range(9):
        assert times.timeline([0]) is not None
        times.add(row, NOW, False)
    assert times.timeline([0]) is None
    aggregate = counted(flow(), *denied(1, destination_ip="9.9.9.9", source_port=2))
    aggregate.row_times = times
    shown = snapshot(aggregate, Query(text="9.9.9.9"))
    assert shown.of_all
    assert (sum(shown.timeline.forwarded), sum(shown.timeline.dropped)) == (1, 1)
