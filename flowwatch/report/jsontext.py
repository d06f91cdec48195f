"""JSON text that is safe on a terminal."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from flowwatch.text import json_safe


def to_json(value: Any, *, indent: int = 0) -> str:
    """JSON of plain values, on one line or indented, safe on a terminal."""
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        # A lone surrogate, which a damaged file may hold and UTF-8 can't.
        data = json.dumps(value).encode()
    if indent:
        data = msgspec.json.format(data, indent=indent)
    return json_safe(data.decode())
