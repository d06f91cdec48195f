"""Of a line that changed the terminal gets what changed, and no more."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.segment import Segment
from textual.strip import Strip

from flowwatch.tui.format import Line
from flowwatch.tui.parts.lines import _changed
from flowwatch.tui.spans import Spans

ROW: Line = (("▌", "accent"), ("  12  ", "drop"), ("  3s  ", "dim"), ("weather-app", "text"))


@pytest.mark.parametrize(
    ("after", "changed"),
    [
        (ROW, []),
        ((*ROW[:2], ("  4s  ", "dim"), ROW[3]), [(9, 10)]),
        ((*ROW[:2], (" 14s  ", "dim"), ROW[3]), [(8, 10)]),
        ((ROW[0], ("  13  ", "drop"), ("  4s  ", "dim"), ROW[3]), [(4, 10)]),
        ((("▌", "drop"), *ROW[1:3], ("weather-two", "text")), [(0, 1), (21, 24)]),
        ((*ROW[:2], ("  3s  ", "warn"), ROW[3]), [(7, 13)]),
        ((*ROW[:3], ("weather", "text")), [(13, 24)]),
        (ROW[:3], [(0, 24)]),
        ((*ROW[:3], ("weather-界 ", "text")), [(21, 24)]),
    ],
)
def test_the_columns_that_differ(after: Line, changed: list[tuple[int, int]]) -> None:
    assert _changed(ROW, after) == changed


def test_what_has_no_width_is_painted_with_what_it_stands_on() -> None:
    assert _changed((("ae\u0301i", "text"),), (("ae\u0300i", "text"),)) == [(1, 2)]


def test_an_update_begins_at_its_first_column() -> None:
    console = Console(file=io.StringIO(), width=20, color_system=None)
    chops = [{0: Strip([Segment("abcd"), Segment("efgh")]), 8: Strip([Segment("ijkl")])}]
    ends = [[8, 12]]

    def sent(first: int, last: int) -> str:
        return Spans(chops, [(0, first, last)], ends).render_segments(console)

    assert sent(2, 6) == "\x1b[1;3Hcdef"
    assert sent(0, 12) == "\x1b[1;1Habcdefgh\x1b[1;9Hijkl"
    assert sent(6, 9) == "\x1b[1;7Hgh\x1b[1;9Hi"
