"""Themes of the user's own: a file each in ``~/.config/flowwatch/themes``, named after the theme.

base = dark
drop = bold #ff8787
cursor = on color(24)
"""

from __future__ import annotations

from pathlib import Path

from rich.errors import StyleSyntaxError
from rich.style import Style

from flowwatch.errors import UsageError
from flowwatch.text import safe
from flowwatch.tui.own import Entry, entries, meant
from flowwatch.tui.theme import BLANK, COLORS, CURSOR, ROLES, THEMES, Colors

_BASE = "base"


def read_theme(path: Path) -> Colors:
    """The roles of a theme with their styles; those that it leaves out are its base's. Raises UsageError."""
    if path.name in THEMES:
        raise UsageError(f"{safe(str(path))}: there is a theme of this name", "name it otherwise")
    colors: dict[str, str] = {}
    base = "dark"
    for entry in entries(path):
        if entry.name in colors:
            raise entry.wrong(f"{entry.name} was said before")
        if entry.name == _BASE:
            if entry.value not in COLORS:
                raise entry.wrong(f"no theme '{safe(entry.value)}'", meant(entry.value, COLORS))
            base = entry.value
        else:
            colors[entry.name] = _style(entry)
    return {**COLORS[base], **colors}


def _style(entry: Entry) -> str:
    known = [*ROLES, "cursor", *(CURSOR + role for role in ROLES)]
    if entry.name not in known:
        raise entry.wrong(
            f"no role '{safe(entry.name)}'", meant(entry.name, [*ROLES, "cursor", _BASE])
        )
    try:
        style = Style.parse(entry.value)
    except StyleSyntaxError as error:
        raise entry.wrong(
            f"no style '{safe(entry.value)}' ({safe(str(error))})",
            "as bold red, color(203), #ff8787 on black, or reverse",
        ) from None
    if entry.name in BLANK and (style.bgcolor or style.reverse or style.underline):
        raise entry.wrong(
            f"{entry.name} takes a colour, bold and italic alone",
            "spaces are part of it, so no background, reverse or underline",
        )
    return entry.value
