"""A view: what the shell is told of one, and the widget that shows it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from textual.containers import Container

from flowwatch.egress.query import Query
from flowwatch.egress.rows import Row
from flowwatch.flows.coverage import Coverage
from flowwatch.tui.commands import COMMANDS, Command
from flowwatch.tui.desk import Desk, Ways
from flowwatch.tui.format import SECOND
from flowwatch.tui.keys import ANYWHERE, KEYS, Key, KeyMap
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.question import Question


def nothing(desk: Desk, key: int) -> Question[Any] | None:
    """The question of a view that asks none."""
    return None


def always(desk: Desk) -> str:
    """What keeps a view from being opened: nothing."""
    return ""


@dataclass(frozen=True, kw_only=True)
class View(ABC):
    """One screen of the dashboard, declared. Subclasses say what kind of body shows it."""

    name: str
    """What opens it in the command line, and what the breadcrumb calls it."""
    words: str
    """For help: a phrase."""
    key: tuple[str, ...] = ()
    """What opens it, and closes it again."""
    number: int = 0
    """Its place among the views that `tab` goes through; 0: not one of them. Its key, too."""
    tab: str = ""
    """Its name among them."""
    tab_short: str = ""
    """The same where there isn't room for it."""
    short: str = ""
    """For the footer; empty: not shown there."""
    alias: tuple[str, ...] = ()
    """Other names in the command line."""
    question: Callable[[Desk, int], Question[Any] | None] = nothing
    """What it asks, given the key of the row that is looked into (0: none)."""
    keys: Mapping[Key, Callable[[Desk], None]] = field(default_factory=dict)
    """Keys that only this view has, and what they do."""
    help: tuple[str, ...] = ()
    """Lines for the help screen, beyond what its keys say."""
    headings: Mapping[str, str] = field(default_factory=dict)
    """What stands at the head of its columns, each with what it shows; for the help screen too."""
    ways: Ways = "chosen"
    """Which directions it shows; its heading tells the one that is chosen."""
    refusal: Callable[[Desk], str] = always
    """Why it can't be opened now; empty if it can."""

    @property
    def keys_to_open(self) -> tuple[str, ...]:
        """Its number, and its other keys."""
        numbered = (str(self.number),) if self.number else ()
        return tuple(dict.fromkeys((*numbered, *self.key)))

    @abstractmethod
    def body(self, desk: Desk) -> Body:
        """The widget that shows it."""


_STEPS = ((60, 60), (10, 10))
"""Seconds without a record, and then those between two times that a screen shows."""


def shown_now(now: int, seen: Coverage) -> int:
    """The time that ages are counted to on the screen (ns), of ``now``.

    By the second while records come; after 10 s of quiet by 10 s, after a minute by the minute: a screen on
    which nothing happens is painted as seldom.
    """
    last = seen.last_seen + seen.clock_late
    quiet = (now - last) // SECOND
    for least, step in _STEPS:
        if seen.last_seen and quiet >= least:
            return last + quiet // step * step * SECOND
    return now


def key_map(views: Sequence[View]) -> KeyMap:
    """The keys of the table (flowwatch.tui.keys), and those of the views.

    Raises ValueError when the key of a view means something else already.
    """
    opening = [
        Key(view.name, view.keys_to_open, view.words, view.short, "views", ANYWHERE)
        for view in views
        if view.keys_to_open
    ]
    taken = {name: key.action for key in KEYS for name in key.keys}
    for key in opening:
        for name in key.keys:
            if name in taken:
                raise ValueError(f"{name} opens {key.action}, and is {taken[name]} already")
    own = [replace(key, context=view.name) for view in views for key in view.keys]
    last = [key for key in KEYS if key.group == "leaving"]
    return KeyMap([*(key for key in KEYS if key not in last), *own, *opening, *last])


def command_table(views: Sequence[View], themes: Sequence[str] = ()) -> tuple[Command, ...]:
    """The commands of the table (flowwatch.tui.commands), and one to open each view; ``themes`` that are
    the user's own."""
    opening = [Command(view.name, view.words, aliases=view.alias) for view in views]
    known = [
        replace(one, choices=(*one.choices, *themes)) if one.name == "theme" else one
        for one in COMMANDS[:-1]
    ]
    return (*known, *opening, COMMANDS[-1])


class Body(Container):
    """The widget of an open view. The shell lays it out, asks it what it asks, and has it painted."""

    CONTEXTS: ClassVar[tuple[str, ...]] = ()
    """Of keys.CONTEXTS: which of them act on it."""

    COVERS: ClassVar[bool] = False
    """Whether the title and the banner give way to it."""

    FIRST: ClassVar[tuple[str, ...]] = ()
    """Actions whose keys the footer shows first."""

    def __init__(self, view: View, desk: Desk) -> None:
        super().__init__()
        self.view = view
        self.desk = desk
        self.came_from: Query | None = None
        """What was asked before this was entered, which narrowed it; None: it was opened by its name."""

    @property
    @abstractmethod
    def parts(self) -> tuple[Lines, ...]:
        """All that is painted."""

    @property
    def first_keys(self) -> tuple[str, ...]:
        """Actions whose keys the footer shows first, as things are."""
        return self.FIRST

    @property
    def contexts(self) -> tuple[str, ...]:
        """Which of keys.CONTEXTS act on it, as it is."""
        return self.CONTEXTS

    @property
    def ways(self) -> Ways:
        """Which directions it shows."""
        return self.view.ways

    @property
    def looked_into(self) -> int:
        """The key of the row whose records are looked at; 0: of none."""
        return 0

    def question(self) -> Question[Any] | None:
        """What it asks now."""
        return self.view.question(self.desk, self.looked_into)

    def lay_out(self, columns: int, lines: int, banner: bool) -> None:
        """Give each part its lines, for a terminal of this size."""

    @abstractmethod
    def repaint(self) -> None:
        """Show the newest answer; parts whose lines are as before cost nothing."""

    def renew(self) -> bool:
        """Be as it was when it was made, to be opened again; False: it can't."""
        return False

    def save(self, path: str) -> bool:
        """Save what it holds to a file; False where there is nothing to save."""
        return False

    # What keys do (flowwatch.tui.desk.Seen) ---------------------------------------------------

    @property
    def selected(self) -> Row | None:
        return None

    def now_ns(self) -> int:
        return time.time_ns()

    def enter(self) -> None:
        return None

    def toggle(self, part: str, on: bool | None = None) -> None:
        return None

    def close_part(self) -> bool:
        return False

    def sort(self, *, turned: bool = False) -> None:
        return None

    def move(self, step: Callable[[int], int], *, panel: bool = False) -> None:
        return None

    def move_to_end(self, *, first: bool) -> None:
        return None
