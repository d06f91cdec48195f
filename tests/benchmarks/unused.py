"""``flowwatch unused`` of a whole history, from what ``history compact`` has counted of it.

    python -m tests.benchmarks.unused [FOLDER]      prints the figures as JSON

A month of a fleet is too dear to record here. So what compact would have counted of it is made up and written
by its own writer: 2,000 pods of 200 workloads, 5,000 destinations, a part of them addresses, as in
:mod:`tests.benchmarks.asking`. Policies are one for each workload, with rules that nothing needs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from flowwatch.flows.coverage import Coverage
from flowwatch.history.attempts.asked import PATH, Asked, KeptEnd, KeptQuestion, packed
from flowwatch.history.attempts.made import MARKER, Made, rows_of, text_of, version
from flowwatch.history.store import MADE, listing
from tests.benchmarks.asking import DAYS, FIRST
from tests.benchmarks.side_by_side import run_once
from tests.command import ROOT
from tests.in_process import flowwatch

WORKLOADS = 200
PODS = 2_000
DESTINATIONS = 5_000
QUESTIONS = PODS * 25
"""So many destinations of each pod, whose labels differ; at most 200,000 are kept."""
ROUNDS = 3
_AS_FOUND = ("sh", "-c", '"$@"; test $? -le 1', "sh")
"""That something is unused is no failure."""


def history(kept: Path, questions: int = QUESTIONS) -> None:
    """A history of few records that says of itself what a month of a fleet would."""
    flowwatch(
        "record",
        "--input-file",
        ROOT / "tests" / "data" / "captures" / "weather.jsonl",
        "--to",
        kept,
    )
    flowwatch("history", "compact", kept)
    content = packed(asked(questions))
    (kept / MADE / PATH).write_bytes(content)
    found = listing(kept)
    files = {PATH: (questions, len(content))}
    made = Made(found.runs, rows_of(found), 1, 1, files, version())
    (kept / MADE / MARKER).write_text(text_of(made))


def asked(count: int) -> Asked:
    """So many questions: each workload's of its destinations, from both ends."""
    chosen = random.Random(1)
    ends = [_pod(number) for number in range(PODS)] + [
        _outside(number) for number in range(DESTINATIONS)
    ]
    questions = []
    for number in range(count):
        pod = number % PODS
        workload = pod % WORKLOADS
        inside = chosen.random() < 0.3
        peer = (
            chosen.randrange(PODS)
            if inside
            else PODS + (workload * 25 + number // PODS) % DESTINATIONS
        )
        ingress = inside and chosen.random() < 0.5
        port = 8080 + chosen.randrange(4) if inside else 443
        denied = chosen.random() < 0.08
        questions.append(
            KeptQuestion(
                chosen.randrange(1, 2000), "ingress" if ingress else "egress", pod,
                f"team-{workload % 20}/app-{workload}", "", peer, "TCP", port, "",
                judged=True, denied=denied, noise=False, waits_for_auth=False, verdict=True,
                labelled=True,
            )
        )  # fmt: skip
    seen = Coverage(
        first_seen=FIRST, last_seen=FIRST + DAYS * 86_400 * 10**9, records_read=150_000_000,
        nodes=tuple(f"node-{number}" for number in range(40)), nodes_known=40,
    )  # fmt: skip
    return Asked(ends=tuple(ends), questions=tuple(questions), coverage=seen)


def _pod(number: int) -> KeptEnd:
    space = f"team-{number % 20}"
    labels = (
        f"k8s:app=app-{number % WORKLOADS}", f"k8s:apps.kubernetes.io/pod-index={number // WORKLOADS}",
        f"k8s:io.kubernetes.pod.namespace={space}",
        "k8s:io.cilium.k8s.policy.cluster=default", "k8s:io.cilium.k8s.policy.serviceaccount=default",
        f"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={space}",
    )  # fmt: skip
    return KeptEnd(labels, "", (), outside=False, also=None)


def _outside(number: int) -> KeptEnd:
    address = f"203.{number // 250}.{number % 250}.7"
    names = (f"service-{number}.example.com",) if number % 3 else ()
    return KeptEnd(("reserved:world",), address, names, outside=True, also=None)


def policies() -> str:
    """One for each workload, with ten rules, of which some are needed."""
    return "---\n".join(map(_policy, range(WORKLOADS)))


def _policy(number: int) -> str:
    rules = "".join(
        f"    - toFQDNs: [{{matchName: service-{(number * 25 + at) % DESTINATIONS}.example.com}}]\n"
        '      toPorts: [{ports: [{port: "443", protocol: TCP}]}]\n'
        for at in range(5)
    ) + "".join(
        f"    - toEndpoints: [{{matchLabels: {{app: app-{(number + at) % WORKLOADS}}}}}]\n"
        f'      toPorts: [{{ports: [{{port: "{8080 + at % 4}", protocol: TCP}}]}}]\n'
        for at in range(5)
    )
    return (
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
        f"metadata: {{name: app-{number}, namespace: team-{number % 20}}}\n"
        f"spec:\n  endpointSelector: {{matchLabels: {{app: app-{number}}}}}\n  egress:\n{rules}"
        "  ingress:\n    - fromEntities: [cluster]\n"
    )


def measured(folder: Path) -> dict[str, Any]:
    """Seconds, and of processors, that the whole program takes; and what it found."""
    kept, documents = folder / "kept", folder / "policies.yaml"
    history(kept)
    documents.write_text(policies())
    words: list[str | Path] = ["unused", "-f", documents, "--history", kept, "-o", "json"]
    costs = [
        run_once([*_AS_FOUND, sys.executable, "-m", "flowwatch", *words]) for _ in range(ROUNDS)
    ]
    found = json.loads(flowwatch(*words).stdout)
    return {
        "wall": statistics.median(one.wall for one in costs),
        "cpu": statistics.median(one.cpu for one in costs),
        "bytes": (kept / MADE / PATH).stat().st_size,
        "attempts": found["attempts"],
        "rules": found["rules"],
        "unused": len(found["unused"]),
    }


def figures() -> list[tuple[str, str, str]]:
    """As lines of the table: what, reached, goal."""
    with tempfile.TemporaryDirectory() as home:
        told = measured(Path(home))
    return [
        (
            f"unused over {DAYS} days: {told['attempts']:,} attempts, {QUESTIONS:,} questions, "
            f"{told['rules']:,} rules",
            f"{told['wall']:.1f} s ({told['cpu']:.1f} s CPU)",
            "≤ 5 s",
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        print(json.dumps(measured(given.folder or Path(home))))


if __name__ == "__main__":
    main()
