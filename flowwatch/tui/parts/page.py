"""Views that are a page of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import events

from flowwatch.tui import keys
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import Line
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.parts.panel import Panel
from flowwatch.tui.view import Body, View


@dataclass(frozen=True, kw_only=True)
class TextView(View):
    """A view of lines, that covers everything but the footer and scrolls."""

    title: str
    timed: bool = False
    """Whether it is of the window of time that is chosen."""
    lines: Callable[[Desk, int], Sequence[Line]]
    """Its text, for a terminal of so many columns; every text of it is safe."""

    def body(self, desk: Desk) -> Body:
        return Page(self, desk)


class Page(Body):
    """The body of a view of text."""

    COVERS = True
    FIRST = ("down", "up", "page_down")

    view: TextView

    def __init__(self, view: TextView, desk: Desk) -> None:
        super().__init__(view, desk)
        self.panel = Panel()
        self._made_of: tuple[object, ...] = ()
        self._lines: Sequence[Line] = ()

    def compose(self) -> list[Panel]:
        return [self.panel]

    @property
    def parts(self) -> tuple[Lines, ...]:
        return (self.panel,)

    @property
    def contexts(self) -> tuple[str, ...]:
        return (keys.TIMED,) if self.view.timed else ()

    @property
    def first_keys(self) -> tuple[str, ...]:
        return (*self.FIRST, "direction") if self.ways == "chosen" else self.FIRST

    def repaint(self) -> None:
        question = self.question()
        answer = self.desk.answer(type(question)) if question is not None else None
        columns = self.panel.size.width
        query = self.desk.chosen.query
        made_of = (answer, self.desk.state, columns, self.desk.look.name, query)
        if columns <= 0:
            return
        if not self._made_of or any(
            a is not b for a, b in zip(made_of, self._made_of, strict=True)
        ):
            self._made_of = made_of
            self._lines = self.view.lines(self.desk, columns)
        arrow = f" {self.desk.look.signs.to} "
        title = arrow.join([*self.desk.trail[1:-1], self.view.title])
        if self.ways == "chosen":
            title += f" ({query.direction})"
        note = (
            "paused"
            if self.desk.chosen.paused and question is not None
            else self.desk.look.keys.told("{back} closes")
        )
        self.panel.fill_with(title, note, self._lines)

    def move(self, step: Callable[[int], int], *, panel: bool = False) -> None:
        self.panel.scroll_lines(step(self.panel.page))

    def move_to_end(self, *, first: bool) -> None:
        if first:
            self.panel.scroll_to_start()
        else:
            self.panel.scroll_to_last()

    def on_resize(self, event: events.Resize) -> None:
        self.repaint()
