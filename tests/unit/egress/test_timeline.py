"""Attempts by time: bounded, whatever times records claim, and the directions together."""

from __future__ import annotations

from flowwatch.egress.rows import SECOND
from flowwatch.egress.timeline import BUCKETS, TimelineCounter, together

NOW = 1_700_000_000 * SECOND


def counted(*times: int, dropped: bool = False) -> TimelineCounter:
    counter = TimelineCounter()
    for time in times:
        counter.add(time, dropped)
    return counter


def test_both_directions_in_one_line() -> None:
    line = together([counted(NOW, NOW + SECOND), counted(NOW + 2 * SECOND, dropped=True)])
    assert (line.start, line.width) == (NOW, SECOND)
    assert line.forwarded == (1, 1, 0)
    assert line.dropped == (0, 0, 1)


def test_the_finer_one_fits_into_the_coarser() -> None:
    long = counted(*(NOW + second * SECOND for second in range(2 * BUCKETS)))
    line = together([counted(NOW + 5 * SECOND, dropped=True), long])
    assert line.width == long.width > SECOND
    assert sum(line.forwarded) == 2 * BUCKETS
    assert sum(line.dropped) == 1


def test_quiet_time_takes_no_room_and_cuts_nothing_away() -> None:
    """A capture of a day, with a minute of traffic at each end."""
    day = 86_400 * SECOND
    line = counted(*(NOW + at + i * SECOND for at in (0, day) for i in range(60))).snapshot()
    assert (line.start, line.width) == (NOW, SECOND)
    assert sum(line.forwarded) == len(line.buckets) == 120


def test_a_time_in_another_century_costs_no_more_than_any() -> None:
    """One record's clock may say anything."""
    for odd in (SECOND, 2**62):
        line = together([counted(NOW, NOW + SECOND), counted(odd, dropped=True)])
        assert len(line.buckets) == len(line.forwarded) == len(line.dropped) == 3
        assert sum(line.forwarded) + sum(line.dropped) == 3


def test_what_has_no_time_is_at_none() -> None:
    assert counted(0).snapshot().buckets == ()


def test_nothing_counted() -> None:
    assert together([TimelineCounter(), TimelineCounter()]).buckets == ()
