"""What the keys and the commands do: a function for every entry of keys.KEYS and commands.COMMANDS."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable

from flowwatch.egress.filters import quoted, words
from flowwatch.egress.folding import BY_WORKLOAD, PLAIN, By, by_text, read_by
from flowwatch.egress.query import DIRECTIONS, ORDERS
from flowwatch.egress.rows import Row, Snapshot
from flowwatch.errors import UsageError
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.coverage import Coverage
from flowwatch.text import safe
from flowwatch.tui import private, when
from flowwatch.tui.commands import FOLDS
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import SECOND
from flowwatch.tui.hubble_command import command as hubble_command
from flowwatch.tui.keys import TRAFFIC
from flowwatch.tui.own import short
from flowwatch.tui.own_table import arrange
from flowwatch.tui.packet_commands import retina, tcpdump
from flowwatch.tui.parts.rows import Rows, RowsAnswer, rows
from flowwatch.tui.saved import forget, keep, use
from flowwatch.tui.take_away import copy_text, export_rows
from flowwatch.tui.theme import THEMES
from flowwatch.tui.ticket import ticket

Action = Callable[[Desk], None]


def _sort(desk: Desk) -> None:
    orders = list(ORDERS)
    order = orders[(orders.index(desk.chosen.query.order) + 1) % len(orders)]
    desk.choose(order=order)
    desk.say(f"sorted by {order}: {ORDERS[order]}", seconds=2.0)


def _direction(desk: Desk) -> None:
    place = DIRECTIONS.index(desk.chosen.query.direction)
    _towards(desk, DIRECTIONS[(place + 1) % len(DIRECTIONS)])


def _towards(desk: Desk, direction: str) -> None:
    """Ask for this direction, where that is seen."""
    ways = desk.seen.ways
    if ways == "both":
        desk.say("both directions are here", "dim", 2.0)
        return
    if ways != "chosen":
        desk.come_back_to(TRAFFIC)
    desk.choose(direction=direction)
    desk.say(f"direction: {direction}", seconds=2.0)


def _pause(desk: Desk, on: bool | None = None) -> None:
    desk.hold(not desk.chosen.paused if on is None else on)
    if desk.chosen.paused:
        desk.say(
            f"paused: reading and counting go on; {desk.look.keys['pause']} shows what came meanwhile",
            seconds=3.0,
        )


def _drops(desk: Desk, on: bool | None = None) -> None:
    desk.choose(drops_only=not desk.chosen.query.drops_only if on is None else on)


def _noise(desk: Desk, on: bool | None = None) -> None:
    desk.choose(noise=not desk.chosen.query.noise if on is None else on)


_FOLDS = (BY_WORKLOAD, By("namespace", "", True, True), PLAIN)


def _fold_by(desk: Desk) -> None:
    by = desk.chosen.query.by
    _fold(desk, _FOLDS[(_FOLDS.index(by) + 1) % len(_FOLDS)] if by in _FOLDS else BY_WORKLOAD)


def _fold(desk: Desk, by: By) -> None:
    desk.choose(by=by, unfolded=frozenset())
    words = "a row per pod" if by == PLAIN else f"folded by {by_text(by)}"
    desk.say(f"{safe(words)} (:fold label:KEY by a label)", seconds=3.0)


def _fold_by_name(desk: Desk, text: str) -> None:
    try:
        by = read_by(f"{text},peer,port")
    except UsageError:
        desk.say(f"usage: :fold {FOLDS}", "warn")
        return
    _fold(desk, by)


def _back(desk: Desk) -> None:
    if not desk.back() and not desk.seen.close_part() and desk.chosen.query.text:
        desk.choose(text="")


def _close(desk: Desk) -> None:
    desk.back()


def _copy(desk: Desk) -> None:
    row = desk.seen.selected
    if row is None:
        desk.say("no row is selected", "warn")
        return
    text = hubble_command(row, desk.options.hubble)
    if text:
        copy_text(desk, text, "command")
    else:
        desk.say("these rows were folded into one: no command shows them", "warn")


def _copy_row(desk: Desk) -> None:
    row = desk.seen.selected
    if row is not None:
        told = _looked_into(desk, row)
        copy_text(desk, ticket(row, told, desk.seen.now_ns(), desk.options.hubble), "Markdown")


def _looked_into(desk: Desk, row: Row) -> RowsAnswer:
    """What is known of the row beyond itself: asked for anew where the detail is closed."""
    shown = desk.answer(Rows)
    if shown is not None and shown.value.key == row.key:
        return shown.value
    asked, readings = rows(desk, row.key), desk.readings
    if readings is None or shown is None:
        return RowsAnswer(Snapshot())
    return asked.beside(readings, shown.value.snapshot)


def _open_policy(desk: Desk) -> None:
    row = desk.seen.selected
    place = _looked_into(desk, row).place if row is not None else None
    if place is None:
        given = (
            "no policy given blocked this row"
            if desk.with_policies
            else "--policies FILE gives policies"
        )
        desk.say(f"no file to open: {given}", "warn")
        return
    path, line = place
    if not os.path.isfile(path):
        desk.say(f"{safe(path)}:{line} is no file here", "warn")
        return
    # Both kinds take +LINE before the file: less, vi, nano, emacs.
    program = (
        os.environ.get("PAGER") or os.environ.get("VISUAL") or os.environ.get("EDITOR") or "less"
    )
    try:
        words = [*shlex.split(program), f"+{line}", path]
        with desk.away():
            subprocess.run(words, check=False)
    except (OSError, ValueError) as error:
        desk.say(f"{safe(program)}: {safe(str(error))}", "warn")


def _copy_named(desk: Desk, name: str) -> None:
    row = desk.seen.selected
    if name not in PACKETS or row is None:
        _copy(desk)
        return
    text = PACKETS[name](row, _looked_into(desk, row).more)
    if text:
        copy_text(desk, text, "command")
    else:
        desk.say("neither the pod nor its labels are known", "warn")


PACKETS = {"tcpdump": tcpdump, "retina": retina}


_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)


def _moment(text: str, last: int) -> int:
    """When it was ``text`` o'clock last, up to ``last``; nanoseconds since 1970, 0 for what is no time."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        return 0
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    day = 86_400 * SECOND
    time = last // day * day + (hours * 3600 + minutes * 60 + seconds) * SECOND
    return max(time if time <= last else time - day, 1)


