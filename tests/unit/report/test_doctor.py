"""The lines of ``flowwatch doctor``, at a terminal and elsewhere."""

from __future__ import annotations

import json

import pytest

from flowwatch.doctor.evidence import State, Step
from flowwatch.errors import UsageError
from flowwatch.report.doctor import check_output, step_text, steps_json, summary_text

LONG = Step("tls", State.FAIL, "the certificate " + "of a server " * 9, "renew it " * 12)


def test_one_line_where_nobody_wraps() -> None:
    assert step_text(Step("tcp", State.OK, "fine")) == "✓ tcp          fine\n"
    assert step_text(LONG).count("\n") == 1


@pytest.mark.parametrize("width", [40, 80, 110])
def test_at_a_terminal_nothing_is_wider_and_the_text_has_a_margin(width: int) -> None:
    lines = step_text(LONG, width=width).splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= width
    assert all(line.startswith(" " * 15) for line in lines[1:])
    assert sum("→" in line for line in lines) == 1
    assert " ".join(" ".join(lines).split()) == (
        f"✗ tls {' '.join(LONG.what.split())} → {' '.join(LONG.next.split())}"
    )


def test_ascii_is_ascii_whatever_comes() -> None:
    for state in State:
        text = step_text(Step("dns", state, "für ü\x1b[2J", "…"), signs=False)
        assert text.isascii()
        assert "\x1b" not in text


def test_text_from_the_network_stays_on_its_line() -> None:
    step = Step("nodes", State.FAIL, "a\nb\x1b]0;x\x07\u202e", "c\r\u009b")
    assert step_text(step) == "✗ nodes        a\\x0ab\\x1b]0;x\\x07\\u202e → c\\x0d\\x9b\n"
    (row,) = json.loads(steps_json([step]))
    assert row == {
        "name": "nodes",
        "state": "fail",
        "what": "a\\x0ab\\x1b]0;x\\x07\\u202e",
        "next": "c\\x0d\\x9b",
    }


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ([State.OK, State.SKIPPED], "all is well\n"),
        ([State.WARN], "flows can be read; 1 step to look at\n"),
        ([State.FAIL, State.WARN, State.WARN], "1 step failed, 2 to look at\n"),
        ([State.FAIL, State.FAIL], "2 steps failed\n"),
    ],
)
def test_the_last_line(states: list[State], words: str) -> None:
    assert summary_text(Step("x", state, "") for state in states) == words


def test_other_formats_are_refused() -> None:
    assert check_output("json") == "json"
    with pytest.raises(UsageError, match="invalid output format: yaml"):
        check_output("yaml")
