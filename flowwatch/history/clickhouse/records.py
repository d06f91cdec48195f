"""The rows of a history in a database, as a source takes them: a page at a time, in their order."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import groupby
from typing import Any

from flowwatch.history.arrow import Arrow, load
from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.narrowing import narrowed
from flowwatch.history.clickhouse.tables import (
    EVENTS_TABLE,
    FLOWS_TABLE,
    Table,
    check,
    conditions,
    named,
    number_of,
    unreadable,
)
from flowwatch.history.columns import EVENTS
from flowwatch.history.events import Event, read_events
from flowwatch.history.reading import Doubles
from flowwatch.history.records import Key, Rows
from flowwatch.history.tables import Reader
from flowwatch.hubble.captures.replay import Selection
from flowwatch.hubble.filters.flags import Filters

PAGE = 65_536
"""Rows that are asked for, and held, at a time: as many as a row group of a file has."""
KNOWN = 1_000_000
"""Records at most that the server is to know again in all rows: 16 bytes each, in its memory."""


class TableRecords:
    """See :class:`flowwatch.history.records.Records`. What is asked is what the window and filters hold."""

    def __init__(self, database: Database, filters: Filters | None = None) -> None:
        """``filters``: flows that they surely don't let through need not come."""
        self._database = database
        self._filters = filters
        self._where: list[str] = []
        self._narrowed: list[str] = []
        self._closed = threading.Event()
        self._whole = 0
        self.problems: list[str] = []
        self.progress: float | None = None

    @property
    def name(self) -> str:
        """The URL, without who asks."""
        return self._database.name

    def open(self, window: Selection, closed: threading.Event) -> dict[str, tuple[int, int]]:
        """Ask for the spans of the runs."""
        check(self._database)
        self._closed = closed
        at = self._at
        # A record without a time is outside of any window, and 0 there.
        if window.timed:
            self._where.append(f"time >= {at(max(1, window.since or 0))}")
        if window.until is not None:
            self._where.append(f"time <= {at(window.until)}")
        try:
            found = spans(self._database, FLOWS_TABLE, self._where)
            self._narrow(doubles=Doubles(found).possible)
            self._whole = self._number()
        except OSError as error:
            raise unreadable(self._database, error) from None
        return found

    def _narrow(self, *, doubles: bool) -> None:
        """Leave at the server what no filter lets through. OSError."""
        passing = narrowed(self._filters) if self._filters else ""
        self._narrowed = [passing] if passing else []
        if not (passing and doubles):
            return
        if self._number() > KNOWN:
            self._narrowed = []
            return
        # The first one of a record counts: so all of those with the uuid of one that passes.
        those = f"SELECT uuid FROM {FLOWS_TABLE.name}{conditions([*self._where, passing])}"
        self._narrowed = [f"(isNull(uuid) OR uuid IN ({those}))"]

    def _number(self) -> int:
        return number_of(self._database, FLOWS_TABLE, [*self._where, *self._narrowed])

    def widen(self) -> bool:
        """By asking for the window alone."""
        if not self._narrowed:
            return False
        self._narrowed = []
        try:
            self._whole = self._number()
        except OSError as error:
            raise unreadable(self._database, error) from None
        return True

    def span(self) -> tuple[int, int] | None:
        """Asked of the server."""
        number, some = self._database.flavour.number("time"), conditions([f"time >= {self._at(1)}"])
        try:
            found = self._database.rows(
                f"SELECT count(), min({number}), max({number}) FROM {FLOWS_TABLE.name}{some}"
            )
        except OSError as error:
            raise unreadable(self._database, error) from None
        return (int(found[0][1]), int(found[0][2])) if int(found[0][0]) else None

    def _at(self, time: int) -> str:
        return self._database.flavour.at(time)

    def events(self) -> Iterator[tuple[Key, list[Event]]]:
        """All of them, whatever the window: the source knows which ones belong there."""
        seen: set[tuple[str, int]] = set()
        told: list[Event] = []
        for table in self._pages(EVENTS_TABLE, []):
            numbers = table.column("number").to_pylist()
            for event, number in zip(read_events(table.select(_EVENTS)), numbers, strict=True):
                if (event.run, number) not in seen:
                    seen.add((event.run, number))
                    told.append(event)
        for key, events in groupby(told, key=lambda one: (one.recorded, one.run)):
            yield key, list(events)

    def rows(self) -> Iterator[tuple[Key, Rows]]:
        """The flows by batch; one that was inserted twice counts once."""
        read = 0
        for table in self._pages(FLOWS_TABLE, [*self._where, *self._narrowed]):
            self.progress, read = read / max(self._whole, 1), read + table.num_rows
            places = [_plain(table, name) for name in ("recorded", "run", "sequence", "server")]
            flows = flows_of(table)
            each = zip(*places, flows, strict=True)
            for key, group in groupby(each, key=lambda one: (one[0], one[1])):
                batch = list(group)
                found = {sequence: flow for _, _, sequence, _, flow in batch}
                yield key, Rows(batch[0][3], list(found.items()))

    def _pages(self, table: Table, where: list[str]) -> Iterator[Arrow]:
        try:
            for page in pages(self._database, table, where):
                if self._closed.is_set():
                    return
                yield page
        except OSError as error:
            raise unreadable(self._database, error) from None


