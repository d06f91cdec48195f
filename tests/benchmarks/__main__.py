"""``make bench``: flowwatch beside the real hubble, one table of figures, goals and ratios.

    python -m tests.benchmarks [NAME …]   of: live relay file tls following memory soak start dashboard audit
    decisions differences choices drafts history ask watching

Everything runs on this machine, in turns; needs Go (for the real hubble) but for memory and start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowwatch.hubble.wire import scanner
from tests.benchmarks.side_by_side import Command, Cost, in_turns, run_once
from tests.benchmarks.traffic import MADE_UP, SORTS

if TYPE_CHECKING:
    from tests.interop.real import Observer

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
FLOWWATCH = (sys.executable, "-m", "flowwatch")
RING = 65_535
FILE_LINES = 200_000
AUDITED_LINES = 1_000_000
DRAFTED_ATTEMPTS = 1_000_000


PURE, SCANNED = "Python alone", "with the scanner"
WAYS = {PURE: {scanner.VARIABLE: "off"}} | ({SCANNED: {}} if scanner.module() else {})
"""How flowwatch reads records, and the environment that makes it: both where there is a scanner."""


@dataclass(frozen=True, slots=True)
class Figure:
    what: str
    reached: str
    goal: str


def live() -> list[Figure]:
    """The whole ring of the real observer, with the aggregation done."""
    return [figure for sort in SORTS for figure in _ring(sort)]


def _ring(sort: str) -> list[Figure]:
    from tests.interop.real import build

    hubble = build().hubble
    with _observer(sort) as observer:
        server = ("--server", observer.address)
        costs = _both_ways(
            ["summary", *server, "-o", "json"],
            {
                "jsonpb": [hubble, "observe", *server, "--all", "-o", "jsonpb"],
                "compact": [hubble, "observe", *server, "--all", "-o", "compact"],
            },
            ROUNDS,
        )
    figures = []
    goals = {
        PURE: {"jsonpb": (0.28, 0.25), "compact": (0.9, 1.1)},
        SCANNED: {"jsonpb": (0.14, 0.12), "compact": (0.5, 0.55)},
    }
    for way in WAYS:
        ours = costs[way]
        figures.append(
            Figure(
                f"ring of {RING:,} flows, {sort}, flowwatch summary, {way}",
                f"{ours.wall:.2f} s wall, {ours.cpu:.2f} s CPU",
                "",
            )
        )
        for name, (wall, cpu) in goals[way].items():
            other = costs[name]
            figures.append(
                Figure(
                    f"… against hubble -o {name} ({other.wall:.2f} s, {other.cpu:.2f} s CPU)",
                    f"{ours.wall / other.wall:.2f} of its wall, {ours.cpu / other.cpu:.2f} of its CPU",
                    f"≤ {wall} and ≤ {cpu}",
                )
            )
    return figures


@contextmanager
def _observer(sort: str) -> Iterator[Observer]:
    """One whose ring is full of such traffic."""
    from tests.interop.real import Observer

    if sort == MADE_UP:
        with Observer(generate=RING) as observer:
            yield observer
        return
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "flows.jsonl"
        SORTS[sort](RING, capture)
        with Observer(captures=[capture], shift_to_now=True) as observer:
            yield observer


def _both_ways(ours: list[str | Path], others: dict[str, Command], rounds: int) -> dict[str, Cost]:
    """``flowwatch OURS`` in each way, and the others, in turns."""
    commands: dict[str, Command] = {way: [*FLOWWATCH, *ours] for way in WAYS}
    return in_turns(commands | others, rounds, WAYS)


def relay() -> list[Figure]:
    """The same through the real relay over two observers."""
    from tests.interop.real import Observer, Relay, build

    hubble = build().hubble
    with (
        Observer(node="worker1", generate=RING // 2, seed=1) as one,
        Observer(node="worker2", generate=RING // 2, seed=2) as two,
        Relay([one, two]) as middle,
    ):
        server = ("--server", middle.address)
        costs = _both_ways(
            ["summary", *server, "-o", "json"],
            {"compact": [hubble, "observe", *server, "--all", "-o", "compact"]},
            ROUNDS,
        )
    other = costs["compact"]
    return [
        Figure(
            f"through relay over two nodes, {RING:,} flows, {way}",
            f"{costs[way].cpu / costs[way].wall:.0%} of its wall is our CPU; "
            f"{costs[way].wall / other.wall:.2f} of hubble compact's wall",
            "CPU < 50% of the wall",
        )
        for way in WAYS
    ]


def file() -> list[Figure]:
    """A capture file, against hubble reading the same file."""
    return [figure for sort in SORTS for figure in _file(sort)]


def _file(sort: str) -> list[Figure]:
    from tests.interop.real import build

    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "flows.jsonl"
        SORTS[sort](FILE_LINES, capture)
        hubble: list[str | Path] = [build().hubble, "observe", "--input-file", capture]
        costs = _both_ways(
            ["summary", "--input-file", capture, "-o", "json"],
            {form: [*hubble, "-o", form] for form in ("compact", "jsonpb")},
            min(ROUNDS, 3),
        )
    return [
        Figure(
            f"file of {FILE_LINES:,} flows, {sort}, {way} ({costs[way].wall:.2f} s, "
            f"{costs[way].cpu / FILE_LINES * 1e6:.1f} µs of CPU a line)",
            f"{costs['compact'].wall / costs[way].wall:.1f} times as fast as hubble -o compact "
            f"({costs['compact'].cpu / costs[way].cpu:.1f} by CPU), "
            f"{costs['jsonpb'].wall / costs[way].wall:.1f} as -o jsonpb "
            f"({costs['jsonpb'].cpu / costs[way].cpu:.1f})",
            goal,
        )
        for way, goal in zip(WAYS, ("≥ 4 times", "≥ 8 times"), strict=False)
    ]


def tls() -> list[Figure]:
    """What it costs to receive a stream, by how it is secured."""
    figures = []
    for way, env in WAYS.items():
        told = _json([sys.executable, "-m", "tests.benchmarks.reader", str(ROUNDS)], env)
        figures += [
            Figure(
                f"to receive a message, {way}: in plain {told['plain']:.2f} µs of CPU",
                f"{told[name]:.2f} under {words}, {told[name] / told['plain']:.1f} times",
                "≤ 1.3 times",
            )
            for name, words in (("tls", "TLS"), ("mutual", "mutual TLS"))
        ]
    return figures


def following() -> list[Figure]:
    """100,000 records a second through relay over four nodes, or what the machine can make of them."""
    from tests.benchmarks.following import NODES, Followed, measure

    figures = []
    for asked in (20_000, 100_000):
        told: dict[str, Followed] = measure(WAYS, asked)
        for way, one in told.items():
            at_goal = one.cost * 0.1
            figures.append(
                Figure(
                    f"followed through relay over {NODES} nodes, {asked:,} records/s asked for, {way}",
                    f"{one.rate:,.0f}/s came, for {one.share:.0%} of a core: {one.cost:.1f} µs a record "
                    f"(at 100,000/s {at_goal:.0%}); {one.lost:,} left out by the server, "
                    f"{one.behind:.1f} s behind",
                    "< 45%, none left out" if asked == 100_000 else "",
                )
            )
    return figures


def memory() -> list[Figure]:
    told = _json([sys.executable, "-m", "tests.benchmarks.memory", "rows"])
    return [
        Figure(
            f"a million distinct rows ({told['rows']:,.0f})",
            f"{told['process_mb']:.0f} MB in all, {told['peak_mb']:.0f} MB at the peak",
            "≤ 300 MB at the peak",
        )
    ]


def soak() -> list[Figure]:
    """An hour of flow time at 500 attempts a second."""
    told = _json([sys.executable, "-m", "tests.benchmarks.memory", "stream", "3600", "500"])
    return [
        Figure(
            f"an hour's stream ({told['records']:,.0f} records)",
            f"{told['mb_at_half']:.1f} MB at half, {told['mb_at_end']:.1f} MB at the end",
            "no growth",
        )
    ]


def start() -> list[Figure]:
    """Of what says little, and of a summary of one record."""
    record = {"flow": {"verdict": "FORWARDED", "time": "2026-01-31T10:00:00Z"}}
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.jsonl"
        small.write_text(json.dumps(record) + "\n")
        lines: dict[str, list[str | Path]] = {
            "--help": ["--help"],
            "a completion": ["__complete", "summary", "-o", "j"],
            "summary of one record": ["summary", "--input-file", small],
        }
        ours: dict[str, Command] = {what: [*FLOWWATCH, *line] for what, line in lines.items()}
        costs = in_turns({"python": [sys.executable, "-c", "pass"]} | ours, max(ROUNDS, 9))
    bare = costs.pop("python")
    return [
        Figure(
            f"{what} ({cost.wall * 1000:.0f} ms, {cost.cpu * 1000:.0f} of CPU)",
            f"{cost.wall / bare.wall:.1f} times a bare python ({bare.wall * 1000:.0f} ms)",
            "≤ 100 ms" if "summary" in what else "≤ 3 times",
        )
        for what, cost in costs.items()
    ]


def dashboard() -> list[Figure]:
    """Driven through a pty: tables of their own, printed as they are made."""
    from tests.benchmarks.dashboard import main as measure

    measure([])
    return []


def audit() -> list[Figure]:
    """A million flows against 200 policies, beside the summary of the same file; a day of a history."""
    from tests.benchmarks.audit import measure
    from tests.benchmarks.shares import of_an_audit

    goals = {PURE: "≤ 1.5 times", SCANNED: "≤ 2 times"}
    lines = [
        line
        for way, env in WAYS.items()
        for line in measure(AUDITED_LINES, min(ROUNDS, 2), way, env, goals[way])
    ]
    return [Figure(*line) for line in (*lines, *of_an_audit())]


def decisions() -> list[Figure]:
    """On 1, 100 and 5,000 policies, beside Cilium's own engine asked through its library."""
    from tests.benchmarks.decisions import decisions as measured

    return [Figure(*line) for line in measured()]


