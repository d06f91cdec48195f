"""Who writes a text may not be who writes the expression: work and memory are bounded, whatever either is."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from flowwatch import re2
from flowwatch.re2 import expression, google, machine


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The automaton, whose steps are counted."""
    monkeypatch.setattr(google, "_module", lambda: None)


def steps(pattern: str, text: str) -> int:
    """The work on one text, and no text before it."""
    asked = re2.Expression(pattern)
    asked.fullmatch(text)
    return asked.steps


@pytest.mark.parametrize(
    ("pattern", "letters", "end"),
    [
        ("/(a+)+", "a", "!"),
        ("(a|aa)+", "a", "!"),
        ("(.*)*x", "ab", ""),
        ("(a*)*(a*)*(a*)*b", "a", ""),
        (r"(\w+\s?)*:", "ab ", ""),
        (r"([a-z]+\.)+([a-z]+\.)+", "ab.", "!"),
        ("(a?){30}a{30}", "a", "b"),
        ("(x+x+)+y", "x", ""),
        ("(?i)((k|K)+)+s", "kK\u212a", ""),
        ("((((a+)+)+)+)+b", "a", ""),
    ],
)
def test_the_work_grows_no_faster_than_the_text(pattern: str, letters: str, end: str) -> None:
    """Python's re needs longer than the universe is old for some of these, at 60 letters."""
    text = "".join(Random(1).choices(letters, k=8000))
    work = [steps(pattern, text[:length] + end) for length in (500, 1000, 2000, 4000, 8000)]
    size = max(work[0] / 500, len(pattern))
    assert work[-1] <= 1.2 * 8000 * size, work
    for shorter, longer in pairwise(work):
        assert longer <= 2.2 * shorter + 500, work


def test_what_one_text_led_to_costs_the_next_nothing() -> None:
    asked = re2.Expression("/v[12]/([a-z]+/)*x")
    assert asked.fullmatch("/v1/abc/x")
    before = asked.steps
    assert asked.fullmatch("/v2/cba/x")
    assert not asked.fullmatch("/v2/cba/")
    assert asked.steps <= before + 3


def test_too_many_ways_to_match_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "MOST_STEPS", 10_000)
    asked = re2.Expression("(a|b)*a(a|b){900}c")
    text = "".join(Random(1).choices("ab", k=5000))
    for _ in range(2):
        with pytest.raises(re2.TooCostly, match=r"\(a\|b\)\*a.* too costly to try here: it can ma"):
            asked.fullmatch(text)
    assert asked.steps < 30_000
    assert not asked.fullmatch("c")  # others are answered as before


def test_texts_without_end_cannot_use_up_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression gets so much work in all; what is known by then stays known."""
    monkeypatch.setattr(expression, "MOST_STEPS_IN_ALL", 50_000)
    asked, random, costly = re2.Expression("(a|b)*a(a|b){60}c"), Random(1), 0
    assert not asked.fullmatch("abc")
    for _ in range(300):
        try:
            asked.fullmatch("".join(random.choices("ab", k=300)))
        except re2.TooCostly:
            costly += 1
    assert asked.steps < 60_000
    assert costly > 250
    assert not asked.fullmatch("abc")


@pytest.mark.parametrize(
    "pattern",
    ["a{1000}" * 60, "(" + "a{1000}" * 999 + ")", "(a{0,1000}){0,1}" * 60, "a" * 100_000],
    ids=lambda text: text[:20],
)
def test_an_expression_too_large_is_no_answer(pattern: str) -> None:
    asked = re2.Expression(pattern)  # Go takes it
    with pytest.raises(re2.TooCostly, match="too costly to try here: it is too large"):
        asked.search("a")


def test_classes_without_end_are_not_even_read() -> None:
    with pytest.raises(re2.TooCostly, match="it names too many characters"):
        re2.Expression("".join(rf"[\pL{at}]" for at in range(5000)))


def test_what_all_expressions_keep_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "MOST_HELD", 5_000)
    random = Random(2)
    asked = [re2.Expression(rf"(a|b)*a(a|b){{{at}}}c?") for at in range(5, 12)]
    for _ in range(100):
        one = random.choice(asked)
        text = "".join(random.choices("abc", k=200))
        one.fullmatch(text)
        held = sum(
            len(state.places) + len(state) + 1
            for each in asked
            if (automaton := each._exactly._machine) is not None
            for state in automaton._states.values()
        )
        assert held < 2 * 5_000
    # Made anew, they answer as before.
    assert all(one.fullmatch("a" + "b" * at) for at, one in enumerate(asked, 5))


def test_the_largest_is_made_in_a_blink() -> None:
    """Places are made for what is written, not for what may be met."""
    tree = re2.syntax.parse("a{1000}" * 49)
    assert len(machine.places(tree)) < machine.MOST_PLACES
