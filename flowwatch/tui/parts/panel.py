"""Panels that scroll: a title line, and text below it that may be longer than the panel."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events

from flowwatch.report.human import width
from flowwatch.tui.format import Line, cut, line_width
from flowwatch.tui.parts.lines import Lines


class Panel(Lines):
    """A titled piece of text; the base of detail, tail and pages."""

    DEFAULT_CSS = "Panel { height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = ""
        self._note = ""
        self._body: list[Line] = []
        self._top = 0
        self.side = False
        """Whether it stands at the right of something, and draws a line to its left."""

    @property
    def page(self) -> int:
        """Lines of text that fit below the title."""
        return max(self.size.height - 1, 1)

    @property
    def lines_needed(self) -> int:
        """Lines that hold all of its text, and the title."""
        return len(self._body) + 1

    def fill_with(self, title: str, note: str, body: Sequence[Line]) -> None:
        """Show ``body`` under ``title``, with ``note`` at the right end of the title line."""
        self._title, self._note, self._body = title, note, list(body)
        self.repaint()

    def scroll_lines(self, step: int) -> None:
        """Move the text by so many lines, as far as it goes."""
        self._top += step
        self.repaint()

    def bring(self, line: int) -> None:
        """Scroll so that a line of the text is on the screen, no further than need be."""
        if not self._top <= line < self._top + self.page:
            self._top = max(line - self.page // 3, 0)
            self.repaint()

    def scroll_to_start(self) -> None:
        self._top = 0
        self.repaint()

    def scroll_to_last(self) -> None:
        self._top = len(self._body)
        self.repaint()

    def repaint(self) -> None:
        """Show the part of the text that is scrolled to."""
        columns, height = self.size
        if columns <= 0 or height <= 0:
            return
        last = max(len(self._body) - self.page, 0)
        self._top = max(0, min(self._top, last))
        shown = self._body[self._top : self._top + height - 1]
        note = self._note
        if last:
            part = 100 * (self._top + len(shown)) // len(self._body)
            note = f"{part}%  {note}" if note else f"{part}%"
        edge: Line = ((self.look.signs.edge, "dim"),) if self.side else ()
        if self.side:
            shown += [()] * (height - 1 - len(shown))
        lines = [cut((*edge, *line), columns) for line in shown]
        self.show([cut((*edge, *self._rule(note, columns - len(edge))), columns), *lines])

    def _rule(self, note: str, columns: int) -> Line:
        sign = self.look.signs.rule
        head: Line = ((f"{sign} ", "dim"), (self._title, "strong"), (" ", "dim"))
        tail = f" {note} {sign}" if note else ""
        rest = columns - line_width(head) - width(tail)
        if rest < 1:
            return cut((*head, (sign * columns, "dim")), columns)
        return (*head, (sign * rest, "dim"), (tail, "dim"))

    def on_resize(self, event: events.Resize) -> None:
        self.repaint()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_lines(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_lines(-3)
