"""An audit beside the summary of the same file: its time, and its memory at half and at the whole."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from tests.benchmarks.side_by_side import in_turns
from tests.interop.real import build

POLICIES = 200
_FLOWWATCH = (sys.executable, "-m", "flowwatch")
# An audit that finds something exits with 1.
_ANY_FINDING = ("sh", "-c", '"$@" || [ $? -eq 1 ]', "sh")

_POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: p{number}, namespace: {namespace}}}
spec:
  endpointSelector: {{matchLabels: {{app: {app}}}}}
  egress:
    - toEndpoints: [{{matchLabels: {{"k8s:io.kubernetes.pod.namespace": kube-system}}}}]
      toPorts: [{{ports: [{{port: "53", protocol: ANY}}], rules: {{dns: [{{matchPattern: "*"}}]}}}}]
    - toEndpoints: [{{}}]
      toPorts: [{{ports: [{{port: "{port}", protocol: TCP}}, {{port: "443", protocol: TCP}}]}}]
    - toFQDNs: [{{matchName: api{number}.example.com}}, {{matchPattern: "*.svc{number}.example.com"}}]
    - toCIDRSet: [{{cidr: 10.{number}.0.0/16, except: [10.{number}.1.0/24]}}]
  ingress:
    - fromEntities: [cluster]
"""


def measure(
    lines: int, rounds: int, way: str, env: Mapping[str, str], goal: str
) -> list[tuple[str, str, str]]:
    """What was measured, what was reached, the goal; ``env`` makes flowwatch read in that ``way``."""
    with tempfile.TemporaryDirectory() as folder:
        whole, half, policies = (
            Path(folder) / name for name in ("all.jsonl", "half.jsonl", "p.yaml")
        )
        subprocess.run(
            [build().observer, "-generate", str(lines), "-write-capture", whole],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with whole.open("rb") as source, half.open("wb") as target:
            target.writelines(islice(source, lines // 2))
        policies.write_text(policies_for(whole))
        audit: list[str | Path] = [
            *_ANY_FINDING,
            *_FLOWWATCH,
            "audit",
            "-f",
            policies,
            "-o",
            "json",
            "--input-file",
        ]
        costs = in_turns(
            {
                "summary": [*_FLOWWATCH, "summary", "-o", "json", "--input-file", whole],
                "audit": [*audit, whole],
            },
            rounds,
            {"summary": env, "audit": env},
        )
        peaks = [_peak_mb([*map(str, audit[4:]), str(path)], env) for path in (half, whole)]
    audited, summed = costs["audit"], costs["summary"]
    return [
        (
            f"audit of {lines:,} flows against {POLICIES} policies, {way} ({audited.wall:.1f} s)",
            f"{audited.wall / summed.wall:.1f} times the summary's wall, "
            f"{audited.cpu / summed.cpu:.1f} times its CPU",
            goal,
        ),
        (
            f"… its memory at the peak, {lines // 2:,} and {lines:,} flows",
            f"{peaks[0]:.0f} MB and {peaks[1]:.0f} MB",
            "flat",
        ),
    ]


def policies_for(capture: Path) -> str:
    """Policies for the pods of a capture, round and round."""
    from flowwatch.sources.files import FileSource

    pods: dict[tuple[str, str], None] = {}
    for batch in islice(FileSource([str(capture)]).batches(), 40):
        for flow in batch.flows:
            for end in (flow.source, flow.destination):
                app = next((x for x in end.labels if x.startswith("k8s:app=")), "")
                if end.namespace and app:
                    pods[end.namespace, app.partition("=")[2]] = None
    known = sorted(pods)
    return "---\n".join(
        _POLICY.format(number=at, namespace=space, app=app, port=8000 + at)
        for at in range(POLICIES)
        for space, app in [known[at % len(known)]]
    )


def _peak_mb(command: list[str], env: Mapping[str, str]) -> float:
    own, quiet = {**os.environ, **env}, subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, env=own) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / 1024
