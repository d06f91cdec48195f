"""Every question has the same answer on DuckDB, ClickHouse (chDB) and Spark, row by row, and of the join.

Spark runs with two executors, each a process of its own. A million flows are asked by `make bench ARGS=ask`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from flowwatch.history.attempts.asking import Limits, ask, table_of
from flowwatch.history.attempts.questions import QUESTIONS
from tests.benchmarks.traffic import story
from tests.command import ROOT, clean_environment
from tests.in_process import flowwatch
from tests.unit.history.every_question import CLUSTER, counted, every, limits_of, middle
from tests.unit.history.test_answers import record

LINES = 20_000
TWENTY = 20
"""Questions that Spark is asked here, as each takes it a second; `make bench` asks all."""

pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of the demo's story, over and over: policies, layer 7, retries, answers, two nodes."""
    folder = tmp_path_factory.mktemp("asked")
    story(LINES, folder / "flows.jsonl")
    kept = record(folder / "flows.jsonl", folder / "it's kept")
    assert flowwatch("history", "compact", kept).returncode == 0
    return kept


@pytest.fixture(scope="module")
def told(kept: Path) -> dict[str, Any]:
    """What DuckDB answers, by question."""
    return {
        name: [one.columns, [list(row) for row in one.rows]]
        for name, one in every(kept, "duckdb").items()
    }


def asked_of(kept: Path, engine: str, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.unit.history.every_question", str(kept), engine, *more]
    env = clean_environment(str(kept)) | {"PYTHONPATH": str(ROOT)} | java_home()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=390, env=env, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def java_home() -> dict[str, str]:
    return {name: os.environ[name] for name in ("JAVA_HOME",) if name in os.environ}


def differing(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {name: (one[name], other.get(name)) for name in one if one[name] != other.get(name)}


def test_there_is_much_to_ask_about(told: dict[str, Any]) -> None:
    """An answer of no row proves little: most questions have one here."""
    empty = {name for name, (_, rows) in told.items() if not rows}
    assert len(QUESTIONS) - len(empty) >= 25
    assert sum(row[told["outcomes"][0].index("records")] for row in told["outcomes"][1]) > LINES / 2


def test_clickhouse_answers_the_same(kept: Path, told: dict[str, Any]) -> None:
    assert differing(told, asked_of(kept, "chdb")["answers"]) == {}


def without_java() -> str:
    if os.environ.get("CI"):
        return ""
    missing = [name for name in ("java",) if not shutil.which(name)]
    missing += [name for name in ("pyspark",) if find_spec(name) is None]
    return f"Spark needs {' and '.join(missing)}, which isn't here" if missing else ""


@pytest.mark.skipif(bool(without_java()), reason=without_java())
def test_spark_answers_the_same_on_two_executors(kept: Path, told: dict[str, Any]) -> None:
    try:
        answered = asked_of(kept, "spark", CLUSTER, "--most", str(TWENTY))
    finally:
        # What executors say, which is kept where pyspark is.
        spec = find_spec("pyspark")
        assert spec is not None
        assert spec.origin is not None
        shutil.rmtree(Path(spec.origin).parent / "work", ignore_errors=True)
    assert answered["executors"] == 2
    assert len(answered["answers"]) == TWENTY
    assert differing(answered["answers"], told) == {}


def test_minutes_answer_as_attempts_do(kept: Path, told: dict[str, Any]) -> None:
    """A window of which the beginning is no whole minute is asked of attempts."""
    for question in QUESTIONS:
        if question.table != "minutes":
            continue
        limits = limits_of(question, middle(kept))
        cut = Limits(limits.since, 2**62 // 10**9 * 10**9 + 1, "both", peer=limits.peer, rows=0)
        assert (table_of(question, limits), table_of(question, cut)) == ("minutes", "attempts")
        answered = ask(kept, question, cut)
        assert [answered.columns, [list(row) for row in answered.rows]] == told[question.name], (
            question.name
        )


def test_the_join_says_the_same(kept: Path) -> None:
    """`summary` counts what `who` counts, by pod, destination and outcome; and why they were dropped."""
    done = flowwatch("summary", "--history", kept, "-o", "json", "--direction", "egress")
    by_join, by_engine = counted(kept, json.loads(done.stdout))
    assert sum(by_join.values()) > LINES / 10
    assert by_engine == by_join
