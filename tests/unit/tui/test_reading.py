"""Rows while what there is is still being read, and how far that is."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from msgspec.structs import replace

from flowwatch.flows.source import SourceState
from flowwatch.tui.parts.headline import headline_lines
from flowwatch.tui.theme import FANCY
from tests.benchmarks.pty_driver import Screen, Terminal, cursor_row
from tests.unit.tui.made import FOLLOWING, NOON, ShownMonitor, snapshot
from tests.unit.tui.test_feed import HowMany, fed, until, value
from tests.unit.tui.test_title import title

PATIENCE = 60.0
FILE = SourceState("flows.jsonl", "reading")


def text_of(state: SourceState) -> str:
    lines = headline_lines(snapshot(), state, NOON, 0, 140, FANCY)
    return "\n".join("".join(text for text, _ in line) for line in lines)


def test_the_first_line_says_how_far_reading_is_and_what_is_live_comes_after_it() -> None:
    assert "reading 7%" in title("", 80, replace(FILE, progress=0.07))
    assert "reading 7%" in title("", 50, replace(FOLLOWING, progress=0.07))
    assert "live" in title("", 80, FOLLOWING)
    assert title("", 80, FILE).split()[2] == "reading"


def test_of_a_ring_that_is_read_neither_rates_nor_ages_are_told() -> None:
    reading = text_of(replace(FOLLOWING, progress=0.5))
    assert "1,234 records" in reading
    assert "last record" not in reading
    assert "records/s" in text_of(FOLLOWING)
    assert "last record" in text_of(FOLLOWING)


def test_what_is_said_to_be_complete_has_all_numbers() -> None:
    """Numbers come some times a second; at the end they come with the word for it."""
    monitor = ShownMonitor(snapshot(records_read=5), replace(FILE, progress=0.5))
    seen = []
    with fed(monitor, HowMany()) as feed:
        until(lambda: value(feed) == 5)
        monitor.put(snapshot(records_read=9), SourceState("flows.jsonl", "ended"))

        def complete() -> bool:
            frame = feed.frame
            if frame is not None and frame.state.phase == "ended":
                answer = frame.answer(HowMany)
                seen.append(answer.value if answer is not None else None)
            return bool(seen)

        until(complete)
    assert seen == [9]


def large_capture(path: Path) -> None:
    """As long as takes a quick machine a second to read: 2,000 attempts, each told over and over."""
    lines = []
    for number in range(2_000):
        at = f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"
        flow = {
            "time": at, "verdict": "DROPPED", "drop_reason": 133, "drop_reason_desc": "POLICY_DENIED",
            "IP": {"source": "10.0.0.1", "destination": "203.0.113.9", "ipVersion": "IPv4"},
            "l4": {"TCP": {"source_port": 20_000 + number, "destination_port": 443,
                           "flags": {"SYN": True}}},
            "source": {"namespace": "shop", "pod_name": f"cart-{number % 50}"},
            "destination": {"labels": ["reserved:world"]}, "Type": "L3_L4", "node_name": "node-1",
            "event_type": {"type": 1, "sub_type": 133}, "traffic_direction": "EGRESS",
        }  # fmt: skip
        lines.append(json.dumps({"flow": flow, "node_name": "node-1", "time": at}) + "\n")
    block = "".join(lines).encode()
    with path.open("wb") as file:
        for _ in range(60):
            file.write(block)


def test_rows_are_there_before_a_large_capture_is_read(tmp_path: Path) -> None:
    large_capture(tmp_path / "large.jsonl")
    argv = [sys.executable, "-m", "flowwatch", "--theme", "mono", "--input-file"]
    meanwhile: list[int] = []
    """What was said of the reading while there were rows, in hundredths."""

    def complete(screen: Screen) -> bool:
        told = re.search(r"reading (\d+)%", screen.rows[0])
        if told and cursor_row(screen) >= 0:
            meanwhile.append(int(told[1]))
        return "complete" in screen.rows[0]

    with Terminal([*argv, str(tmp_path / "large.jsonl")], columns=100, lines=24) as terminal:
        end = time.monotonic() + PATIENCE
        while not complete(terminal.screen) and time.monotonic() < end:
            terminal.pump(0.05)
        assert "complete" in terminal.screen.rows[0]
        assert meanwhile
        assert meanwhile == sorted(meanwhile)
        assert meanwhile[0] < 50
        terminal.wait_for(lambda screen: "120,000 records" in screen.text, PATIENCE)
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 0
