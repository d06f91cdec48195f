"""Every question, asked of a history on one engine: ``python -m … every_question DIR ENGINE``.

Writes the answers as JSON, by question: columns and rows. ``MASTER`` is Spark's, which goes with the process.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from flowwatch.history.attempts.asking import Limits, Told, ask, question_of
from flowwatch.history.attempts.engines import ENGINES
from flowwatch.history.attempts.questions import OUTCOMES, QUESTIONS, Inquiry

CLUSTER = "local-cluster[2,1,512]"
"""Two executors, each a process with a core and 512 MB."""

SPARK = (
    "spark.driver.host=127.0.0.1",
    "spark.driver.bindAddress=127.0.0.1",
    "spark.executor.memory=512m",
    "spark.ui.showConsoleProgress=false",
    # For little data: each query is planned once, and compiled not at all.
    "spark.sql.shuffle.partitions=2",
    "spark.sql.adaptive.enabled=false",
    "spark.sql.codegen.wholeStage=false",
    "spark.sql.codegen.factoryMode=NO_CODEGEN",
    "spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1",
    "spark.executor.extraJavaOptions=-XX:TieredStopAtLevel=1",
)


def limits_of(question: Inquiry, moment: int, rows: int = 0) -> Limits:
    """What the tests ask it with."""
    return Limits(
        moment if question.moment else None,
        direction="both",
        peer="*" if question.peer else "",
        rows=rows,
    )


def middle(folder: Path) -> int:
    """A whole minute with attempts before and after it, ns since 1970."""
    times: list[int] = []
    for path in (folder / "made" / "minutes").rglob("*.parquet"):
        column = parquet.ParquetFile(path).read(columns=["minute"]).column(0)
        times += column.cast("int64").to_pylist()
    times.sort()
    return int(times[len(times) // 2]) * 1000


def every(folder: Path, engine: str, most: int = len(QUESTIONS)) -> dict[str, Told]:
    """The answers to all questions, or to so many, of all kinds."""
    moment = middle(folder)
    asked = [*QUESTIONS[1::2], *QUESTIONS[::2]][:most]
    return {one.name: ask(folder, one, limits_of(one, moment), ENGINES[engine]) for one in asked}


Counted = Counter[tuple[Any, ...]]


def counted(folder: Path, summary: dict[str, Any]) -> tuple[Counted, Counted]:
    """Egress attempts by pod, destination and outcome, and dropped ones by reason: as ``summary``, the object
    of ``summary -o json``, has them of the join, and as DuckDB has them of minutes."""
    keys = ("namespace", "workload", "peer", "peer_kind", "port", "protocol", "pod")
    by_join = Counted()
    for row in summary["rows"]:
        for outcome in OUTCOMES:
            by_join[(*[row[key] for key in keys], outcome)] += row[
                {"error": "errors"}.get(outcome, outcome)
            ]
        by_join.update(
            {("dropped for", name): count for name, count in row["drop_reasons"].items()}
        )
    by_engine = Counted()
    for values in told(folder, "who", Limits(peer="*", rows=0)):
        for outcome in OUTCOMES:
            by_engine[(*[values[key] for key in keys], outcome)] += values[outcome]
    for values in told(folder, "reasons", Limits(rows=0)):
        by_engine[("dropped for", values["drop_reason"])] += values["attempts"]
    return +by_join, +by_engine


def told(folder: Path, name: str, limits: Limits) -> list[dict[str, Any]]:
    """What DuckDB answers, row by row."""
    answer = ask(folder, question_of(name), limits)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("engine")
    parser.add_argument("master", nargs="?", default="")
    parser.add_argument("--most", type=int, default=len(QUESTIONS))
    given = parser.parse_args()
    if given.master:
        conf = " ".join(f"--conf {one}" for one in SPARK)
        os.environ["PYSPARK_SUBMIT_ARGS"] = f"--master {given.master} {conf} pyspark-shell"
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    began = time.monotonic()
    answers: dict[str, Any] = {
        name: [one.columns, one.rows]
        for name, one in every(given.folder, given.engine, given.most).items()
    }
    executors = 0
    if given.engine == "spark":
        executors = _executors()
    print(
        json.dumps(
            {"answers": answers, "executors": executors, "seconds": time.monotonic() - began}
        )
    )


def _executors() -> int:
    """Those that ran it, without the driver."""
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    assert session is not None
    known = session.sparkContext._jsc.sc().statusTracker().getExecutorInfos()
    session.stop()
    return len(known) - 1


if __name__ == "__main__":
    main()
