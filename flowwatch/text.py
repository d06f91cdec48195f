"""Text from the network, made safe to show.

DNS names, URLs, pod names and node messages are written by whoever runs a pod. Printed as they
are they could move the cursor, retitle the terminal, hide what follows (bidi controls), stand for
other names (what can't be seen), become markup, or become a formula in a spreadsheet. Every view
passes such text through here.

What is written out is told by Unicode's properties, not by a list of blocks: see :data:`WRITTEN_OUT`
and :data:`IGNORABLE`. Joiners inside of emoji are, too: no name needs them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

WRITTEN_OUT = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""General categories whose characters are shown by their number: controls, formats, surrogates,
private use, unassigned (as far as this Python's Unicode knows) and no characters, separators of lines."""

IGNORABLE = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt, the same in 14.0 to 18.0: shown
as nothing where it isn't supported, whatever its category (fillers are letters). Printed by ``python -m
tests.unicode_table``; a test holds it to a library's own."""

MOST_MARKS = 4
"""On one character (Hebrew with points and accents has that many): more would cover other lines."""

# Hangul's vowels and finals, which join the letter before them as marks do.
_JOINING = ((0x1161, 0x11FF), (0xD7B0, 0xD7FF))

# A cell that a spreadsheet would read as a formula (OWASP's list of first characters).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

_UNUSUAL = re.compile("[^ -~]+")
_UNUSUAL_IN_JSON = re.compile("[^\x00-~]+")


def escaped(char: str) -> str:
    r"""One character as ``\x1b``, ``\u202e`` or ``\U000e0041``."""
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped_in_json(char: str) -> str:
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


# As many as alphabets have: an attacker may send all of Unicode.
@lru_cache(maxsize=4096)
def _kind(char: str) -> str:
    """``out`` for what is written out, ``mark`` for what joins the character before it, else ""."""
    # Nothing that reads a command line needs it.
    from unicodedata import category

    code, found = ord(char), category(char)
    if found in WRITTEN_OUT or any(first <= code <= last for first, last in IGNORABLE):
        return "out"
    joins = found in ("Mn", "Me") or any(first <= code <= last for first, last in _JOINING)
    return "mark" if joins else ""


def joins(char: str) -> bool:
    """Whether a terminal draws ``char`` (already safe) onto the one before it, in no column of its own."""
    return _kind(char) == "mark"


def _write_out(spell: Callable[[str], str], match: re.Match[str]) -> str:
    start = match.start()
    # Nothing that joins may begin a text: it would join ours, which stands before it.
    marks = 0 if start and match.string[start - 1] != '"' else MOST_MARKS
    shown = []
    for char in match[0]:
        kind = _kind(char)
        if not kind:
            marks = 0
        elif kind == "mark" and marks < MOST_MARKS:
            marks += 1
        else:
            char = spell(char)  # noqa: PLW2901
            marks = MOST_MARKS
        shown.append(char)
    return "".join(shown)


_written_out = partial(_write_out, escaped)
_written_out_in_json = partial(_write_out, _escaped_in_json)


def safe(text: str) -> str:
    r"""``text`` on one line with what has no shape of its own written as ``\x1b`` or ``\u202e``."""
    return text if text.isascii() and text.isprintable() else _UNUSUAL.sub(_written_out, text)


def json_safe(text: str) -> str:
    """``text``, which is JSON, with the same characters as ``\\u009b``: it means the same."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _UNUSUAL_IN_JSON.sub(_written_out_in_json, text)


def cell(text: str) -> str:
    """:func:`safe`, and with an apostrophe before what a spreadsheet would take for a formula."""
    return "'" + safe(text) if text.startswith(_FORMULA) else safe(text)


def size_words(number: int) -> str:
    """``512 B``, ``1.2 MB``, ``10.0 GB``: bytes, by thousands."""
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


LEFT_OUT_NAMED = 3
"""Files that were left out and are named."""


def left_out(lines: Sequence[str], of: str) -> list[str]:
    """A sentence that names the first files of ``of`` that were left out, each with why; none of none."""
    if not lines:
        return []
    more = len(lines) - LEFT_OUT_NAMED
    named = "; ".join(lines[:LEFT_OUT_NAMED]) + (f"; and {more} more" if more > 0 else "")
    were = "was" if len(lines) == 1 else "were"
    return [f"{plural(len(lines), 'file')} of {of} {were} left out: {named}"]


def plural(number: int, one: str, many: str = "") -> str:
    """``1 row``, ``2 rows``, ``12,345 rows``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
