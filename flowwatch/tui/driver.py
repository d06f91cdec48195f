"""The terminal as the dashboard's driver: bytes that are no text, and a terminal that goes away.

Textual's own decodes what is typed strictly, as UTF-8, and ends the program on a byte that isn't; a
terminal that is closed leaves its threads dead or spinning. Here such bytes are read in the encoding
of the locale, replaced where they are none of it, and a lost terminal is a hang-up.
"""

from __future__ import annotations

import codecs
import io
import os
import selectors
import signal
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Resize
from textual.message import Message

from flowwatch.output.base import write_all
from flowwatch.output.standard import PLAIN_ERRORS, terminal_stream

READ = 4096
"""Bytes taken at once: a paste comes in pieces."""

LARGEST = 2000
"""Columns, and lines, of a screen."""

EVERY = 0.1
"""Seconds after which a lone escape is the key Escape, and the end is noticed."""


class TerminalDriver(LinuxDriver):
    """Reads what is typed, and writes the screen, on terminals of any encoding."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        self._screen = Screen(self._hung_up)
        self._file = cast(Any, self._screen)
        self._begun: Callable[[], None] = partial(cast(Any, app).feed.let_pass, True)

    def run_input_thread(self) -> None:
        """Textual's, but for how it decodes, and how it ends."""
        encoding = sys.__stdin__.encoding if sys.__stdin__ is not None else "utf-8"
        typed = Typed(encoding, self._debug)
        try:
            with selectors.SelectSelector() as selector:
                selector.register(self.fileno, selectors.EVENT_READ)
                while not self.exit_event.is_set():
                    if selector.select(EVERY):
                        data = _read(self.fileno)
                        if not data:
                            self._hung_up()
                            break
                        self._begun()
                        self._process(typed.feed(data))
                    self._process(typed.tick())
            self._process(typed.end())
        except Exception as error:  # noqa: BLE001 - raised when the app has ended
            self._app.call_later(self._app._handle_exception, error)

    def _process(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.process_message(message)

    def _hung_up(self) -> None:
        """The terminal is gone, and nobody could say so: SIGHUP is ignored."""
        self._app.call_later(self._app.exit, 128 + signal.SIGHUP)

    def give_up(self) -> None:
        """End the threads after the app was broken off: else the process would wait for them."""
        self._screen.gone = True
        self.exit_event.set()


class Typed:
    """What a terminal sends, as Textual's messages.

    Textual's parser fails on sequences of the right shape and with impossible numbers, and takes an
    empty text for the end. Here such a sequence costs itself alone.
    """

    def __init__(self, encoding: str, debug: bool = False) -> None:
        self._decode = codecs.getincrementaldecoder(encoding)("replace").decode
        self._debug = debug
        self._parser = XTermParser(debug)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that end in ``data``."""
        found: list[Message] = []
        for letter in self._decode(data):
            found += self._taken(self._parser.feed(letter))
        return found

    def tick(self) -> list[Message]:
        """Those that no more is waited for."""
        return self._taken(self._parser.tick())

    def end(self) -> list[Message]:
        """Those of what was begun, as nothing more will come."""
        return self._taken(self._parser.feed(""))

    def _taken(self, messages: Iterable[Message]) -> list[Message]:
        found: list[Message] = []
        try:
            found.extend(messages)
        except Exception:  # noqa: BLE001 - of whichever kind: the sequence is none
            before, self._parser = self._parser, XTermParser(self._debug)
            for name in _KEPT:
                setattr(self._parser, name, getattr(before, name))
        return [message for message in found if _can_be(message)]


_KEPT = ("last_x", "last_y", "mouse_pixels", "terminal_size", "terminal_pixel_size")
"""What Textual's parser knows of the terminal."""


def _can_be(message: Message) -> bool:
    """Whether a terminal is as large as it says: all of a screen's cells are held in memory."""
    return not isinstance(message, Resize) or (
        0 < message.size.width <= LARGEST and 0 < message.size.height <= LARGEST
    )


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, READ)
    except OSError:
        # EIO: the terminal was closed.
        return b""


class Screen:
    """The file that Textual's writing thread writes to; it goes on when the terminal has gone."""

    def __init__(self, hung_up: Callable[[], None]) -> None:
        stream = terminal_stream()
        encoding = stream.encoding if stream is not None else "utf-8"
        self.gone = stream is None
        self._hung_up = hung_up
        self._descriptor = stream.fileno() if stream is not None else -1
        self._encode = codecs.getincrementalencoder(encoding)(PLAIN_ERRORS).encode
        self._held = bytearray()

    def write(self, text: str) -> None:
        """Hold ``text`` until :meth:`flush`."""
        self._held += self._encode(text)

    def flush(self) -> None:
        """Write all that is held; nothing when the terminal is gone."""
        data = bytes(self._held)
        self._held.clear()
        if self.gone:
            return
        try:
            write_all(io.FileIO(self._descriptor, "wb", closefd=False), data)
        except OSError:
            self.gone = True
            self._hung_up()

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return not self.gone
