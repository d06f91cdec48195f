"""Run one command line: parse, call the verb, and end every failure in one line."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowwatch.errors import FlowwatchError
from flowwatch.output import put, say
from flowwatch.output.standard import finish

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed

INTERRUPTED = 130
"""Exit code after Ctrl-C, when what was asked for isn't complete (128 + SIGINT)."""


def run(arguments: list[str]) -> int:
    """The exit code of ``flowwatch ARGUMENTS``: 0, 1 failed, 2 usage, 130 interrupted."""
    from flowwatch.cli.flags import parse

    try:
        parsed = parse(arguments)
        if parsed.help or parsed.verb.name == "help":
            return _help(parsed)
        if parsed.verb.name == "version":
            return _version()
        module = importlib.import_module(f"flowwatch.cli.{parsed.verb.module}")
        verb: Callable[[Parsed], int] = module.run
        code = verb(parsed)
        finish()
        return code
    except FlowwatchError as error:
        if error.exit_code != 141:
            say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


def _version() -> int:
    from flowwatch import __version__

    put(f"flowwatch {__version__}\n")
    return 0


def _help(parsed: Parsed) -> int:
    from flowwatch.cli.usage import usage

    put(usage(parsed.verb, parsed.rest) + "\n")
    return 0
