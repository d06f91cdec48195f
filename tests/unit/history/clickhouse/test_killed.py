"""`compact` of a history in ClickHouse, killed at random moments: answers are always of a whole making."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flowwatch.flows.model import Batch
from flowwatch.history.kept import kept_at
from tests.command import ROOT, clean_environment
from tests.unit.history.clickhouse.servers import Today
from tests.unit.history.clickhouse.test_answers import shown
from tests.unit.history.clickhouse.test_asking import TABLES, asked, count, made
from tests.unit.history.test_faults import KILLS
from tests.unit.history.writer import ORIGIN, numbered

pytestmark = pytest.mark.xdist_group("clickhouse")

SOME = 1000
"""Flows that come before each kill, each an attempt."""
LONGEST = 30
"""Seconds after which no more are killed than FEWEST, unless more were asked for by hand."""
FEWEST = 2


def compacting(url: str, home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "flowwatch", "history", "compact", url],
        cwd=ROOT,
        env=clean_environment(str(home)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def told(today: Today, url: str) -> int:
    """How many attempts the newest making has, in both of its tables; and that it can be asked."""
    database = shown(url).rpartition("/")[2]
    newest = f"making = (SELECT argMax(making, at) FROM {database}.{TABLES[0]})"
    found = [
        int(today.ask(f"SELECT {what} FROM {database}.{table} WHERE {newest}"))
        for what, table in (("count()", TABLES[1]), ("sum(attempts)", TABLES[2]))
    ]
    assert asked(url, "outcomes")["rows"]
    assert found[0] == found[1]
    return found[0]


def record(url: str, first: int) -> int:
    """Have so many more kept; the number of the next one."""
    recorder = kept_at(url).recorder(ORIGIN, every=60)
    recorder.take(Batch(flows=[numbered(number) for number in range(first, first + SOME)]))
    recorder.close("the test ended")
    return first + SOME


def compact(url: str, home: Path) -> float:
    """To its end; how many seconds it took."""
    began = time.monotonic()
    with compacting(url, home) as process:
        assert process.wait(60) == 0
    return time.monotonic() - began


def test_killed_at_any_moment_what_was_made_stays_whole(today: Today, tmp_path: Path) -> None:
    url, chance, began = made(today), random.Random(5), time.monotonic()
    of_capture = told(today, url)
    first = record(url, 0)
    usual = compact(url, tmp_path)
    # The first one reads what later ones find in memory.
    first = record(url, first)
    usual = min(usual, compact(url, tmp_path))
    before = told(today, url)
    assert before == of_capture + first
    kills = 0
    while kills < KILLS and (kills < FEWEST or KILLS > 5 or time.monotonic() - began < LONGEST):
        first = record(url, first)
        with compacting(url, tmp_path) as process:
            try:
                process.wait(chance.uniform(0.4, 1.0) * usual)
            except subprocess.TimeoutExpired:
                process.kill()
        now = told(today, url)
        # What was there, or all that was recorded; never a part, never both.
        assert now in (before, of_capture + first), f"kill {kills}"
        before = now
        kills += 1
    compact(url, tmp_path)
    assert told(today, url) == of_capture + first
    assert count(today, url, TABLES[0]) == 1
