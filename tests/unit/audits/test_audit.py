"""The audit through the program: the demo before and after its policy, exit codes, expectations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import one_line
from tests.in_process import flowwatch
from tests.unit.audits.planted import CORRECT, capture


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The policy that the story applies: the first that the program prints."""
    path = tmp_path_factory.mktemp("policy") / "weather.yaml"
    path.write_text(flowwatch("demo", "--print-policy").stdout.partition("---\n")[0])
    return path


def report(*arguments: str | Path) -> tuple[int, dict[str, object]]:
    result = flowwatch("audit", "-o", "json", *arguments)
    assert "Traceback" not in result.stderr
    return result.returncode, json.loads(result.stdout)


def peers(found: dict[str, object], kind: str) -> set[str]:
    """Who is on the other end of the findings of a kind."""
    findings = found["findings"]
    assert isinstance(findings, list)
    return {one["peer"] for one in findings if one["kind"] == kind}


def test_the_demo_before_its_policy_leaks(policy: Path) -> None:
    code, found = report("-f", policy, "--demo=before")
    assert code == 1
    leaks = peers(found, "leak")
    assert {
        "telemetry.skydata.example",
        "api.github.com",
        "169.254.169.254",
        "geo/geocoder",
    } <= leaks
    assert "api.openweathermap.org" in peers(found, "ok")
    assert not leaks & peers(found, "ok")
    # What leaked was tried: that it isn't blocked is no open question.
    assert [one["unproven"] for one in found["policies"]] == [[]]  # type: ignore[attr-defined]


def test_the_demo_after_its_policy_has_no_finding(policy: Path) -> None:
    code, found = report("-f", policy, "--demo=after", "--strict")
    assert code == 0
    assert not peers(found, "leak") | peers(found, "overblock") | peers(found, "inconclusive")
    assert {"api.openweathermap.org", "telemetry.skydata.example"} <= peers(found, "ok")
    assert found["hints"] == []


@pytest.mark.parametrize(
    ("which", "when", "kinds"),
    [
        ("weather", "before", {"leak", "inconclusive", "ok", "not covered"}),
        ("weather", "after", {"ok", "not covered"}),
        ("all", "all", {"inconclusive", "ok", "not covered"}),
        ("all", "after", {"inconclusive", "ok", "not covered"}),
    ],
)
def test_what_the_demo_prints_is_all_that_matters(
    which: str, when: str, kinds: set[str], tmp_path: Path
) -> None:
    """Nothing is allowed or dropped by a policy that isn't among them."""
    path = tmp_path / "policies.yaml"
    path.write_text(flowwatch("demo", f"--print-policy={which}").stdout)
    only = ["--namespace", "weather"] if which == "weather" else []
    _, found = report("-f", path, f"--demo={when}", *only)
    assert {one["kind"] for one in found["findings"]} == kinds  # type: ignore[attr-defined]
    assert not any("not given" in one["reason"] for one in found["findings"])  # type: ignore[attr-defined]
    assert len(found["policies"]) == {"weather": 2, "all": 8}[which]  # type: ignore[arg-type]


def test_what_came_before_the_policy_proves_nothing(policy: Path) -> None:
    """Applied in the middle: what passed before verdicts show it is told apart, and fails --strict."""
    code, found = report("-f", policy, "--demo")
    assert code == 0
    assert not peers(found, "leak")
    reasons = {one["reason"] for one in found["findings"] if one["kind"] == "inconclusive"}  # type: ignore[attr-defined]
    # Of a pod whose first verdict at the new revision came later: before this version.
    assert {reason.partition(";")[0].partition(":")[0] for reason in reasons} == {
        "before verdicts show the policy in force",
        "before this version of the policies",
    }
    assert report("-f", policy, "--demo", "--strict")[0] == 3


def test_applied_at_is_believed(policy: Path) -> None:
    """The whole story is older than a second: applied later, nothing of it can be judged."""
    code, found = report("-f", policy, "--demo", "--applied-at", "1s")
    assert code == 0
    assert peers(found, "inconclusive")
    assert not peers(found, "ok")
    # And from its beginning on, what passed before the policy came is a leak.
    code, found = report("-f", policy, "--demo", "--applied-at", "1h")
    assert code == 1
    assert peers(found, "leak")