def differences() -> list[Figure]:
    """Two sets of 200 policies."""
    from tests.benchmarks.differences import differences as measured

    return [Figure(*line) for line in measured()]


def choices() -> list[Figure]:
    """In the editor of a draft, with 300 peers."""
    from tests.benchmarks.editing import choices as measured

    return [Figure(*line) for line in measured()]


def _json(command: Command, env: Mapping[str, str] | None = None) -> dict[str, float]:
    words, own = [str(part) for part in command], {**os.environ, **(env or {})}
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=own)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def drafts() -> list[Figure]:
    """A draft of many workloads' attempts, against the summary of the same file."""
    from tests.benchmarks.drafting import drafts as measured

    return [Figure(*one) for one in measured(DRAFTED_ATTEMPTS, min(ROUNDS, 3))]


def history() -> list[Figure]:
    """Recording the real observer's stream, and what a record takes on the disk."""
    from tests.benchmarks.recording import LINES, answered, continued, record, sizes

    found = record()
    figures = [
        Figure(
            f"recording, of {found.rate:,.0f} flows/s for {found.seconds:.0f} s: CPU",
            f"{found.share:.0%} of one core",
            "< 50%",
        ),
        Figure("… events lost, gaps", f"{found.lost:,}, {found.gaps:,}", "0, 0"),
        Figure(
            f"… memory after each quarter (load {found.load:.1f})",
            f"{', '.join(f'{one / 1e6:.0f}' for one in found.memory)} MB",
            "flat",
        ),
    ]
    for sort in SORTS:
        of = sizes(sort)
        figures += [
            Figure(
                f"a record in a history, {sort}",
                f"{of.fresh:.1f} bytes, {of.merged:.1f} merged",
                "",
            ),
            Figure("… against Hubble's exporter file", f"1/{of.plain / of.merged:.0f}", "1/30"),
            Figure("… packed by gzip", f"1/{of.gzip / of.merged:.1f}", "1/4"),
        ]
        took = answered(sort)
        figures.append(
            Figure(
                f"summary of {LINES:,} records of it, counted by compact; from the records: CPU",
                f"{took.counted:.2f}, {took.records:.2f} s",
                "",
            )
        )
        more = continued(sort)
        figures += [
            Figure(
                f"compact of {more.records:,} records of it, anew; where 99% had been made: CPU",
                f"{more.anew:.2f}, {more.more:.2f} s",
                "",
            ),
            Figure("… summary of them, the same", f"{more.whole:.2f}, {more.beside:.2f} s", ""),
            Figure(
                "… the checkpoint: size, CPU to read it",
                f"{more.size / 1e6:.1f} MB, {more.load:.2f} s",
                "",
            ),
        ]
    return figures


