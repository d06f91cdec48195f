"""The thread that asks the monitor, so that a key press never waits for a snapshot.

The app says what it wants (:meth:`Feed.ask`) and is told when a newer frame is there; it then takes
:attr:`Feed.frame`. At most FASTEST frames a second are made, and fewer when snapshots are dear: no
more than a tenth of the time goes into them. When nothing changes, none is made; once a second the
app is told all the same, as ages on the screen go on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowwatch.egress.query import Monitor, Query
from flowwatch.egress.rows import Recent, Snapshot
from flowwatch.flows.source import SourceState

if TYPE_CHECKING:
    from flowwatch.audits.findings import AuditReport
    from flowwatch.audits.live import LiveAudit

FASTEST = 0.2
"""Seconds between frames at least: five a second."""

SLOWEST = 2.0
"""Seconds between frames at most, however dear they are."""

COSTLY = 0.25
"""Seconds between frames that repaint much of a large screen: four a second."""

FAST_LINE = 15_000
"""Columns a second that may be painted before frames get rarer; with their styling some 25 KB."""

REPORT_EVERY = 1.0
"""Seconds between reports of the audit at least."""

STATE_EVERY = 0.25
"""Seconds between looks at the source's state (lost, back again)."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the app wants to be given."""

    query: Query
    key: int = 0
    """The row whose records are wanted, 0 for none."""
    records: int = 0
    """How many of them."""
    paused: bool = False
    audit: bool = False
    """Whether the audit's report is wanted."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the app shows until the next one."""

    wish: Wish
    """What it answers."""
    snapshot: Snapshot
    state: SourceState
    records: tuple[Recent, ...] = ()
    """The last records of row ``wish.key``."""
    attribution: tuple[str, ...] = ()
    """What blocked that row, by the policies that were given; empty without any."""
    report: AuditReport | None = None
    """The audit so far, while it is wanted."""
    taken: float = 0.0
    """time.time() of the snapshot."""
    behind: int = 0
    """When paused: records read since."""
    number: int = 0
    """Grows with each snapshot; equal numbers mean that only state, records or time differ."""


