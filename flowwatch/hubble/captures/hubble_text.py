"""What ``hubble observe`` prints for people, told from other lines that are no JSON.

From Cilium 1.20: hubble/pkg/printer/printer.go.
"""

from __future__ import annotations

import re

from flowwatch.hubble.wire.errors import COMPACT, DICT, NOT_JSON, TABLE

LOOKED_AT = 2048
"""Bytes of a line that are looked at."""

_ARROW = re.compile(rb" (?:->|<-|<>) ")
_VERDICT = re.compile(
    rb" (?:FORWARDED|DROPPED|AUDIT(?:ED)?|REDIRECTED|ERROR|TRACED|TRANSLATED|DENIED|ALLOWED"
    rb"|VERDICT_UNKNOWN)\b"
)
_TABLE = re.compile(
    rb"TIMESTAMP {2,}(?:NODE {2,})?SOURCE|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d\.\d+ {3,}\S"
)
_DICT = re.compile(
    rb" *(?:TIMESTAMP|NODE|SOURCE|DESTINATION|TYPE|VERDICT|SUMMARY): |-{12}\s*$", re.MULTILINE
)


def why_not(line: bytes) -> str:
    """Why a line at the top of a file can't be read: what it is, or that it is no JSON."""
    line = line[:LOOKED_AT]
    if _TABLE.match(line):
        return TABLE
    if _DICT.match(line):
        return DICT
    arrow = _ARROW.search(line)
    if arrow and b": " in line[: arrow.start()] and _VERDICT.search(line, arrow.end()):
        return COMPACT
    return NOT_JSON
