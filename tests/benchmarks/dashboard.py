"""How the dashboard feels: the tables of docs/dashboard.md, ready to paste.

    make bench ARGS=dashboard                              all but memory: 9 minutes
    python -m tests.benchmarks.dashboard rates views       one or several of PARTS
    python -m tests.benchmarks.dashboard memory 10         so many minutes

Through a pseudo-terminal of 120x40, against the real observer (needs Go) or over rows that are there.
Keys come one every 130 ms, a fast typist's pace, so that no press waits for the one before it; a key has
reached the screen when the cursor stands elsewhere. Held down, ``j`` soon scrolls the table with each
press; ``jjkk`` moves within it.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.folding import BY_WORKLOAD, read_by
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.tui.state import FIRST_LIMIT
from tests.benchmarks.many_rows import many_rows
from tests.benchmarks.pty_driver import Costs, Feel, Screen, Terminal, cursor_row
from tests.benchmarks.pty_driver import measure as feel_of

COLUMNS, LINES = 120, 40
RATES = (0, 1_000, 20_000)
"""Flows a second."""
RING = 65_535
ROWS = (10_000, 1_000_000)
DAY_ROWS = 10_000
STARTS = 5
VISITS = 4
"""Times that a view is opened, after the first one."""
KEYS_FOR = 6.0
"""Seconds in which keys come."""
FLOWWATCH = (sys.executable, "-m", "flowwatch")
TYPED = ("app-42", "d7.example", ":443", "!app-1", "ns:ns-3")
VIEWS = {
    "2": "Workloads", "3": "Destinations", "4": "Policies", "5": "Causes", "6": "Map", "7": "Audit",
    "8": "Flows", "9": "Nodes", "1": "Edges",
}  # fmt: skip
AUDIT = "7"
UNMOVED = "89"
"""Views in which no key is timed: lines of Flows move by themselves, the observer is one node."""

Line = tuple[str | bool, ...]
"""Cells of a line of a table; at the end whether the figure falls short of its goal."""

KEYS, COSTS, TYPING, STEPS = "10 / 30 ms", "45%, 25 KB/s, 4 to 10", "100 ms", "200 ms"
"""Goals."""
LIMITS = {
    KEYS: "what other threads are amid when it comes, 1 ms each time; a frame that is just being made",
    COSTS: "decoding and joining each record in Python; a tenth of the time at most goes into frames",
    "2%, nothing": "ages on the screen, every ten seconds, later every minute",
    TYPING: "each distinct name is searched; where most rows match, they are folded",
    STEPS: "rows with an attempt in the window are folded and put in order",
    "1 s": "loading Textual",
}
"""By the goal, what a figure that falls short of it is limited by."""

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata:
  name: {name}
spec:
  endpointSelector: {{}}
  egress:
  - toEntities: [{entities}]
"""


# Programs -------------------------------------------------------------------------------------


def command(address: str) -> list[str]:
    """The dashboard as people start it."""
    return [*FLOWWATCH, "--server", address, "--theme", "dark"]


@contextmanager
def judging() -> Iterator[list[str]]:
    """The flags of policies in force, and of staged ones."""
    with tempfile.TemporaryDirectory() as home:
        given = {"in-force": "cluster, world", "draft": "cluster"}
        for name, entities in given.items():
            Path(home, f"{name}.yaml").write_text(POLICY.format(name=name, entities=entities))
        yield ["--policies", f"{home}/in-force.yaml", "--staged", f"{home}/draft.yaml"]


@contextmanager
def watched(argv: Iterable[str]) -> Iterator[Terminal]:
    """It, with its first rows on the screen, and the past behind it."""
    with Terminal(list(argv), columns=COLUMNS, lines=LINES) as terminal:
        terminal.wait_for(lambda screen: cursor_row(screen) >= 0, 120.0)
        terminal.wait_for(lambda screen: bool(re.search("live|complete", screen.rows[0])), 120.0)
        terminal.run_for(3.0)
        yield terminal
        leave(terminal)


def leave(terminal: Terminal) -> None:
    """Quit, from whatever is open."""
    terminal.press("q")
    terminal.press("q")
    terminal.wait(30.0)


def records_per_second(text: str) -> float:
    """What the headline says: ``… 20k records/s …``; 0 when it isn't on the screen."""
    before, found, _ = text.partition(" records/s")
    if not found:
        return 0.0
    words = before.split()[-1].replace(",", "")
    return float(words[:-1]) * 1000 if words.endswith("k") else float(words)


def costs_of(terminal: Terminal, seconds: float) -> Feel:
    """What it costs while nobody touches it."""
    cost = Costs(terminal)
    terminal.run_for(seconds)
    return cost.told(Feel(0.0))


