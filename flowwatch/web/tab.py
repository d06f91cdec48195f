"""A tab's program: it has a pseudo-terminal of its own, and ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import Sequence

IN_BROWSER = "FLOWWATCH_IN_BROWSER"
"""The variable that tells the program that no shell is behind it."""

READ = 65_536
"""Bytes taken at once."""

UNREAD = 1 << 20
"""Bytes typed that the program may leave unread; what is typed after these is lost."""

GRACE = 3.0
"""Seconds in which a program may end by itself once its terminal is gone."""

LARGEST = 1000
"""Columns, and lines."""

# A session's leader takes the terminal that it is given: then a resize and a hang-up reach the editor
# that it starts as well. -P: nothing is loaded from the folder that it runs in.
_START = (
    "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "from flowwatch.__main__ import main; sys.exit(main())"
)


class Tab:
    """``flowwatch WORDS`` in a terminal."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int) -> None:
        self._process = process
        self._terminal = terminal
        self._reader = asyncio.StreamReader(limit=READ)
        self._ways: list[asyncio.BaseTransport] = []
        self._typed: asyncio.WriteTransport | None = None

    @classmethod
    async def open(cls, words: Sequence[str], columns: int, lines: int) -> Tab:
        """Start it. Raises OSError when there is no process or terminal to be had."""
        terminal, end = pty.openpty()
        try:
            _resize(terminal, columns, lines)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", _START, *words),
                stdin=end,
                stdout=end,
                stderr=end,
                start_new_session=True,
                env=_environment(),
            )
        except BaseException:
            os.close(terminal)
            raise
        finally:
            os.close(end)
        tab = cls(process, terminal)
        await tab._connect()
        return tab

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._reader),
            os.fdopen(os.dup(self._terminal), "rb", 0),
        )
        self._typed, _ = await loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(os.dup(self._terminal), "wb", 0)
        )
        self._ways = [reading, self._typed]

    async def read(self) -> bytes:
        """The next that it writes; nothing when it has ended."""
        try:
            return await self._reader.read(READ)
        except OSError:
            # EIO: nobody has the other end open.
            return b""

    def type(self, text: str) -> None:
        """Hand it what was typed."""
        if self._typed is not None and self._typed.get_write_buffer_size() < UNREAD:
            self._typed.write(text.encode("utf-8", "replace"))

    def resize(self, columns: int, lines: int) -> None:
        """Tell it of another size."""
        if self._terminal >= 0:
            _resize(self._terminal, columns, lines)

    async def end(self) -> None:
        """Take its terminal away, and wait until it is gone."""
        for way in self._ways:
            if isinstance(way, asyncio.WriteTransport):
                way.abort()
            else:
                way.close()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        with contextlib.suppress(ProcessLookupError):
            # It may run in the background of a shell that let SIGHUP be ignored.
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), GRACE)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()


def _resize(terminal: int, columns: int, lines: int) -> None:
    size = [min(max(number, 1), LARGEST) for number in (lines, columns)]
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))


def _environment() -> dict[str, str]:
    """What it is told of its terminal: the page's, not that which we were started from."""
    left_out = ("COLUMNS", "LINES", "TMUX", "COLORFGBG", "SSH_TTY", "SSH_CONNECTION", TOKEN)
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"TERM": "xterm-256color", "COLORTERM": "truecolor", IN_BROWSER: "1"}


TOKEN = "FLOWWATCH_TOKEN"
"""The variable that holds the page's token, which is no business of its program."""
