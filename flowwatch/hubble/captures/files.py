"""Capture files as records: each a complete JSON object as bytes, in the order of the file.

Read are JSON lines (``hubble observe -o json``, the agent's export files), one JSON array over many
lines, objects printed over many lines, and any mixture of them, also as log pipelines keep them
(:mod:`flowwatch.hubble.captures.unwrapping`); plain, gzip (told by its first
bytes, never by the name), UTF-8 with or without a mark, and UTF-16 as Windows' shell writes it.
Memory is bounded by :data:`RECORD_LIMIT` whatever the input; what isn't a record is counted.

A record is not looked into here. That is the business of whoever reads them.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from flowwatch.errors import InputError, UsageError
from flowwatch.hubble.captures.splitting import RECORD_LIMIT, RecordSplitter
from flowwatch.hubble.captures.unpack import unpack
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.hubble.captures.unwrapping import Found

BLOCK = 96 * 1024
"""Bytes asked for at once: about 80 flows, which stay in the processor's cache while they are read."""

UNREAD_LIMIT = 1000
"""Pieces of what was passed over that are held until they are taken."""

WRAPPINGS = 20
"""Different things that records were unwrapped from, counted each; the rest share one count."""

_IDLE_SECONDS = 0.1

_TERMINALS = frozenset({4, 5, *range(136, 144)})
"""Majors of their devices: Linux, Documentation/admin-guide/devices.txt."""

_T = TypeVar("_T")


class Chunk(Generic[_T]):
    """What one block of the input held: ``decoded`` by the caller's fast path, or else ``records``."""

    __slots__ = ("decoded", "ended", "problem", "records")

    def __init__(self, decoded: _T | None, records: list[bytes], ended: str | None = None) -> None:
        self.decoded = decoded
        self.records = records
        self.ended = ended
        """Name of the file that this is the last of; None amid one."""
        self.problem: InputError | None = None
        """For the caller to set with the last of a file, if nothing in it could be read."""


