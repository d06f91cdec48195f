"""A source read by a thread of its own, while views ask."""

from __future__ import annotations

import pytest

from flowwatch.egress.monitor import TAIL, LiveMonitor
from flowwatch.egress.query import Query
from flowwatch.errors import Unreachable
from flowwatch.flows.model import Batch
from tests.unit.egress.made import Scripted, traffic
from tests.unit.flows.made import denied, flow


def read(source: Scripted) -> LiveMonitor:
    """A monitor whose source has come to its end."""
    monitor = LiveMonitor(source)
    monitor.start()
    source.go.set()
    monitor._thread.join(30)
    assert not monitor._thread.is_alive()
    return monitor


def test_what_is_read_is_in_the_next_snapshot_and_changes_the_revision() -> None:
    source = Scripted(Batch(flows=[flow()]), Batch(), Batch(flows=denied(1, source_port=2)))
    before = LiveMonitor(source).revision
    monitor = read(source)
    taken = monitor.snapshot(Query())
    assert (taken.totals.forwarded, taken.totals.dropped) == (1, 1)
    # Two batches that held something, and the end.
    assert monitor.revision == before + 3
    assert monitor.failure is None
    assert monitor.state().phase == "reading"


def test_a_snapshot_carries_the_tail_and_a_row_its_own_records() -> None:
    monitor = read(Scripted(Batch(flows=traffic(500))))
    taken = monitor.snapshot(Query())
    assert len(taken.recent) == TAIL
    key = taken.recent[-1].key
    more = monitor.close_up(Query(), key, None, 5)
    assert more is not None
    assert {one.key for one in more.records} == {key}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Unreachable("the server is gone", "try again"), "the server is gone: try again"),
        (KeyError("secret"), "this is a defect of flowwatch, please report: KeyError"),
    ],
)
def test_what_ends_the_reading_is_told_and_what_was_read_stays(
    error: Exception, words: str
) -> None:
    monitor = read(Scripted(Batch(flows=[flow()]), error))
    assert monitor.failure is error
    state = monitor.state()
    assert state.phase == "failed"
    assert state.message.startswith(words)
    assert "secret" not in state.message
    assert monitor.snapshot(Query()).totals.forwarded == 1


def test_stopping_closes_the_source_and_waits_for_the_thread() -> None:
    source = Scripted()
    monitor = LiveMonitor(source)
    monitor.start()
    monitor.stop(30)
    assert source.closed.is_set()
    assert not monitor._thread.is_alive()
