"""How each row's attempts went, in the order of time: "forwarded until 11:17:41, dropped since 11:17:43".

    turns = Turns()
    turns.add(row, FORWARDED, 100), turns.add(row, DROPPED, 102)
    turns.of(row)

Times are those at which it was decided what became of an attempt: its first record, or the one that made
another outcome of it. A row whose attempts all went alike takes 29 bytes. From the second outcome on it
keeps the times of single attempts, KEPT at most (3 KB): both ends of each run and the latest are exact, as
long as no more than that come out of order.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping

from flowwatch.egress.rows import Run
from flowwatch.flows.meaning import OUTCOMES, UNKNOWN
from flowwatch.flows.ranges import LATEST

KEPT = 48
"""Attempts of a row whose times are kept."""

_LATEST = 16
"""Of these, the latest, whatever they were: one of them may yet become another."""

_AT_ONCE = 256
"""Rows that are given a place together."""

_NONE = -1


class Turns:
    """Times by row and outcome, in any order of time. One thread."""

    def __init__(self) -> None:
        # Of rows whose attempts all went alike: how, how many, the first, the last two.
        self._outcome = array("b")
        self._count = array("I")
        self._first = array("q")
        self._before = array("q")
        self._last = array("q")
        self._several: dict[int, list[tuple[int, int]]] = {}
        """Of all other rows: times and outcomes, in order."""

    def add(self, row: int, outcome: int, time: int, by: int = 1) -> None:
        """An attempt of ``row`` went so at ``time`` (ns); ``by`` -1: it did not, after all."""
        if outcome == UNKNOWN or time <= 0:
            return
        if row >= len(self._last):
            self._grow(row)
        events = self._several.get(row)
        if events is None:
            if by < 0:
                self._take(row, time)
                return
            known = self._outcome[row]
            if known == outcome:
                # Mostly one more, and the latest.
                self._count[row] += 1
                last = self._last[row]
                if time >= last:
                    self._before[row], self._last[row] = last, time
                elif time > self._before[row]:
                    self._before[row] = time
                if time < self._first[row]:
                    self._first[row] = time
                return
            if known == _NONE:
                self._outcome[row], self._count[row] = outcome, 1
                self._first[row] = self._last[row] = time
                return
            events = self._several[row] = self._known(row)
        if by > 0:
            insort(events, (time, outcome))
            if len(events) > KEPT:
                events[:] = _fewer(events)
        else:
            place = bisect_left(events, (time, outcome))
            if events[place : place + 1] == [(time, outcome)]:
                del events[place]

    def _grow(self, row: int) -> None:
        """Have a place for ``row``, and for some that will follow: five columns cost 1.5 us to grow."""
        more = max(row + 1 - len(self._last), _AT_ONCE)
        self._outcome.extend([_NONE] * more)
        self._count.extend([0] * more)
        for column in (self._first, self._before, self._last):
            column.extend([0] * more)

    def _take(self, row: int, time: int) -> None:
        if not self._count[row]:
            return
        self._count[row] -= 1
        if not self._count[row]:
            self._outcome[row] = _NONE
            self._first[row] = self._before[row] = self._last[row] = 0
        elif time == self._last[row]:
            self._last[row] = self._before[row] or self._first[row]
        elif time == self._before[row]:
            self._before[row] = 0
        if self._count[row] == 1:
            self._first[row], self._before[row] = self._last[row], 0

    def _known(self, row: int) -> list[tuple[int, int]]:
        outcome = self._outcome[row]
        times = {self._first[row], self._before[row], self._last[row]} - {0}
        return [(time, outcome) for time in sorted(times)]

    def of(self, row: int) -> tuple[Run, ...]:
        """The row's runs of attempts that went alike, the latest last; none when nothing is known."""
        events = self._several.get(row)
        if events is None:
            if row >= len(self._last) or self._outcome[row] == _NONE:
                return ()
            return (Run(OUTCOMES[self._outcome[row]], self._first[row], self._last[row]),)
        runs: list[list[int]] = []
        for time, outcome in events:
            if runs and runs[-1][0] == outcome:
                runs[-1][2] = time
            else:
                runs.append([outcome, time, time])
        return tuple([Run(OUTCOMES[outcome], first, last) for outcome, first, last in runs])

    def shift(self, back: Callable[[int], int]) -> None:
        """Set each row back by so many nanoseconds as ``back`` says of it."""
        for row, outcome in enumerate(self._outcome):
            if (outcome == _NONE and row not in self._several) or not (by := back(row)):
                continue
            for column in (self._first, self._before, self._last):
                if column[row]:
                    column[row] = _back(column[row], by)
            if (events := self._several.get(row)) is not None:
                events[:] = sorted((_back(time, by), outcome) for time, outcome in events)

    def moved(self, moved: Mapping[int, int]) -> Turns:
        """The same by the numbers that rows have now; of several that became one it is put together."""
        new = Turns()
        for row, count in zip(range(len(moved)), self._count, strict=False):
            events, to = self._several.get(row), moved[row]
            for time, outcome in self._known(row) if events is None else events:
                new.add(to, outcome, time)
            if events is None and count:
                new._count[to] = max(new._count[to], count)
        return new


def _back(time: int, by: int) -> int:
    return min(max(time - by, 1), LATEST)


def _fewer(events: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ends of runs, and the latest; where that is still too many, no more than the latest."""
    settled = len(events) - _LATEST
    kept = [
        event
        for place, event in enumerate(events)
        if place in (0, settled)
        or place > settled
        or not events[place - 1][1] == event[1] == events[place + 1][1]
    ]
    return kept if len(kept) <= KEPT * 3 // 4 else kept[-KEPT // 2 :]
