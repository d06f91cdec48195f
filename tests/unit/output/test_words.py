"""One thing is told in the singular, and one outcome by one word, in every verb, format and view."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from flowwatch.egress.rows import Totals
from flowwatch.flows.coverage import LostTotal
from flowwatch.tui.parts.columns import COLUMNS
from flowwatch.tui.parts.headline import headline_lines
from flowwatch.tui.theme import FANCY
from tests.command import ROOT
from tests.in_process import flowwatch
from tests.unit.audits.told import Capture
from tests.unit.tui.made import COMPLETE, snapshot

ONE = re.compile(r"(?<![\d.,:/+-])1 ((?:more )?[a-z]+s)\b")
SHORTENED = re.compile(r"\b(?:FWD|FORWARD|ERR|AUDIT|DROP)\b|\d (?:forward|drop|audit)\b")
NO_PLURALS = frozenset({"is", "was", "has", "ingress", "egress", "address", "miss", "class"})
COUNTED = (
    "attempt|object|row|record|error|file|node|line|document|rule|finding|event|warning|connection|gap|server|"
    "name|request|pod|peer|change|byte|flow|cluster|question|answer|key|column|namespace"
)
NOT_OURS = {"observe_nodes.py": "hubble's own words, which have no singular"}

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress: [{toEntities: [host]}, {toCIDR: [192.0.2.0/24], toPorts: [{ports: [{port: "80"}]}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One attempt of each outcome, one kind of noise, one record that can't be read, one lost event."""
    folder = tmp_path_factory.mktemp("one")
    flows = Capture()
    flows.add("shop/web", "→", "198.51.100.1", 443, "DROPPED")
    flows.add("shop/web", "→", "198.51.100.2", 443)
    flows.add("shop/web", "→", "198.51.100.3", 443, "AUDIT")
    flows.add("shop/web", "→", "198.51.100.4", 443, "ERROR")
    flows.add("shop/web", "→", "198.51.100.5", 443, "REDIRECTED")
    flows.add("shop/web", "→", "ff02::2", 133, "DROPPED", protocol="ICMPv6", drop_reason=132)
    flows.add("shop/db", "←", "shop/web", 5432, "DROPPED")
    path = flows.write(folder)
    lost = {"source": "HUBBLE_RING_BUFFER", "num_events_lost": "1"}
    with path.open("a") as file:
        file.write(json.dumps({"lost_events": lost, "node_name": "n1"}) + "\nnot JSON\n")
    (folder / "policy.yaml").write_text(POLICY)
    return folder


LINES = [
    *(f"summary FLOWS -o {form}" for form in ("table", "markdown")),
    "summary FLOWS --noise --direction both",
    "export FLOWS",
    "export FLOWS --policies POLICY",
    "export FLOWS --grouped",
    *(
        f"audit FLOWS -f POLICY -o {form}"
        for form in ("text", "markdown", "github", "junit", "html")
    ),
    *(f"whatif FLOWS -f POLICY -o {form}" for form in ("text", "markdown")),
    "explain -f POLICY --from shop/web --to 198.51.100.1:443",
    "changes FLOWS --policies POLICY",
]


@pytest.mark.parametrize("line", LINES)
def test_one_is_one_in_every_output(line: str, place: Path) -> None:
    given = line.replace("FLOWS", f"--input-file {place / 'flows.jsonl'}")
    told = flowwatch(*given.replace("POLICY", str(place / "policy.yaml")).split())
    text = told.stdout + told.stderr
    assert text
    assert [word for word in ONE.findall(text) if word not in NO_PLURALS] == []
    assert SHORTENED.findall(text) == []


def test_one_is_one_in_the_headline() -> None:
    totals = Totals(1, 1, 1, 1, 1, 1, {"multicast": 1})
    shown = snapshot(
        totals=totals, shown=totals, lost=(LostTotal("n1", "HUBBLE_RING_BUFFER", 1, 0),)
    )
    for columns in (60, 80, 120, 240):
        lines = headline_lines(shown, COMPLETE, 0, 1, columns, FANCY)
        text = "\n".join("".join(part for part, _ in line) for line in lines)
        assert [word for word in ONE.findall(text) if word not in NO_PLURALS] == []


def test_a_heading_is_the_word_of_the_column() -> None:
    counts = {"forwarded", "dropped", "audited", "errors", "answered", "records"}
    titles = {one.name: one.title for one in COLUMNS if one.name in counts}
    assert titles == {name: name.upper() for name in counts}


def fixed_plurals(tree: ast.AST) -> Iterator[str]:
    """What has a fixed plural behind a number: ``{count:,} records``. But ``{few} of {n:,} records`` may."""
    behind = re.compile(
        rf" (?:(?!of)\w+ )?(?:(?:{COUNTED})s|polic(?:y|ie)s|retries|entries|tries)\b"
    )
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        before = ""
        for one, then in pairwise(node.values):
            if isinstance(one, ast.FormattedValue) and isinstance(then, ast.Constant):
                number = one.format_spec is not None and "," in ast.unparse(one.format_spec)
                ratio = before.endswith((" of ", "/", "than "))
                if number and not ratio and behind.match(str(then.value)):
                    yield f"{ast.unparse(one.value)}{then.value!s}"
            before = str(one.value) if isinstance(one, ast.Constant) else ""


@pytest.mark.parametrize(
    "room", sorted(p.name for p in (ROOT / "flowwatch").iterdir() if p.is_dir())
)
def test_no_sentence_has_a_fixed_plural_behind_a_number(room: str) -> None:
    """flowwatch.text.plural says both."""
    found = [
        f"{path.relative_to(ROOT)}: {sentence}"
        for path in sorted((ROOT / "flowwatch" / room).rglob("*.py"))
        if path.name not in NOT_OURS
        for sentence in fixed_plurals(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_the_guard_sees_what_it_guards_against() -> None:
    assert [*fixed_plurals(ast.parse('f"{n:,} records were read, {m} of {n:,} nodes"'))] != []
