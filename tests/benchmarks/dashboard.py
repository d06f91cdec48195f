"""How the dashboard feels under load: the real observer at 20,000 flows/s, keys through a pty.

    python -m tests.benchmarks.dashboard        prints the figures
    measure() -> [(what, reached, goal)]        for `make bench`

A key is ``j``; it has reached the screen when the cursor stands on another row. Keys come one every
130 ms, a fast typist's pace, so that no press waits for the one before it. Held down, ``j`` soon
scrolls the table with each press, which sends every row anew: the dearest case. Moving up and down
within the screen is told beside it.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Sequence

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.folding import read_by
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.flows.model import Direction
from flowwatch.flows.peers import Peer
from flowwatch.tui.state import FIRST_LIMIT
from tests.benchmarks.pty_driver import Feel, Terminal, cursor_row
from tests.benchmarks.pty_driver import measure as feel_of

RATE = 20_000
"""Flows a second."""

COLUMNS, LINES = 120, 40
STARTS = 5
"""How often it is started for the time to the first frame; the median counts."""

Timed = tuple[float, float]
"""Seconds from the start of the process to the first frame, and to the first row."""


def command(address: str) -> list[str]:
    """The dashboard as people start it."""
    return [sys.executable, "-m", "flowwatch", "--server", address]


def start(argv: Sequence[str]) -> Timed:
    """Start it, wait for its first frame and its first row, and leave it again."""
    with Terminal(argv, columns=COLUMNS, lines=LINES) as terminal:
        times = _first(terminal)
        _leave(terminal)
    return times


def under_load(argv: Sequence[str], keys: str, seconds: float) -> tuple[Feel, float]:
    """Press ``keys`` in turn for so many seconds once the ring is read; and the records/s it told."""
    with Terminal(argv, columns=COLUMNS, lines=LINES) as terminal:
        _first(terminal)
        # The ring's past, and the first rates, are not what is measured.
        terminal.run_for(3.0)
        feel = feel_of(terminal, keys=keys, seconds=seconds)
        told = records_per_second(terminal.screen.text)
        _leave(terminal)
    return feel, told


def at_rest(argv: Sequence[str], seconds: float) -> tuple[float, float]:
    """CPU share and bytes a second when neither flows nor keys come."""
    with Terminal(argv, columns=COLUMNS, lines=LINES) as terminal:
        _first(terminal)
        terminal.run_for(3.0)
        cpu, received = terminal.cpu_seconds(), terminal.received
        terminal.run_for(seconds)
        cpu, received = terminal.cpu_seconds() - cpu, terminal.received - received
        _leave(terminal)
    return cpu / seconds, received / seconds


def records_per_second(text: str) -> float:
    """What the headline says: ``… 20k records/s …``; 0 when it isn't on the screen."""
    before, found, _ = text.partition(" records/s")
    if not found:
        return 0.0
    words = before.split()[-1].replace(",", "")
    return float(words[:-1]) * 1000 if words.endswith("k") else float(words)


ROWS = 1_000_000


def many_rows(rows: int = ROWS) -> Aggregate:
    """So many rows: of pods, ten of which are one workload's, to a hundred destinations each."""
    aggregate = Aggregate(2 * rows)
    columns = aggregate.columns
    chance = random.Random(1)
    for number in range(rows):
        pod, peer = divmod(number, 100)
        workload = f"app-{pod // 10}"
        row = columns.row(
            int(Direction.EGRESS),
            (f"ns-{pod // 500}", f"{workload}-7d9f8-{pod:05}", workload),
            Peer("dns", f"d{peer}.example"),
            443,
            "TCP",
            number + 1,
            number + 1,
        )
        columns.counts[0][row], columns.counts[1][row] = chance.randrange(50), chance.randrange(5)
    return aggregate


def folding() -> list[tuple[str, str, str]]:
    """How long the first rows of a million take to choose, fold, sort and spell out."""
    aggregate = many_rows()
    found = []
    for by in ("pod", "workload", "namespace"):
        query = Query(limit=FIRST_LIMIT, by=read_by(f"{by},peer,port"))
        times = []
        for _ in range(3):
            began = time.monotonic()
            taken = snapshot(aggregate, query)
            times.append(time.monotonic() - began)
        what = f"{ROWS:,} rows folded by {by}: {taken.matched:,}, sorted by drops"
        found.append((what, f"{sorted(times)[1]:.2f} s", ""))
    return found


def measure(
    seconds: float = 12.0, say: Callable[[str], None] | None = None
) -> list[tuple[str, str, str]]:
    """What was measured, what was reached, and the goal. Needs Go, for the real observer."""
    from tests.interop.real import Observer

    # What others keep the machine busy with, before we do.
    busy, cores = os.getloadavg()[0], os.cpu_count() or 1
    with Observer(generate=RATE, rate=RATE) as observer:
        argv = command(observer.address)
        if say is not None:
            say(f"observer at {observer.address}, {RATE:,} flows/s")
        feel, told = under_load(argv, "j", seconds)
        within, _ = under_load(argv, "jjkk", seconds)
        times = sorted(start(argv) for _ in range(STARTS))
    with Observer(generate=RATE) as observer:
        rest_cpu, rest_bytes = at_rest(command(observer.address), seconds / 2)
    frame, rows = times[len(times) // 2]
    pressed = f"{len(feel.latencies_ms)} keys"
    # A share of a busy machine's time is not what a key waits for on one's own.
    beside = f", beside a load of {busy:.1f} on {cores} cores" if busy > cores / 2 else ""
    return [
        (
            f"dashboard at {RATE:,} flows/s (says it reads {told:,.0f}), key to screen, {pressed}"
            + beside,
            f"{feel.p95_ms:.0f} ms at the 95th percentile, {feel.median_ms:.0f} ms median",
            "≤ 50 ms",
        ),
        (
            "… moving within the screen (j j k k)",
            f"{within.p95_ms:.0f} ms at the 95th percentile, {within.median_ms:.0f} ms median, "
            f"{within.cpu_share:.0%}, {within.bytes_per_second / 1000:.1f} KB/s",
            "",
        ),
        ("… CPU of one core", f"{feel.cpu_share:.0%}", "≤ 60%"),
        ("… to the terminal", f"{feel.bytes_per_second / 1000:.1f} KB/s", "≤ 40 KB/s"),
        (
            f"… first frame, median of {STARTS} starts",
            f"{frame:.2f} s (slowest {times[-1][0]:.2f} s; first row {rows:.2f} s)",
            "≤ 1 s",
        ),
        (
            "dashboard without traffic or keys",
            f"{rest_cpu:.1%} of one core, {rest_bytes:,.0f} bytes/s",
            "",
        ),
        *folding(),
    ]


def _first(terminal: Terminal) -> Timed:
    began = terminal.started
    terminal.wait_for(lambda screen: "flowwatch" in screen.text, 20.0)
    frame = time.monotonic() - began
    terminal.wait_for(lambda screen: cursor_row(screen) >= 0, 20.0)
    return frame, time.monotonic() - began


def _leave(terminal: Terminal) -> None:
    terminal.press("q")
    if code := terminal.wait(10.0):
        raise RuntimeError(f"the dashboard left with {code}:\n{terminal.screen.text}")


if __name__ == "__main__":
    for what, reached, goal in measure(say=lambda text: print(text, file=sys.stderr)):
        print(f"{what:<84}  {reached:<52}  {goal}".rstrip())
