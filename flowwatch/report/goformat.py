"""Text as Go's standard library prints it, where ``hubble`` relies on it.

``time.Format`` for the layouts that ``--time-format`` knows, ``strconv.Quote``, ``net.JoinHostPort``
and the columns of ``text/tabwriter``. Facts from Go 1.26's documentation; checked against the real
CLI in tests/interop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Only observe has messages; the other formats need not wait for protobuf.
    from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Timestamp's own bounds: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


def _stamp(t: datetime) -> str:
    return f"{_MONTHS[t.month - 1]} {t.day:2d} {t:%H:%M:%S}"


def _day(t: datetime) -> str:
    return f"{t.year:04d}-{t.month:02d}-{t.day:02d}"


def _rfc3339(t: datetime) -> str:
    return t.isoformat(timespec="seconds")[:19]  # without its zone; strftime takes 5 times as long


def _rfc1123z(t: datetime) -> str:
    day = _DAYS[t.weekday()]
    return f"{day}, {t.day:02d} {_MONTHS[t.month - 1]} {t.year:04d} {t:%H:%M:%S} +0000"


# name → (all but the fraction, digits of the fraction, whether its zeros stay, what ends it)
_Layout = tuple[Callable[[datetime], str], int, bool, str]
_LAYOUTS: dict[str, _Layout] = {
    "YearMonthDay": (_day, 0, False, ""),
    "YearMonthDayHour": (lambda t: f"{_day(t)}T{t:%H}Z", 0, False, ""),
    "YearMonthDayHourMinute": (lambda t: f"{_day(t)}T{t:%H:%M}Z", 0, False, ""),
    "StampMilli": (_stamp, 3, True, ""),
    "RFC3339": (_rfc3339, 0, False, "Z"),
    "RFC3339Milli": (_rfc3339, 3, False, "Z"),
    "RFC3339Micro": (_rfc3339, 6, False, "Z"),
    "RFC3339Nano": (_rfc3339, 9, False, "Z"),
    "RFC1123Z": (_rfc1123z, 0, False, ""),
}

TIME_FORMATS: tuple[str, ...] = tuple(_LAYOUTS)
"""The names that ``--time-format`` knows (case doesn't matter)."""

DEFAULT_TIME_FORMAT = "StampMilli"


_SECONDS = 1024
"""Seconds remembered: flows come in order of time, but rows don't."""


class TimeFormat:
    """Formats times in UTC. Remembers the text of seconds that it has met."""

    def __init__(self, name: str = DEFAULT_TIME_FORMAT) -> None:
        """``name`` is one of TIME_FORMATS in any case; any other means StampMilli, as in hubble."""
        known = {layout.lower(): layout for layout in _LAYOUTS}
        self._layout = _LAYOUTS[known.get(name.lower(), DEFAULT_TIME_FORMAT)]
        self._texts: dict[int, str] = {}

    @classmethod
    def iso(cls) -> TimeFormat:
        """RFC 3339 with all nine digits of the nanoseconds: each time has the same width."""
        times = cls()
        times._layout = (_rfc3339, 9, True, "Z")
        return times

    def message(self, time: Timestamp | None) -> str:
        """A protobuf timestamp; ``N/A`` when absent or out of its bounds, as hubble prints it."""
        if time is None:
            return "N/A"
        seconds, nanos = time.seconds, time.nanos
        if not (_EARLIEST <= seconds <= _LATEST and 0 <= nanos < 1_000_000_000):
            return "N/A"
        return self._format(seconds, nanos)

    def nanoseconds(self, time: int) -> str:
        """Nanoseconds since 1970."""
        seconds, nanos = divmod(time, 1_000_000_000)
        return self._format(seconds, nanos)

    def _format(self, seconds: int, nanos: int) -> str:
        head, digits, keep_zeros, tail = self._layout
        text = self._texts.get(seconds)
        if text is None:
            if len(self._texts) >= _SECONDS:
                self._texts.clear()
            text = self._texts[seconds] = head(_EPOCH + timedelta(seconds=seconds))
        if not digits:
            return text + tail
        fraction = f"{nanos:09d}"[:digits]
        if not keep_zeros:
            fraction = fraction.rstrip("0")
        return f"{text}.{fraction}{tail}" if fraction else text + tail


_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_SHORT |= {'"': '\\"', "\\": "\\\\"}


def _quoted(match: re.Match[str]) -> str:
    char = match[0]
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quote(text: str) -> str:
    """``text`` in double quotes with escapes, as Go's ``%q``."""
    return '"' + re.sub(r'["\\]|[^ !#-\[\]-~]', _quoted, text) + '"'


def join_host_port(host: str, port: str) -> str:
    """``host:port``, with brackets around a host that holds a colon (IPv6)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def align(rows: Iterable[tuple[str, ...]], minimum: int = 2, padding: int = 3) -> Iterable[str]:
    """Lines with aligned columns, without line ends: all cells but the last of a row are padded.

    As tabwriter's, widths are counted in characters. All rows must have the same number of cells.
    """
    table = list(rows)
    if not table:
        return
    widths = [
        max(minimum, max(len(cell) for cell in column) + padding)
        for column in list(zip(*table, strict=True))[:-1]
    ]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "".join(cells) + row[-1]
