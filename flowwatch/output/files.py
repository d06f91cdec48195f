"""Where results go: standard output or a file, never half a file.

    with open_output(path) as out:        # path: a file's name; None or "-" for standard output
        out.write("text\n")

A regular file is written aside, in the same directory, and takes its name only when everything is on
the disk; an older file of that name keeps its content until then, and on an error for good. Devices
and pipes (``/dev/stdout``, ``/dev/fd/3``, a FIFO) are written directly, as nothing else works there.

A temporary file is called ``.NAME.flowwatch-0123abcd.tmp`` and locked while it is written. One that a
killed process has left is removed by the next that writes into the directory.

When the reader of standard output goes away (``flowwatch export | head``),
:class:`flowwatch.output.base.ClosedPipe` is raised: the program should end without a word.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import stat
import sys
import time
from types import TracebackType
from typing import BinaryIO, cast

from flowwatch.errors import OutputError
from flowwatch.output.base import Output, cannot_write, drop
from flowwatch.output.forms import Form, form_of
from flowwatch.output.standard import standard_output
from flowwatch.text import safe

ABANDONED = 86_400.0
"""Seconds after which a file that can't be locked (some network file systems) is nobody's any more."""

_OURS = re.compile(r"\..*\.flowwatch-[0-9a-f]{8}\.tmp", re.DOTALL)

_underway: set[str] = set()
"""Temporary files that exist, or are about to."""


def open_output(path: str | None, form: str = "csv", *, private: bool = False) -> Output:
    """The output for ``path``; OutputError with one clear line when it can't be opened.

    Args:
        path: None, ``-`` and ``/dev/stdout`` are standard output.
        form: the format, by the name that ``-o`` has for it; those that aren't data are text for people.
        private: whether a new file is its owner's alone to read.
    """
    how = form_of(form)
    if path is None or path in ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        return standard_output(how)
    name = safe(path)
    if not path:
        raise OutputError("no file name given to write to", "name a file, or - for standard output")
    try:
        descriptor = _descriptor(path)
        if descriptor is not None:
            if descriptor == 2 and sys.stderr is None:
                raise OutputError(f"can't write {name}: it is closed")
            return _Direct(cast(BinaryIO, os.fdopen(os.dup(descriptor), "wb")), name, how)
        # A link keeps pointing where it points: the file it names is replaced.
        target = os.path.realpath(path)
        mode = _mode(target)
        if path.endswith("/") or (mode is not None and stat.S_ISDIR(mode)):
            raise OutputError(f"can't write {name}: it is a directory", "name a file in it")
        if mode is not None and not stat.S_ISREG(mode):
            return _Direct(cast(BinaryIO, open(target, "wb")), name, how)
        if mode is not None and not os.access(target, os.W_OK):
            raise OutputError(f"can't write {name}: Permission denied")
        if mode is None:
            mode = 0o600 if private else 0o666 & ~_umask()
        return _Aside(target, name, stat.S_IMODE(mode))
    except OSError as error:
        raise cannot_write(name, error) from error


def _descriptor(path: str) -> int | None:
    """The number in ``/dev/fd/3``, ``/proc/self/fd/3``, ``/dev/stderr``; None for other names."""
    if path == "/dev/stderr":
        return 2
    for prefix in ("/dev/fd/", "/proc/self/fd/"):
        number = path.removeprefix(prefix)
        if number != path and number.isascii() and number.isdecimal():
            # No process has as many; a larger number is none to the system.
            return min(int(number[:10]), 2**31 - 1)
    return None


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


class _Direct(Output):
    """A device, a pipe, an open descriptor: what is written is gone."""

    def __init__(self, file: BinaryIO, name: str, form: Form) -> None:
        super().__init__(file, name)
        self._form = form

    def write(self, text: str) -> None:
        super().write(self._form.broken_up(text))

    def _abandon(self) -> None:
        drop(self._file)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            drop(self._file)
            return
        try:
            self._file.close()
        except OSError as problem:
            raise self._failed(problem) from problem


class _Aside(Output):
    """A regular file, under a temporary name until it is complete."""

    def __init__(self, target: str, name: str, mode: int) -> None:
        directory, base = os.path.split(target)
        _sweep(directory)
        self._temporary, descriptor = _create(directory, base)
        super().__init__(cast(BinaryIO, os.fdopen(descriptor, "wb")), name)
        self._target = target
        try:
            os.fchmod(descriptor, mode)
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
            # Still open, so still locked: nobody takes it for a leftover.
            os.replace(self._temporary, self._target)
            _underway.discard(self._temporary)
            self._file.close()
        except OSError as problem:
            self._discard()
            raise cannot_write(self.name, problem) from problem
        _sync_directory(os.path.dirname(self._target))

    def _discard(self) -> None:
        drop(self._file)
        _forget(self._temporary)


def _create(directory: str, base: str) -> tuple[str, int]:
    """A new temporary file, locked as long as it is open, and its descriptor."""
    # A name has 255 bytes at most; what can't be decoded stays as it is.
    shown = os.fsdecode(os.fsencode(base)[:100])
    while True:
        path = os.path.join(directory, f".{shown}.flowwatch-{os.urandom(4).hex()}.tmp")
        # Noted before it is there: a signal may come in between.
        _underway.add(path)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            _underway.discard(path)
            if isinstance(error, FileExistsError):
                continue
            raise
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Another flowwatch may have taken it for a leftover before it was locked.
        if os.path.exists(path):
            return path, descriptor
        os.close(descriptor)
        _underway.discard(path)


def _forget(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
    _underway.discard(path)


@atexit.register
def clean() -> None:
    """Remove what is half-written: before the end, however it came about."""
    for path in list(_underway):
        _forget(path)


def _sweep(directory: str) -> None:
    """Remove what a flowwatch that was killed has left in ``directory``.

    Only files with our mark, of this user, that no process holds. It is no matter if that fails.
    """
    with contextlib.suppress(OSError), os.scandir(directory or ".") as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_if_stale(entry)


def _remove_if_stale(entry: os.DirEntry[str]) -> None:
    about = entry.stat(follow_symlinks=False)
    if about.st_uid != os.geteuid():
        return
    descriptor = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if _abandoned(descriptor, about):
            os.unlink(entry.path)
    finally:
        os.close(descriptor)


def _abandoned(descriptor: int, about: os.stat_result) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - about.st_mtime > ABANDONED
    return True


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
