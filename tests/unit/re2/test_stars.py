"""Names with stars: what they mean, and that no name costs more than its letters."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from flowwatch.re2 import Stars


def names(pattern: str) -> Stars:
    """As a policy has them: a star stays within its label."""
    return Stars(pattern, apart=".", allowed="-a-z0-9_.")


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.x.io", ["a.x.io", ".x.io"], ["x.io", "a.b.x.io", "a.xxio", "a.x.io.", "é.x.io"]),
        ("a*b", ["ab", "aab", "abb", "a-b"], ["a", "b", "ba", "a.b", "abc", "a$b"]),
        ("a*a", ["aa", "aaa"], ["a", "ab"]),
        ("*ab*ab*", ["abab", "xabxabx"], ["ab", "aab", "abba"]),
        ("*aba*bab*", ["ababab", "abaxbab"], ["abab"]),
        ("x**y", ["xy", "x1y"], ["x"]),
        ("*", ["", "a"], ["a.b"]),
        ("a", ["a"], ["", "aa", "A"]),
    ],
)
def test_what_a_star_stands_for(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [name for name in yes if not names(pattern).matches(name)] == []
    assert [name for name in no if names(pattern).matches(name)] == []


def test_below_a_name_stands_one_label_or_more() -> None:
    deep = Stars("x.io", apart=".", allowed="-a-z0-9_.", below=True)
    assert deep.matches("a.x.io")
    assert deep.matches("a.b.x.io")
    assert not deep.matches("x.io")
    assert not deep.matches(".x.io")
    assert not deep.matches("a..x.io")


def test_in_a_filter_a_star_stands_for_dots_but_not_for_an_underscore() -> None:
    stars = Stars("*_a*.io", apart="_", allowed="-_0-9a-z.")
    assert stars.matches("x.y_a.b.io")
    assert not stars.matches("x_y_a.io")


@pytest.mark.parametrize("apart", [".", "_"])
def test_the_work_is_as_many_searches_as_stars_whatever_the_name(apart: str) -> None:
    """Each search begins where the last one ended, so that all together pass over the name once."""
    stars = Stars("*a" * 30 + "*b*", apart=apart, allowed="-_0-9a-z.")
    for length in (60, 600, 6000, 60_000):
        searched: list[int] = []

        def count(frame: FrameType, event: str, called: object) -> None:
            if event == "c_call" and getattr(called, "__name__", "") == "find":
                searched.append(1)  # noqa: B023 - called before the loop goes on

        sys.setprofile(count)
        try:
            found = stars.matches("a" * length)
        finally:
            sys.setprofile(None)
        assert not found
        assert len(searched) == 31
    assert stars.matches("a" * 60 + "b")
