"""Where results go: standard output or a file, never half a file.

    with open_output(path) as out:        # path: a file's name; None or "-" for standard output
        out.write("text\n")

A regular file is written aside, in the same directory, and takes its name only when everything is on
the disk; an older file of that name keeps its content until then, and on an error for good. Devices
and pipes (``/dev/stdout``, ``/dev/fd/3``, a FIFO) are written directly, as nothing else works there.

When the reader of standard output goes away (``flowwatch export | head``), :class:`ClosedPipe` is
raised: the program should end without a word, with exit code 141, which is what shells report for
``hubble``, ``kubectl`` and the coreutils in that place (128 + SIGPIPE).
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from types import TracebackType
from typing import IO, BinaryIO, Protocol, Self, TextIO, cast

from flowwatch.errors import OutputError
from flowwatch.text import safe

STDOUT = "standard output"


class Writer(Protocol):
    """What formats write text to: an :class:`Output`, ``sys.stderr``, ``io.StringIO`` …"""

    def write(self, text: str, /) -> object: ...


class ClosedPipe(OutputError):
    """Nobody reads our output any more. Not an error to print: end quietly with ``exit_code``."""

    exit_code = 141


class Output:
    """Text or bytes on their way to one target. UTF-8, whatever the locale; lines end in ``\\n``."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        """For messages; safe to print."""
        self._file = file

    def write(self, text: str) -> None:
        """Write text; OutputError when it can't be, ClosedPipe when nobody reads it."""
        self.write_bytes(text.encode("utf-8", "backslashreplace"))

    def write_bytes(self, data: bytes) -> None:
        """Write bytes; errors as with :meth:`write`."""
        try:
            written = self._file.write(data)
            # With PYTHONUNBUFFERED standard output is raw, and takes what fits into the pipe.
            while written is not None and written < len(data):
                data = data[written:]
                written = self._file.write(data)
        except OSError as error:
            raise self._failed(error) from error

    def flush(self) -> None:
        """Hand over to the system what was written so far: for live output, batch by batch."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    @property
    def binary(self) -> BinaryIO:
        """The file itself, for libraries that want one. Its OSErrors: see :meth:`translate`."""
        return self._file

    def translate(self, error: OSError) -> OutputError:
        """The OutputError (or ClosedPipe) for what a library met on :attr:`binary`."""
        return self._failed(error)

    def keep_as_partial(self) -> None:
        """Say that the result will be incomplete, but worth keeping; before the end of the block.

        A file then gets the name ``NAME.partial``, and :attr:`name` says so. What goes to standard
        output or a device is there already.
        """

    def _failed(self, error: OSError) -> OutputError:
        self._abandon()
        if isinstance(error, BrokenPipeError):
            return ClosedPipe(f"nobody reads {self.name} any more")
        return _cannot_write(self.name, error)

    def _abandon(self) -> None:
        """Make sure that nothing tries to write the rest once more when the program ends."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.flush()


def open_output(path: str | None) -> Output:
    """The output for ``path``; OutputError with one clear line when it can't be opened.

    None, ``-`` and ``/dev/stdout`` are standard output.
    """
    if path is None or path in ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        return _standard_output()
    name = safe(path)
    if not path:
        raise OutputError("no file name given to write to", "name a file, or - for standard output")
    try:
        descriptor = _descriptor(path)
        if descriptor is not None:
            return _Direct(cast(BinaryIO, os.fdopen(os.dup(descriptor), "wb")), name)
        # A link keeps pointing where it points: the file it names is replaced.
        target = os.path.realpath(path)
        mode = _mode(target)
        if path.endswith("/") or (mode is not None and stat.S_ISDIR(mode)):
            raise OutputError(f"can't write {name}: it is a directory", "name a file in it")
        if mode is not None and not stat.S_ISREG(mode):
            return _Direct(cast(BinaryIO, open(target, "wb")), name)
        if mode is not None and not os.access(target, os.W_OK):
            raise OutputError(f"can't write {name}: Permission denied")
        return _Aside(target, name, mode)
    except OSError as error:
        raise _cannot_write(name, error) from error


def _cannot_write(name: str, error: OSError) -> OutputError:
    return OutputError(f"can't write {name}: {error.strerror or error}")


def _descriptor(path: str) -> int | None:
    """The number in ``/dev/fd/3``, ``/proc/self/fd/3``, ``/dev/stderr``; None for other names."""
    if path == "/dev/stderr":
        return 2
    for prefix in ("/dev/fd/", "/proc/self/fd/"):
        number = path.removeprefix(prefix)
        if number != path and number.isascii() and number.isdecimal():
            return int(number)
    return None


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


class _Direct(Output):
    """A device, a pipe, an open descriptor: what is written is gone."""

    def _abandon(self) -> None:
        _drop(self._file)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            _drop(self._file)
            return
        try:
            self._file.close()
        except OSError as problem:
            raise self._failed(problem) from problem


def _drop(file: IO[bytes]) -> None:
    """Close ``file`` whether or not its last bytes can be written."""
    with contextlib.suppress(OSError, ValueError):
        file.close()


class _Aside(Output):
    """A regular file, under a temporary name until it is complete."""

    def __init__(self, target: str, name: str, mode: int | None) -> None:
        directory, base = os.path.split(target)
        descriptor, self._temporary = tempfile.mkstemp(
            prefix=f".{base[:100]}.", suffix=".tmp", dir=directory
        )
        super().__init__(cast(BinaryIO, os.fdopen(descriptor, "wb")), name)
        self._target = target
        try:
            os.fchmod(descriptor, stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
        except OSError:
            self._discard()
            raise

    def keep_as_partial(self) -> None:
        if not self._target.endswith(".partial"):
            self._target += ".partial"
            self.name += ".partial"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._discard()
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._temporary, self._target)
        except OSError as problem:
            self._discard()
            raise _cannot_write(self.name, problem) from problem
        _sync_directory(os.path.dirname(self._target))

    def _discard(self) -> None:
        _drop(self._file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._temporary)


def _umask() -> int:
    # There is no way to read it but to set it; nothing else of ours makes files meanwhile.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_directory(path: str) -> None:
    """Make the new name last; some file systems can't, and the content is safe either way."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _standard_output() -> Output:
    stdout: TextIO | None = sys.stdout
    if stdout is None:
        raise OutputError(f"can't write {STDOUT}: it is closed")
    binary = getattr(stdout, "buffer", None)
    if binary is None:
        return _Text(stdout)
    try:
        stdout.flush()
    except OSError as error:
        _divert(stdout)
        raise _cannot_write(STDOUT, error) from error
    return _Stdout(binary, STDOUT)


class _Stdout(Output):
    """Standard output, which stays open."""

    def _abandon(self) -> None:
        _divert(sys.stdout)


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


def _divert(stdout: TextIO) -> None:
    """Let what is still buffered for standard output go nowhere.

    Else the interpreter tries to write it once more at its end, and complains about that.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stdout.fileno())
        os.close(nowhere)
