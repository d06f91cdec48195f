"""Windows of time, and why one has no record in it: else it looks as if there had been no traffic."""

from __future__ import annotations

from collections.abc import Iterable

from flowwatch.flows.clocks import date_and_time
from flowwatch.hubble.captures.replay import Selection


def why_empty(window: Selection, span: tuple[int, int] | None, what: str) -> list[str]:
    """Why no record of ``what`` lies within ``window``, a sentence; none where it is empty.

    ``span``: the times of its first and its last record (ns since 1970); None: it has none.
    """
    since, until = window.since, window.until
    if since is not None and until is not None and since > until:
        return ["no record lies in a window that ends before it begins"]
    if span is None:
        return []
    first, last = map(date_and_time, span)
    if since is not None and since > span[1]:
        return [f"no record is of that time: {what} ends at {last}"]
    if until is not None and until < span[0]:
        return [f"no record is of that time: {what} begins at {first}"]
    return [f"no record is of that time, though {what} goes from {first} to {last}"]


class Within:
    """A window, and the times that weren't in it as long as none was."""

    def __init__(self, window: Selection) -> None:
        self._window = window
        self._any = not window.timed
        self._times: list[int] = []

    def holds(self, time: int) -> bool:
        """Whether a record of ``time`` (0: none) lies within."""
        if self._window.holds(time):
            self._any = True
            return True
        if time and not self._any:
            self._times = [min([time, *self._times]), max([time, *self._times])]
        return False

    def words(self, others: Iterable[int]) -> list[str]:
        """Why none does, if none did; ``others`` are times (0: none) of records that weren't even read."""
        times = [*self._times, *filter(None, others)]
        if self._any:
            return []
        return why_empty(self._window, (min(times), max(times)) if times else None, "the capture")