def costs_words(feel: Feel) -> str:
    return (
        f"{feel.cpu_share:.1%} of a core, {feel.bytes_per_second / 1000:.1f} KB/s, "
        f"{feel.frames_per_second:.1f} frames/s"
    )


def too_much(feel: Feel, rate: int) -> bool:
    """Whether it costs more than it should, or shows too little of so many flows a second."""
    if not rate:
        return feel.cpu_share > 0.02
    busy = feel.cpu_share > 0.45 or feel.bytes_per_second > 25_000
    return busy or feel.frames_per_second < 4


def latency_words(took: list[float]) -> str:
    """Median and 95th percentile, or the worst of a few."""
    feel = Feel(0.0, took)
    return f"{feel.median_ms:.0f} / {feel.p95_ms if len(took) > 19 else max(took):.0f} ms"


# The parts ------------------------------------------------------------------------------------


def rates() -> Iterator[Line]:
    """Keys, CPU and bytes at each rate; and without keys."""
    from tests.interop.real import Observer

    for rate in RATES:
        with (
            Observer(generate=20_000, rate=rate) as observer,
            watched(command(observer.address)) as terminal,
        ):
            quiet = costs_of(terminal, 10.0)
            told = records_per_second(terminal.screen.text)
            goal = COSTS if rate else "2%, nothing"
            reads = f" (reads {told:,.0f})" if rate else ""
            what = f"{rate:,} flows/s{reads}, no keys"
            yield what, costs_words(quiet), goal, too_much(quiet, rate)
            for keys, what in (("jjkk", "moving"), ("j", "scrolling")):
                feel = feel_of(terminal, keys=keys, seconds=KEYS_FOR + 2)
                late = feel.median_ms > 10 or feel.p95_ms > 30
                yield f"… {what}: key to screen", latency_words(feel.latencies_ms), KEYS, late
                if rate:
                    yield f"… {what}: costs", costs_words(feel), COSTS, too_much(feel, rate)


def start() -> Iterator[Line]:
    """From the start of the process to the first frame, the first row, and a ring that is read."""
    from tests.interop.real import Observer

    found: list[tuple[float, float, float, float]] = []
    with Observer(generate=RING) as observer:
        for _ in range(STARTS):
            with Terminal(command(observer.address), columns=COLUMNS, lines=LINES) as terminal:
                began = terminal.started
                terminal.wait_for(lambda screen: "flowwatch" in screen.text, 60.0)
                frame = time.monotonic() - began
                terminal.wait_for(lambda screen: cursor_row(screen) >= 0, 60.0)
                row = time.monotonic() - began
                read = re.search(r"reading (\d+)%", terminal.screen.rows[0])
                terminal.wait_for(lambda screen: "live" in screen.rows[0], 60.0)
                whole = time.monotonic() - began
                found.append((frame, row, whole, float(read[1]) if read else 100.0))
                leave(terminal)
    frame, row, whole, read_then = (statistics.median(each) for each in zip(*found, strict=True))
    what = f"a ring of {RING:,}, median of {STARTS} starts: first frame"
    yield what, f"{frame:.2f} s", "1 s", frame > 1
    yield (
        "… first rows",
        f"{row:.2f} s, of {read_then:.0f}% of the ring; all of it {whole:.2f} s",
        "before it is read",
        read_then > 99,
    )


def rows() -> Iterator[Line]:
    """A filter as it is typed, letter by letter, over many rows: each letter's answer."""
    for number in ROWS:
        aggregate = many_rows(number)
        first, every = list[float](), list[float]()
        for text in TYPED:
            for end in range(1, len(text) + 1):
                query = Query(limit=FIRST_LIMIT, text=text[:end], noise=False, by=BY_WORKLOAD)
                took = seconds_of(partial(snapshot, aggregate, query)) * 1000
                every.append(took)
                first += [took] if end == 1 else []
        yield (
            f"{number:,} rows, a filter as it is typed, CPU: first letter",
            f"{min(first):.0f} to {max(first):.0f} ms",
            TYPING,
            max(first) > 100,
        )
        median = statistics.median(every)
        words = f"{median:.0f} ms median, {max(every):.0f} worst"
        yield "… any letter", words, TYPING, median > 100
        if number == max(ROWS):
            yield from folding(number, aggregate)


