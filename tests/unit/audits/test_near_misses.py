"""The rule that is said to be closest, and what is called a mistake: by traffic that was judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.audits.told import SHARED, Capture, attributed, audited, said

DB = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: web}}}]
      ports: [{port: 5432}]
    - ports: [{port: 9187}]
"""


def scanned() -> Capture:
    """Everybody does what the policy is for, and one pod and a stranger try more."""
    flows = Capture()
    flows.add("shop/web", "←", "shop/db", 5432)
    flows.add("monitoring/prom", "←", "shop/db", 9187)
    flows.add("shop/web", "←", "shop/db", 22, "DROPPED")
    flows.add("198.51.100.66", "←", "shop/db", 5432, "DROPPED")
    return flows


def test_a_policy_that_did_its_work_has_no_mistake(tmp_path: Path) -> None:
    report = audited(DB, scanned(), tmp_path)
    assert report.hints == ()
    assert said(report).endswith("AS EXPECTED")


def test_the_closest_rule_is_that_of_this_peer(tmp_path: Path) -> None:
    """The rule for everybody's port 9187 is no near miss of whatever else is blocked."""
    web, stranger = attributed(DB, scanned(), tmp_path)
    assert (
        "closest rule: shop/db spec.ingress.0 (line 7) would allow 5432/TCP; this is 22/TCP" in web
    )
    assert "closest rule: shop/db spec.ingress.0 (line 7) would allow pods with app=web" in stranger
    assert "this is world (198.51.100.66)" in stranger


def test_a_port_that_nobody_gets_through_is_a_mistake(tmp_path: Path) -> None:
    flows = Capture()
    for _ in range(3):
        flows.add("shop/web", "←", "shop/db", 5433, "DROPPED")
    [hint] = audited(DB, flows, tmp_path).hints
    assert (hint.name, hint.line, hint.attempts) == ("port-mismatch", 7, 3)


def test_a_pod_is_named_though_its_labels_do_not_say_its_name(tmp_path: Path) -> None:
    policy = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - toCIDR: [10.0.0.0/8]
"""
    flows = Capture()
    flows.add("shop/web", "→", "shop/cache", 6379, "DROPPED", labels={"role": "cache"})
    [text] = attributed(policy, flows, tmp_path)
    assert "10.0.1.2 is a pod (shop/cache), and CIDRs mean addresses outside" in text


def test_an_address_that_was_a_pods_a_moment_ago_says_whose(tmp_path: Path) -> None:
    """The pod is gone, and what is still sent to its address counts as sent outside."""
    policy = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - toEndpoints: [{matchLabels: {app: cache}}]
"""
    flows = Capture()
    flows.add("shop/web", "→", "shop/cache", 6379)
    flows.add("shop/web", "→", flows.address("shop/cache"), 6379, "DROPPED")
    [text] = attributed(policy, flows, tmp_path)
    assert "this is world (10.0.1.2); 10.0.1.2 was the pod shop/cache-0 a moment ago" in text


def test_a_name_that_leads_to_a_service_of_the_cluster(tmp_path: Path) -> None:
    policy = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - toPorts: [{ports: [{port: "53"}], rules: {dns: [{matchPattern: "*"}]}}]
    - toFQDNs: [{matchName: cache.example}]
"""
    flows = Capture()
    flows.answer("shop/web", "cache.example", flows.address("shop/cache"), 30)
    flows.add("shop/web", "→", "shop/cache", 6379, "DROPPED")
    [text] = attributed(policy, flows, tmp_path)
    assert (
        "would allow DNS name cache.example, which leads to shop/cache, a service of this cluster"
        in text
    )


@pytest.mark.parametrize(
    ("case", "closest"),
    [
        (
            "38-correct-policy-scan",
            "closest rule: shop/db spec.ingress.0 (line 8) would allow pods",
        ),
        ("m10-closest-icmp", "closest rule: common spec.ingress.1"),
    ],
)
def test_cases_of_public_threads(case: str, closest: str, tmp_path: Path) -> None:
    folder = SHARED / case
    if not folder.is_dir():
        pytest.skip(f"no {case} beside the checkout")
    policy, flows = (folder / "policy.yaml").read_text(), folder / "flows.jsonl"
    assert audited(policy, flows, tmp_path).hints == ()
    assert any(closest in text for text in attributed(policy, flows, tmp_path))
