"""Run a program in a pseudo-terminal, as a person at a keyboard would, and measure how it feels.

    with Terminal([sys.executable, "-m", "flowwatch", ...], columns=120, lines=40) as terminal:
        terminal.wait_for(lambda screen: "live" in screen.text, 5.0)
        result = measure(terminal, keys="jjkk", seconds=10.0)
        print(result.p95_ms, result.cpu_share, result.bytes_per_second)

The screen is kept by a small emulator of our own: it knows what Textual writes (cursor moves, text,
erasing; styles are skipped), and answers the questions that a terminal is asked. Linux only, as CPU
time is read from /proc. Used by the benchmarks and by the smoke tests of the dashboard.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from flowwatch.report.human import width

_TOKEN = re.compile(
    r"\x1b\[(?P<private>[<=>?]?)(?P<numbers>[0-9;:]*)(?P<middle>[ -/]*)(?P<final>[@-~])"
    r"|\x1b\](?P<osc>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|\x1b[PX^_].*?\x1b\\"
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f])"
    r"|(?P<text>[^\x00-\x1f\x7f]+)",
    re.DOTALL,
)


class Screen:
    """The characters on a terminal's screen, and what was asked of the terminal."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.cells = [[" "] * columns for _ in range(lines)]
        self.modes: dict[str, bool] = {}
        """Private modes by number: ``1049`` the alternate screen, ``25`` the cursor, ``1000`` …"""
        self.colors: set[str] = set()
        """The SGR sequences' numbers that were used, as ``38;5;203``."""
        self.clipboard = ""
        """What OSC 52 put there, still in base64."""
        self.frames = 0
        """Updates that were sent as one (mode 2026)."""
        self.answers: list[bytes] = []
        self.background = b"0000/0000/0000"
        """Told to those who ask by OSC 11; empty: no answer."""
        self._x = self._y = 0
        self._margins = 0, lines
        self._rest = ""

    @property
    def rows(self) -> list[str]:
        """The lines, without the spaces at their end."""
        return ["".join(line).rstrip() for line in self.cells]

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    def feed(self, data: str) -> None:
        """Take in what the program wrote."""
        data, self._rest = self._rest + data, ""
        place = 0
        while place < len(data):
            match = _TOKEN.match(data, place)
            if match is None:
                # An escape sequence that isn't complete yet.
                self._rest = data[place:]
                return
            place = match.end()
            if match["text"] is not None:
                self._write(match["text"])
            elif match["final"] is not None:
                self._csi(match["private"], match["numbers"], match["middle"], match["final"])
            elif match["osc"] is not None:
                self._osc(match["osc"])
            elif match["control"] is not None:
                self._control(match["control"])

    def _write(self, text: str) -> None:
        for char in text:
            size = width(char)
            if size == 0 or self._x >= self.columns or self._y >= self.lines:
                continue
            self.cells[self._y][self._x] = char
            if size == 2 and self._x + 1 < self.columns:
                self.cells[self._y][self._x + 1] = ""
            self._x += size

    def _control(self, char: str) -> None:
        if char == "\n":
            self._y = min(self._y + 1, self.lines - 1)
            # The terminal's line discipline (ONLCR) sends a return with it.
        elif char == "\r":
            self._x = 0
        elif char == "\b":
            self._x = max(self._x - 1, 0)

    def _csi(self, private: str, numbers: str, middle: str, final: str) -> None:
        values = [int(n) if n else 0 for n in re.split("[;:]", numbers)] if numbers else []
        first = values[0] if values else 0
        if private == "?" and final in "hl":
            for value in values:
                self.modes[str(value)] = final == "h"
                self.frames += value == 2026 and final == "h"
        elif private == "?" and middle == "$" and final == "p":
            known = 2 if first == 2026 else 0
            self.answers.append(f"\x1b[?{first};{known}$y".encode())
        elif private:
            return
        elif final == "H":
            self._y = min(max(first, 1), self.lines) - 1
            self._x = min(max(values[1] if len(values) > 1 else 1, 1), self.columns) - 1
        elif final == "r":
            self._margins = max(first, 1) - 1, values[1] if len(values) > 1 else self.lines
            self._x = self._y = 0
        elif final in "LM":
            self._shift(max(first, 1), down=final == "L")
        elif final == "m":
            self.colors.add(numbers)
        elif final == "c":
            self.answers.append(b"\x1b[?62;22c")
        elif final == "J" and first == 2:
            self.cells = [[" "] * self.columns for _ in range(self.lines)]
        elif final == "K":
            self.cells[self._y][self._x :] = [" "] * (self.columns - self._x)

    def _shift(self, count: int, *, down: bool) -> None:
        """Insert or delete lines where the cursor is, within the margins."""
        first, end = self._y, self._margins[1]
        blank = [[" "] * self.columns for _ in range(count)]
        moved = self.cells[first:end]
        moved = blank + moved[:-count] if down else moved[count:] + blank
        self.cells[first:end] = moved[: end - first]

    def _osc(self, text: str) -> None:
        number, _, value = text.partition(";")
        if number == "11" and value == "?" and self.background:
            self.answers.append(b"\x1b]11;rgb:" + self.background + b"\x1b\\")
        elif number == "52":
            self.clipboard = value.partition(";")[2]


