"""What changes in traffic, a line each: ``flowwatch --plain``, for screen readers and logs.

    events = Events()
    for line in events.look(monitor.snapshot(query), monitor.state(), changes.marks()):
        put(f"{line}\\n")

No colour, no sign, no cursor that moves: ``11:17:43 blocked: weather/weather-app (3 pods) to
telemetry.skydata.example:443, POLICY_DENIED, forwarded until 11:17:41``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from flowwatch.egress.rows import MIXED, Row, Run, Snapshot
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.coverage import Coverage, gap_words
from flowwatch.flows.source import NodeChange, SourceState
from flowwatch.marks.live import Seen
from flowwatch.report.came_back import state_words
from flowwatch.report.human import percent
from flowwatch.report.summary_table import peer_text, pod_text, reason_text
from flowwatch.text import plural, safe

COUNTS_EVERY = 60.0
"""Seconds between two lines of counts, where they changed."""

LOST_EVERY = 10.0
"""Seconds between two lines of lost events."""

_BLOCKED = {
    "dropped": "blocked",
    "audited": "would be denied, but audit mode is on",
    "error": "failed in Cilium's proxy",
}
"""What is said of attempts that went so."""

_PHASES = {"reading": "reading", "following": "connected"}


class Event(NamedTuple):
    """Something that changed."""

    time: int
    """Nanoseconds since 1970."""
    text: str


class Events:
    """Compares each look with the one before."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[int, str]] = {}
        """By row: when what was told last of it began, and what that was."""
        self._phases: dict[str, str] = {}
        self._had: set[str] = set()
        """Places that were connected once."""
        self._nodes = 0.0
        self._gaps = 0
        self._lost = 0
        self._lost_told = 0.0
        self._marks: set[Seen] = set()
        self._day = ""
        self._counts = ""
        self._counted = 0.0

    def look(
        self, taken: Snapshot, state: SourceState, marks: Iterable[Seen] = (), *, last: bool = False
    ) -> list[str]:
        """What is new, in the order of time; ``last``: with the counts, whenever these were told."""
        found = [
            *self._connection(state),
            *self._missing(taken.coverage, last=last),
            *self._policies(marks),
            *self._traffic(taken),
        ]
        found.sort(key=lambda one: one.time)
        lines = [line for event in found for line in self._lines(event)]
        return [*lines, *self._counts_line(taken, last=last)]

    def _lines(self, event: Event) -> Iterator[str]:
        day = time.strftime("%Y-%m-%d", time.gmtime(event.time / 1e9))
        if day != self._day:
            self._day = day
            yield f"{day}, times are UTC"
        yield f"{time_of_day(event.time)} {event.text}"

    def _connection(self, state: SourceState) -> Iterator[Event]:
        for one in (*state.servers, *(() if state.servers else (state,))):
            if self._phases.get(one.where) != one.phase:
                self._phases[one.where] = one.phase
                yield Event(int((one.since or time.time()) * 1e9), self._phase_words(one))
                if one.phase in _PHASES:
                    self._had.add(one.where)
            yield from self._node_changes(one.changes)

    def _phase_words(self, state: SourceState) -> str:
        where, why = safe(state.where), safe(state.message) or "no reason given"
        had = state.where in self._had
        if state.phase in _PHASES:
            again = " again" if had else ""
            return f"{_PHASES[state.phase]}{again}: {where}{_nodes_words(state)}"
        if state.phase == "lost":
            what = "connection lost" if had else "no connection yet"
            return f"{what}: {where}: {why}; it is tried again by itself"
        if state.phase == "failed":
            return f"failed: {where}: {why}"
        return f"end of {where}" if state.phase == "ended" else f"{safe(state.phase)} to {where}"

    def _node_changes(self, changes: Sequence[NodeChange]) -> Iterator[Event]:
        for change in changes:
            if change.since > self._nodes:
                why = f": {safe(change.why)}" if change.why else ""
                text = f"node {safe(change.name)} is {safe(change.state)}{why}"
                yield Event(int(change.since * 1e9), text)
        self._nodes = max([self._nodes, *(change.since for change in changes)])

    def _missing(self, seen: Coverage, *, last: bool) -> Iterator[Event]:
        gaps = seen.gaps_before + len(seen.gaps)
        new = min(gaps - self._gaps, len(seen.gaps))
        self._gaps = gaps
        for gap in seen.gaps[len(seen.gaps) - new :]:
            yield Event(gap.end, gap_words(gap))
        more = seen.lost_events - self._lost
        now = time.monotonic()
        if more > 0 and (last or now - self._lost_told >= LOST_EVERY):
            self._lost, self._lost_told = seen.lost_events, now
            nodes = ", ".join(
                dict.fromkeys(safe(one.node) or "an unnamed node" for one in seen.lost)
            )
            yield Event(
                max(one.last for one in seen.lost) or time.time_ns(),
                f"{plural(more, 'event')} lost on {nodes}: counts are at least",
            )

    def _policies(self, marks: Iterable[Seen]) -> Iterator[Event]:
        for mark in marks:
            if mark not in self._marks:
                self._marks.add(mark)
                names = ", ".join(safe(name) for name in mark.policies) or "not named"
                yield Event(mark.time, f"policies changed: {names}")

    def _traffic(self, taken: Snapshot) -> Iterator[Event]:
        shown: dict[int, tuple[int, str]] = {}
        for row in taken.rows:
            told, was = self._rows.get(row.key, (0, ""))
            if row.state == MIXED:
                if was != MIXED:
                    told, was = row.last_seen, MIXED
                    yield Event(told, _mixed_words(row))
            else:
                for run in _runs(row):
                    if run.since <= told or run.state == was:
                        continue
                    if run.state in _BLOCKED:
                        yield Event(run.since, _blocked_words(row, run))
                    elif was in _BLOCKED:
                        yield Event(run.since, f"allowed again: {_who(row)}")
                    told, was = run.since, run.state
            shown[row.key] = told, was
        self._rows = shown

    def _counts_line(self, taken: Snapshot, *, last: bool) -> Iterator[str]:
        counts, now = counts_words(taken), time.monotonic()
        due = last or not self._counted or now - self._counted >= COUNTS_EVERY
        if due and (last or counts != self._counts) and taken.coverage.first_seen:
            self._counts, self._counted = counts, now
            yield from self._lines(Event(taken.coverage.last_seen, counts))


