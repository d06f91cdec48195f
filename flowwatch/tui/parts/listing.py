"""Views that are a list: lines that can be selected, each of which may lead to the rows behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.message import Message

from flowwatch.egress.rows import Row, Snapshot
from flowwatch.report.human import width
from flowwatch.text import plural
from flowwatch.tui import keys
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import SECOND, Line, cut, fit
from flowwatch.tui.layout import layout
from flowwatch.tui.own_table import sort_list
from flowwatch.tui.parts.columns import GAP, MARK, SIGNS, Cells, ScreenColumn, choose, share
from flowwatch.tui.parts.empty import advice_lines, empty_lines, small_lines
from flowwatch.tui.parts.grouped import MOST_ROWS, Grouped
from flowwatch.tui.parts.headline import Headline
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.parts.sorting import (
    Ranks,
    Sorted,
    after,
    called,
    heading_at,
    headings_in,
    in_order,
    marked,
    ranked,
)
from flowwatch.tui.parts.tabs import Tabs
from flowwatch.tui.question import Question
from flowwatch.tui.theme import CURSOR, Signs
from flowwatch.tui.view import Body, View, shown_now


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list, ready to be shown."""

    made: Line | Callable[[], Line]
    """What it says; or what makes that, once the line is seen: of thousands a screen has thirty."""
    key: str = ""
    """Stable while it is there: the selection follows it; empty for what can't be selected."""
    narrow: str = ""
    """The filter that finds the rows behind it; empty: it leads nowhere."""

    @property
    def line(self) -> Line:
        """What it says."""
        return self.made() if callable(self.made) else self.made


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a table, before its columns have a width. Texts are safe."""

    key: str
    cells: tuple[str, ...]
    outcome: str = ""
    """Of columns.SIGNS: the worst that happened; empty: no sign."""
    narrow: str = ""
    values: Mapping[str, float | None] = field(default_factory=dict)
    """What cells are put in order by, the largest first, where their text isn't such a number; by the titles
    of their columns."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What a list shows now, for a terminal of some width."""

    entries: Sequence[Entry]
    head: Line = ()
    ranks: Ranks | None = None
    """What the first entries are put in order by; None: nothing, or the view has done it."""


@dataclass(frozen=True, kw_only=True)
class ListView(View):
    """A view of lines made of an answer, under the figures."""

    listed: Callable[[Desk, Any, int], Listed]
    """What is shown of the answer to its question, in so many columns."""
    enter: Callable[[Desk, Entry], None] | None = None
    """What the key enter does with the selected line; None: the rows behind it are shown."""
    of_rows: bool = True
    """Whether there is nothing to list where there are no rows."""
    sorts: tuple[str, ...] = ()
    """What its headings are called (sorting.called) by which it can be put in order."""
    nothing: str = ""
    """What stands there when there are rows, and nothing to list: a safe line."""
    advice: tuple[str, ...] = ()
    """What to do then, a safe line each."""

    def body(self, desk: Desk) -> Body:
        return Listing(self, desk)


def head(
    title: str, least: int, rank: int = 0, *, number: bool = False, role: str = "text",
    good: int = 0, most: int = 400, words: str = "",
) -> ScreenColumn:  # fmt: skip
    """A column of a list; see ScreenColumn. Its texts come with the items."""
    return ScreenColumn(
        title, title, rank, least, _no_cell, number, role, good=good, most=most, words=words
    )


def _no_cell(row: Row, cells: Cells) -> str:
    raise NotImplementedError("items bring their texts")


def table(
    columns: Sequence[ScreenColumn],
    items: Sequence[Item],
    snapshot: Snapshot,
    size: int,
    signs: Signs,
) -> Listed:
    """``items`` in columns, as far as ``size`` columns of a terminal hold them."""
    chosen = choose(size, snapshot.totals, of=columns)
    places = [list(columns).index(one) for one in chosen]
    needs = [max([width(item.cells[place]) for item in items], default=0) for place in places]
    widths = share(size, chosen, [max(n, len(c.title)) for n, c in zip(needs, chosen, strict=True)])
    titles: Line = (
        (" " * (MARK + 1), "head"),
        *(
            (fit(one.title, wide, right=one.number) + GAP, "head")
            for one, wide in zip(chosen, widths, strict=True)
        ),
    )
    entries = [
        Entry(partial(_item_line, item, chosen, places, widths, signs), item.key, item.narrow)
        for item in items
    ]
    return Listed(entries, cut(titles, size), partial(_ranks, columns, items))


