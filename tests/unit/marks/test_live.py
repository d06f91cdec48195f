"""What is told while records still come is what ``flowwatch changes`` tells of the same ones."""

from __future__ import annotations

import pytest

from flowwatch.flows.attempts import Attempts
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.model import Batch, Flow
from flowwatch.marks.live import LiveChanges
from flowwatch.report.changes import changes_object
from flowwatch.sources.files import FileSource
from tests.material import OWN
from tests.unit.flows.made import flow
from tests.unit.marks.traffic import ALLOW, API, EVIL, POD, SECOND, START, Traffic

EGRESS = frozenset({"egress"})


def turning(seconds: int = 20) -> Traffic:
    """Half of the time no policy is asked, then one is, which denies EVIL."""
    traffic = Traffic()
    for at in range(seconds):
        if at < seconds // 2:
            traffic.passes(at, API, asked=False).passes(at + 0.3, EVIL, asked=False)
        else:
            traffic.passes(at, API, (ALLOW,)).fails(at + 0.3, EVIL)
    return traffic


def live(records: list[Flow], **options: int) -> LiveChanges:
    join = Join()
    changes = LiveChanges(join, **options)
    for start in range(0, len(records), 7):
        join.add(Batch(flows=records[start : start + 7]))
    return changes


@pytest.mark.parametrize("given", [(), (4.0,)])
def test_the_same_as_of_a_file(given: tuple[float, ...]) -> None:
    traffic = turning()
    changes = live(traffic.records)
    times = tuple(int((START + at) * SECOND) for at in given)

    told = changes.report(EGRESS, times)

    assert changes_object(told) == changes_object(traffic.report(given=given))
    assert told.cut == 1 or given
    assert changes_object(changes.report(EGRESS, times)) == changes_object(told), (
        "asking changes nothing"
    )


def test_of_a_capture_too() -> None:
    batches = list(FileSource([str(OWN / "captures" / "weather.jsonl")]).batches())
    join = Join()
    changes = LiveChanges(join)
    for batch in batches:
        join.add(batch)

    from flowwatch.marks.changes import Changes

    assert changes_object(changes.report(EGRESS)) == changes_object(Changes().read(batches))


def test_more_records_are_told_of_when_they_come() -> None:
    traffic = turning()
    join = Join()
    changes = LiveChanges(join)
    turn = (START + 10) * SECOND
    join.add(Batch(flows=[one for one in traffic.records if one.time < turn]))
    assert changes.report(EGRESS).differences == ()
    join.add(Batch(flows=[one for one in traffic.records if one.time >= turn]))
    assert len(changes.report(EGRESS).differences) == 1
    assert [seen.policies for seen in changes.marks()] == [(str(ALLOW),)]


def test_the_older_half_is_forgotten_and_told() -> None:
    # More than are ever open at once.
    traffic = turning(30_000)
    join = Join()
    changes = LiveChanges(join, most=2_000)
    # With room for few open attempts: the others are over.
    scope = join.scopes[""] = Attempts(40, numbers=join.numbers)
    join.tally.clocks[""] = scope.clocks
    for start in range(0, len(traffic.records), 512):
        join.add(Batch(flows=traffic.records[start : start + 512]))

    report = changes.report(EGRESS)

    assert "are no longer kept" in report.notes[-1]
    kept = sum(len(at) for hows in changes._changes.seen.times.values() for at in hows.values())
    assert kept <= 2_000 + 2 * len(scope.open_attempts())
    for one in report.differences:
        assert one.before.start >= changes._changes.since


def test_what_is_kept_of_connections_that_last_is_bounded_and_16_bytes_each() -> None:
    # Twice as many as are open at least: the older half is over.
    traffic = Traffic()
    for at in range(55_000):
        traffic.passes(10.0 * at, API, asked=False, answered=False)
        begun = traffic.records[-1]
        traffic.records.append(
            flow(
                10.0 * at + 3, source=POD, source_ip=begun.source_ip, destination_ip=API,
                source_port=begun.source_port, tcp_flags=16,
            )
        )  # fmt: skip
    join = Join()
    changes = LiveChanges(join, most=2_000)
    for start in range(0, len(traffic.records), 512):
        join.add(Batch(flows=traffic.records[start : start + 512]))
    seen = changes._changes.seen
    [times] = [at for hows in seen.times.values() for at in hows.values()]
    [lasting] = seen.lasting.values()
    assert changes._changes.since
    assert 0 < len(times) <= 25_000
    assert len(lasting) * lasting.itemsize == 16 * len(times)


def test_a_mark_is_told_with_the_first_records_that_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As ``--plain`` asks: each time that more was read. A timeline waits for seconds."""
    monkeypatch.setattr("flowwatch.marks.live._COSTLY", 0)
    records = turning().records
    join = Join()
    at_once, slow = LiveChanges(join, every=0.0), LiveChanges(join, every=3600.0)
    seen = []
    for number, record in enumerate(records, 1):
        join.add(Batch(flows=[record]))
        slow.marks()
        if at_once.marks():
            seen.append(number)
    there = [n for n in range(1, len(records) + 1) if live(records[:n]).report(EGRESS).differences]
    assert seen == there
    assert 0 < len(seen) < len(records)
    assert slow.marks() == ()
    slow.look()
    assert slow.marks() == at_once.marks()


def test_marks_are_of_what_was_taken_not_of_what_the_join_knows_already() -> None:
    """Who is told of a batch before asks amid it; no record follows, and the mark is whole all the same."""
    records = turning().records
    join = Join()

    class Before:
        def take(self, joined: Joined) -> None:
            assert changes.marks() == ()

    join.listen(Before())
    changes = LiveChanges(join)
    join.add(Batch(flows=records))

    whole = live(records)
    assert changes.marks() == whole.marks()
    assert [one.policies for one in changes.marks()] != [()]
