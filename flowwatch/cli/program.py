"""What people type to run flowwatch: its own name, or ``kubectl flowwatch``."""

from __future__ import annotations

import os
import sys

PLUGIN = "kubectl-flowwatch"
"""The command that kubectl looks for on the PATH (its documentation, "Extend kubectl with plugins")."""


def name(argv0: str | None = None) -> str:
    """``kubectl flowwatch`` when kubectl runs it, else ``flowwatch``."""
    called = os.path.basename(sys.argv[0] if argv0 is None else argv0)
    return "kubectl flowwatch" if called.removesuffix(".exe") == PLUGIN else "flowwatch"
