"""Attempts by time: bounded, whatever times records claim, and the directions together."""

from __future__ import annotations

from flowwatch.egress.timeline import BUCKETS, SECOND, TimelineCounter, together

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


def test_a_time_in_another_century_makes_it_no_longer() -> None:
    """One record's clock may say anything: the latest buckets are kept, and no more."""
    for odd in (0, -(2**62), 2**62):
        line = together([counted(NOW, NOW + SECOND), counted(odd, dropped=True)])
        assert len(line.forwarded) == len(line.dropped) <= BUCKETS
        assert sum(line.forwarded) + sum(line.dropped) in (1, 2)


def test_nothing_counted() -> None:
    assert together([TimelineCounter(), TimelineCounter()]).forwarded == ()