class CaptureReader:
    """Reads captures one after the other, once.

    ``paths`` are files, FIFOs, or ``-`` for standard input. The constructor looks whether each can
    be opened, so that a mistyped name is told before any work; InputError or UsageError otherwise.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        limit: int = RECORD_LIMIT,
        stdin: BinaryIO | None = None,
        keep: bool = False,
    ) -> None:
        """``keep``: whether what is passed over is to be had from :meth:`take_unread`."""
        self.paths = [os.fspath(path) for path in paths]
        self.skipped: dict[str, int] = {}
        """What was passed over so far, by reason; see :func:`take_skipped`."""
        self.unwrapped: dict[str, int] = {}
        """Records that were taken out of something else so far, by what that was."""
        self.problems: list[InputError] = []
        """Files that could not be read to their end."""
        self._limit = limit
        self._keep = self._kept if keep else None
        self._unread: list[tuple[str, bytes]] = []
        self._stdin = stdin
        self._closed = False
        self._size: int | None = 0
        """Bytes of all files; None where it isn't known, as of a pipe."""
        self._taken = 0
        if self.paths.count("-") > 1:
            raise UsageError("standard input can be read only once")
        for path in self.paths:
            self._look_at(path)

    @property
    def where(self) -> str:
        """The input as a view names it; not made safe."""
        names = [_name(path) for path in self.paths]
        return names[0] if len(names) == 1 else f"{len(names)} files"

    @property
    def progress(self) -> float | None:
        """How much of the files' bytes has been read, 0 to 1; None when nobody knows how many there are."""
        return self._taken / self._size if self._size else None

    def close(self) -> None:
        """End :meth:`chunks` soon: after the present block, or within 0.1 s on a silent pipe."""
        self._closed = True

    def take_skipped(self) -> dict[str, int]:
        """What was passed over since the last call, by reason."""
        taken, self.skipped = self.skipped, {}
        return taken

    @property
    def closed(self) -> bool:
        """Whether it was to end before all was read."""
        return self._closed

    def notes(self) -> list[str]:
        """Which files of folders were left out, in sentences; complete at the end."""
        return []

    def begins(self) -> list[int]:
        """When files of folders begin, those that weren't read too (ns since 1970; 0: not known)."""
        return []

    def take_unwrapped(self) -> dict[str, int]:
        """What was unwrapped since the last call, by what it was in; not made safe."""
        taken, self.unwrapped = self.unwrapped, {}
        return taken

    def unwrap(self, record: bytes) -> list[bytes]:
        """The records inside of one that is none itself; they are counted."""
        from flowwatch.hubble.captures.unwrapping import unwrap

        return self._counted(unwrap(record))

    def _unwrap_line(self, line: bytes) -> list[bytes]:
        from flowwatch.hubble.captures.unwrapping import unwrap_line

        return self._counted(unwrap_line(line))

    def _counted(self, found: list[Found]) -> list[bytes]:
        known = self.unwrapped
        for where, _ in found:
            key = where if where in known or len(known) < WRAPPINGS else "other fields"
            known[key] = known.get(key, 0) + 1
        return [record for _, record in found]

    def take_unread(self) -> list[tuple[str, bytes]]:
        """What of that was no record, since the last call: why, and its beginning (64 KiB)."""
        taken, self._unread = self._unread, []
        return taken

    def _kept(self, reason: str, data: bytes) -> None:
        if len(self._unread) < UNREAD_LIMIT:
            self._unread.append((reason, data))

    def chunks(self, fast: Callable[[bytes], _T | None]) -> Iterator[Chunk[_T]]:
        """Yield the input in pieces of about :data:`BLOCK`.

        ``fast`` gets whole lines and answers with what it made of them, or None when they aren't
        what it can take; only then they are looked at one by one and come as ``records``. An empty
        chunk comes about ten times a second while a pipe is silent. Raises InputError at the end
        when a file could not be read to its end, or the caller found a problem with it; all that was
        readable has been yielded by then.
        """
        for path in self.paths:
            if self._closed:
                return
            yield from self._chunks(path, fast)
        if self.problems:
            more = len(self.problems) - 1
            first = self.problems[0]
            raise InputError(f"{first}; and {more} more such files") if more else first

    def _chunks(self, path: str, fast: Callable[[bytes], _T | None]) -> Iterator[Chunk[_T]]:
        """One of the paths; why it can't be read to its end is among the problems then."""
        splitter = RecordSplitter(self._limit, self.skipped_by, self._keep, self._unwrap_line)
        carry: list[bytes] = []
        whole = True
        try:
            for block in unpack(self._blocks(path), safe(path)):
                if self._closed:
                    return
                yield self._take(block, carry, splitter, fast)
        except InputError as error:
            whole = False
            self.problems.append(error)
        except OSError as error:
            whole = False
            self.problems.append(
                InputError(f"cannot read {safe(path)} to its end", error.strerror or str(error))
            )
        rest = b"".join(carry)
        decoded = fast(rest) if splitter.idle and rest.strip() else None
        if decoded is not None:
            end = Chunk(decoded, [], _name(path))
        else:
            end = Chunk(None, splitter.feed(rest) + splitter.finish(), _name(path))
        yield end
        if end.problem is not None and whole:
            self.problems.append(end.problem)

    def skipped_by(self, reason: str) -> None:
        """Count one thing passed over because of ``reason``."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def _take(
        self,
        block: bytes,
        carry: list[bytes],
        splitter: RecordSplitter,
        fast: Callable[[bytes], _T | None],
    ) -> Chunk[_T]:
        if not block:
            return Chunk(None, [])
        # `carry` is an unfinished line; it is joined only once, so that long lines cost no more.
        if not splitter.idle:
            return Chunk(None, splitter.feed(block))
        end = block.rfind(b"\n") + 1
        if not end:
            carry.append(block)
            # No line of JSON lines is this long in practice: let the splitter, which is bounded
            # and reads arrays on one line, go on.
            if sum(map(len, carry)) < 16 * BLOCK:
                return Chunk(None, [])
            lines, rest = b"".join(carry), b""
            carry.clear()
            return Chunk(None, splitter.feed(lines))
        lines, rest = b"".join((*carry, block[:end])), block[end:]
        carry.clear()
        decoded = fast(lines)
        if decoded is not None:
            if rest:
                carry.append(rest)
            return Chunk(decoded, [])
        records = splitter.feed(lines)
        if splitter.idle:
            if rest:
                carry.append(rest)
        else:
            records += splitter.feed(rest)
        return Chunk(None, records)

    def _blocks(self, path: str) -> Iterator[bytes]:
        """Raw bytes; b"" when there was nothing to read for a tenth of a second (pipes only)."""
        if path == "-":
            yield from self._read(self._standard_input())
            return
        with open(path, "rb", buffering=0) as file:
            yield from self._read(file)

    def _read(self, file: BinaryIO) -> Iterator[bytes]:
        descriptor = _descriptor(file)
        regular = descriptor is None or _is_regular(descriptor)
        while not self._closed:
            if descriptor is None:
                block = file.read(BLOCK)
            elif regular or select.select([descriptor], [], [], _IDLE_SECONDS)[0]:
                # Gives what is there; file.read would wait for a full block on a pipe.
                block = os.read(descriptor, BLOCK)
            else:
                yield b""
                continue
            if not block:
                return
            self._taken += len(block)
            yield block

    def _standard_input(self) -> BinaryIO:
        if self._stdin is not None:
            return self._stdin
        if sys.stdin is None or sys.stdin.closed:
            raise InputError("standard input is closed", "name a file, or pipe flows in")
        return sys.stdin.buffer

    def _look_at(self, path: str) -> None:
        """Raise when it can't be read."""
        if path == "-":
            self._size = None
            stdin = self._standard_input()
            descriptor = _descriptor(stdin)
            if descriptor is not None and os.isatty(descriptor):
                raise UsageError(
                    "standard input is a terminal",
                    "pipe flows in, as in: hubble observe -o json | flowwatch summary --input-file -",
                )
            if descriptor is not None:
                _refuse_device(os.fstat(descriptor), "standard input")
            return
        try:
            status = os.stat(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise InputError(f"cannot read {safe(path)}", reason or str(error)) from None
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{safe(path)} is a directory", "name the capture files in it")
        _refuse_device(status, path)
        if self._size is not None:
            self._size = self._size + status.st_size if stat.S_ISREG(status.st_mode) else None
        if not os.access(path, os.R_OK):
            raise InputError(f"cannot read {safe(path)}", "permission denied")


def _name(path: str) -> str:
    """A file as a view names it; not made safe."""
    return "standard input" if path == "-" else os.path.basename(path)


def _refuse_device(status: os.stat_result, name: str) -> None:
    """Raise for what has no end: ``/dev/zero``, ``/dev/full``, a disk."""
    kind = status.st_mode
    if not (stat.S_ISCHR(kind) or stat.S_ISBLK(kind)):
        return
    if status.st_rdev == os.stat(os.devnull).st_rdev or _is_terminal(status):
        return
    raise InputError(f"{safe(name)} is a device, not a file", "name a capture, or pipe flows in")


def _is_terminal(status: os.stat_result) -> bool:
    """Whether it is one of the kinds of terminal that Linux has (/dev/tty, consoles, pty)."""
    return os.major(status.st_rdev) in _TERMINALS and stat.S_ISCHR(status.st_mode)


def _descriptor(file: BinaryIO) -> int | None:
    try:
        return file.fileno()
    except (OSError, AttributeError):
        return None


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)
