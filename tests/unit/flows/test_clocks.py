"""Nodes whose clocks are apart: as many attempts as there were, and the difference measured."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowwatch.flows import clocks as clocks_module
from flowwatch.flows import generations
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.clocks import ENOUGH, Clocks, skew_words, span
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch, Direction, Flow
from flowwatch.flows.open_attempt import OpenAttempt
from flowwatch.flows.tries import GAP
from tests.unit.flows.made import API, PSH_ACK, SECOND, denied, flow, reply, verdict

HOUR = 3600.0
RETRIES = (0, 1, 3, 7, 15, 31, 63)
"""Seconds at which Linux sends the SYN of one connection that nobody answers."""


def joined(flows: list[Flow]) -> Attempts:
    attempts = Attempts()
    for one in flows:
        attempts.observe(one)
    return attempts


def count(flows: list[Flow]) -> int:
    return len(joined(flows).open_attempts())


def set_clocks(flows: list[Flow], ahead: dict[str, float]) -> list[Flow]:
    """``flows`` as nodes would have told them whose clocks are ``ahead`` by so many seconds."""
    for one in flows:
        one.time += int(ahead.get(one.node, 0) * SECOND)
    return flows


def blocked_on_two(at: float = 0, **fields: Any) -> list[Flow]:
    """A connection that node-2 denies, with its retries, as both nodes see it."""
    return [
        record
        for wait in RETRIES
        for record in (
            flow(at + wait, destination=API, **fields),
            *denied(
                at + wait + 0.001,
                destination=API,
                direction=Direction.INGRESS,
                node="node-2",
                **fields,
            ),
        )
    ]


def through_on_two(at: float = 0, **fields: Any) -> list[Flow]:
    """A connection that both nodes let pass."""
    there: dict[str, Any] = {"direction": Direction.INGRESS, "node": "node-2"}
    answer = {"destination_port": fields.get("source_port", 40000)}
    return [
        verdict(at, destination=API, **fields),
        flow(at, destination=API, **fields),
        verdict(at + 0.001, destination=API, **there, **fields),
        flow(at + 0.001, destination=API, **there, **fields),
        reply(at + 0.001, source=API, **there, **answer),
        reply(at + 0.002, source=API, **answer),
        flow(at + 5, destination=API, tcp_flags=PSH_ACK, **fields),
        flow(at + 5.001, destination=API, tcp_flags=PSH_ACK, **there, **fields),
    ]


SKEWS = [0, 2, -2, 60, 75, 76, 90, -90, 500, HOUR, -HOUR, 2 * HOUR, 48 * HOUR]


@pytest.mark.parametrize("ahead", SKEWS)
@pytest.mark.parametrize("make", [blocked_on_two, through_on_two])
def test_one_connection_is_one_attempt_however_far_the_clocks_are_apart(
    make: Any, ahead: float
) -> None:
    for records in (make(), make()[::-1], sorted(make(), key=lambda one: one.node)):
        assert count(set_clocks(records, {"node-2": ahead})) == 1


@pytest.mark.parametrize("ahead", SKEWS)
def test_fifty_connections_are_fifty_attempts(ahead: float) -> None:
    records = [record for i in range(50) for record in through_on_two(i, source_port=1000 + i)]
    assert count(set_clocks(records, {"node-2": ahead})) == 50


def test_a_port_that_comes_back_is_a_new_attempt_on_any_clock() -> None:
    for again in (0.0, -HOUR, HOUR):
        known = [r for i in range(ENOUGH) for r in through_on_two(i, source_port=2000 + i)]
        records = [*known, *through_on_two(100), *through_on_two(300), *through_on_two(500)]
        set_clocks(records, {"node-2": again})
        assert count(records) == ENOUGH + 3
        # One node's whole ring before another's.
        assert count(sorted(records, key=lambda one: one.node)) == ENOUGH + 3


@pytest.mark.parametrize("ahead", SKEWS)
def test_what_only_the_other_node_saw_is_an_attempt_of_its_own_where_clocks_are_known(
    ahead: float,
) -> None:
    known = [r for i in range(ENOUGH) for r in through_on_two(i, source_port=2000 + i)]
    here, there = flow(100), flow(100 + 4 * HOUR, node="node-2", direction=Direction.INGRESS)
    assert count(set_clocks([*known, here, there], {"node-2": ahead})) == ENOUGH + 2


def told(flows: list[Flow]) -> dict[str, float]:
    return {skew.node: round(skew.ahead / SECOND, 2) for skew in joined(flows).clocks.skews()}


@pytest.mark.parametrize(
    ("ahead", "skews"),
    [(90, {"node-2": 90.0}), (-90, {"node-1": 90.0}), (HOUR, {"node-2": HOUR}), (2, {}), (0, {})],
)
def test_the_difference_is_told(ahead: float, skews: dict[str, float]) -> None:
    records = [record for i in range(50) for record in through_on_two(i, source_port=1000 + i)]
    assert told(set_clocks(records, {"node-2": ahead})) == skews


def test_one_connection_is_enough_to_tell_when_nothing_else_explains_it() -> None:
    tracker = joined(set_clocks(blocked_on_two(), {"node-2": -90}))
    [skew] = tracker.clocks.skews()
    assert skew_words([skew]) == (
        "clocks are apart: node-1 is 90 s ahead of node-2 (by 1 connection that two nodes saw): "
        "attempts are joined all the same, but times of records, --since and --until are by each "
        "node's own clock"
    )


def moved(flows: list[Flow]) -> bool:
    """Whether what ``flows`` tell of the clocks moves times of node-2; that they may be apart is told."""
    join = Join()
    join.add(Batch(flows))
    [scope] = join.scopes.values()
    assert {skew.node for skew in scope.clocks.skews()} & {"node-1", "node-2"}
    return scope.shared(flows[0].time, "node-2") != flows[0].time or "node-1" in scope.clocks.ahead


@pytest.mark.parametrize("seconds", [90, 86_400 / 2, 20_000 * 86_400])
def test_two_records_whose_times_are_apart_move_no_time_of_others(seconds: float) -> None:
    """One of them may be spoilt."""
    odd, here = through_on_two(0, source_port=1)[1:3]
    odd.time -= int(seconds * SECOND)
    assert not moved([odd, here])


@pytest.mark.parametrize(
    ("seconds", "moves"), [(90, True), (86_400 / 2, True), (2 * 86_400, False)]
)
def test_a_retry_that_tells_the_same_bears_it_out(seconds: float, moves: bool) -> None:
    """By more than a day nothing is moved before three connections agree."""
    assert moved(set_clocks(blocked_on_two(), {"node-2": -seconds})) is moves


def test_a_retry_that_tells_otherwise_does_not() -> None:
    """The first record of node-2 is spoilt; its others come when the client's do."""
    records = blocked_on_two()
    records[1].time -= 90 * SECOND
    join = Join()
    join.add(Batch(records))
    assert join.scopes[""].clocks.ahead == {}


