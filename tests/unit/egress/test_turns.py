"""What a row says of time: "forwarded until 11:17:41, dropped since 11:17:43" is one story, not two."""

from __future__ import annotations

import random
from typing import Any

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Row
from flowwatch.egress.turns import KEPT, Turns
from flowwatch.egress.view import snapshot
from flowwatch.flows.meaning import DROPPED, FORWARDED
from flowwatch.flows.model import Batch, Direction, Extras, Flow, Standing, Verdict
from flowwatch.flows.ranges import LATEST
from flowwatch.report.came_back import state_words
from tests.unit.egress.made import counted, rows
from tests.unit.flows.made import API, SECOND, denied, flow, l7, verdict

START = 1_700_000_000


def passed(at: float, **fields: Any) -> Flow:
    """An attempt of its own that is let through."""
    return verdict(at, source_port=10_000 + int(at), **fields)


def blocked(at: float, **fields: Any) -> list[Flow]:
    """One that is dropped."""
    return denied(at, source_port=10_000 + int(at), **fields)


def told(row: Row) -> tuple[str, float, str, float]:
    """State, since, state before, until: times in seconds from the start, 0 where there is none."""
    since, until = (round(t / SECOND - START, 3) if t else 0 for t in (row.since, row.until))
    return row.state, since, row.state_before, until


def test_a_policy_that_cuts_off_what_worked() -> None:
    [row] = rows(passed(1), passed(5), passed(9), *blocked(11), *blocked(12))
    assert (row.forwarded, row.dropped) == (3, 2)
    assert told(row) == ("dropped", 11, "forwarded", 9)


def test_a_rule_that_was_added_lets_through_what_was_dropped() -> None:
    [row] = rows(*blocked(1), *blocked(2), passed(8), passed(9))
    assert told(row) == ("forwarded", 8, "dropped", 2)


def test_a_rollback_is_the_last_of_three_runs() -> None:
    [row] = rows(passed(1), passed(2), *blocked(4), *blocked(6), passed(7), passed(9))
    assert told(row) == ("forwarded", 7, "dropped", 6)
    assert [run.state for run in row.runs] == ["forwarded", "dropped", "forwarded"]


def test_what_always_went_alike_is_so_since_it_began() -> None:
    [row] = rows(passed(3), passed(4))
    assert told(row) == ("forwarded", 3, "", 0)


def test_outcomes_that_change_with_every_request_are_no_story() -> None:
    flows: list[Flow] = []
    for at in range(1, 13, 2):
        flows += [passed(at), *blocked(at + 1)]
    [row] = rows(*flows)
    assert told(row) == ("mixed", 0, "", 0)


def test_a_connection_that_a_policy_cuts_was_dropped_then_and_not_when_it_began() -> None:
    [row] = rows(passed(1), flow(2, source_port=10_001, tcp_flags=16),
                 *denied(60, source_port=10_001, tcp_flags=24))  # fmt: skip
    assert (row.forwarded, row.dropped) == (0, 1)
    assert told(row) == ("dropped", 60, "", 0)


def test_a_retry_that_was_let_through_was_forwarded_then() -> None:
    [row] = rows(*blocked(1), *denied(2, source_port=10_001), verdict(4.1, source_port=10_001))
    assert (row.dropped, row.forwarded, row.late) == (0, 1, 1)
    assert told(row) == ("forwarded", 4.1, "", 0)


def test_what_the_other_end_drops_was_never_forwarded_here() -> None:
    """Each attempt leaves the client first: that is not its state, but how it began."""
    there = {"destination": API, "destination_ip": "10.0.0.9"}
    flows: list[Flow] = [passed(1, **there), passed(5, **there)]
    for at in (7, 8):
        flows.append(passed(at, **there))
        flows += blocked(at + 0.002, direction=Direction.INGRESS, node="node-2", **there)
    egress, ingress = rows(*flows, query=Query(direction="both"))
    assert told(egress) == ("dropped", 7, "forwarded", 5)
    assert told(ingress) == ("dropped", 7.002, "", 0)


def test_what_waits_for_the_proxy_is_no_state() -> None:
    there: dict[str, Any] = {"destination_port": 80, "source_port": 10_001}
    [row] = rows(
        flow(1, event_type=1, sub_type=1, verdict=Verdict.REDIRECTED, **there), l7(1.5, **there)
    )
    assert told(row) == ("forwarded", 1.5, "", 0)


