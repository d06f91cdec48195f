"""A history in a ClickHouse server: the same answers as from a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import ROOT
from tests.in_process import flowwatch
from tests.unit.history.clickhouse.servers import Old, Today

pytestmark = pytest.mark.xdist_group("clickhouse")

WEATHER = ROOT / "tests" / "data" / "captures" / "weather.jsonl"
STEADY = ROOT / "tests" / "data" / "kernel-lab" / "steady"
VERBS = (
    "summary -o json",
    "summary -o json --since 2026-11-28T17:56:30Z --until 2026-11-28T17:57:30Z",
    "summary -o json --namespace weather",
    "summary -o json --namespace nobody",
    "export --outcome all --direction both",
    "export --raw --outcome all",
    "observe -o json",
    "changes -o json",
    "gate --max-dropped 100 -o json",
    f"audit -o json -f {STEADY / 'policy.yaml'}",
    f"unused -o json -f {STEADY / 'policy.yaml'}",
    f"gap -o json -f {STEADY / 'policy.yaml'}",
    "draft --direction both",
)


def shown(url: str) -> str:
    """As it is told: without who asks, and how."""
    place = url.removeprefix("clickhouse://").rpartition("@")[2].partition("?")[0]
    return f"clickhouse://{place}"


def test_every_answer_is_that_of_the_file(server: Old | Today) -> None:
    url = server.url()
    done = flowwatch("record", "--raw", "--input-file", WEATHER, "--to", url)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    for verb in VERBS:
        of_file = flowwatch(*verb.split(), "--input-file", WEATHER)
        of_tables = flowwatch(*verb.split(), "--history", url)
        named = [
            text.replace(f"history {shown(url)}", WEATHER.name)
            for text in (of_tables.stdout, of_tables.stderr)
        ]
        assert named == [of_file.stdout, of_file.stderr], verb
        assert of_file.stdout, verb


def test_a_window_without_records_is_told_as_of_a_folder(
    server: Old | Today, tmp_path: Path
) -> None:
    places = server.url(), str(tmp_path / "kept")
    for place in places:
        assert flowwatch("record", "--input-file", WEATHER, "--to", place).returncode == 0
    for window in ("--since=2100-01-01", "--until=2000-01-01", "--since=2100-01-01 -n nobody"):
        of_tables, of_folder = (
            flowwatch("summary", "--history", place, *window.split()).stderr for place in places
        )
        assert of_tables == of_folder
        assert "no record is of that time: the history " in of_tables


def test_nothing_is_kept_twice(server: Old | Today) -> None:
    url = server.url()
    for _ in range(2):
        done = flowwatch("record", "--input-file", WEATHER, "--to", url)
        assert done.returncode == 0, done.stderr
    assert "64 were kept before" in done.stderr
    about = json.loads(flowwatch("history", "info", url, "-o", "json").stdout)
    assert about["records"] == 64
    assert [one["ended"] for one in about["runs"]] == ["the source ended"] * 2


def test_it_is_looked_after_as_a_folder_is(server: Old | Today, tmp_path: Path) -> None:
    told = []
    url = server.url()
    for where in (url, str(tmp_path / "kept")):
        flowwatch("record", "--input-file", WEATHER, "--to", where)
        said = []
        for words in (
            "compact",
            "verify",
            "forget --pod weather/nobody",
            "forget --namespace weather",
        ):
            verb, *more = words.split()
            done = flowwatch("history", verb, where, *more)
            assert (done.returncode, done.stderr) == (0, "")
            said.append(done.stdout)
        about = json.loads(flowwatch("history", "info", where, "-o", "json").stdout)
        left = json.loads(flowwatch("summary", "--history", where, "-o", "json").stdout)
        told.append((said, about, left))
    (of_tables, about, left), (of_folder, wanted, also) = told
    assert of_tables[0].startswith("nothing to merge: ClickHouse does that by itself")
    assert "are sound: 64 records" in of_tables[1]
    assert of_tables[2:] == of_folder[2:]
    assert {
        name: about[name] for name in ("first", "last", "records", "nodes", "gaps", "left_out")
    } == {name: wanted[name] for name in ("first", "last", "records", "nodes", "gaps", "left_out")}
    assert about["deleted"][0]["count"] == wanted["deleted"][0]["count"] == 27
    assert left["totals"] == also["totals"]
