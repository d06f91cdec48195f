"""Views that are a table of rows, under the figures and the timeline, with panels beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.containers import Container

from flowwatch.egress.query import ORDERS
from flowwatch.egress.rows import Row, Snapshot
from flowwatch.tui import keys
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import SECOND
from flowwatch.tui.layout import layout, roomy
from flowwatch.tui.parts.columns import COLUMNS, ORDER_OF, ScreenColumn, arranged
from flowwatch.tui.parts.detail import Detail
from flowwatch.tui.parts.empty import empty_lines
from flowwatch.tui.parts.groups import filter_for
from flowwatch.tui.parts.headline import Headline
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.parts.panel import Panel
from flowwatch.tui.parts.rows import Rows, RowsAnswer, rows
from flowwatch.tui.parts.table import Table
from flowwatch.tui.parts.tabs import Tabs
from flowwatch.tui.parts.tail import Tail
from flowwatch.tui.parts.timeline import TimelineView, short_policy
from flowwatch.tui.question import Question
from flowwatch.tui.state import LAST_LIMIT
from flowwatch.tui.view import Body, View, shown_now
from flowwatch.tui.when import between


@dataclass(frozen=True, kw_only=True)
class TableView(View):
    """A view of rows in columns."""

    question: Callable[[Desk, int], Question[Any] | None] = rows
    columns: tuple[ScreenColumn, ...] = COLUMNS
    enter: str = ""
    """The view that the key enter opens; empty: the detail of the selected row."""

    def body(self, desk: Desk) -> Body:
        return Board(self, desk)


class Board(Body):
    """The body of a table of rows: figures, timeline, table, detail and tail."""

    CONTEXTS = (keys.ROWS, keys.TRAFFIC, keys.TIMED)
    DEFAULT_CSS = "Board #middle { height: 1fr; width: 1fr; }"

    view: TableView

    def __init__(self, view: TableView, desk: Desk) -> None:
        super().__init__(view, desk)
        self._detail_asked: bool | None = None
        """Whether the detail is to be open; None: if it has room."""
        self._answered = False
        """Whether its own rows were there, and not only those of the view before."""
        self._tail_asked = False
        self._detail_lines = 0
        """The most that the detail had to say since it was opened; 0: nothing yet."""
        self._whole_timeline = False
        self._terminal = (0, 0, False)
        """Columns, lines, and whether there is a banner."""
        self.headline = Headline()
        self.timeline = TimelineView()
        self.tabs = Tabs()
        self.middle = Container(id="middle")
        self.table = Table(view.columns)
        self.detail = Detail()
        self.tail = Tail()

    def compose(self) -> ComposeResult:
        yield from (self.headline, self.timeline, self.tabs)
        with self.middle:
            yield self.table
            yield self.detail
        yield self.tail

    @property
    def parts(self) -> tuple[Lines, ...]:
        return (self.headline, self.timeline, self.tabs, self.table, self.detail, self.tail)

    @property
    def first_keys(self) -> tuple[str, ...]:
        return ("detail", "copy", "filter", "drops") if self.detail_open else ()

    @property
    def looked_into(self) -> int:
        row = self.table.selected if self.detail_open else None
        return row.key if row is not None else 0

    @property
    def detail_open(self) -> bool:
        """Whether the detail is on the screen."""
        if self._detail_asked is None:
            columns, lines, _ = self._terminal
            return roomy(columns, lines)
        return self._detail_asked

    @property
    def panel(self) -> Panel:
        """What scrolls beside the table."""
        return self.tail if self._tail_asked and not self.detail.display else self.detail

    def lay_out(self, columns: int, lines: int, banner: bool) -> None:
        if (columns, lines) != self._terminal[:2]:
            self._detail_lines = 0
        self._terminal = (columns, lines, banner)
        plan = layout(
            columns,
            lines,
            banner=banner,
            detail=self.detail_open,
            tail=self._tail_asked,
            needed=self._detail_lines,
        )
        for part, height in (
            (self.headline, plan.headline),
            (self.timeline, plan.timeline),
            (self.tabs, plan.tabs),
            (self.tail, plan.tail),
        ):
            part.display = height > 0
            part.styles.height = max(height, 1)
        self.middle.styles.layout = "horizontal" if plan.side else "vertical"
        self.table.display = plan.table > 0
        self.detail.display = plan.detail > 0
        self.detail.side = plan.side > 0
        self.detail.styles.width = plan.side or "1fr"
        self.detail.styles.height = "1fr" if plan.side or not plan.table else plan.detail

    def repaint(self) -> None:
        answer = self.desk.answer(Rows)
        told = answer.value if answer is not None else RowsAnswer(Snapshot())
        asked = answer.question if answer is not None else None
        query = asked.query if isinstance(asked, Rows) else self.desk.chosen.query
        snapshot, state = told.snapshot, self.desk.state
        now = shown_now(self.now_ns(), snapshot.coverage)
        # What ages of records are counted to, on their clock.
        now_there = now - snapshot.coverage.clock_late
        if self.headline.display:
            self.headline.update_from(snapshot, state, now, self.desk.behind)
        if self.timeline.display:
            # A connection that is lost stops no clock.
            goes_on = state.phase in ("following", "lost")
            by_hand = tuple([(time, "set by hand") for time in self.desk.chosen.marks])
            marks = by_hand or tuple(
                [(one.time, ", ".join(map(short_policy, one.policies))) for one in told.marks]
            )
            end = now_there if goes_on else 0
            self.timeline.update_from(snapshot, self._whole_timeline, end, marks)
        self.tabs.update_from(self.desk.tabs, self.view.number)
        columns = self.table.size.width
        empty = empty_lines(
            snapshot,
            state,
            query,
            self.desk.chosen.filter_words,
            columns,
            told.near,
            self.desk.look.keys,
        )
        self.table.put_columns(arranged(self.view.columns, self.desk.chosen.columns))
        # Where it was gone into, the first rows are those that this was narrowed to.
        self._answered = (
            self._answered or not self.came_from or query.text == self.desk.chosen.query.text
        )
        if self._answered:
            self.table.update_from(snapshot, query, now_there, empty)
        if self.detail.display:
            row = self.table.selected
            known = row is not None and told.key == row.key
            of_row = told if known else RowsAnswer(snapshot)
            self.detail.update_from(
                row,
                of_row,
                now_there,
                self.desk.options.hubble,
            )
            self._fit_detail()
        if self.tail.display:
            self.tail.update_from(snapshot.recent, self.desk.chosen.paused)

    def _fit_detail(self) -> None:
        """Give the detail the lines of its text. It only grows, or the table would dance as the selection
        moves."""
        if self.detail.lines_needed > self._detail_lines:
            self._detail_lines = self.detail.lines_needed
            if self.detail.size.height < self._detail_lines and not self.detail.side:
                self.lay_out(*self._terminal)

    def on_resize(self, event: events.Resize) -> None:
        self.repaint()

    def on_timeline_view_chosen(self, event: TimelineView.Chosen) -> None:
        event.stop()
        between(self.desk, event.start, event.end)

    def on_table_selected(self, event: Table.Selected) -> None:
        event.stop()
        picked = self.table.picked
        self.desk.chosen.picked = filter_for(picked) if picked is not None else ""
        self.desk.chosen.row = self.desk.chosen.picked
        if self.detail.display:
            self.repaint()
        self.desk.ask()

    def on_table_opened(self, event: Table.Opened) -> None:
        event.stop()
        self.enter()

    def on_table_headed(self, event: Table.Headed) -> None:
        """Sort by the column that was clicked; by the same once more: the other way round."""
        event.stop()
        query = self.desk.chosen.query
        order = ORDER_OF.get(event.column, event.column)
        if order not in ORDERS:
            self.desk.say(f"rows aren't sorted by this: {', '.join(ORDERS)}", "dim", 3.0)
        elif order == query.order:
            self.desk.choose(reverse=not query.reverse)
        else:
            self.desk.choose(order=order, reverse=False)
            self.desk.say(f"sorted by {order}: {ORDERS[order]}", seconds=2.0)

    def on_table_wanted(self, wanted: Table.Wanted) -> None:
        wanted.stop()
        limit = self.desk.chosen.query.limit or LAST_LIMIT
        if limit < LAST_LIMIT:
            self.desk.choose(limit=LAST_LIMIT if wanted.last else min(limit * 4, LAST_LIMIT))

    # What keys do -----------------------------------------------------------------------------

    @property
    def selected(self) -> Row | None:
        return self.table.selected

    def now_ns(self) -> int:
        answer = self.desk.answer(Rows)
        if answer is None:
            return time.time_ns()
        if self.desk.state.phase in ("reading", "ended"):
            return answer.value.snapshot.coverage.last_seen
        return int(answer.taken * SECOND) if self.desk.chosen.paused else time.time_ns()

    def enter(self) -> None:
        if self.view.enter:
            self.desk.go(self.view.enter)
        else:
            self.toggle("detail")

    def toggle(self, part: str, on: bool | None = None) -> None:
        _TOGGLES[part](self, on)

    def toggle_detail(self, on: bool | None) -> None:
        self._detail_asked = not self.detail_open if on is None else on
        self._detail_lines = 0
        self.desk.refresh_view()

    def toggle_tail(self, on: bool | None) -> None:
        self._tail_asked = not self._tail_asked if on is None else on
        self.desk.refresh_view()
        if self._tail_asked and not self.tail.display:
            text = "the last records show when the detail is closed: there is room for one"
            self.desk.say(text, "warn")

    def toggle_fold(self, on: bool | None) -> None:
        """Unfold the selected row, or fold it; of a row of an open fold, the fold."""
        row, answer = self.table.selected, self.desk.answer(Rows)
        if row is None or answer is None:
            return
        snapshot, unfolded = answer.value.snapshot, self.desk.chosen.query.unfolded
        fold = snapshot.within.get(row.key, row.key)
        if fold not in snapshot.folds or (fold == row.key and row.pods < 2):
            self.desk.say("a single pod: there is nothing to unfold", "dim", 2.0)
            return
        if on is None:
            on = fold not in unfolded
        self.table.stay_with(row.key if on else fold)
        open_now = unfolded | {fold} if on else unfolded - {fold}
        self.desk.choose(unfolded=open_now, limit=self.desk.chosen.query.limit)

    def toggle_window(self, on: bool | None) -> None:
        self._whole_timeline = not self._whole_timeline if on is None else on
        shown = "everything so far" if self._whole_timeline else "the latest alone"
        self.desk.say(f"timeline: {shown}", seconds=2.0)
        self.repaint()

    def close_part(self) -> bool:
        if self._detail_asked:
            self.toggle_detail(False)
        elif self._tail_asked:
            self.toggle_tail(False)
        else:
            return False
        return True

    def move(self, step: Callable[[int], int], *, panel: bool = False) -> None:
        if panel or not self.table.display:
            self.panel.scroll_lines(step(self.panel.page))
        else:
            self.table.move(step(self.table.page))

    def move_to_end(self, *, first: bool) -> None:
        if not self.table.display:
            if first:
                self.panel.scroll_to_start()
            else:
                self.panel.scroll_to_last()
        elif first:
            self.table.to_top()
            self.repaint()
            self.desk.ask()
        else:
            self.table.to_bottom()


_TOGGLES: dict[str, Callable[[Board, bool | None], None]] = {
    "detail": Board.toggle_detail,
    "tail": Board.toggle_tail,
    "window": Board.toggle_window,
    "fold": Board.toggle_fold,
}
