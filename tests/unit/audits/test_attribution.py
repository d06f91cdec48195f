"""What blocked each attempt: the column of ``export --policies``, and that it agrees with the audit."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowwatch.audits.attribution import Attributor
from flowwatch.audits.audit import Audit
from flowwatch.audits.findings import AuditReport, Finding
from flowwatch.audits.judge import Judge
from flowwatch.cli.flags import parse
from flowwatch.cli.shared.traffic import demo_traffic
from flowwatch.demo.story import policy_text
from flowwatch.egress.schema import ATTEMPT
from flowwatch.flows import meaning
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.listing import AttemptListing
from flowwatch.flows.model import Batch, Endpoint, Flow, Layer7
from flowwatch.policy import load
from tests.command import one_line
from tests.in_process import flowwatch
from tests.unit.audits.planted import CORRECT, capture
from tests.unit.flows.made import API, APP, DENY, denied, flow, l7, verdict

BOTH = frozenset({"egress", "ingress"})

RULES = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: app, namespace: weather}
spec:
  endpointSelector: {}
  egress:
    - toFQDNs: [{matchName: allowed.example}]
      toPorts: [{ports: [{port: "443", protocol: TCP}]}]
    - toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": api}}]
      toPorts:
        - ports: [{port: "80", protocol: TCP}]
          rules: {http: [{method: GET, path: /ok}]}
  egressDeny:
    - toCIDR: [9.9.9.9/32]
"""
NAMED = msgspec.structs.replace(APP, labels=("k8s:app=weather-app",))
SERVER = msgspec.structs.replace(API, labels=("k8s:app=api",))


def listed(flows: list[Flow], policy: str = RULES, ways: frozenset[str] = BOTH) -> list[Attempt]:
    batch = Batch()
    batch.flows = [
        replace_ends(one) if one.source == APP or one.destination == API else one for one in flows
    ]
    teller = Attributor(Judge(load([("p.yaml", policy)])))
    return list(AttemptListing([batch], ways, frozenset(meaning.OUTCOMES), teller))


def replace_ends(one: Flow) -> Flow:
    """The same with the labels that a policy looks at."""
    labelled = {APP: NAMED, API: SERVER}
    source, destination = (labelled.get(end, end) for end in (one.source, one.destination))
    one.ends = msgspec.structs.replace(one.ends, source=source, destination=destination)
    return one


def told(flows: list[Flow], policy: str = RULES) -> list[str]:
    return [one.attribution for one in listed(flows, policy)]


def test_a_default_deny_names_its_policy_and_the_closest_rule() -> None:
    assert told(denied(destination_names=("other.example",))) == [
        "default deny of weather/app: no rule allows it; closest rule: weather/app spec.egress.0 "
        "(line 7) would allow DNS name allowed.example; this is other.example"
    ]


def test_a_deny_rule_is_named_with_its_line() -> None:
    assert told(denied(reason=181, destination_ip="9.9.9.9")) == [
        "denied by weather/app spec.egressDeny.0 (line 14)"
    ]


def test_what_the_proxy_refused_is_told_with_the_request() -> None:
    to_api: dict[str, Any] = {
        "destination": API,
        "destination_ip": "10.0.0.9",
        "destination_port": 80,
    }
    request = Layer7(type=1, http_method="DELETE", http_url="http://api/ok")
    flows = [verdict(**to_api), l7(0.1, request, verdict=2, **to_api)]
    assert told(flows)[0] == (
        "denied by the L7 rules of weather/app spec.egress.1 (line 9): none allows "
        "DELETE http://api/ok (closest: GET /ok; DELETE isn't GET)"
    )


def test_what_no_policy_given_is_about_is_not_claimed() -> None:
    other = Endpoint(identity=7, labels=("k8s:a=b",), namespace="shop", pod="cart-1")
    assert told(denied(source=other)) == ["dropped by a policy that was not given"]
    assert told(denied(reason=181, source=other, denied_by=(DENY,))) == [
        f"dropped by a policy that was not given: {DENY}"
    ]


def test_a_drop_that_is_no_policys_is_told_so() -> None:
    (drop,) = told([denied(reason=158)[1]])
    assert drop == "dropped for a reason that is no policy's: SERVICE_BACKEND_NOT_FOUND"


def test_what_these_policies_allow_is_another_policys_doing() -> None:
    (overblock,) = told(
        denied(reason=181, destination_names=("allowed.example",), denied_by=(DENY,))
    )
    assert overblock.startswith("dropped though these policies allow it: allowed by weather/app")
    assert overblock.endswith(f"Hubble says {DENY} denied it, which was not given")


def test_without_labels_it_can_not_be_told() -> None:
    bare = Endpoint(namespace="weather", pod="weather-app-1")
    (unknown,) = told(denied(source=bare))
    assert unknown.startswith("can't tell: the record has no labels of the pod")


def test_what_passed_has_none() -> None:
    assert told([flow(destination_names=("allowed.example",))]) == [""]


