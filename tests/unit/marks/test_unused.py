"""What nothing needed: the audit's own counts, told with since when, and what changed lately apart."""

from __future__ import annotations

import io
import json

import pytest

from flowwatch.audits.audit import Audit
from flowwatch.flows.model import Batch, Endpoint
from flowwatch.marks.unused import Finder, Unused, UnusedReport
from flowwatch.policy import load
from flowwatch.report.summary_table import Style
from flowwatch.report.unused import UNUSED_FORMATS, unused_object, write_unused
from tests.unit.marks.traffic import ALLOW, API, EVIL, SECOND, START, Traffic

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: weather-egress, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress:
    - toCIDR: [198.51.100.1/32, 192.0.2.7/32]
      toPorts: [{ports: [{port: "443", protocol: TCP}, {port: "80", protocol: TCP}]}]
    - toCIDR: [192.0.2.8/32]
  egressDeny:
    - toCIDR: [192.0.2.9/32]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: gone, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: long-gone}}
  egress: [{toEntities: [world]}]
"""
DAY = 86_400 * SECOND


def needed() -> Traffic:
    traffic = Traffic()
    for at in range(10):
        traffic.passes(at, API, (ALLOW,))
    return traffic


def _batch(traffic: Traffic) -> Batch:
    return Batch(flows=sorted(traffic.records, key=lambda one: one.time))


def since(one: Unused) -> float:
    """Seconds after the start."""
    return round(one.since / SECOND - START, 2)


def found(
    traffic: Traffic, recent: int = DAY, written: int = 0, policy: str = POLICY
) -> UnusedReport:
    finder = Finder(load([("p.yaml", policy)]), recent, (lambda _: written) if written else None)
    return finder.read([_batch(traffic)])


def told(report: UnusedReport) -> list[tuple[str, str, int]]:
    return [(one.what, one.text, one.line) for one in report.unused if one.certain]


def text(report: UnusedReport, form: str = "text") -> str:
    out = io.StringIO()
    write_unused(report, form, out, style=Style(width=0))
    return out.getvalue()


def test_policies_rules_peers_and_ports_are_told_each() -> None:
    report = found(needed())
    assert told(report) == [
        ("policy", "", 13),
        ("rule", "", 9),
        ("peer", "192.0.2.7/32", 7),
        ("port", "80/TCP", 7),
    ]
    assert {since(one) for one in report.unused} == {0.0}
    assert text(report).endswith(
        "unused: 1 policy, 1 rule, 1 peer, 1 port in 2 policies with 4 rules; 1 more that may be\n"
    )


def test_a_deny_that_nothing_tried_is_a_guard_and_no_waste() -> None:
    (guard,) = (one for one in found(needed()).unused if one.guard)
    assert (guard.what, guard.line, guard.certain) == ("rule", 11, False)
    assert "NOTHING TRIED WHAT THESE DENY" in text(found(needed()))


def test_it_is_what_the_audit_counts() -> None:
    records = _batch(needed())
    audit = Audit(load([("p.yaml", POLICY)])).read([records])
    never = {rule.entry.line for use in audit.policies for rule in use.rules if not rule.exercised}
    report = found(needed())
    rules = {one.line for one in report.unused if one.what == "rule"}
    # The rule of a policy that selects nothing is told with its policy.
    assert rules == never - {18}


def test_what_verdicts_first_show_late_is_told_apart() -> None:
    traffic = Traffic()
    for at in range(10):
        traffic.passes(at, API, asked=False)
        traffic.passes(at, EVIL, asked=False)
    for at in range(10, 20):
        traffic.passes(at, API, (ALLOW,))
        traffic.fails(at, EVIL)
    report = found(traffic, recent=15 * SECOND)
    mine = [one for one in report.unused if one.policy.name == "weather-egress"]
    assert {(one.recent, since(one), one.certain) for one in mine} == {(True, 10.0, False)}
    assert "RECENTLY CHANGED: TOO EARLY TO TELL" in text(report)
    assert "as verdicts show" in text(report)
    # Long enough ago it counts, from that moment on.
    later = [one for one in found(traffic, recent=5 * SECOND).unused if one.certain]
    assert {since(one) for one in later if one.policy.name == "weather-egress"} == {10.0}


def test_the_time_of_a_file_is_taken_where_it_is_asked_for() -> None:
    after = found(needed(), recent=SECOND, written=(START + 3600) * SECOND)
    assert {(one.recent, one.since) for one in after.unused} == {(True, 0)}
    assert "by the time of its file, when the evidence was over" in text(after)
    before = found(needed(), recent=SECOND, written=(START - 3600) * SECOND)
    assert not any(one.recent for one in before.unused)
    assert before.found


NAMES = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: weather-egress, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress:
    - toEndpoints: [{matchLabels: {k8s-app: kube-dns, "k8s:io.kubernetes.pod.namespace": kube-system}}]
      toPorts: [{ports: [{port: "53", protocol: UDP}], rules: {dns: [{matchName: api.example.com}]}}]
    - toFQDNs: [{matchName: api.example.com}]
"""


