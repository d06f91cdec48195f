"""A history as a source: the batches that its recorders took, as they were, in their order.

What lies in the files is merged by when it came, a few row groups in memory at a time. Where two
recorders ran at the same time, a record that both have counts once. What is missing (files that are
damaged, gaps in recording) is told in the batches, as a live source tells it.
"""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from flowwatch.errors import InputError
from flowwatch.flows.first_or_last import first_or_last
from flowwatch.flows.identity import lasting_identity
from flowwatch.flows.model import Batch, Flow
from flowwatch.flows.source import SourceState, in_hundredths
from flowwatch.flows.within import why_empty
from flowwatch.history.events import Event, add_to
from flowwatch.history.matching import Matching
from flowwatch.history.place import Place
from flowwatch.history.places import place_of
from flowwatch.history.records import FileRecords, Key, Records, Rows
from flowwatch.hubble.captures.replay import Selection
from flowwatch.text import left_out

_KNOWN = 500_000
"""Records of one recorder remembered at least, to know them again in another's."""
_WRITTEN_WITHIN = 600_000_000_000
"""Nanoseconds: what waits for a full or slow disk longer than this may count twice after a restart."""


class Pause(NamedTuple):
    """A moment between two batches: where all that came until then was given, and more follows."""

    at: int
    """Nanoseconds since 1970."""
    then: Callable[[], None]
    """Called once."""


class KeptDoubles(msgspec.Struct, array_like=True):
    """Records that may come twice, by :func:`lasting_identity`, and which run brought each."""

    runs: list[str]
    young: tuple[bytes, bytes]
    old: tuple[bytes, bytes]


class HistorySource:
    """Flows of the history at ``where`` that pass ``matching``, within ``window``.

    ``batches()`` raises InputError for what is no history.
    """

    def __init__(
        self,
        where: str | Place | Records,
        *,
        matching: Matching | None = None,
        window: Selection | None = None,
        pause: Pause | None = None,
        doubles: KeptDoubles | None = None,
    ) -> None:
        """``where`` is files, or whatever else gives their rows; ``doubles``: what was known before."""
        self._records: Records = (
            where if isinstance(where, Records) else FileRecords(place_of(where))
        )
        self._matching = matching
        self._window = window or Selection()
        self._pause, self._known = pause, doubles
        self._doubles = Doubles({})
        self._held = False
        """Whether a record lies within the window."""
        self._closed = threading.Event()
        self._state = SourceState(f"history {self._records.name}", "connecting", since=time.time())

    def state(self) -> SourceState:
        """Where it stands."""
        state = self._state
        if state.phase != "reading":
            return state
        return replace(state, progress=in_hundredths(self._records.progress))

    @property
    def left_out(self) -> bool:
        """Whether a file could not be read so far."""
        return bool(self._records.problems)

    @property
    def doubles(self) -> KeptDoubles:
        """What is known by now of records that may come twice."""
        return self._doubles.kept()

    def close(self) -> None:
        """End ``batches()`` soon."""
        self._closed.set()

    def _phase(self, phase: str, message: str = "") -> None:
        self._state = SourceState(self._state.where, phase, message, since=time.time())

    def batches(self) -> Iterator[Batch]:
        """The batches; see the class."""
        self._phase("reading")
        try:
            yield from first_or_last(self._all(), self._window.first, self._window.last)
        except InputError as error:
            self._phase("failed", str(error))
            raise
        self._phase("ended")

    def _all(self) -> Iterator[Batch]:
        window, matching = self._window, self._matching
        spans = self._records.open(window, self._closed)
        doubles = self._doubles = Doubles(spans, self._known)
        pause = self._pause
        for key, told, rows in self._merged():
            if pause is not None and key[0] > pause.at:
                pause.then()
                pause = None
            if self._closed.is_set():
                return
            events = [one for one in told if not window.timed or _within(window, one)]
            flows = self._shown(key, rows, doubles) if rows else []
            for server in dict.fromkeys(
                [one.server for one in events] + ([rows.server] if rows else [])
            ):
                batch = Batch(origin=server)
                if rows is not None and rows.server == server:
                    batch.flows = flows
                add_to(batch, [one for one in events if one.server == server])
                if batch:
                    yield batch
        if matching is not None and not matching.passed and self._records.widen():
            # Why nothing passed is told by what was left out.
            matching.again()
            doubles = Doubles(spans)
            for key, rows in self._records.rows():
                if self._closed.is_set():
                    return
                self._shown(key, rows, doubles)
        yield Batch(notes=[*self._notes(), *(matching.words() if matching else []), *self._empty()])

    def _shown(self, key: Key, rows: Rows, doubles: Doubles) -> list[Flow]:
        """The flows of a batch that are asked for."""
        flows = [flow for _, flow in sorted(rows.flows, key=lambda one: one[0])]
        flows = doubles.without(flows, key)
        if self._window.timed:
            flows = [flow for flow in flows if self._window.holds(flow.time)]
        self._held |= bool(flows)
        if self._matching is not None:
            flows = [flow for flow in flows if self._matching(flow)]
        return flows

    def _notes(self) -> list[str]:
        return left_out(self._records.problems, "the history")

    def _empty(self) -> list[str]:
        """Why no record lies within the window, if none does."""
        if self._held or self._records.problems or not self._window.timed:
            return []
        return why_empty(self._window, self._records.span(), "the history")

    # Merging ----------------------------------------------------------------------------------

    def _merged(self) -> Iterator[tuple[Key, list[Event], Rows | None]]:
        """What came at once, in the order of time: events and flows."""
        events = self._records.events()
        waiting = next(events, None)
        for key, rows in self._records.rows():
            while waiting is not None and waiting[0] < key:
                yield waiting[0], waiting[1], None
                waiting = next(events, None)
            if waiting is not None and waiting[0] == key:
                yield key, waiting[1], rows
                waiting = next(events, None)
            else:
                yield key, [], rows
        while waiting is not None:
            yield waiting[0], waiting[1], None
            waiting = next(events, None)


