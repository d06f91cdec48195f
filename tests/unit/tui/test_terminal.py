"""The dashboard as a program in a real pseudo-terminal, on the demo's embedded server."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from flowwatch.demo.server import DemoServer
from tests.benchmarks.pty_driver import Terminal, cursor_row
from tests.command import ROOT
from tests.unit.audits.hostile import record, request

PATIENCE = 20.0
DEMO = [sys.executable, "-m", "flowwatch", "demo", "--speed", "30"]
_COLOUR = re.compile(r"(^|;)(3[0-8]|4[0-8]|9[0-7]|10[0-7])(;|$)")
"""SGR parameters that choose a colour; 39 and 49 choose none."""


@contextmanager
def demo(
    tmp_path: Path,
    *,
    columns: int = 80,
    lines: int = 24,
    env: Mapping[str, str] | None = None,
    background: bytes = b"0000/0000/0000",
) -> Iterator[Terminal]:
    """``flowwatch demo`` with its first rows on the screen."""
    own = {"XDG_CACHE_HOME": str(tmp_path), "NO_COLOR": "", "COLORTERM": "", **(env or {})}
    with Terminal(DEMO, columns=columns, lines=lines, env=own, background=background) as terminal:
        sign = ">" if own.get("TERM") == "linux" else "▌"
        terminal.wait_for(lambda screen: cursor_row(screen, sign) >= 0, PATIENCE)
        yield terminal


def restored(terminal: Terminal) -> bool:
    """Whether the terminal is as it was: its settings, screen, cursor, and no mouse reports."""
    modes = terminal.screen.modes
    return (
        terminal.settings() == terminal.before
        and not modes.get("1049", False)
        and modes.get("25", True)
        and not any(modes.get(mode, False) for mode in ("1000", "1002", "1003", "1006", "2004"))
    )


def test_the_demo_needs_no_flags_to_say_what_its_policies_blocked(tmp_path: Path) -> None:
    with demo(tmp_path) as terminal:
        terminal.press("A")
        terminal.wait_for(lambda screen: "AS EXPECTED" in screen.text, PATIENCE)
        terminal.press("q")
        terminal.press("\r")
        terminal.wait_for(
            lambda screen: (
                re.search(r"Policy +(default deny of|denied by)", screen.text) is not None
            ),
            PATIENCE,
        )
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 0


def test_q_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    with demo(tmp_path) as terminal:
        assert terminal.screen.modes["1049"]
        assert not terminal.screen.modes["25"]
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 0
        assert restored(terminal)


def test_a_window_that_ends_is_read_to_its_end_and_stands_in_the_first_line() -> None:
    """The server goes on; what came after the window's end isn't asked for."""
    words = [sys.executable, "-m", "flowwatch", "--theme", "mono", "--until", "60s", "--server"]
    with (
        DemoServer() as server,
        Terminal([*words, server.address], columns=100, lines=24) as terminal,
    ):
        terminal.wait_for(lambda screen: "complete  --until 60s" in screen.rows[0], PATIENCE)
        terminal.run_for(0.5)  # the rest of that frame
        seen = terminal.screen.rows[1:6]
        terminal.run_for(3.0)
        assert terminal.screen.rows[1:6] == seen
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 0


def test_fg_after_ctrl_z_paints_all_of_the_screen(tmp_path: Path) -> None:
    with demo(tmp_path) as terminal:
        # How far the ring is read is told in a pause, too.
        terminal.wait_for(lambda screen: "live" in screen.rows[0], PATIENCE)
        terminal.press("p")
        terminal.wait_for(lambda screen: "PAUSED" in screen.rows[0], PATIENCE)
        terminal.run_for(0.5)
        before = terminal.screen.rows
        terminal.press("\x1a")
        terminal.wait_for(lambda screen: not screen.modes["1049"], PATIENCE)
        stopped_by(terminal, PATIENCE)
        terminal.screen.cells = [[" "] * 80 for _ in range(24)]
        terminal.signal(signal.SIGCONT)
        # The second line of figures tells ages, which go on in a pause.
        kept = [*before[:2], *before[3:-1]]
        terminal.wait_for(lambda screen: [*screen.rows[:2], *screen.rows[3:-1]] == kept, PATIENCE)
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 0
        assert restored(terminal)


def stopped_by(terminal: Terminal, seconds: float) -> None:
    """Wait until the program is stopped, as a shell does; its threads are, too."""
    end = time.monotonic() + seconds
    while os.waitpid(terminal.pid, os.WNOHANG | os.WUNTRACED) == (0, 0):
        assert time.monotonic() < end
        terminal.pump(0.02)


def test_ctrl_c_twice_quits(tmp_path: Path) -> None:
    with demo(tmp_path) as terminal:
        terminal.press("\x03")
        terminal.wait_for(lambda screen: "ctrl-c again to quit" in screen.text, PATIENCE)
        terminal.press("\x03")
        assert terminal.wait(PATIENCE) == 0
        assert restored(terminal)


@pytest.mark.parametrize(
    ("number", "word"),
    [(signal.SIGTERM, "terminated"), (signal.SIGHUP, "hung up"), (signal.SIGINT, "interrupted")],
)
def test_a_signal_ends_it_with_the_terminal_restored(
    tmp_path: Path, number: int, word: str
) -> None:
    with demo(tmp_path) as terminal:
        terminal.signal(number)
        assert terminal.wait(PATIENCE) == 128 + number
        assert restored(terminal)
        assert f"flowwatch: {word}" in terminal.screen.text


def test_a_signal_at_any_moment_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    """Before it listens, while it loads, asks for colours, begins to draw, and in the middle."""
    chance = Random(4)
    for _ in range(12):
        number = chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        with Terminal(DEMO, env={"XDG_CACHE_HOME": str(tmp_path)}) as terminal:
            terminal.run_for(chance.random() * 1.5)
            terminal.signal(number)
            # Before Python is there the signal has its way.
            assert terminal.wait(PATIENCE) in (128 + number, -number)
            assert restored(terminal)
            assert "Traceback" not in terminal.screen.text


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_window_ends_it(tmp_path: Path, ignored: bool) -> None:
    """Also where SIGHUP is ignored (nohup): nothing could tell it but the terminal."""
    argv = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *DEMO] if ignored else DEMO
    with Terminal(argv, env={"XDG_CACHE_HOME": str(tmp_path)}) as terminal:
        terminal.wait_for(lambda screen: cursor_row(screen) >= 0, PATIENCE)
        terminal.close()
        assert terminal.wait(PATIENCE) == 128 + signal.SIGHUP


@pytest.mark.parametrize("away", ["2>/dev/null", "2>&-"])
def test_it_is_drawn_where_a_terminal_is(tmp_path: Path, away: str) -> None:
    argv = ["sh", "-c", f'exec "$@" {away}', "sh", *DEMO]
    with Terminal(argv, env={"XDG_CACHE_HOME": str(tmp_path)}) as terminal:
        terminal.wait_for(lambda screen: cursor_row(screen) >= 0, PATIENCE)
        terminal.press("q")
        assert terminal.wait(PATIENCE) == 0
        assert restored(terminal)


@pytest.mark.parametrize(
    ("env", "shown"),
    [
        ({}, "caf\ufffd\ufffdx\ufffdz"),
        ({"PYTHONIOENCODING": "latin-1"}, "caf\xe9\xffx\xe9z"),
        ({"PYTHONIOENCODING": "ascii"}, "caf"),
    ],
    ids=["utf-8", "latin-1", "ascii"],
)
def test_bytes_that_are_no_text_are_replaced(
    tmp_path: Path, env: dict[str, str], shown: str
) -> None:
    """``é`` typed in a Latin-1 terminal is a byte that begins three in UTF-8."""
    with Terminal(DEMO, env={"XDG_CACHE_HOME": str(tmp_path), **env}) as terminal:
        sign = ">" if env else "▌"
        terminal.wait_for(lambda screen: cursor_row(screen, sign) >= 0, PATIENCE)
        for typed in (b"/", b"caf\xe9", b"\xff", b"x\xe9", b"z"):
            terminal.press(typed)
            terminal.run_for(0.1)
        wanted = shown.encode(env.get("PYTHONIOENCODING", "utf-8")).decode("utf-8", "replace")
        terminal.wait_for(lambda screen: wanted in screen.text, PATIENCE)
        for keys in ("\x1b", "q"):
            terminal.press(keys)
            terminal.run_for(0.3)
        assert terminal.wait(PATIENCE) == 0
        assert restored(terminal)


def test_a_pasted_file_of_any_bytes_is_no_end(tmp_path: Path) -> None:
    with demo(tmp_path) as terminal:
        terminal.press("/")
        chance = Random(6)
        for _ in range(40):
            terminal.press(
                b"\x1b[200~" + chance.randbytes(500).replace(b"\x1b", b"") + b"\x1b[201~"
            )
            terminal.run_for(0.02)
        for keys in ("\x1b", "\x1b", "q"):
            terminal.press(keys)
            terminal.run_for(0.3)
        assert terminal.wait(PATIENCE) == 0
        assert restored(terminal)


WRONG = {
    "a key": "shell.Dashboard.ask = wrong",
    "painting": "table.Table.update_from = wrong",
    "the feed's thread": "rows.Rows.answer = wrong",
    "the reading thread": "monitor.LiveMonitor._tick = wrong",
    "an export's thread": "take_away.write_form = wrong",
    "a helper's thread": "polls.Polls.answers = wrong; polls.Polls._run = wrong",
}


@pytest.mark.parametrize("place", WRONG)
@pytest.mark.parametrize("debug", [False, True])
def test_a_defect_of_ours_is_told_as_one(tmp_path: Path, place: str, debug: bool) -> None:
    """Wherever it is: the terminal is restored, and there is one line and exit code 70."""
    program = f"""
