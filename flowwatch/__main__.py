"""``flowwatch`` and ``python -m flowwatch``: see :mod:`flowwatch.cli`."""

from __future__ import annotations

# The interpreter's own: until run() listens, Ctrl-C is to end this as it ends other programs, without
# a traceback, and the module that is called signal takes 2 ms of that time to load.
import _signal  # type: ignore[import-not-found]
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name) and return the exit code."""
    if argv is None and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from flowwatch.cli.main import run
    from flowwatch.output.standard import plug

    if argv is not None:
        return run(list(argv))
    plug()
    return run(sys.argv[1:], own=True)


def complete() -> int:
    """``kubectl_complete-flowwatch WORD…``: what kubectl asks when a word of ``kubectl flowwatch`` is to
    be completed (kubectl 1.26 and later)."""
    sys.argv[1:1] = ["__complete"]
    return main()


if __name__ == "__main__":
    sys.exit(main())