def titles_of(columns: Sequence[ScreenColumn]) -> tuple[str, ...]:
    """What the headings of ``columns`` are called, all of which put a list in order."""
    return tuple([called(one.title) for one in columns])


def _ranks(columns: Sequence[ScreenColumn], items: Sequence[Item], by: str) -> Sequence[Any] | None:
    for place, column in enumerate(columns):
        if called(column.title) == by:
            texts = [item.cells[place] for item in items]
            values = [item.values.get(column.title) for item in items]
            return ranked(texts, values, number=column.number)
    return None


def _item_line(
    item: Item,
    chosen: Sequence[ScreenColumn],
    places: Sequence[int],
    widths: Sequence[int],
    signs: Signs,
) -> Line:
    sign, sign_role = SIGNS[item.outcome] if item.outcome else ("", "text")
    pieces = [(f"{getattr(signs, sign) if sign else ' '} ", sign_role)]
    for column, place, wide in zip(chosen, places, widths, strict=True):
        text = fit(item.cells[place], wide, right=column.number)
        role = column.role if text.strip() not in ("", "-", "0") else "dim"
        if role == "text" and item.outcome == "dropped":
            role = "strong"
        pieces.append((text + GAP, role))
    return tuple(pieces)


class Chooser(Lines):
    """Lines under a heading, one of them selected. The selection stays with its line, wherever that goes."""

    DEFAULT_CSS = "Chooser { height: 1fr; }"

    class Opened(Message):
        """The selected line was clicked again."""

    class Headed(Message):
        """The heading was clicked, in this column of the terminal."""

        def __init__(self, column: int) -> None:
            super().__init__()
            self.column = column

    def __init__(self) -> None:
        super().__init__()
        self._listed = Listed(())
        self._made: dict[int, Line] = {}
        """Lines of it that were seen, by their places."""
        self._index = 0
        self._top = 0
        self._key = ""
        """Of the line that the selection was put on; empty while it is the first."""

    @property
    def page(self) -> int:
        """Lines that fit below the heading."""
        return max(self.size.height - 1, 1)

    @property
    def selected(self) -> Entry | None:
        entries = self._listed.entries
        found = entries[self._index] if self._index < len(entries) else None
        return found if found is not None and found.key else None

    def update_from(self, listed: Listed) -> None:
        if listed is self._listed:
            self.repaint()
            return
        self._listed = listed
        self._made.clear()
        places = [place for place, one in enumerate(listed.entries) if one.key]
        known = [place for place in places if listed.entries[place].key == self._key]
        if known:
            self._index = known[0]
        else:
            self._index = places[0] if places else 0
        self._follow()
        self.repaint()

    def clear(self) -> None:
        """Be empty, with nothing selected."""
        self._listed = Listed(())
        self._made.clear()
        self._index = self._top = 0
        self._key = ""

    def move(self, step: int) -> None:
        """By so many lines, to the nearest that can be selected."""
        entries = self._listed.entries
        places = [place for place, one in enumerate(entries) if one.key]
        if not places:
            self._top += step
        else:
            wanted = self._index + step
            way = [p for p in places if (p > self._index if step > 0 else p < self._index)]
            index = min(way, key=lambda place: abs(place - wanted), default=self._index)
            self.choose(index)
        self.repaint()

    def choose(self, index: int) -> None:
        """Select the line with this number."""
        self._index, self._key = index, self._listed.entries[index].key
        self._follow()
        self.repaint()

    def to_end(self, *, first: bool) -> None:
        """To the first or the last line that can be selected."""
        places = [place for place, one in enumerate(self._listed.entries) if one.key]
        if places:
            self.choose(places[0] if first else places[-1])
            if first:
                self._key, self._top = "", 0
        else:
            self._top = 0 if first else len(self._listed.entries)
        self.repaint()

    def _follow(self) -> None:
        self._top = max(min(self._top, self._index), self._index - self.page + 1)

    def repaint(self) -> None:
        columns, height = self.size
        if columns <= 0 or height <= 0:
            return
        if small := small_lines(columns, height):
            self.show(small)
            return
        entries = self._listed.entries
        self._top = max(0, min(self._top, len(entries) - self.page))
        shown = entries[self._top : self._top + self.page]
        place = f" {self._index + 1:,}/{len(entries):,} " if len(entries) > self.page else ""
        first = cut(self._listed.head, columns - len(place))
        lines = [(*first, (" " * (columns - _wide(first) - len(place)), "head"), (place, "dim"))]
        for number, entry in enumerate(shown, self._top):
            chosen = bool(entry.key) and number == self._index
            mark = self.look.signs.cursor if chosen else " "
            prefix = CURSOR if chosen else ""
            line: Line = (
                (mark, f"{prefix}accent"),
                *((text, prefix + role) for text, role in self._line(number)),
            )
            if chosen:
                line = (*line, (" " * max(columns - _wide(line), 0), f"{CURSOR}text"))
            lines.append(cut(line, columns))
        self.show(lines)

    def _line(self, place: int) -> Line:
        made = self._made.get(place)
        if made is None:
            made = self._made[place] = self._listed.entries[place].line
        return made

    def on_resize(self, event: events.Resize) -> None:
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
        entries = self._listed.entries
        if event.y == 0:
            self.post_message(self.Headed(event.x))
        if event.y < 1 or index >= len(entries) or not entries[index].key:
            return
        if index == self._index:
            self.post_message(self.Opened())
        else:
            self.choose(index)


