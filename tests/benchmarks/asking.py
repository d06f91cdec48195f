"""A history's attempts, asked: a million flows on three engines, and fifty million on two cores.

    python -m tests.benchmarks.asking million|fifty [FOLDER]      prints the figures as JSON

The million is recorded, half of it made up by the real observer's generator and half the demo's story, and
goes through the join. The fifty million are written as the attempts that they would be (3 records each), over
30 days, beside a slice of them as records.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flowwatch.history import store
from flowwatch.history.attempts.columns import ATTEMPTS
from flowwatch.history.attempts.made import MARKER, Made, text_of
from flowwatch.history.attempts.making import write
from flowwatch.history.attempts.tables import minutes_of, schema
from flowwatch.history.store import HOUR, MADE, partition
from tests.benchmarks.side_by_side import run_once
from tests.benchmarks.traffic import made_up, story
from tests.unit.history.every_question import CLUSTER, counted

MILLION = 1_000_000
FIFTY = 50_000_000
A_RECORDS = 3
"""Records of an attempt: what made-up traffic has."""
DAYS = 30
FIRST = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
ROUNDS = 3
SLICE = 200_000
MODULE = "tests.unit.history.every_question"


def _flowwatch(*words: str | Path) -> float:
    """Seconds that it took."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "flowwatch", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def _asked(kept: Path, question: str, *more: str) -> tuple[float, float]:
    """Seconds that the program took, and of processors, the median of each."""
    command: list[str | Path] = [sys.executable, "-m", "flowwatch", "history", "ask", question]
    command += [kept, *more]
    costs = [run_once(command) for _ in range(ROUNDS)]
    return statistics.median(one.wall for one in costs), statistics.median(one.cpu for one in costs)