def test_a_second_connection_bears_it_out() -> None:
    two = [r for i in range(2) for r in through_on_two(i, source_port=1 + i)[1:4:2]]
    assert moved(set_clocks(two, {"node-2": 90}))
    two[-1].time += 7 * SECOND
    assert not moved(two)


def test_the_one_that_is_off_is_named_among_many() -> None:
    tracker = Attempts()
    names = [f"node-{i}" for i in range(1, 7)]
    chance = random.Random(3)
    for i in range(200):
        one, other = chance.sample(names, 2)
        pair = [
            flow(i, source_port=1000 + i, node=one),
            flow(i + 0.001, source_port=1000 + i, node=other, direction=Direction.INGRESS),
        ]
        for record in set_clocks(pair, {"node-4": -40 * 60}):
            tracker.observe(record)
    assert len(tracker.open_attempts()) == 200
    assert [skew.words for skew in tracker.clocks.skews()] == ["node-4 is 40 min behind most nodes"]
    assert set(tracker.clocks.ahead) == {"node-4"}


def test_a_clock_that_is_set_is_followed() -> None:
    clocks = Clocks()
    for _ in range(20):
        clocks.saw("a", "b", 90 * SECOND)
    assert clocks.ahead_of("b", "a") == -90 * SECOND
    for _ in range(ENOUGH):
        clocks.saw("b", "a", 0)
    assert clocks.ahead_of("a", "b") == 0
    assert clocks.ahead == {}


def test_one_connection_in_three_may_mislead() -> None:
    clocks = Clocks()
    for i in range(60):
        clocks.saw("a", "b", (90 if i % 3 else 90 + 61 * i) * SECOND)
    assert clocks.ahead_of("a", "b") == 90 * SECOND


def test_differences_that_never_agree_tell_nothing() -> None:
    clocks = Clocks()
    for i in range(60):
        clocks.saw("a", "b", 7 * i * SECOND)
    assert clocks.ahead_of("a", "b") is None
    assert clocks.skews() == ()


def test_the_memory_of_pairs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks_module, "PAIRS", 10)
    clocks = Clocks()
    for i in range(100):
        for _ in range(ENOUGH):
            clocks.saw("a", f"n{i}", 90 * SECOND)
    assert len(clocks.skews()) <= 11