def test_the_order_of_the_records_does_not_matter() -> None:
    """Rotated files may be read the newest first."""
    story = [[passed(at)] for at in range(1, 9)] + [blocked(at) for at in range(11, 20)]
    for seed in range(20):
        random.Random(seed).shuffle(story)
        [row] = rows(*[one for attempt in story for one in attempt])
        assert told(row) == ("dropped", 11, "forwarded", 8)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_states_are_by_the_clock_that_rows_are_told_by(size: int) -> None:
    """node-2 is 90 s ahead: known once enough connections were seen at both ends, or from the start."""
    flows: list[Flow] = []
    for at in range(60):
        end: dict[str, Any] = {"destination": API, "destination_ip": "10.0.0.9"}
        there = end | {"direction": Direction.INGRESS, "node": "node-2", "source_port": 10_000 + at}
        flows.append(passed(at, **end))
        flows += [flow(at + 90.001, **there)] if at < 40 else denied(at + 90.001, **there)
    aggregate = Aggregate()
    for place in range(0, len(flows), size):
        aggregate.join.add(Batch(flows=flows[place : place + size]))
    for row in snapshot(aggregate, Query(direction="both")).rows:
        state, since, before, until = told(row)
        assert (state, before) == ("dropped", "forwarded")
        assert since == pytest.approx(40, abs=0.01)
        assert until == pytest.approx(39, abs=0.01)
        assert row.first_seen < row.until < row.since < row.last_seen


def test_much_of_it_stays_exact_in_bounded_memory() -> None:
    turns = Turns()
    for time in range(1, 10_001):
        turns.add(0, FORWARDED if time <= 6000 else DROPPED, time)
    assert [(run.state, run.until) for run in turns.of(0)] == [
        ("forwarded", 6000),
        ("dropped", 10_000),
    ]
    assert turns.of(0)[1].since == 6001
    for time in range(10_001, 20_001):
        turns.add(0, (FORWARDED, DROPPED)[time % 2], time)
    assert len(turns.of(0)) <= KEPT


def test_an_attempt_that_became_another_leaves_no_trace() -> None:
    """Whatever came between: as if it had been that from the beginning."""
    for seed in range(50):
        chance = random.Random(seed)
        turns, plain = Turns(), Turns()
        for time in range(1, 40):
            outcome = FORWARDED if time < 25 else DROPPED
            plain.add(0, outcome, time)
            if chance.random() < 0.3:
                turns.add(0, 1 - outcome, time)
                turns.add(0, 1 - outcome, time, -1)
            turns.add(0, outcome, time)
        assert turns.of(0) == plain.of(0)


def test_rows_that_are_folded_keep_their_story() -> None:
    flows = [passed(1), *blocked(2)]
    for number in range(20):
        flows += [passed(10 + number, destination_ip=f"9.9.9.{number}")]
    flows += blocked(50)
    aggregate = counted(*flows, max_rows=8)
    aggregate.join.add(Batch(flows=[passed(60, destination_ip="8.8.8.8")]))
    row = next(row for row in snapshot(aggregate, Query()).rows if row.peer == "1.2.3.4")
    assert told(row) == ("dropped", 2, "forwarded", 1)


def test_in_words_it_is_one_story() -> None:
    [row] = rows(passed(1), passed(5), *blocked(11), *blocked(12))
    assert state_words(row) == "forwarded until 22:13:25, dropped since 22:13:31"
    [row] = rows(*blocked(1), passed(2), *blocked(4))
    assert (
        state_words(row)
        == "dropped until 22:13:21, forwarded until 22:13:22, dropped since 22:13:24"
    )
    flows = [one for at in range(1, 13, 2) for one in (passed(at), *blocked(at + 1))]
    [row] = rows(*flows)
    assert state_words(row) == "by turns: last forwarded 22:13:31, last dropped 22:13:32"
    [row] = rows(passed(1), passed(2))
    assert state_words(row) == ""


def test_a_clock_that_was_behind_moves_no_time_over_the_end_of_all_times() -> None:
    turns = Turns()
    for time, outcome in ((1, FORWARDED), (LATEST, DROPPED)):
        turns.add(0, outcome, time)
    turns.add(1, DROPPED, LATEST)
    turns.shift(lambda row: -SECOND)
    assert [run.until for run in turns.of(0)] == [1 + SECOND, LATEST]
    assert [run.until for run in turns.of(1)] == [LATEST]


def test_an_aggregated_line_went_so_until_it_was_last_seen() -> None:
    """It is one attempt, that stands for all that went so meanwhile."""

    def line(at: float, **fields: Any) -> Flow:
        made = verdict(at, source_port=0, **fields)
        made.extras = Extras(standing=Standing(egress=5))
        return made

    drop: dict[str, Any] = {"verdict": Verdict.DROPPED, "drop_reason": 133}
    flows = [line(1), line(10), line(20), line(21, **drop), line(30, **drop)]
    aggregate = Aggregate()
    aggregate.join.add(Batch(flows=flows))
    [row] = snapshot(aggregate, Query()).rows
    assert told(row) == ("dropped", 21, "forwarded", 20)
