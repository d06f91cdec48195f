"""Views: a stack of them, keys that act on what is seen, and how a new one is added."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from textual.app import ComposeResult
from textual.widgets import Input

from flowwatch.tui import keys
from flowwatch.tui.dashboard import dashboard
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import Line
from flowwatch.tui.keys import Key
from flowwatch.tui.parts.board import TableView
from flowwatch.tui.parts.columns import column
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.parts.page import TextView
from flowwatch.tui.parts.rows import Rows, rows
from flowwatch.tui.state import Options
from flowwatch.tui.view import Body, View
from flowwatch.tui.views import VIEWS
from tests.unit.tui.driven import Driven, run, shown
from tests.unit.tui.made import ShownMonitor, snapshot


@asynccontextmanager
async def viewed(*views: View, size: tuple[int, int] = (100, 30)) -> AsyncIterator[Driven]:
    """The dashboard with more views than it has."""
    app = dashboard(lambda: ShownMonitor(snapshot()), Options(theme="mono"), views=(*VIEWS, *views))
    async with app.run_test(size=size) as pilot:
        driven = Driven(app, pilot)
        try:
            await driven.settled()
            yield driven
        finally:
            app.feed.stop()


# A view of ten lines: all that it takes.
def _who(desk: Desk, columns: int) -> Sequence[Line]:
    answer = desk.answer(Rows)
    found = {row.workload: row.dropped for row in answer.value.snapshot.rows} if answer else {}
    return [((f" {name}: {dropped} dropped", "text"),) for name, dropped in found.items()]


WHO = TextView(
    name="people",
    words="who was seen",
    key=("Q",),
    title="People",
    question=rows,
    lines=_who,
)


def test_a_view_of_ten_lines_is_added_without_touching_the_shell() -> None:
    async def test() -> None:
        async with viewed(WHO) as driven:
            await driven.press("Q")
            await driven.sees("─ People ", "cart: 0 dropped")
            await driven.press("escape")
            await driven.sees("DROPPED")
            # Its name is a command, and help has its key.
            await driven.press("colon", "p", "e", "o", "tab", "enter")
            await driven.sees("cart: 0 dropped")
            await driven.press("question_mark")
            await driven.sees("─ people → flowwatch: keys and commands")
            await driven.press("G")
            assert "Q" in driven.app.key_map.everywhere("Q", "Q")[keys.ANYWHERE].keys

    run(test())


# And one that is a table.
PORTS = TableView(
    name="ports",
    words="which ports",
    key=("P",),
    columns=(
        column("port", 0, 5, lambda row, _: str(row.port)),
        column("protocol", 0, 8, lambda row, _: row.protocol),
    ),
    enter="rows",
    keys={Key("shout", ("!",), "say so"): lambda desk: desk.say("so")},
)


def test_a_table_of_other_columns_goes_in_by_enter_and_has_keys_of_its_own() -> None:
    async def test() -> None:
        async with viewed(PORTS) as driven:
            await driven.press("exclamation_mark")
            await driven.sees("! acts on the view ports")
            assert "esc goes back" not in driven.text
            await driven.press("P")
            await driven.sees("PORT PROTOCOL", "   53 UDP")
            assert "DESTINATION" not in driven.text
            # The breadcrumb says where one is, and the keys of tables act on it.
            assert driven.screen[0].startswith(" flowwatch → ports ")
            await driven.press("d")
            await driven.until(lambda: "53 UDP" not in driven.text, "drops only")
            await driven.press("exclamation_mark")
            await driven.sees(" so")
            await driven.press("enter")
            await driven.sees("DESTINATION")
            assert driven.app.trail == ("rows",)

    run(test())


def test_keys_act_on_what_is_seen() -> None:
    """In the help, d filtered the table behind it, and q ended the program."""

    async def test() -> None:
        async with shown(ShownMonitor(snapshot())) as driven:
            await driven.press("question_mark")
            await driven.sees("keys and commands")
            for key in ("d", "S", "enter", "t", "y", "slash"):
                before = driven.app.chosen.query
                await driven.press(key)
                assert driven.app.chosen.query is before
                await driven.sees("acts on a", "esc goes back")
            assert driven.app.trail == ("rows", "help")
            assert driven.app.footer.line is None
            await driven.press("q")
            await driven.sees("DROPPED")
            assert "Detail" not in driven.text
            assert driven.app.is_running
            await driven.press("q")
            await driven.until(lambda: driven.app.return_value == 0, "the end")

    run(test())


def test_a_command_comes_back_to_what_it_acts_on() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot())) as driven:
            await driven.press("question_mark", "w")
            assert driven.app.trail == ("rows", "help", "warnings")
            await driven.press("colon")
            await driven.type("pause")
            await driven.press("enter")
            assert " → ".join(driven.app.trail) == "rows → help → warnings"
            await driven.press("colon")
            await driven.type("sort peer")
            await driven.press("enter")
            await driven.sees("by peer", "DESTINATION", "PAUSED")
            assert " → ".join(driven.app.trail) == "rows"

    run(test())


def test_views_stack_up_and_a_key_of_one_below_comes_back_to_it() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot())) as driven:
            await driven.press("w")
            await driven.sees("─ What these numbers include, and what not")
            await driven.press("question_mark")
            await driven.sees("─ warnings → flowwatch: keys and commands")
            assert "q back" in driven.screen[-1]
            await driven.press("w")
            await driven.sees("─ What these numbers include, and what not")
            assert driven.app.trail == ("rows", "warnings")
            # The key that opened it closes it.
            await driven.press("w")
            await driven.sees("DROPPED")
            assert "q quit" in driven.screen[-1]

    run(test())


def test_the_warnings_go_on_and_stand_still_in_a_pause() -> None:
    async def test() -> None:
        monitor = ShownMonitor(snapshot())
        async with shown(monitor) as driven:
            await driven.press("w")
            await driven.sees("1,234 read")
            monitor.put(snapshot(records_read=1_300))
            await driven.sees("1,300 read")
            await driven.press("p")
            await driven.sees("paused")
            monitor.put(snapshot(records_read=1_400))
            await driven.until(lambda: driven.app.behind == 100, "100 behind")
            assert "1,300 read" in driven.text
            # And so does the table, at the same moment.
            await driven.press("escape")
            await driven.sees("100 records behind")
            await driven.press("p")
            await driven.press("w")
            await driven.sees("1,400 read")

    run(test())


class Form(Body):
    """A view in which something is typed, by a widget that is Textual's own."""

    COVERS = True

    @property
    def parts(self) -> tuple[Lines, ...]:
        return ()

    def compose(self) -> ComposeResult:
        yield Input()

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def repaint(self) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class FormView(View):
    def body(self, desk: Desk) -> Body:
        return Form(self, desk)


