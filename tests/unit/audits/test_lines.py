"""Which lines an audit has: by outcome, by cluster, by who blocked, and what nobody given explains."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from flowwatch.audits.findings import AuditReport
from flowwatch.report.audit.junit import audit_junit
from tests.unit.audits.told import API, SHARED, Capture, audited, said

DENY_AND_ALLOW = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: deny-443, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  enableDefaultDeny: {egress: false}
  egressDeny:
    - toEntities: [world]
      toPorts: [{ports: [{port: "443", protocol: TCP}]}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: allow-world, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - toEntities: [world]
"""
ADMIN = """\
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: admin}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  egress:
    - {action: Deny, to: [{networks: [203.0.113.0/24]}]}
"""


def test_a_refused_request_and_one_that_passed_are_two_lines(tmp_path: Path) -> None:
    flows = Capture()
    flows.http("shop/web", "←", "shop/api", 80, "HEAD", "DROPPED")
    flows.http("shop/web", "←", "shop/api", 80, "GET")
    text = said(audited(API, flows, tmp_path))
    assert text.startswith(
        "OK, 2 attempts: as the policies say\n"
        "  ✓ shop/api ← shop/web (to its 80/TCP)  1x dropped\n"
        "      denied by the L7 rules of shop/api spec.ingress.0 (line 7): none allows HEAD "
        "http://api/status (closest: GET; HEAD isn't GET)\n"
        "  ✓ shop/api ← shop/web (to its 80/TCP)  1x forwarded\n"
    )
    # The rule for requests refused one: what it says of default deny nothing tried.
    assert "? ingress, by default deny: nothing tried what it forbids" in text


def test_two_peers_of_one_name_are_told_apart_by_their_cluster(tmp_path: Path) -> None:
    policy = API.partition("      toPorts")[0]
    flows = Capture()
    flows.add("shop/web", "←", "shop/api", 80)
    flows.add("c2/shop/web", "←", "shop/api", 80, "DROPPED")
    report = audited(policy, flows, tmp_path)
    lines = {one.peer: (one.observed, one.reason) for one in report.findings}
    assert lines["shop/web"][0] == "forwarded"
    observed, reason = lines["c2/shop/web"]
    assert observed == "dropped"
    assert (
        "means its own cluster; this is in c2 (add k8s:io.cilium.k8s.policy.cluster: c2)" in reason
    )


def test_what_would_read_the_same_has_its_address(tmp_path: Path) -> None:
    """One name at two addresses, of which one is in a block: two rules decide."""
    policy = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - toFQDNs: [{matchName: api.example}]
    - toCIDR: [192.0.2.1/32]
    - toPorts: [{ports: [{port: "53"}], rules: {dns: [{matchPattern: "*"}]}}]
"""
    flows = Capture()
    flows.answer("shop/web", "api.example", "192.0.2.1", 300)
    flows.answer("shop/web", "api.example", "192.0.2.2", 300)
    for address in ("192.0.2.1", "192.0.2.2"):
        flows.add("shop/web", "→", address, 443, destination_names=["api.example"])
    text = said(audited(policy, flows, tmp_path))
    assert "shop/web → api.example:443/TCP (192.0.2.1)  1x forwarded" in text
    assert "shop/web → api.example:443/TCP (192.0.2.2)  1x forwarded" in text
    assert "coredns:53/UDP (" not in text


def test_a_deny_rule_that_blocked_is_proven_and_an_untried_default_deny_is_not(
    tmp_path: Path,
) -> None:
    flows = Capture()
    flows.add("shop/web", "→", "198.51.100.9", 80)
    flows.add("shop/web", "→", "198.51.100.9", 443, "DROPPED", drop_reason=181)
    report = audited(DENY_AND_ALLOW, flows, tmp_path)
    assert [(one.policy.name, one.unproven) for one in report.policies] == [
        ("deny-443", ()),
        ("allow-world", ("egress",)),
    ]
    # Its deny is narrower than what is allowed, and that lets something through: nothing is hidden.
    assert report.hints == ()
    assert report.exit_code(strict=True) == 3


def test_a_deny_of_the_admin_tier_is_proven_by_what_it_blocked(tmp_path: Path) -> None:
    flows = Capture().add("shop/web", "→", "203.0.113.1", 443, "DROPPED", drop_reason=181)
    assert [one.unproven for one in audited(ADMIN, flows, tmp_path).policies] == [()]
    flows = Capture().add("shop/web", "→", "198.51.100.1", 443)
    assert [one.unproven for one in audited(ADMIN, flows, tmp_path).policies] == [("egress",)]


@pytest.mark.parametrize(
    ("reason", "exercised"), [(133, True), (132, False)], ids=["a policy's", "INVALID_SOURCE_IP"]
)
def test_what_never_reached_a_policy_exercises_no_rule(
    reason: int, exercised: bool, tmp_path: Path
) -> None:
    flows = Capture()
    flows.add("shop/web", "→", "192.0.2.1", 443, "DROPPED", drop_reason=reason)
    policy = DENY_AND_ALLOW.partition("---\n")[2]
    [use] = audited(policy, flows, tmp_path).policies
    assert use.rules[0].exercised is exercised


def test_a_rule_that_may_match_is_not_exercised(tmp_path: Path) -> None:
    """Records don't say which number is the port http."""
    policy = API.partition("          rules")[0].replace('port: "80"', "port: http")
    flows = Capture().add("shop/web", "←", "shop/api", 8081)
    text = said(audited(policy, flows, tmp_path))
    assert (
        "? spec.ingress.0 (line 7): never exercised for certain: 1 attempt may have needed it"
        in text
    )


