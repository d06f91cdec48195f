"""Journeys through a terminal as a person would make them, counted in keys.

A key is one press; what is typed after ``:`` counts letter by letter, with enter. ``fg`` after ctrl-z is in
test_terminal.py, a resize under load against the real server in tests/interop/test_dashboard_load.py.
"""

from __future__ import annotations

import base64
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flowwatch.demo.server import DemoServer
from tests.benchmarks.pty_driver import Screen, Terminal, cursor_row
from tests.command import flowwatch
from tests.material import OWN

PATIENCE = 60.0
DEMO = (sys.executable, "-m", "flowwatch", "demo")


class Person:
    """Someone at a terminal who looks before each key."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.keys = 0

    @property
    def screen(self) -> Screen:
        return self.terminal.screen

    def press(self, *keys: str) -> None:
        for key in keys:
            self.keys += 1
            self.terminal.press(key)

    def type(self, text: str) -> None:
        self.press(*text)

    def sees(self, *texts: str) -> None:
        """Wait until all of ``texts`` (regular expressions) are on the screen."""
        self.until(lambda screen: all(re.search(one, screen.text) for one in texts))

    def until(self, there: Callable[[Screen], bool]) -> None:
        self.terminal.wait_for(lambda _: there(self.screen), PATIENCE)

    def place(self, text: str) -> tuple[int, int]:
        """Where ``text`` stands on the screen, its first cell."""
        y, line = next((y, line) for y, line in enumerate(self.screen.rows) if text in line)
        return line.index(text), y

    def dropped(self) -> int:
        """The figure in the headline."""
        found = re.search(r"✗ (?:at least )?([\d,]+)(?: of [\d,]+)? dropped", self.screen.text)
        return int(found[1].replace(",", "")) if found else -1


@contextmanager
def person(
    tmp_path: Path,
    *argv: str,
    columns: int = 80,
    lines: int = 24,
    first: str = "weather-app",
    **env: str,
) -> Iterator[Person]:
    """Someone who started it, and sees its rows: ``first`` is what was dropped most."""
    own = {"XDG_CACHE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), **env}
    with Terminal(argv or DEMO, columns=columns, lines=lines, env=own) as terminal:
        someone = Person(terminal)
        someone.until(lambda screen: cursor_row(screen) >= 0)
        # The past in the ring is read.
        someone.sees(rf"▌✗ .*{first}")
        yield someone
        terminal.press("\x03\x03")
        assert terminal.wait(PATIENCE) == 0


def test_the_cause_of_the_drops_is_one_key_away(tmp_path: Path) -> None:
    with person(tmp_path) as someone:
        someone.press("\r")
        someone.sees(
            "POLICY_DENIED",
            r"default deny of\s+weather/weather-egress",
            r"none of their\s+rules allows",
        )
        assert someone.keys == 1


def test_the_policy_opens_at_its_line_by_two_keys(tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text('#!/bin/sh\necho "PAGED $*"\nexec sleep 1\n')
    pager.chmod(pager.stat().st_mode | stat.S_IXUSR)
    given = tmp_path / "given.yaml"
    given.write_text(flowwatch("demo", "--print-policy=all").stdout)
    argv = (*DEMO, "--policies", str(given))
    with person(tmp_path, *argv, columns=120, lines=40, PAGER=str(pager)) as someone:
        someone.press("\r")
        someone.sees(r"File +\S*given\.yaml:27 \(o opens it\)")
        someone.press("o")
        someone.sees(r"PAGED \+27 \S*given\.yaml")
        assert someone.keys == 2
        # The pager is left, and the dashboard is back.
        someone.until(lambda screen: screen.modes["1049"])


def test_what_the_policy_changed_is_one_key_away(tmp_path: Path) -> None:
    with person(tmp_path, columns=120, lines=40) as someone:
        someone.press("c")
        someone.sees(
            "weather/weather-egress came into force",
            r"CUT +weather/weather-app → telemetry\.skydata\.example:443",
            r"CUT +weather/weather-app → api\.github\.com:443",
        )
        assert someone.keys == 1


def test_who_else_reaches_a_destination_is_one_key_away(tmp_path: Path) -> None:
    with person(tmp_path, columns=120, lines=40) as someone:
        someone.press("3")
        someone.sees(
            r"DESTINATION .*WHO TALKS TO IT", r"telemetry\.skydata\.example:443 .*weather-app"
        )
        assert someone.keys == 1


def test_one_namespace_is_ns_and_its_name(tmp_path: Path) -> None:
    with person(tmp_path) as someone:
        someone.type(":ns shop")
        someone.press("\r")
        someone.sees(r"/ns:=shop")
        someone.until(lambda screen: "weather-app" not in screen.text and "frontend" in screen.text)
        assert someone.keys == len(":ns shop") + 1


def test_a_ticket_is_one_key_away(tmp_path: Path) -> None:
    with person(tmp_path) as someone:
        someone.press("Y")
        someone.until(lambda screen: bool(screen.clipboard))
        text = base64.b64decode(someone.screen.clipboard).decode()
        assert text.startswith("### `✗ weather/weather-app (3 pods) → ")
        for part in (
            "**Window**",
            "default deny of weather/weather-egress",
            "**Commands**",
            "**Packets**",
        ):
            assert part in text
        assert someone.keys == 1


def test_pause_look_back_and_resume(tmp_path: Path) -> None:
    with person(tmp_path) as someone:
        someone.press("p")
        someone.sees("PAUSED", "behind")
        held = someone.dropped()
        someone.press("[")
        # A minute that ends half a minute before now: others than all that was read.
        someone.sees(r"\d\d:\d\d:\d\d-\d\d:\d\d:\d\d")
        someone.until(lambda _: -1 < someone.dropped() < held)
        someone.press("L")
        someone.sees("last 1m")
        someone.until(lambda screen: "PAUSED" not in screen.text)
        someone.press("W", "W", "W")
        someone.until(lambda _: someone.dropped() >= held)
        assert someone.keys == 6


def test_a_server_that_is_lost_and_returns_costs_no_key(tmp_path: Path) -> None:
    with DemoServer() as server:
        address = server.address
        argv = (sys.executable, "-m", "flowwatch", "--server", address)
        with person(tmp_path, *argv, columns=120, lines=40) as someone:
            someone.sees("live")
            seen = someone.dropped()
            server.stop()
            someone.sees("LOST")
            assert someone.dropped() >= seen, "what was read is still there"
            with DemoServer(address):
                someone.until(lambda screen: "LOST" not in screen.text and "live" in screen.rows[0])
                someone.until(lambda _: someone.dropped() >= seen)
            assert someone.keys == 0


def test_the_mouse_alone_goes_everywhere(tmp_path: Path) -> None:
    with person(tmp_path, columns=120, lines=40) as someone:
        terminal = someone.terminal
        _, first = someone.place("▌✗")
        terminal.mouse(40, first + 2)
        someone.until(lambda screen: cursor_row(screen) == first + 2)
        name = re.split(r"  +", someone.screen.rows[first + 2])[5].split(":")[0]
        terminal.mouse(*someone.place("4 Policies"))
        someone.sees(r"\[4 Policies\]", r"POLICY +KIND")
        terminal.mouse(*someone.place("1 Edges"))
        someone.sees(r"\[1 Edges\]", re.escape(name[:8]))
        # The timeline: its later half as a window, by a drag.
        _, bars = someone.place("✗ dropped max")
        terminal.mouse(70, bars, (110, bars))
        someone.sees("L goes back to now", "━")
        someone.sees(r"\d\d:\d\d:\d\d-\d\d:\d\d:\d\d")
        assert someone.keys == 0


def test_ingress_is_one_key_away(tmp_path: Path) -> None:
    with person(tmp_path) as someone:
        someone.press("i")
        someone.until(lambda screen: screen.rows[0].rstrip().endswith("ingress by drops"))
        someone.sees(r"POD.* PEER")
        assert someone.keys == 1


def test_names_are_hidden_for_a_screenshot_by_one_key_and_shown_by_one_more(tmp_path: Path) -> None:
    with person(tmp_path, columns=120, lines=40) as someone:
        seen = someone.dropped()
        someone.press("N")
        someone.sees("server-1.*names hidden", r"▌✗ .*ns-\d+/app-\d+ ×3 +name-\d+\.example:443")
        assert not re.search(r"weather|telemetry|github|127\.0\.0", someone.screen.text)
        assert someone.dropped() >= seen, "counts go on"
        someone.press("N")
        someone.sees(r"▌✗ .*weather-app ×3 +telemetry")
        assert someone.keys == 2


def test_last_night_is_an_hour_back_by_one_key(tmp_path: Path) -> None:
    records = Path(tmp_path, "night.jsonl")
    told = (OWN / "captures" / "weather.jsonl").read_text(encoding="utf-8")
    hours = [
        told.replace("T17:", f"T{hour}:").replace('uuid":"', f'uuid":"{hour}') for hour in (21, 23)
    ]
    records.write_text("".join(hours), encoding="utf-8")
    kept = str(tmp_path / "kept")
    assert flowwatch("record", "--input-file", str(records), "--to", kept).returncode == 0
    argv = (sys.executable, "-m", "flowwatch", "--history", kept)
    with person(tmp_path, *argv, first="") as someone:
        someone.sees("complete")
        both = someone.dropped()
        someone.press("{")
        someone.sees(r"23:00:00-00:00:00")
        someone.until(lambda _: 0 < someone.dropped() < both)
        someone.press("{")
        someone.sees(r"21:00:00-22:00:00")
        someone.until(lambda _: 0 < someone.dropped() < both)
        someone.press("L", "W")
        someone.until(lambda _: someone.dropped() == both)
        assert someone.keys == 4
