"""Equal input gives equal bytes, whatever seed Python hashes texts with: nothing is told in a set's order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.traffic import story
from tests.command import ROOT
from tests.in_process import flowwatch
from tests.unit.audits.told import Capture
from tests.unit.history.test_every_verb import ASKED

SEEDS = (1, 2)
COMMANDS = [one for verb, commands in ASKED.items() if verb for one in commands]
"""Of all verbs that read: the dashboard's text tells ages."""
ALIKE = "---\n".join(
    f"""\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: to-api-{number}, namespace: shop}}
spec:
  endpointSelector: {{matchLabels: {{app: web}}}}
  egress: [{{toEndpoints: [{{matchLabels: {{app: api}}}}]}}]
"""
    for number in range(6)
)
"""Each lets web reach api."""
OTHER = """\
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: to-db, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: db}}
  egress: [{toEntities: [all]}]
"""
NAMED = {"name": "to-db", "namespace": "shop", "kind": "CiliumNetworkPolicy"}


def told(folder: Path) -> dict[str, tuple[int, str, str]]:
    """By command what it says, with its exit code."""
    found = {}
    for name in ("story", "named"):
        files = {"POLICY": f"{folder}/{name}.yaml", "RULES": f"{folder}/rules.yaml"}
        for command in COMMANDS:
            words = [files.get(word, word) for word in command.split()]
            done = flowwatch(*words, "--input-file", folder / f"{name}.jsonl")
            found[f"{name}: {command}"] = done.returncode, done.stdout, done.stderr
    return found


def test_no_answer_hangs_on_the_seed_of_hashes(tmp_path: Path) -> None:
    story(2_000, tmp_path / "story.jsonl")
    weather = flowwatch("demo", "--print-policy").stdout
    (tmp_path / "story.yaml").write_text(weather)
    (tmp_path / "rules.yaml").write_text("rules: [{when: new-blocked, learn: 1m}, {when: cut}]\n")
    named = Capture()
    for _ in range(3):
        named.add("shop/web", "→", "shop/api", 80, egress_allowed_by=[NAMED])
    (tmp_path / "named.jsonl").write_bytes(named.write(tmp_path).read_bytes())
    (tmp_path / "named.yaml").write_text(ALIKE + OTHER)
    answers = []
    for seed in SEEDS:
        done = subprocess.run(
            [sys.executable, "-m", __name__, tmp_path],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
        answers.append(json.loads(done.stdout))
    first, other = answers
    in_order = "by these policies it is shop/to-api-0, shop/to-api-1"
    assert in_order in first["named: audit -f POLICY"][1]
    assert [name for name in first if other[name] != first[name]] == []


if __name__ == "__main__":
    print(json.dumps(told(Path(sys.argv[1]))))
