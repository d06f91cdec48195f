"""Each fault by itself, many of them in a row, and the page that tells of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.interop.faults import table
from tests.interop.faults.at_once import AT_ONCE, AtOnce
from tests.interop.faults.following import FOLLOWING, Following, Outcome, stage
from tests.interop.faults.kubernetes import KUBERNETES
from tests.interop.faults.soak import Report, soak
from tests.interop.faults.table import LEFT_BEHIND, RECONNECTS

pytestmark = pytest.mark.usefixtures("api")  # built before a test's time runs

SIDE_BY_SIDE = 4
"""Cases at a time: each has servers and a program of its own, and mostly waits."""

Plays = dict[str, Callable[[], object]]
Played = dict[str, Future[object]]


def short_soak() -> Report:
    return soak(30, 3.0, say=lambda _line: None)


PLAYS: Plays = {"soak": short_soak} | {case.name: case.run for case in FOLLOWING}
"""What takes long by waiting; the longest first."""


def wanted(items: list[pytest.Item]) -> Plays:
    """Of PLAYS, what the chosen tests of this module ask for."""
    names = {"soak" for item in items if item.name == "test_a_short_soak"}
    for item in items:
        call = getattr(item, "callspec", None)
        case = call and call.params.get("case")
        if isinstance(case, Following):
            names.add(case.name)
    return {name: play for name, play in PLAYS.items() if name in names}


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest) -> Iterator[Callable[[str], object]]:
    """Ask it by name for what a case came to: the chosen ones are played side by side."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        # A worker of xdist is told of all tests, and runs some: it plays each when it is asked for.
        at_once = {} if "PYTEST_XDIST_WORKER" in os.environ else wanted(request.session.items)
        futures: Played = {name: pool.submit(play) for name, play in at_once.items()}
        try:
            yield lambda name: (futures.get(name) or pool.submit(PLAYS[name])).result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@pytest.mark.parametrize("case", FOLLOWING, ids=lambda case: case.name)
def test_a_fault_while_following(case: Following, played: Callable[[str], object]) -> None:
    outcome = played(case.name)
    assert isinstance(outcome, Outcome)
    assert outcome.wrong == ()


@pytest.mark.parametrize("case", [*AT_ONCE, *KUBERNETES], ids=lambda case: case.name)
def test_a_fault_that_a_person_has_to_mend(case: AtOnce) -> None:
    assert case.run().wrong == ()


def test_many_reconnects_leave_nothing_behind() -> None:
    with stage("observer", first_retry=0.02) as set_up:
        program, between, traffic = set_up.program, set_up.between, set_up.traffic

        def reconnect() -> None:
            # New records show that it is back, and let it wait briefly the next time.
            between.cut()
            traffic.write()
            until = time.monotonic() + 20
            while program.state().dropped < traffic.total and time.monotonic() < until:
                time.sleep(0.02)

        for _ in range(RECONNECTS // 10):
            reconnect()
        set_up.even(20)
        first, accepted = program.cost(), between.accepted
        for _ in range(RECONNECTS):
            reconnect()
        set_up.even(20)
        last = program.cost()
        state = program.state()
        assert between.accepted >= accepted + RECONNECTS
        assert traffic.missing(state) == {}
        assert state.gaps == []
        assert last.threads <= first.threads + LEFT_BEHIND.threads
        assert last.descriptors <= first.descriptors + LEFT_BEHIND.descriptors
        assert last.memory <= first.memory + LEFT_BEHIND.memory


def test_a_short_soak(played: Callable[[str], object]) -> None:
    report = played("soak")
    assert isinstance(report, Report)
    assert report.untold == {}
    assert report.grown == []
    assert len(report.faults) >= 9
    assert report.shown + report.told == report.written > 100


def test_the_page_has_a_row_for_each_fault() -> None:
    text = table.PAGE.read_text()
    assert table.AFTER.partition("<!-- soak -->")[0] in text
    rows = table.rows(text)
    assert [row[0] for row in rows] == table.names()
    for row in rows:
        assert len(row) == len(table.HEAD)
        assert all(row)


def test_the_page_is_made_of_what_was_seen(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    seen = {"a | b": Outcome("it is said", 1.25, "none lost"), "c": Outcome("act", None, "none")}
    table.write(seen, page)
    table.write_soak(["1 fault"], page)
    by_hand = "\n## Hostile input\n\n| kind | lost |\n|---|---|\n| a name | nothing |\n"
    page.write_text(page.read_text() + by_hand)
    table.write(seen, page)
    assert table.rows(page.read_text()) == [
        ("a | b", "it is said", "1.2 s", "none lost"),
        ("c", "act", "–", "none"),
    ]
    assert page.read_text().count("* 1 fault\n") == 1
    assert page.read_text().endswith(by_hand)
