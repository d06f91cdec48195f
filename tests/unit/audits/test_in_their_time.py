"""Policies judged in their time: each rule on a minimal capture, and on a real kernel's recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowwatch.audits.audit import Audit
from flowwatch.audits.findings import AuditReport
from flowwatch.flows.model import Batch, EventType, Flow, Layer7
from flowwatch.policy import load
from flowwatch.sources.files import FileSource
from tests.material import SHARED, both, name, needs
from tests.unit.flows.made import ALLOW, APP, WORLD, denied, flow, reply, verdict

JUDGED = ("dns", "icmp", "rate", "slow", "steady", "swap", "udp")
TAKEN_AWAY = ("portreuse", "rescued", "taken-away")

POD = msgspec.structs.replace(
    APP, labels=("k8s:app=weather-app", "k8s:io.kubernetes.pod.namespace=weather")
)
DNS = msgspec.structs.replace(
    APP, pod="coredns-1", workload="coredns", namespace="kube-system",
    labels=("k8s:k8s-app=kube-dns", "k8s:io.kubernetes.pod.namespace=kube-system"),
)  # fmt: skip
FOUR = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: weather-egress, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress:
    - toCIDR: [4.4.4.4/32]
"""
BY_NAME = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: weather-egress, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress:
    - toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system, k8s-app: kube-dns}}]
      toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]
    - toFQDNs: [{matchName: api.example.com}]
      toPorts: [{ports: [{port: "443", protocol: TCP}]}]
"""
DENY_ONLY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: no-metadata, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egressDeny:
    - toCIDR: [169.254.169.254/32]
"""


def audited(policy: str, *records: Flow) -> AuditReport:
    return Audit(load([("policy.yaml", policy)])).read([Batch(flows=list(records))])


def reasons(report: AuditReport, kind: str) -> list[str]:
    return [one.reason for one in report.findings if one.kind == kind]


def to(address: str, port: int, **fields: Any) -> dict[str, Any]:
    return {"source": POD, "destination_ip": address, "source_port": port, **fields}


def allowed(at: float, address: str, port: int, revision: int) -> list[Flow]:
    ends = to(address, port)
    return [
        verdict(at, **ends, allowed_by=(ALLOW,), revision=revision),
        flow(at, **ends),
        reply(at + 0.001, source_ip=address, destination=POD, destination_port=port),
    ]


def answered(at: float, ttl: int) -> Flow:
    """The DNS proxy's record of an answer: api.example.com is 5.5.5.5."""
    seen = Layer7(type=2, dns_query="api.example.com", dns_ips=("5.5.5.5",), dns_ttl=ttl)
    return reply(
        at, source=DNS, destination=POD, source_ip="10.0.0.53", source_port=53, l7=seen,
        protocol="UDP", event_type=EventType.L7, tcp_flags=0,
    )  # fmt: skip


def test_what_an_older_version_of_the_policies_allowed_is_no_leak() -> None:
    before = (*allowed(0, "4.4.4.4", 3, 6), *allowed(2, "1.1.1.1", 1, 6))
    report = audited(FOUR, *before, *allowed(9, "4.4.4.4", 2, 7))
    assert reasons(report, "leak") == []
    [why] = reasons(report, "inconclusive")
    assert "before this version of the policies: verdicts name revision 7 from" in why
    assert report.exit_code() == 0


def test_what_the_newest_version_allowed_is_a_leak() -> None:
    report = audited(FOUR, *allowed(0, "4.4.4.4", 1, 6), *allowed(9, "1.1.1.1", 2, 7))
    [why] = reasons(report, "leak")
    assert "default deny of weather/weather-egress" in why


def test_after_the_last_verdict_nothing_enforces_it() -> None:
    later = to("1.1.1.1", 3)
    report = audited(
        FOUR, *denied(0, **to("1.1.1.1", 1)), flow(60, **later), flow(90, **to("1.1.1.1", 4))
    )
    [why] = reasons(report, "leak")
    assert "since 22:13:20 UTC nothing enforces it" in why


def test_a_drop_before_the_name_was_ever_looked_up_is_an_incident() -> None:
    report = audited(BY_NAME, *denied(0, **to("5.5.5.5", 1)), answered(5, 300))
    assert reasons(report, "overblock") == []
    [incident] = report.incidents
    assert incident.name == "name-not-yet-known"
    assert "allowed from 22:13:25 UTC on" in incident.text
    assert report.exit_code() == 0


def test_a_drop_after_the_answer_had_expired_is_an_incident() -> None:
    report = audited(BY_NAME, answered(0, 5), *denied(20, **to("5.5.5.5", 1)), answered(30, 5))
    assert reasons(report, "overblock") == []
    [incident] = report.incidents
    assert (incident.name, incident.attempts) == ("name-expired", 1)


def test_a_drop_while_the_answer_was_good_is_an_overblock() -> None:
    report = audited(BY_NAME, answered(0, 300), *denied(20, **to("5.5.5.5", 1)))
    assert len(reasons(report, "overblock")) == 1
    assert report.incidents == ()


def test_deny_rules_alone_turn_default_deny_on() -> None:
    report = audited(DENY_ONLY, *denied(0, **to("1.1.1.1", 1, destination=WORLD)))
    [hint] = report.hints
    assert hint.name == "deny-only"
    assert "no rule allows anything: nothing else gets through, DNS included" in hint.text


def recordings(names: tuple[str, ...]) -> list[Path]:
    return [path for path in both("kernel-lab/*") if path.name in names]


def recorded(scenario: Path) -> AuditReport:
    policies = load([("policy.yaml", (scenario / "policy.yaml").read_text())])
    return Audit(policies).read(FileSource([str(scenario / "flows.jsonl.gz")]).batches())


@pytest.mark.parametrize("scenario", recordings(JUDGED), ids=name)
def test_what_the_kernel_did_is_as_the_policies_say(scenario: Path) -> None:
    report = recorded(scenario)
    assert report.exit_code() == 0, [one for one in report.findings if one.kind != "ok"]
    dropped = sum(
        one.attempts for one in report.findings if one.kind == "ok" and one.observed == "dropped"
    )
    print(f"{name(scenario)}: {report.blind.judged} attempts judged, {dropped} rightly dropped")
    assert dropped


@pytest.mark.parametrize("scenario", recordings(TAKEN_AWAY), ids=name)
def test_leaks_after_a_policy_was_taken_away_say_so(scenario: Path) -> None:
    leaks = reasons(recorded(scenario), "leak")
    assert leaks
    assert all("nothing enforces it" in why or "not in force any more" in why for why in leaks), (
        leaks
    )


@needs("kernel-lab")
def test_names_that_expire_and_names_not_looked_up_yet_are_told() -> None:
    report = recorded(SHARED / "kernel-lab" / "dns")
    assert sorted(one.name for one in report.incidents) == [
        "name-expired", "name-not-yet-known", "name-not-yet-known",
    ]  # fmt: skip