def folding(number: int, aggregate: Aggregate) -> Iterator[Line]:
    """How long the first rows take to choose, fold, sort and spell out."""
    for by in ("pod", "workload", "namespace"):
        query = Query(limit=FIRST_LIMIT, by=read_by(f"{by},peer,port"))
        times = [seconds_of(partial(snapshot, aggregate, query)) for _ in range(3)]
        yield (
            f"{number:,} rows folded by {by}, CPU",
            f"{sorted(times)[1] * 1000:.0f} ms",
            "–",
            False,
        )


def seconds_of(work: Callable[[], object]) -> float:
    """CPU time of it, in which what else runs has no part."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def steps() -> Iterator[Line]:
    """Steps through a history of a day, by half a window and by the hour."""
    with tempfile.TemporaryDirectory() as home:
        records, kept = Path(home, "day.jsonl"), Path(home, "kept")
        day(records)
        record = ["record", "--input-file", str(records), "--to", str(kept)]
        subprocess.run([*FLOWWATCH, *record], check=True, capture_output=True)
        with watched([*FLOWWATCH, "--history", str(kept), "--theme", "dark"]) as terminal:
            for key, what in (("{", "by the hour"), ("[", "by half a window")):
                took = [_step(terminal, key) for _ in range(15)]
                words = f"{statistics.median(took):.0f} ms median, {max(took):.0f} worst"
                step = f"a step through a day of {DAY_ROWS:,} rows, {what} (`{key}`)"
                yield step, words, STEPS, max(took) > 200


def _step(terminal: Terminal, key: str) -> float:
    before = terminal.screen.rows[0]

    def there(screen: Screen) -> bool:
        # Of hours the start of the one before is the end of the next.
        figures = re.search(r"([\d:]+) to ", screen.rows[1])
        return bool(figures and screen.rows[0] != before and f"{figures[1]}-" in screen.rows[0])

    terminal.press(key)
    took = terminal.wait_for(there, 20.0) * 1000
    terminal.run_for(0.3)
    return took


def memory(minutes: float) -> Iterator[Line]:
    """Resident memory each minute, with a window chosen."""
    from tests.interop.real import Observer

    page, held = os.sysconf("SC_PAGE_SIZE"), []
    with (
        Observer(generate=20_000, rate=RATES[-1]) as observer,
        watched(command(observer.address)) as terminal,
    ):
        terminal.press("W")
        for _ in range(round(minutes)):
            terminal.run_for(60.0)
            with open(f"/proc/{terminal.pid}/statm", encoding="ascii") as file:
                held.append(int(file.read().split()[1]) * page / 1e6)
    told = ", ".join(f"{one:.0f}" for one in held)
    what = f"memory at {RATES[-1]:,} flows/s, a window chosen, after each minute"
    yield what, f"{told} MB", "flat", False


# Views ----------------------------------------------------------------------------------------


def views() -> Iterator[Line]:
    """Each view: the key that opens it, a key in it, and what it costs; over many rows, and many flows."""
    from tests.interop.real import Observer

    with tempfile.TemporaryDirectory() as home, judging() as flags:
        file = Path(home, "day.jsonl")
        day(file)
        few = _visit([*FLOWWATCH, "--input-file", str(file), "--theme", "dark", *flags], busy=False)
        rows = [sys.executable, "-m", "tests.benchmarks.many_rows", str(max(ROWS))]
        many = _visit(rows, busy=False, without=AUDIT)
        with Observer(generate=20_000, rate=RATES[-1]) as observer:
            busy = _visit([*command(observer.address), *flags], busy=True)
    for key, name in sorted(VIEWS.items()):
        yield f"{key} {name}", *few[key], *many.get(key, ("–", "–")), *busy[key]


def _visit(argv: list[str], *, busy: bool, without: str = "") -> dict[str, Line]:
    """Of each view how long its key takes, a key in it, and, where flows come, what it costs.

    Without policies there is no audit."""
    opened: dict[str, list[float]] = {key: [] for key in VIEWS if key not in without}
    found: dict[str, Line] = {}
    with watched(argv) as terminal:
        for visit in range(VISITS + 1):
            for key in opened:
                sign = "Audit:" if key == AUDIT else f"[{key} "
                terminal.press(key)
                took = terminal.wait_for(partial(_shows, sign), 30.0) * 1000
                terminal.run_for(0.5)
                if visit:
                    opened[key].append(took)
                if visit == VISITS:
                    found[key] = _in_view(terminal, key, busy=busy)
                if key == AUDIT:
                    terminal.press("q")
                    terminal.run_for(0.5)
    return {key: (latency_words(opened[key]), *cells) for key, cells in found.items()}


def _shows(sign: str, screen: Screen) -> bool:
    return sign in screen.text


def _in_view(terminal: Terminal, key: str, *, busy: bool) -> Line:
    if key not in UNMOVED + AUDIT:
        with suppress(TimeoutError):
            # Its answer may still be made; not every view has a line to select.
            terminal.wait_for(lambda screen: cursor_row(screen) >= 0, 5.0)
    cost = costs_of(terminal, 3.0) if busy else None
    costs = (costs_words(cost),) if cost is not None else ()
    if key in UNMOVED or (key != AUDIT and cursor_row(terminal.screen) < 0):
        return ("–", *costs)
    mark = _scrolled if key == AUDIT else cursor_row
    try:
        feel = feel_of(terminal, seconds=KEYS_FOR if busy else 4.0, mark=mark, first="jjj")
    except TimeoutError:
        # There is but one line, or all fit.
        return ("–", *costs)
    return (latency_words(feel.latencies_ms), *costs)


def _scrolled(screen: Screen) -> tuple[str, ...]:
    """What a page shows in its first lines."""
    return tuple(screen.rows[2:6])


# A day ----------------------------------------------------------------------------------------


def day(path: Path) -> None:
    """A day's drops as lines of JSON: of 1,000 pods to ten places, each of them every four hours."""
    with path.open("w", encoding="utf-8") as lines:
        for number in range(DAY_ROWS * 6):
            row, at = number % DAY_ROWS, 1_799_000_000 + number * 86_400 // (DAY_ROWS * 6)
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
            flow = {
                "time": when, "uuid": str(number), "verdict": "DROPPED", "drop_reason": 133,
                "drop_reason_desc": "POLICY_DENIED", "IP": {
                    "source": f"10.0.{row // 10 // 250}.{row // 10 % 250 + 1}",
                    "destination": f"203.0.113.{row % 10 + 1}", "ipVersion": "IPv4",
                },
                "l4": {"TCP": {"source_port": 20_000 + number % 30_000, "destination_port": 443,
                               "flags": {"SYN": True}}},
                "source": {"identity": 1000 + row // 10, "namespace": f"ns-{row % 7}",
                           "pod_name": f"app-{row // 10}"},
                "destination": {"identity": 2, "labels": ["reserved:world"]},
                "Type": "L3_L4", "node_name": "node-1", "event_type": {"type": 1, "sub_type": 133},
                "traffic_direction": "EGRESS",
            }  # fmt: skip
            lines.write(json.dumps({"flow": flow, "node_name": "node-1", "time": when}) + "\n")


