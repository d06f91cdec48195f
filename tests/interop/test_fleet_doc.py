"""What docs/fleet.md computes follows from its inputs, and what it tells people to apply is valid."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import yaml

from flowwatch.cli.flags import parse
from flowwatch.sources.request import flow_request
from tests.command import ROOT
from tests.interop.control_plane import ControlPlane

PAGE = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FOUND: dict[str, dict[str, Any]] = {one["kind"]: one for one in map(yaml.safe_load, BLOCKS)}
COLLECTIONS = {
    "Deployment": "/apis/apps/v1/namespaces/kube-system/deployments",
    "PersistentVolumeClaim": "/api/v1/namespaces/kube-system/persistentvolumeclaims",
}


def tables() -> list[list[list[str]]]:
    """The page's tables, each without its head."""
    found = re.findall(r"^\| (?:input|result) .*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
        for text in found
    ]


def number(text: str) -> float:
    return float(text.replace(",", ""))


def computed(formula: str, known: dict[str, float]) -> float:
    """What a formula of the page gives."""
    for name in sorted(known, key=len, reverse=True):
        formula = formula.replace(name, repr(known[name]))
    formula, up, _ = formula.partition(", rounded up")
    formula = formula.replace("×", "*").replace(",", "")
    assert re.fullmatch(r"[\d.e+ */]+", formula), formula
    result = float(eval(formula))
    return math.ceil(result) if up else result


def test_the_figures_follow_from_the_inputs() -> None:
    measured, assumed, results = tables()
    known = {name: number(value) for name, value, _ in (*measured, *assumed)}
    assert len(known) == 9
    for name, shown, formula in results:
        # As exactly as it is shown.
        digits = len(shown.partition(".")[2])
        known[name] = computed(formula, known)
        assert f"{known[name]:,.{digits}f}" == shown, name
    assert known["collectors"] == 10


@pytest.mark.parametrize("kind", FOUND)
def test_the_api_server_takes_it(api: ControlPlane, kind: str) -> None:
    [block] = [one for one in BLOCKS if yaml.safe_load(one)["kind"] == kind]
    # As kubectl sends it: YAML's anchors are the file's own.
    assert api.refusal(COLLECTIONS[kind], yaml.safe_dump(yaml.safe_load(block))) == ""


def test_its_containers_do_what_the_page_says() -> None:
    spec = FOUND["Deployment"]["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"]
    record, compact = spec["containers"]
    parsed = parse(record["args"])
    assert parsed.verb.name == "record"
    wanted = flow_request(parsed, several=True, environ={})
    assert wanted.settings.address.host == "hubble-relay.kube-system.svc"
    folder = parsed.text("to")
    assert compact["command"][-1] == (
        f"while sleep 3600; do flowwatch history compact {folder}; done"
    )
    claims = [one for one in spec["volumes"] if "persistentVolumeClaim" in one]
    claim = claims[0]["persistentVolumeClaim"]["claimName"]
    assert claim == FOUND["PersistentVolumeClaim"]["metadata"]["name"]
    for container in (record, compact):
        paths = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
        assert folder.startswith(paths[claims[0]["name"]])
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_its_commands_are_flowwatch_s() -> None:
    """Those of the pipes: what they are given is told by tests/unit/cli/test_wrapped_records.py."""
    words = re.findall(r"\| flowwatch ([^|`\n]+)", PAGE)
    asked = [parse(line.replace("DIR", "kept").split()) for line in words]
    assert {one.verb.name for one in asked} >= {"summary", "export", "audit", "record"}
    assert all(one.list("input-file") == ["-"] for one in asked)
