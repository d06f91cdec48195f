"""Where a command spends its time: looked at some hundred times a CPU second, by room.

    python -m tests.benchmarks.shares WORD …      flowwatch's own words; what it prints is thrown away
    python -m tests.benchmarks.shares --functions WORD …

Each look counts for the innermost function of flowwatch that is at work: what a library does counts for who
called it. Threads other than the main one aren't looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from types import FrameType

import msgspec

import flowwatch
from flowwatch.__main__ import main as flowwatch_main
from tests.benchmarks.audit import POLICIES, policies_for
from tests.benchmarks.traffic import story

EVERY = 0.001
"""CPU seconds between looks; the kernel may know no less than 4 ms."""
_HOME = str(Path(flowwatch.__file__).parent) + os.sep
STEPS = {
    "hubble": "reading",
    "sources": "reading",
    "history": "reading",
    "flows": "joining",
    "audits": "judging",
    "policy": "deciding",
    "goyaml": "deciding",
    "egress": "counting",
    "report": "telling",
    "output": "telling",
}
"""What a room does, in the words of a table; of any other its own name."""
_DECODES = (
    "decode",
    "scanning",
    "shared_values",
    "known",
    "json_structs",
    "json_parts",
    "mend",
    "model",
)
"""Modules of ``flows`` that make flows of what is read."""
_STARTING = "starting"


class Shares(msgspec.Struct, frozen=True):
    """How a command's CPU seconds of the main thread were spent."""

    seconds: float
    steps: dict[str, float]
    """By step, its share, the largest first."""
    functions: dict[str, float]
    """The same by function, those with a hundredth and more."""


def _frame_of_ours(frame: FrameType | None) -> FrameType | None:
    while frame is not None and not frame.f_code.co_filename.startswith(_HOME):
        frame = frame.f_back
    return frame


def _step(path: str) -> str:
    room, _, rest = path.partition(os.sep)
    if room == "flows" and rest.startswith(_DECODES):
        return "reading"
    return STEPS.get(room, room.removesuffix(".py"))


def shares(words: list[str]) -> Shares:
    """Run ``flowwatch WORD …`` in this process. SystemExit where it ends with bad input."""
    steps: Counter[str] = Counter()
    functions: Counter[str] = Counter()

    def look(_: int, frame: FrameType | None) -> None:
        if _importing(frame):
            steps[_STARTING] += 1
            return
        ours = _frame_of_ours(frame)
        if ours is None:
            steps[_STARTING] += 1
            return
        path = ours.f_code.co_filename.removeprefix(_HOME)
        steps[_step(path)] += 1
        functions[f"{path} {ours.f_code.co_qualname}"] += 1

    before, began = signal.signal(signal.SIGPROF, look), time.thread_time()
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    try:
        with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
            code = flowwatch_main(words)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        took = time.thread_time() - began
        signal.signal(signal.SIGPROF, before)
    if code not in (0, 1):
        raise SystemExit(f"flowwatch {' '.join(words)} ended with {code}")
    looks = max(1, steps.total())
    return Shares(
        took,
        {name: count / looks for name, count in steps.most_common()},
        {name: count / looks for name, count in functions.most_common() if count >= looks / 100},
    )


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


DAY = 2_300_000
"""Records of the story that span 24 hours."""


def of_an_audit(lines: int = DAY) -> list[tuple[str, str, str]]:
    """An audit of a history with so many flows against 200 policies: its time, and by step."""
    with tempfile.TemporaryDirectory() as home:
        capture, kept, policies = (Path(home, name) for name in ("all.jsonl", "kept", "p.yaml"))
        story(lines, capture)
        policies.write_text(policies_for(capture))
        _run("record", "--input-file", capture, "--to", kept)
        capture.unlink()
        about = json.loads(_run("history", "info", kept, "-o", "json"))
        words = ("audit", "-f", str(policies), "--history", str(kept), "-o", "json")
        command = [sys.executable, "-m", __name__, *words]
        done = subprocess.run(command, check=True, capture_output=True)
        took = msgspec.json.decode(done.stdout, type=Shares)
    told = ", ".join(f"{name} {share:.0%}" for name, share in took.steps.items() if share >= 0.01)
    hours = (_time(about["last"]) - _time(about["first"])) / 3600
    what = f"audit of {lines:,} records of {hours:.0f} hours against {POLICIES} policies: CPU"
    return [(what, f"{took.seconds:.0f} s: {told}", "reading before deciding")]


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _run(*words: str | Path) -> bytes:
    command = [sys.executable, "-m", "flowwatch", *words]
    return subprocess.run(command, check=True, capture_output=True).stdout


if __name__ == "__main__":
    given = sys.argv[1:]
    by_function = given[:1] == ["--functions"]
    found = shares(given[1:] if by_function else given)
    print(
        msgspec.json.encode(
            found if by_function else msgspec.structs.replace(found, functions={})
        ).decode()
    )
