"""Small pieces of text: times, rates, wrapped lines. Everything returned is one line, and safe."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from flowwatch.egress.query import Query
from flowwatch.flows.clocks import time_of_day
from flowwatch.report.human import count, pad, shorten, span, width

Piece = tuple[str, str]
"""A text and its role (see theme.ROLES). The text is shown as it is, so it must be safe already."""

Line = tuple[Piece, ...]
"""One line of a widget."""

SECOND = 1_000_000_000


def stamp(ns: int) -> str:
    """Nanoseconds since 1970 with milliseconds: ``10:20:30.123``."""
    return f"{time_of_day(ns)}.{ns % SECOND // 1_000_000:03d}"


def rate(per_second: float) -> str:
    """At most five characters: ``0``, ``0.3``, ``12``, ``1,234``, ``20k``."""
    if per_second < 0.05:
        return "0"
    if per_second < 9.95:
        return f"{per_second:.1f}"
    return count(round(per_second)) if per_second < 9_999.5 else f"{per_second / 1000:.0f}k"


def fit(text: str, columns: int, *, right: bool = False, tail: int = 0) -> str:
    """``text`` in exactly ``columns`` columns: shortened in the middle, or filled.

    ``tail``: how much of its end is kept (0: two fifths), as for the random end of a pod's name.
    """
    if tail and width(text) > columns > 3 * tail and text.isascii():
        text = f"{text[: columns - tail - 1]}…{text[-tail:]}"
    return pad(shorten(text, columns), columns, right=right)


def wrap(text: str, columns: int) -> list[str]:
    """``text`` in lines of at most ``columns``; words longer than that are broken."""
    columns = max(columns, 8)
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        rest = word
        while width(rest) > columns:
            room = columns - width(line) - (1 if line else 0)
            if room < columns // 3:
                lines.append(line)
                line, room = "", columns
            head = _head(rest, room)
            lines.append(f"{line} {head}" if line else head)
            line, rest = "", rest[len(head) :]
        if line and width(line) + 1 + width(rest) > columns:
            lines.append(line)
            line = rest
        else:
            line = f"{line} {rest}" if line else rest
    lines.append(line)
    return lines


def _head(text: str, columns: int) -> str:
    """The beginning of ``text`` that fits; one character at least."""
    end = min(len(text), columns)
    while end > 1 and width(text[:end]) > columns:
        end -= 1
    return text[: max(end, 1)]


def labelled(
    label: str, text: str, columns: int, *, indent: int = 10, role: str = "text"
) -> list[Line]:
    """``label     text``, wrapped so that the text stands in a column of its own."""
    lines: list[Line] = []
    for number, part in enumerate(wrap(text, columns - indent)):
        first = fit(label, indent) if number == 0 else " " * indent
        lines.append(((first, "head" if number == 0 else "text"), (part, role)))
    return lines


def cut(line: Line, columns: int) -> Line:
    """``line`` without what is right of ``columns``; wide characters are never halved.

    Words that are cut off end in ``…``, spaces and rules don't.
    """
    kept: list[Piece] = []
    left = columns
    for place, (text, role) in enumerate(line):
        size = width(text)
        if size <= left:
            kept.append((text, role))
            left -= size
            continue
        part = _head(text, left) if left > 0 else ""
        part = part if width(part) <= left else ""
        gone = text[len(part) :] + "".join([more for more, _ in line[place + 1 :]])
        if any(map(str.isalnum, gone)):
            return _elided((*kept, (part, role)), columns)
        return (*kept, (part, role)) if part else tuple(kept)
    return tuple(kept)


def _elided(line: Line, columns: int) -> Line:
    """``line``, which fills so many columns, with the sign at its end that there was more."""
    *before, (text, role) = line
    while before and not text:
        text, role = before.pop()
    if columns < 2 or not text:
        return tuple([piece for piece in line if piece[0]])
    kept = text if line_width((*before, (text, role))) < columns else text[:-1]
    # What was shortened already says so.
    return (*before, (kept if kept.endswith("…") else f"{kept}…", role))


def line_width(line: Line) -> int:
    """Columns that a line takes."""
    return sum(width(text) for text, _ in line)


def joined(parts: Iterable[Line], gap: Piece) -> Line:
    """The lines in one, with ``gap`` between them; empty ones leave no gap."""
    pieces: list[Piece] = []
    for part in parts:
        if part:
            if pieces:
                pieces.append(gap)
            pieces.extend(part)
    return tuple(pieces)


def fill(parts: Sequence[Line], gap: Piece, columns: int) -> Line:
    """As many of ``parts``, from the first, as fit whole into ``columns``; the first always."""
    chosen: list[Line] = []
    used = 0
    for part in parts:
        if not part:
            continue
        more = line_width(part) + (width(gap[0]) if chosen else 0)
        if chosen and used + more > columns:
            continue
        chosen.append(part)
        used += more
    return cut(joined(chosen, gap), columns)


def ends(left: Line, right: Line, columns: int, role: str = "text") -> Line:
    """``left`` at the left edge, ``right`` at the right one; ``left`` is cut where they meet."""
    right = cut(right, columns)
    room = columns - line_width(right)
    left = cut(left, max(room - 1, 0))
    return (*left, (" " * (room - line_width(left)), role), *right)


def window_words(query: Query) -> str:
    """``last 5m``, or from when to when, with the day if it isn't today; "" for all that was read."""
    if not query.window:
        return ""
    if not query.until:
        return f"last {span(query.window / SECOND)}"
    start = max(query.until - query.window, 0)
    return f"{_day(start)}{time_of_day(start)}-{time_of_day(query.until)}"


def _day(ns: int) -> str:
    """``11-14 ``; nothing for today, the year as well for another one."""
    then, now = time.gmtime(ns // SECOND), time.gmtime()
    if then[:3] == now[:3]:
        return ""
    return time.strftime("%m-%d " if then[0] == now[0] else "%Y-%m-%d ", then)
