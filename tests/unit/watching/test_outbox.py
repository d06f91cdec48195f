"""A receiver that is away for an hour: nothing lost that there is room for, in order, and all else told.

The hour is the outbox's own: its clock goes faster. The server, the threads and the files are what they are.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowwatch.watching.alerts import Alert, Notice, Status
from flowwatch.watching.outbox import AT_ONCE, LONGEST, ROOM, Clock, Outbox
from flowwatch.watching.senders import HttpSender
from flowwatch.watching.state import Folder
from tests.unit.watching.test_watch import Hook, hook

__all__ = ["hook"]

HOUR = 3600.0
SPEED = 2000.0


class Fast(Clock):
    """2,000 seconds in one."""

    def now(self) -> float:
        return time.monotonic() * SPEED

    def wait(self, lock: threading.Condition, seconds: float | None) -> None:
        lock.wait(None if seconds is None else seconds / SPEED)


CLOCK = Fast()


def notice(number: int, status: Status = "firing", rule: str = "A") -> Notice:
    labels = {"alertname": rule, "peer": f"peer-{number}"}
    return Notice(status, Alert(rule, labels, {"summary": f"{number}"}, 10**18, told=True))


def everybody(name: str, one: Notice) -> bool:
    return True


class Told:
    """An outbox to one receiver, and what it says."""

    def __init__(self, url: str, folder: Folder | None = None) -> None:
        self.said: list[str] = []
        self.name = HttpSender("", url, "alertmanager").name
        self.outbox = Outbox([HttpSender("", url, "alertmanager")], folder, self.said.append, CLOCK)
        self.outbox.start()

    def put(self, *notices: Notice) -> None:
        self.outbox.put(list(notices), everybody)

    def delivered(self) -> None:
        until = time.monotonic() + 60
        while self.outbox.undelivered and time.monotonic() < until:
            time.sleep(0.01)
        assert self.outbox.drain(0) == 0


def let_pass(seconds: float) -> float:
    """Let so much of the clock's time pass; how much it was."""
    began = CLOCK.now()
    while CLOCK.now() < began + seconds:
        time.sleep(0.01)
    return CLOCK.now() - began


@pytest.fixture
def away(hook: Hook) -> Iterator[Hook]:
    """A receiver that takes nothing."""
    hook.answers = [503] * 1_000_000
    yield hook
    hook.answers = []


def got(hook: Hook) -> list[tuple[str, str]]:
    return [(one["annotations"]["summary"], one["status"]) for one in hook.alerts]


def test_after_an_hour_it_has_all_once_and_in_order(away: Hook) -> None:
    told = Told(away.url)
    sent = []
    began = CLOCK.now()
    for number in range(60):
        for one in (notice(number), notice(number + 1000)):
            told.put(one)
            sent.append((one.alert.annotations["summary"], "firing"))
        if number % 2:
            told.put(notice(number, "resolved"))
            sent.append((str(number), "resolved"))
        let_pass(HOUR / 60)
    assert not away.got
    # Rather a minute between two tries than none.
    tries = told.outbox.failed[told.name]
    assert 1 < tries <= (CLOCK.now() - began) / (0.8 * LONGEST) + 8
    away.answers = []
    told.delivered()
    assert got(away) == sent
    assert len(told.said) == 2
    assert told.said[0].endswith("answered 503; alerts wait, and it is tried again")
    assert told.said[1].endswith("it is told again")


def test_a_restart_amid_it_loses_nothing_and_keeps_the_order(away: Hook, tmp_path: Path) -> None:
    for start in (0, 100, 200):
        folder = Folder(str(tmp_path))
        told = Told(away.url, folder)
        told.put(*[notice(number) for number in range(start, start + 100)])
        let_pass(HOUR / 3)
        assert told.outbox.drain(0) == start + 100
        folder.close()
    away.answers = []
    folder = Folder(str(tmp_path))
    Told(away.url, folder).delivered()
    assert folder.load_outbox()[told.name].notices == []
    folder.close()
    assert got(away) == [(str(number), "firing") for number in range(300)]


def test_each_rule_s_message_comes_once_though_another_s_is_refused(hook: Hook) -> None:
    hook.answers = [200, 503, 200, 503]
    told = Told(hook.url)
    told.put(*[notice(at, rule=rule) for at, rule in enumerate("ABABC")])
    told.delivered()
    assert sorted(got(hook)) == [(str(at), "firing") for at in range(5)]
    for rule in "ABC":
        assert [one["commonLabels"]["alertname"] for one in hook.got].count(rule) == 1


def test_what_there_is_no_room_for_is_told_and_no_end_without_its_beginning(
    away: Hook, tmp_path: Path
) -> None:
    folder = Folder(str(tmp_path))
    told = Told(away.url, folder)
    told.put(*[notice(number) for number in range(ROOM)])
    # Over meanwhile: they make room for as many.
    told.put(*[notice(number, "resolved") for number in range(AT_ONCE, AT_ONCE + 100)])
    told.put(*[notice(number) for number in range(ROOM, ROOM + 150)])
    told.outbox.drain(0)
    folder.close()
    # Those that there was no room for are over after a restart.
    folder = Folder(str(tmp_path))
    told = Told(away.url, folder)
    told.put(*[notice(number, "resolved") for number in range(ROOM + 50, ROOM + 150)])
    told.put(*[notice(number, "resolved") for number in range(10)])
    away.answers = []
    told.delivered()
    folder.close()
    found = got(away)
    began = [name for name, status in found if status == "firing"]
    over = [name for name, status in found if status == "resolved"]
    assert len(set(began)) == len(began)
    assert began == sorted(began, key=int)
    assert {str(number) for number in range(10)} <= set(over) <= set(began)
    left_out = sum(body["truncatedAlerts"] for body in away.got)
    assert len(began) + left_out == ROOM + 150
    # What was on its way when the rest came told of the first ones alone.
    lines = [one for one in told.said if "left out" in one]
    of = [int(n) for one in lines for n in re.findall(r"(\d+) alerts? left out, as too many", one)]
    assert sum(of) == left_out
    meanwhile = sum(int(n) for one in lines for n in re.findall(r"; (\d+) of them began", one))
    # Of 150 that were over, those that needn't make room are told.
    assert 100 <= meanwhile <= 150
    assert left_out == meanwhile + 50
