"""The errors that a user can cause, or meet: each is one line that says what to do.

    FlowwatchError            exit 1   the work failed
    ├── UsageError            exit 2   the command line can't be carried out as written
    ├── InputError            exit 1   a file can't be read (what was read so far still counts)
    ├── OutputError           exit 1   a result can't be written
    ├── ServerError           exit 1   a Hubble server can't be reached or refused
    │   ├── Unreachable                worth trying again: refused, reset, timed out, gone
    │   └── Refused                    not worth it: our request, our rights, or not Hubble
    └── Defect                exit 70  anything else that is raised: flowwatch is wrong
    Stopped                   exit 128 + the signal's number (Ctrl-C 130, SIGTERM 143, SIGHUP 129)

70 is EX_SOFTWARE of sysexits.h. To a pipeline 1 may mean findings: a defect never ends with it.
"""

from __future__ import annotations

import os
import signal

from flowwatch.redact import redact

_PACKAGE = os.path.dirname(__file__)
_LONGEST = 2000
"""Characters: a name may be as long as a file."""


def _line(text: str) -> str:
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]}"


class FlowwatchError(Exception):
    """One line for the user; ``str(error)`` is that line, safe to print."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        """``message`` says what failed, ``hint`` what to do about it (may be empty).

        Secrets in them are hidden, and what is too long for a line loses its middle.
        """
        self.message = _line(redact(message))
        self.hint = _line(redact(hint))
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class UsageError(FlowwatchError):
    """The command line, or an environment variable or file that stands for one, is wrong."""

    exit_code = 2


class InputError(FlowwatchError):
    """A capture file can't be read, or not to its end."""


class OutputError(FlowwatchError):
    """A result can't be written; nothing half-written is left under the final name."""


class ServerError(FlowwatchError):
    """Talking to a Hubble server failed."""


class Unreachable(ServerError):
    """The server isn't there, went away or didn't answer: a later try may succeed."""


class Refused(ServerError):
    """The server answered, and trying the same again would give the same answer."""


class Defect(FlowwatchError):
    """Something that flowwatch did not foresee; ``__cause__`` is what was raised.

    Its line names the kind and the place, and not the message, which may quote what is secret.
    """

    exit_code = 70

    @classmethod
    def of(cls, error: BaseException) -> Defect:
        """The defect that ``error`` shows; ``error`` itself if it is one."""
        if isinstance(error, cls):
            return error
        found = cls(f"this is a defect of flowwatch, please report: {_place(error)}")
        found.__cause__ = error
        return found


def defect(error: Exception) -> str:
    """What to count a record under that was too much for us: a safe line, one for each place."""
    return (
        f"a defect of flowwatch ({_place(error)}): please report it, with the record "
        "that --keep-bad DIR keeps"
    )


def _place(error: BaseException) -> str:
    """``KeyError at egress/table.py:128``: the innermost line of ours that it passed through."""
    # Nothing that reads a command line needs it.
    import traceback

    here = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(_PACKAGE):
            here = f" at {os.path.relpath(frame.filename, _PACKAGE)}:{frame.lineno}"
    return f"{type(error).__name__}{here}"


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end. What was read until then may still be shown."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = number

    @classmethod
    def of(cls, error: KeyboardInterrupt) -> Stopped:
        """``error`` as one of these; Python's own is Ctrl-C."""
        return error if isinstance(error, cls) else cls()

    @property
    def by_hand(self) -> bool:
        """Whether it was Ctrl-C, by which what goes on for ever is meant to end."""
        return self.number == signal.SIGINT

    @property
    def exit_code(self) -> int:
        """As shells report it."""
        return 128 + self.number

    @property
    def word(self) -> str:
        """What happened, for the line on standard error."""
        return _WORDS.get(self.number, f"ended by signal {self.number}")


_WORDS: dict[int, str] = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hung up",
}
