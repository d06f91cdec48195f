"""Watching at scale: what rules over the real observer's stream cost, beside recording it.

    python -m tests.benchmarks.watching [RATE SECONDS]      prints the figures

In turns, each against an observer of its own. What is compared is CPU a record: the share of a core follows
at any rate, and others on the machine change it little.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.benchmarks.recording import RATE, WARM_UP, cpu_of, rows_in
from tests.benchmarks.stretch import Stretch

SECONDS, ROUNDS = 20.0, 3
_FOUR = "".join(
    f"- {{when: {kind}}}\n" for kind in ("new-blocked", "drop-share", "gone-quiet", "unanswered")
)
RULES = {
    "four kinds of rules": f"rules:\n{_FOUR}",
    "all five, cut among them": f"rules:\n{_FOUR}- {{when: cut}}\n",
}
RECORDING = "recording"


def measured(rate: int = RATE, seconds: float = SECONDS) -> dict[str, list[Stretch]]:
    """What each did in ROUNDS rounds."""
    found: dict[str, list[Stretch]] = {}
    for _ in range(ROUNDS):
        found.setdefault(RECORDING, []).append(_recorded(rate, seconds))
        for name, rules in RULES.items():
            found.setdefault(name, []).append(_watched(rules, rate, seconds))
    return found


def micros(stretches: list[Stretch]) -> float:
    """CPU of a record, in millionths of a second: the median."""
    return statistics.median(one.cpu / max(one.records, 1) for one in stretches) * 1e6


def _recorded(rate: int, seconds: float) -> Stretch:
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "kept")
        return _of(("record", "--to", folder), rate, seconds, lambda _: rows_in(folder))


def _watched(rules: str, rate: int, seconds: float) -> Stretch:
    with tempfile.TemporaryDirectory() as home:
        file = Path(home, "rules.yaml")
        file.write_text(rules)
        return _of(("watch", file, "--metrics", "127.0.0.1:0"), rate, seconds, _scraped)


def _scraped(said: str) -> int:
    url = said.rpartition("metrics on ")[2].split()[0]
    with urllib.request.urlopen(url, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith("flowwatch_records_total ")]
    return int(float(value))


def _of(
    words: tuple[str | Path, ...], rate: int, seconds: float, count: Callable[[str], int]
) -> Stretch:
    """What ``flowwatch WORDS`` does; ``count`` says how many records it has read, by what it said."""
    from tests.interop.real import Observer

    with (
        tempfile.TemporaryFile("w+") as said,
        Observer(node="worker1", generate=1000, seed=1, rate=rate) as observer,
    ):
        command = [sys.executable, "-m", "flowwatch", *words, "--server", observer.address]
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        process = psutil.Process(running.pid)
        time.sleep(WARM_UP)
        said.seek(0)
        told = said.read()
        began, before, used = time.monotonic(), count(told), cpu_of(process)
        time.sleep(seconds)
        used = cpu_of(process) - used
        took, records = time.monotonic() - began, count(told) - before
        running.send_signal(2)
        running.wait(60)
        return Stretch(took, records, used)


def figures(rate: int = RATE, seconds: float = SECONDS) -> list[tuple[str, str, str]]:
    """What, reached, goal."""
    found = measured(rate, seconds)
    told = []
    for name, stretches in found.items():
        ratio = micros(stretches) / micros(found[RECORDING])
        rates = ", ".join(f"{one.rate:,.0f}" for one in stretches)
        what = name if name == RECORDING else f"watching by {name}"
        reached = (
            f"{micros(stretches):.1f} µs a record, {ratio:.2f} of recording ({rates} a second)"
        )
        told.append((f"{what}: CPU", reached, ""))
    return told


def main() -> None:
    rate = int(sys.argv[1]) if len(sys.argv) > 1 else RATE
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    for what, reached, _ in figures(rate, seconds):
        print(f"{what}: {reached}")


if __name__ == "__main__":
    main()
