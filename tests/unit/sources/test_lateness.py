"""How late each node's records come, and what that is good for. Times are seconds here."""

from __future__ import annotations

from typing import Any

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.errors import Unreachable
from flowwatch.flows.model import Batch
from flowwatch.sources.health import OVERLAP
from flowwatch.sources.lateness import LOOKS, Lateness
from flowwatch.sources.node_clocks import SKEW, NodeClocks
from tests.unit.flows.made import flow
from tests.unit.sources.scripted import (
    BEGAN,
    SECOND,
    Connection,
    HandClock,
    ScriptedServer,
    Step,
    play,
    record,
)

HOUR = 3600


def noted(*looks: tuple[float, float], node: str = "node-1") -> dict[str, int]:
    """What is known after records made at the one time came at the other."""
    lateness = Lateness()
    for made, came in looks:
        lateness.note(node, int(made * SECOND), int((1000 + came) * SECOND))
    return {name: round(late / SECOND) for name, late in lateness.known.items()}


def test_lateness_that_stays_the_same_is_known() -> None:
    assert noted((1000, 0), (1010, 10)) == {}
    assert noted((1000, 0), (1010, 10), (1020, 20)) == {"node-1": 0}
    assert noted(*((1000 + at - HOUR, at) for at in (0, 10, 20))) == {"node-1": HOUR}
    assert noted(*((1000 + at + HOUR, at) for at in (0, 10, 20))) == {"node-1": -HOUR}


def test_records_of_a_ring_are_old_whatever_the_clock() -> None:
    """They come all at once, or nearer and nearer to now."""
    assert noted(*((400 + at, 0.01 * at) for at in range(50))) == {}
    assert noted(*((400 + 60 * at, 6 * at) for at in range(9))) == {}


def test_what_relay_held_back_is_not_taken_for_the_clocks() -> None:
    assert noted(*((975 + at, at) for at in (0, 10, 20)), (1030, 30), (1040, 40), (1050, 50)) == {
        "node-1": 0
    }


def heard(*late: dict[str, float], origins: tuple[str, ...] = ("",)) -> Aggregate:
    aggregate = Aggregate()
    for origin, known in zip(origins, late, strict=True):
        flows = [
            flow(-by, node=node, source_port=1000 + port)
            for port, (node, by) in enumerate(known.items())
        ]
        aggregate.join.add(Batch(flows=flows, origin=origin))
        told = {node: int(by * SECOND) for node, by in known.items()}
        aggregate.join.add(Batch(origin=origin, late=told))
    return aggregate


def test_a_node_apart_is_told_though_it_shares_no_connection() -> None:
    taken = snapshot(heard({"node-1": 2, "node-2": 9, "node-3": -HOUR}), Query())
    assert [skew.words for skew in taken.coverage.clock_skews] == [
        "node-3 is 1.0 h ahead of most nodes"
    ]
    assert taken.coverage.clock_late == 0
    [warning] = taken.coverage.warnings
    assert "node-3 is 1.0 h ahead of most nodes (by how late their records come)" in warning


def test_that_this_machine_is_apart_is_told() -> None:
    taken = snapshot(heard({"node-1": HOUR, "node-2": HOUR + 5}), Query())
    assert (taken.coverage.clock_skews, round(taken.coverage.clock_late / SECOND)) == ((), HOUR)
    assert taken.coverage.warnings == (
        "this machine's clock is 1.0 h ahead of most nodes': ages are told by theirs, but --since "
        "and --until mean this machine's",
    )


def test_servers_whose_clocks_are_apart_are_told_by_one_clock() -> None:
    """Two clusters, the other an hour ahead: their attempts of one moment stand side by side."""
    aggregate = heard({"node-1": 1}, {"node-1": 1 - HOUR}, origins=("east", "west"))
    aggregate.join.add(Batch(flows=[flow(10 + HOUR, source_port=2)], origin="west"))
    taken = snapshot(aggregate, Query())
    assert (taken.coverage.last_seen - taken.coverage.first_seen) / SECOND == pytest.approx(11)
    west = next(row for row in taken.rows if row.server == "west")
    assert (west.last_seen - flow(0).time) / SECOND == pytest.approx(10)
    assert taken.coverage.warnings == (
        "the clocks of west are 1.0 h ahead of those of east: times are told by these",
    )