def test_a_policy_drop_that_no_given_policy_explains_is_a_finding(tmp_path: Path) -> None:
    """Only egress is restricted here, and a probe of the node was dropped."""
    policy = DENY_AND_ALLOW.partition("---\n")[2].replace("app: web", "app: api")
    flows = Capture()
    flows.add("shop/api", "→", "198.51.100.1", 443)
    flows.add("host", "←", "shop/api", 8080, "DROPPED")
    report = audited(policy, flows, tmp_path)
    text = said(report)
    assert "UNEXPLAINED, 1 attempt" in text
    assert (
        "✗ shop/api ← host (to its 8080/TCP)  1x\n      dropped by a policy that was not given"
        in text
    )
    assert "documents are missing" in text
    assert "enable-policy is always" in text
    assert text.endswith("NOT AS EXPECTED: 1 unexplained drop")
    assert report.exit_code() == 1


def test_another_teams_drops_are_listed_and_no_finding(tmp_path: Path) -> None:
    policy = DENY_AND_ALLOW.partition("---\n")[2]
    flows = Capture()
    flows.add("shop/web", "→", "198.51.100.1", 443)
    flows.add("ci/runner", "→", "198.51.100.1", 443)
    flows.add("ci/runner", "→", "203.0.113.66", 443, "DROPPED")
    report = audited(policy, flows, tmp_path)
    text = said(report)
    assert (
        "  · ci/runner → 203.0.113.66:443/TCP  1x dropped\n"
        "      dropped by a policy that was not given\n"
        "  · ci/runner → 198.51.100.1:443/TCP  1x forwarded"
    ) in text
    assert report.exit_code() == 0


def test_in_audit_mode_what_these_policies_allow_and_hubble_would_deny_is_a_finding(
    tmp_path: Path,
) -> None:
    flows = Capture()
    flows.add("shop/web", "→", "192.0.2.77", 22, "AUDIT")
    flows.add("shop/web", "→", "shop/db", 5432, "AUDIT")
    report = audited(DENY_AND_ALLOW.partition("---\n")[2], flows, tmp_path)
    kinds = {one.peer: (one.kind, one.expected, one.observed) for one in report.findings}
    assert kinds == {
        "192.0.2.77": ("overblock", "allowed", "audited"),
        "shop/db": ("inconclusive", "denied", "audited"),
    }
    assert "though these policies allow it" in said(report)
    assert report.exit_code() == 1


@pytest.mark.parametrize(
    ("case", "told", "untold"),
    [
        ("m3-outcomes-folded", ("1x dropped", "none allows HEAD", "1x forwarded"), ("2x",)),
        ("m3b-dns-outcomes-folded", ("2x forwarded", "1x dropped"), ("3x",)),
        ("m4-uncovered-drop", ("UNEXPLAINED, 1 attempt", "NOT AS EXPECTED"), ()),
        ("m6-same-line-twice", ("c2/t/a-0 (to its 80/TCP)  1x dropped", "means its own cluster"), ()),
        ("m7-audited-though-allowed", ("192.0.2.77 (to its 22/TCP)  1x\n", "though these policies"), ()),
        ("m1b-icmp-deny-leak-missed", ("LEAK, 1 attempt",), ()),
        ("10-ipv6-mld-noise", ("spec.egress.0 (line 7): 1 attempt\n",), ()),
        ("33-traefik-toservices", ("OVERBLOCK, 1 attempt",), ("✓ spec.egress.3",)),
        ("40-named-port", ("INCONCLUSIVE, 2 attempts", "never exercised for certain"), ()),
        ("24-tiers-pass-nonconsecutive", ("denied by admin spec.egress.1",), ("unproven", "MISTAKES")),
    ],
)  # fmt: skip
def test_cases_of_public_threads(
    case: str, told: tuple[str, ...], untold: tuple[str, ...], tmp_path: Path
) -> None:
    folder = SHARED / case
    if not folder.is_dir():
        pytest.skip(f"no {case} beside the checkout")
    report = audited((folder / "policy.yaml").read_text(), folder / "flows.jsonl", tmp_path)
    text = said(report)
    for words in told:
        assert words in text
    for words in untold:
        assert words not in text