def _wide(line: Line) -> int:
    return sum(width(text) for text, _ in line)


class Listing(Body):
    """The body of a list: the figures, and the lines."""

    CONTEXTS = (keys.LISTED, keys.TRAFFIC, keys.TIMED)
    FIRST = ("go_in", "filter", "drops", "direction")

    view: ListView

    def __init__(self, view: ListView, desk: Desk) -> None:
        super().__init__(view, desk)
        self.headline = Headline()
        self.tabs = Tabs()
        self.chooser = Chooser()
        self._made_of: tuple[object, ...] = ()
        self._shown = Listed(())

    def compose(self) -> ComposeResult:
        yield from (self.headline, self.tabs, self.chooser)

    @property
    def contexts(self) -> tuple[str, ...]:
        return (*self.CONTEXTS, keys.SORTED) if self.view.sorts else self.CONTEXTS

    @property
    def parts(self) -> tuple[Lines, ...]:
        return (self.headline, self.tabs, self.chooser)

    def lay_out(self, columns: int, lines: int, banner: bool) -> None:
        plan = layout(columns, lines, banner=banner, detail=False, tail=False)
        self.headline.display = plan.headline > 0
        self.headline.styles.height = max(plan.headline, 1)
        self.tabs.display = plan.tabs > 0

    def question(self) -> Question[Any] | None:
        return self.view.question(self.desk, 0)

    def renew(self) -> bool:
        self._made_of, self._shown = (), Listed(())
        self.chooser.clear()
        return True

    def repaint(self) -> None:
        question = self.question()
        answer = self.desk.answer(type(question)) if question is not None else None
        value = answer.value if answer is not None else None
        if isinstance(question, Grouped) and (
            answer is None
            or not isinstance(answer.question, Grouped)
            or answer.question.make is not question.make
        ):
            value = None
        snapshot = value.snapshot if value is not None else Snapshot()
        now = shown_now(self.now_ns(), snapshot.coverage)
        if self.headline.display:
            self.headline.update_from(snapshot, self.desk.state, now, self.desk.behind)
        self.tabs.update_from(self.desk.tabs, self.view.number)
        columns = self.chooser.size.width
        second = int(time.time()) if self.desk.state.phase in ("following", "lost") else 0
        order = self.desk.chosen.sorted.get(self.view.name)
        made_of = (value, columns, self.desk.look.name, second, self.desk.state.phase, order)
        if columns > 0 and made_of != self._made_of:
            self._made_of = made_of
            self._shown = self._list(value, snapshot, columns)
        self.chooser.update_from(self._shown)

    def _list(self, value: Any, snapshot: Snapshot, columns: int) -> Listed:
        there = snapshot.rows or (not self.view.of_rows and snapshot.coverage.records_read)
        if value is not None and there:
            found = self._ordered(self.view.listed(self.desk, value, columns - 1))
            if snapshot.matched > MOST_ROWS:
                text = f" of the {MOST_ROWS:,} most dropped of {plural(snapshot.matched, 'row')}"
                found = Listed((*found.entries, Entry(((text, "warn"),))), found.head)
            if found.entries or not self.view.nothing:
                return found
            told = advice_lines(
                self.view.nothing, list(map(self.desk.look.keys.told, self.view.advice)), columns
            )
            return Listed([Entry(line) for line in told])
        query, words = self.desk.chosen.query, self.desk.chosen.filter_words
        told = empty_lines(
            snapshot, self.desk.state, query, words, columns, keys=self.desk.look.keys
        )
        return Listed([Entry(line) for line in told])

    def _ordered(self, found: Listed) -> Listed:
        """As its headings were chosen to order it."""
        order = self.desk.chosen.sorted.get(self.view.name)
        ranks = found.ranks(order.by) if order is not None and found.ranks is not None else None
        entries = found.entries
        if order is not None and ranks is not None:
            entries = in_order(entries, ranks, reverse=order.reverse)
        return Listed(entries, marked(found.head, order))

    def _put(self, order: Sorted | None) -> None:
        sort_list(self.desk, self.view.name, order)

    def sort(self, *, turned: bool = False) -> None:
        """By the next heading, or the other way round."""
        order = self.desk.chosen.sorted.get(self.view.name)
        if not turned:
            # Only by what stands in the heading: where room is short, columns give way.
            self._put(after(order, headings_in(self._shown.head, self.view.sorts)))
        elif order is not None:
            self._put(order._replace(reverse=not order.reverse))
        else:
            told = "{sort_list}, or a click on a heading, sorts the list"
            self.desk.say(self.desk.look.keys.told(told), "dim", 3.0)

    def on_chooser_headed(self, event: Chooser.Headed) -> None:
        """Sort by the heading that was clicked; by the same once more: the other way round."""
        event.stop()
        by = heading_at(self._shown.head, event.column, self.view.sorts)
        order = self.desk.chosen.sorted.get(self.view.name)
        if by:
            turned = order is not None and order.by == by and not order.reverse
            self._put(Sorted(by, turned))

    def now_ns(self) -> int:
        question = self.question()
        answer = self.desk.answer(type(question)) if question is not None else None
        if answer is None:
            return time.time_ns()
        if self.desk.state.phase in ("reading", "ended"):
            last: int = answer.value.snapshot.coverage.last_seen
            return last
        return int(answer.taken * SECOND) if self.desk.chosen.paused else time.time_ns()

    def on_chooser_opened(self, event: Chooser.Opened) -> None:
        event.stop()
        self.enter()

    def enter(self) -> None:
        entry = self.chooser.selected
        if entry is None:
            self.desk.say("nothing is selected", "warn", 2.0)
        elif self.view.enter is not None:
            self.view.enter(self.desk, entry)
        elif not entry.narrow:
            self.desk.say("there are no rows behind this line", "dim", 2.0)
        else:
            self.desk.go_in("rows", entry.narrow)

    def move(self, step: Callable[[int], int], *, panel: bool = False) -> None:
        self.chooser.move(step(self.chooser.page))

    def move_to_end(self, *, first: bool) -> None:
        self.chooser.to_end(first=first)
