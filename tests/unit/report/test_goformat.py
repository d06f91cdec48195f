"""Go's formatting rules on their own; tests/interop compares with the real thing."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from flowwatch.report.goformat import TimeFormat, align, join_host_port, quote


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("StampMilli", "Mar  4 05:06:07.089"),
        ("no such format", "Mar  4 05:06:07.089"),
        ("rfc3339", "2026-03-04T05:06:07Z"),
        ("RFC3339Milli", "2026-03-04T05:06:07.089Z"),
        ("RFC3339Micro", "2026-03-04T05:06:07.089Z"),
        ("RFC3339Nano", "2026-03-04T05:06:07.089000123Z"),
        ("RFC1123Z", "Wed, 04 Mar 2026 05:06:07 +0000"),
        ("YearMonthDay", "2026-03-04"),
        ("YearMonthDayHour", "2026-03-04T05Z"),
        ("YearMonthDayHourMinute", "2026-03-04T05:06Z"),
    ],
)
def test_layouts(name: str, text: str) -> None:
    assert TimeFormat(name).nanoseconds(1_772_600_767_089_000_123) == text


def test_times_out_of_bounds_and_absent() -> None:
    times = TimeFormat()
    assert times.message(None) == "N/A"
    assert times.message(Timestamp(seconds=253_402_300_800)) == "N/A"
    assert times.message(Timestamp(nanos=-1)) == "N/A"
    assert times.message(Timestamp(seconds=-62_135_596_800)) == "Jan  1 00:00:00.000"


def test_iso_times_all_have_one_width() -> None:
    times = TimeFormat.iso()
    assert times.nanoseconds(1_000_000_000) == "1970-01-01T00:00:01.000000000Z"
    assert times.nanoseconds(1) == "1970-01-01T00:00:00.000000001Z"


def test_quote() -> None:
    assert quote('a "b" \\ \n \x07 \x01 \x7f \x9b é \u202e 😀') == (
        '"a \\"b\\" \\\\ \\n \\a \\x01 \\x7f \\u009b é \\u202e 😀"'
    )


def test_host_and_port() -> None:
    assert join_host_port("fd00::1", "53") == "[fd00::1]:53"
    assert join_host_port("weather/app", "53") == "weather/app:53"


def test_align() -> None:
    assert list(align([("A", "BB", "C"), ("aaa", "b", "")])) == ["A     BB   C", "aaa   b    "]
    assert list(align([])) == []
