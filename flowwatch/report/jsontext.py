"""JSON text that is safe on a terminal."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

# What JSON leaves as it is, but a terminal may act on: DEL, C1, bidi and zero-width characters.
_HOSTILE = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def escape_json(text: str) -> str:
    """``text``, which is JSON, with hostile characters as ``\\u009b``: it means the same."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _HOSTILE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def to_json(value: Any, *, indent: int = 0) -> str:
    """JSON of plain values, on one line or indented, safe on a terminal."""
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        # A lone surrogate, which a damaged file may hold and UTF-8 can't.
        data = json.dumps(value).encode()
    if indent:
        data = msgspec.json.format(data, indent=indent)
    return escape_json(data.decode())
