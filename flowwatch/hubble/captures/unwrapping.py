"""Records as log pipelines keep them: inside of an envelope of JSON, or behind text in a line.

No list of products: an envelope is searched for what looks like a record of Hubble's, in its members
and in text that holds JSON again, so ``log`` of Docker and fluent-bit, ``message`` of filebeat,
``_source`` of Elasticsearch (a hit, or an answer with all hits), ``_raw`` of Splunk and ``values`` of
Loki are found alike. Of one object only the first member that holds a record counts: shippers keep
the original text beside what they made of it (``event.original``), and that is one record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

DEEPEST = 16
"""Objects and arrays inside of each other; a text counts as _TEXT. The answer of a search needs 10."""

_TRIES, _TEXT = 3, 4
# Places in a text at which JSON may begin: each costs one pass over it. So texts inside of each
# other, four at most, cost no more than 81 passes whatever a hostile one holds.

Found = tuple[str, bytes]
"""What a record was unwrapped from, not made safe, and the record."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.encode
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)

# A record names one of these, whatever it is wrapped in; or its first bytes, {", stand there as numbers.
_MARK = re.compile(rb"verdict|flow|lost_?[eE]vents|node_?[sS]tatus|\b123 *, *34\b")
_WRAPPED = ("flow", "lost_events", "lostEvents", "node_status", "nodeStatus")
_PARTS = ("IP", "l4", "source", "destination", "event_type", "eventType")

# JSON in a text: an object; one in a string of Go's or JSON's; one in a column of CSV.
_BEGIN = re.compile(r'"?\{\s*(\\"|""|")')
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_COLUMN = re.compile(r'"((?:[^"]|"")*+)"')

_CRI = re.compile(r"\d{4}-\d\d-\d\dT\S+ std(?:out|err) [FP] ")
_KEY = re.compile(r"(?:^|\s)([\w.@-]{1,64})=\Z")
_KEY_LENGTH = 80


def unwrap(record: bytes) -> list[Found]:
    """The records inside of ``record``, one JSON object; none when it is one itself, or holds none."""
    if not _MARK.search(record):
        return []
    value = _json(record)
    if type(value) is not dict or _is_record(value):
        return []
    return list(_within(value, "", DEEPEST))


def unwrap_line(line: bytes) -> list[Found]:
    """The records in a line that isn't JSON: behind text, in a string, or in a column."""
    if not _MARK.search(line):
        return []
    try:
        text = line.decode()
    except UnicodeError:
        return []
    return list(_in_text(text, "", DEEPEST))


def _json(text: bytes | str) -> Any:
    try:
        return _decode(text)
    except _UNREADABLE:
        return None


def _is_record(value: dict[str, Any]) -> bool:
    if any(type(value.get(key)) is dict for key in _WRAPPED):
        return True
    verdict = value.get("verdict")
    return type(verdict) in (str, int) and any(type(value.get(key)) is dict for key in _PARTS)


def _within(value: Any, where: str, left: int) -> Iterator[Found]:
    """Look into a value that stands at ``where``, ``left`` levels deep at most."""
    kind = type(value)
    if left <= 0:
        return
    if kind is dict:
        yield from _in_object(value, where, left)
    elif kind is list:
        if text := _of_bytes(value):
            yield from _within(text, where, left)
            return
        for item in value:
            yield from _within(item, where, left - 1)
    elif kind is str and "{" in value:
        yield from _in_text(value, where, left)


def _of_bytes(value: list[Any]) -> str:
    """The text whose bytes a list has; "" where it has others.

    So journald spells one with control characters, or that is no UTF-8 (systemd's Journal JSON Format).
    """
    if not value or type(value[0]) is not int:
        return ""
    try:
        # What is no UTF-8 may stand around a record; inside of one it makes it none.
        return bytes(value).decode("utf-8", "surrogateescape")
    except (TypeError, ValueError):
        return ""


def _in_object(value: dict[str, Any], where: str, left: int) -> Iterator[Found]:
    if _is_record(value):
        # What a shipper adds to a document (@timestamp) is none of Hubble's fields.
        own = {key: item for key, item in value.items() if key[:1] not in "@_"}
        yield where, _encode(own)
        return
    for key, item in value.items():
        found = list(_within(item, f"{where}.{key[:64]}" if where else key[:64], left - 1))
        if found:
            yield from found
            return


def _in_text(text: str, where: str, left: int) -> Iterator[Found]:
    for match in islice(_BEGIN.finditer(text), _TRIES):
        value = _READERS[match[1]](text, match)
        if value is None:
            continue
        label = where or _label(text, match)
        found = list(_within(value, label, left - _TEXT))
        if found:
            yield from found
            return


def _label(text: str, match: re.Match[str]) -> str:
    """What stands around the record in a line."""
    start = match.start()
    if _CRI.match(text):
        return "a container's log (CRI)"
    key = _KEY.search(text[max(start - _KEY_LENGTH, 0) : start])
    if key:
        return key[1]
    if match[1] == '"':
        return "lines that begin with other text"
    return "a column of CSV" if match[1] == '""' else "text"


def _object(text: str, match: re.Match[str]) -> Any:
    start = text.index("{", match.start())
    # Behind a key it is the rest of a record that was cut off.
    if text[max(start - _KEY_LENGTH, 0) : start].rstrip().endswith('":'):
        return None
    return _json(text[start : text.rfind("}") + 1])


def _string(text: str, match: re.Match[str]) -> Any:
    found = _STRING.match(text, match.start())
    return _json(found[0]) if found else None


def _column(text: str, match: re.Match[str]) -> Any:
    found = _COLUMN.match(text, match.start())
    return found[1].replace('""', '"') if found else None


_READERS = {'"': _object, '\\"': _string, '""': _column}
