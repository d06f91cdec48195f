"""Where nothing happens, nothing is sent to the terminal, and little is painted."""

from __future__ import annotations

import random
import sys
import time

import pytest

from flowwatch.demo.server import DemoServer
from flowwatch.flows.coverage import Coverage
from flowwatch.tui.view import shown_now
from tests.benchmarks.pty_driver import Terminal, cursor_row

PATIENCE = 30.0
SECOND = 1_000_000_000
LAST = 1_700_000_000 * SECOND


def settle(terminal: Terminal) -> None:
    """Wait for a second in which nothing comes."""
    end = time.monotonic() + PATIENCE
    before = -1
    while terminal.received != before:
        assert time.monotonic() < end, f"never still:\n{terminal.screen.text}"
        before = terminal.received
        terminal.run_for(1.0)


@pytest.mark.parametrize("view", "1234568")
def test_of_what_was_read_to_its_end_a_terminal_gets_no_byte_more(view: str) -> None:
    words = [sys.executable, "-m", "flowwatch", "--until", "60s", "--server"]
    with (
        DemoServer(live=False) as server,
        Terminal([*words, server.address], columns=120, lines=40) as terminal,
    ):
        terminal.wait_for(lambda screen: "complete" in screen.rows[0], PATIENCE)
        terminal.wait_for(lambda screen: cursor_row(screen) >= 0, PATIENCE)
        if view != "1":
            terminal.press(view)
        terminal.wait_for(lambda screen: f"[{view} " in screen.text, PATIENCE)
        settle(terminal)
        before = terminal.received
        terminal.run_for(3.0)
        assert terminal.received == before
        terminal.press("qq")
        assert terminal.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("quiet", "shown"),
    [(0.5, 0.5), (9.9, 9.9), (10, 10), (19.9, 10), (20, 20), (59, 50), (60, 60), (119, 60), (7199, 7140)],
)  # fmt: skip
@pytest.mark.parametrize("late", [0, -40, 3])
def test_ages_go_on_more_rarely_the_longer_nothing_came(
    quiet: float, shown: float, late: int
) -> None:
    """``late``: how far the records' clocks are behind; ages are the same."""
    seen = Coverage(last_seen=LAST - late * SECOND, clock_late=late * SECOND)
    assert shown_now(LAST + int(quiet * SECOND), seen) == LAST + int(shown * SECOND)


def test_before_the_first_record_it_is_now() -> None:
    assert shown_now(LAST + 12_345, Coverage()) == LAST + 12_345


@pytest.mark.parametrize("seed", range(4))
def test_lines_that_the_terminal_moved_are_those_that_painting_all_of_it_would_show(
    seed: int,
) -> None:
    words = [sys.executable, "-m", "flowwatch", "--until", "60s", "--server"]
    chance = random.Random(seed)
    with (
        DemoServer(live=False) as server,
        Terminal([*words, server.address], columns=100, lines=20) as terminal,
    ):
        terminal.wait_for(lambda screen: "complete" in screen.rows[0], PATIENCE)
        terminal.wait_for(lambda screen: cursor_row(screen) >= 0, PATIENCE)
        settle(terminal)
        for _ in range(60):
            terminal.press(chance.choice(["j", "j", "j", "k", "k", " ", "G", "g", "\x04", "\x15"]))
            terminal.run_for(chance.choice([0.0, 0.02, 0.1]))
        settle(terminal)
        seen = terminal.screen.rows
        # Another theme paints all lines: here onto an empty screen.
        terminal.screen.cells = [[" "] * 100 for _ in range(20)]
        terminal.press("T")
        terminal.wait_for(lambda screen: cursor_row(screen) >= 0, PATIENCE)
        settle(terminal)
        # The last line says which theme.
        assert seen[:-1] == terminal.screen.rows[:-1]
        terminal.press("qq")
        assert terminal.wait(PATIENCE) == 0
