"""Run the program as a person does, in a process of its own, without anybody's configuration."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def flowwatch(
    *arguments: str | Path,
    input: bytes | str | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """``python -m flowwatch ARGUMENTS``; standard input is empty unless given."""
    with tempfile.TemporaryDirectory() as home:
        return subprocess.run(
            [sys.executable, "-m", "flowwatch", *map(str, arguments)],
            input=(input.decode("latin-1") if isinstance(input, bytes) else input) or "",
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            cwd=ROOT,
            env=clean_environment(home) | (env or {}),
            check=False,
        )


def clean_environment(home: str) -> dict[str, str]:
    """This environment without HUBBLE_… variables, and with an empty home."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HUBBLE_", "XDG_"))}
    return kept | {"HOME": home, "XDG_CONFIG_HOME": home, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """The only line on standard error, which must be there and must not be a traceback."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in lines[0]
    return lines[0]
