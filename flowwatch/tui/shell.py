"""The Textual application: puts the parts on the screen, hands them frames, and keys to actions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import App, ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.timer import Timer

from flowwatch.egress.query import Monitor, Query
from flowwatch.egress.rows import Snapshot
from flowwatch.errors import Stopped
from flowwatch.flows.source import SourceState
from flowwatch.tui import keys, prompt
from flowwatch.tui.actions import ACTIONS
from flowwatch.tui.driver import TerminalDriver
from flowwatch.tui.editor import Editor
from flowwatch.tui.feed import Feed, Frame, Wish
from flowwatch.tui.format import SECOND
from flowwatch.tui.garbage import TIDY_EVERY, tidy
from flowwatch.tui.hubble_command import HUBBLE
from flowwatch.tui.layout import layout, roomy
from flowwatch.tui.parts.banner import Banner, needed
from flowwatch.tui.parts.detail import RECORDS, Detail
from flowwatch.tui.parts.empty import empty_lines
from flowwatch.tui.parts.footer import Footer
from flowwatch.tui.parts.headline import Headline
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.parts.page import Page
from flowwatch.tui.parts.panel import Panel
from flowwatch.tui.parts.table import Table
from flowwatch.tui.parts.tail import Tail
from flowwatch.tui.parts.timeline import TimelineView
from flowwatch.tui.parts.title import Title
from flowwatch.tui.state import FIRST_LIMIT, LAST_LIMIT, ViewState
from flowwatch.tui.theme import FANCY, Look, Signs

if TYPE_CHECKING:
    from flowwatch.audits.live import LiveAudit

DEAF = 2.0
"""Seconds in which keys are ignored when the terminal owes an answer that would look like keys."""


@dataclass(frozen=True, slots=True)
class Options:
    """What :func:`flowwatch.tui.app.run` was asked for."""

    title: str = "flowwatch"
    filter_words: str = ""
    export_dir: Path = field(default_factory=Path.cwd)
    theme: str = "ansi"
    auto_theme: str = "ansi"
    signs: Signs = FANCY
    direction: str = "egress"
    drops_only: bool = False
    hubble: tuple[str, ...] = HUBBLE
    mouse: bool = True
    deaf: bool = False


class Dashboard(App[int]):
    """Rows of a monitor on a terminal."""

    CSS = """
    Screen { layout: vertical; overflow: hidden; }
    #body { height: 1fr; width: 1fr; }
    """
    TITLE = "flowwatch"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False

    class Told(Message):
        """The feed has a newer frame."""

    def __init__(
        self,
        start: Callable[[], Monitor],
        options: Options | None = None,
        audit: LiveAudit | None = None,
    ) -> None:
        # The terminal's own background, and colours as they are given.
        super().__init__(driver_class=TerminalDriver, ansi_color=True)
        self.options = options or Options()
        self.look = Look(self.options.theme, self.options.signs)
        self.view: ViewState = ViewState(
            title=self.options.title,
            filter_words=self.options.filter_words,
            query=Query(
                direction=self.options.direction,
                drops_only=self.options.drops_only,
                limit=FIRST_LIMIT,
            ),
            mouse=self.options.mouse,
        )
        self.audit = audit
        self.auditing = False
        """Whether the page on the screen is the audit's, which goes on."""
        self.feed = Feed(start, self._told, Wish(self.view.query), audit)
        self.frame: Frame | None = None
        self.editor: Editor | None = None
        self.history: dict[str, list[str]] = {"/": [], ":": []}
        self.interrupted = float("-inf")
        """time.monotonic() of the last ctrl-c."""
        self.defect: Exception | None = None
        """What nobody foresaw, and ended the app: for its owner to raise."""
        self.stopped: Stopped | None = None
        """The signal that ended it, if one did."""
        self._loop_now: asyncio.AbstractEventLoop | None = None
        self._awaited = False
        self._began = time.monotonic()
        self._message: tuple[str, str] | None = None
        self._message_timer: Timer | None = None
        self._banner_needed = False
        self.bar = Title()
        self.banner = Banner()
        self.headline = Headline()
        self.timeline = TimelineView()
        self.body = Container(id="body")
        self.table = Table()
        self.detail = Detail()
        self.tail = Tail()
        self.page = Page()
        self.footer = Footer()
        self.parts: tuple[Lines, ...] = (
            self.bar,
            self.banner,
            self.headline,
            self.timeline,
            self.table,
            self.detail,
            self.tail,
            self.page,
            self.footer,
        )

    def compose(self) -> ComposeResult:
        yield from (self.bar, self.banner, self.headline, self.timeline)
        with self.body:
            yield self.table
            yield self.detail
        yield from (self.tail, self.page, self.footer)

    def on_mount(self) -> None:
        for part in self.parts:
            part.look = self.look
        self._loop_now = asyncio.get_running_loop()
        self.arrange()
        self.call_after_refresh(self._first)

    def _first(self) -> None:
        self.repaint()
        self.call_after_refresh(self.feed.start)
        self.set_interval(TIDY_EVERY, tidy)

    # How it ends ----------------------------------------------------------------------------

    def stop(self, number: int) -> None:
        """Signal handler: leave as ``q`` does, at once the second time or when not yet there."""
        again, self.stopped = self.stopped is not None, Stopped(number)
        if again or self._loop_now is None or self._loop_now.is_closed():
            raise self.stopped
        self._loop_now.call_soon_threadsafe(self.exit, self.stopped.exit_code)

    def _handle_exception(self, error: Exception) -> None:
        """Textual's, which would print the traceback with everything that variables held."""
        self._return_code = 1
        if self._exception is None:
            # The owner of a worker is told of its error wrapped into another.
            cause = getattr(error, "error", None)
            self.defect = cause if isinstance(cause, Exception) else error
            self._exception = error
            self._exception_event.set()
        self._close_messages_no_wait()

    def give_up(self) -> None:
        """After the app was broken off from outside: end what still reads and writes."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.give_up()

    # What is on the screen ------------------------------------------------------------------

    @property
    def detail_open(self) -> bool:
        """Whether the detail is on the screen, when no page covers it."""
        if self.view.detail is None:
            return roomy(self.size.width, self.size.height)
        return self.view.detail

    @property
    def panel(self) -> Panel:
        """What scrolls beside the table."""
        return self.tail if self.view.tail and not self.detail.display else self.detail

    def arrange(self) -> None:
        """Give every part its lines; called when the terminal or the choice of parts changes."""
        plan = layout(
            self.size.width,
            self.size.height,
            banner=self._banner_needed,
            detail=self.detail_open,
            tail=self.view.tail,
        )
        covered = self.page.display
        for part, lines in (
            (self.bar, plan.title),
            (self.banner, plan.banner),
            (self.headline, plan.headline),
            (self.timeline, plan.timeline),
            (self.tail, plan.tail),
        ):
            part.display = lines > 0 and not covered
            part.styles.height = max(lines, 1)
        self.footer.display = plan.footer > 0
        self.body.display = not covered
        self.body.styles.layout = "horizontal" if plan.side else "vertical"
        self.table.display = plan.table > 0
        self.detail.display = plan.detail > 0
        self.detail.side = plan.side > 0
        self.detail.styles.width = plan.side or "1fr"
        self.detail.styles.height = "1fr" if plan.side or not plan.table else plan.detail

    def on_resize(self, event: events.Resize) -> None:
        self.arrange()
        self.call_after_refresh(self.repaint)

    def _told(self) -> None:
        """Called in the feed's thread: one message at a time, however fast frames come."""
        if not self._awaited:
            self._awaited = True
            self.post_message(self.Told())

    def on_dashboard_told(self) -> None:
        self._awaited = False
        if self.feed.failure is not None:
            self.exit(1)
            return
        self.frame = self.feed.frame
        if self.frame is not None and needed(self.frame.state) != self._banner_needed:
            self._banner_needed = not self._banner_needed
            self.arrange()
            self.call_after_refresh(self.repaint)
        before = sum(part.painted for part in self.parts)
        self.repaint()
        self.feed.painted = sum(part.painted for part in self.parts) - before
        # The row at the top may be another one now.
        self.wish()

    def on_table_selected(self) -> None:
        self.repaint()
        self.wish()

    def on_table_opened(self) -> None:
        self.do("detail")

    def on_table_wanted(self, wanted: Table.Wanted) -> None:
        limit = self.view.query.limit or LAST_LIMIT
        if limit < LAST_LIMIT:
            self.choose(limit=LAST_LIMIT if wanted.last else min(limit * 4, LAST_LIMIT))

    def choose(self, **changes: Any) -> None:
        """Ask for other rows: ``changes`` are fields of the Query."""
        self.view.query = replace(self.view.query, **({"limit": FIRST_LIMIT} | changes))
        self.wish()
        self.repaint()

    def wish(self) -> None:
        """Tell the feed what the screen shows now."""
        row = self.table.selected if self.detail_open else None
        key = row.key if row is not None else 0
        records = RECORDS if key else 0
        self.feed.ask(Wish(self.view.query, key, records, self.view.paused, self.auditing))

    def repaint(self) -> None:
        """Show the newest frame; parts whose lines are as before cost nothing."""
        self._foot()
        if self.page.display:
            if self.auditing and self.frame is not None and self.frame.report is not None:
                self.page.audit(self.frame.report, self.view.paused)
            return
        frame = self.frame or Frame(
            Wish(self.view.query), Snapshot(), SourceState("", "connecting")
        )
        snapshot, state = frame.snapshot, frame.state
        now = self.now_ns()
        # What ages of records are counted to, on their clock.
        now_there = now - snapshot.clock_late
        self.bar.update_from(state, self.view)
        if self.banner.display:
            self.banner.update_from(state, time.time())
        if self.headline.display:
            self.headline.update_from(snapshot, state, now, frame.behind)
        if self.timeline.display:
            live = state.phase == "following" and not self.view.paused
            self.timeline.update_from(snapshot, self.view.whole_timeline, now_there if live else 0)
        query = frame.wish.query
        empty = empty_lines(snapshot, state, query, self.view.filter_words, self.table.size.width)
        self.table.update_from(snapshot, query, now_there, empty)
        if self.detail.display:
            row = self.table.selected
            known = row is not None and frame.wish.key == row.key
            records, told = (frame.records, frame.attribution) if known else ((), ())
            self.detail.update_from(row, records, now_there, self.options.hubble, told)
        if self.tail.display:
            self.tail.update_from(snapshot.recent, self.view.paused)

    def now_ns(self) -> int:
        """What ages are counted to: the clock while live, the moment of a pause, a file's end."""
        frame = self.frame
        if frame is None:
            return time.time_ns()
        if frame.state.phase in ("reading", "ended"):
            return frame.snapshot.last_seen
        return int(frame.taken * SECOND) if self.view.paused else time.time_ns()

    def relook(self, theme: str) -> None:
        """Another theme."""
        self.look = Look(theme, self.options.signs)
        for part in self.parts:
            part.relook(self.look)

    def write(self, sequence: str) -> None:
        """Send a control sequence to the terminal, as it is."""
        if self._driver is not None:
            self._driver.write(sequence)

    # The last line --------------------------------------------------------------------------

    def say(self, text: str, role: str = "strong", seconds: float = 5.0) -> None:
        """Show one safe line in place of the keys, for a while."""
        self._message = (text, role)
        if self._message_timer is not None:
            self._message_timer.stop()
        self._message_timer = self.set_timer(seconds, self._unsay)
        self._foot()

    def _unsay(self) -> None:
        self._message = None
        self._foot()

    def _foot(self) -> None:
        if self.editor is not None:
            self.footer.editor(self.editor, prompt.advice(self, self.editor))
        elif self._message is not None:
            self.footer.message(*self._message)
        elif self.page.display:
            self.footer.keys(("back", "down", "up", "page_down"))
        elif self.detail_open:
            self.footer.keys(("detail", "copy", "filter", "drops"))
        else:
            self.footer.keys()

    # Keys -----------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Keys go straight to their actions: nothing here has a focus that could take them."""
        if isinstance(event, events.Key):
            deaf = self.options.deaf and time.monotonic() - self._began < DEAF
            if not deaf or event.key == "ctrl+c":
                self.press(event.key, event.character)
        elif isinstance(event, events.Paste):
            if self.editor is not None:
                self.editor.insert(event.text)
                prompt.changed(self, self.editor)
                self.repaint()
        else:
            await super().on_event(event)

    def press(self, key: str, character: str | None) -> None:
        """One key press; ``character`` is what it types, if anything."""
        if key == "ctrl+c":
            self.do("interrupt")
        elif self.editor is not None:
            prompt.press(self, self.editor, key, character)
        elif (found := keys.lookup(key, character)) is not None:
            self.do(found.action)

    def do(self, action: str) -> None:
        """Carry out an action of the key map."""
        ACTIONS[action](self)

    def leave_editor(self) -> None:
        """Close the input line, as esc does."""
        if self.editor is not None:
            prompt.leave(self, self.editor)
