"""``flowwatch`` and ``python -m flowwatch``: see :mod:`flowwatch.cli`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name) and return the exit code."""
    from flowwatch.cli.main import run
    from flowwatch.output.standard import plug

    if argv is not None:
        return run(list(argv))
    plug()
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