class Terminal:
    """A program running in a terminal of the given size."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        columns: int = 80,
        lines: int = 24,
        env: Mapping[str, str] | None = None,
        background: bytes = b"0000/0000/0000",
    ) -> None:
        """``env`` is added to ours; ``TERM`` is xterm-256color unless it says otherwise."""
        self.screen = Screen(columns, lines)
        self.screen.background = background
        self.received = 0
        """Bytes that the program has written."""
        self.status: int | None = None
        """The exit code, or minus the signal, once the program has ended."""
        self.started = time.monotonic()
        environ = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **(env or {})}
        for name in ("COLUMNS", "LINES", "TMUX", "COLORFGBG"):
            if name not in (env or {}):
                environ.pop(name, None)
        sys.stdout.flush()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
                os.execvpe(argv[0], list(argv), environ)
            finally:
                os._exit(127)
        self.before = termios.tcgetattr(self._fd)
        """The settings of the terminal before the program changed them."""

    def settings(self) -> list[object]:
        """The settings of the terminal now."""
        return termios.tcgetattr(self._fd)

    def pump(self, timeout: float = 0.0) -> bool:
        """Take in what the program has written, waiting at most ``timeout``; False at its end."""
        if self._fd < 0:
            time.sleep(timeout)
            return False
        if not select.select([self._fd], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self._fd, 65_536)
        except OSError:
            # EIO: the other side of the pseudo-terminal is closed.
            return False
        if not data:
            return False
        self.received += len(data)
        self.screen.feed(self._decoded(data))
        for answer in self.screen.answers:
            os.write(self._fd, answer)
        self.screen.answers.clear()
        return True

    _undecoded = b""

    def _decoded(self, data: bytes) -> str:
        data = self._undecoded + data
        for end in range(len(data), max(len(data) - 4, 0) - 1, -1):
            try:
                text = data[:end].decode("utf-8")
            except UnicodeDecodeError:
                continue
            self._undecoded = data[end:]
            return text
        self._undecoded = b""
        return data.decode("utf-8", "replace")

    def press(self, keys: str | bytes) -> None:
        """Send keys as the terminal would: ``j``, ``\\x1b[B`` …; bytes of one that isn't UTF-8."""
        os.write(self._fd, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, columns: int, lines: int) -> None:
        """Make the window another size, which is empty until it is painted."""
        before = self.screen
        self.screen = Screen(columns, lines)
        self.screen.background, self.screen.modes = before.background, before.modes
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)

    def mouse(self, x: int, y: int, to: tuple[int, int] | None = None) -> None:
        """Click at a cell (from 0 on), or drag from it to another one: as xterm reports it (SGR, 1006)."""
        self.press(f"\x1b[<0;{x + 1};{y + 1}M")
        if to is not None:
            self.press(f"\x1b[<32;{to[0] + 1};{to[1] + 1}M")
            x, y = to
        self.press(f"\x1b[<0;{x + 1};{y + 1}m")

    def close(self) -> None:
        """Close the terminal's window."""
        os.close(self._fd)
        self._fd = -1

    def wait_for(self, there: Callable[[Screen], bool], timeout: float = 5.0) -> float:
        """Seconds until ``there`` holds; TimeoutError, with the screen in it, if it never does."""
        began = time.monotonic()
        while not there(self.screen):
            left = timeout - (time.monotonic() - began)
            if left <= 0 or not self.pump(min(left, 0.05)):
                if there(self.screen):
                    break
                raise TimeoutError(f"not within {timeout} s; the screen:\n{self.screen.text}")
        return time.monotonic() - began

    def run_for(self, seconds: float) -> None:
        """Let time pass, taking in what is written."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self.pump(left):
            pass

    def cpu_seconds(self) -> float:
        """User and system time that the program (its threads included) has used so far."""
        with open(f"/proc/{self.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float = 5.0) -> int:
        """The exit code (minus the signal that killed it), once it has ended."""
        until = time.monotonic() + timeout
        while self.status is None:
            self.pump(0.02)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                while self._fd >= 0 and select.select([self._fd], [], [], 0)[0] and self.pump():
                    pass
            elif time.monotonic() > until:
                raise TimeoutError(f"still running after {timeout} s:\n{self.screen.text}")
        return self.status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self._fd >= 0:
            os.close(self._fd)


@dataclass(slots=True)
class Feel:
    """How a program felt over some seconds."""

    seconds: float
    latencies_ms: list[float] = field(default_factory=list)
    """From each key press to the change it makes."""
    cpu_share: float = 0.0
    """Of one core."""
    bytes_per_second: float = 0.0
    frames_per_second: float = 0.0

    @property
    def median_ms(self) -> float:
        return statistics.median(self.latencies_ms)

    @property
    def p95_ms(self) -> float:
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) * 95 // 100, len(ordered) - 1)]


def cursor_row(screen: Screen, sign: str = "▌") -> int:
    """The line that the table's cursor is in, -1 if it isn't seen."""
    return next((y for y, cells in enumerate(screen.cells) if cells[0] == sign), -1)


def under_cursor(screen: Screen) -> tuple[int, str]:
    """That line, and the names in it (numbers change by themselves): what ``j`` changes."""
    y = cursor_row(screen)
    return y, "".join(screen.cells[y][24 : screen.columns * 2 // 3])


def measure(
    terminal: Terminal,
    keys: str = "jjkk",
    seconds: float = 10.0,
    every: float = 0.13,
    mark: Callable[[Screen], object] = under_cursor,
    first: str = "jjjjjjjj",
) -> Feel:
    """Press ``keys`` in turn, one each ``every`` seconds, and time the change of ``mark`` each makes.

    ``first`` is pressed before, so that no key is without effect. Also CPU and bytes over the whole
    time, the keys' work included.
    """
    for key in first:
        terminal.press(key)
        terminal.run_for(every)
    cost = Costs(terminal)
    began = time.monotonic()
    feel = Feel(0.0)
    number = 0
    while time.monotonic() - began < seconds:
        before = mark(terminal.screen)
        pressed = time.monotonic()
        terminal.press(keys[number % len(keys)])
        number += 1
        took = terminal.wait_for(lambda screen, old=before: mark(screen) != old, 5.0)  # type: ignore[misc]
        feel.latencies_ms.append(took * 1000)
        terminal.run_for(max(every - (time.monotonic() - pressed), 0.0))
    return cost.told(feel)


class Costs:
    """What a program costs from now on."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal, self._began = terminal, time.monotonic()
        self._before = self._now()

    def _now(self) -> tuple[float, int, int]:
        terminal = self._terminal
        return terminal.cpu_seconds(), terminal.received, terminal.screen.frames

    def told(self, feel: Feel) -> Feel:
        """``feel`` with what it has cost by now."""
        feel.seconds = time.monotonic() - self._began
        feel.cpu_share, feel.bytes_per_second, feel.frames_per_second = (
            (now - before) / feel.seconds
            for now, before in zip(self._now(), self._before, strict=True)
        )
        return feel
