"""The base of all widgets: lines of styled text, of which only what changed is painted again.

A widget is given its lines (:meth:`Lines.show`); each is compared with what is on the screen, and
the terminal gets of a changed line the parts that changed. That is what keeps a busy
dashboard at a few kilobytes a second, and one where nothing happens at none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from flowwatch.report.human import width
from flowwatch.tui.format import Line, Piece, line_width
from flowwatch.tui.spans import SpanScreen
from flowwatch.tui.theme import BLANK, FANCY, Look

_KEPT = 512
"""Lines that are kept as they were painted."""

_SHORT = 12
"""Columns between two changes that are painted with them: to skip them costs some 25 bytes."""


class Lines(Widget):
    """Shows a list of lines from the top; what doesn't fit is cut off."""

    DEFAULT_CSS = "Lines { height: auto; width: 1fr; }"
    ABOUT: ClassVar[tuple[str, ...]] = ()
    """Lines for the help screen, when there is more to say than the keys do."""

    can_focus = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.look = Look("mono", FANCY)
        self._lines: list[Line] = []
        self._strips: dict[tuple[Line, int], Strip] = {}
        """Of lines that were painted, in the look of now, by their width."""
        self.painted = 0
        """Columns painted so far, for whoever wants to know what a frame costs."""

    def show(self, lines: Sequence[Line], scrolled: int = 0) -> None:
        """Put ``lines`` on the screen. Cheap when little has changed, free when nothing has.

        ``scrolled``: those below the first went up by so many, which the terminal can do by itself.
        """
        old, self._lines = self._lines, list(lines)
        if scrolled and len(old) == len(lines) == self.size.height and self._scroll(scrolled):
            gone: list[Line] = [()] * abs(scrolled)
            old = (
                old[:1] + (old[1:] + gone)[scrolled:] if scrolled > 0 else old[:1] + gone + old[1:]
            )
        regions: list[Region] = []
        for y in range(max(len(old), len(lines))):
            before = old[y] if y < len(old) else ()
            after = lines[y] if y < len(lines) else ()
            if before != after:
                changed = _changed(before, after)
                regions += [Region(start, y, end - start, 1) for start, end in changed]
        if regions:
            self.painted += sum(region.width for region in regions)
            self.refresh(*regions)

    def _scroll(self, by: int) -> bool:
        if not self.is_attached or self._repaint_regions:
            return False
        screen = self.screen
        return isinstance(screen, SpanScreen) and screen.scroll_lines(self, 1, by)

    def relook(self, look: Look) -> None:
        """Paint everything in another look."""
        self.look = look
        self._strips.clear()
        self.refresh()

    @property
    def lines(self) -> list[Line]:
        """What is shown."""
        return self._lines

    def render_lines(self, crop: Region) -> list[Strip]:
        """Textual's, for a widget without borders: a line is rendered once, wherever it stands."""
        strips = [self.render_line(y) for y in crop.line_range]
        for each in self.get_line_filters():
            strips = [strip.apply_filter(each, self.background_colors[1]) for strip in strips]
        if crop.column_span != (0, self.size.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y >= len(self._lines):
            return Strip.blank(width)
        line = self._lines[y]
        known = self._strips.get((line, width))
        if known is None:
            if len(self._strips) >= _KEPT:
                self._strips.clear()
            known = self._strips[line, width] = self._strip(line).adjust_cell_length(width)
        return known

    def _strip(self, line: Line) -> Strip:
        style = self.look.style
        pieces = _merged(line)
        if self.look.signs.ellipsis != FANCY.ellipsis:
            pieces = [
                (text.replace(FANCY.ellipsis, self.look.signs.ellipsis), r) for text, r in pieces
            ]
        return Strip([Segment(text, style(role)) for text, role in pieces])


def _merged(line: Line) -> list[Piece]:
    """``line`` in fewer pieces, as each costs the terminal some twenty bytes of styling.

    Spaces go with what is before them; where they would be seen (underlined, reversed) they have a
    role of that look, and so has what is beside them.
    """
    merged: list[Piece] = []
    for text, role in line:
        if merged:
            last, last_role = merged[-1]
            if role == last_role or (text.isspace() and role in BLANK and last_role in BLANK):
                merged[-1] = (last + text, last_role)
                continue
        if text:
            merged.append((text, role))
    return merged


def _changed(before: Line, after: Line) -> list[tuple[int, int]]:
    """The columns that differ: from, to. What is between two of them is left out where moving the cursor
    over it and styling anew costs less."""
    if len(before) != len(after):
        return [(0, max(line_width(before), line_width(after)))]
    spans: list[tuple[int, int]] = []
    column = 0
    for (old, old_role), (new, new_role) in zip(before, after, strict=True):
        wide = width(new)
        if old != new or old_role != new_role:
            if width(old) != wide:
                # All that follows is elsewhere.
                end = max(line_width(before), line_width(after))
                spans.append((column, end))
                break
            start, end = _differing(old, new) if old_role == new_role else (0, wide)
            spans.append((column + start, column + end))
        column += wide
    joined = spans[:1]
    for start, end in spans[1:]:
        if start - joined[-1][1] <= _SHORT:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined


def _differing(old: str, new: str) -> tuple[int, int]:
    """Of two texts as wide, and not equal, the columns between what is the same at both ends."""
    first = next(at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other)
    same = 0
    while same < min(len(old), len(new)) - first and old[-1 - same] == new[-1 - same]:
        same += 1
    start, end = width(new[:first]), width(new) - width(new[len(new) - same :])
    # What has no width of its own is painted with what it stands on.
    return (start, end) if start < end else (max(start - 1, 0), max(start, 1))
