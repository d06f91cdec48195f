"""Two real observers read as one: totals are their sum, and one that dies doesn't stop the other."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

from flowwatch.cli.flags import parse
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import flow_request
from tests.command import flowwatch
from tests.interop.real import Observer, free_port
from tests.interop.test_follow import attempt, eventually, following, snapshot


def in_cluster(name: str, number: int, pod: str = "app-1") -> list[dict[str, Any]]:
    """A blocked attempt as a node of the cluster ``name`` tells it."""
    records: list[dict[str, Any]] = attempt(number, pod, f"{name}/worker1")
    for record in records:
        record["source"] = {**record["source"], "cluster_name": name}
    return records


def both(one: Observer, two: Observer) -> list[str]:
    return ["--server", one.address, "--server", two.address]


def test_totals_are_the_sum_and_rows_are_of_their_cluster() -> None:
    with Observer(node="east/worker1") as one, Observer(node="west/worker1") as two:
        for number in range(3):
            one.write(*in_cluster("east", number))
        for number in range(5):
            # The same pod, addresses and ports: another cluster may well have them too.
            two.write(*in_cluster("west", number))
        done = flowwatch("summary", *both(one, two), "-o", "json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["totals"]["dropped"] == 8
        assert told["clusters"] == ["east", "west"]
        assert {(row["cluster"], row["server"], row["dropped"]) for row in told["rows"]} == {
            ("east", one.address, 3),
            ("west", two.address, 5),
        }
        table = flowwatch("summary", *both(one, two)).stdout
        assert "CLUSTER" in table
        assert "east" in table
        lines = list(csv.DictReader(io.StringIO(flowwatch("export", *both(one, two)).stdout)))
        assert sorted(line["cluster"] for line in lines) == ["east"] * 3 + ["west"] * 5
        single = flowwatch("summary", "--server", one.address).stdout
        assert "CLUSTER" not in single


def test_clusters_of_one_name_are_told_apart_by_their_server() -> None:
    with Observer() as one, Observer() as two:
        one.write(*attempt(1))
        two.write(*attempt(1), *attempt(2))
        told = json.loads(flowwatch("summary", *both(one, two), "-o", "json").stdout)
        assert told["clusters"] == sorted([f"default ({one.address})", f"default ({two.address})"])
        assert told["totals"]["dropped"] == 3


def test_one_of_two_that_is_down_is_told_and_the_other_is_shown() -> None:
    with Observer() as one:
        one.write(*attempt(1))
        nobody = f"127.0.0.1:{free_port()}"
        done = flowwatch("summary", "--server", one.address, "--server", nobody, "-o", "json")
        assert done.returncode == 1
        told = json.loads(done.stdout)
        assert told["totals"]["dropped"] == 1
        assert told["servers_failed"] == [nobody]
        assert told["at_least"] is True
        assert any(nobody in warning for warning in told["warnings"])
        assert nobody in done.stderr


def test_following_two_goes_on_when_one_is_killed() -> None:
    with Observer(node="east/worker1") as one, Observer(node="west/worker1") as two:
        one.write(*in_cluster("east", 1))
        two.write(*in_cluster("west", 1))
        with following(*both(one, two)) as monitor:
            eventually(lambda: snapshot(monitor).totals.dropped == 2, "both servers' attempts")
            two.kill()
            eventually(
                lambda: [s.phase for s in monitor.state().servers] == ["following", "lost"],
                "one is lost",
            )
            assert monitor.state().phase == "following"
            assert two.address in monitor.state().message
            one.write(*in_cluster("east", 2))
            eventually(lambda: snapshot(monitor).totals.dropped == 3, "the other goes on")
            two.restart()
            two.write(*in_cluster("west", 3))
            eventually(lambda: snapshot(monitor).totals.dropped == 4, "it is back")
            (gap,) = snapshot(monitor).coverage.gaps
            assert gap.origin == two.address
            assert {row.cluster for row in snapshot(monitor).rows} == {"east", "west"}


def test_verbs_that_ask_one_server_refuse_several() -> None:
    for verb in (["observe"], ["status"], ["list", "nodes"]):
        done = flowwatch(*verb, "--server", "127.0.0.1:1", "--server", "127.0.0.1:2")
        assert done.returncode == 2
        assert "several servers were given" in done.stderr


def test_the_same_server_twice_is_one() -> None:
    with Observer() as one:
        one.write(*attempt(1))
        done = flowwatch("summary", "--server", one.address, "--server", one.address, "-o", "json")
        assert json.loads(done.stdout)["totals"]["dropped"] == 1


def test_closing_ends_all(tmp_path: Path) -> None:
    with Observer() as one, Observer() as two:
        wanted = flow_request(
            parse(both(one, two)), follow=True, several=True, environ={"HOME": str(tmp_path)}
        )
        source = open_source(wanted, with_ring=True, keep_trying=True)
        began = time.monotonic()
        for _ in source.batches():
            source.close()
        assert time.monotonic() - began < 10
