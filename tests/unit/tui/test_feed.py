"""The feed: questions answered in a thread, whatever they ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flowwatch.egress.query import Query
from flowwatch.tui.feed import Feed
from flowwatch.tui.parts.rows import Rows
from flowwatch.tui.question import NOW, Question, Readings, When
from tests.unit.tui.made import ShownMonitor, snapshot

THEN = When(at=1)


@dataclass(frozen=True, kw_only=True)
class HowMany(Question[int]):
    """A question of a test: how many records were read."""

    def answer(self, of: Readings) -> int:
        return of.records


@contextmanager
def fed(monitor: ShownMonitor, question: Question[Any] | None = None) -> Iterator[Feed]:
    told = threading.Event()
    feed = Feed(lambda: Readings(monitor), told.set, question)
    feed.start()
    try:
        yield feed
    finally:
        feed.stop()


def until(there: Callable[[], object]) -> None:
    end = time.monotonic() + 10.0
    while not there():
        assert time.monotonic() < end
        time.sleep(0.005)


def value(feed: Feed) -> int | None:
    answer = feed.frame.answer(HowMany) if feed.frame is not None else None
    return answer.value if answer is not None else None


def test_any_question_is_answered_and_again_when_more_was_read() -> None:
    monitor = ShownMonitor(snapshot(records_read=5))
    with fed(monitor) as feed:
        until(lambda: feed.frame)
        assert value(feed) is None
        feed.ask(HowMany())
        until(lambda: value(feed) == 5)
        monitor.put(snapshot(records_read=9))
        until(lambda: value(feed) == 9)


def test_nothing_is_read_for_a_view_that_asks_nothing() -> None:
    monitor = ShownMonitor(snapshot())
    with fed(monitor) as feed:
        until(lambda: feed.frame)
        monitor.put(snapshot(records_read=9))
        time.sleep(0.5)
        assert monitor.asked == []


def test_a_moment_that_is_past_is_held_and_told_how_far_behind() -> None:
    monitor = ShownMonitor(snapshot(records_read=5))
    with fed(monitor, HowMany()) as feed:
        until(lambda: value(feed) == 5)
        feed.ask(HowMany(when=THEN))
        monitor.put(snapshot(records_read=12))
        until(lambda: feed.frame and feed.frame.behind == 7)
        assert value(feed) == 5
        feed.ask(HowMany(when=NOW))
        until(lambda: value(feed) == 12)
        assert feed.frame is not None
        assert feed.frame.behind == 0


def test_an_answer_of_another_kind_is_kept_meanwhile() -> None:
    monitor = ShownMonitor(snapshot(records_read=5))
    rows = Rows(query=Query(limit=10), when=THEN)
    with fed(monitor, rows) as feed:
        until(lambda: feed.frame and feed.frame.answer(Rows))
        feed.ask(HowMany())
        monitor.put(snapshot(records_read=6))
        until(lambda: value(feed) == 6)
        feed.ask(rows)
        until(lambda: feed.frame and feed.frame.question == rows)
        answer = feed.frame.answer(Rows) if feed.frame else None
        assert answer is not None
        assert answer.value.snapshot.coverage.records_read == 5


def test_a_pause_holds_what_is_seen_and_what_was_seen_before_at_one_moment() -> None:
    monitor = ShownMonitor(snapshot(records_read=5))
    query = Query(limit=10)
    with fed(monitor, Rows(query=query)) as feed:
        until(lambda: feed.frame and feed.frame.answer(Rows))
        feed.ask(HowMany())
        monitor.put(snapshot(records_read=6))
        until(lambda: value(feed) == 6)
        feed.ask(HowMany(when=THEN))
        until(lambda: feed.frame and feed.frame.question == HowMany(when=THEN))
        monitor.put(snapshot(records_read=7))
        feed.ask(Rows(query=query, when=THEN))
        until(lambda: feed.frame and feed.frame.question == Rows(query=query, when=THEN))
        assert read(feed) == 6
        # Another pause is another moment.
        feed.ask(Rows(query=query, when=When(at=2)))
        until(lambda: read(feed) == 7)


def read(feed: Feed) -> int | None:
    answer = feed.frame.answer(Rows) if feed.frame is not None else None
    return answer.records if answer is not None else None


def test_looking_into_another_row_reads_no_rows_anew() -> None:
    monitor = ShownMonitor(snapshot())
    first = Rows(query=Query(limit=10))
    with fed(monitor, first) as feed:
        until(lambda: feed.frame and feed.frame.answer(Rows))
        asked = len(monitor.asked)
        feed.ask(Rows(query=Query(limit=10), key=1))
        until(lambda: feed.frame and (a := feed.frame.answer(Rows)) and a.value.more.records)
        assert len(monitor.asked) == asked
        feed.ask(Rows(query=Query(limit=10, order="peer"), key=1))
        until(lambda: len(monitor.asked) > asked)
