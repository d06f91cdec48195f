"""How late each node's records come, and what that is good for. Times are seconds here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.errors import Unreachable
from flowwatch.flows.model import Batch
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.sources import live as live_module
from flowwatch.sources.lateness import LOOKS, Lateness
from flowwatch.sources.live import OVERLAP, SKEW, LiveSource
from flowwatch.sources.nodes import ServerNow
from tests.unit.flows.made import flow

SECOND = 1_000_000_000
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


class Clock:
    """A hand-moved clock in place of the module ``time``."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * SECOND)

    monotonic = time


def message(at: float, node: str) -> bytes:
    response = observer_pb2.GetFlowsResponse(node_name=node)
    response.flow.node_name = node
    response.flow.verdict = flow_pb2.FORWARDED
    response.flow.uuid = f"{node}-{at}"
    response.flow.time.FromNanoseconds(int(at * SECOND))
    return response.SerializeToString()


class Scripted:
    """A server that says what it is told to: chunks of messages, each after some seconds."""

    backlog = 0

    def __init__(self, clock: Clock, script: list[tuple[float, list[bytes]]]) -> None:
        self.clock, self.script = clock, script
        self.asked: list[int | None] = []
        self.peeked: list[int] = []

    def open(self, since: int | None) -> Scripted:
        self.asked.append(since)
        return self

    def chunks(self) -> Iterator[list[bytes]]:
        script, self.script = self.script, []
        for wait, chunk in script:
            self.clock.now += wait
            yield chunk
        raise Unreachable("cut")

    def nodes(self) -> ServerNow:
        return ServerNow()

    def oldest(self) -> dict[str, int]:
        return {}

    def peek(self, since: int) -> list[bytes]:
        self.peeked.append(since)
        return []

    def close(self) -> None:
        pass


def followed(
    monkeypatch: pytest.MonkeyPatch, ahead: dict[str, float], seconds: int = 60
) -> tuple[Scripted, float, list[Batch]]:
    """A stream of a minute that is then cut and opened again; nodes' clocks are ``ahead``."""
    clock = Clock(1_000_000)
    began = clock.now
    script = [
        (1.0, [message(began + at + by, node) for node, by in ahead.items()])
        for at in range(1, seconds)
    ]
    server = Scripted(clock, script)
    monkeypatch.setattr(live_module, "time", clock)
    monkeypatch.setattr(LiveSource, "_wait", lambda *_: iter(()))
    monkeypatch.setattr(live_module, "Polls", lambda *_: SimpleNamespace(
        answers=list, stop=lambda: None, join=lambda: None
    ))  # fmt: skip
    source = LiveSource(lambda: server, where="here", follow=True)
    batches = []
    for batch in source.batches():
        batches.append(batch)
        if len(server.asked) == 2:
            break
    return server, clock.now, batches


def resumed(monkeypatch: pytest.MonkeyPatch, ahead: dict[str, float], **more: Any) -> float:
    """Seconds before the cut from which on records are asked for again."""
    server, now, _ = followed(monkeypatch, ahead, **more)
    assert server.asked[1] is not None
    return now - server.asked[1] / SECOND


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
    monkeypatch: pytest.MonkeyPatch, ahead: dict[str, float], back: float
) -> None:
    assert resumed(monkeypatch, ahead) == pytest.approx(back + OVERLAP / SECOND, abs=2)


def test_old_records_are_no_sign_of_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ring was read, and then the stream broke: no more than SKEW is asked for again."""
    back = resumed(monkeypatch, {"a": 0.0, "b": -2.0 * HOUR}, seconds=4)
    assert back == pytest.approx((SKEW + OVERLAP) / SECOND, abs=2)


def test_a_live_stream_tells_how_late_its_nodes_are(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, batches = followed(monkeypatch, {"a": 0.0, "b": -2.0 * HOUR})
    told = [batch.late for batch in batches if batch.late is not None]
    assert {node: round(late / SECOND) for node, late in told[-1].items()} == {
        "a": 0,
        "b": 2 * HOUR,
    }
    assert len(told) <= LOOKS


def test_a_node_whose_clock_is_ahead_hides_nothing_of_a_stalled_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the others have is asked for from the last message on, not from its time on."""
    clock = Clock(1_000_000)
    server = Scripted(clock, [(1.0, [message(1_000_001, "a"), message(1_003_601, "b")]), (40, [])])
    monkeypatch.setattr(live_module, "time", clock)
    source = LiveSource(lambda: server, where="here", follow=True, poll_every=HOUR)
    stop = threading.Event()
    for _ in source.batches():
        if clock.now > 1_000_040:
            source._ask(server)
            stop.set()
            source.close()
    assert stop.is_set()
    assert server.peeked == [1_000_001 * SECOND + 1]