def _within(window: Selection, event: Event) -> bool:
    """As files have it: what is told of a time outside isn't told."""
    if event.what == "lost":
        return window.holds(event.at)
    if event.what != "gap":
        return True
    return (window.since is None or event.until >= window.since) and (
        window.until is None or event.since <= window.until
    )


class Doubles:
    """Knows the records again that two recorders have that ran at the same time, or nearly.

    What one has taken reaches the disk later: one that starts then doesn't know it, and asks for it again.
    """

    def __init__(self, spans: dict[str, tuple[int, int]], known: KeptDoubles | None = None) -> None:
        """``spans``: by run, when the first and the last of its rows came; ``known``: from before."""
        runs = sorted(spans.values())
        pairs = list(pairwise(runs))
        self._always = any(later[0] <= earlier[1] for earlier, later in pairs)
        self._starts = [
            later[0] for earlier, later in pairs if later[0] <= earlier[1] + _WRITTEN_WITHIN
        ]
        self._young: dict[int, str] = _read(known.young, known.runs) if known is not None else {}
        self._old: dict[int, str] = _read(known.old, known.runs) if known is not None else {}

    def kept(self) -> KeptDoubles:
        """What is known by now."""
        runs = list(dict.fromkeys([*self._young.values(), *self._old.values()]))
        numbers = {run: number for number, run in enumerate(runs)}
        young, old = (
            (array("Q", of).tobytes(), array("I", map(numbers.__getitem__, of.values())).tobytes())
            for of in (self._young, self._old)
        )
        return KeptDoubles(runs, young, old)

    def asked(self, until: int) -> tuple[bool, list[int]]:
        """By what was decided of records that came up to ``until`` (ns) whether they may be there twice."""
        return self._always, [one for one in self._starts if one <= until + _WRITTEN_WITHIN]

    @property
    def possible(self) -> bool:
        """Whether any can be."""
        return self._always or bool(self._starts)

    def _may_be(self, recorded: int) -> bool:
        """Whether what came at ``recorded`` (ns) may be there twice."""
        if self._always or not self._starts:
            return self._always
        at = bisect(self._starts, recorded)
        return any(
            abs(recorded - start) <= _WRITTEN_WITHIN
            for start in self._starts[max(0, at - 1) : at + 1]
        )

    def without(self, flows: list[Flow], key: Key) -> list[Flow]:
        """``flows`` that came at once without those that another run brought."""
        recorded, run = key
        if not self._may_be(recorded):
            return flows
        fresh = []
        for flow in flows:
            number = lasting_identity(flow)
            of = self._young.get(number) or self._old.get(number)
            if of is None:
                self._young[number] = run
            if of is None or of == run:
                fresh.append(flow)
        if len(self._young) >= _KNOWN:
            self._old, self._young = self._young, {}
        return fresh


def asked(spans: dict[str, tuple[int, int]], until: int) -> tuple[bool, list[int]]:
    """Of runs with these ``spans``: see :meth:`Doubles.asked`."""
    return Doubles(spans).asked(until)


def _read(kept: tuple[bytes, bytes], runs: list[str]) -> dict[int, str]:
    """ValueError or IndexError for what contradicts itself."""
    numbers, of = array("Q", kept[0]), array("I", kept[1])
    return {number: runs[run] for number, run in zip(numbers, of, strict=True)}
