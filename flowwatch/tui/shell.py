"""The Textual application: title, banner and last line, a stack of views, and the feed they ask.

It names no view: those it is given (:mod:`flowwatch.tui.views`), the first of them at the bottom.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Size
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer

from flowwatch.egress.query import Monitor
from flowwatch.errors import Stopped
from flowwatch.flows.source import SourceState
from flowwatch.tui import keys, prompt
from flowwatch.tui.actions import ACTIONS, Action
from flowwatch.tui.commands import Command, CommandLine
from flowwatch.tui.driver import TerminalDriver
from flowwatch.tui.feed import Answer, Feed, Frame
from flowwatch.tui.garbage import TIDY_EVERY, tidy
from flowwatch.tui.keys import Key
from flowwatch.tui.layout import layout
from flowwatch.tui.named import KeyNames
from flowwatch.tui.own_keys import read_keys
from flowwatch.tui.own_themes import read_theme
from flowwatch.tui.parts.banner import Banner, needed
from flowwatch.tui.parts.footer import Footer
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.parts.prompt import Prompt
from flowwatch.tui.parts.tabs import Tabs
from flowwatch.tui.parts.title import Title
from flowwatch.tui.private import Named, begin_anew
from flowwatch.tui.question import NOW, A, Question, Readings, When
from flowwatch.tui.spans import SpanScreen
from flowwatch.tui.stack import Stack
from flowwatch.tui.state import FIRST_LIMIT, Options, ViewState, first_state
from flowwatch.tui.theme import Look
from flowwatch.tui.view import Body, View, command_table, key_map

if TYPE_CHECKING:
    from flowwatch.audits.live import LiveAudit
    from flowwatch.drafts.drafting import Drafting
    from flowwatch.marks.live import LiveChanges

DEAF = 2.0
"""Seconds in which keys are ignored when the terminal owes an answer that would look like keys."""

AGAIN = 2.0
"""Seconds in which a second ctrl-c quits."""


class Dashboard(App[int], inherit_bindings=False):
    """Views of a monitor on a terminal: the desk of actions and views (flowwatch.tui.desk)."""

    CSS = "Screen { layout: vertical; overflow: hidden; }"
    TITLE = "flowwatch"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    AUTO_FOCUS = None

    class Told(Message):
        """The feed has a newer frame."""

    def __init__(
        self,
        start: Callable[[], Monitor],
        views: Sequence[View],
        options: Options | None = None,
        audit: LiveAudit | None = None,
        changes: Callable[[], LiveChanges | None] = lambda: None,
        drafting: Drafting | None = None,
    ) -> None:
        """``start`` is called once the first frame is on the screen; ``audit``, where policies were
        given, hears of all that its monitor reads, and so does what ``changes`` gives after it."""
        # The terminal's own background, and colours as they are given.
        super().__init__(driver_class=TerminalDriver, ansi_color=True)
        given = audit.given if audit is not None else ()
        self._named = Named(options or Options(), audit is not None, given, drafting)
        self.options, self.with_policies, self.given_policies, self.drafting = self._named
        self.chosen: ViewState = first_state(self.options)
        self.key_map = key_map(views)
        if self.options.keys is not None:
            self.key_map = read_keys(self.options.keys, self.key_map)
        self.look = self._look(self.options.theme)
        self._own: dict[str, Action] = {
            key.action: action for view in views for key, action in view.keys.items()
        }
        self._commands = CommandLine(command_table(views, tuple(self.options.themes)))
        self._ways = prompt.ways(self, self._commands)
        self.stack = Stack(self, views, self._show_body)
        self.frame: Frame | None = None
        self.feed = Feed(
            lambda: Readings(start(), audit, changes()), self._told, self.seen.question()
        )
        self.defect: Exception | None = None
        """What nobody foresaw, and ended the app: for its owner to raise."""
        self.stopped: Stopped | None = None
        """The signal that ended it, if one did."""
        self._interrupted = float("-inf")
        self._loop_now: asyncio.AbstractEventLoop | None = None
        self._awaited = False
        self._began = time.monotonic()
        self._message: tuple[str, str] | None = None
        self._message_timer: Timer | None = None
        self._banner_needed = False
        self.bar = Title()
        self.banner = Banner()
        self.footer = Prompt()

    def get_default_screen(self) -> Screen[None]:
        return SpanScreen()

    def compose(self) -> ComposeResult:
        yield from (self.bar, self.banner, self.seen, self.footer)

    def on_mount(self) -> None:
        self._dress(*self.parts)
        self.app_resume_signal.subscribe(self, lambda _: self.paint_all(), immediate=True)
        self._loop_now = asyncio.get_running_loop()
        if self.stopped is not None:
            self.exit(self.stopped.exit_code)
            return
        self.arrange()
        if self.options.opened:
            self.go(self.options.opened)
        self.call_after_refresh(self._first)

    def _first(self) -> None:
        self.repaint()
        self.call_after_refresh(self.feed.start)
        self.set_interval(TIDY_EVERY, tidy)

    # How it ends ----------------------------------------------------------------------------

    def stop(self, number: int) -> None:
        """Signal handler: leave as ``q`` does, at once the second time or when it is over already."""
        again, self.stopped = self.stopped is not None, Stopped(number)
        loop = self._loop_now
        if again or (loop is not None and loop.is_closed()):
            raise self.stopped
        # Raised in the middle of making the loop it would leave half of one, which complains.
        if loop is not None:
            loop.call_soon_threadsafe(self.exit, self.stopped.exit_code)

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

    def leave(self) -> None:
        self.exit(0)

    def interrupt(self) -> None:
        now = time.monotonic()
        if self.footer.line is not None:
            self.footer.leave()
        elif now - self._interrupted < AGAIN:
            self.exit(0)
        else:
            self._interrupted = now
            quits = "{quit} quits at once; {copy} copies the command"
            others = self.look.keys.told("{close} goes back" if self.stack.opened else quits)
            self.say(f"ctrl-c again to quit ({others})", seconds=AGAIN)

    def away(self) -> AbstractContextManager[None]:
        return self.suspend()

    def suspend_program(self) -> None:
        if self.options.in_browser:
            self.say("a browser's tab has no shell to go back to", "warn")
        else:
            self.action_suspend_process()

    # The stack of views ---------------------------------------------------------------------

    @property
    def views(self) -> Mapping[str, View]:
        return self.stack.views

    @property
    def seen(self) -> Body:
        return self.stack.seen

    @property
    def trail(self) -> tuple[str, ...]:
        return self.stack.trail

    @property
    def tabs(self) -> tuple[View, ...]:
        return self.stack.tabs

    def go(self, name: str) -> None:
        self.stack.go(name)

    def go_in(self, name: str, text: str) -> None:
        self.stack.go_in(name, text)

    def next_view(self, step: int) -> None:
        self.stack.next_view(step)

    def last_view(self) -> None:
        self.stack.last_view()

    def back(self) -> bool:
        return self.stack.back()

    def come_back_to(self, context: str) -> None:
        self.stack.come_back_to(context)

    def _show_body(self, body: Body) -> None:
        self._dress(*body.parts)
        if body.is_attached:
            body.display = True
            body.repaint()
        else:
            self.mount(body, before=self.footer)

    # What is on the screen ------------------------------------------------------------------

    @property
    def parts(self) -> list[Lines]:
        """All that is painted, below the view on top too."""
        shell = [self.bar, self.banner, self.footer]
        return [*shell, *(part for body in self.stack.open for part in body.parts)]

    def _dress(self, *parts: Lines) -> None:
        for part in parts:
            part.relook(self.look)

    def arrange(self, size: Size | None = None) -> None:
        """Give every part its lines; called when the terminal or the choice of parts changes.

        ``size``: the terminal's, where it is another one just now.
        """
        columns, lines = size or self.size
        plan = layout(columns, lines, banner=self._banner_needed, detail=False, tail=False)
        for part, height in ((self.bar, plan.title), (self.banner, plan.banner)):
            part.display = height > 0 and not self.seen.COVERS
            part.styles.height = max(height, 1)
        self.footer.display = plan.footer > 0
        self.seen.lay_out(columns, lines, self._banner_needed)

    def refresh_view(self) -> None:
        self.arrange()
        self.call_after_refresh(self._show_anew)

    def _show_anew(self) -> None:
        self.repaint()
        # Not before it is painted: answers are made in a thread that the painting would wait for.
        self.call_after_refresh(self.ask)

    def on_resize(self, event: events.Resize) -> None:
        self.arrange(event.size)
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
        if needed(self.state) != self._banner_needed:
            self._banner_needed = not self._banner_needed
            self.arrange()
            self.call_after_refresh(self.repaint)
        parts = self.parts
        before = sum(part.painted for part in parts)
        self.repaint()
        self.feed.painted = sum(part.painted for part in parts) - before
        # The row at the top may be another one now.
        self.ask()

    def repaint(self) -> None:
        self._foot()
        if not self.seen.COVERS:
            self.bar.update_from(self.state, self.chosen, self.trail[1:])
            if self.banner.display:
                self.banner.update_from(self.state, time.time())
        self.seen.repaint()

    def paint_all(self) -> None:
        """Every line anew: after ``fg`` the terminal has none of them."""
        for part in (self.screen, *self.parts):
            part.refresh()

    def _look(self, theme: str) -> Look:
        """Of ours, or the user's own. Raises UsageError where a file says what can't be."""
        own = self.options.themes.get(theme)
        colors = read_theme(own) if own is not None else None
        return Look(theme, self.options.signs, colors, KeyNames(self.key_map.keys))

    def relook(self, theme: str) -> None:
        self.look = self._look(theme)
        for part in self.parts:
            part.relook(self.look)

    def write(self, sequence: str) -> None:
        if self._driver is not None:
            self._driver.write(sequence)

    # What is asked and answered ---------------------------------------------------------------

    @property
    def state(self) -> SourceState:
        return self.frame.state if self.frame is not None else SourceState("", "connecting")

    @property
    def behind(self) -> int:
        return self.frame.behind if self.frame is not None else 0

    @property
    def readings(self) -> Readings | None:
        return self.feed.readings

    def answer(self, kind: type[Question[A]]) -> Answer[A] | None:
        return self.frame.answer(kind) if self.frame is not None else None

    def ask(self) -> None:
        self.feed.ask(self.seen.question())

    def choose(self, **changes: Any) -> None:
        self.chosen.query = replace(self.chosen.query, **({"limit": FIRST_LIMIT} | changes))
        self.ask()
        self.repaint()

    def mark(self, times: tuple[int, ...]) -> None:
        self.chosen.marks = times
        self.ask()
        self.repaint()

    def hold(self, on: bool) -> None:
        self.chosen.when = When(at=time.time_ns()) if on else NOW
        self.ask()
        self.repaint()

    @property
    def hidden_for_good(self) -> bool:
        return self._named.options.private

    def hide(self, on: bool) -> None:
        named = self._named.hidden() if on else self._named
        self.options, self.with_policies, self.given_policies, self.drafting = named
        begin_anew(self.chosen, self.options)
        self.frame = self.feed.hide(on)
        self.footer.forget()
        self._unsay()
        self.stack.forget()
        self.ask()
        self.repaint()

    def picture(self) -> str:
        return self.export_screenshot(
            title=" ".join(["flowwatch", self.chosen.filter_words]).strip()
        )

    def beside(self, work: Callable[[], object]) -> None:
        self.run_worker(work, thread=True)

    def from_beside(self, function: Callable[..., object], *args: object) -> None:
        self.call_from_thread(function, *args)

    # The last line --------------------------------------------------------------------------

    def edit(self, sign: str, text: str = "") -> None:
        self.footer.edit(sign, text, self._ways[sign])
        self.repaint()

    def say(self, text: str, role: str = "strong", seconds: float = 5.0) -> None:
        self._message = (text, role)
        if self._message_timer is not None:
            self._message_timer.stop()
        self._message_timer = self.set_timer(seconds, self._unsay)
        self._foot()

    def _unsay(self) -> None:
        self._message = None
        self._foot()

    def _foot(self) -> None:
        if self.footer.line is not None:
            self.footer.show_line()
        elif self._message is not None:
            self.footer.message(*self._message)
        else:
            self.footer.keys(self.key_map.acting(self.contexts), self.seen.first_keys)

    # Keys -----------------------------------------------------------------------------------

    @property
    def contexts(self) -> tuple[str, ...]:
        """Whose keys act now, the nearest first."""
        opened = (keys.OPENED,) if self.stack.opened else ()
        return (self.seen.view.name, *self.seen.contexts, *opened, keys.ANYWHERE)

    @property
    def keys(self) -> tuple[Key, ...]:
        return self.key_map.keys

    @property
    def commands(self) -> tuple[Command, ...]:
        return self._commands.commands

    @property
    def helps(self) -> tuple[str, ...]:
        texts = (text for view in self.views.values() for text in view.help)
        return tuple(map(self.look.keys.told, texts))

    @property
    def headings(self) -> Mapping[str, str]:
        views = self.views.values()
        return {name: words for view in views for name, words in view.headings.items()}

    async def on_event(self, event: events.Event) -> None:
        """What has the focus gets the keys; without one they go straight to their actions."""
        if isinstance(event, events.InputEvent | events.Paste):
            self.call_after_refresh(self.feed.let_pass, False)
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            deaf = self.options.deaf and time.monotonic() - self._began < DEAF
            if self.footer.line is not None:
                self.footer.take_focus()
            if isinstance(event, events.Key) and (deaf or self.focused is None):
                if not deaf or event.key == "ctrl+c":
                    self.press(event.key, event.character)
                return
        await super().on_event(event)

    def on_key(self, event: events.Key) -> None:
        """A key that who has the focus has no use for."""
        self.press(event.key, event.character)

    def press(self, key: str, character: str | None) -> None:
        """One key press; ``character`` is what it types, if anything."""
        found = self.key_map.lookup(key, character, self.contexts)
        if found is not None:
            self.do(found.action)
            return
        for context, known in self.key_map.everywhere(key, character).items():
            where = keys.CONTEXTS.get(context, f"the view {context}")
            way = self.look.keys.told(": {back} goes back") if self.stack.opened else ""
            self.say(f"{keys.labels(known)} acts on {where}{way}", "dim", 2.0)
            return  # the first is the one that is meant: tables come before single views

    def do(self, action: str) -> None:
        """Carry out an action of the key map; the name of a view opens it, or closes it on top."""
        if action in self.views:
            if self.seen.view.name == action:
                self.back()
            else:
                self.go(action)
        else:
            (self._own.get(action) or ACTIONS[action])(self)

    def on_tabs_clicked(self, event: Tabs.Clicked) -> None:
        self.do(next(view.name for view in self.tabs if view.number == event.number))

    def on_footer_clicked(self, event: Footer.Clicked) -> None:
        self.do(event.action)

    def on_headline_clicked(self) -> None:
        self.do("warnings")

    on_banner_clicked = on_headline_clicked

    def take_mouse(self, on: bool) -> None:
        self.chosen.mouse = on
        # Textual has no public switch; a driver without these (tests, the web) has no mouse to give.
        driver: Any = self._driver
        switch = getattr(driver, f"_{'en' if on else 'dis'}able_mouse_support", None)
        if switch is not None:
            driver._mouse = True
            switch()
            driver._mouse = on
