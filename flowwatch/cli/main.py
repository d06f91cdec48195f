"""Run one command line: parse, call the verb, and end every failure in one line."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowwatch import signals
from flowwatch.errors import Defect, FlowwatchError, OutputError, Stopped
from flowwatch.output import ClosedPipe, StandardError, put, say
from flowwatch.output.files import clean
from flowwatch.output.standard import finish
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed

OUT_OF_MEMORY = 70
"""As a defect's: nobody is to take it for findings."""

_ASK = "__complete"
"""What a shell asks for when a word is to be completed: no verb that anybody types."""


def run(arguments: list[str], *, own: bool = False) -> int:
    """The exit code of ``flowwatch ARGUMENTS``, see :mod:`flowwatch.errors`.

    ``own``: the process ends with it.
    """
    debug = any(word in ("-D", "--debug", "--debug=true") for word in arguments)
    defects: list[BaseException] = []
    with signals.raised(own=own), _threads_watched(defects):
        try:
            code = _ended(arguments, debug)
        except KeyboardInterrupt as error:
            # Also one that came while an error was told.
            signals.hold()
            stopped = Stopped.of(error)
            code = stopped.exit_code
            if not defects:
                say(stopped.word)
        finally:
            signals.hold()
            clean()
        if defects:
            code = _tell_defect(Defect.of(defects[0]), debug)
    return code


def _ended(arguments: list[str], debug: bool) -> int:
    try:
        return _verb(arguments)
    except Defect as defect:
        return _tell_defect(defect, debug)
    except FlowwatchError as error:
        if not isinstance(error, ClosedPipe):
            say(str(error))
        if isinstance(error, OutputError) and signals.received():
            # The terminal went with the signal.
            return Stopped(signals.received()).exit_code
        return error.exit_code
    except MemoryError:
        say("out of memory: read less at a time (--last, --since), or keep fewer rows (--max-rows)")
        return OUT_OF_MEMORY
    except Exception as error:  # noqa: BLE001 - told, with its traceback on demand
        return _tell_defect(Defect.of(error), debug)


def _verb(arguments: list[str]) -> int:
    from flowwatch.cli.flags import parse

    if arguments[:1] == [_ASK]:
        return _complete(arguments[1:])
    parsed = parse(arguments)
    if parsed.help or parsed.verb.name == "help":
        return _help(parsed)
    if parsed.version or parsed.verb.name == "version":
        return _version()
    module = importlib.import_module(f"flowwatch.cli.{parsed.verb.module}")
    verb: Callable[[Parsed], int] = module.run
    code = verb(parsed)
    finish()
    return code


def _tell_defect(defect: Defect, debug: bool) -> int:
    if debug:
        import traceback

        # Text from the network may stand in it.
        lines = "".join(traceback.format_exception(defect.__cause__ or defect)).splitlines()
        StandardError().write("".join(f"{safe(line)}\n" for line in lines))
    from platform import python_version

    from flowwatch import __version__

    say(
        f"{defect} (flowwatch {__version__}, Python {python_version()}): send this line and what was "
        f"run{'' if debug else '; --debug adds the traceback'}"
    )
    return defect.exit_code


@contextmanager
def _threads_watched(defects: list[BaseException]) -> Iterator[None]:
    """Gather what ends a thread unforeseen, and end the work then: nothing may wait for it in vain."""
    before = threading.excepthook

    def watch(about: threading.ExceptHookArgs) -> None:
        if about.exc_value is not None and not issubclass(about.exc_type, SystemExit):
            defects.append(about.exc_value)
            signals.interrupt()

    threading.excepthook = watch
    try:
        yield
    finally:
        threading.excepthook = before


def _complete(words: list[str]) -> int:
    from flowwatch.cli.completion import ask

    return ask(words)


def _version() -> int:
    from flowwatch import __version__
    from flowwatch.hubble.wire import scanner

    put(f"flowwatch {__version__}\nreads records by {scanner.at_work()}\n")
    return 0


def _help(parsed: Parsed) -> int:
    from flowwatch.cli.usage import usage

    put(usage(parsed.verb, parsed.rest) + "\n")
    return 0
