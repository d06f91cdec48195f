"""Standard output and standard error, whatever they are: closed, full, a pipe, not UTF-8.

Texts for people go out in the encoding of the locale (PYTHONIOENCODING), with our own signs as ASCII
where it has none; data is UTF-8 everywhere but on a terminal that speaks something else, which would
take some of its bytes for commands.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import IO, BinaryIO, TextIO, cast

from flowwatch.errors import OutputError
from flowwatch.output.base import Output, cannot_write, flush_all, write_all
from flowwatch.output.forms import Form, form_of
from flowwatch.redact import redact
from flowwatch.text import escaped

STDOUT = "standard output"

_PLAIN = {
    "…": "...", "→": "->", "←": "<-", "⇒": "=>", "↑": "^", "↓": "v", "×": "x", "·": ".",
    "✓": "+", "✗": "x", "–": "-", "—": "-", "−": "-", "─": "-", "│": "|", "├": "|", "└": "`",
}  # fmt: skip
"""Our own signs for an encoding that hasn't got them. Any other character is shown by its number."""


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    cut = error.object[error.start : error.end]
    return "".join([_PLAIN.get(char) or escaped(char) for char in cut]), error.end


PLAIN_ERRORS = "flowwatch.plain"
"""For codecs: how to encode what an encoding hasn't got."""
codecs.register_error(PLAIN_ERRORS, _plain)


def plug() -> None:
    """Open what is closed of descriptors 0 to 2 on nothing: else the next file opened would be one.

    ``sys.stdout`` and the others stay None, so that :func:`put` can say that it is closed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one.
            os.open(os.devnull, os.O_RDWR)


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except ValueError:
        return False


def terminal_stream() -> TextIO | None:
    """The one of the program's own standard error and output that is a terminal, if any."""
    for stream in (sys.__stderr__, sys.__stdout__):
        if stream is not None and not stream.closed and stream.isatty():
            return stream
    return None


def columns() -> int:
    """Of the terminal that standard output is; 0 when it is none: as wide as it comes."""
    if not is_terminal():
        return 0
    import shutil  # with the archives' modules: 4 ms and more, a tenth of `--help` in a pipe

    return shutil.get_terminal_size().columns


def shows(text: str) -> bool:
    """Whether standard output's encoding has these characters."""
    try:
        text.encode(_encoding(sys.stdout))
    except UnicodeError:
        return False
    return True


def put(text: str, form: str = "text") -> None:
    """Write ``text`` (whole lines) to standard output, now. Raises OutputError, ClosedPipe."""
    with standard_output(form_of(form)) as out:
        out.write(text)


LONGEST = 2000
"""Characters of a line that is said: names in it, a server's or a file's, may be of any length."""


def say(line: str) -> None:
    """One line to the user, beside the result. Where nobody can hear it, it is lost."""
    if len(line) > LONGEST:
        line = line[:LONGEST] + "…"
    StandardError().write(f"flowwatch: {line}\n")


class StandardError:
    """Standard error as a Writer that never fails: no result depends on what is said there."""

    @property
    def is_terminal(self) -> bool:
        """Whether somebody may look at it."""
        try:
            return sys.stderr is not None and sys.stderr.isatty()
        except ValueError:
            return False

    def write(self, text: str) -> None:
        """Write at once what can be written."""
        stream = sys.stderr
        if stream is None:
            return
        text = form_of("text").broken_up(redact(text))
        try:
            stream.flush()
            binary = getattr(stream, "buffer", None)
            if binary is None:
                stream.write(text)
            else:
                write_all(binary, _encoder("standard error", _encoding(stream))(text))
                flush_all(binary)
        except (OSError, ValueError):
            divert(stream)


def standard_output(form: Form) -> Output:
    """Standard output for results of this form. Raises OutputError when there is none."""
    stdout: TextIO | None = sys.stdout
    if stdout is None or stdout.closed:
        raise OutputError(f"can't write {STDOUT}: it is closed")
    binary = getattr(stdout, "buffer", None)
    if binary is None:
        return _Text(stdout)
    try:
        stdout.flush()
    except OSError as error:
        divert(stdout)
        raise cannot_write(STDOUT, error) from error
    return _Stdout(stdout, binary, form)


class _Stdout(Output):
    """Standard output, which stays open."""

    def __init__(self, stdout: TextIO, binary: BinaryIO, form: Form) -> None:
        super().__init__(binary, STDOUT)
        local = form.words or is_terminal()
        encoding = _encoding(stdout) if local else "utf-8"
        self._encode = _encoder(STDOUT, encoding)
        self._form = form

    def write(self, text: str) -> None:
        self.write_bytes(self._encode(self._form.broken_up(text)))

    def _abandon(self) -> None:
        divert(sys.stdout)


class _Text(Output):
    """A ``sys.stdout`` that was replaced by something which takes text only (``io.StringIO``)."""

    def __init__(self, text: TextIO) -> None:
        super().__init__(cast(BinaryIO, text), STDOUT)
        self._text = text

    def write(self, text: str) -> None:
        self._text.write(text)

    def write_bytes(self, data: bytes) -> None:
        self._text.write(data.decode("utf-8", "backslashreplace"))

    @property
    def binary(self) -> BinaryIO:
        raise OutputError("this output takes text only", "name a file to write to")


@cache
def _encoder(stream: str, encoding: str) -> Callable[[str], bytes]:
    """One for all that goes to a stream: UTF-16 begins with a mark, which must come once."""
    return codecs.getincrementalencoder(encoding)(PLAIN_ERRORS).encode


def _encoding(stream: IO[str] | None) -> str:
    """The encoding of a stream, if Python has it."""
    name = getattr(stream, "encoding", None) or "ascii"
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "ascii"


def finish() -> None:
    """Before the end: what a library left in ``sys.stdout`` is written. Raises OutputError."""
    if sys.stdout is not None and not sys.stdout.closed:
        with standard_output(form_of("text")):
            pass


def divert(stream: IO[str]) -> None:
    """Let what is still buffered for a standard stream go nowhere.

    Else the interpreter tries to write it once more at its end, and complains about that.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
