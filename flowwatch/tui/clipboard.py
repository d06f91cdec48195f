"""Copying from a terminal, also over SSH and in tmux, as far as it can be done from inside one.

OSC 52 asks the terminal to take the text. Nobody answers, so nobody knows whether it did: the text
is therefore also kept in a file, and the message names both. In tmux, which ignores OSC 52 from
programs unless ``set-clipboard`` is ``on``, ``tmux load-buffer -w`` does the same.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from flowwatch.errors import OutputError
from flowwatch.output import open_output

LONGEST = 74_000
"""Bytes of text that terminals take by OSC 52 (xterm's limit is 100,000 after encoding)."""


def osc52(text: str) -> str:
    """The sequence that puts ``text`` on the clipboard; "" when it is too long for that."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > LONGEST:
        return ""
    return f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\a"


def keep(text: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Write ``text`` to the file of the last copy, readable by its owner; None if it can't be."""
    cache = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", ""), ".cache")
    path = Path(cache) / "flowwatch" / "copied.txt"
    if not path.is_absolute():
        return None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open_output(str(path), private=True) as file:
            file.write(text + "\n")
    except (OSError, OutputError):
        return None
    return path


def to_tmux(text: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Hand ``text`` to the tmux that we run in, and through it to its terminal. May take a moment."""
    if not environ.get("TMUX") or shutil.which("tmux") is None:
        return False
    try:
        done = subprocess.run(
            ["tmux", "load-buffer", "-w", "-"],
            input=text.encode("utf-8", "backslashreplace"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=2,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
