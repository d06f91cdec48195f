"""Colours: readable on the backgrounds that people have."""

from __future__ import annotations

import asyncio

import pytest
from rich.color import Color
from rich.style import Style

from flowwatch.tui.background import shade
from flowwatch.tui.theme import (
    CURSOR,
    ROLES,
    Look,
)
from tests.unit.tui.driven import Played, played
from tests.unit.tui.test_screens import story

IN_ROWS = ("text", "strong", "dim", "drop", "warn", "ok", "accent")
"""Roles that the selected row has."""


def _luminance(color: Color) -> float:
    """WCAG 2 relative luminance."""
    channels = [value / 255 for value in color.get_truecolor()]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: Color, other: Color) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


# The terminal's own text colour isn't ours: a usual one for each.
@pytest.mark.parametrize(
    ("theme", "backgrounds"),
    [("dark", ("#000000", "#1e1e1e", "#282828")), ("light", ("#ffffff", "#fdf6e3", "#eeeeee"))],
)
def test_colours_can_be_read_on_usual_backgrounds(theme: str, backgrounds: tuple[str, ...]) -> None:
    look = Look(theme)
    for role in (*ROLES, *[CURSOR + role for role in IN_ROWS]):
        style = look.style(role)
        if style.color is None or style.reverse:
            continue
        own = [style.bgcolor] if style.bgcolor else [Color.parse(text) for text in backgrounds]
        for background in own:
            assert _contrast(style.color, background) >= 4.5, (role, background)


def test_backgrounds_are_read_in_any_number_of_digits() -> None:
    assert shade(b"0000", b"0000", b"0000") == "dark"
    assert shade(b"ff", b"ff", b"f0") == "light"
    assert shade(b"1e1e", b"1e1e", b"2e2e") == "dark"


BACKGROUNDS = {
    "dark": ("#000000", "#1e1e1e", "#282828"),
    "light": ("#ffffff", "#fdf6e3", "#eeeeee"),
    "contrast": ("#000000", "#1e1e1e", "#282828"),
    "contrast-light": ("#ffffff", "#fdf6e3", "#eeeeee"),
}
"""Of terminals, by the themes that are for them."""
LEAST = {"contrast": 7.0, "contrast-light": 7.0}
"""WCAG 2: AAA; for the others it is AA, 4.5."""
OWN_TEXT = {"dark": "#cccccc", "light": "#333333"}
"""What terminals with such a background write in, where nothing is asked for."""


@pytest.mark.parametrize("theme", BACKGROUNDS)
@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_cell_of_every_view_can_be_read(size: tuple[int, int], theme: str) -> None:
    """By the styles that are on the screen."""
    least, seen = LEAST.get(theme, 4.5), 0
    own = Color.parse(OWN_TEXT["light" if theme.endswith("light") else "dark"])
    for style in asyncio.run(asyncio.wait_for(styles(size, theme), 120.0)):
        assert not style.dim
        for terminals in BACKGROUNDS[theme]:
            behind = Color.parse(terminals)
            text, ground = (_or(style.color, own), _or(style.bgcolor, behind))
            if style.color is not None or style.bgcolor is not None:
                assert _contrast(text, ground) >= least, (str(style), terminals)
                seen += 1
    assert seen > 10


def _or(color: Color | None, otherwise: Color) -> Color:
    return otherwise if color is None or color.is_default else color


async def styles(size: tuple[int, int], theme: str) -> set[Style]:
    """Of all text in all numbered views, of the help, the detail, a filter and the banner."""
    found: set[Style] = set()
    source = Played(story())
    async with played(source, size, theme=theme) as driven:
        for keys in (
            "1",
            "\r",
            "2",
            "3",
            "4",
            "5",
            "6",
            "7",
            "8",
            "9",
            "w",
            "q",
            "?",
            "q",
            "1",
            "p",
            "d",
            "/",
        ):
            await driven.press({"\r": "enter", "?": "question_mark", "/": "slash"}.get(keys, keys))
            await driven.settled()
            strips = driven.app.screen._compositor.render_strips()
            found |= {s.style for strip in strips for s in strip if s.style and s.text.strip()}
    return found


@pytest.mark.parametrize("red", ["#ff0000", "#ef2929", "#ff5555", "#e74856", "#f14c4c"])
def test_the_one_colour_of_ansi_can_be_read_on_black_where_bold_is_bright(red: str) -> None:
    """Those of xterm, Tango, the Linux console, Campbell and VS Code."""
    assert _contrast(Color.parse(red), Color.parse("#000000")) >= 4.5


@pytest.mark.parametrize("red", ["#cd0000", "#cc0000", "#aa0000", "#c50f1f", "#cd3131"])
def test_and_on_white_where_it_isnt(red: str) -> None:
    assert _contrast(Color.parse(red), Color.parse("#ffffff")) >= 4.5


@pytest.mark.parametrize("theme", ["ansi", "mono"])
def test_ansi_has_no_other_colour_and_mono_none(theme: str) -> None:
    known = {None, "red"} if theme == "ansi" else {None}
    look = Look(theme)
    for role in (*ROLES, *[CURSOR + role for role in ROLES]):
        style = look.style(role)
        assert (style.color.name if style.color else None) in known
        assert style.bgcolor is None
        assert not style.dim
