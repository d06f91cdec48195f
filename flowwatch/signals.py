"""The signals that end a process: Ctrl-C (SIGINT), SIGTERM, SIGHUP.

Each is raised as :class:`~flowwatch.errors.Stopped` in the main thread, so that files that are half
written go, the terminal is restored, and what was read until then can be shown. A signal that was
ignored when the process began (``nohup``, a shell's background job) stays so.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from flowwatch.errors import Stopped

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int], None]

_LATER = 0.02
"""Seconds."""

_received: list[int] = []
_held_off: list[bool] = []
"""An entry for each :func:`deferred` that is open."""


def received() -> int:
    """The last of these signals that came, 0 if none did."""
    return _received[-1] if _received else 0


@contextmanager
def handled_by(handler: Handler) -> Iterator[None]:
    """Call ``handler`` with the number of each signal. Python lets only the main thread say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _handle(handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _handle(handler: Handler) -> dict[int, Any]:
    """Let ``handler`` have the signals; what had them before."""

    def note(number: int, frame: FrameType | None) -> None:
        _received.append(number)
        if _held_off or _importing(frame):
            # An exception in the middle of loading an extension in C has crashed the interpreter.
            _send_later(number)
        else:
            handler(number)

    heard = [one for one in ENDING if signal.getsignal(one) is not signal.SIG_IGN]
    return {number: signal.signal(number, note) for number in heard}


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _send_later(number: int) -> None:
    """The signal once more, when the main thread has left the place where it is no use."""
    timer = threading.Timer(_LATER, _send, (number,))
    timer.daemon = True
    timer.start()


@contextmanager
def raised(*, own: bool) -> Iterator[None]:
    """Raise the signals as Stopped.

    ``own``: the process is about to end with the block: what comes after it ends it at once, by the
    signal's own doing. Else those that had the signals before get them again.
    """
    _received.clear()
    unraisable = sys.unraisablehook

    def again(about: Any) -> None:
        if isinstance(about.exc_value, Stopped):
            # It was raised where Python can't: in a destructor, a callback of a library in C.
            _send_later(about.exc_value.number)
        else:
            unraisable(about)

    sys.unraisablehook = again
    try:
        with handled_by(_raise):
            yield
    finally:
        sys.unraisablehook = unraisable
        if own and threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)


def hold() -> None:
    """From now on to the end of :func:`raised` no signal interrupts: what is left is tidying up."""
    if threading.current_thread() is threading.main_thread():
        _handle(lambda number: None)


@contextmanager
def deferred() -> Iterator[None]:
    """Let no signal in until the end of the block; those that came are delivered soon after."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    # Another thread can still be given one, for which Python interrupts the main thread.
    _held_off.append(True)
    try:
        yield
    finally:
        _held_off.pop()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interrupt() -> None:
    """From any thread: have the main thread end its work as if told to by SIGTERM."""
    if callable(signal.getsignal(signal.SIGTERM)):
        _send(signal.SIGTERM)


def _send(number: int) -> None:
    """To the main thread itself: it may wait in a system call, which nothing else would end."""
    ident = threading.main_thread().ident
    if ident is not None:
        signal.pthread_kill(ident, number)


def _raise(number: int) -> None:
    raise Stopped(number)
