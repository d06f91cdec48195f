"""An aggregate as it was filled in a window of time: the same rows, with what began in it alone."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.rows import SECOND
from flowwatch.egress.table import COUNTS


class Windowed(NamedTuple):
    """The window of a query, and what to ask in place of the aggregate."""

    aggregate: Aggregate
    window: tuple[int, int]
    """From when to when, in whole buckets (ns); zeros: all that was read."""
    too_many: bool
    """Whether a window was asked for that there are too many rows for."""
    rows: Sequence[int] | None = None
    """Those that had an attempt in it, in order; None: there is no window."""


def windowed(aggregate: Aggregate, query: Query, now: float) -> Windowed:
    """``aggregate`` as ``query`` asks for it; ``now``: seconds since 1970, where its window may end."""
    times = aggregate.row_times
    if not query.window:
        return Windowed(aggregate, (0, 0), False)
    # To the end of the second that it is: what comes now is in it.
    end = query.until or int(now * SECOND) + 1
    bounds = times.bounds(max(end - query.window, 0), end) if times is not None else (0, 0)
    counts = times.within(*bounds) if times is not None else None
    if counts is None:
        return Windowed(aggregate, (0, 0), True)
    seen = copy(aggregate)
    columns = seen.columns = copy(aggregate.columns)
    rows = len(columns)
    columns.counts = tuple([_padded(one, rows) for one in counts])
    any_of = list(map(sum, zip(*columns.counts, strict=True)))
    seconds = max((bounds[1] - bounds[0]) / SECOND, 1.0)
    columns.rate = array("d", [count / seconds for count in any_of])
    columns.rated = array("d", [now]) * rows
    # Noise stands in no time.
    columns.noise, columns.noise_of = {}, {way: {} for way in columns.noise_of}
    columns.rows_of = [0] * len(columns.rows_of)
    seen.totals = {way: [0] * len(COUNTS) for way in aggregate.totals}
    there = [row for row, count in enumerate(any_of) if count]
    for way in seen.totals:
        of_it = [row for row in there if columns.direction[row] == way]
        columns.rows_of[way] = len(of_it)
        seen.totals[way] = [sum([column[row] for row in of_it]) for column in columns.counts]
    return Windowed(seen, bounds, False, there)


def _padded(counts: array[int], rows: int) -> array[int]:
    """With a place for the rows that had no attempt with a time."""
    return counts + array("I", bytes(4 * (rows - len(counts)))) if len(counts) < rows else counts
