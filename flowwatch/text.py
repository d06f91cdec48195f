"""Text from the network, made safe to show.

DNS names, URLs, pod names and node messages are written by whoever runs a pod. Printed as they
are they could move the cursor, retitle the terminal, hide what follows (bidi controls), become
markup, or become a formula in a spreadsheet. Every view passes such text through here.
"""

from __future__ import annotations

import re

# C0 and DEL, C1, line and paragraph separators, zero-width and bidi controls, BOM, lone surrogates.
_HOSTILE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
# A cell that a spreadsheet would read as a formula (OWASP's list of first characters).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def escaped(char: str) -> str:
    r"""One character as ``\x1b``, ``\u202e`` or ``\U000e0041``."""
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape(match: re.Match[str]) -> str:
    return escaped(match[0])


def safe(text: str) -> str:
    r"""``text`` on one line with every control character written as ``\x1b`` or ``\u202e``."""
    return text if text.isascii() and text.isprintable() else _HOSTILE.sub(_escape, text)


def markup_safe(text: str) -> str:
    """:func:`safe`, and with ``[`` escaped so that rich and textual show it as it is."""
    return safe(text).replace("\\", "\\\\").replace("[", "\\[")


def cell(text: str) -> str:
    """:func:`safe`, and with an apostrophe before what a spreadsheet would take for a formula."""
    return "'" + safe(text) if text.startswith(_FORMULA) else safe(text)
