"""Captures that Cilium's own exporter wrote: aggregated, with field masks, and with HTTP redacted.

The records are those that Hubble's parser makes of generated traffic. What is told of the exporter's lines
is held to what the whole records say: everything is counted, and nothing is concluded that they deny.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.in_process import flowwatch
from tests.interop.real import Binaries

RECORDS = 6000
POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: web-and-names}
spec:
  endpointSelector: {}
  egress:
    - toEntities: [world]
      toPorts: [{ports: [{port: "443", protocol: TCP}]}]
    - toEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: kube-system}}]
    - toCIDR: [10.0.0.0/8]
    - toFQDNs: [{matchPattern: "*.stripe.com"}]
  ingress:
    - fromEndpoints: [{}]
      toPorts: [{ports: [{port: "8080", protocol: TCP}]}]
"""


@pytest.fixture(scope="module")
def whole(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole records, a line each."""
    path = tmp_path_factory.mktemp("whole") / "flows.jsonl"
    words = ["-generate", str(RECORDS), "-seed", "7", "-write-capture", str(path)]
    subprocess.run([binaries.observer, *words], check=True, stdout=subprocess.DEVNULL)
    return path


def exported(binaries: Binaries, capture: Path, to: Path, *words: str) -> Path:
    """What Cilium's exporter writes of ``capture``."""
    subprocess.run(
        [binaries.exporter, "-capture", capture, "-write", to, *words], check=True, timeout=60
    )
    return to


def flows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line)["flow"] for line in path.read_text().splitlines()]


def summary(path: Path) -> dict[str, Any]:
    found = flowwatch("summary", "--direction", "both", "-o", "json", "--input-file", path)
    assert found.returncode == 0, found.stderr
    told: dict[str, Any] = json.loads(found.stdout)
    return told


ENDS = ",".join(
    f"{end}.{field}"
    for end in ("source", "destination")
    for field in ("namespace", "workloads", "labels", "identity")
)
KEYS = {
    "workloads and ports": (
        f"{ENDS},verdict,drop_reason_desc,traffic_direction,"
        "l4.TCP.destination_port,l4.UDP.destination_port"
    ),
    "without the direction": f"{ENDS},verdict,drop_reason_desc",
    "pods": "source.namespace,source.pod_name,destination.namespace,destination.pod_name,verdict",
    "the values' own example": "source,destination,verdict",
    "the verdict alone": "verdict",
    "whole connections": "source,destination,IP,l4,verdict,drop_reason_desc,is_reply,traffic_direction",
}


@pytest.mark.parametrize("key", KEYS)
def test_every_record_of_an_aggregate_is_counted_once(
    key: str, binaries: Binaries, whole: Path, tmp_path: Path
) -> None:
    path = exported(binaries, whole, tmp_path / "flows.log", "-aggregate", KEYS[key])
    lines = flows(path)
    told = summary(path)
    assert told["records_skipped"] == 0
    assert (told["aggregated"], told["aggregated_records"]) == (len(lines), RECORDS)
    assert told["at_least"]
    counted = sum(row["records"] for row in told["rows"])
    assert counted + told["replies"] + told["unattributed"] == RECORDS
    assert all(row["uncounted"] for row in told["rows"])
    assert any("aggregated" in one for one in told["warnings"])


