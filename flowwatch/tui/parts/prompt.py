"""The last line while something is typed into it: a filter after ``/``, a command after ``:``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual import events

from flowwatch.tui.editor import Editor
from flowwatch.tui.parts.footer import Footer


@dataclass(frozen=True, slots=True)
class Way:
    """What is done with a line that is typed after one sign."""

    advice: Callable[[str], str]
    """What could be typed next, or what came of it."""
    changed: Callable[[str], None]
    entered: Callable[[str], None]
    left: Callable[[], None]
    completed: Callable[[str], str]
    """The line, as far as it can only be meant."""
    bad: Callable[[str], tuple[int, int]] = lambda text: (0, 0)
    """Where a word stands that is wrong: its place and its length."""


class Prompt(Footer):
    """A footer that has the focus, and so all keys, while a line is typed."""

    can_focus = False

    def __init__(self) -> None:
        super().__init__()
        self.line: Editor | None = None
        self._way: Way | None = None
        self._history: dict[str, list[str]] = {}

    def edit(self, sign: str, text: str, way: Way) -> None:
        """Begin a line, with ``text`` in it."""
        self.line = Editor(sign, text, self._history.setdefault(sign, []))
        self._way = way
        self.take_focus()

    def take_focus(self) -> None:
        """Have the keys again, which a click elsewhere took."""
        self.can_focus = True
        self.screen.set_focus(self, scroll_visible=False)

    def leave(self) -> None:
        """Close the line, as esc does."""
        way = self._close()
        if way is not None:
            way.left()

    def forget(self) -> None:
        """Forget what was typed."""
        self._history.clear()

    def show_line(self) -> None:
        """What is typed, and advice."""
        if self.line is not None and self._way is not None:
            self.editor(self.line, self._way.advice(self.line.text), self._way.bad(self.line.text))

    def _close(self) -> Way | None:
        way, self._way, self.line = self._way, None, None
        self.can_focus = False
        self.screen.set_focus(None)
        return way

    def on_key(self, event: events.Key) -> None:
        line, way = self.line, self._way
        if line is None or way is None:
            # Pressed before the line was closed: not ours any more.
            return
        event.stop()
        if event.key in ("escape", "ctrl+c"):
            self.leave()
        elif event.key == "enter":
            self._remember(line)
            self._close()
            way.entered(line.text)
        elif event.key in ("tab", "shift+tab"):
            line.replace(way.completed(line.text))
            way.changed(line.text)
        elif event.key == "backspace" and not line.text:
            # As in vim and less: there is nothing left to take away but the input itself.
            self._close()
            way.entered("")
        elif line.key(event.key, event.character):
            way.changed(line.text)

    def on_paste(self, event: events.Paste) -> None:
        if self.line is not None and self._way is not None:
            event.stop()
            self.line.insert(event.text)
            self._way.changed(self.line.text)

    def _remember(self, line: Editor) -> None:
        history = self._history[line.sign]
        if line.text and history[-1:] != [line.text]:
            history.append(line.text)
