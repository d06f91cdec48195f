"""What changes, a line each: by looks at rows that are made, and of a whole program."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from flowwatch.demo.server import DemoServer
from flowwatch.egress.rows import Row, Run, Snapshot, Totals
from flowwatch.flows.coverage import Coverage, LostTotal
from flowwatch.flows.source import NodeChange, SourceState
from flowwatch.marks.live import Seen
from flowwatch.report.events import Events
from tests.benchmarks.pty_driver import Terminal
from tests.command import ROOT, clean_environment
from tests.in_process import flowwatch
from tests.unit.tui.made import NOON, SECOND, denied, row

SEEN = Coverage(first_seen=NOON, last_seen=NOON + 60 * SECOND, records_read=100)
LIVE = SourceState(
    "relay:4245", "following", since=NOON / SECOND, nodes_connected=2, nodes_unavailable=0
)
DAY = "2023-11-15, times are UTC"


def taken(*rows: Row, coverage: Coverage = SEEN, **totals: Any) -> Snapshot:
    return Snapshot(rows=rows, shown=Totals(**totals), coverage=coverage)


def ran(*states: tuple[str, int]) -> dict[str, Any]:
    """A row's ``runs``: each state with the second in which it began."""
    return {
        "runs": tuple(
            Run(state, NOON + at * SECOND, NOON + (at + 1) * SECOND) for state, at in states
        )
    }


@pytest.fixture
def events() -> Events:
    """That were told of the connection already."""
    begun = Events()
    assert begun.look(Snapshot(), LIVE) == [DAY, "12:00:00 connected: relay:4245, 2 nodes"]
    return begun


def test_a_new_destination_that_is_blocked_is_told_once(events: Events) -> None:
    blocked = denied(1, cause="default deny · weather-egress", **ran(("dropped", 5)))
    assert events.look(taken(blocked, row(2)), LIVE)[0] == (
        "12:00:05 blocked: weather/weather-app-7d9f8-x2x4z to www.google.com:443, POLICY_DENIED, "
        "default deny · weather-egress"
    )
    assert events.look(taken(replace_row(blocked, dropped=13), row(2)), LIVE) == []


def replace_row(one: Row, **fields: Any) -> Row:
    return Row(**({name: getattr(one, name) for name in one.__struct_fields__} | fields))


def test_what_changed_between_two_looks_is_told_in_the_order_of_time(events: Events) -> None:
    first, second = row(1, **ran(("forwarded", 1))), denied(2, **ran(("dropped", 2)))
    events.look(taken(first, second), LIVE)
    first = row(1, dropped=3, **ran(("forwarded", 1), ("dropped", 20), ("forwarded", 40)))
    second = denied(2, **ran(("dropped", 2), ("forwarded", 30)))
    lines = events.look(taken(first, second), LIVE)
    assert lines[0].startswith("12:00:20 blocked: weather/weather-app")
    assert lines[0].endswith("forwarded until 12:00:02")
    assert lines[1:] == [
        "12:00:30 allowed again: weather/weather-app-7d9f8-x2x4z to www.google.com:443",
        "12:00:40 allowed again: weather/weather-app-7d9f8-x2x4z to api.openweathermap.org:443",
    ]


def test_audit_mode_and_the_proxys_failures_are_words_of_their_own(events: Events) -> None:
    rows = (row(1, **ran(("audited", 1))), row(2, **ran(("error", 2))))
    told = events.look(taken(*rows), LIVE)
    assert told[0].startswith("12:00:01 would be denied, but audit mode is on: weather/")
    assert told[1].startswith("12:00:02 failed in Cilium's proxy: weather/")


def test_by_turns_is_told_once(events: Events) -> None:
    states = [("forwarded", 1), ("dropped", 2)] * 3
    turning = row(1, dropped=5, **ran(*states))
    lines = events.look(taken(turning), LIVE)
    assert lines[0].startswith("12:00:50 now this way, now that: weather/")
    assert lines[0].endswith("last forwarded 12:00:02, last dropped 12:00:03")
    assert events.look(taken(turning), LIVE) == []


def test_the_other_end_of_ingress(events: Events) -> None:
    one = denied(1, direction="ingress", peer="shop/web", **ran(("dropped", 1)))
    assert (
        "blocked: weather/weather-app-7d9f8-x2x4z:443 from shop/web,"
        in events.look(taken(one), LIVE)[0]
    )


