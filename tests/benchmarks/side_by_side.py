"""Whole commands against each other: wall and CPU, in turns, medians.

The commands take turns (A, B, A, B …), so that whatever else the machine does hits them alike.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians of several runs, seconds; CPU is user and system of the command and its children."""

    wall: float
    cpu: float


def run_once(command: Command, env: Mapping[str, str] | None = None) -> Cost:
    """Run to the end with its output thrown away; raises CalledProcessError when it fails."""
    before = time.perf_counter()
    with subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(env),
    ) as process:
        assert process.stderr is not None
        words = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - before
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=words.decode())
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    """Without what no user sets and what would compile every module at every start."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **(more or {})}


def in_turns(
    commands: Mapping[str, Command],
    rounds: int = 5,
    env: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Cost]:
    """Median cost of each command, after one round that isn't counted; ``env`` has more variables of some."""
    more = env or {}
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            cost = run_once(command, more.get(name))
            if turn:
                costs[name].append(cost)
    return {
        name: Cost(
            statistics.median(cost.wall for cost in each),
            statistics.median(cost.cpu for cost in each),
        )
        for name, each in costs.items()
    }
