"""Work in the background waits for a key, and not for ever."""

from __future__ import annotations

import threading

import pytest

from flowwatch.egress import passing as module
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.egress.passing import Passing
from flowwatch.egress.query import Query
from tests.unit.flows.made import flow
from tests.unit.tui.driven import Played, played, run
from tests.unit.tui.test_feed import until

LONG = 60.0


@pytest.fixture(autouse=True)
def nothing_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", LONG)


def test_work_goes_on_when_it_has_passed() -> None:
    passing, told = Passing(), list[str]()

    def work() -> None:
        passing.wait()
        told.append("work")

    passing.wait()
    passing.begin()
    thread = threading.Thread(target=work)
    thread.start()
    told.append("key")
    passing.end()
    thread.join()
    assert told == ["key", "work"]


def test_what_never_passes_is_waited_for_no_longer_than_half_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "LONGEST", 0.01)
    monkeypatch.setattr("flowwatch.egress.passing.time.monotonic", lambda: now[0])
    passing = Passing()
    passing.begin()
    now[0] += 0.01
    passing.wait()
    assert passing.free
    passing.begin()
    assert passing.free, "as long as it has waited nothing is waited for again"
    now[0] += 0.011
    passing.begin()
    assert not passing.free


def test_a_batch_is_read_once_the_key_is_on_the_screen() -> None:
    source = Played([flow(1)])
    monitor = LiveMonitor(source, live=False)
    monitor.passing.begin()
    monitor.start()
    try:
        assert monitor.snapshot(Query()).coverage.records_read == 0
        monitor.passing.end()
        until(lambda: monitor.snapshot(Query()).coverage.records_read == 1)
    finally:
        monitor.stop()


def test_a_key_has_passed_when_it_is_painted() -> None:
    async def test() -> None:
        async with played(Played([flow(1)])) as driven:
            readings = driven.app.readings
            assert readings is not None
            driven.app.feed.let_pass(True)
            assert not readings.monitor.passing.free
            await driven.press("s")
            await driven.until(lambda: readings.monitor.passing.free)

    run(test())
