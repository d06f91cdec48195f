"""Folded rows: their counts are the sums of the rows, and what differs says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

import flowwatch as library
from flowwatch.egress.folding import ALL, By, fold, read_by
from flowwatch.egress.rows import Row, Run
from flowwatch.errors import UsageError
from flowwatch.flows.model import PolicyRef
from flowwatch.flows.staged import Did, Staged
from tests.in_process import flowwatch
from tests.material import OWN
from tests.unit.report.made import row

WEATHER = OWN / "captures" / "weather.jsonl"
COUNTS = ("forwarded", "dropped", "audited", "errors", "unknown", "records", "answered", "late")


def pods(number: int, **changes: Any) -> list[Row]:
    return [
        row(namespace="weather", pod=f"app-{at}", workload="app", key=at + 1, **changes)
        for at in range(number)
    ]


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("pod,peer,port", By("pod", "", True, True)),
        ("workload", By("workload", "", False, False)),
        ("namespace,peer", By("namespace", "", True, False)),
        ("label:app.kubernetes.io/name,port", By("", "app.kubernetes.io/name", False, True)),
    ],
)
def test_what_rows_are_folded_by(text: str, by: By) -> None:
    assert read_by(text) == by


@pytest.mark.parametrize("text", ["", "peer", "label:", "workload,pod", "workload,peer,peer", "x"])
def test_what_can_t_be_folded_by(text: str) -> None:
    with pytest.raises(UsageError, match="invalid --by"):
        read_by(text)


@pytest.mark.parametrize(
    "by", ["workload,peer,port", "workload", "namespace,peer", "namespace,port"]
)
def test_counts_are_the_sums_of_the_rows(by: str) -> None:
    told = flowwatch("summary", "--input-file", WEATHER, "--direction", "both", "-o", "json")
    folded = flowwatch(
        "summary", "--input-file", WEATHER, "--direction", "both", "--by", by, "-o", "json"
    )

    rows, few = json.loads(told.stdout), json.loads(folded.stdout)

    assert 0 < len(few["rows"]) < len(rows["rows"])
    for name in COUNTS:
        assert sum(one[name] for one in few["rows"]) == sum(one[name] for one in rows["rows"]), name
    reasons = [sum(sum(one["drop_reasons"].values()) for one in of["rows"]) for of in (rows, few)]
    assert reasons[0] == reasons[1]
    assert few["totals"] == rows["totals"]


def test_pods_of_a_workload_are_one_row_that_counts_them() -> None:
    (one,) = fold(pods(3, dropped=2), read_by("workload,peer,port"))

    assert (one.workload, one.pod, one.pods, one.dropped) == ("app", "", 3, 6)


def test_a_single_pod_keeps_its_name() -> None:
    (one,) = fold(pods(1), read_by("workload,peer,port"))

    assert (one.pod, one.pods) == ("app-0", 1)


def test_one_row_folded_is_that_row() -> None:
    """Whatever fields it has: a new one is summed, joined or passed on."""
    plain = json.loads(flowwatch("summary", "--input-file", WEATHER, "-o", "json").stdout)["rows"]
    alone = "workload,peer,port"
    folded = json.loads(
        flowwatch("summary", "--input-file", WEATHER, "--by", alone, "-o", "json").stdout
    )["rows"]
    single = [one for one in folded if one["pods"] == 1]
    assert single
    assert all(one in plain for one in single)
    filled = row(**{one.name: _filled(one.type) for one in msgspec.structs.fields(Row)})
    assert fold([filled], read_by(alone)) == [filled]


def _filled(of: Any) -> Any:
    """Some value of a type that is no default."""
    made: dict[Any, Any] = {
        str: "x", int: 1, float: 2.0, dict[str, int]: {"x": 1}, tuple[str, ...]: ("x",),
        tuple[Run, ...]: (Run("dropped", 1, 2),), tuple[PolicyRef, ...]: (PolicyRef(name="x"),),
        Staged | None: Staged(1, 2, 3, 4, (Did("x", 1, 2),), "why"),
    }  # fmt: skip
    return made[of]


def test_over_several_destinations_the_peer_is_all() -> None:
    rows = [*pods(1, peer="a.example", port=443), *pods(1, peer="b.example", port=80)]

    (one,) = fold(rows, read_by("workload"))

    assert (one.peer, one.peer_kind, one.port, one.pods) == (ALL, rows[0].peer_kind, 0, 1)


def test_clusters_are_never_folded_together() -> None:
    rows = [*pods(1, cluster="one"), *pods(1, cluster="two")]

    assert len(fold(rows, read_by("namespace"))) == 2


def test_the_state_is_that_of_all_since_the_last_of_them() -> None:
    def ran(since: int) -> tuple[Run, ...]:
        return Run("forwarded", 1, since - 1), Run("dropped", since, since + 9)

    rows = [
        *pods(1, runs=ran(10), dropped=1, forwarded=1),
        *pods(1, runs=ran(20), dropped=1, forwarded=1),
    ]
    (one,) = fold(rows, read_by("workload,peer,port"))

    assert (one.state, one.since, one.runs[0].until) == ("dropped", 20, 19)


def test_pods_that_fare_otherwise_are_mixed() -> None:
    rows = [
        *pods(1, runs=(Run("forwarded", 1, 9),), forwarded=1),
        *pods(1, runs=(Run("dropped", 1, 9),), dropped=1, forwarded=0),
    ]
    (one,) = fold(rows, read_by("workload,peer,port"))

    assert (one.state, one.since) == ("mixed", 0)


def test_by_a_label() -> None:
    told = flowwatch("summary", "--input-file", WEATHER, "--by", "label:app", "-o", "json")

    names = {one["workload"] for one in json.loads(told.stdout)["rows"]}
    assert "app=weather-app" in names


def test_the_table_counts_the_pods() -> None:
    told = flowwatch("summary", "--input-file", WEATHER, "--by", "workload,peer,port")

    assert "weather/weather-app (3 pods)" in told.stdout


def test_in_python_the_same(tmp_path: Path) -> None:
    frame = library.read(WEATHER, by="workload,peer,port")
    told = flowwatch("summary", "--input-file", WEATHER, "--by", "workload,peer,port", "-o", "json")

    assert frame["dropped"].tolist() == [one["dropped"] for one in json.loads(told.stdout)["rows"]]
    assert frame["pods"].max() == 3


def test_a_wrong_word_is_one_line() -> None:
    told = flowwatch("summary", "--input-file", WEATHER, "--by", "cluster")

    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