def _mark(desk: Desk, text: str = "") -> None:
    if text == "off":
        desk.mark(())
        desk.say("marks are those that are found")
        return
    shown = desk.answer(Rows)
    seen = shown.value.snapshot.coverage if shown is not None else Coverage()
    time = desk.seen.now_ns() - seen.clock_late if not text else _moment(text, seen.last_seen)
    if not time:
        desk.say("usage: :mark [HH:MM:SS|off], in UTC", "warn")
        return
    desk.mark(tuple(sorted({*desk.chosen.marks, time})))
    compares = desk.look.keys.told("{changes} compares before and after")
    desk.say(f"mark set at {time_of_day(time)} UTC: {compares}; :mark off takes it away")


def _theme_named(desk: Desk, argument: str) -> None:
    name = desk.options.auto_theme if argument == "auto" else argument
    try:
        desk.relook(name)
    except UsageError as error:
        desk.say(short(error), "warn", 8.0)
        return
    desk.say(f"theme: {name}", seconds=2.0)


def _theme(desk: Desk) -> None:
    names = [name for name in (*THEMES, *desk.options.themes) if name != "auto"]
    place = names.index(desk.look.name)
    _theme_named(desk, names[(place + 1) % len(names)])


def _mouse(desk: Desk, on: bool | None = None) -> None:
    desk.take_mouse(not desk.chosen.mouse if on is None else on)
    whose = "the dashboard's" if desk.chosen.mouse else "the terminal's: drag selects text"
    desk.say(f"the mouse is {whose} ({desk.look.keys['mouse']} changes it)")


def _scroll(step: Callable[[int], int], *, panel: bool = False) -> Action:
    """Move by ``step`` of a page's lines, in what is seen."""
    return lambda desk: desk.seen.move(step, panel=panel)


def _retry(desk: Desk) -> None:
    if desk.state.phase != "lost" and not any(one.phase == "lost" for one in desk.state.servers):
        desk.say("nothing waits to be connected", "dim", 2.0)
    elif desk.readings is not None:
        desk.readings.monitor.retry()
        desk.say("trying now", seconds=2.0)


