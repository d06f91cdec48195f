"""Which flows: from --last, --since and the others to a request."""

from __future__ import annotations

import pytest

from flowwatch.cli.flags import parse
from flowwatch.errors import UsageError
from flowwatch.gotext import parse_duration
from flowwatch.hubble.filters.flags import Filters, build
from flowwatch.hubble.filters.request import (
    ALL,
    RequestFlags,
    Window,
    parse_time,
    to_request,
    window,
)

NOW = 1_800_000_000_000_000_000
SECOND = 1_000_000_000


def read(line: str, default: int = 20) -> Window:
    return window(RequestFlags(parse(["observe", *line.split()]).get), default=default, now=NOW)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("", Window(20)),
        ("--last 0", Window(20)),
        ("--last 7", Window(7)),
        ("--first 7", Window(7, first=True)),
        ("--all", Window(ALL)),
        ("-f", Window(0, follow=True)),
        ("-f --last 3", Window(3, follow=True)),
        ("-f --all", Window(ALL, follow=True)),
        ("--since 5s", Window(0, since=NOW - 5 * SECOND)),
        ("--since 5s --last 3", Window(3, since=NOW - 5 * SECOND)),
        # With a time, --all adds nothing.
        ("--since 5s --all", Window(0, since=NOW - 5 * SECOND)),
        ("--until 5s", Window(0, until=NOW - 5 * SECOND)),
        # hubble drops --until when it follows, without a look at it.
        ("-f --until nonsense", Window(0, follow=True)),
    ],
)
def test_flags_become_a_window(line: str, wanted: Window) -> None:
    assert read(line) == wanted


def test_verbs_that_want_everything_have_no_default() -> None:
    assert read("", default=0) == Window(0)


@pytest.mark.parametrize(
    "line", ["--first 1 --last 1", "--first 1 --all", "--first 1 -f", "--last 1 --all"]
)
def test_windows_that_exclude_each_other(line: str) -> None:
    with pytest.raises(UsageError, match="cannot set both --"):
        read(line)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", NOW / SECOND),
        ("1h30m", NOW / SECOND - 5400),
        ("-1.5s", NOW / SECOND + 1.5),
        ("1970-01-02", 86400),
        ("1970-01-01T01Z", 3600),
        ("1970-01-01T1Z", 3600),
        ("1970-01-01T01:02+01:00", 120),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T00:00:01,25-00:01", 61.25),
        ("Thu, 01 Jan 1970 00:00:10 +0000", 10),
        ("mon,  01 JAN 1970 0:00:10.5 -0100", 3610.5),
        ("0001-01-01", -62135596800),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text, "since", NOW) == seconds * SECOND


def test_fractions_are_cut_at_nanoseconds() -> None:
    assert parse_time("1970-01-01T00:00:00.1234567899Z", "since") == 123456789


@pytest.mark.parametrize(
    "text",
    ["nonsense", "5", "1d", "2026-02-29", "2026-1-1", "2026-01-01T24Z", "2026-01-01T01:02",
     "Jan  2 15:04:05.000", "2026-01-01T01+25:00", "2026-01-01T01:02:60Z", "٢٠٢٦-01-01",
     "9999999h", " 5s", "2026-01-01 01:02:03Z"],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_time(text, "until", NOW)
    words = f"failed to parse the until time: failed to convert {text} to time"
    assert error.value.message == words


def test_days_are_told_in_hours() -> None:
    with pytest.raises(UsageError) as error:
        parse_time("7d", "since", NOW)
    assert error.value.hint == "168h is that long ago"


def test_times_that_a_request_cannot_hold() -> None:
    with pytest.raises(UsageError, match="before 0001-01-01"):
        parse_time("0000-02-29", "since")
    with pytest.raises(UsageError, match="after 9999-12-31"):
        parse_time("9999-12-31T23-01:00", "since")


@pytest.mark.parametrize(
    "text",
    ["", "-", "1", "1.s.", ".s", "1x", "1s1", "9223372036854775808ns", "99999999999999999999s"],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"^time: "):
        parse_duration(text)


def test_durations_are_exact_to_the_nanosecond() -> None:
    assert parse_duration("-9223372036854775808ns") == -(2**63)
    assert parse_duration("1h1m1s1ms1µs1ns") == 3661_001_001_001
    assert parse_duration("0.000000001s") == 1


def test_a_request_carries_window_and_filters() -> None:
    filters = build([("not", "true"), ("verdict", "DROPPED"), ("from-pod", "a")])
    made = to_request(Window(5, since=1_500_000_000), filters, mask=("time", "l4"))
    assert (made.number, made.follow, made.first) == (5, False, False)
    assert (made.since.seconds, made.since.nanos) == (1, 500_000_000)
    assert not made.HasField("until")
    assert list(made.whitelist) == filters.allow
    assert list(made.blacklist) == filters.deny
    assert list(made.field_mask.paths) == ["time", "l4"]


def test_a_dashboard_reads_the_ring_and_keeps_relay_awake() -> None:
    made = to_request(Window(follow=True), Filters(), with_ring=True)
    # "From 1970" is the ring; the number only sizes relay's queue (100 flows late otherwise).
    assert (made.number, made.since.ToNanoseconds()) == (1, 1)
    again = to_request(Window(follow=True), Filters(), with_ring=True, resume=7)
    assert (again.number, again.since.ToNanoseconds()) == (1, 7)
    last = to_request(Window(3, follow=True), Filters(), with_ring=True)
    assert (last.number, last.HasField("since")) == (3, False)


def test_a_field_that_is_none_is_refused_before_the_server() -> None:
    with pytest.raises(UsageError, match='invalid path "nope" for message'):
        to_request(Window(1), Filters(), mask=("time", "nope"))
