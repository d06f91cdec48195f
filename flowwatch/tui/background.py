"""Ask the terminal for its background colour, while the program still loads.

The question (OSC 11) goes out first, the answer is read when everything is imported, half a second
later: nobody waits for it. Behind it goes a question that every terminal answers (DA1), so that one
that doesn't know OSC 11 is not waited for either.
"""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import time
from collections.abc import Mapping
from typing import Any

from flowwatch.output.standard import terminal_stream

_QUESTION = b"\x1b]11;?\x1b\\\x1b[c"
_COLOR = re.compile(rb"\x1b\]11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})")
_LAST = re.compile(rb"\x1b\[\?[0-9;]*c")

_MUTE = ("linux", "dumb", "vt100", "vt220", "")
"""Terminals (TERM) that are not asked: their consoles can't say, or would show the question."""


class Background:
    """One question to the terminal. Use :meth:`ask`, then :meth:`answer` once, whatever happens."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._before: list[Any] | None = None
        self.unanswered = False
        """After :meth:`answer`: an answer may still come, and would look like keys."""

    def ask(self) -> None:
        """Send the question, if standard input and output are a terminal that knows it."""
        stdin, screen = sys.__stdin__, terminal_stream()
        if stdin is None or screen is None or not stdin.isatty():
            return
        if self._environ.get("TERM", "") in _MUTE or self._environ.get("NO_COLOR"):
            return
        try:
            before = termios.tcgetattr(stdin.fileno())
            raw = list(before)
            # Neither echoed nor held back until the end of a line.
            raw[3] = raw[3] & ~(termios.ECHO | termios.ICANON)
            self._before = before
            termios.tcsetattr(stdin.fileno(), termios.TCSANOW, raw)
            os.write(screen.fileno(), _QUESTION)
        except (termios.error, OSError):
            self._restore()

    def answer(self, patience: float = 0.15) -> str:
        """``dark``, ``light``, or "" when the terminal didn't say within ``patience`` seconds."""
        if self._before is None:
            return ""
        try:
            received = self._read(patience)
        finally:
            self._restore()
        self.unanswered = not _LAST.search(received)
        found = _COLOR.search(received)
        return shade(*found.groups()) if found else ""

    def _read(self, patience: float) -> bytes:
        stdin = sys.__stdin__
        if stdin is None:
            return b""
        received = b""
        until = time.monotonic() + patience
        while not _LAST.search(received):
            left = until - time.monotonic()
            if left <= 0 or not select.select([stdin.fileno()], [], [], left)[0]:
                break
            data = os.read(stdin.fileno(), 1024)
            if not data:
                break
            received += data
        return received

    def _restore(self) -> None:
        stdin, before = sys.__stdin__, self._before
        self._before = None
        if stdin is not None and before is not None:
            try:
                termios.tcsetattr(stdin.fileno(), termios.TCSANOW, before)
            except termios.error:
                # The terminal is gone; whoever writes to it next finds out.
                return


def shade(red: bytes, green: bytes, blue: bytes) -> str:
    """``dark`` or ``light`` for a colour in one to four hexadecimal digits a channel."""
    r, g, b = (int(channel, 16) / (16 ** len(channel) - 1) for channel in (red, green, blue))
    # Rec. 709 weights, on the stored values: near enough for a choice of two.
    return "light" if 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.5 else "dark"