def test_no_evidence_at_all(policy: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "empty.jsonl"
    nothing.touch()
    relaxed = flowwatch("audit", "-f", policy, "--input-file", nothing)
    assert relaxed.returncode == 0
    assert "no flows at all" in relaxed.stdout
    assert "NO EVIDENCE" in relaxed.stdout
    assert flowwatch("audit", "-f", policy, "--input-file", nothing, "--strict").returncode == 3


def test_expectations(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(CORRECT)
    (tmp_path / "flows.jsonl").write_text(capture(CORRECT))
    (tmp_path / "expect.yaml").write_text(
        "- from: weather/weather-app\n"
        "  reach: [api.openweathermap.org:443, 'weather/queue:5672/TCP']\n"
        "  notReach: [telemetry.example, data/db:5432]\n"
    )
    common = ("-f", tmp_path / "policy.yaml", "--input-file", tmp_path / "flows.jsonl", "--expect")
    code, found = report(*common, tmp_path / "expect.yaml")
    states = {one["peer"]: one["state"] for one in found["expectations"]}  # type: ignore[attr-defined]
    assert states == {
        "api.openweathermap.org": "proven",
        "weather/queue": "unproven",
        "telemetry.example": "proven",
        "data/db": "proven",
    }
    assert code == 0
    probes = [one["probe"] for one in found["expectations"] if one["probe"]]  # type: ignore[attr-defined]
    assert probes == [
        "kubectl -n weather exec deploy/weather-app -- nc -zv -w 5 queue.weather 5672"
    ]
    (tmp_path / "wrong.yaml").write_text(
        "- {from: weather/weather-app, reach: ['telemetry.example:443']}\n"
    )
    code, found = report(*common, tmp_path / "wrong.yaml")
    assert code == 1
    assert found["expectations"][0]["state"] == "contradicted"  # type: ignore[index]


def test_pods_without_any_verdict_are_told(tmp_path: Path) -> None:
    """Traces alone: nothing shows that the policy is enforced at all."""
    (tmp_path / "policy.yaml").write_text(CORRECT)
    words = "no policy verdict of the pods that these policies select"
    flows = tmp_path / "flows.jsonl"
    for kind, told in (('"type": 5', False), ('"type": 4', True)):
        flows.write_text(
            capture(CORRECT).replace('"event_type": {"type": 5', '"event_type": {' + kind)
        )
        if told:
            kept = [line for line in flows.read_text().splitlines(True) if '"FORWARDED"' in line]
            flows.write_text("".join(line for line in kept if '"dns"' not in line))
        _, found = report("-f", tmp_path / "policy.yaml", "--input-file", flows)
        notes = found["evidence"]["warnings"]  # type: ignore[index]
        assert any(words in note for note in notes) is told


@pytest.mark.parametrize(("lost", "code"), [(0, 0), (5000, 3)])
def test_much_that_is_missing_is_no_evidence(tmp_path: Path, lost: int, code: int) -> None:
    """What was lost may have been a leak: that is not enough for --strict."""
    (tmp_path / "policy.yaml").write_text(CORRECT)
    flows = tmp_path / "flows.jsonl"
    told = {"source": "HUBBLE_RING_BUFFER", "num_events_lost": str(lost)}
    line = {"lost_events": told, "node_name": "node-1", "time": "2026-01-31T10:00:01Z"}
    flows.write_text(capture(CORRECT) + (json.dumps(line) + "\n") * bool(lost))
    words = ("-f", tmp_path / "policy.yaml", "--input-file", flows)
    assert report(*words)[0] == 0
    strict, found = report(*words, "--strict")
    assert (strict, found["enough_evidence"]) == (code, code == 0)


def test_expectations_before_the_policy_contradict_nothing(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "expect.yaml").write_text(
        "- {from: weather/weather-app, notReach: ['169.254.169.254:80']}\n"
    )
    code, found = report("-f", policy, "--demo", "--expect", tmp_path / "expect.yaml")
    one = found["expectations"][0]  # type: ignore[index]
    assert (code, one["state"]) == (0, "proven")
    assert "before the policy" in one["evidence"]
    code, found = report("-f", policy, "--demo=before", "--expect", tmp_path / "expect.yaml")
    assert found["expectations"][0]["state"] == "contradicted"  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {from: a/b}\n", "needs from, and reach or notReach"),
        ("- {from: a/b, reach: [x], rech: [y]}\n", 'unknown field "[0].rech"'),
        ("- {from: a/b, reach: ['x:99999']}\n", "is no destination"),
        (f"- {{from: a/b, reach: ['x:{'9' * 5000}']}}\n", "is no destination"),
        ("a: b\n", "a list is wanted"),
        ("", "no expectation in it"),
    ],
)
def test_bad_expectations(text: str, words: str, policy: Path, tmp_path: Path) -> None:
    (tmp_path / "expect.yaml").write_text(text)
    result = flowwatch("audit", "-f", policy, "--demo", "--expect", tmp_path / "expect.yaml")
    assert result.returncode == 2
    assert words in one_line(result)


def test_a_difference_in_attribution(tmp_path: Path) -> None:
    """Rightly allowed, but by a policy that Hubble names and nobody gave."""
    flow = json.loads(capture(CORRECT).splitlines()[2])
    flow["flow"]["egress_allowed_by"] = [
        {"name": "other", "namespace": "weather", "kind": "CiliumNetworkPolicy"}
    ]
    (tmp_path / "flows.jsonl").write_text(json.dumps(flow) + "\n")
    (tmp_path / "policy.yaml").write_text(CORRECT)
    code, found = report("-f", tmp_path / "policy.yaml", "--input-file", tmp_path / "flows.jsonl")
    assert code == 1
    [difference] = [one for one in found["findings"] if one["kind"] == "difference"]  # type: ignore[attr-defined]
    assert "weather/other" in difference["reason"]


def test_usage_errors(policy: Path) -> None:
    assert "no policy was given" in one_line(flowwatch("audit", "--demo"))
    assert "invalid output format" in one_line(flowwatch("audit", "-f", policy, "-o", "xlsx"))
    assert "one of all, before, after" in one_line(flowwatch("audit", "-f", policy, "--demo=never"))
    assert flowwatch("audit", "-f", policy, "--demo=never").returncode == 2
