"""Numbers, times and texts in a form that fits into a column."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from flowwatch.text import joins

_UNITS = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))
_SPANS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s"))


def count(number: int) -> str:
    """At most six characters: ``12,345``, then ``123k``, ``1.2M``, ``12M``."""
    if abs(number) < 100_000:
        return f"{number:,}"
    for size, unit in _UNITS:
        # 999,500 would round to "1000k".
        if abs(number) >= size * 0.9995:
            value = number / size
            return f"{value:.1f}{unit}" if abs(value) < 9.95 else f"{value:.0f}{unit}"
    return str(number)


def age(seconds: float) -> str:
    """``3s``, ``12m``, ``4h``, ``3d``: the largest unit alone, for columns. Negative is ``0s``."""
    whole = max(0, int(seconds))
    for size, unit, _, _ in _SPANS:
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def span(seconds: float) -> str:
    """A duration with its two largest units: ``5m7s``, ``3h2m``, ``2d``; below a minute ``7.5s``."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f}".rstrip("0").rstrip(".") + "s"
    whole = int(seconds)
    for size, unit, small_size, small_unit in _SPANS:
        if whole >= size:
            rest = whole % size // small_size
            return f"{whole // size}{unit}" + (f"{rest}{small_unit}" if rest else "")
    return f"{whole}s"


def percent(share: float) -> str:
    """``0.0`` to ``1.0`` as ``33.3%``; what isn't quite nothing or all never reads 0% or 100%."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{share * 100:.1f}%"


def width(text: str) -> int:
    """Columns that ``text`` (already safe) takes in a terminal."""
    return len(text) if text.isascii() else _wide(text)


@lru_cache(4096)
def _wide(text: str) -> int:
    """The same of a text that isn't ASCII. A screen has the same ones again and again: a name that was
    shortened has an ``…``."""
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if char < "\x7f":
        return 1
    if joins(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shorten(text: str, columns: int) -> str:
    """``text`` in at most ``columns`` columns, with ``…`` for the middle that is left out.

    The beginning keeps more: namespace and name stand there; the end tells replicas and ports apart.
    """
    if width(text) <= columns:
        return text
    if columns <= 1:
        return "…"[:columns]
    head = (columns - 1) * 3 // 5
    tail = columns - 1 - head
    return _cut(text, head) + "…" + _cut(text[::-1], tail)[::-1]


_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_LEAD = re.compile(r"[A-Z][a-z]+: +| +(?:assumed|near miss): | *(?:[^\w\s]{1,2} |x )?")

_COMMAND = "try: "


def fold(line: str, columns: int) -> Iterator[str]:
    """``line`` in lines of at most ``columns`` columns, broken at spaces; as it is for 0.

    What follows is indented as the words behind the first line's spaces and its sign (``✗``, ``!``). A word
    that is too long stays whole, to be copied, and so does a command (``try: …``). Colours take no columns.
    """
    plain = _STYLE.sub("", line)
    if not columns or width(plain) <= columns or plain.lstrip().startswith(_COMMAND):
        yield line
        return
    lead = _LEAD.match(plain)
    indent = lead.end() if lead is not None and lead.end() else 2
    # The first word keeps what stands before it.
    start = len(line) - len(line.lstrip(" "))
    first, *words = line[start:].split(" ")
    now, used = line[:start] + first, width(_STYLE.sub("", line[:start] + first))
    for word in words:
        size = width(_STYLE.sub("", word))
        if used + 1 + size > columns and used > indent:
            yield now.rstrip(" ")
            now, used = " " * indent + word, indent + size
        else:
            now, used = f"{now} {word}", used + 1 + size
    yield now


def _cut(text: str, columns: int) -> str:
    used = 0
    for index, char in enumerate(text):
        used += _char_width(char)
        if used > columns:
            return text[:index]
    return text


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """``text`` filled with spaces to ``columns`` columns, on its left side if ``right``."""
    fill = " " * max(0, columns - width(text))
    return fill + text if right else text + fill
