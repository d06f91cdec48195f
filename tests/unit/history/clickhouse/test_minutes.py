"""What the server makes of the rows by itself: counts by the minute, and what has grown old."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.in_process import flowwatch
from tests.interop.program import wait_until
from tests.unit.history.clickhouse.servers import Old, Today
from tests.unit.history.clickhouse.test_answers import WEATHER, shown

pytestmark = pytest.mark.xdist_group("clickhouse")


def counted(server: Old | Today, url: str) -> Counter[tuple[str, ...]]:
    database = shown(url).rpartition("/")[2]
    said = server.ask(
        "SELECT toString(minute, 'UTC'), verdict, source_pod, toString(destination_port), "
        f"toString(sum(records)) FROM {database}.flowwatch_minutes "
        "GROUP BY minute, verdict, source_pod, destination_port FORMAT TabSeparated"
    )
    rows = [line.split("\t") for line in said.splitlines()]
    return Counter({(row[0][11:16], *row[1:-1]): int(row[-1]) for row in rows})


def test_records_are_counted_by_the_minute(server: Old | Today) -> None:
    url = server.url()
    for _ in range(2):
        flowwatch("record", "--input-file", WEATHER, "--to", url)
    wanted: Counter[tuple[str, ...]] = Counter()
    for line in WEATHER.read_text("utf-8").splitlines():
        flow = json.loads(line).get("flow")
        if flow and not flow.get("is_reply"):
            layer = next(iter(flow["l4"].values()))
            port = layer.get("destination_port", layer.get("type", 0))
            pod = flow["source"].get("pod_name", "")
            wanted[flow["time"][11:16], flow["verdict"], pod, str(port)] += 1
    assert len(wanted) > 10
    assert counted(server, url) == wanted


def test_what_is_forgotten_is_not_counted_either(server: Old | Today) -> None:
    url = server.url()
    flowwatch("record", "--input-file", WEATHER, "--to", url)
    pod = next(key[2] for key in counted(server, url) if key[2].startswith("weather-app"))
    flowwatch("history", "forget", url, "--pod", f"weather/{pod}")
    assert pod not in {key[2] for key in counted(server, url)}
    assert counted(server, url)
    flowwatch("history", "forget", url, "--before", "2026-11-28T17:57:00Z")
    assert {key[0] for key in counted(server, url)} == {"17:57"}


def test_what_has_grown_old_goes_by_the_tables_own_limit(today: Today) -> None:
    url = today.url()
    database = shown(url).rpartition("/")[2]
    flowwatch("record", "--input-file", WEATHER, "--to", url, "--keep", "3650d")
    tables = ("flowwatch_flows", "flowwatch_minutes", "flowwatch_events")
    for table in tables:
        assert "toIntervalSecond(315360000)" in today.ask(f"SHOW CREATE TABLE {database}.{table}")
        assert today.ask(f"SELECT count() > 0 FROM {database}.{table}") == "1\n"
    # Of 2026-11-28: beyond a minute today, whenever that is.
    flowwatch("record", "--input-file", WEATHER, "--to", url, "--keep", "1m")
    for table in tables[:2]:
        # A merge that is under way already may know the limit before.
        wait_until(lambda table=table: gone(today, f"{database}.{table}"), f"{table}", timeout=60)  # type: ignore[misc]


def gone(server: Today, table: str) -> bool:
    """Whether nothing is there once all of it was merged."""
    server.ask(f"OPTIMIZE TABLE {table} FINAL")
    return server.ask(f"SELECT count() FROM {table}") == "0\n"