import sys
from flowwatch.egress import monitor
from flowwatch.sources import polls
from flowwatch.tui import shell, take_away
from flowwatch.tui.parts import rows, table
from flowwatch.__main__ import main
def wrong(*_, **__):
    raise KeyError("\\x1b[2Jsecret")
{WRONG[place]}
sys.exit(main())
"""
    argv = [sys.executable, "-c", program, "demo", "--speed", "30", "--export-dir", str(tmp_path)]
    argv += ["--debug"] if debug else []
    env = {"XDG_CACHE_HOME": str(tmp_path), "COLUMNS": ""}
    with Terminal(argv, columns=250, lines=60, env=env) as terminal:
        ends = place != "the reading thread"
        if "export" in place:
            terminal.wait_for(lambda screen: cursor_row(screen) >= 0, PATIENCE)
            terminal.press("e")
        elif not ends:
            # What was read stays on the screen, with the reason.
            terminal.wait_for(lambda screen: "a defect of flowwatch" in screen.text, PATIENCE)
            terminal.press("q")
        assert terminal.wait(PATIENCE) == 70
        assert restored(terminal)
        told = terminal.screen.text
        assert "flowwatch: this is a defect of flowwatch, please report: KeyError " in told
        assert ("Traceback" in told) == debug
        assert ("secret" in told) == debug


def test_keys_of_a_real_terminal_are_understood(tmp_path: Path) -> None:
    with demo(tmp_path, columns=100, lines=30) as terminal:
        first = cursor_row(terminal.screen)
        terminal.press("\x1b[B")
        terminal.wait_for(lambda screen: cursor_row(screen) == first + 1, PATIENCE)
        terminal.press("k")
        terminal.wait_for(lambda screen: cursor_row(screen) == first, PATIENCE)
        terminal.press("?")
        terminal.wait_for(lambda screen: "keys and commands" in screen.text, PATIENCE)
        terminal.press("\x1b")
        terminal.wait_for(lambda screen: cursor_row(screen) == first, PATIENCE)


def test_y_copies_the_command_by_osc_52_and_says_so(tmp_path: Path) -> None:
    with demo(tmp_path, columns=140, lines=40) as terminal:
        terminal.press("y")
        terminal.wait_for(lambda screen: "command copied (OSC 52)" in screen.text, PATIENCE)
        copied = base64.b64decode(terminal.screen.clipboard).decode()
        words = shlex.split(copied)
        assert words[:2] == ["hubble", "observe"]
        assert {"--from-pod", "--from-workload"} & set(words)
        # Nobody knows whether the terminal took it, so it is in a file too.
        assert (tmp_path / "flowwatch" / "copied.txt").read_text() == copied + "\n"
        terminal.press("q")
        terminal.wait(PATIENCE)


def test_no_color_means_no_colour_at_all(tmp_path: Path) -> None:
    with demo(tmp_path, env={"NO_COLOR": "1"}) as terminal:
        terminal.run_for(1.0)
        assert not [numbers for numbers in terminal.screen.colors if _COLOUR.search(numbers)]
        # What was dropped is bold, and has its sign.
        assert any("1" in numbers.split(";") for numbers in terminal.screen.colors)
        assert "✗" in terminal.screen.text


@pytest.mark.parametrize(
    ("background", "drop"), [(b"0000/0000/0000", "203"), (b"ffff/ffff/ffff", "124")]
)
def test_the_theme_follows_the_terminals_background(
    tmp_path: Path, background: bytes, drop: str
) -> None:
    with demo(tmp_path, background=background) as terminal:
        terminal.wait_for(lambda screen: "✗" in screen.text, PATIENCE)
        terminal.wait_for(lambda screen: any(f"38;5;{drop}" in n for n in screen.colors), PATIENCE)


def test_the_console_gets_sixteen_colours_and_plain_signs(tmp_path: Path) -> None:
    with demo(tmp_path, env={"TERM": "linux"}) as terminal:
        assert terminal.screen.text.isascii()
        assert "~" in terminal.screen.text
        used = terminal.screen.colors
        assert not [numbers for numbers in used if "38;5" in numbers or "38;2" in numbers]


def test_without_a_terminal_it_says_what_else_to_do() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flowwatch", "--server", "127.0.0.1:1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "the dashboard needs a terminal" in done.stderr
    assert "flowwatch summary" in done.stderr
    assert "Traceback" not in done.stderr


HARD = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: hard, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather}}
  egress:
    - toEntities: [world]
      toPorts:
        - ports: [{port: "80", protocol: TCP}]
          rules: {http: [{path: "/(a|b)*a(a|b){900}c"}, {path: "/((a|b)+)+c"}]}
    - toFQDNs: [{matchPattern: "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"}]
"""


