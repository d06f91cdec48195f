"""Colours: readable on the backgrounds that people have."""

from __future__ import annotations

import pytest
from rich.color import Color

from flowwatch.tui.background import shade
from flowwatch.tui.theme import (
    CURSOR,
    ROLES,
    Look,
)

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