def million(folder: Path, flows: int = MILLION) -> dict[str, Any]:
    """Every question on DuckDB, chDB and Spark (two executors): whether they agree, and the seconds."""
    kept = folder / "kept"
    folder.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {}
    for name, make in (("made-up", made_up), ("story", story)):
        capture = folder / f"{name}.jsonl"
        make(flows // 2, capture)
        _flowwatch("record", "--input-file", capture, "--to", kept)
        capture.unlink()
    told["made"] = _flowwatch("history", "compact", kept)
    info = subprocess.run(
        [sys.executable, "-m", "flowwatch", "history", "info", kept, "-o", "json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    about = json.loads(info.stdout)
    told |= {"records": about["records"], "attempts": about["attempts"]}
    answers = {}
    for engine, more in (("duckdb", ()), ("chdb", ()), ("spark", (CLUSTER,))):
        command = [sys.executable, "-m", MODULE, str(kept), engine, *more]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        answers[engine] = found["answers"]
        told[engine] = found["seconds"]
        told["executors"] = found["executors"]
    told["questions"] = len(answers["duckdb"])
    told["rows"] = sum(len(rows) for _, rows in answers["duckdb"].values())
    told["differing"] = [
        f"{name} on {engine}"
        for engine in ("chdb", "spark")
        for name, answer in answers["duckdb"].items()
        if answers[engine][name] != answer
    ]
    done = subprocess.run(
        [sys.executable, "-m", "flowwatch", "summary", "--history", kept, "-o", "json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    by_join, by_engine = counted(kept, json.loads(done.stdout))
    told["of_the_join"] = len(by_join)
    told["not_of_the_join"] = len((by_join - by_engine) + (by_engine - by_join))
    return told


def fifty(folder: Path, flows: int = FIFTY) -> dict[str, Any]:
    """What a question takes over ``flows`` flows of 30 days, and a step of an hour."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "kept"
    if not kept.exists():
        generated(kept, flows)
    told: dict[str, Any] = {
        "attempts": flows // A_RECORDS,
        "bytes": sum(path.stat().st_size for path in (kept / MADE).rglob("*.parquet")),
    }
    told["bytes_of_minutes"] = sum(
        path.stat().st_size for path in (kept / MADE / "minutes").rglob("*.parquet")
    )
    middle = datetime.fromtimestamp(FIRST / 1e9, UTC) + timedelta(days=DAYS / 2)
    hour = ("--since", f"{middle:%FT%TZ}", "--until", f"{middle + timedelta(hours=1):%FT%TZ}")
    for name, words in {
        "destinations": ("destinations",),
        "who": ("who", "--peer", "*"),
        "never": ("never",),
        "allowed_by": ("allowed-by",),
        "hour": ("outcomes-by-minute", *hour),
    }.items():
        for engine in ("duckdb", "chdb"):
            told[f"{engine}_{name}"] = _asked(kept, *words, "--engine", engine)
    told["step"] = statistics.median(_step(kept, middle) for _ in range(ROUNDS))
    capture = folder / "slice.jsonl"
    made_up(SLICE, capture)
    told["json"] = _flowwatch("summary", "--input-file", capture, "-o", "json") * flows / SLICE
    _flowwatch("record", "--input-file", capture, "--to", folder / "slice")
    told["records"] = (
        _flowwatch("summary", "--history", folder / "slice", "-o", "json") * flows / SLICE
    )
    return told


def _step(kept: Path, middle: datetime) -> float:
    """The same question about an hour, of a program that has loaded what it needs: a step of a time bar."""
    from flowwatch.history.attempts.asking import Limits, ask, question_of

    since = int(middle.timestamp()) * 10**9
    limits = [Limits(since + hour * HOUR, since + (hour + 1) * HOUR) for hour in range(3)]
    ask(kept, question_of("outcomes-by-minute"), limits[0])
    began = time.perf_counter()
    for one in limits[1:]:
        ask(kept, question_of("outcomes-by-minute"), one)
    return (time.perf_counter() - began) / 2


def generated(kept: Path, flows: int) -> None:
    """A history with the attempts of so many flows: 2,000 pods, 200 workloads, 5,000 destinations."""
    store.create(kept)
    hours = DAYS * 24
    each = flows // A_RECORDS // hours
    random = np.random.default_rng(1)
    made = Made(rows=flows, attempts=each * hours, until=FIRST + DAYS * 24 * HOUR)
    for hour in range(hours):
        table = _hour(random, each, FIRST + hour * HOUR)
        place = partition("default", FIRST + hour * HOUR).partition("/")[2]
        for name, rows in (("attempts", table), ("minutes", minutes_of(table))):
            path = f"{name}/{place}/{hour:06d}.parquet"
            write(kept / MADE / path, rows)
            made.files[path] = rows.num_rows, (kept / MADE / path).stat().st_size
    (kept / MADE / MARKER).write_text(text_of(made))


def _hour(random: np.random.Generator, count: int, start: int) -> pa.Table:
    pod = random.integers(0, 2000, count)
    workload = pod // 10
    # Each workload has some 25 destinations, of which few have most.
    peer = (workload * 25 + np.minimum(random.zipf(1.6, count), 25)) % 5000
    dropped = random.random(count) < 0.08
    micros = np.sort(random.integers(0, HOUR // 1000, count)) + start // 1000

    def text(values: list[str], at: Any) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(at, pa.int32()), pa.array(values)).cast(
            pa.string()
        )

    def same(value: Any) -> pa.Array:
        return pa.array([value] * count)

    address = [f"10.{n // 250}.{n % 250}.7" for n in range(5000)]
    policies = pa.ListArray.from_arrays(
        pa.array(np.arange(count + 1), pa.int32()),
        text([f"team-{n % 20}/policy-{n} (CiliumNetworkPolicy)" for n in range(200)], workload),
    )
    nothing = pa.ListArray.from_arrays(
        pa.array(np.zeros(count + 1), pa.int32()), pa.array([], pa.string())
    )
    values: dict[str, pa.Array] = {
        "first_seen": pa.array(micros), "last_seen": pa.array(micros + random.integers(0, 2_000_000, count)),
        "direction": same("egress"), "outcome": text(["forwarded", "dropped"], dropped),
        "namespace": text([f"team-{n}" for n in range(20)], workload % 20),
        "pod": text([f"app-{n // 10}-7c9d8-{n:05d}" for n in range(2000)], pod),
        "workload": text([f"app-{n}" for n in range(200)], workload),
        "pod_address": text(address, pod), "source_port": pa.array(random.integers(32768, 60999, count)),
        "peer": text([f"service-{n}.example.com" for n in range(5000)], peer), "peer_kind": same("dns"),
        "peer_address": text(address, peer), "port": same(443), "protocol": same("TCP"),
        "drop_reason": text(["", "POLICY_DENIED"], dropped), "drop_reason_number": pa.array(dropped * 133),
        "explanation": same(""), "detail": same(""), "records": pa.array(random.integers(2, 5, count)),
        "node": text([f"node-{n}" for n in range(40)], pod % 40), "server": same(""),
        "answer": text(["answered", ""], dropped),
        "retries": pa.array(random.integers(0, 3, count) * dropped),
        "noise": same(""), "uncounted": same(False), "not_recorded": nothing, "encrypted": same(False),
        "policy_log": nothing, "pod_cluster": same("default"), "waited_us": same(0),
        "tries": pa.array(1 + random.integers(0, 3, count) * dropped), "denied_by": nothing,
        "default_denied_by": nothing, "allowed_by": policies,
    }  # fmt: skip
    wanted = schema(pa, ATTEMPTS)
    return pa.table(
        [values[one.name].cast(wanted.field(one.name).type) for one in ATTEMPTS], schema=wanted
    )


def figures() -> list[tuple[str, str, str]]:
    """Both, as lines of the table: what, reached, goal."""
    with tempfile.TemporaryDirectory() as home:
        first = million(Path(home, "million"))
    with tempfile.TemporaryDirectory() as home:
        then = fifty(Path(home, "fifty"))
    return [*_of_million(first), *_of_fifty(then)]


def _of_million(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    seconds = ", ".join(f"{name} {told[name]:.0f} s" for name in ("duckdb", "chdb", "spark"))
    return [
        (
            f"{told['records']:,} flows ({told['attempts']:,} attempts): attempts made",
            f"{told['made']:.0f} s",
            "",
        ),
        (
            f"… {told['questions']} questions, {told['rows']:,} rows, on DuckDB, chDB and Spark "
            f"({told['executors']} executors): answers that differ",
            f"{len(told['differing'])} ({seconds})",
            "0",
        ),
        (
            f"… {told['of_the_join']:,} counts of summary, by pod, destination and outcome: that differ",
            f"{told['not_of_the_join']}",
            "0",
        ),
    ]


def _of_fifty(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    names = {
        "destinations": ("who goes where, of all 30 days", "≤ 3 s"),
        "who": ("… by pod: what summary counts", "≤ 3 s"),
        "never": ("what was never let through", ""),
        "allowed_by": ("policies that allowed something, of attempts", "≤ 5 s"),
        "hour": ("an hour, minute by minute", ""),
    }
    lines = [
        (
            f"{FIFTY:,} flows as {told['attempts']:,} attempts of {DAYS} days",
            f"{told['bytes'] / 1e6:,.0f} MB, of which minutes {told['bytes_of_minutes'] / 1e6:,.0f}",
            "",
        )
    ]
    for name, (what, goal) in names.items():
        duckdb, chdb = (f"{wall:.1f} s ({cpu:.1f} s CPU)" for wall, cpu in
                        (told[f"duckdb_{name}"], told[f"chdb_{name}"]))  # fmt: skip
        lines.append((f"… {what}: history ask", f"{duckdb}; chDB {chdb}", goal))
    return [
        *lines,
        (
            "… an hour further, of a program that has begun",
            f"{told['step'] * 1000:.0f} ms",
            "≤ 200 ms",
        ),
        (
            f"summary of the records, from a slice of {SLICE:,}: of a history, and of JSON lines",
            f"{told['records'] / 60:,.0f} and {told['json'] / 60:,.0f} min",
            "",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("million", "fifty"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--flows", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder = given.folder or Path(home)
        what = million if given.what == "million" else fifty
        print(json.dumps(what(folder, *([given.flows] if given.flows else []))))


if __name__ == "__main__":
    main()
