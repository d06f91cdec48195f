"""What an action may ask: of the shell, and of the view that is seen.

Actions (:mod:`flowwatch.tui.actions`) and views know these two protocols, never the application.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from flowwatch.egress.rows import Row
from flowwatch.flows.source import SourceState
from flowwatch.tui.commands import Command
from flowwatch.tui.feed import Answer
from flowwatch.tui.keys import Key
from flowwatch.tui.question import A, Question, Readings
from flowwatch.tui.state import Options, ViewState
from flowwatch.tui.theme import Look

if TYPE_CHECKING:
    from flowwatch.drafts.drafting import Drafting


Ways = Literal["chosen", "both", ""]
"""Which directions a view shows: that which is chosen, both at once, or none, as it is of something else."""


class Seen(Protocol):
    """The view on top, as far as keys act on it."""

    @property
    def selected(self) -> Row | None:
        """The row under the cursor, where there is one."""

    @property
    def ways(self) -> Ways:
        """Which directions it shows."""

    def now_ns(self) -> int:
        """What ages are counted to: the clock while live, the moment of a pause, a file's end."""

    def enter(self) -> None:
        """Go into what is selected."""

    def toggle(self, part: str, on: bool | None = None) -> None:
        """Show or hide a part of the view (``detail``, ``tail``, ``window``, ``fold``), or the other."""

    def close_part(self) -> bool:
        """Close what is open in it, the last first; whether there was anything."""

    def sort(self, *, turned: bool = False) -> None:
        """Put a list in order by its next heading, or (``turned``) turn its order round."""

    def move(self, step: Callable[[int], int], *, panel: bool = False) -> None:
        """By ``step`` of a page's lines: the selection, the text, or what scrolls beside (``panel``)."""

    def move_to_end(self, *, first: bool) -> None:
        """To the first line, or the last."""

    def save(self, path: str) -> bool:
        """Save what it holds to a file; False where there is nothing to save."""


class Numbered(Protocol):
    """A view that a number opens, as far as its name on the screen goes."""

    @property
    def number(self) -> int: ...

    @property
    def tab(self) -> str: ...

    @property
    def tab_short(self) -> str: ...


class Desk(Protocol):
    """The shell, as far as actions and views ask of it."""

    @property
    def options(self) -> Options: ...

    @property
    def chosen(self) -> ViewState: ...

    @property
    def look(self) -> Look: ...

    @property
    def state(self) -> SourceState: ...

    @property
    def readings(self) -> Readings | None:
        """What is read; None until that has begun."""

    @property
    def with_policies(self) -> bool:
        """Whether policies were given, so that there is an audit."""

    @property
    def given_policies(self) -> tuple[tuple[str, str], ...]:
        """Names and kinds of the policies that were given."""

    @property
    def drafting(self) -> Drafting | None:
        """What the editor edits; None where nothing can be read for it."""

    @property
    def behind(self) -> int:
        """When paused: records read since."""

    @property
    def seen(self) -> Seen: ...

    @property
    def tabs(self) -> Sequence[Numbered]:
        """The numbered views, in their order."""

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys, those of the views too."""

    @property
    def commands(self) -> tuple[Command, ...]: ...

    @property
    def helps(self) -> tuple[str, ...]:
        """What the views have to say beyond their keys, a paragraph each."""

    @property
    def headings(self) -> Mapping[str, str]:
        """The headings of the views' columns, with what they show."""

    @property
    def trail(self) -> tuple[str, ...]:
        """The names of the open views, the one on top last."""

    def answer(self, kind: type[Question[A]]) -> Answer[A] | None:
        """The last answer to a question of this kind."""

    def choose(self, **changes: Any) -> None:
        """Ask for other rows: ``changes`` are fields of the Query."""

    def mark(self, times: tuple[int, ...]) -> None:
        """Compare before and after these moments; none: after those that are found."""

    def hold(self, on: bool) -> None:
        """Pause, or go on."""

    def ask(self) -> None:
        """What the view on top asks has changed."""

    def repaint(self) -> None:
        """Show the newest frame."""

    def refresh_view(self) -> None:
        """Parts of the view on top came or went."""

    def go(self, name: str) -> None:
        """Open a view over what is seen, or come back to it if it is below. A numbered one takes the
        place of another."""

    def go_in(self, name: str, text: str) -> None:
        """Open a view over what is seen, of those rows alone that ``text`` finds too; :meth:`back` gives
        the others back."""

    def next_view(self, step: int) -> None:
        """Show the numbered view ``step`` places further."""

    def last_view(self) -> None:
        """Show the view that was seen before this one."""

    def back(self) -> bool:
        """Close the view on top; False when it is the only one."""

    def come_back_to(self, context: str) -> None:
        """Close views until keys of this context (flowwatch.tui.keys) act on what is seen."""

    def do(self, action: str) -> None:
        """Carry out an action of the key map, or open a view."""

    def edit(self, sign: str, text: str = "") -> None:
        """Let a line be typed, after ``/`` or ``:``."""

    def say(self, text: str, role: str = "strong", seconds: float = 5.0) -> None:
        """Show one safe line in place of the keys, for a while."""

    def relook(self, theme: str) -> None: ...

    def take_mouse(self, on: bool) -> None:
        """Take the mouse from the terminal, or give it back."""

    def write(self, sequence: str) -> None:
        """Send a control sequence to the terminal, as it is."""

    @property
    def hidden_for_good(self) -> bool:
        """Whether names were hidden before anything was read: nobody has the real ones."""

    def hide(self, on: bool) -> None:
        """Show pseudonyms in place of names and addresses, or these again; filters by them are left."""

    def picture(self) -> str:
        """What is on the screen, as SVG."""

    def beside(self, work: Callable[[], object]) -> None:
        """Do ``work`` in a thread."""

    def from_beside(self, function: Callable[..., object], *args: object) -> None:
        """From such a thread: call ``function`` where it may touch the screen."""

    def interrupt(self) -> None:
        """ctrl-c: leave the input; pressed twice, the program."""

    def away(self) -> AbstractContextManager[None]:
        """The terminal as it was before, for another program."""

    def suspend_program(self) -> None:
        """Back to the shell that it was started from, until that continues it."""

    def leave(self) -> None:
        """End the dashboard."""