def followed(
    ahead: dict[str, float], seconds: int = 60
) -> tuple[ScriptedServer, float, list[Batch]]:
    """A stream of a minute that is then cut and opened again; nodes' clocks are ``ahead``."""
    clock = HandClock()
    steps: list[Step] = [
        (1.0, [record(BEGAN + at + by, node) for node, by in ahead.items()])
        for at in range(1, seconds)
    ]
    cut: Step = (0.0, Unreachable("cut"))
    server = ScriptedServer(clock, Connection([*steps, cut]), Connection([cut]))
    played = play(clock, server)
    return server, BEGAN + seconds - 1, played.batches


def resumed(ahead: dict[str, float], **more: Any) -> float:
    """Seconds before the cut from which on records are asked for again."""
    server, now, _ = followed(ahead, **more)
    assert server.opened[1] is not None
    return now - server.opened[1] / SECOND


@pytest.mark.parametrize(
    ("ahead", "back"),
    [
        ({"a": 0.0, "b": 0.0}, 0),
        ({"a": 0.0, "b": 2.0 * HOUR}, 0),
        ({"a": 0.0, "b": -90.0}, 90),
        # Further than what old records alone would be believed.
        ({"a": 0.0, "b": -2.0 * HOUR}, 2 * HOUR),
    ],
)
def test_after_a_loss_each_node_is_asked_by_its_own_clock(
    ahead: dict[str, float], back: float
) -> None:
    assert resumed(ahead) == pytest.approx(back + OVERLAP / SECOND, abs=2)


def test_old_records_are_no_sign_of_a_clock() -> None:
    """A ring was read, and then the stream broke: no more than SKEW is asked for again."""
    back = resumed({"a": 0.0, "b": -2.0 * HOUR}, seconds=4)
    assert back == pytest.approx((SKEW + OVERLAP) / SECOND, abs=2)


def test_a_live_stream_tells_how_late_its_nodes_are() -> None:
    _, _, batches = followed({"a": 0.0, "b": -2.0 * HOUR})
    told = [batch.late for batch in batches if batch.late is not None]
    assert {node: round(late / SECOND) for node, late in told[-1].items()} == {
        "a": 0,
        "b": 2 * HOUR,
    }
    assert len(told) <= LOOKS


def test_a_node_whose_clock_is_ahead_hides_nothing_of_a_stalled_stream() -> None:
    """What the others have is asked for from the last message on, not from its time on."""
    clock = HandClock()
    steps: list[Step] = [(1.0, [record(1_000_001, "a"), record(1_003_601, "b")]), (40, [])]
    server = ScriptedServer(clock, Connection(steps))
    play(clock, server)
    assert server.peeked == [1_000_001 * SECOND + 1]


def test_times_are_laid_on_our_clock() -> None:
    clocks = NodeClocks()
    for at in range(0, 40, 10):
        came = (BEGAN + at) * SECOND
        # One is an hour behind; another is as ours, and what it tells first is old.
        newest = {"behind": came - HOUR * SECOND, "sound": came - (HOUR * SECOND if not at else 0)}
        clocks.note(newest, newest, came, live=at > 0)
    assert clocks.furthest_behind() == HOUR * SECOND
    assert clocks.ours({"behind": 5, "sound": 5, "new": 5}) == {
        "behind": 5 + HOUR * SECOND,
        "sound": 5,
        "new": 5,
    }
    assert clocks.ours_of_rings({"behind": 5, "sound": 5, "": 5}) == {
        "behind": 5 + HOUR * SECOND,
        "sound": 5,
        "": 5,
    }


def test_an_observer_alone_has_the_clock_of_its_node() -> None:
    clocks = NodeClocks()
    clocks.note(["a"], {"a": BEGAN * SECOND}, (BEGAN + 7) * SECOND, live=True)
    assert clocks.ours_of_rings({"": 5}) == {"": 5 + 7 * SECOND}
