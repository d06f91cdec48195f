"""Of a line that changed the terminal gets what changed, and no more."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from flowwatch.tui.format import Line
from flowwatch.tui.parts.lines import _changed
from flowwatch.tui.spans import Scroll, Spans

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


def drawn(*pieces: tuple[str, str], width: int = 12) -> str:
    """What is sent for one line of pieces, each a text and a style."""
    console = Console(file=io.StringIO(), width=width, color_system="256", force_terminal=True)
    strip = Strip([Segment(text, Style.parse(style)) for text, style in pieces])
    return Spans([{0: strip}], [(0, 0, width)], [[width]]).render_segments(console)


@pytest.mark.parametrize(
    ("pieces", "sent"),
    [
        ([("abc", "none"), ("def", "none"), ("ghi", "none"), ("jkl", "none")], "abcdefghijkl"),
        ([("abcd", "color(9)"), ("efghijkl", "color(203)")], "\x1b[91mabcd\x1b[38;5;203mefghijkl\x1b[m"),
        ([("abcd", "bold color(9)"), ("efghijkl", "red")], "\x1b[1;91mabcd\x1b[0;31mefghijkl\x1b[m"),
        ([("abcd", "color(9)"), ("    ", "none"), ("ijkl", "color(9)")], "\x1b[91mabcd    ijkl\x1b[m"),
        ([("abcd", "color(9)"), ("    ", "on blue"), ("ijkl", "none")],
         "\x1b[91mabcd\x1b[0;44m    \x1b[mijkl"),
        ([("abcdef", "none"), ("      ", "color(9)")], "abcdef\x1b[K"),
        ([("abcdef", "on blue"), ("      ", "none")], "\x1b[44mabcdef\x1b[m\x1b[K"),
        ([("abcdef", "none"), ("      ", "underline")], "abcdef\x1b[4m      \x1b[m"),
        ([("abcdefgh", "none"), ("    ", "none")], "abcdefgh    "),
    ],
)  # fmt: skip
def test_a_style_is_sent_when_another_one_is_needed(
    pieces: list[tuple[str, str]], sent: str
) -> None:
    assert drawn(*pieces) == f"\x1b[1;1H{sent}"


def test_lines_are_moved_within_margins() -> None:
    assert Scroll(8, 38, 1).sequence == "\x1b[9;38r\x1b[9H\x1b[1M\x1b[r"
    assert Scroll(8, 38, -3).sequence == "\x1b[9;38r\x1b[9H\x1b[3L\x1b[r"
