"""What the keys and the commands do: a function for every entry of keys.KEYS and commands.COMMANDS."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowwatch.egress.query import DIRECTIONS, ORDERS
from flowwatch.tui.editor import Editor
from flowwatch.tui.format import Line
from flowwatch.tui.hubble_command import command as hubble_command
from flowwatch.tui.parts.columns import Cells, row_text
from flowwatch.tui.parts.page import AUDIT_TITLE, help_lines, notice_lines
from flowwatch.tui.take_away import copy_text, export_rows

if TYPE_CHECKING:
    from flowwatch.tui.shell import Dashboard

AGAIN = 2.0
"""Seconds in which a second ctrl-c quits."""

_THEMES = ("dark", "light", "ansi", "mono")


def _show_page(app: Dashboard, title: str, lines: list[Line], *, auditing: bool = False) -> None:
    app.page.display = True
    app.auditing = auditing
    app.wish()
    app.arrange()
    app.call_after_refresh(app.page.open_with, title, lines)
    app.repaint()


def _close_page(app: Dashboard) -> None:
    app.page.display = False
    app.auditing = False
    app.wish()
    app.arrange()
    app.call_after_refresh(app.repaint)


def _rearrange(app: Dashboard) -> None:
    """After a panel came or went."""
    app.arrange()
    app.call_after_refresh(app.repaint)
    app.wish()


def _open_editor(sign: str) -> Callable[[Dashboard], None]:
    def work(app: Dashboard) -> None:
        if app.page.display:
            _close_page(app)
        text = app.view.query.text if sign == "/" else ""
        app.editor = Editor(sign, text, app.history[sign])
        app.repaint()

    return work


def _sort(app: Dashboard) -> None:
    orders = list(ORDERS)
    order = orders[(orders.index(app.view.query.order) + 1) % len(orders)]
    app.choose(order=order)
    app.say(f"sorted by {order}: {ORDERS[order]}", seconds=2.0)


def _direction(app: Dashboard) -> None:
    place = DIRECTIONS.index(app.view.query.direction)
    app.choose(direction=DIRECTIONS[(place + 1) % len(DIRECTIONS)])
    app.say(f"direction: {app.view.query.direction}", seconds=2.0)


def _pause(app: Dashboard, on: bool | None = None) -> None:
    app.view.paused = not app.view.paused if on is None else on
    app.wish()
    if app.view.paused:
        app.say("paused: reading and counting go on; p shows what came meanwhile", seconds=3.0)
    app.repaint()


def _detail(app: Dashboard, on: bool | None = None) -> None:
    app.view.detail = not app.detail_open if on is None else on
    _rearrange(app)


def _tail(app: Dashboard, on: bool | None = None) -> None:
    app.view.tail = not app.view.tail if on is None else on
    _rearrange(app)
    if app.view.tail and not app.tail.display:
        app.say("the last records show when the detail is closed: there is room for one", "warn")


def _drops(app: Dashboard, on: bool | None = None) -> None:
    app.choose(drops_only=not app.view.query.drops_only if on is None else on)


def _back(app: Dashboard) -> None:
    if app.page.display:
        _close_page(app)
    elif app.view.detail:
        app.view.detail = False
        _rearrange(app)
    elif app.view.tail:
        _tail(app, False)
    elif app.view.query.text:
        app.choose(text="")


def _interrupt(app: Dashboard) -> None:
    now = time.monotonic()
    if app.editor is not None:
        app.leave_editor()
    elif now - app.interrupted < AGAIN:
        app.exit(0)
    else:
        app.interrupted = now
        app.say("ctrl-c again to quit (q quits at once; y copies the command)", seconds=AGAIN)


def _copy(app: Dashboard) -> None:
    row = app.table.selected
    if row is None:
        app.say("no row is selected", "warn")
        return
    text = hubble_command(row, app.options.hubble)
    if text:
        copy_text(app, text, "command")
    else:
        app.say("these rows were folded into one: no command shows them", "warn")


def _copy_row(app: Dashboard) -> None:
    row = app.table.selected
    if row is not None:
        copy_text(app, row_text(row, Cells(app.now_ns(), None, None)), "row")


def _help(app: Dashboard) -> None:
    helps = [part.ABOUT for part in app.parts if part.ABOUT]
    _show_page(app, "flowwatch: keys and commands", help_lines(app.size.width, helps))


def _notices(app: Dashboard) -> None:
    frame = app.frame
    if frame is None:
        app.say("nothing has been read yet", "warn")
        return
    lines = notice_lines(frame.snapshot, frame.state, app.size.width)
    _show_page(app, "What these numbers include, and what not", lines)


def _audit(app: Dashboard) -> None:
    if app.audit is None:
        app.say("no policies were given: start with flowwatch --policies FILE", "warn")
    elif app.page.display and app.auditing:
        _close_page(app)
    else:
        waiting: list[Line] = [((" judging what was read so far …", "dim"),)]
        _show_page(app, AUDIT_TITLE, waiting, auditing=True)


def _theme(app: Dashboard) -> None:
    place = _THEMES.index(app.look.name)
    app.relook(_THEMES[(place + 1) % len(_THEMES)])
    app.say(f"theme: {app.look.name}", seconds=2.0)


def _mouse(app: Dashboard, on: bool | None = None) -> None:
    app.view.mouse = not app.view.mouse if on is None else on
    # Textual has no public switch; a driver without these (tests, the web) has no mouse to give.
    driver: Any = app._driver
    switch = getattr(driver, f"_{'en' if app.view.mouse else 'dis'}able_mouse_support", None)
    if switch is not None:
        driver._mouse = True
        switch()
        driver._mouse = app.view.mouse
    whose = "the dashboard's" if app.view.mouse else "the terminal's: drag selects text"
    app.say(f"the mouse is {whose} (m changes it)")


def _window(app: Dashboard) -> None:
    app.view.whole_timeline = not app.view.whole_timeline
    shown = "everything so far" if app.view.whole_timeline else "the latest alone"
    app.say(f"timeline: {shown}", seconds=2.0)
    app.repaint()


def _scroll(step: Callable[[int], int], *, panel: bool = False) -> Callable[[Dashboard], None]:
    """Move by ``step`` of a page's lines: the page, if one is open, else panel or table."""

    def work(app: Dashboard) -> None:
        if app.page.display:
            app.page.scroll_lines(step(app.page.page))
        elif panel or not app.table.display:
            app.panel.scroll_lines(step(app.panel.page))
        else:
            app.table.move(step(app.table.page))

    return work


