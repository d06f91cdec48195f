"""The dashboard beside the real observer at 20,000 records a second: a resize and back, a window of time."""

from __future__ import annotations

import sys

from tests.benchmarks.pty_driver import Terminal, cursor_row
from tests.interop.real import Observer

RATE = 20_000
PATIENCE = 60.0


def filled(terminal: Terminal) -> bool:
    """Whether all of the screen is painted: its first line, a table, and the keys in the last."""
    rows = terminal.screen.rows
    return (
        rows[0].startswith(" flowwatch")
        and "records/s" in rows[2]
        and cursor_row(terminal.screen) > 0
        and rows[-1].endswith("quit")
        and sum(row[1:2] in ("✗", "✓", "!") for row in rows) > len(rows) // 3
    )


def test_a_resize_under_load_and_back_paints_all_and_keeps_the_selection() -> None:
    argv = [sys.executable, "-m", "flowwatch"]
    with (
        Observer(generate=RATE, rate=RATE) as observer,
        Terminal([*argv, "--server", observer.address], columns=120, lines=40) as terminal,
    ):
        terminal.wait_for(lambda _: filled(terminal), PATIENCE)
        for columns, lines in ((80, 24), (120, 40), (80, 24), (120, 40)):
            terminal.resize(columns, lines)
            terminal.wait_for(lambda _: filled(terminal), PATIENCE)
            assert max(map(len, terminal.screen.rows)) <= columns
            # It goes on from there: a key is answered.
            before = cursor_row(terminal.screen)
            terminal.press("j")
            terminal.wait_for(lambda _, old=before: cursor_row(terminal.screen) > old, PATIENCE)  # type: ignore[misc]
            terminal.press("g")
            terminal.wait_for(lambda _, old=before: cursor_row(terminal.screen) == old, PATIENCE)  # type: ignore[misc]
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 0


def test_a_window_is_answered_and_left_under_load() -> None:
    argv = [sys.executable, "-m", "flowwatch"]
    with (
        Observer(generate=RATE, rate=RATE) as observer,
        Terminal([*argv, "--server", observer.address], columns=120, lines=40) as terminal,
    ):
        terminal.wait_for(lambda _: filled(terminal), PATIENCE)
        terminal.press("W")
        terminal.wait_for(
            lambda screen: "last 1m" in screen.rows[0] and " UTC" in screen.rows[1], PATIENCE
        )
        terminal.press("[")
        terminal.wait_for(lambda screen: "L goes back to now" in screen.text, PATIENCE)
        terminal.press("L")
        terminal.wait_for(lambda screen: "last 1m" in screen.rows[0], PATIENCE)
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 0
