"""The terminal as it was, however the dashboard ended."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
from types import TracebackType
from typing import Any, Self

from flowwatch import signals
from flowwatch.output.standard import terminal_stream

_LEAVE = (
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l"  # no reports of the mouse
    "\x1b[?2004l\x1b[?1004l\x1b[?2048l"  # nor of pastes, focus, sizes
    "\x1b[<u\x1b[?7h\x1b[?1049l\x1b[?25h"  # keys, wrapping, the screen and the cursor
)
"""What undoes all that Textual asks of a terminal (its Linux driver, stop_application_mode)."""


class Restored:
    """After the block the terminal's settings are those before it.

    What is on the screen is the business of who put it there, unless the block is left by an
    exception: then the screen before comes back, too. No signal comes in between.
    """

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        stdin = sys.__stdin__
        if stdin is not None:
            with contextlib.suppress(termios.error, ValueError, OSError):
                self._before = termios.tcgetattr(stdin.fileno())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with signals.deferred(), contextlib.suppress(termios.error, ValueError, OSError):
            stdin, screen = sys.__stdin__, terminal_stream()
            if stdin is not None and self._before is not None:
                termios.tcsetattr(stdin.fileno(), termios.TCSADRAIN, self._before)
            if error is not None and screen is not None:
                os.write(screen.fileno(), _LEAVE.encode("ascii"))