def ask() -> list[Figure]:
    """A million flows on three engines, and questions about fifty million."""
    from tests.benchmarks import asking, unused

    return [Figure(*one) for one in (*asking.figures(), *unused.figures())]


def watching() -> list[Figure]:
    """Rules over the real observer's stream, beside recording it."""
    from tests.benchmarks.watching import figures

    return [Figure(*one) for one in figures()]


BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "live": live,
    "relay": relay,
    "file": file,
    "tls": tls,
    "following": following,
    "memory": memory,
    "soak": soak,
    "start": start,
    "dashboard": dashboard,
    "audit": audit,
    "decisions": decisions,
    "differences": differences,
    "choices": choices,
    "drafts": drafts,
    "history": history,
    "ask": ask,
    "watching": watching,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(
            f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr
        )
        return 2
    run_once([*FLOWWATCH, "version"])
    print(f"flowwatch reads records by {scanner.at_work()}", file=sys.stderr)
    figures: list[Figure] = []
    for name in names or list(BENCHMARKS):
        began = time.perf_counter()
        figures += BENCHMARKS[name]()
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    if not figures:
        return 0
    widths = [max(len(getattr(f, part)) for f in figures) for part in ("what", "reached")]
    for figure in figures:
        print(f"{figure.what:<{widths[0]}}  {figure.reached:<{widths[1]}}  {figure.goal}".rstrip())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
