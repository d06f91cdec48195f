"""What "forwarded" and "dropped" leave open is on the screen: answers, and attempts that were late."""

from __future__ import annotations

from typing import Any

import pytest

from flowwatch.flows.model import Flow
from flowwatch.flows.reasons import by_name
from flowwatch.report.came_back import answer_words
from flowwatch.report.summary_table import Style, table_lines
from flowwatch.tui.format import line_width
from flowwatch.tui.parts import columns as cols
from flowwatch.tui.parts.detail import detail_lines
from flowwatch.tui.theme import FANCY
from tests.unit.flows.made import denied, flow, reply, verdict
from tests.unit.tui.driven import Played, played, run
from tests.unit.tui.made import NOON, row, snapshot

RST_ACK = 20


def late(port: int, first: float = 0.0) -> list[Flow]:
    """Denied at 0 and 1 s, let through at 3.1 s: by the policy that came meanwhile."""
    sent = {"source_port": port}
    return [
        *denied(first, **sent),
        *denied(first + 1.0, **sent),
        verdict(first + 3.1, **sent),
        flow(first + 3.1, **sent),
        reply(first + 3.2, destination_port=port),
    ]


def through(port: int, **answer: int) -> list[Flow]:
    """Let through, with an answer whose flags are given, or none."""
    records = [verdict(source_port=port), flow(source_port=port)]
    return records + ([reply(0.1, destination_port=port, **answer)] if answer else [])


def test_what_came_back_and_what_was_late_is_told_of_the_row() -> None:
    """3 attempts: one got an answer late, one was refused, of one nothing more is known."""

    async def test() -> None:
        story = [*late(30_000), *through(30_001, tcp_flags=RST_ACK), *through(30_002)]
        async with played(Played(story), size=(130, 50)) as driven:
            await driven.sees("3 let through, 1 answered, 1 refused (reset)")
            await driven.sees(
                "1 attempt late: denied at first, let through on a retry after 3.1s, 2"
            )
            heading = next(line for line in driven.screen if "ANSWERED" in line)
            cells = next(line for line in driven.screen if line.startswith("▌"))
            assert "refused 1" in cells
            end = heading.index("ANSWERED") + len("ANSWERED")
            assert cells[:end].endswith("  1")

    run(test())


def test_a_narrow_terminal_has_the_sign_of_it_in_the_row() -> None:
    async def test() -> None:
        async with played(Played(late(30_000)), size=(80, 24)) as driven:
            await driven.sees("late 3.1s")
            assert "ANSWERED" not in driven.text

    run(test())


TOLD: dict[str, tuple[dict[str, Any], str]] = {
    "answered": ({"forwarded": 18, "answered": 3}, "Answers 18 let through, 3 answered"),
    "none": ({"forwarded": 18}, "Answers 18 let through, no answer seen"),
    "failed": (
        {"forwarded": 9, "refused": 2, "unreachable": 1},
        "Answers 9 let through, 2 refused (reset), 1 unreachable (ICMP)",
    ),
    "answered before it was dropped": (
        {"forwarded": 112, "dropped": 12, "drop_reasons": {"L7_DENIED": 12}, "answered": 124},
        "Answers 112 let through; 124 answered, 12 of them before they were dropped",
    ),
    "nothing let through": (
        {"forwarded": 0, "dropped": 3, "drop_reasons": {"POLICY_DENIED": 3}, "answered": 1},
        "Answers 1 answered before it was dropped",
    ),
    "open before the policy, and refused since": (
        {
            "forwarded": 4,
            "dropped": 3,
            "drop_reasons": {"POLICY_DENIED": 3},
            "answered": 3,
            "refused": 1,
        },
        "Answers 4 let through; 3 of all 7 attempts answered, 1 refused (reset)",
    ),
    "some dropped, no answer": (
        {"forwarded": 4, "dropped": 3, "drop_reasons": {"POLICY_DENIED": 3}},
        "Answers 4 let through, no answer seen",
    ),
    "late": (
        {"late": 1, "waited": 3.1, "retries": 3},
        "Late 1 attempt late: denied at first, let through on a retry after 3.1s, 3 retries",
    ),
    "several late": (
        {"late": 2, "waited": 1.0, "retries": 1},
        "Late 2 attempts late: denied at first, let through on a retry after 1s, 1 retry at most",
    ),
    "answer dropped": (
        {"forwarded": 0, "dropped": 2, "drop_reasons": {"POLICY_DENIED": 2}, "answers_dropped": 2},
        "No answer 2 attempts with the answer dropped: the request was let through, and what came back "
        "met the policies of the pod that dropped it",
    ),
}


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("columns", [40, 90])
def test_the_words_of_the_detail(name: str, columns: int) -> None:
    fields, expected = TOLD[name]
    lines = detail_lines(row(1, **fields), (), NOON, columns, FANCY, ("hubble", "observe"))
    assert max(map(line_width, lines)) <= columns
    text = " ".join("".join("".join(part for part, _ in line) + " " for line in lines).split())
    assert expected in text


def test_of_a_dropped_answer_the_advice_is_about_the_answer() -> None:
    fields: dict[str, Any] = {"dropped": 2, "drop_reasons": {"POLICY_DENIED": 2}, "forwarded": 0}
    known = by_name("POLICY_DENIED")
    assert known is not None
    for answers, advice in ((2, "in the direction that the answer takes"), (1, known.next)):
        made = row(1, answers_dropped=answers, **fields)
        lines = detail_lines(made, (), NOON, 400, FANCY, ("hubble", "observe"))
        text = "\n".join("".join(part for part, _ in line) for line in lines)
        assert advice in text


def test_nothing_is_said_where_nothing_was_let_through_nor_came_back() -> None:
    dropped = row(1, forwarded=0, dropped=3, drop_reasons={"POLICY_DENIED": 3})
    assert answer_words(dropped) == ""


@pytest.mark.parametrize("name", ["failed", "late", "several late", "answer dropped"])
def test_the_summary_says_it_in_the_same_words(name: str) -> None:
    fields, expected = TOLD[name]
    words = expected.removeprefix("No answer ").removeprefix("Late ").rpartition("let through, ")[2]
    assert words in " ".join(table_lines(snapshot((row(1, **fields),)), Style(width=0)))


@pytest.mark.parametrize(
    ("fields", "cell"),
    [
        (
            {"dropped": 2, "answers_dropped": 2, "drop_reasons": {"POLICY_DENIED": 2}},
            "answer POLICY_DENIED",
        ),
        (
            {"dropped": 3, "answers_dropped": 2, "drop_reasons": {"POLICY_DENIED": 3}},
            "POLICY_DENIED",
        ),
        ({"refused": 1_500, "late": 1}, "refused 1,500"),
        ({"unreachable": 1}, "unreachable 1"),
        ({"late": 4, "waited": 7.25}, "late 7.2s"),
        ({"audited": 3, "refused": 1}, "would deny 3"),
        ({"answered": 10}, ""),
    ],
)
def test_the_oddest_of_it_is_in_the_rows_reason(fields: dict[str, Any], cell: str) -> None:
    (reason,) = [column for column in cols.COLUMNS if column.title == "REASON"]
    assert reason.cell(row(1, **fields), cols.Cells(NOON, None, None)) == cell
