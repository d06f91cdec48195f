"""A recorder that is killed, and a server that goes away: nothing is there twice, and gaps are told."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowwatch.errors import OutputError
from flowwatch.flows.model import Batch
from flowwatch.history.clickhouse import database as module
from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.sending import Sending
from flowwatch.history.clickhouse.url import server_of
from flowwatch.history.kept import kept_at
from flowwatch.history.recorder import Recorder
from flowwatch.history.retention import Limits
from tests.command import ROOT, clean_environment
from tests.in_process import flowwatch
from tests.unit.history.clickhouse.servers import Old, Today
from tests.unit.history.clickhouse.test_answers import WEATHER, shown
from tests.unit.history.faults import small_disk
from tests.unit.history.writer import BATCH, ORIGIN, number_of, numbered

pytestmark = pytest.mark.xdist_group("clickhouse")

HELD = 200
"""Flows held in memory."""


def read(where: str) -> Batch:
    """All that is told of a history, in one batch."""
    whole = Batch()
    for batch in kept_at(where).source().batches():
        whole.flows += batch.flows
        whole.gaps += batch.gaps
        whole.notes += batch.notes
    return whole


def numbers(where: str) -> list[int]:
    return [number_of(one) for one in read(where).flows]


def some(count: int, first: int) -> Batch:
    return Batch(flows=[numbered(number) for number in range(first, first + count)])


def recorder(url: str, aside: Path) -> Recorder:
    """One that tries again with each look, as a second goes by between two."""
    kept_at(url).create(Limits())
    seconds = itertools.count()
    sending = Sending(Database(server_of(url)), aside, most=HELD)
    return Recorder(sending, ORIGIN, every=0.5, monotonic=lambda: float(next(seconds)))


@pytest.fixture
def away(old: Old) -> Iterator[Old]:
    """A server that a test may stop."""
    yield old
    old.restart()


def test_killed_again_and_again(server: Old | Today, tmp_path: Path) -> None:
    url, chance, first, gaps = server.url(), random.Random(7), 0, 0
    for kill in range(4):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.unit.history.writer", url, str(first)],
            cwd=ROOT,
            env=clean_environment(str(tmp_path)),
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout is not None
            safe = 0
            until = time.monotonic() + chance.uniform(0.1, 0.6)
            while not safe or time.monotonic() < until:
                safe = int(writer.stdout.readline().split()[0])
            writer.kill()
            safe = max([safe, *(int(line.split()[0]) for line in writer.stdout)])
        found = read(url)
        got = [number_of(one) for one in found.flows]
        assert len(got) == len(set(got)) >= safe > 0
        assert len(found.gaps) == gaps
        # What the server of the flows still holds when it starts again, or less.
        beyond = kill % 2
        gaps += beyond
        first = max(got) + 1 + 4 * BATCH if beyond else max(0, max(got) - BATCH)
    assert gaps == 2


def test_what_comes_while_it_is_wordswaits_in_a_folder(away: Old, tmp_path: Path) -> None:
    url, aside = away.url(), tmp_path / "aside"
    kept = recorder(url, aside)
    kept.take(some(50, 0))
    kept.flush()
    away.stop()
    for first in range(50, 1000, 25):
        kept.take(some(25, first))
        assert kept.progress.flows - kept.progress.kept - kept.progress.aside < HELD + 25
    # As the relay has it; of the server itself: Connection refused.
    words = "the server cannot be reached (Remote end closed connection without response)"
    assert kept.progress.failure == f"can't write to {shown(url)}: {words}"
    assert (kept.progress.lost, kept.progress.place) == (0, str(aside))
    # It is a history as any other.
    held = 1000 - kept.progress.kept - kept.progress.aside
    assert numbers(str(aside)) == list(range(50, 1000 - held))
    away.start()
    while kept.progress.aside:
        kept.take(some(25, kept.progress.flows))
    assert kept.progress.failure == ""
    kept.close("the test ended")
    found = read(url)
    assert [number_of(one) for one in found.flows] == list(range(kept.progress.flows))
    assert found.gaps == []
    assert list(aside.rglob("*.parquet")) == []


def test_one_that_ends_meanwhile_leaves_it_to_the_next(away: Old, tmp_path: Path) -> None:
    url, aside = away.url(), tmp_path / "aside"
    kept = recorder(url, aside)
    away.stop()
    kept.take(some(50, 0))
    with pytest.raises(
        OutputError, match=r"Remote end closed connection without response\)"
    ) as raised:
        kept.close("the test ended")
    assert raised.value.hint == f"what came lies in {aside}, and goes there with the next record"
    away.start()
    done = flowwatch("record", "--input-file", WEATHER, "--to", url, "--spill", aside)
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == f"flowwatch: 50 flows that lay in {aside}: written now"
    assert len(read(url).flows) == 114
    assert list(aside.rglob("*.parquet")) == []
    info = kept_at(url).info()
    assert [one.ended for one in info.runs] == ["the test ended", "the source ended"]


def test_an_answer_that_never_came_makes_nothing_twice(
    server: Old | Today, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are there, and who sent them can't know."""
    url = server.url()
    kept = recorder(url, tmp_path / "aside")
    insert, failing = module.Database.insert, [True]

    def unheard(self: Database, *given: object) -> None:
        insert(self, *given)  # type: ignore[arg-type]
        if failing[0]:
            raise ConnectionError(1, "the server cannot be reached")

    monkeypatch.setattr(module.Database, "insert", unheard)
    kept.take(some(25, 0))
    with pytest.raises(OutputError, match="cannot be reached"):
        kept.flush()
    failing[0] = False
    kept.close("the test ended")
    about = kept_at(url).info()
    assert (about.records, len(read(url).flows), len(about.runs)) == (25, 25, 1)


def test_a_folder_that_is_full_is_told_and_so_is_the_gap(away: Old, tmp_path: Path) -> None:
    url, disk = away.url(), tmp_path / "disk"
    with small_disk(disk) as mounted:
        if not mounted:
            pytest.skip("no file system may be mounted here")
        (disk / "filler").write_bytes(bytes(190_000))
        kept = recorder(url, disk / "aside")
        kept.take(some(50, 0))
        kept.flush()
        away.stop()
        for first in range(50, 600, 25):
            kept.take(some(25, first))
        assert re_said(kept.progress.failure, disk).endswith(
            "(Remote end closed connection without response); can't write FILE: No space left on device"
        )
        assert kept.progress.lost > 0
        away.start()
        while kept.progress.failure:
            kept.take(some(25, kept.progress.flows))
        kept.close("the test ended")
    found = read(url)
    assert len(found.flows) == kept.progress.flows - kept.progress.lost
    assert "could not be kept" in found.gaps[0].why
    assert "No space left on device" in found.gaps[0].why


def re_said(line: str, disk: Path) -> str:
    """A line without the name of a file."""
    before, _, after = line.partition(str(disk))
    return f"{before}FILE:{after.partition(':')[2]}"
