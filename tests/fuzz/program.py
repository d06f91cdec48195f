"""The program run in this process, some hundred times a second, and held to what it promises.

Whatever it is given: an exit code of its own, lines that begin with its name on standard error, no
exception in any thread, no thread and no file left behind, and an end. What breaks that is a
:class:`Fault`.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from flowwatch.__main__ import main

CODES = {0, 1, 2, 3, 130}
"""Exit codes that a run may end with; 70 is how flowwatch tells of a defect of its own."""
CPU_LIMIT = 10.0
"""Seconds of processor time for one input: some thousand times what one takes."""
_PYTHON = ("Traceback", "Exception ignored", "Warning: ", '  File "')
"""What nobody but a programmer should see."""
LASTING = ("kubernetes", "asyncio_", "fuzz")
"""Threads that serve the process to its end: the loop of flowwatch.hubble.kube.api, and those in which
it resolves names; and the campaign's own."""
DEFECT = "defect of flowwatch"
"""How flowwatch tells that it didn't foresee something: of a record (flowwatch.errors.defect), or at all."""
LINE = 4000
"""Characters of a line of ours at most."""
LINES = 60
"""Lines on standard error at most."""


WAIT = 90.0
"""Seconds after which it isn't waited for any more."""


class Fault(Exception):
    """A promise that was broken."""


class Stuck(BaseException):
    """An input that took all of CPU_LIMIT, or WAIT; no ``except Exception`` stands in its way."""


@dataclass(frozen=True)
class Ran:
    """What one run left."""

    code: int
    out: bytes
    err: str


@contextlib.contextmanager
def bounded(seconds: float = CPU_LIMIT) -> Iterator[None]:
    """Raise :class:`Stuck` in what runs inside after ``seconds`` of processor time, or WAIT by the clock.

    In the main thread alone, and not inside of a library's C: the campaign has a clock for that.
    """

    waits = False

    def stuck(_number: int, _frame: FrameType | None) -> None:
        raise Stuck(
            f"no end after {WAIT:g} s"
            if waits
            else f"still busy after {seconds:g} s of processor time"
        )

    def give_up() -> None:
        nonlocal waits
        waits = True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGPROF)

    before = signal.signal(signal.SIGPROF, stuck)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    clock = threading.Timer(WAIT, give_up)
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        clock.cancel()
        clock.join()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Raise :class:`Fault` for what goes wrong beside the main thread, and for threads left."""
    seen: list[str] = []
    hooks = threading.excepthook, sys.unraisablehook
    threading.excepthook = lambda args: seen.append(f"in a thread: {args.exc_value!r}")
    sys.unraisablehook = lambda args: seen.append(f"unraisable: {args.exc_value!r} {args.object!r}")
    before = set(threading.enumerate())
    try:
        yield
        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith(LASTING):
                continue
            thread.join(5)
            if thread.is_alive():
                seen.append(f"thread {thread.name} left")
    finally:
        threading.excepthook, sys.unraisablehook = hooks
    if seen:
        raise Fault("; ".join(seen))


@contextlib.contextmanager
def alone(place: Path, environ: Mapping[str, str]) -> Iterator[None]:
    """In the folder ``place``, which is home too, with nobody's configuration but ``environ``."""
    kept = dict(os.environ)
    where = Path.cwd()
    for name in kept:
        if name.startswith(("HUBBLE_", "XDG_", "KUBE", "FLOWWATCH_")) or name.endswith("_proxy"):
            del os.environ[name]
    os.environ |= {"HOME": str(place), "XDG_CONFIG_HOME": str(place), **environ}
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(where)
        os.environ.clear()
        os.environ |= kept


@contextlib.contextmanager
def loopback_only() -> Iterator[None]:
    """No spoilt address leads out of this machine: names resolve to nothing, connections fail."""
    real, resolve = socket.socket.connect, socket.getaddrinfo

    def connect(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        if host not in ("127.0.0.1", "::1", "localhost"):
            raise ConnectionRefusedError(111, "Connection refused")
        real(self, address)

    def lookup(host: Any, *args: Any, **named: Any) -> Any:
        # The real one is still asked to refuse what is no name.
        name = host.decode("latin-1") if isinstance(host, bytes) else host
        local = name in (None, "", "127.0.0.1", "::1", "localhost")
        return resolve(
            host if local else (name and name.encode("idna") and "127.0.0.1"), *args, **named
        )

    socket.socket.connect = connect  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = lookup
    try:
        yield
    finally:
        socket.socket.connect = real  # type: ignore[method-assign]
        socket.getaddrinfo = resolve


class _Stream(io.TextIOWrapper):
    """A standard stream in memory, as Python opens it in a UTF-8 locale."""

    def __init__(self, data: bytes = b"", errors: str = "strict") -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8", errors=errors, write_through=True)

    def taken(self) -> bytes:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue()


def run(
    arguments: list[str],
    place: Path,
    *,
    stdin: bytes = b"",
    environ: Mapping[str, str] | None = None,
) -> Ran:
    """``flowwatch ARGUMENTS`` in the folder ``place``. Raises Fault, and whatever the program raised."""
    before = set(place.rglob("*"))
    out, err = _Stream(), _Stream(errors="backslashreplace")
    streams = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = _Stream(stdin, "surrogateescape"), out, err
    try:
        with alone(place, environ or {}), watched(), bounded(), warnings.catch_warnings():
            warnings.simplefilter("always")
            try:
                code = main(arguments)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
    ran = Ran(code, out.taken(), err.taken().decode())
    check(ran, named=arguments[0] != "observe")
    left = {path.name for path in set(place.rglob("*")) - before}
    if any(name.endswith(".tmp") for name in left):
        raise Fault(f"left behind: {sorted(left)}")
    return ran


def check(ran: Ran, *, named: bool) -> None:
    """What holds for every verb and input.

    ``named``: lines on standard error begin with the program's name; those of `observe` are hubble's.
    """
    if ran.code not in CODES:
        raise Fault(f"exit code {ran.code}: {ran.err[-2000:]}")
    lines = ran.err.splitlines()
    if DEFECT in ran.err or DEFECT.encode() in ran.out:
        told = [line for line in (*lines, *ran.out.decode().splitlines()) if DEFECT in line]
        raise Fault(told[0][told[0].index(DEFECT) :])
    if len(lines) > LINES:
        raise Fault(f"{len(lines)} lines on standard error")
    if ran.code in (1, 2) and not (lines or ran.out):
        raise Fault(f"exit code {ran.code} without a word")
    for line in lines:
        if any(words in line for words in _PYTHON) or (
            named and not line.startswith("flowwatch: ")
        ):
            raise Fault(f"standard error: {line[:300]!r}")
        # `observe` has records there too, whole as hubble has them.
        if len(line) > LINE and line.startswith("flowwatch: "):
            raise Fault(f"a line of {len(line)} characters: {line[:100]}")
        if any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in line):
            raise Fault(f"control characters on standard error: {line!r}")
