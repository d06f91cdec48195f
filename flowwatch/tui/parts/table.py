"""The egress table. Its selection follows the row, not the place, and only changes are painted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace
from textual import events
from textual.message import Message

from flowwatch.egress.query import Query
from flowwatch.egress.rows import Fold, Row, Snapshot, Totals
from flowwatch.report.human import width as width_of
from flowwatch.tui.format import Line, cut, line_width
from flowwatch.tui.parts import columns as cols
from flowwatch.tui.parts.empty import small_lines
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.theme import CURSOR

_TICK = 250_000_000
"""Nanoseconds in which lines are made once, with the ages that they begin with."""


class Table(Lines):
    """Rows of a snapshot under a header, with one of them selected.

    Until the selection is moved it stays at the first row, whichever that is; from then on it
    stays with its row, wherever that goes. If the row is filtered away, the first one is selected
    until it comes back.
    """

    DEFAULT_CSS = "Table { height: 1fr; }"
    ABOUT = (
        "A row is a workload and a destination: {unfold} shows its pods, {fold_by} folds by namespace or",
        "not at all, :fold label:KEY by a label. Counts of a fold are the sums of its rows; a filter chooses",
        "rows before they are folded, 'drops only' folds. A pod is its workload and what tells it from the",
        "others: weather-app·pk4k7. A row's sign is the worst that happened: dropped, audited",
        "or error (!), forwarded, or no final word yet (?). AUDITED would be denied if enforced.",
        "ANSWERED are attempts that something came back for, as let through is not yet alive; REASON",
        "says of a row without drops what else is odd: refused, unreachable, late.",
    )

    class Selected(Message):
        """Another row is selected."""

    class Opened(Message):
        """The selected row was clicked again."""

    class Headed(Message):
        """The heading of a column was clicked."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    class Wanted(Message):
        """The end of the rows is near: more of them should be asked for."""

        def __init__(self, *, last: bool = False) -> None:
            """``last``: the last of all rows is wanted, not only a few more."""
            super().__init__()
            self.last = last

    def __init__(self, columns: Sequence[cols.ScreenColumn] = cols.COLUMNS) -> None:
        super().__init__()
        self._columns = columns
        self._rows: tuple[Row, ...] = ()
        self._place: dict[int, int] = {}
        self._matched = 0
        self._totals = Totals()
        self._clusters = self._staged = False
        self._query = Query()
        self._now = 0
        self._empty: list[Line] = []
        self._index = 0
        self._top = 0
        self._key = 0
        """Of the row that the selection was put on; 0 while it stays at the top."""
        self._to_last = False
        """Whether the last of all rows was asked for, and isn't there yet."""
        self._namespace: str | None = None
        self._layout: tuple[object, ...] = ()
        self._needs: dict[str, int] = {}
        self._grown: set[int] = set()
        """Rows that the needs of columns are known of, by their places."""
        self._grown_of: list[str] = []
        """The columns that are meant."""
        self._made: dict[int, Line] = {}
        """Lines of rows that aren't selected, by their places: each is made once a snapshot and tick."""
        self._made_of: tuple[object, ...] = ()
        self._shown_top = 0
        """The place of the first row on the screen."""
        self._heads: list[tuple[str, int]] = []
        """The columns that are seen, and how wide they are."""
        self._folds: Mapping[int, Fold] = {}
        self._within: Mapping[int, int] = {}

    @property
    def selected(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self._index] if self._index < len(self._rows) else None

    @property
    def picked(self) -> Row | None:
        """The row that the selection was put on; None while it stays at the top."""
        return self.selected if self._key else None

    @property
    def page(self) -> int:
        """Rows that fit below the header."""
        return max(self.size.height - 1, 1)

    def update_from(self, snapshot: Snapshot, query: Query, now: int, empty: list[Line]) -> None:
        """Show a snapshot that answers ``query``; ``empty`` is shown when it has no rows."""
        # More of the same rows is nothing else.
        others = replace(query, limit=None) != replace(self._query, limit=None)
        if _arrangement(query) != _arrangement(self._query):
            self._forget_needs()
        self._query = query
        if snapshot.rows is not self._rows:
            self._rows = snapshot.rows
            self._made.clear()
            self._grown.clear()
            self._place = {row.key: index for index, row in enumerate(snapshot.rows)}
            found = {row.namespace for row in snapshot.rows if row.namespace}
            self._namespace = next(iter(found)) if len(found) == 1 else None
        self._matched = snapshot.matched
        self._folds, self._within = snapshot.folds, snapshot.within
        self._totals = snapshot.totals
        self._clusters = len(snapshot.coverage.clusters) > 1
        self._staged = bool(snapshot.staged)
        self._now = now
        self._empty = empty
        before = self._index
        if self._to_last and (len(self._rows) == self._matched or len(self._rows) > before + 1):
            self._to_last = False
            self._index = max(len(self._rows) - 1, 0)
            self._key = self._rows[self._index].key if self._rows else 0
        elif self._key and self._key in self._place:
            self._index = self._place[self._key]
        elif not self._key or others:
            self._index = 0
        self._clamp()
        if self._index != before:
            self._follow()
        self.repaint()

    def put_columns(self, columns: Sequence[cols.ScreenColumn]) -> None:
        """Show these columns, as far as there is room."""
        if list(columns) != list(self._columns):
            self._columns = columns
            self._forget_needs()

    def move(self, step: int) -> None:
        """Move the selection by so many rows."""
        self._select(self._index + step)

    def stay_with(self, key: int) -> None:
        """Select the row with this key as soon as it is there, and stay with it."""
        self._key = key

    def to_top(self) -> None:
        """Select the first row, and stay there whichever row it is."""
        self._select(0)
        self._key = 0

    def to_bottom(self) -> None:
        """Select the last row of all, once it is there."""
        self._select(len(self._rows) - 1, last=True)

    def repaint(self) -> None:
        """Make the lines anew; those that are as before cost nothing more."""
        width, height = self.size
        if width <= 0 or height <= 0:
            return
        if small := small_lines(width, height):
            self.show(small)
            return
        self._top = max(0, min(self._top, len(self._rows) - self.page))
        rows = self._rows[self._top : self._top + height - 1]
        if not self._rows:
            self.show([cut(line, width) for line in self._empty[:height]])
            return
        both = self._query.direction == "both"
        signs = self.look.signs
        arrows = (signs.to, signs.of) if both else None
        cells = cols.Cells(
            self._now, self._namespace, arrows, signs, True, self._query.by, self._query.unfolded,
            self._folds, self._within,
        )  # fmt: skip
        chosen, widths, head = self._laid_out(rows, cells)
        self._heads = [(one.name, wide) for one, wide in zip(chosen, widths, strict=True)]
        self._keep_made()
        lines = [head]
        for place, row in enumerate(rows, self._top):
            if place == self._index:
                line = cols.row_line(row, chosen, widths, cells, signs, selected=True)
                rest = width - sum(widths) - len(widths) * len(cols.GAP) - cols.MARK - 1
                lines.append(cut((*line, (" " * max(rest, 0), f"{CURSOR}text")), width))
                continue
            made = self._made.get(place)
            if made is None:
                line = cols.row_line(row, chosen, widths, cells, signs, selected=False)
                made = self._made[place] = cut(line, width)
            lines.append(made)
        scrolled, self._shown_top = self._top - self._shown_top, self._top
        self.show(lines, scrolled if abs(scrolled) <= self.page // 2 else 0)

    def _keep_made(self) -> None:
        """Forget the lines that were made, unless they are of the same question, look, columns and time."""
        made_of = (self._query, self.look, self._heads, self.size.width, self._now // _TICK)
        if made_of != self._made_of:
            self._made.clear()
            self._made_of = made_of

    def _forget_needs(self) -> None:
        self._needs.clear()
        self._grown.clear()

    def _grow(
        self, chosen: list[cols.ScreenColumn], rows: tuple[Row, ...], cells: cols.Cells
    ) -> None:
        """What the columns need; it only grows, or the columns would dance as rows come and go."""
        names = [column.title for column in chosen]
        if names != self._grown_of:
            self._grown_of = names
            self._grown.clear()
        places = range(self._top, self._top + len(rows))
        new = [row for place, row in zip(places, rows, strict=True) if place not in self._grown]
        self._grown.update(places)
        found = cols.needs(chosen, new, cells)
        for column, need in zip(chosen, found, strict=True):
            self._needs[column.title] = max(self._needs.get(column.title, 0), need)

    def _laid_out(
        self, rows: tuple[Row, ...], cells: cols.Cells
    ) -> tuple[list[cols.ScreenColumn], list[int], Line]:
        """The columns, their widths, and the header: the place in the rows at its right end, when they
        don't fit, for which the columns leave room."""
        width = self.size.width
        columns = cols.folded(self._columns, self._query.by)
        if self._query.window:
            # Of a window nobody knows them.
            columns = [one for one in columns if one.name not in cols.OF_ALL_TIME]
        peer = "DESTINATION" if self._query.direction == "egress" else "PEER"
        counter = self._counter()
        room, spare = width, len(counter)
        while True:
            chosen = cols.choose(room, self._totals, self._clusters, columns, staged=self._staged)
            if room == width:
                # Fewer columns have room later, and none that isn't among these.
                self._grow(chosen, rows, cells)
            widths = cols.share(room, chosen, [self._needs[one.title] for one in chosen])
            head = cols.header(chosen, widths, self._query.order, self._namespace, peer)
            titles = "".join(part for part, _ in head).rstrip()
            over = width_of(titles) + spare - width
            if not spare or over <= 0 or room - over < width // 2:
                break
            room -= over
        if not spare or over > 0:
            return chosen, widths, cut(head, width)
        kept = cut(head, width - spare)
        return (
            chosen,
            widths,
            (*kept, (" " * (width - spare - line_width(kept)), "head"), (counter, "dim")),
        )

    def _counter(self) -> str:
        """The place in the rows, as wide for each of them; empty when all of them are seen."""
        if self._matched <= self.page:
            return ""
        most = f"{self._matched:,}"
        text = f" {self._index + 1:>{len(most)},}/{most} "
        return text if len(text) <= self.size.width // 3 else ""

    def _select(self, index: int, *, last: bool = False) -> None:
        before = self.selected
        self._to_last = last and len(self._rows) < self._matched
        self._index = index
        self._clamp()
        row = self.selected
        self._key = row.key if row is not None else 0
        self._follow()
        self.repaint()
        if row is not before:
            self.post_message(self.Selected())
        if self._index >= len(self._rows) - self.page and len(self._rows) < self._matched:
            self.post_message(self.Wanted(last=last))

    def _clamp(self) -> None:
        self._index = max(0, min(self._index, len(self._rows) - 1))

    def _follow(self) -> None:
        """Scroll as little as needed to have the selection on the screen."""
        self._top = max(min(self._top, self._index), self._index - self.page + 1)

    def on_resize(self, event: events.Resize) -> None:
        self._forget_needs()
        self._follow()
        self.repaint()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(-3)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        index = self._top + event.y - 1
        if event.y == 0 and self._rows:
            self._head_clicked(event.x)
        if event.y < 1 or index >= len(self._rows):
            return
        if index == self._index and self._key:
            self.post_message(self.Opened())
        else:
            self._select(index)

    def _head_clicked(self, place: int) -> None:
        end = cols.MARK + 1
        for column, width in self._heads:
            end += width + len(cols.GAP)
            if place < end:
                self.post_message(self.Headed(column))
                return


def _arrangement(query: Query) -> tuple[object, ...]:
    """What of a query brings other texts into the columns."""
    return query.order, query.reverse, query.direction, query.by
