"""Only what changed of a line is sent to the terminal, and lines that moved are moved by it.

Textual's own update of some columns begins at the widget's left edge, whichever they are: of a table whose
ages change once a second that is 3.5 KB/s instead of 1.5. It also ends each piece's style before the next one
begins, and sends a table that scrolled by a line anew, 4 KB instead of 0.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from rich.color import ColorSystem
from rich.console import Console
from rich.control import Control
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, Compositor, LayoutUpdate
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

AGAIN = 0.004
"""Seconds from one update of the screen to the next, at least."""

_ERASED = 5
"""Spaces at the end of a line from which erasing it is shorter."""


_COLOURS = {"3": "38", "9": "38", "4": "48", "10": "48"}
"""31 and 91 are colours of the text, as 38 is; 41 and 101 of what is behind it."""


class Scroll(NamedTuple):
    """Lines that are moved up (``by`` below 0: down); what is beyond is erased."""

    first: int
    """Of the terminal, from 0 on."""
    end: int
    by: int

    @property
    def sequence(self) -> str:
        """Deleting or inserting lines within margins, as even the Linux console does."""
        margins = f"\x1b[{self.first + 1};{self.end}r\x1b[{self.first + 1}H"
        return f"{margins}\x1b[{abs(self.by)}{'M' if self.by > 0 else 'L'}\x1b[r"


class _Pen:
    """Writes pieces of text, changing as little as it can of how."""

    def __init__(self, console: Console) -> None:
        # Textual's Strip takes it there, too: rich tells its name alone.
        self._system = console._color_system
        self._codes = ""
        self.written: list[str] = []

    def write(self, segments: Sequence[Segment], *, to_the_end: bool) -> None:
        """``to_the_end``: the terminal's line ends with them."""
        left = _blank_end(segments, self._system) if to_the_end else 0
        size = sum([len(segment.text) for segment in segments]) - left
        for text, style, _ in segments:
            self._piece(text[:size], _codes(style, self._system))
            size = max(size - len(text), 0)
        if left:
            if not _unseen(self._codes):
                self._change("")
            self.written.append("\x1b[K")

    def end(self) -> str:
        """All of it, with which the terminal is left as it was."""
        self._change("")
        return "".join(self.written)

    def _piece(self, text: str, codes: str) -> None:
        if not text:
            return
        if not (text.isspace() and _unseen(codes) and _unseen(self._codes)):
            self._change(codes)
        self.written.append(text)

    def _change(self, codes: str) -> None:
        if codes == self._codes:
            return
        anew = codes and not _kinds(self._codes) <= _kinds(codes)
        self.written.append(f"\x1b[{'0;' if anew else ''}{codes}m")
        self._codes = codes


def _blank_end(segments: Sequence[Segment], system: ColorSystem | None) -> int:
    """How many spaces at the end look as if they were erased; 0 where that isn't worth it."""
    found = 0
    for text, style, _ in reversed(segments):
        if not _unseen(_codes(style, system)):
            break
        kept = text.rstrip(" ")
        found += len(text) - len(kept)
        if kept:
            break
    return found if found >= _ERASED else 0


@lru_cache(1024)
def _codes(style: Style | None, system: ColorSystem | None) -> str:
    """What selects a style: ``1;38;5;203``; "" for none."""
    if style is None:
        return ""
    before, _, _ = style.render("x", color_system=system).partition("x")
    return before.removeprefix("\x1b[").removesuffix("m")


@lru_cache(1024)
def _kinds(codes: str) -> frozenset[str]:
    """What a style says something about: ``38`` the colour of the text, ``48`` that behind it, ``1`` …"""
    found: set[str] = set()
    numbers = iter(codes.split(";") if codes else ())
    for number in numbers:
        if number in ("38", "48"):
            for _ in range(1 if next(numbers) == "5" else 3):
                next(numbers)
        found.add(_COLOURS.get(number[:-1], number))
    return frozenset(found)


def _unseen(codes: str) -> bool:
    """Whether a space in this style is an empty cell."""
    return _kinds(codes) <= {"1", "2", "3", "38"}


class Spans(ChopsUpdate):
    """The same update, from its first column on, after what has to be moved."""

    def __init__(
        self,
        chops: Sequence[Mapping[int, Strip | None]],
        spans: list[tuple[int, int, int]],
        chop_ends: list[list[int]],
        scrolls: Sequence[Scroll] = (),
    ) -> None:
        super().__init__(chops, spans, chop_ends)
        self.scrolls = scrolls

    def render_segments(self, console: Console) -> str:
        """The sequences that bring it to the terminal."""
        pen = _Pen(console)
        pen.written += [scroll.sequence for scroll in self.scrolls]
        for y, first, last in self.spans:
            ends = self.chop_ends[y]
            for end, (x, strip) in zip(ends, self.chops[y].items(), strict=False):
                if strip is None or x >= last or end <= first:
                    continue
                start, stop = max(x, first), min(end, last)
                part = strip if (start, stop) == (x, end) else strip.crop(start - x, stop - x)
                pen.written.append(Control.move_to(start, y).segment.text)
                pen.write(list(part), to_the_end=stop == ends[-1])
        return pen.end()


class _Compositor(Compositor):
    def __init__(self) -> None:
        super().__init__()
        self._scrolled: list[tuple[Widget, Region, Scroll]] = []

    def scroll(self, widget: Widget, first: int, by: int) -> bool:
        """See :meth:`SpanScreen.scroll_lines`."""
        placed = self.visible_widgets.get(widget)
        if placed is None or self._dirty_regions:
            return False
        region = placed[0]
        if (region.x, region.width) != (0, self.size.width) or region.bottom > self.size.height:
            return False
        self._scrolled.append((widget, region, Scroll(region.y + first, region.bottom, by)))
        return True

    def render_full_update(self, simplify: bool = False) -> LayoutUpdate:
        self._scrolled.clear()
        return super().render_full_update(simplify)

    def render_partial_update(self) -> ChopsUpdate | None:
        scrolled, self._scrolled = self._scrolled, []
        scrolls = []
        for widget, region, scroll in scrolled:
            placed = self.visible_widgets.get(widget)
            if placed is not None and placed[0] == region:
                scrolls.append(scroll)
            else:
                self._dirty_regions.add(region)
        update = super().render_partial_update()
        return update and Spans(update.chops, update.spans, update.chop_ends, scrolls)


class SpanScreen(Screen[None]):
    """A screen that is updated so."""

    _compositor: _Compositor

    def __init__(self) -> None:
        super().__init__(id="_default")
        self._compositor = _Compositor()
        self._again: Timer | None = None

    @property
    def _update_timer(self) -> Timer:
        """Textual's, which lets 17 ms pass from one update to the next: a key that comes after a frame, and
        a view that is laid out before it is painted, would wait for it."""
        if self._again is None:
            self._again = self.set_interval(
                AGAIN, self._on_timer_update, name="screen_update", pause=True
            )
        return self._again

    def scroll_lines(self, widget: Widget, first: int, by: int) -> bool:
        """Have the terminal move the lines of ``widget`` from ``first`` on up by so many, before what changed
        of them is painted; False: it can't, as others stand beside them, or wait to be painted."""
        return self._compositor.scroll(widget, first, by)
