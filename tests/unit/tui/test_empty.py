"""Empty and broken states, cell by cell: each says what is so, and what to do.

``python -m tests.unit.tui.test_empty`` writes tests/data/screens/empty-*.txt anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flowwatch.egress.rows import Snapshot, Timeline
from flowwatch.flows.source import SourceState
from tests.unit.tui.driven import run, shown
from tests.unit.tui.made import COMPLETE, FOLLOWING, NOON, SECOND, ShownMonitor, row, snapshot
from tests.unit.tui.screens import SCREENS, Cells, cells, read, write

SIZES = ((80, 24), (120, 40))
QUIET: dict[str, Any] = {
    "recent": (), "timeline": Timeline(), "dropped_rate": 0.0, "forwarded_rate": 0.0, "record_rate": 0.0,
}  # fmt: skip
NOTHING = snapshot((), records_read=0, first_seen=0, last_seen=0, **QUIET)
FORWARDED = snapshot((row(1), row(2, peer="www.google.com")), **QUIET)
WHY = "cannot connect to localhost:4245: connection refused: check --server"
NEVER = SourceState("localhost:4245", "lost", WHY, since=NOON / SECOND, retry_in=3.0, had=False)


@dataclass(frozen=True)
class State:
    """What is shown, and by which keys."""

    snapshot: Snapshot
    state: SourceState
    keys: tuple[str, ...] = ()
    options: Mapping[str, Any] | None = None
    size: tuple[int, int] | None = None


STATES = {
    "connecting": State(NOTHING, SourceState("localhost:4245", "connecting", had=False)),
    "not connected": State(NOTHING, NEVER),
    "no flow yet": State(NOTHING, FOLLOWING),
    "no flow for the filters": State(
        NOTHING, FOLLOWING, options={"filter_words": "--namespace wether"}
    ),
    "a file without flows": State(NOTHING, SourceState("flows.jsonl", "ended")),
    "no server, failed": State(
        NOTHING, SourceState("localhost:4245", "failed", "certificate expired", had=False)
    ),
    "failed": State(NOTHING, SourceState("flows.jsonl", "failed", "line 1 is no flow")),
    "the filter finds nothing": State(FORWARDED, COMPLETE, options={"text": "pod:wether-app"}),
    "no drops": State(FORWARDED, COMPLETE, options={"drops_only": True}),
    "the other direction alone": State(snapshot((), elsewhere=2, **QUIET), COMPLETE),
    "no policy verdicts": State(
        snapshot((row(1, allowed_by=()),), **QUIET), COMPLETE, ("4",)
    ),
    "no causes": State(FORWARDED, COMPLETE, ("5",)),
    "no records": State(FORWARDED, COMPLETE, ("8",)),
    "too small": State(FORWARDED, COMPLETE, size=(18, 6)),
}  # fmt: skip


async def taken(name: str, size: tuple[int, int], known: Cells) -> Cells:
    """The screen of one state."""
    state = STATES[name]
    monitor, options = ShownMonitor(state.snapshot, state.state), dict(state.options or {})
    async with shown(monitor, state.size or size, **options) as driven:
        await driven.press(*state.keys)
        return await cells(driven, known)


def told(size: tuple[int, int], known: dict[str, Cells]) -> dict[str, Cells]:
    """All of them at one size."""
    return {name: asyncio.run(taken(name, size, known.get(name, []))) for name in STATES}


def file_of(size: tuple[int, int]) -> Path:
    return SCREENS / f"empty-{size[0]}x{size[1]}.txt"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_no_cell_of_a_state_changes_unseen(size: tuple[int, int]) -> None:
    known = read(file_of(size))
    assert told(size, known) == known


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_each_says_what_to_do(size: tuple[int, int]) -> None:
    for name, lines in read(file_of(size)).items():
        texts = [line.partition("|")[2] for line in lines]
        assert name == "too small" or any(text.lstrip().startswith("- ") for text in texts), name


def test_what_was_never_there_isnt_lost_and_what_was_is() -> None:
    async def test() -> None:
        monitor = ShownMonitor(NOTHING, NEVER)
        async with shown(monitor, (120, 24)) as driven:
            await driven.sees("not connected", "Not connected yet: cannot connect to", "r: now")
            assert "lost" not in driven.text.casefold().replace("localhost", "")
            had = SourceState(
                "localhost:4245", "lost", "gone", since=NOON / SECOND, retry_in=3.0, had=True
            )
            monitor.put(state=had)
            await driven.sees("LOST", "Lost localhost:4245: gone")

    run(test())


def test_r_tries_now_and_says_where_there_is_nothing_to_try() -> None:
    async def test() -> None:
        monitor = ShownMonitor(NOTHING, NEVER)
        async with shown(monitor, (100, 24)) as driven:
            await driven.press("r")
            await driven.sees("trying now")
            assert monitor.retried == 1
            monitor.put(state=FOLLOWING)
            await driven.sees("live")
            await driven.press("r")
            await driven.sees("nothing waits to be connected")
            assert monitor.retried == 1

    run(test())


def test_a_window_that_grows_has_its_table_again() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(FORWARDED), (15, 8)) as driven:
            await driven.sees("too small")
            await driven.resize(80, 24)
            await driven.sees("api.openweath")
            await driven.press("2")
            await driven.sees("weather-app")
            await driven.resize(15, 8)
            await driven.sees("too small")

    run(test())


if __name__ == "__main__":
    for one in SIZES:
        write(file_of(one), told(one, {}))