def test_a_record_without_a_time_joins_and_moves_nothing() -> None:
    timeless = flow()
    timeless.time = 0
    [attempt] = joined([flow(), timeless, flow(3)]).open_attempts()
    assert (attempt.records, attempt.last - attempt.first) == (3, 3 * SECOND)
    assert count([timeless, flow(), flow(3)]) == 1


def test_times_of_an_attempt_are_by_the_clock_of_the_node_that_told_of_it_first() -> None:
    records = set_clocks(blocked_on_two(), {"node-2": HOUR})
    [attempt] = joined(records).open_attempts()
    assert (attempt.node, attempt.first) == ("node-1", records[0].time)
    assert attempt.last - attempt.first == pytest.approx(63 * SECOND, abs=SECOND)


NODES = ("node-1", "node-2", "node-3")


@st.composite
def connections(draw: st.DrawFn) -> list[list[Flow]]:
    """Of each connection the records, in the order in which its nodes wrote them."""
    made = []
    for i in range(draw(st.integers(1, 6))):
        at = draw(st.floats(0, 600))
        nodes = draw(st.lists(st.sampled_from(NODES), min_size=1, max_size=3, unique=True))
        waits = RETRIES[: draw(st.integers(1, len(RETRIES)))]
        made.append(
            [
                flow(at + wait + 0.001 * hop, node=node, source_port=1000 + i)
                for wait in waits
                for hop, node in enumerate(nodes)
            ]
        )
    return made


def interleaved(records: list[Flow], chance: random.Random) -> list[Flow]:
    """``records`` in an order in which they may come: a node's own come as it made them."""
    by_node: dict[str, list[Flow]] = {}
    for one in sorted(records, key=lambda one: one.time):
        by_node.setdefault(one.node, []).append(one)
    waiting = list(by_node.values())
    mixed = []
    while waiting:
        mine = chance.choice(waiting)
        mixed.append(mine.pop(0))
        waiting = [one for one in waiting if one]
    return mixed


@settings(deadline=None)  # a busy machine is no failure
@given(
    made=connections(),
    ahead=st.fixed_dictionaries({node: st.floats(-2 * HOUR, 2 * HOUR) for node in NODES}),
    chance=st.randoms(use_true_random=False),
)
def test_as_many_attempts_as_connections_for_any_clocks_and_any_order(
    made: list[list[Flow]], ahead: dict[str, float], chance: random.Random
) -> None:
    records = [record for connection in made for record in connection]
    assert count(set_clocks(interleaved(records, chance), ahead)) == len(made)


@settings(deadline=None)  # a busy machine is no failure
@given(
    uses=st.lists(st.floats(1.1, 40), min_size=1, max_size=6),
    ahead=st.fixed_dictionaries({node: st.floats(-2 * HOUR, 2 * HOUR) for node in NODES}),
    chance=st.randoms(use_true_random=False),
)
def test_a_port_used_again_makes_as_many_attempts_as_on_clocks_that_agree(
    uses: list[float], ahead: dict[str, float], chance: random.Random
) -> None:
    def one(at: float, port: int) -> list[Flow]:
        return [
            flow(at + wait + 0.001 * hop, node=node, source_port=port)
            for wait in RETRIES
            for hop, node in enumerate(NODES)
        ]

    known = [record for i in range(ENOUGH) for record in one(i, 2000 + i)]
    at, records = 0.0, []
    for gap in uses:
        records += one(at, 40000)
        at += RETRIES[-1] + gap * GAP / SECOND
    # Each node's records stay in their order, however the nodes' are mixed.
    rings = {node: [r for r in records if r.node == node] for node in NODES}
    mixed = []
    while left := [node for node in NODES if rings[node]]:
        mixed.append(rings[chance.choice(left)].pop(0))
    assert count(set_clocks([*known, *mixed], ahead)) == ENOUGH + len(uses)


def test_every_attempt_is_handed_over_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations, "OPEN_AT_LEAST", 5)
    tracker = Attempts(limit=50)
    handed: list[OpenAttempt] = []
    for i in range(400):
        for record in through_on_two(i * 10, source_port=1000 + i % 9):
            tracker.observe(record)
        handed += tracker.take_closed()
    handed += tracker.open_attempts()
    assert len(handed) == len({id(one) for one in handed}) == 400
    assert sum(one.records for one in handed) == 400 * len(through_on_two())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (5400, "1.5 h"), (1e5, "1.2 days")],
)
def test_span(seconds: float, text: str) -> None:
    assert span(seconds) == text