def test_37_who_blocked_is_credited(tmp_path: Path) -> None:
    folder = SHARED / "37-proof-of-deny"
    if not folder.is_dir():
        pytest.skip("no 37-proof-of-deny beside the checkout")
    report = audited((folder / "policy.yaml").read_text(), folder / "flows.jsonl", tmp_path)
    assert {one.policy.name: one.unproven for one in report.policies} == {
        "deny-443": (),
        "allow-world": ("egress",),
    }


FOREIGN = """\
---
apiVersion: networking.gke.io/v1alpha1
kind: FQDNNetworkPolicy
metadata: {name: names, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  egress: [{matches: [{name: example.com}]}]
"""


@pytest.mark.parametrize(("app", "selects"), [("api", True), ("other", False)])
def test_a_policy_of_another_program_that_selects_the_pod_is_prominent(
    app: str, selects: bool, tmp_path: Path
) -> None:
    """Google's, which blocks egress here; nothing can be judged by it, but it is the likely cause."""
    policy = API.partition("          rules")[0] + FOREIGN.replace("app: api", f"app: {app}")
    flows = Capture()
    flows.add("shop/web", "←", "shop/api", 80)
    flows.add("shop/api", "→", "198.51.100.1", 443, "DROPPED")
    report = audited(policy, flows, tmp_path)
    who = "FQDNNetworkPolicy shop/names (networking.gke.io; policy.yaml:11) selects"
    assert (
        any(note.startswith(f"{who} shop/api, and isn't") for note in report.blind.notes) is selects
    )
    [finding] = [one for one in report.findings if one.kind == "unexplained"]
    assert (f"{who} the pod too, and may have done it" in finding.reason) is selects


@pytest.mark.parametrize(
    ("peer", "protocol", "port", "noise"),
    [
        ("ff02::16", "ICMPv6", 143, True),
        ("fe80::1", "ICMPv6", 135, True),
        ("224.0.0.251", "UDP", 5353, True),
        ("2001:db8::1", "TCP", 443, False),
    ],
)
def test_the_noise_of_a_link_is_neither_judged_nor_unclear(
    peer: str, protocol: str, port: int, noise: bool, tmp_path: Path
) -> None:
    """Lost before any policy was asked: what neighbours say to each other is no attempt of the pod's."""
    flows = Capture().add("shop/web", "→", "198.51.100.1", 443)
    flows.add("shop/web", "→", peer, port, "DROPPED", protocol=protocol, drop_reason=132)
    report = audited(DENY_AND_ALLOW.partition("---\n")[2], flows, tmp_path)
    [lost] = [one for one in report.findings if one.observed == "dropped"]
    assert lost.kind == ("not covered" if noise else "inconclusive")
    assert ("INVALID_SOURCE_IP (noise of the link" in lost.reason) is noise
    assert report.counts.get("inconclusive", 0) == (0 if noise else 1)


def test_a_rule_of_several_peers_is_one_rule(tmp_path: Path) -> None:
    """Also what Cilium adds to names: the way to the DNS pods, which nobody wrote."""
    policy = """\
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: admin}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  egress:
    - action: Accept
      to:
        - namespaces: {matchLabels: {kubernetes.io/metadata.name: db}}
        - domainNames: [api.example]
        - networks: [192.0.2.0/24]
    - {action: Deny, to: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]}
"""
    flows = Capture()
    flows.add("shop/web", "→", "db/pg", 5432)
    report = audited(policy, flows, tmp_path)
    assert said(report).count("spec.egress.0 (line 9)") == 1
    assert (
        "✓ spec.egress.0 (line 9): 1 attempt\n        unused: DNS name api.example; 192.0.2.0/24"
        in said(report)
    )
    assert not list(junit_case(report, "spec.egress.0 (line 9)"))
    # A lookup that it can't tell of is that rule's, too.
    flows.add(
        "shop/web", "→", "kube-system/dns", 53, protocol="UDP", labels={"k8s-app": "kube-dns"}
    )
    report = audited(policy, flows, tmp_path)
    told = ET.tostring(junit_case(report, "spec.egress.0 (line 9)"), encoding="unicode")
    assert "flows do not carry the name of a port" in told


