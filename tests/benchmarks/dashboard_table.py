"""The table of docs/dashboard.md: the dashboard at each rate, in each view, over many rows, for long.

    python -m tests.benchmarks.dashboard_table rates views rows start steps    one or several parts
    python -m tests.benchmarks.dashboard_table memory 10                 so many minutes

Against the real observer, through a pseudo-terminal of 120x40; needs Go. Prints a line a figure.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flowwatch.egress.folding import BY_WORKLOAD
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.tui.state import FIRST_LIMIT
from tests.benchmarks.dashboard import COLUMNS, LINES, command, many_rows, records_per_second
from tests.benchmarks.pty_driver import Screen, Terminal, cursor_row
from tests.benchmarks.pty_driver import measure as feel_of

RATES = (0, 1_000, 20_000)
RING = 65_535
ROWS = (10_000, 1_000_000)
DAY_ROWS = 10_000
FLOWWATCH = (sys.executable, "-m", "flowwatch")
TYPED = ("app-42", "d7.example", ":443", "!app-1", "ns:ns-3")


def _ready(terminal: Terminal) -> None:
    terminal.wait_for(lambda screen: cursor_row(screen) >= 0, 60.0)
    terminal.run_for(4.0)


def _leave(terminal: Terminal) -> None:
    terminal.press("q")
    terminal.press("q")
    terminal.wait(20.0)


def rates(say: Callable[[str], None]) -> None:
    """Keys, CPU and bytes at each rate; and without keys."""
    from tests.interop.real import Observer

    for rate in RATES:
        with (
            Observer(generate=20_000, rate=rate) as observer,
            Terminal(command(observer.address), columns=COLUMNS, lines=LINES) as terminal,
        ):
            _ready(terminal)
            began, cpu, received = time.monotonic(), terminal.cpu_seconds(), terminal.received
            terminal.run_for(10.0)
            seconds = time.monotonic() - began
            share = (terminal.cpu_seconds() - cpu) / seconds
            sent = (terminal.received - received) / seconds / 1000
            told = records_per_second(terminal.screen.text)
            say(
                f"{rate:,} flows/s (it reads {told:,.0f}), no keys: {share:.1%} of a core, {sent:.1f} KB/s"
            )
            for keys in ("jjkk", "j"):
                feel = feel_of(terminal, keys=keys, seconds=10.0)
                say(
                    f"{rate:,} flows/s, {keys}: {feel.median_ms:.0f} ms median, {feel.p95_ms:.0f} ms p95, "
                    f"{feel.cpu_share:.0%} of a core, {feel.bytes_per_second / 1000:.1f} KB/s"
                )
            _leave(terminal)


def views(say: Callable[[str], None]) -> None:
    """From a view's key until that is on the screen, at the highest rate; the audit needs policies."""
    from tests.interop.real import Observer

    with (
        Observer(generate=20_000, rate=RATES[-1]) as observer,
        Terminal(command(observer.address), columns=COLUMNS, lines=LINES) as terminal,
    ):
        _ready(terminal)
        took: dict[str, list[float]] = {}
        for _ in range(5):
            for key in "23456891":

                def there(screen: Screen, key: str = key) -> bool:
                    return f"[{key} " in screen.text

                terminal.press(key)
                took.setdefault(key, []).append(terminal.wait_for(there, 20.0) * 1000)
                terminal.run_for(1.0)
        for key, each in sorted(took.items()):
            say(
                f"view {key} at {RATES[-1]:,} flows/s: {statistics.median(each):.0f} ms median, "
                f"{max(each):.0f} ms worst of {len(each)}"
            )
        _leave(terminal)


def rows(say: Callable[[str], None]) -> None:
    """A filter as it is typed, letter by letter, over many rows: each letter's answer."""
    for number in ROWS:
        aggregate = many_rows(number)
        for text in TYPED:
            took = []
            for end in range(1, len(text) + 1):
                query = Query(limit=FIRST_LIMIT, text=text[:end], noise=False, by=BY_WORKLOAD)
                began = time.monotonic()
                taken = snapshot(aggregate, query)
                took.append((time.monotonic() - began) * 1000)
            say(
                f"{number:,} rows, /{text}: {took[0]:.0f} ms for the first letter, "
                f"{statistics.median(took):.0f} ms median, "
                f"{max(took):.0f} ms worst; {taken.matched:,} in the end"
            )


