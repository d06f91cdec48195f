"""What-if: the rows add up to the summary's attempts, and each change has its rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.in_process import flowwatch
from tests.material import both, name
from tests.unit.audits.planted import CORRECT, capture
from tests.unit.audits.told import Capture

DENY_ALL = """\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: deny-all}
spec: {endpointSelector: {}, egress: [{toEntities: [kube-apiserver]}]}
"""


def whatif(*arguments: str | Path) -> dict[str, object]:
    result = flowwatch("whatif", "-o", "json", *arguments)
    found: dict[str, object] = json.loads(result.stdout)
    newly_denied = found["counts"]["newly denied"]  # type: ignore[index]
    assert result.returncode == (1 if newly_denied else 0), result.stderr
    return found


CAPTURES = [
    path
    for pattern in ("captures/[dhitw]*.jsonl", "captures/hubble-otel/*.json")
    for path in both(pattern)
]


@pytest.mark.parametrize("direction", ["egress", "both"])
@pytest.mark.parametrize("path", CAPTURES, ids=name)
def test_the_rows_add_up_to_the_summary(path: Path, direction: str, tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_text(DENY_ALL)
    common = ("--input-file", path, "--direction", direction)
    rows = whatif("-f", draft, *common)["rows"]
    assert isinstance(rows, list)
    summary = json.loads(flowwatch("summary", "-o", "json", *common).stdout)
    assert sum(row["attempts"] for row in rows) == summary["totals"]["attempts"]
    assert {row["change"] for row in rows} <= {"newly denied", "unchanged", "can't tell"}


def test_noise_of_the_link_is_nothing_that_a_draft_denies(tmp_path: Path) -> None:
    """No policy is asked about it: the summary's totals are without, and so is what would change."""
    flows = Capture()
    flows.add("shop/web", "→", "ff02::16", 143, "DROPPED", protocol="ICMPv6", drop_reason=132)
    flows.add("shop/web", "→", "192.0.2.7", 443, "DROPPED")
    draft = tmp_path / "draft.yaml"
    draft.write_text(DENY_ALL)
    common = ("--input-file", flows.write(tmp_path))
    found = whatif("-f", draft, *common)
    summary = json.loads(flowwatch("summary", "-o", "json", *common).stdout)
    assert found["counts"] == {
        "newly denied": 0,
        "newly allowed": 0,
        "can't tell": 0,
        "unchanged": 1,
    }
    assert found["attempts"] == summary["totals"]["attempts"]
    assert "isn't compared: 1 attempt" in str(found["warnings"])


def test_pods_of_the_other_direction_are_no_pods_that_were_not_seen(tmp_path: Path) -> None:
    flows = Capture()
    flows.add("shop/web", "→", "shop/cache", 6379)
    flows.add("ops/probe", "←", "shop/api", 80)
    for pod in ("api", "cache"):
        draft = tmp_path / "draft.yaml"
        draft.write_text(
            DENY_ALL.replace("ClusterwideNetworkPolicy", "NetworkPolicy")
            .replace("deny-all", "in, namespace: shop")
            .replace("{}, egress: [{to", f"{{matchLabels: {{app: {pod}}}}}, ingress: [{{from")
        )
        found = whatif("-f", draft, "--input-file", flows.write(tmp_path))
        assert (found["hints"], found["selecting_nothing"]) == ([], [])
    assert "selects only pods at the other end" in str(found["warnings"])


def test_each_change_has_its_rule(tmp_path: Path) -> None:
    (tmp_path / "flows.jsonl").write_text(capture(CORRECT))
    (tmp_path / "current.yaml").write_text(CORRECT)
    (tmp_path / "draft.yaml").write_text(
        CORRECT.replace("api.openweathermap.org", "telemetry.example")
    )
    found = whatif(
        "-f", tmp_path / "draft.yaml", "--current", tmp_path / "current.yaml",
        "--input-file", tmp_path / "flows.jsonl",
    )  # fmt: skip
    rows = {row["peer"]: row for row in found["rows"]}  # type: ignore[attr-defined]
    assert found["counts"] == {
        "newly denied": 3,
        "newly allowed": 3,
        "can't tell": 0,
        "unchanged": 9,
    }
    assert rows["api.openweathermap.org"]["change"] == "newly denied"
    assert "closest rule" in rows["api.openweathermap.org"]["reason"]
    assert rows["telemetry.example"]["change"] == "newly allowed"
    assert [one["place"] for one in rows["telemetry.example"]["rules"]] == ["spec.egress.1"]
    assert rows["telemetry.example"]["rules"][0]["line"] == 12


def test_a_draft_that_selects_nothing_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "flows.jsonl").write_text(capture(CORRECT))
    (tmp_path / "draft.yaml").write_text(CORRECT.replace("weather-app}", "nobody}"))
    found = whatif("-f", tmp_path / "draft.yaml", "--input-file", tmp_path / "flows.jsonl")
    assert found["counts"] == {
        "newly denied": 0,
        "newly allowed": 0,
        "can't tell": 0,
        "unchanged": 15,
    }


def test_what_an_audit_says_first_is_said_of_a_draft(tmp_path: Path) -> None:
    """It selects nothing that was seen, or has a probable mistake; before what would change."""
    (tmp_path / "flows.jsonl").write_text(capture(CORRECT))
    draft = tmp_path / "draft.yaml"
    words = ("whatif", "-f", draft, "--input-file", tmp_path / "flows.jsonl")
    draft.write_text(CORRECT.replace("{app: weather-app}", "{app: wether-app}"))
    said = flowwatch(*words).stdout
    assert said.index("weather/weather-egress (") < said.index("UNCHANGED")
    assert "selects nothing that was seen" in said
    draft.write_text(CORRECT.replace('port: "443"', 'port: "4443"'))
    said = flowwatch(*words).stdout
    assert said.index("probable mistake, port-mismatch") < said.index("NEWLY DENIED")
    hints = whatif(*words[1:])["hints"]
    assert isinstance(hints, list)
    [hint] = hints
    assert (hint["name"], hint["line"], hint["attempts"]) == ("port-mismatch", 12, 3)


def test_more_denied_than_allowed_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "flows.jsonl").write_text(capture(CORRECT))
    draft = tmp_path / "draft.yaml"
    draft.write_text(CORRECT.replace('port: "443"', 'port: "4443"'))
    words = ("whatif", "-f", draft, "--input-file", tmp_path / "flows.jsonl")
    codes = {n: flowwatch(*words, "--allow-denied", str(n)).returncode for n in (0, 2, 3)}
    assert codes == {0: 1, 2: 1, 3: 0}
    assert flowwatch("whatif", "-f", draft, "--input-file", tmp_path / "missing").returncode == 2
