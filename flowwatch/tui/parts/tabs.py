"""The numbered views in a line: which there are, and which is seen."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message

from flowwatch.report.human import width
from flowwatch.tui.desk import Numbered
from flowwatch.tui.format import Line, Piece, cut
from flowwatch.tui.parts.lines import Lines


class Tabs(Lines):
    """A name and its key for each; a click on one is its key."""

    DEFAULT_CSS = "Tabs { height: 1; }"

    class Clicked(Message):
        """A view's name was clicked."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def update_from(self, tabs: Sequence[Numbered], seen: int) -> None:
        """``seen``: the number of the view on top, 0 for another."""
        self.show([tabs_line(tabs, seen, self.size.width)])

    def on_click(self, event: events.Click) -> None:
        event.stop()
        end = 0
        for text, _ in self.lines[0] if self.lines else ():
            end += width(text)
            if event.x < end:
                if text.strip():
                    self.post_message(self.Clicked(int(text.strip(" []").partition(" ")[0])))
                return


def tabs_line(tabs: Sequence[Numbered], seen: int, columns: int) -> Line:
    """All of them for a terminal of so many columns, by short names or numbers alone where need be."""
    for names in ([one.tab for one in tabs], [one.tab_short for one in tabs], [""] * len(tabs)):
        pieces: list[Piece] = [(" ", "text")]
        for one, name in zip(tabs, names, strict=True):
            text = f"{one.number} {name}".rstrip()
            mark = one.number == seen
            pieces.append((f"[{text}]" if mark else f" {text} ", "strong" if mark else "dim"))
        if sum(width(text) for text, _ in pieces) <= columns:
            break
    return cut(tuple(pieces), columns)