def test_lookups_are_needed_by_the_names_that_are() -> None:
    """No name's address is learnt but from a lookup that went through the proxy, seen or not."""
    traffic = Traffic()
    traffic.passes(0, API, (ALLOW,), destination_names=("api.example.com",))
    assert found(traffic, policy=NAMES).unused == ()
    traffic = Traffic().passes(0, EVIL, (ALLOW,), destination_names=("other.example.com",))
    assert [one.line for one in found(traffic, policy=NAMES).unused if one.certain] == [7, 9]


def test_all_that_is_needed_is_told_as_such() -> None:
    whole = POLICY.partition("    - toCIDR: [192.0.2.8/32]")[0]
    whole = whole.replace(", 192.0.2.7/32", "").replace(', {port: "80", protocol: TCP}', "")
    report = found(needed(), policy=whole)
    assert (report.unused, report.found) == ((), False)
    assert text(report).endswith("nothing unused in 1 policy with 1 rule\n")


@pytest.mark.parametrize("form", UNUSED_FORMATS)
def test_hostile_text_is_escaped(form: str) -> None:
    hostile = POLICY.replace("192.0.2.7/32", "192.0.2.7/32").replace(
        "name: gone", 'name: "gone\\e[31m|`"'
    )
    assert "\x1b" not in text(found(needed(), policy=hostile), form)


def test_json_says_what_speaks_against_it() -> None:
    object_ = json.loads(text(found(needed()), "json"))
    assert object_ == unused_object(found(needed()))
    guard = next(one for one in object_["unused"] if one["effect"] == "deny")
    assert (guard["certain"], guard["place"]) == (False, "spec.egressDeny.0")
    assert object_["unused"][0]["since"].startswith("2023-11-14T22:13:2")


def test_doubt_is_no_waste() -> None:
    one = Unused("rule", load([("p.yaml", POLICY)]).policies[0], None, "", 0, perhaps=3)
    assert not one.certain


def test_a_policy_of_the_side_that_no_record_has_is_not_told_to_be_unused() -> None:
    """What was let through at the client's end came to the server's, of which nothing is recorded."""
    cache = Endpoint(
        namespace="weather",
        pod="cache-0",
        labels=("k8s:app=cache", "k8s:io.kubernetes.pod.namespace=weather"),
    )
    policy = POLICY.partition("---")[2].replace("long-gone", "cache")
    inward = policy.replace("egress: [{toEntities", "ingress: [{fromEntities").replace(
        "world", "all"
    )
    traffic = Traffic().passes(0, "10.0.0.9", destination=cache)
    [told] = found(traffic, policy=inward).unused
    assert (told.what, told.perhaps, told.certain) == ("policy", 1, False)
    # Nobody of another name was at either end.
    [told] = found(traffic, policy=inward.replace("cache", "long-gone")).unused
    assert (told.what, told.perhaps, told.certain) == ("policy", 0, True)