def start(say: Callable[[str], None]) -> None:
    """From the start of the process to the first frame, the first row, and a ring that is read."""
    from tests.interop.real import Observer

    with Observer(generate=RING) as observer:
        found: list[tuple[float, float, float]] = []
        for _ in range(5):
            with Terminal(command(observer.address), columns=COLUMNS, lines=LINES) as terminal:
                terminal.wait_for(lambda screen: "flowwatch" in screen.text, 60.0)
                frame = time.monotonic() - terminal.started
                terminal.wait_for(lambda screen: cursor_row(screen) >= 0, 60.0)
                row = time.monotonic() - terminal.started
                terminal.wait_for(lambda screen: "live" in screen.rows[0], 60.0)
                found.append((frame, row, time.monotonic() - terminal.started))
                _leave(terminal)
        frame, row, whole = (statistics.median(each) for each in zip(*found, strict=True))
        say(
            f"a ring of {RING:,}: first frame {frame:.2f} s, first row {row:.2f} s, all read {whole:.2f} s"
        )


def memory(say: Callable[[str], None], minutes: float) -> None:
    """Resident memory each minute, with a window chosen."""
    from tests.interop.real import Observer

    page = os.sysconf("SC_PAGE_SIZE")
    with (
        Observer(generate=20_000, rate=RATES[-1]) as observer,
        Terminal(command(observer.address), columns=COLUMNS, lines=LINES) as terminal,
    ):
        _ready(terminal)
        terminal.press("W")
        for minute in range(round(minutes)):
            terminal.run_for(60.0)
            with open(f"/proc/{terminal.pid}/statm", encoding="ascii") as file:
                held = int(file.read().split()[1]) * page
            say(f"after {minute + 1} min at {RATES[-1]:,} flows/s: {held / 1e6:.0f} MB")
        _leave(terminal)


def steps(say: Callable[[str], None]) -> None:
    """Steps through a history of a day, by half a window and by the hour."""
    with tempfile.TemporaryDirectory() as home:
        records, kept = Path(home, "day.jsonl"), Path(home, "kept")
        _day(records)
        record = ["record", "--input-file", str(records), "--to", str(kept)]
        subprocess.run([*FLOWWATCH, *record], check=True, capture_output=True)
        argv = [*FLOWWATCH, "--history", str(kept), "--theme", "dark"]
        with Terminal(argv, columns=COLUMNS, lines=LINES) as terminal:
            terminal.wait_for(lambda screen: "complete" in screen.rows[0], 300.0)
            terminal.run_for(4.0)
            for key in "{[":
                took = []
                for _ in range(15):
                    before = terminal.screen.rows[0]
                    terminal.press(key)

                    def there(screen: Screen, before: str = before) -> bool:
                        # Of hours the start of the one before is the end of the next.
                        figures = re.search(r"([\d:]+) to ", screen.rows[1])
                        return bool(
                            figures
                            and screen.rows[0] != before
                            and f"{figures[1]}-" in screen.rows[0]
                        )

                    took.append(terminal.wait_for(there, 20.0) * 1000)
                    terminal.run_for(0.3)
                say(
                    f"{key} in a day of {DAY_ROWS:,} rows: {statistics.median(took):.0f} ms median, "
                    f"{max(took):.0f} ms worst"
                )
            _leave(terminal)


def _day(path: Path) -> None:
    """A day's drops as lines of JSON: of 1,000 pods to ten places, each of them every four hours."""
    with path.open("w", encoding="utf-8") as lines:
        for number in range(DAY_ROWS * 6):
            row, at = number % DAY_ROWS, 1_799_000_000 + number * 86_400 // (DAY_ROWS * 6)
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
            flow = {
                "time": when, "uuid": str(number), "verdict": "DROPPED", "drop_reason": 133,
                "drop_reason_desc": "POLICY_DENIED", "IP": {
                    "source": f"10.0.{row // 10 // 250}.{row // 10 % 250 + 1}",
                    "destination": f"203.0.113.{row % 10 + 1}", "ipVersion": "IPv4",
                },
                "l4": {"TCP": {"source_port": 20_000 + number % 30_000, "destination_port": 443,
                               "flags": {"SYN": True}}},
                "source": {"identity": 1000 + row // 10, "namespace": f"ns-{row % 7}",
                           "pod_name": f"app-{row // 10}"},
                "destination": {"identity": 2, "labels": ["reserved:world"]},
                "Type": "L3_L4", "node_name": "node-1", "event_type": {"type": 1, "sub_type": 133},
                "traffic_direction": "EGRESS",
            }  # fmt: skip
            lines.write(json.dumps({"flow": flow, "node_name": "node-1", "time": when}) + "\n")


PARTS: dict[str, Callable[[Callable[[str], None]], None]] = {
    "rates": rates,
    "views": views,
    "rows": rows,
    "start": start,
    "steps": steps,
}


def main(words: list[str]) -> None:
    def say(text: str) -> None:
        print(text, flush=True)

    say(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if words[:1] == ["memory"]:
        memory(say, float(words[1]))
        return
    for word in words or list(PARTS):
        PARTS[word](say)


if __name__ == "__main__":
    main(sys.argv[1:])
