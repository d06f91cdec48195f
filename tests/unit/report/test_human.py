"""Numbers, ages and shortened names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowwatch.report.human import age, count, fold, pad, percent, shorten, span, width


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (99_999, "99,999"),
        (100_000, "100k"),
        (999_499, "999k"),
        (999_600, "1.0M"),
        (1_234_567, "1.2M"),
        (9_960_000, "10M"),
        (123_456_789, "123M"),
        (2_000_000_000, "2.0G"),
    ],
)
def test_counts(number: int, text: str) -> None:
    assert count(number) == text


@given(st.integers(0, 10**12))
def test_counts_fit_into_six_columns(number: int) -> None:
    assert len(count(number)) <= 6


@pytest.mark.parametrize(
    ("seconds", "one", "two"),
    [
        (-1, "0s", "0s"),
        (7.5, "7s", "7.5s"),
        (59.94, "59s", "59.9s"),
        (60, "1m", "1m"),
        (307, "5m", "5m7s"),
        (3_600, "1h", "1h"),
        (10_930, "3h", "3h2m"),
        (200_000, "2d", "2d7h"),
    ],
)
def test_ages_and_spans(seconds: float, one: str, two: str) -> None:
    assert (age(seconds), span(seconds)) == (one, two)


def test_shares_never_round_to_nothing_or_all() -> None:
    assert [percent(share) for share in (0, 0.0001, 0.333, 0.9999, 1)] == [
        "0.0%",
        "<0.1%",
        "33.3%",
        ">99.9%",
        "100.0%",
    ]


@given(st.text(), st.integers(0, 60))
def test_shortened_text_fits(text: str, columns: int) -> None:
    short = shorten(text, columns)
    assert width(short) <= columns
    assert short == text or width(text) > columns


def test_shortening_keeps_both_ends() -> None:
    assert shorten("weather/weather-app-6d5fd48c7d-cnsfl", 20) == "weather/wea…7d-cnsfl"
    assert width("名e\u0301") == 3
    assert pad("名", 4) + "|" == "名  |"
    assert pad("7", 3, right=True) == "  7"


@pytest.mark.parametrize(
    ("line", "folded"),
    [
        ("short", ["short"]),
        ("a b c d e f g h i j k", ["a b c d e f", "  g h i j k"]),
        ("  ✗ to be or not to be", ["  ✗ to be or", "    not to", "    be"]),
        ("Evidence: one two three", ["Evidence: one", "          two", "          three"]),
        ("      why not so", ["      why", "      not", "      so"]),
        ("  try: kubectl exec x", ["  try: kubectl exec x"]),
        ("a-word-that-is-too-long", ["a-word-that-is-too-long"]),
        ("  + a-word-that-is-long b", ["  + a-word-that-is-long", "    b"]),
        ("\x1b[31m✗\x1b[0m \x1b[1mone\x1b[0m two 3",
         ["\x1b[31m✗\x1b[0m \x1b[1mone\x1b[0m two", "  3"]),
    ],
)  # fmt: skip
def test_lines_are_folded_behind_their_sign(line: str, folded: list[str]) -> None:
    columns = 9 if "\x1b" in line else 11 if line.startswith("   ") else 12
    assert list(fold(line, columns)) == folded
    assert list(fold(line, 0)) == [line]


@given(st.text("ab✗ ", max_size=60), st.integers(12, 40))
def test_folding_loses_no_word(line: str, columns: int) -> None:
    assert " ".join(fold(line, columns)).split() == line.split()