def _end(first: bool) -> Callable[[Dashboard], None]:
    def work(app: Dashboard) -> None:
        if app.page.display:
            app.page.scroll_to_start() if first else app.page.scroll_to_last()
        elif not app.table.display:
            app.panel.scroll_to_start() if first else app.panel.scroll_to_last()
        elif first:
            app.table.to_top()
            app.repaint()
            app.wish()
        else:
            app.table.to_bottom()

    return work


ACTIONS: dict[str, Callable[[Dashboard], None]] = {
    "filter": _open_editor("/"),
    "command": _open_editor(":"),
    "detail": _detail,
    "drops": _drops,
    "sort": _sort,
    "reverse": lambda app: app.choose(reverse=not app.view.query.reverse),
    "direction": _direction,
    "pause": _pause,
    "tail": _tail,
    "export": lambda app: export_rows(app, None),
    "copy": _copy,
    "copy_row": _copy_row,
    "notices": _notices,
    "audit": _audit,
    "window": _window,
    "theme": _theme,
    "mouse": _mouse,
    "help": _help,
    "down": _scroll(lambda page: 1),
    "up": _scroll(lambda page: -1),
    "half_down": _scroll(lambda page: max(page // 2, 1)),
    "half_up": _scroll(lambda page: -max(page // 2, 1)),
    "page_down": _scroll(lambda page: page),
    "page_up": _scroll(lambda page: -page),
    "top": _end(True),
    "bottom": _end(False),
    "panel_down": _scroll(lambda page: 1, panel=True),
    "panel_up": _scroll(lambda page: -1, panel=True),
    "back": _back,
    "suspend": lambda app: app.action_suspend_process(),
    "interrupt": _interrupt,
    "quit": lambda app: app.exit(0),
}


def _switched(argument: str) -> bool | None:
    return {"on": True, "off": False}.get(argument)


def _export_to(app: Dashboard, argument: str) -> None:
    # Path's own raises for a user who isn't there.
    path = app.options.export_dir / os.path.expanduser(argument) if argument else None
    export_rows(app, path)


def _theme_named(app: Dashboard, argument: str) -> None:
    app.relook(app.options.auto_theme if argument == "auto" else argument)


COMMAND_ACTIONS: dict[str, Callable[[Dashboard, str], None]] = {
    "filter": lambda app, text: app.choose(text=text),
    "drops": lambda app, text: _drops(app, True if not text else _switched(text)),
    "all": lambda app, _: app.choose(text="", drops_only=False),
    "sort": lambda app, text: app.choose(order=text),
    "dir": lambda app, text: app.choose(direction=text),
    "export": _export_to,
    "pause": lambda app, text: _pause(app, _switched(text)),
    "detail": lambda app, text: _detail(app, _switched(text)),
    "tail": lambda app, text: _tail(app, _switched(text)),
    "copy": lambda app, _: _copy(app),
    "notices": lambda app, _: _notices(app),
    "audit": lambda app, _: _audit(app),
    "theme": _theme_named,
    "mouse": lambda app, text: _mouse(app, _switched(text)),
    "help": lambda app, _: _help(app),
    "quit": lambda app, _: app.exit(0),
}