_EVENTS = [one.name for one in EVENTS]


def spans(database: Database, table: Table, where: Sequence[str]) -> dict[str, tuple[int, int]]:
    """By run, when the first and the last of its rows came, ns since 1970. OSError."""
    number = database.flavour.number
    found = database.rows(
        f"SELECT run, min({number('recorded')}), max({number('recorded')}) FROM {table.name}"
        f"{conditions(where)} GROUP BY run"
    )
    return {str(run): (int(first), int(last)) for run, first, last in found}


def pages(database: Database, table: Table, where: Sequence[str]) -> Iterator[Arrow]:
    """Rows in their order, so that what came at once is on one page. OSError."""
    pa, _ = load()
    columns = ", ".join(named(one.name) for one in table.columns)
    since, most = 0, PAGE
    while True:
        narrowed = conditions([*where, f"recorded >= {database.flavour.at(since)}"])
        sql = f"SELECT {columns} FROM {table.name}{narrowed} ORDER BY {', '.join(table.order)} LIMIT {most}"
        page = database.table(sql, table.columns)
        if page.num_rows < most:
            if page.num_rows:
                yield page
            return
        times = page.column("recorded").cast(pa.int64()).to_pylist()
        whole = times.index(times[-1])
        if not whole:
            # All of a page came at once: the next one has to be larger.
            most *= 2
            continue
        yield page.slice(0, whole)
        since, most = times[-1], PAGE


def flows_of(table: Arrow) -> list[Any]:
    """The flows of rows of several inserts, whose groups are numbered each for itself."""
    if not table.num_rows:
        return []
    pa, _ = load()
    compute: Any = import_module("pyarrow.compute")
    inserts = pa.table({"run": table.column("run"), "flush": table.column("flush")})
    known = {
        tuple(row.values()): number
        for number, row in enumerate(inserts.group_by(["run", "flush"]).aggregate([]).to_pylist())
    }
    numbers = pa.array(
        [known[key] for key in zip(*(inserts.column(name).to_pylist() for name in ("run", "flush")),
                                   strict=True)],
        pa.int64(),
    )  # fmt: skip
    for name in ("kind_group", "ends_group"):
        at = table.column_names.index(name)
        whole = compute.add(compute.multiply(numbers, _INSERT), table.column(name))
        table = table.set_column(at, name, whole)
    return Reader().flows(table)


_INSERT = 1 << 24
"""More than there are groups in an insert."""


def _plain(table: Arrow, name: str) -> list[Any]:
    column = table.column(name)
    return list((column.cast("int64") if name == "recorded" else column).to_pylist())