def dropped(path: Path) -> Counter[tuple[str, str, str, str]]:
    """Drops by direction, namespace, workload and reason, as the records of ``path`` have them."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    for flow in flows(path):
        direction = flow.get("traffic_direction", "")
        if flow["verdict"] == "DROPPED" and direction:
            end = flow["source" if direction == "EGRESS" else "destination"]
            name = (end.get("workloads") or [{"name": ""}])[0]["name"]
            reason = flow.get("drop_reason_desc", "DROP_REASON_UNKNOWN")
            found[direction.lower(), end.get("namespace", ""), name, reason] += 1
    return found


def test_what_was_dropped_is_told_by_workload(
    binaries: Binaries, whole: Path, tmp_path: Path
) -> None:
    key = KEYS["workloads and ports"]
    path = exported(binaries, whole, tmp_path / "flows.log", "-aggregate", key)
    told = {
        (row["direction"], row["namespace"], row["workload"], reason)
        for row in summary(path)["rows"]
        for reason in row["drop_reasons"]
        if row["namespace"]
    }
    assert told == {one for one in dropped(whole) if one[1]}
    assert told


MASKS = {
    "the documentation's": "time,source.namespace,source.pod_name,destination.namespace,"
    "destination.pod_name,l4,IP,node_name,is_reply,verdict,drop_reason_desc",
    "no answers": "time,source,destination,l4,IP,node_name,verdict,drop_reason_desc,traffic_direction",
    "no direction": "time,source,destination,l4,IP,node_name,verdict,drop_reason_desc,is_reply",
    "no labels": "time,source.namespace,source.pod_name,source.identity,destination.namespace,"
    "destination.pod_name,destination.identity,l4,IP,verdict,traffic_direction,event_type,is_reply",
    "no destination": "time,source,l4,IP,verdict,drop_reason_desc,traffic_direction,is_reply",
    "no addresses": "time,source,destination,l4,verdict,drop_reason_desc,traffic_direction,event_type",
    "no ports": "time,source,destination,IP,verdict,drop_reason_desc,traffic_direction,event_type",
    "no reasons": "time,source,destination,IP,l4,verdict,traffic_direction,event_type,is_reply",
    "no verdicts": "time,source,destination,IP,l4,traffic_direction,event_type,is_reply",
}


def audited(path: Path, policy: Path) -> dict[str, Any]:
    found = flowwatch("audit", "-f", policy, "-o", "json", "--input-file", path)
    assert found.returncode in (0, 1), found.stderr
    told: dict[str, Any] = json.loads(found.stdout)
    return told


def concluded(told: dict[str, Any]) -> set[tuple[Any, ...]]:
    """Leaks and overblocks: by pod and port, as whom it met isn't in every mask.

    What came before verdicts show the policy in force would be a leak, if nothing showed that.
    """
    return {
        (_EARLY.get(one["reason"], one["kind"]), *(one[key] for key in _OF_A_POD))
        for one in told["findings"]
        if one["kind"] in ("leak", "overblock") or one["reason"] in _EARLY
    }


_EARLY = {"before verdicts show the policy in force": "leak"}
_OF_A_POD = ("direction", "subject", "protocol", "port")


@pytest.fixture(scope="module")
def known(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[Any]]:
    """The policy, and what whole records say about it."""
    policy = tmp_path_factory.mktemp("policy") / "policy.yaml"
    policy.write_text(POLICY)
    found = concluded(audited(whole, policy))
    assert {one[0] for one in found} == {"leak", "overblock"}
    return policy, found


@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_makes_no_finding(
    mask: str, binaries: Binaries, whole: Path, known: tuple[Path, set[Any]], tmp_path: Path
) -> None:
    path = exported(binaries, whole, tmp_path / "flows.log", "-mask", MASKS[mask])
    policy, findings = known
    told = audited(path, policy)
    new = concluded(told) - findings
    if mask == "no direction":
        # What arrives has left, though no record of that end says so.
        new = {one for one in new if one[:2] != ("leak", "egress")}
    assert new == set()
    [use] = told["policies"]
    assert use["subjects"] or use["unlabelled"] or not told["evidence"]["attempts"]


@pytest.mark.parametrize("key", KEYS)
def test_nor_does_the_key_of_an_aggregate(
    key: str, binaries: Binaries, whole: Path, known: tuple[Path, set[Any]], tmp_path: Path
) -> None:
    path = exported(binaries, whole, tmp_path / "flows.log", "-aggregate", KEYS[key])
    policy, findings = known
    told = audited(path, policy)
    assert concluded(told) - findings == set()


HTTP_POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: items}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
    - fromEndpoints: [{}]
      toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{path: "/items"}]}}]
"""


def test_a_query_that_hubble_redacted_is_not_taken_as_absent(
    binaries: Binaries, tmp_path: Path
) -> None:
    """Whole, the record shows a leak: its path has a query. Redacted, nobody can tell."""
    capture, policy = tmp_path / "flows.jsonl", tmp_path / "policy.yaml"
    policy.write_text(HTTP_POLICY)
    pods = {
        end: {
            "namespace": "shop", "pod_name": f"{end}-0", "identity": 1000 + len(end),
            "labels": [f"k8s:app={end}", "k8s:io.kubernetes.pod.namespace=shop"],
        }
        for end in ("web", "api")
    }  # fmt: skip
    request = {
        "time": "2026-01-31T10:00:00Z", "verdict": "FORWARDED", "node_name": "n", "Type": "L7",
        "IP": {"source": "10.0.0.1", "destination": "10.0.0.2"},
        "l4": {"TCP": {"source_port": 40000, "destination_port": 80}},
        "source": pods["web"], "destination": pods["api"], "event_type": {"type": 129},
        "traffic_direction": "INGRESS", "is_reply": False,
        "l7": {"type": "REQUEST", "http": {
            "method": "GET", "url": "http://api/items?token=secret", "protocol": "HTTP/1.1",
            "headers": [{"key": "Accept", "value": "*/*"}]}},
    }  # fmt: skip
    capture.write_text(json.dumps({"flow": request}) + "\n")
    [whole] = audited(capture, policy)["findings"]
    assert whole["kind"] == "leak"
    hidden = exported(binaries, capture, tmp_path / "redacted.log", "-redact")
    assert "secret" not in hidden.read_text()
    [found] = audited(hidden, policy)["findings"]
    assert found["kind"] == "inconclusive"
    assert "hides queries" in found["reason"]
