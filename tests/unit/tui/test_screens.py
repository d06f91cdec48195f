"""Every numbered view, cell by cell, on the demo's data: at three sizes, in dark, light and no colour.

``python -m tests.unit.tui.test_screens`` writes tests/data/screens anew: look at what changed before
it is committed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from rich.style import Style

from flowwatch.audits.live import LiveAudit
from flowwatch.cli.flags import parse
from flowwatch.cli.shared.traffic import demo_traffic
from flowwatch.demo.story import policy_text
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.flows.join import Join
from flowwatch.flows.model import Flow
from flowwatch.policy import load
from flowwatch.tui.dashboard import dashboard
from flowwatch.tui.state import Options
from flowwatch.tui.views import VIEWS
from tests.unit.tui.driven import Driven, Played
from tests.unit.tui.made import NOON

SCREENS = Path(__file__).parents[2] / "data" / "screens"
SIZES = ((80, 24), (120, 40), (200, 60))
THEMES = ("dark", "light", "mono")
VIEW_NAMES = [view.name for view in sorted(VIEWS, key=lambda one: one.number) if view.number]


@cache
def story() -> tuple[Flow, ...]:
    """The demo's records, told as if they ended at noon."""
    with demo_traffic("all", parse(["audit"])) as source:
        flows = [flow for batch in source.batches() for flow in batch.flows]
    flows.sort(key=lambda flow: flow.time)
    shift = NOON - flows[-1].time
    for flow in flows:
        # Their order among equals depends on who answered first; a millisecond is what is shown.
        flow.time = (flow.time + shift) // 1_000_000 * 1_000_000
    return tuple(flows)


async def screens(size: tuple[int, int], theme: str) -> dict[str, tuple[list[str], list[str]]]:
    """By view: its lines, and a digest of each line's styles."""
    join = Join()
    audit = LiveAudit(load([("weather.yaml", policy_text())]), join)
    monitor = LiveMonitor(Played(story()), live=False, join=join, teller=audit.causes)
    monitor.start()
    app = dashboard(lambda: monitor, Options(theme=theme), audit)
    found = {}
    try:
        async with app.run_test(size=size) as pilot:
            driven = Driven(app, pilot)
            await driven.until(
                lambda: monitor.snapshot(app.chosen.query).coverage.records_read == len(story())
            )
            for number, name in enumerate(VIEW_NAMES, 1):
                await driven.press(str(number))
                await driven.settled()
                await _still(driven)
                strips = app.screen._compositor.render_strips()
                styles = [_digest([(s.cell_length, s.style) for s in strip]) for strip in strips]
                found[name] = (driven.screen, styles)
    finally:
        app.feed.stop()
        monitor.stop()
    return found


async def _still(driven: Driven) -> None:
    """Wait until what is seen answers what was read last, and stays as it is."""
    before: list[str] = []
    same = 0
    while same < 3:
        await asyncio.sleep(0.25)
        await driven.settled()
        same = same + 1 if driven.screen == before else 0
        before = driven.screen


def _digest(segments: list[tuple[int, Style | None]]) -> str:
    """The style of every cell, in eight characters."""
    cells = [str(style or "") for length, style in segments for _ in range(length)]
    return hashlib.sha256("\n".join(cells).encode()).hexdigest()[:8]


def told(size: tuple[int, int], theme: str) -> str:
    """All views of one size in one theme, as the file has them."""
    found = asyncio.run(asyncio.wait_for(screens(size, theme), 120.0))
    return "".join(_lines(found))


def _lines(found: dict[str, tuple[list[str], list[str]]]) -> Iterator[str]:
    for name, (lines, styles) in found.items():
        yield f"=== {name}\n"
        for line, style in zip(lines, styles, strict=True):
            yield f"{style} |{line}\n"


def file_of(size: tuple[int, int], theme: str) -> Path:
    return SCREENS / f"{size[0]}x{size[1]}-{theme}.txt"


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_no_cell_of_a_view_changes_unseen(size: tuple[int, int], theme: str) -> None:
    assert told(size, theme) == file_of(size, theme).read_text(encoding="utf-8")


def write() -> None:
    """Write all screens anew."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    for size in SIZES:
        for theme in THEMES:
            file_of(size, theme).write_text(told(size, theme), encoding="utf-8")
            print(file_of(size, theme).name)


if __name__ == "__main__":
    write()
