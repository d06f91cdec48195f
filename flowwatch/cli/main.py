"""Run one command line: parse, call the verb, and end every failure in one line."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowwatch.errors import FlowwatchError

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
        sys.stdout.flush()
        return code
    except FlowwatchError as error:
        if error.exit_code != 141:
            print(f"flowwatch: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("flowwatch: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads our output any more; nothing may be written at the exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141


def _version() -> int:
    from flowwatch import __version__

    print(f"flowwatch {__version__}")
    return 0


def _help(parsed: Parsed) -> int:
    from flowwatch.cli.usage import usage

    print(usage(parsed.verb, parsed.rest))
    return 0
