"""Two nodes whose clocks are apart, through every verb: one attempt, and the difference told."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flowwatch.report.audit import AUDIT_FORMATS
from flowwatch.report.whatif import WHATIF_FORMATS
from tests.in_process import flowwatch

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
TOLD = "clocks are apart: node-1 is 90 s ahead of node-2 (by 1 connection that two nodes saw)"
POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: weather-egress, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress: [{toEntities: [cluster]}]
"""


def record(
    at: datetime, node: str, verdict: str = "DROPPED", port: int = 41000
) -> dict[str, object]:
    labels = ["k8s:app=weather-app", "k8s:io.kubernetes.pod.namespace=weather"]
    flow = {
        "time": at.isoformat(),
        "verdict": verdict,
        "IP": {"source": "10.0.0.1", "destination": "1.2.3.4", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": port, "destination_port": 443, "flags": {"SYN": True}}},
        "source": {"namespace": "weather", "pod_name": "weather-app-1", "labels": labels},
        "destination": {"identity": 2, "labels": ["reserved:world"]},
        "event_type": {"type": 5},
        "traffic_direction": "EGRESS",
        "node_name": node,
        "is_reply": False,
    }
    if verdict == "DROPPED":
        flow |= {"drop_reason_desc": "POLICY_DENIED"}
        del flow["is_reply"]
    return {"flow": flow, "node_name": node, "time": at.isoformat()}


def written(path: Path, *records: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """One connection, seven SYNs, seen by two nodes; the second's clock is 90 s behind."""
    return written(
        tmp_path / "flows.jsonl",
        *(
            record(NOON + timedelta(seconds=wait - behind), node)
            for wait in (0, 1, 3, 7, 15, 31, 63)
            for node, behind in (("node-1", 0), ("node-2", 90))
        ),
    )


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def test_the_summary(capture: Path) -> None:
    found = json.loads(flowwatch("summary", "--input-file", capture, "-o", "json").stdout)
    assert found["totals"]["attempts"] == 1
    assert [row["records"] for row in found["rows"]] == [14]
    assert found["window"]["seconds"] == 63
    assert found["clock_skews"] == [
        {"node": "node-1", "seconds_ahead": 90.0, "of": "node-2", "connections": 1}
    ]
    [warning] = found["warnings"]
    assert warning.startswith(TOLD)


@pytest.mark.parametrize("form", ["table", "csv", "markdown"])
def test_the_summary_for_reading(capture: Path, form: str) -> None:
    """Once: in Markdown, which is pasted elsewhere, amid the rest; else beside the table."""
    told = flowwatch("summary", "--input-file", capture, "-o", form)
    with_it, without = (told.stdout, told.stderr)[:: 1 if form == "markdown" else -1]
    assert with_it.count(TOLD) == 1
    assert TOLD not in without


def test_the_export_and_the_file_beside_it(capture: Path, tmp_path: Path) -> None:
    table = tmp_path / "drops.csv"
    told = flowwatch("export", "--input-file", capture, "--output", table)
    [line] = csv.DictReader(io.StringIO(table.read_text()))
    # Times are by the clock of the node that stands there.
    assert (line["records"], line["node"]) == ("14", "node-1")
    assert line["first_seen"].startswith("2026-01-31T12:00:00")
    assert line["last_seen"].startswith("2026-01-31T12:01:03")
    assert TOLD in told.stderr
    beside = json.loads((tmp_path / "drops.csv.warnings.json").read_text())
    assert [skew["node"] for skew in beside["clock_skews"]] == ["node-1"]


@pytest.mark.parametrize(("flag", "lines"), [("--grouped", 1), ("--raw", 14)])
def test_the_other_exports(capture: Path, flag: str, lines: int) -> None:
    told = flowwatch("export", flag, "--input-file", capture)
    assert len(told.stdout.splitlines()) == 1 + lines
    assert TOLD in told.stderr


@pytest.mark.parametrize("form", AUDIT_FORMATS)
def test_the_audit_in_every_format(capture: Path, policy: Path, form: str) -> None:
    told = flowwatch("audit", "-f", policy, "--input-file", capture, "-o", form)
    assert told.returncode == 0
    assert TOLD in told.stdout.replace("%2C", ",").replace("&#x27;", "'")


@pytest.mark.parametrize("form", WHATIF_FORMATS)
def test_what_if_in_every_format(capture: Path, policy: Path, form: str) -> None:
    told = flowwatch("whatif", "-f", policy, "--input-file", capture, "-o", form)
    assert TOLD in told.stdout


def test_when_the_policy_came_is_told_by_the_clock_that_most_nodes_share(
    policy: Path, tmp_path: Path
) -> None:
    """Ten denied connections after it came and a leak, on a node whose clock is an hour behind."""
    behind = timedelta(hours=1)
    shared = [
        record(NOON + timedelta(seconds=port) - late, node, port=port)
        for port in range(10)
        for node, late in (("node-1", 0 * behind), ("node-2", behind), ("node-3", 0 * behind))
    ]
    leak = record(NOON + timedelta(minutes=5) - behind, "node-2", "FORWARDED")
    capture = written(tmp_path / "flows.jsonl", *shared, leak)
    arguments = ("-f", policy, "--input-file", capture, "--applied-at", "2026-01-31T11:59:00Z")
    found = json.loads(flowwatch("audit", *arguments, "-o", "json").stdout)
    assert {one["kind"]: one["attempts"] for one in found["findings"]} == {"leak": 1, "ok": 10}
    assert (
        "node-2 is 1.0 h behind most nodes (by 10 connections" in found["evidence"]["warnings"][0]
    )