def test_what_has_the_focus_has_the_keys() -> None:
    async def test() -> None:
        async with viewed(FormView(name="form", words="a form", key=("X",))) as driven:
            await driven.press("X")
            await driven.until(lambda: driven.app.focused is not None, "the focus")
            await driven.type("d?q:")
            assert driven.app.query_one(Input).value == "d?q:"
            assert driven.app.trail == ("rows", "form")
            # What it has no use for goes on to the dashboard.
            await driven.press("escape")
            await driven.sees("DROPPED")
            await driven.until(lambda: driven.app.focused is None, "no focus")
            await driven.press("d")
            assert driven.app.chosen.query.drops_only

    run(test())


def test_a_click_beside_a_line_that_is_typed_leaves_it_open() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot())) as driven:
            await driven.press("slash")
            await driven.type("www")
            await driven._pilot.click(offset=(30, 8))
            await driven.type(".")
            await driven.sees("/www.")
            await driven.press("escape")
            assert driven.app.focused is None

    run(test())


@pytest.mark.parametrize("size", [(100, 30), (60, 12)])
def test_a_view_that_was_resized_below_another_fits_when_it_is_seen_again(
    size: tuple[int, int],
) -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), size=(140, 40)) as driven:
            await driven.press("question_mark")
            await driven.resize(*size)
            await driven.press("escape")
            await driven.sees("www.google.com")
            assert len(driven.screen) == size[1]

    run(test())
