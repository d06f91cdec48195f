"""The audit of a stream: findings as they are seen, and the report when it is stopped."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.interop.program import Program, wait_until
from tests.interop.real import Observer
from tests.interop.test_follow import attempt

LABELS = ["k8s:app=app", "k8s:io.kubernetes.pod.namespace=weather"]
POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: egress, namespace: weather}
spec:
  endpointSelector: {}
  egress:
  - toCIDR: [1.2.3.4/32]
"""


def blocked(number: int) -> list[dict[str, object]]:
    """An attempt that POLICY allows, and that was dropped."""
    records = attempt(number)
    for record in records:
        record["source"] = {"namespace": "weather", "pod_name": "app-1", "labels": LABELS}
        record["traffic_direction"] = "EGRESS"
    return records


def test_findings_are_told_as_they_are_seen(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    with Observer() as observer:
        program = Program(
            [
                *(sys.executable, "-m", "flowwatch", "audit", "--server", observer.address),
                *("--follow", "-f", str(tmp_path / "policy.yaml")),
            ]
        )
        try:
            wait_until(lambda: "following" in program.log(), "the start", 30)
            observer.write(*blocked(1))
            wait_until(lambda: "overblock" in program.log(), "the finding", 30)
            observer.write(*blocked(2))
            program.signal(signal.SIGINT)
            assert program.wait() == 1
            told = program.log()
            report = program.rest()
        finally:
            program.kill()
    [line] = [line for line in told.splitlines() if "overblock" in line]
    assert "weather/app-1 → 1.2.3.4:443/TCP" in line
    assert "Traceback" not in told
    assert "NOT AS EXPECTED" in report[-1]
