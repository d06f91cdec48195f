"""Which records of a ring a request gets, and what a reader that is too slow is told."""

from __future__ import annotations

import threading

import pytest

from flowwatch.demo.ring import Entry, Reader, Ring, capacity_at
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsRequest, GetFlowsResponse

SECOND = 1_000_000_000


def ring(*records: str, capacity: int = 63) -> Ring:
    """A record a second from second 0 on; ``x`` and ``y`` are flows, ``!`` is lost events."""
    made = Ring("demo/node-1", capacity, threading.Condition())
    for at, kind in enumerate("".join(records)):
        made.write(entry(at, kind))
    return made


def entry(at: int, kind: str) -> Entry:
    response = GetFlowsResponse(node_name="demo/node-1")
    response.time.FromSeconds(at)
    if kind == "!":
        response.lost_events.num_events_lost = 3
    else:
        response.flow.uuid = kind
        response.flow.time.FromSeconds(at)
    return Entry(at * SECOND, response)


def request(
    number: int = 0,
    *,
    first: bool = False,
    follow: bool = False,
    since: float | None = None,
    until: float | None = None,
) -> GetFlowsRequest:
    made = GetFlowsRequest(number=number, first=first, follow=follow)
    if since is not None:
        made.since.FromNanoseconds(int(since * SECOND))
    if until is not None:
        made.until.FromNanoseconds(int(until * SECOND))
    return made


def times(entries: list[Entry]) -> list[int]:
    return [one.time // SECOND for one in entries]


def is_x(flow: flow_pb2.Flow) -> bool:
    return flow.uuid == "x"


# The ring is x0 y1 x2 !3 y4 x5 y6 x7; only x matches. The table is hubble-interface, section 2.1.
@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (request(), [0, 2, 3, 5, 7]),
        (request(2), [5, 7]),
        (request(3), [2, 3, 5, 7]),
        (request(99), [0, 2, 3, 5, 7]),
        (request(2, first=True), [0, 2]),
        (request(2, since=1), [2, 3, 5]),
        (request(2, first=True, since=1), [2, 3, 5]),
        (request(since=2), [2, 3, 5, 7]),
        (request(since=2.5), [3, 5, 7]),
        (request(since=99), []),
        (request(until=5), [0, 2, 3, 5]),
        (request(2, until=5), [5]),
        (request(1, until=5), []),
        (request(since=1, until=5), [2, 3, 5]),
    ],
)
def test_which_records_a_request_gets(asked: GetFlowsRequest, got: list[int]) -> None:
    held = ring("xyx!yxyx")
    assert times(list(Reader(held, asked, is_x).all(held.written))) == got


@pytest.mark.parametrize(
    ("asked", "old"),
    [
        (request(follow=True), []),
        (request(2, follow=True), [5, 7]),
        (request(follow=True, since=4), [3, 5, 7]),
        (request(1, follow=True, since=1), [2, 3, 5, 7]),
    ],
)
def test_follow_begins_with_old_records_and_goes_on(asked: GetFlowsRequest, old: list[int]) -> None:
    held = ring("xyx!yxyx")
    reader = Reader(held, asked, is_x)
    assert times(reader.take()) == old
    assert reader.take() == []
    held.write(entry(8, "y"))
    held.write(entry(9, "x"))
    assert times(reader.take()) == [9]
    assert not reader.ended


def test_until_ends_a_follower_too() -> None:
    held = ring("x")
    reader = Reader(held, request(follow=True, until=1.5), is_x)
    held.write(entry(1, "x"))
    held.write(entry(2, "y"))
    assert times(reader.take()) == [1]
    assert reader.ended


@pytest.mark.parametrize(
    ("speed", "capacity"), [(0.01, 8191), (1, 8191), (1.5, 16383), (10, 16383), (1000, 16383)]
)
def test_a_faster_story_gets_a_larger_ring_within_bounds(speed: float, capacity: int) -> None:
    assert capacity_at(speed) == capacity


def test_the_ring_keeps_the_newest_and_no_more() -> None:
    held = ring("x" * 20, capacity=7)
    assert len(held) == 7
    assert held.written == held.flows == 20
    assert times(list(Reader(held, request(), is_x).all(held.written))) == list(range(13, 20))
    with pytest.raises(ValueError, match="65535"):
        Ring("demo/node-1", 70_000, threading.Condition())


def test_a_reader_that_is_overtaken_is_told_how_much_it_missed() -> None:
    held = ring("xxx", capacity=7)
    reader = Reader(held, request(follow=True, since=0), is_x)
    assert times(reader.take()) == [0, 1, 2]
    for at in range(3, 20):
        held.write(entry(at, "x"))
    notice, *rest = reader.take()
    lost = notice.response.lost_events
    assert (lost.source, lost.num_events_lost) == (flow_pb2.HUBBLE_RING_BUFFER, 10)
    assert lost.first.seconds > 0
    assert not lost.HasField("cpu")
    assert times(rest) == list(range(13, 20))


def test_lost_records_are_told_at_the_end_at_the_latest() -> None:
    held = ring("x" * 7, capacity=7)
    reader = Reader(held, request(), is_x)
    for round_ in (1, 2):
        for at in range(7):
            held.write(entry(7 * round_ + at, "x"))
        if round_ == 1:
            assert reader.take()[0].response.lost_events.num_events_lost == 7
    # Within a second of the first notice there is no second, unless nothing more comes.
    rest = list(reader.all(held.written))
    assert [one.response.lost_events.num_events_lost for one in rest if one.flow is None] == []
    assert times(rest) == list(range(14, 21))


@pytest.mark.parametrize(("records", "now", "rate"), [("x" * 31, 60, 0.5), ("", 60, 0.0)])
def test_the_rate_is_that_of_the_last_minute(records: str, now: int, rate: float) -> None:
    assert ring(records).rate(now * SECOND) == pytest.approx(rate, rel=0.05)


def test_the_rate_of_a_full_ring_is_over_what_it_holds() -> None:
    assert ring("x" * 50, capacity=7).rate(50 * SECOND) == pytest.approx(1.0)
