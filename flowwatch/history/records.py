"""The rows of a history that are read, as a source takes them: by batch, in the order in which these came.

Of files here; a database has its own (:mod:`flowwatch.history.clickhouse.records`).
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol, runtime_checkable

from flowwatch.flows.model import Flow
from flowwatch.history.arrow import Arrow
from flowwatch.history.columns import EVENTS, FLOWS, Kept
from flowwatch.history.events import Event, read_events
from flowwatch.history.parquet_files import Group
from flowwatch.history.place import Place
from flowwatch.history.store import Listing, Piece, Unreadable, listing, spans
from flowwatch.history.store import rows as rows_of
from flowwatch.history.tables import Reader
from flowwatch.hubble.captures.replay import Selection
from flowwatch.text import safe

Key = tuple[int, str]
"""When a batch came, and its run."""


@dataclass(slots=True)
class Rows:
    """The flows of one batch, or of a part of it."""

    server: str
    flows: list[tuple[int, Flow]] = field(default_factory=list)
    """With their sequence."""


@runtime_checkable
class Records(Protocol):
    """Where they lie. ``events`` and ``rows`` come behind ``open``."""

    problems: list[str]
    """What was left out, and why: a safe line each."""
    progress: float | None
    """How much of the rows was read, 0 to 1; None before it is known."""

    @property
    def name(self) -> str:
        """Of the place, safe to print."""

    def open(self, window: Selection, closed: threading.Event) -> dict[str, tuple[int, int]]:
        """By run, when the first and the last of its rows came. Reading ends soon behind ``closed``.

        What is outside of ``window`` may come or not. InputError for what is no history.
        """

    def events(self) -> Iterator[tuple[Key, list[Event]]]:
        """What was told, by batch."""

    def rows(self) -> Iterator[tuple[Key, Rows]]:
        """The flows by batch; those that surely no filter lets through come or not."""

    def widen(self) -> bool:
        """Have ``rows`` give them all from now on; whether it hasn't so far."""

    def span(self) -> tuple[int, int] | None:
        """The times of the earliest and the latest record there is, in whatever window; None for none."""


class FileRecords:
    """Those of files."""

    def __init__(
        self,
        place: Place,
        *,
        found: Listing | None = None,
        after: int = -1,
        nodes: dict[str, str] | None = None,
    ) -> None:
        """``found``: what lies there, if that is known; ``after``: only what came later, ns since 1970;
        ``nodes``: the texts of nodes that were met before."""
        self._place = place
        self._listing, self._after, self._nodes = found, after, nodes
        self._window = Selection()
        self._closed = threading.Event()
        self._found = Listing()
        self.problems: list[str] = []
        self.progress: float | None = None

    @property
    def name(self) -> str:
        """The place's."""
        return self._place.name

    def open(self, window: Selection, closed: threading.Event) -> dict[str, tuple[int, int]]:
        """List the files."""
        self._window, self._closed = window, closed
        self._found = self._listing or listing(self._place, since=window.since, until=window.until)
        self.problems += self._found.left_out
        return spans(self._found.flows)

    def events(self) -> Iterator[tuple[Key, list[Event]]]:
        every: dict[Key, list[Event]] = {}
        for piece in self._found.events:
            for group in piece.groups:
                if group.recorded[1] <= self._after:
                    continue
                table = self._table(piece, group, EVENTS)
                for one in read_events(table) if table is not None else ():
                    if one.recorded > self._after:
                        every.setdefault((one.recorded, one.run), []).append(one)
        yield from sorted(every.items())

    def rows(self) -> Iterator[tuple[Key, Rows]]:
        """All; a row group is read when its first row is due: what lies in memory is what overlaps."""
        window = self._window
        groups = [
            (group.recorded[0], number, piece, group)
            for number, piece in enumerate(self._found.flows)
            for group in piece.groups
            if group.recorded[1] > self._after and (not window.timed or _overlaps(window, group))
        ]
        groups.sort(key=lambda one: one[:2])
        reader = Reader(self._nodes)
        ready: dict[Key, Rows] = {}
        due: list[Key] = []
        read, whole = 0, sum(group.rows for *_, group in groups)
        for first, _, piece, group in groups:
            self.progress, read = read / max(whole, 1), read + group.rows
            while due and due[0][0] < first:
                key = heapq.heappop(due)
                yield key, ready.pop(key)
            table = self._table(piece, group, FLOWS)
            if table is None:
                continue
            if group.recorded[0] <= self._after:
                table = table.filter(came_after(table, self._after))
            try:
                flows = reader.flows(table)
            except (TypeError, ValueError):
                # Nothing stands where something must.
                self._problem(f"{safe(piece.path)} is damaged")
                continue
            places = zip(
                table.column("recorded").cast("int64").to_pylist(),
                table.column("run").to_pylist(),
                table.column("sequence").to_pylist(),
                table.column("server").to_pylist(),
                flows,
                strict=True,
            )
            for recorded, run, sequence, server, flow in places:
                rows = ready.get((recorded, run))
                if rows is None:
                    rows = ready[recorded, run] = Rows(server)
                    heapq.heappush(due, (recorded, run))
                rows.flows.append((sequence, flow))
        while due:
            key = heapq.heappop(due)
            yield key, ready.pop(key)

    def widen(self) -> bool:
        """There is nothing to do."""
        return False

    def span(self) -> tuple[int, int] | None:
        """By the footers of all files."""
        groups = [group.times for one in listing(self._place).flows for group in one.groups]
        times = [time for both in groups for time in both if time]
        return (min(times), max(times)) if times else None

    def _table(self, piece: Piece, group: Group, columns: tuple[Kept, ...]) -> Arrow | None:
        """The rows of a group; None, and a line for the notes, where they can't be read."""
        if self._closed.is_set():
            return None
        try:
            return rows_of(piece, columns, group)
        except Unreadable as error:
            self._problem(str(error))
        return None

    def _problem(self, line: str) -> None:
        if line not in self.problems:
            self.problems.append(line)


def came_after(table: Arrow, time: int) -> Arrow:
    """For each row whether it was recorded after ``time`` (ns since 1970)."""
    compute = import_module("pyarrow.compute")
    return compute.greater(table.column("recorded").cast("int64"), time)


def _overlaps(window: Selection, group: Group) -> bool:
    first, last = group.times
    return (window.since is None or last >= window.since) and (
        window.until is None or first <= window.until
    )