def counts_words(taken: Snapshot) -> str:
    """``counts from 11:16:10 to 11:21:20: at least 148 dropped, 515 forwarded, 22.3% dropped``."""
    seen, shown = taken.coverage, taken.shown
    least = "at least " if seen.at_least else ""
    numbers = [f"{shown.dropped:,} dropped", f"{shown.forwarded:,} forwarded"]
    numbers += [f"{shown.audited:,} audited"] if shown.audited else []
    numbers += [f"{plural(shown.errors, 'error')}"] if shown.errors else []
    numbers += [f"{percent(shown.dropped_share)} dropped"] if shown.attempts else []
    window = f"from {time_of_day(seen.first_seen)} to {time_of_day(seen.last_seen)}"
    return f"counts {window}: {least}{', '.join(numbers)}"


def _nodes_words(state: SourceState) -> str:
    if state.nodes_connected is None:
        return ""
    away = state.nodes_unavailable or 0
    unseen = f", {away} of them unseen" if away else ""
    return f", {plural(state.nodes_connected + away, 'node')}{unseen}"


def _runs(row: Row) -> Sequence[Run]:
    return row.runs or (Run(row.state, row.first_seen, row.last_seen),)


def _who(row: Row) -> str:
    way = "from" if row.direction == "ingress" else "to"
    return f"{pod_text(row)} {way} {peer_text(row)}"


def _mixed_words(row: Row) -> str:
    told = state_words(row).removeprefix("by turns: ")
    how = told or f"{row.dropped:,} dropped, {row.forwarded:,} forwarded so far"
    return f"now this way, now that: {_who(row)}: {how}"


def _blocked_words(row: Row, run: Run) -> str:
    why = [reason_text(row), safe(row.cause)] if run.state == "dropped" else []
    place = row.runs.index(run) if run in row.runs else 0
    if place and row.runs[place - 1].state == "forwarded":
        why.append(f"forwarded until {time_of_day(row.runs[place - 1].until)}")
    return ", ".join([f"{_BLOCKED[run.state]}: {_who(row)}", *filter(None, why)])