# The tables -----------------------------------------------------------------------------------

PARTS: dict[str, Callable[[], Iterator[Line]]] = {
    "start": start,
    "rates": rates,
    "views": views,
    "rows": rows,
    "steps": steps,
}
HEADS: dict[str, tuple[str, ...]] = {
    "": ("what", "reached", "goal", "what limits it"),
    "views": (
        "view", "its key, 10,000 rows", "a key in it", "its key, 1,000,000 rows", "a key in it",
        "its key, 20,000 flows/s", "a key in it", "costs, no keys",
    ),
}  # fmt: skip


VIEWS_NOTE = """
Where flows come (20,000 a second) each attempt is also judged by policies in force and by staged ones:
that is the CPU beyond the 45% of the goal. Below four frames a second are views whose answer is made of
up to 20,000 rows, as a tenth of the time at most goes into answers. A view's key waits for its widgets to
be laid out, and then painted. No key is timed in Flows, which moves by itself, and where a list has few
lines."""


def table(names: Iterable[str], say: Callable[[str], None]) -> None:
    """Measure the parts with these names, and say them as tables of Markdown, each line once it is known."""
    head: tuple[str, ...] = ()
    for name in names:
        wanted = HEADS.get(name, HEADS[""])
        if wanted != head:
            head = wanted
            say(f"\n{_row(head)}\n{_row(['---'] * len(head))}")
        for cells in PARTS[name]():
            say(_row(_told(cells)))
        if name == "views":
            say(VIEWS_NOTE)


def _told(cells: Line) -> list[str]:
    """With what limits a figure, where the line says whether it falls short."""
    *words, last = cells
    if isinstance(last, bool):
        last = LIMITS.get(str(words[-1]), "–") if last else "–"
    return [*map(str, words), last]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(words: list[str]) -> None:
    def say(text: str) -> None:
        print(text, flush=True)

    load = os.getloadavg()[0]
    say(f"Measured on {time.strftime('%d %B %Y')}, load {load:.1f} on {os.cpu_count()} cores.")
    if words[:1] == ["memory"]:
        PARTS["memory"] = lambda: memory(float(words[1]))
        words = ["memory"]
    table(words or list(PARTS), say)


if __name__ == "__main__":
    main(sys.argv[1:])