class Feed:
    """Makes frames in a thread of its own; all methods may be called from any thread."""

    def __init__(
        self,
        start: Callable[[], Monitor],
        told: Callable[[], None],
        wish: Wish,
        audit: LiveAudit | None = None,
    ) -> None:
        """``start`` is called once, in the thread; ``told`` whenever there is a newer frame.

        ``audit`` hears of all that the monitor reads, where policies were given.
        """
        self._start = start
        self._audit = audit
        self._report_due = 0.0
        self._told = told
        self._wish = wish
        self._wake = threading.Condition()
        self._stopped = False
        self._frame: Frame | None = None
        self._monitor: Monitor | None = None
        self._spent = 0.0
        self._second = 0
        self.painted = 0
        """Columns that the last frame changed on the screen; told by the app."""
        self.failure: BaseException | None = None
        """What ended the thread, if not :meth:`stop`: for the app to raise."""
        self._thread = threading.Thread(target=self._run, name="flowwatch-feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns soon."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def ask(self, wish: Wish) -> None:
        """Change what is wanted; an answer comes as soon as it can be made."""
        with self._wake:
            if wish != self._wish:
                self._wish = wish
                self._wake.notify()

    @property
    def frame(self) -> Frame | None:
        """The newest frame; None until the monitor has started."""
        return self._frame

    @property
    def monitor(self) -> Monitor | None:
        """The monitor, once it has started."""
        return self._monitor

    def _run(self) -> None:
        try:
            monitor = self._monitor = self._start()
            seen, due = -1, 0.0
            while not self._stopped:
                wish = self._wish
                frame = self._frame
                now = time.monotonic()
                revision = monitor.revision
                if frame is None or self._is_new(wish, frame):
                    frame, seen = self._snapshot(monitor, wish, frame), revision
                    due = time.monotonic() + self._pause()
                elif revision != seen and now >= due:
                    if wish.paused:
                        frame = self._behind(monitor, wish, frame)
                    else:
                        frame = self._snapshot(monitor, wish, frame)
                    seen = revision
                    due = time.monotonic() + max(self._pause(), 0.5 if wish.paused else 0.0)
                elif wish != frame.wish:
                    frame = self._records(monitor, wish, frame)
                frame = self._judged(wish, frame)
                self._deliver(frame, monitor.state())
                self._sleep(wish, due if monitor.revision != seen else 0.0)
        except BaseException as error:  # noqa: BLE001 - handed to the app, which raises it
            self.failure = error
            self._told()

    @staticmethod
    def _is_new(wish: Wish, frame: Frame) -> bool:
        """Whether other rows are wanted than the frame has, or a pause is over."""
        return wish.query != frame.wish.query or (frame.wish.paused and not wish.paused)

    def _snapshot(self, monitor: Monitor, wish: Wish, last: Frame | None) -> Frame:
        began = time.monotonic()
        snapshot = monitor.snapshot(wish.query)
        records = monitor.recent(wish.key, wish.records) if wish.key and wish.records else ()
        told = self._attribution(wish, snapshot)
        self._spent = time.monotonic() - began
        number = last.number + 1 if last is not None else 1
        report = last.report if last is not None else None
        return Frame(wish, snapshot, monitor.state(), records, told, report, time.time(), 0, number)

    def _records(self, monitor: Monitor, wish: Wish, frame: Frame) -> Frame:
        """Another row was selected, or a pause began: the rows stay as they are."""
        records = frame.records
        if (wish.key, wish.records) != (frame.wish.key, frame.wish.records):
            records = monitor.recent(wish.key, wish.records) if wish.key and wish.records else ()
            if wish.paused:
                last = frame.snapshot.records_read
                records = tuple([record for record in records if record.number <= last])
        told = frame.attribution
        if wish.key != frame.wish.key:
            told = self._attribution(wish, frame.snapshot)
        return replace(frame, wish=wish, records=records, attribution=told)

    def _attribution(self, wish: Wish, snapshot: Snapshot) -> tuple[str, ...]:
        """What blocked the row whose records are wanted."""
        if self._audit is None or not wish.key:
            return ()
        for row in snapshot.rows:
            if row.key == wish.key:
                return (
                    self._audit.attribution(
                        row.server,
                        row.direction,
                        row.namespace,
                        row.pod,
                        row.peer_addresses,
                        row.port,
                        row.protocol,
                    )
                    if row.dropped or row.audited
                    else ()
                )
        return ()

    def _judged(self, wish: Wish, frame: Frame) -> Frame:
        """The frame with the audit's report, a new one at most once a second, and then at most a
        tenth of the time; without it when it isn't wanted."""
        if self._audit is None or not wish.audit:
            self._report_due = 0.0
            return replace(frame, report=None) if frame.report is not None else frame
        began = time.monotonic()
        if began < self._report_due or (wish.paused and frame.report is not None):
            return frame
        report = self._audit.report()
        spent = time.monotonic() - began
        self._report_due = time.monotonic() + max(REPORT_EVERY, spent * 10)
        return frame if report is frame.report else replace(frame, report=report)

    def _behind(self, monitor: Monitor, wish: Wish, frame: Frame) -> Frame:
        began = time.monotonic()
        read = monitor.snapshot(Query(direction=wish.query.direction, limit=0)).records_read
        self._spent = time.monotonic() - began
        behind = max(read - frame.snapshot.records_read, 0)
        return replace(self._records(monitor, wish, frame), behind=behind)

    def _pause(self) -> float:
        slow_line = min(self.painted / FAST_LINE, COSTLY)
        return min(max(FASTEST, slow_line, self._spent * 10), SLOWEST)

    def _deliver(self, frame: Frame, state: SourceState) -> None:
        if state != frame.state:
            frame = replace(frame, state=state)
        told = self._frame
        self._frame = frame
        second = int(time.time())
        if frame is not told or second != self._second:
            self._second = second
            self._told()

    def _sleep(self, wish: Wish, due: float) -> None:
        """Until something is wanted, the next frame is due, or the state should be looked at."""
        with self._wake:
            if self._stopped or wish is not self._wish:
                return
            left = due - time.monotonic() if due else STATE_EVERY
            self._wake.wait(min(max(left, 0.005), STATE_EVERY))