def junit_case(report: AuditReport, name: str) -> ET.Element:
    """The one of that name."""
    [case] = [
        one
        for one in ET.fromstring(audit_junit(report)).iter("testcase")
        if one.get("name") == name
    ]
    return case


ONE_SIDE = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: web}}]
    - fromEndpoints: [{matchLabels: {app: nobody}}]
  egress:
    - toEndpoints: [{matchLabels: {app: db}}]
"""


def test_a_side_that_no_record_has_may_have_needed_what_is_for_it(tmp_path: Path) -> None:
    """A capture of egress alone, or of the node of the clients: who listens is seen as the other end."""
    flows = Capture()
    flows.add("shop/web", "→", "shop/api", 80)
    report = audited(ONE_SIDE, flows, tmp_path)
    assert report.hints == ()
    assert (
        "? selects only pods at the other end of 1 attempt, whose own side is in no record: can't tell"
        in said(report)
    )
    flows.add("shop/api", "→", "shop/db", 5432)
    text = said(audited(ONE_SIDE, flows, tmp_path))
    assert (
        "spec.ingress.0 (line 7): never exercised for certain: 1 attempt may have needed it" in text
    )
    assert "spec.ingress.1 (line 8): never exercised\n" in text
    flows.add("shop/web", "←", "shop/api", 8080)
    text = said(audited(ONE_SIDE, flows, tmp_path))
    assert "✓ spec.ingress.0 (line 7): 1 attempt\n" in text


def test_what_was_dropped_never_came_to_the_other_end(tmp_path: Path) -> None:
    flows = Capture()
    flows.add("shop/web", "→", "shop/api", 80, "DROPPED")
    flows.add("shop/api", "→", "shop/db", 5432)
    text = said(audited(ONE_SIDE, flows, tmp_path))
    assert "spec.ingress.0 (line 7): never exercised\n" in text


@pytest.mark.parametrize(
    ("identity", "labels", "line"),
    [
        (7, ["kube-apiserver", "world"], "OK, 1 attempt"),
        (16_777_219, ["kube-apiserver"], "OK, 1 attempt"),
        (7, ["kube-apiserver"], "INCONCLUSIVE, 1 attempt"),
    ],
    ids=["of the world", "a local identity", "by its number alone"],
)
def test_an_api_server_outside_has_the_address_of_its_record(
    identity: int, labels: list[str], line: str, tmp_path: Path
) -> None:
    """Without ``cidr:`` labels, too, as records have it where Cilium gives it none."""
    policy = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24}}]}]}
"""
    server = {"identity": identity, "labels": [f"reserved:{one}" for one in labels]}
    flows = Capture().add("shop/web", "→", "203.0.113.9", 443)
    flows.flows[0]["destination"] = server
    text = said(audited(policy, flows, tmp_path))
    assert text.startswith(line)
    assert "no address of the other end" not in text
    told = "the record doesn't say whether the API server is on a node"
    assert (told in text) is line.startswith("INCONCLUSIVE")


def test_policies_of_one_name_are_told_apart_by_their_kinds(tmp_path: Path) -> None:
    kubernetes = """\
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""
    flows = Capture().add("shop/other", "←", "shop/api", 80, "DROPPED")
    text = said(audited(ONE_SIDE + kubernetes, flows, tmp_path))
    assert "default deny of CiliumNetworkPolicy shop/api, NetworkPolicy shop/api: no rule" in text
    assert "default deny of shop/api: no rule" in said(audited(ONE_SIDE, flows, tmp_path))


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (189, "a policy asks both ends to authenticate, and first packets drop until they have"),
        (133, "the agent did not know the identity yet, or had not applied the policy"),
    ],
    ids=["authentication", "policy denied"],
)
def test_a_first_packet_that_waited_says_for_what(reason: int, why: str, tmp_path: Path) -> None:
    policy = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - toEndpoints: [{matchLabels: {app: api}}]
      authentication: {mode: required}
"""
    flows = Capture()
    flows.add("shop/web", "→", "shop/api", 80, "DROPPED", drop_reason=reason)
    flows.add("shop/web", "→", "shop/api", 80)
    flows.flows[1]["l4"] = flows.flows[0]["l4"]
    [incident] = audited(policy, flows, tmp_path).incidents
    assert (incident.name, incident.attempts) == ("denied-at-first", 1)
    assert incident.text.endswith(why)
