"""What all outputs have in common: whole writes, and one clear line when one fails."""

from __future__ import annotations

import contextlib
import select
from types import TracebackType
from typing import IO, BinaryIO, Protocol, Self

from flowwatch.errors import OutputError


class Writer(Protocol):
    """What formats write text to: an :class:`Output`, ``io.StringIO`` …"""

    def write(self, text: str, /) -> object: ...


class ClosedPipe(OutputError):
    """Nobody reads our output any more. Not an error to print: end quietly with ``exit_code``.

    141 (128 + SIGPIPE) is what shells report for ``hubble``, ``kubectl`` and the coreutils there.
    """

    exit_code = 141


class Output:
    """Text or bytes on their way to one target. UTF-8, if not said otherwise; lines end in ``\\n``."""

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
            write_all(self._file, data)
        except OSError as error:
            raise self._failed(error) from error

    def flush(self) -> None:
        """Hand over to the system what was written so far: for live output, batch by batch."""
        try:
            flush_all(self._file)
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
        return cannot_write(self.name, error)

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
        if error is None:
            self.flush()
            return
        # What came before goes out; that it can't is the lesser news.
        with contextlib.suppress(OutputError):
            self.flush()


def cannot_write(name: str, error: OSError) -> OutputError:
    """The error for a target that is full, gone, forbidden …"""
    return OutputError(f"can't write {name}: {error.strerror or error}")


def write_all(file: IO[bytes], data: bytes) -> None:
    """Write every byte, to raw files and to those that don't block, too. Raises OSError."""
    while data:
        try:
            written = file.write(data)
        except BlockingIOError as error:
            # Buffered, and whoever shares the terminal or pipe with us made it non-blocking.
            data = data[error.characters_written :]
            _wait_for_room(file)
            continue
        if written is None:
            # The same, unbuffered (PYTHONUNBUFFERED).
            _wait_for_room(file)
        else:
            data = data[written:]


def flush_all(file: IO[bytes]) -> None:
    """Flush, however long it takes a non-blocking target to have room. Raises OSError."""
    while True:
        try:
            file.flush()
        except BlockingIOError:
            _wait_for_room(file)
        else:
            return


def _wait_for_room(file: IO[bytes]) -> None:
    select.select([], [file], [])


def drop(file: IO[bytes]) -> None:
    """Close ``file`` whether or not its last bytes can be written."""
    with contextlib.suppress(OSError, ValueError):
        file.close()
