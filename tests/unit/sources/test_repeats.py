"""What came before is left out once; what can't be judged is counted, never silently dropped."""

from __future__ import annotations

from flowwatch.sources.repeats import Seen
from tests.unit.flows.made import flow


def test_a_record_counts_once() -> None:
    seen = Seen()
    one, two = flow(1, uuid="a"), flow(2, uuid="b")
    assert seen.unseen([one, two]) == [one, two]
    assert seen.unseen([two, flow(3, uuid="c"), one]) == [flow(3, uuid="c")]
    assert seen.repeats == 2


def test_records_without_uuid_are_known_by_what_they_say() -> None:
    seen = Seen()
    one = flow(1)
    assert seen.unseen([one]) == [one]
    assert seen.unseen([flow(1), flow(1, source_port=40001), flow(1.000001)]) == [
        flow(1, source_port=40001),
        flow(1.000001),
    ]


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    seen = Seen()
    seen.unseen([flow(1000, uuid="a")])
    late = flow(10, uuid="b")
    assert seen.unseen([late]) == [late]
    assert seen.set_aside == {}


def test_what_is_older_than_the_memory_is_counted_until_it_proves_a_repeat() -> None:
    seen = Seen(kept=4)
    for number in range(12):
        seen.unseen([flow(number, uuid=str(number))])
    # The first generations are forgotten: nobody can say whether these came before.
    assert seen.unseen([flow(0, uuid="0"), flow(1, uuid="new")]) == []
    assert seen.set_aside == {"node-1": 2}
    # Another node's memory is its own.
    assert seen.unseen([flow(0, uuid="x", node="node-2")]) == [flow(0, uuid="x", node="node-2")]
    # The node told its ring again, up to what is remembered.
    assert seen.unseen([flow(11, uuid="11")]) == []
    assert seen.set_aside == {}


def test_records_of_which_nothing_is_known_are_kept() -> None:
    seen = Seen()
    bare = flow(time=0)
    assert seen.unseen([bare, bare]) == [bare, bare]


def test_memory_is_bounded() -> None:
    seen = Seen(kept=100)
    for number in range(10_000):
        seen.unseen([flow(number, uuid=str(number))])
    assert len(seen._young) + len(seen._old) <= 200
