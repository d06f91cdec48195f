"""The dashboard with a real monitor over records by hand, driven without a terminal."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from flowwatch.egress.monitor import LiveMonitor
from flowwatch.egress.query import Monitor
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch, Flow
from flowwatch.flows.source import SourceState
from flowwatch.marks.live import LiveChanges
from flowwatch.tui.dashboard import dashboard
from flowwatch.tui.shell import Dashboard
from flowwatch.tui.state import Options
from tests.unit.tui.made import COMPLETE

PATIENCE = 30.0
"""Seconds that anything may take, on a machine that has other things to do."""


class Played:
    """A source whose records and state a test gives, while the monitor reads it."""

    def __init__(self, flows: Sequence[Flow] = (), state: SourceState = COMPLETE) -> None:
        self._wake = threading.Condition()
        self._waiting = list(flows)
        self._state = state
        self._closed = False

    def play(self, flows: Sequence[Flow]) -> None:
        with self._wake:
            self._waiting += flows
            self._wake.notify()

    def become(self, state: SourceState) -> None:
        with self._wake:
            self._state = state

    def batches(self) -> Iterator[Batch]:
        while not self._closed:
            with self._wake:
                if not self._waiting:
                    self._wake.wait(0.1)
                batch = Batch()
                batch.flows, self._waiting = self._waiting, []
            yield batch

    def state(self) -> SourceState:
        with self._wake:
            return self._state

    def close(self) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify()


class Driven:
    """A running dashboard: keys in, screen out."""

    def __init__(self, app: Dashboard, pilot: Pilot[int]) -> None:
        self.app = app
        self._pilot = pilot

    @property
    def screen(self) -> list[str]:
        """The lines on the screen, as a person sees them."""
        # Textual has no public way to read the screen but as SVG.
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.screen)

    @property
    def words(self) -> str:
        """The same with single spaces for all space and line ends."""
        return " ".join(self.text.split())

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)
        await self._pilot.pause()

    async def type(self, text: str) -> None:
        await self.press(*["space" if char == " " else char for char in text])

    async def click(self, text: str, line: int) -> None:
        """Click on a word in a line (from the end, where it is below 0)."""
        await self._pilot.click(offset=(self.screen[line].index(text), line % len(self.screen)))
        await self._pilot.pause()

    async def resize(self, columns: int, lines: int) -> None:
        await self._pilot.resize_terminal(columns, lines)
        await self._pilot.pause()

    async def until(self, there: Callable[[], object], what: str = "") -> None:
        """Wait until ``there`` holds; the screen is told when it never does."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while not there():
            assert loop.time() < end, f"never came: {what}\n{self.text}"
            await self._pilot.pause(0.02)

    async def sees(self, *texts: str) -> None:
        """Wait until all of ``texts`` are on the screen, wherever their lines are broken."""
        for text in texts:
            await self.until(partial(self.has, text), text)

    def has(self, text: str) -> bool:
        """Whether ``text`` is on the screen."""
        return text in self.text or text in self.words

    async def settled(self) -> None:
        """Wait until the screen answers what was asked for last."""
        await self.until(
            lambda: self.app.frame is not None and self.app.frame.question == self.app.feed.asked,
            "an answer",
        )
        await self._pilot.pause()


@asynccontextmanager
async def shown(
    monitor: Monitor,
    size: tuple[int, int] = (100, 30),
    changes: LiveChanges | None = None,
    **options: Any,
) -> AsyncIterator[Driven]:
    """The dashboard over ``monitor``; ``options`` are fields of Options."""
    chosen = Options(**({"theme": "mono"} | options))
    app = dashboard(lambda: monitor, chosen, changes=lambda: changes)
    async with app.run_test(size=size) as pilot:
        driven = Driven(app, pilot)
        try:
            await driven.settled()
            yield driven
        finally:
            app.feed.stop()


@asynccontextmanager
async def played(
    source: Played, size: tuple[int, int] = (100, 30), **options: Any
) -> AsyncIterator[Driven]:
    """The dashboard over a real monitor that reads ``source``."""
    join = Join()
    monitor, changes = LiveMonitor(source, live=False, join=join), LiveChanges(join)
    monitor.start()
    try:
        async with shown(monitor, size, changes, **options) as driven:
            yield driven
    finally:
        monitor.stop()


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine, within a time that only a hang exceeds."""
    asyncio.run(asyncio.wait_for(test, 60.0))


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