ACTIONS: dict[str, Action] = {
    "retry": _retry,
    "filter": lambda desk: desk.edit("/", desk.chosen.query.text),
    "palette": lambda desk: desk.edit(">"),
    "command": lambda desk: desk.edit(":"),
    "detail": lambda desk: desk.seen.enter(),
    "go_in": lambda desk: desk.seen.enter(),
    "next_view": lambda desk: desk.next_view(1),
    "previous_view": lambda desk: desk.next_view(-1),
    "last_view": lambda desk: desk.last_view(),
    "drops": _drops,
    "noise": _noise,
    "sort": _sort,
    "sort_list": lambda desk: desk.seen.sort(),
    "reverse_list": lambda desk: desk.seen.sort(turned=True),
    "reverse": lambda desk: desk.choose(reverse=not desk.chosen.query.reverse),
    "direction": _direction,
    "unfold": lambda desk: desk.seen.toggle("fold"),
    "open_fold": lambda desk: desk.seen.toggle("fold", True),
    "close_fold": lambda desk: desk.seen.toggle("fold", False),
    "fold_by": _fold_by,
    "pause": _pause,
    "tail": lambda desk: desk.seen.toggle("tail"),
    "export": lambda desk: export_rows(desk, None),
    "copy": _copy,
    "copy_row": _copy_row,
    "open_policy": _open_policy,
    "mark": _mark,
    "span": when.next_window,
    "earlier": lambda desk: when.step(desk, -1),
    "later": lambda desk: when.step(desk, 1),
    "hour_before": lambda desk: when.hour(desk, -1),
    "hour_after": lambda desk: when.hour(desk, 1),
    "now": when.now,
    "window": lambda desk: desk.seen.toggle("window"),
    "private": private.toggle,
    "theme": _theme,
    "mouse": _mouse,
    "down": _scroll(lambda page: 1),
    "up": _scroll(lambda page: -1),
    "half_down": _scroll(lambda page: max(page // 2, 1)),
    "half_up": _scroll(lambda page: -max(page // 2, 1)),
    "page_down": _scroll(lambda page: page),
    "page_up": _scroll(lambda page: -page),
    "top": lambda desk: desk.seen.move_to_end(first=True),
    "bottom": lambda desk: desk.seen.move_to_end(first=False),
    "panel_down": _scroll(lambda page: 1, panel=True),
    "panel_up": _scroll(lambda page: -1, panel=True),
    "back": _back,
    "close": _close,
    "suspend": lambda desk: desk.suspend_program(),
    "interrupt": lambda desk: desk.interrupt(),
    "quit": lambda desk: desk.leave(),
}


def _switched(argument: str) -> bool | None:
    return {"on": True, "off": False}.get(argument)


def _export_to(desk: Desk, argument: str, *, over: bool = False) -> None:
    # Path's own raises for a user who isn't there.
    path = desk.options.export_dir / os.path.expanduser(argument) if argument else None
    export_rows(desk, path, over=over)


def _save(desk: Desk, argument: str) -> None:
    if not desk.seen.save(argument):
        desk.say(desk.look.keys.told("nothing to save here: {draft} opens a draft"), "warn")


def _only(desk: Desk, key: str, value: str) -> None:
    """Narrow to one value of a key, in place of another one that was chosen before."""
    kept = [word for word, _ in words(desk.chosen.query.text) if not word.startswith(f"{key}:")]
    only = [f"{key}:{quoted('=' + value)}"] if value and value not in ("all", "-") else []
    desk.choose(text=" ".join([*kept, *only]))


COMMAND_ACTIONS: dict[str, Callable[[Desk, str], None]] = {
    "filter": lambda desk, text: desk.choose(text=text),
    "drops": lambda desk, text: _drops(desk, True if not text else _switched(text)),
    "noise": lambda desk, text: _noise(desk, True if not text else _switched(text)),
    "all": lambda desk, _: desk.choose(text="", drops_only=False, noise=True),
    "sort": lambda desk, text: desk.choose(order=text),
    "dir": _towards,
    "fold": _fold_by_name,
    "export": _export_to,
    "export!": lambda desk, text: _export_to(desk, text, over=True),
    "mark": _mark,
    "since": when.since,
    "ns": lambda desk, text: _only(desk, "ns", text),
    "pod": lambda desk, text: _only(desk, "pod", text),
    "keep": keep,
    "use": use,
    "forget": forget,
    "pause": lambda desk, text: _pause(desk, _switched(text)),
    "detail": lambda desk, text: desk.seen.toggle("detail", _switched(text)),
    "tail": lambda desk, text: desk.seen.toggle("tail", _switched(text)),
    "copy": _copy_named,
    "columns": arrange,
    "private": lambda desk, text: private.toggle(desk, _switched(text)),
    "theme": _theme_named,
    "mouse": lambda desk, text: _mouse(desk, _switched(text)),
    "save": _save,
    "quit": lambda desk, _: desk.leave(),
}