def test_a_drop_at_the_other_end_is_told_in_both_directions() -> None:
    """The near node forwarded it, the far node's policies dropped it: both lines say whose it was."""
    closed = RULES.replace("namespace: weather", "namespace: api").replace(
        "  egress:\n", "  ingress: [{}]\n  egress:\n"
    )
    ends: dict[str, Any] = {
        "destination": API,
        "destination_ip": "10.0.0.9",
        "destination_port": 80,
    }
    found = {
        one.direction: one.attribution
        for one in listed([flow(**ends), *denied(0.1, direction=1, **ends)], closed)
    }
    assert found["ingress"] == "default deny of api/app: no rule allows it"
    assert found["egress"] == f"{found['ingress']} (at the other end: ingress of api/api)"


# Through the program ---------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "policy.yaml").write_text(CORRECT)
    (tmp_path / "flows.jsonl").write_text(capture(CORRECT))
    return tmp_path / "policy.yaml", tmp_path / "flows.jsonl"


def test_the_column_comes_with_policies_alone(files: tuple[Path, Path]) -> None:
    policy, flows = files
    names = [column.name for column in ATTEMPT]
    plain = flowwatch("export", "--drops", "--input-file", flows).stdout
    assert plain.splitlines()[0].split(",") == names
    result = flowwatch("export", "--drops", "--policies", policy, "--input-file", flows)
    assert result.returncode == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == [*names, "attribution"]
    assert Counter(row["peer"] for row in rows) == {"data/db-1": 3, "telemetry.example": 3}
    assert all(row["attribution"].startswith("default deny of weather/") for row in rows)
    # All else is as without.
    assert [row | {"attribution": ""} for row in rows] == [
        row | {"attribution": ""} for row in csv.DictReader(io.StringIO(plain))
    ]


def test_policies_from_standard_input_and_as_json_lines(files: tuple[Path, Path]) -> None:
    _, flows = files
    result = flowwatch(
        "export", "--policies", "-", "--format", "jsonl", "--input-file", flows, input=CORRECT
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == 6
    assert {line["attribution"].partition(":")[0] for line in lines} == {
        "default deny of weather/weather-egress"
    }


def test_hostile_names_are_escaped(tmp_path: Path, files: tuple[Path, Path]) -> None:
    policy, flows = files
    name = "\u001b[2Jevil\u202e.example"
    flows.write_text(flows.read_text().replace("telemetry.example", json.dumps(name)[1:-1]))
    result = flowwatch("export", "--policies", policy, "--input-file", flows)
    assert r"this is \x1b[2Jevil\u202e.example" in result.stdout
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


def test_records_do_not_have_it(files: tuple[Path, Path]) -> None:
    result = flowwatch("export", "--raw", "--policies", files[0], "--input-file", files[1])
    assert result.returncode == 2
    assert "--policies tells of attempts" in one_line(result)


def test_a_policy_that_is_not_there(files: tuple[Path, Path]) -> None:
    result = flowwatch("export", "--policies", "missing.yaml", "--input-file", files[1])
    assert result.returncode == 2
    assert "missing.yaml" in one_line(result)


# The demo: export and audit are one judgement ---------------------------------------------------


@pytest.fixture(scope="module", params=["all", "after"])
def demo(request: pytest.FixtureRequest) -> Iterator[list[Batch]]:
    """The demo's story, once for both."""
    with demo_traffic(request.param, parse(["audit"])) as source:
        yield list(source.batches())


def said(finding: Finding) -> str:
    """How the attribution begins of what an audit found so."""
    if finding.kind == "not covered":
        return "not covered"
    return finding.reason


def test_attributions_agree_with_the_audits_findings(demo: list[Batch]) -> None:
    policies = load([("weather.yaml", policy_text())])
    report: AuditReport = Audit(policies).read(demo)
    found: Counter[tuple[str, str, str, int, str]] = Counter()
    for one in report.findings:
        if one.observed == "dropped" and one.kind != "difference":
            namespace = one.subject.partition("/")[0]
            found[one.direction, namespace, one.protocol, one.port, said(one)] += one.attempts
    exported: Counter[tuple[str, str, str, int, str]] = Counter()
    teller = Attributor(Judge(policies))
    for attempt in AttemptListing(demo, BOTH, frozenset({"dropped"}), teller):
        words, way = attempt.attribution, attempt.direction
        if "(at the other end" in words:
            continue
        if words.startswith("its answer: "):
            # The audit judges it where it was dropped, by the policies of the other direction.
            words, way = (
                words.removeprefix("its answer: "),
                "ingress" if way == "egress" else "egress",
            )
        if words.startswith("dropped "):
            words = "not covered"
        key = (way, attempt.namespace, attempt.protocol, attempt.port)
        exported[*key, words] += 1
    assert exported == found
    assert sum(exported.values()) > 100
    assert any("closest rule" in key[4] for key in exported)
