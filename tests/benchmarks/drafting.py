"""A draft of many attempts beside the summary of the same file, in turns."""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.side_by_side import in_turns

WORKLOADS = 500
LIMIT = 1.5
"""Times the summary's CPU."""
_START = 1_767_225_600
_PODS = 3
_FLOWWATCH = (sys.executable, "-m", "flowwatch")


def drafts(attempts: int, rounds: int) -> list[tuple[str, str, str]]:
    """What was measured, what was reached, the goal."""
    with tempfile.TemporaryDirectory() as folder:
        flows, out = Path(folder) / "flows.jsonl", Path(folder) / "draft.yaml"
        with flows.open("w", encoding="utf-8") as lines:
            lines.writelines(_records(attempts))
        costs = in_turns(
            {
                "summary": [*_FLOWWATCH, "summary", "-o", "json", "--input-file", flows],
                "draft": [*_FLOWWATCH, "draft", "-o", out, "--input-file", flows],
            },
            rounds,
        )
    drafted, summed = costs["draft"], costs["summary"]
    return [
        (
            f"draft of {attempts:,} attempts of {WORKLOADS} workloads ({drafted.wall:.1f} s)",
            f"{drafted.cpu / summed.cpu:.2f} times the summary's CPU, "
            f"{drafted.wall / summed.wall:.2f} times its wall",
            f"≤ {LIMIT} times",
        )
    ]


def _end(workload: int, pod: int) -> dict[str, Any]:
    space, app = f"space{workload % 25}", f"app{workload}"
    labels = [
        f"k8s:app={app}",
        "k8s:io.cilium.k8s.policy.cluster=default",
        f"k8s:io.kubernetes.pod.namespace={space}",
    ]
    return {
        "identity": 10_000 + workload,
        "namespace": space,
        "labels": labels,
        "pod_name": f"{app}-7d9c5b{pod}",
        "workloads": [{"name": app, "kind": "Deployment"}],
    }


_WORLD = {"identity": 2, "labels": ["reserved:world"]}
_PORTS = (443, 5432, 8080, 9090)


def _records(attempts: int) -> Iterator[str]:
    """A record an attempt, each from a port of its own: a third to names, pods and addresses each."""
    chance = random.Random(7)
    ends = [[_end(workload, pod) for pod in range(_PODS)] for workload in range(WORKLOADS)]
    for number in range(attempts):
        workload, pod, peer = (
            chance.randrange(WORKLOADS),
            chance.randrange(_PODS),
            chance.randrange(12),
        )
        kind = peer % 3
        names: list[str] = []
        if kind == 1:
            other = (workload * 7 + peer * 13 + 1) % WORKLOADS
            there, address = ends[other][0], f"10.{64 + other // 250}.{other % 250}.1"
        else:
            there, address = _WORLD, f"198.{18 + kind}.{workload % 250}.{peer}"
            names = [f"api{peer}.app{workload}.example.com"] if kind == 0 else []
        second, rest = divmod(number, 500)
        flow = {
            "time": f"2026-01-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{rest * 2:03}Z",
            "verdict": "FORWARDED",
            "IP": {
                "source": f"10.{workload // 250}.{workload % 250}.{pod}",
                "destination": address,
                "ipVersion": "IPv4",
            },
            "l4": {
                "TCP": {
                    "source_port": 20_000 + number % 40_000,
                    "destination_port": _PORTS[peer % 4],
                    "flags": {"SYN": True},
                }
            },
            "source": ends[workload][pod],
            "destination": there,
            "Type": "L3_L4",
            "node_name": f"node-{workload % 5}",
            "destination_names": names,
            "event_type": {"type": 5},
            "traffic_direction": "EGRESS",
            "policy_match_type": 1,
            "is_reply": False,
            "Summary": "TCP Flags: SYN",
        }
        yield (
            json.dumps({"flow": flow, "node_name": flow["node_name"], "time": flow["time"]}) + "\n"
        )
