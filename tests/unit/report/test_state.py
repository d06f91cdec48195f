"""A row's state in time is the same wherever the row is shown: one computation, four ways to it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas

import flowwatch as library
from tests.in_process import flowwatch


def line(at: int, verdict: str) -> str:
    """A policy-verdict of weather-app's attempt to 1.2.3.4:443, at second ``at``."""
    flow = {
        "time": f"2026-01-31T11:17:{at:02}Z",
        "verdict": verdict,
        "IP": {"source": "10.0.0.1", "destination": "1.2.3.4", "ipVersion": "IPv4"},
        "l4": {
            "TCP": {"source_port": 40_000 + at, "destination_port": 443, "flags": {"SYN": True}}
        },
        "source": {
            "namespace": "weather",
            "pod_name": "weather-app-1",
            "labels": ["k8s:app=weather-app"],
        },
        "destination": {"identity": 2, "labels": ["reserved:world"]},
        "node_name": "node-1",
        "event_type": {"type": 5},
        "traffic_direction": "EGRESS",
        "drop_reason_desc": "POLICY_DENIED" if verdict == "DROPPED" else None,
        "drop_reason": 133 if verdict == "DROPPED" else 0,
    }
    return json.dumps({"flow": {name: value for name, value in flow.items() if value}}) + "\n"


def test_summary_export_and_python_tell_the_same(tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    forwarded = [line(at, "FORWARDED") for at in (38, 40, 41)]
    path.write_text("".join([*forwarded, *[line(at, "DROPPED") for at in (43, 44, 50)]]))
    told = {
        "state": "dropped",
        "since": "2026-01-31T11:17:43.000000000Z",
        "state_before": "forwarded",
        "until": "2026-01-31T11:17:41.000000000Z",
    }
    given = ("--input-file", path)
    [row] = json.loads(flowwatch("summary", "-o", "json", *given).stdout)["rows"]
    assert (row["dropped"], row["forwarded"]) == (3, 3)
    of_csv = flowwatch("summary", "-o", "csv", *given).stdout
    grouped = flowwatch("export", "--grouped", *given).stdout
    for one in (row, *[next(csv.DictReader(io.StringIO(text))) for text in (of_csv, grouped)]):
        assert {name: one[name] for name in told} == told
    frame = library.read(str(path))
    assert frame["state"].tolist() == ["dropped"]
    assert frame["state_before"].tolist() == ["forwarded"]
    assert frame["since"].tolist() == [pandas.Timestamp(told["since"])]
    assert frame["until"].tolist() == [pandas.Timestamp(told["until"])]