def test_a_connection_that_never_was_isnt_lost() -> None:
    events = Events()
    lost = replace(LIVE, phase="lost", message="connection refused", retry_in=3.0)
    told = "12:00:00 no connection yet: relay:4245: connection refused; it is tried again by itself"
    assert events.look(Snapshot(), lost) == [DAY, told]
    assert events.look(Snapshot(), LIVE) == ["12:00:00 connected: relay:4245, 2 nodes"]
    assert events.look(Snapshot(), lost) == [told.replace("no connection yet", "connection lost")]
    assert events.look(Snapshot(), LIVE) == ["12:00:00 connected again: relay:4245, 2 nodes"]
    ended = replace(LIVE, phase="ended")
    assert events.look(Snapshot(), ended) == ["12:00:00 end of relay:4245"]


def test_each_of_several_servers(events: Events) -> None:
    servers = (replace(LIVE, where="a"), replace(LIVE, where="b", phase="lost", message="gone"))
    assert [line[9:] for line in events.look(Snapshot(), replace(LIVE, servers=servers))] == [
        "connected: a, 2 nodes",
        "no connection yet: b: gone; it is tried again by itself",
    ]


def test_nodes_and_losses_and_marks(events: Events) -> None:
    changed = replace(
        LIVE, changes=(NodeChange("n\x1b1", "unavailable", NOON / SECOND + 9, "away"),)
    )
    lossy = replace(
        SEEN, lost=(LostTotal("node-2", "PERF_EVENT_RING_BUFFER", 13, NOON + 8 * SECOND),)
    )
    marks = [Seen(NOON + 7 * SECOND, ("weather-egress",))]
    told = events.look(taken(coverage=lossy, dropped=2, forwarded=6), changed, marks)
    assert told == [
        "12:00:07 policies changed: weather-egress",
        "12:00:08 13 events lost on node-2: counts are at least",
        r"12:00:09 node n\x1b1 is unavailable: away",
        "12:01:00 counts from 12:00:00 to 12:01:00: at least 2 dropped, 6 forwarded, 25.0% dropped",
    ]
    assert events.look(taken(coverage=lossy, dropped=2, forwarded=6), changed, marks) == []


def test_the_last_look_tells_the_counts_whenever_they_were_told(events: Events) -> None:
    assert events.look(taken(forwarded=1), LIVE)[-1].endswith(
        "0 dropped, 1 forwarded, 0.0% dropped"
    )
    assert events.look(taken(forwarded=2), LIVE) == []
    assert events.look(taken(forwarded=2), LIVE, last=True)[-1].endswith(
        "2 forwarded, 0.0% dropped"
    )


def test_a_new_day_is_said(events: Events) -> None:
    later = denied(1, **ran(("dropped", 86_400)))
    assert events.look(taken(later), LIVE)[0] == "2023-11-16, times are UTC"


def test_a_file_is_told_to_its_end() -> None:
    capture = next((ROOT / "tests" / "data" / "captures").rglob("*.json*"))
    done = flowwatch("--plain", "--input-file", capture)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d\d:\d\d:\d\d end of ", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout


def test_staged_policies_arent_left_aside_without_a_word() -> None:
    capture = next((ROOT / "tests" / "data" / "captures").rglob("*.json*"))
    done = flowwatch("--plain", "--staged", "x.yaml", "--input-file", capture)
    assert done.returncode == 2
    assert "--plain tells nothing of --staged: flowwatch whatif -f FILE does" in done.stderr


def test_what_the_demo_tells() -> None:
    done = flowwatch("demo", "--plain", "--speed", "60", "--duration", "10s")
    assert done.returncode == 0
    told = done.stdout
    assert re.search(
        r"blocked: weather/weather-app \(3 pods\) to telemetry\.skydata\.example:443, POLICY_DENIED, "
        r"default deny · weather-egress, forwarded until \d\d:\d\d:\d\d\n",
        told,
    )
    assert "policies changed: weather/weather-egress" in told
    assert "lost on demo/node-2: counts are at least" in told
    assert re.search(r"counts from [\d:]+ to [\d:]+: at least [\d,]+ dropped, [^\n]*\n\Z", told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_counts(tmp_path: Path, number: int) -> None:
    with DemoServer("127.0.0.1:0", speed=30) as server, subprocess.Popen(
        [sys.executable, "-m", "flowwatch", "--plain", "--server", server.address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=clean_environment(str(tmp_path)),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        while "connected" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert " counts from " in out.splitlines()[-1]
    assert len(err.splitlines()) == 1


def test_a_dumb_terminal_gets_lines_without_being_asked(tmp_path: Path) -> None:
    env = clean_environment(str(tmp_path)) | {"TERM": "dumb"}
    command = [sys.executable, "-m", "flowwatch", "demo", "--speed", "60", "--duration", "5s"]
    with Terminal(command, env=env) as terminal:
        seen = ""
        end = time.monotonic() + 60
        while terminal.pump(0.1) and time.monotonic() < end:
            seen = terminal.screen.text
        assert terminal.wait(60) == 0
        assert "\x1b" not in seen
        assert not terminal.screen.colors
        assert not terminal.screen.modes
