"""The attempts of the rows that a filter finds: which they are, and what is told of the choice."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

import flowwatch as library
from flowwatch.egress.chosen import ChosenJoin
from flowwatch.errors import UsageError
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.meaning import OUTCOMES
from flowwatch.flows.model import BOTH, Batch
from flowwatch.flows.open_attempt import OpenAttempt

CAPTURES = sorted(Path("tests/data/captures").glob("[dhitw]*.jsonl"))
EGRESS = frozenset({"egress"})


class Heard:
    """What a join tells: records and attempts, each as often as it tells of them."""

    def __init__(self, join: Join, batches: Iterable[Batch]) -> None:
        self.records: list[str] = []
        self.over: list[OpenAttempt] = []
        join.listen(self)
        join.read(batches)
        self.over += [attempt for _, _, attempt in join.open_attempts()]

    def take(self, joined: Joined) -> None:
        self.records += [flow.uuid for flow in joined.batch.flows]
        self.over += joined.closed

    @property
    def ports(self) -> list[tuple[str, int]]:
        return sorted((attempt.client.pod, attempt.key[3]) for attempt in self.over)


def batches(path: Path) -> list[Batch]:
    """One record a batch, so that attempts end and their numbers are used again."""
    found = []
    for batch in library.open_source(path).batches():
        found += [Batch(flows=[flow]) for flow in batch.flows]
    return found


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_filter_and_its_opposite_are_all_there_is(path: Path) -> None:
    every = Heard(Join(), batches(path))
    some, rest = ChosenJoin("port:53|443", BOTH), ChosenJoin("!port:53|443", BOTH)
    found = Heard(some, some.chosen(batches(path)))
    others = Heard(rest, rest.chosen(batches(path)))
    assert all(port in (53, 443) for _, port in found.ports)
    assert not any(port in (53, 443) for _, port in others.ports)
    assert sorted(found.ports + others.ports) == every.ports


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_what_is_read_once_more_is_told_as_what_was_held(path: Path) -> None:
    held, again = (ChosenJoin("verdict:dropped", BOTH) for _ in range(2))
    first = Heard(held, held.chosen(batches(path)))
    second = Heard(again, again.chosen(batches(path), lambda: batches(path)))
    assert first.records == second.records
    assert first.ports == second.ports
    assert held.coverage() == again.coverage()


def test_what_came_since_is_not_looked_at() -> None:
    path = Path("tests/data/captures/weather.jsonl")
    join = ChosenJoin("pod:weather-app", EGRESS)
    more = Heard(join, join.chosen(batches(path)[:20], lambda: batches(path)))
    alone = ChosenJoin("pod:weather-app", EGRESS)
    assert more.records == Heard(alone, alone.chosen(batches(path)[:20])).records


def test_attempts_of_a_row_are_told_whatever_became_of_them() -> None:
    path = Path("tests/data/captures/weather.jsonl")
    join = ChosenJoin("ns:shop verdict:dropped to:*catalog*", EGRESS)
    told = Heard(join, join.chosen(batches(path)))
    outcomes = [OUTCOMES[attempt.outcome] for attempt in told.over]
    assert sorted(outcomes) == ["dropped", "dropped", "forwarded", "forwarded"]


def test_the_coverage_says_what_was_chosen_of_what() -> None:
    path = Path("tests/data/captures/weather.jsonl")
    join = ChosenJoin("pod:weather-app verdict:dropped", EGRESS)
    Heard(join, join.chosen(batches(path)))
    seen = join.coverage()
    assert seen.records_read == 64
    assert seen.filter == "pod:weather-app verdict:dropped"
    assert seen.warnings[0] == (
        "only what --filter 'pod:weather-app verdict:dropped' finds: 2 of 16 rows, 2 of 21 attempts"
    )


def test_rows_that_were_folded_are_not_found_and_that_is_told() -> None:
    path = Path("tests/data/captures/weather.jsonl")
    join = ChosenJoin("pod:weather-app", EGRESS, max_rows=4)
    Heard(join, join.chosen(batches(path)))
    assert "beyond 4 were folded into 'other'" in "\n".join(join.coverage().warnings)


def test_what_is_no_filter_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match="did you mean policy:"):
        ChosenJoin("polcy:x", BOTH)