@pytest.mark.parametrize("end", ["q", "ctrl-c", "SIGTERM"])
def test_while_the_audit_is_at_its_hardest_it_answers(end: str, tmp_path: Path) -> None:
    """Texts of one party, expressions of another: a reader that tries all ways would try for years."""
    policy, capture = tmp_path / "hard.yaml", tmp_path / "hard.jsonl"
    policy.write_text(HARD)
    random = Random(1)
    records = [
        request("http://h/" + "".join(random.choices("ab", k=3000)), source_port=20_000 + at)
        for at in range(60)
    ]
    records += [
        record(destination_names=["a" * 200 + str(at)], source_port=30_000 + at) for at in range(60)
    ]
    capture.write_text("".join(json.dumps(one) + "\n" for one in records))
    # Without google-re2, which would have it done at once: another module of its name.
    (tmp_path / "re2.py").touch()
    argv = [sys.executable, "-m", "flowwatch", "--input-file", capture, "--policies", policy]
    own = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with Terminal([str(word) for word in argv], columns=100, lines=24, env=own) as terminal:
        terminal.wait_for(lambda screen: cursor_row(screen, "▌") >= 0, PATIENCE)
        terminal.press("A")
        terminal.wait_for(lambda screen: "judging what was read so far" in screen.text, PATIENCE)
        began = time.monotonic()
        if end == "SIGTERM":
            terminal.signal(signal.SIGTERM)
        elif end == "q":
            # The first closes the audit, the second ends the program.
            terminal.press("q")
            terminal.wait_for(lambda screen: cursor_row(screen, "▌") >= 0, PATIENCE)
            terminal.press("q")
        else:
            terminal.press("\x03")
            terminal.wait_for(lambda screen: "ctrl-c again to quit" in screen.text, PATIENCE)
            terminal.press("\x03")
        assert terminal.wait(PATIENCE) == (128 + signal.SIGTERM if end == "SIGTERM" else 0)
        assert time.monotonic() - began < PATIENCE / 2
        assert restored(terminal)
