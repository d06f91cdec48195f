"""What to do about what was found, and what to say of what nothing proves: by what the records show."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowwatch.audits.seen_ends import SeenEnds
from flowwatch.audits.whatif import WhatIf
from flowwatch.policy import load
from flowwatch.policy.explain import explain, read_end
from flowwatch.policy.missed_names import missed_name
from flowwatch.policy.names import NameRule
from flowwatch.sources.files import FileSource
from tests.unit.audits.told import API, Capture, attributed, audited, said

OUT = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - toEntities: [world]
"""
NAMES = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - toEndpoints: [{matchLabels: {k8s-app: kube-dns, io.kubernetes.pod.namespace: kube-system}}]
      toPorts:
        - ports: [{port: "53", protocol: ANY}]
          rules: {dns: [{matchName: api.example.com}, {matchPattern: "*.example.org"}]}
    - toFQDNs: [{matchName: api.example.com}]
"""
TO_API = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress:
    - to:
        - {podSelector: {matchLabels: {app: api}}}
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: data}}
          podSelector: {matchLabels: {app: db}}
"""
DENY = 181
API_SERVER = {"identity": 7, "labels": ["reserved:kube-apiserver", "reserved:remote-node"]}
METADATA = {"name": "metadata", "kind": "CiliumClusterwideNetworkPolicy"}


def step(policy: str, flows: Capture, folder: Path) -> str:
    """What to do about the worst finding."""
    return audited(policy, flows, folder).findings[0].advice


def test_a_drop_without_a_deny_rule_is_no_other_policys(tmp_path: Path) -> None:
    """Allows add up, and a deny rule has a drop reason of its own."""
    flows = Capture().add("shop/web", "→", "192.0.2.9", 443, "DROPPED")
    assert "no deny rule did this (Hubble would say POLICY_DENY)" in step(OUT, flows, tmp_path)


def test_a_deny_rule_that_was_not_given_is_asked_for(tmp_path: Path) -> None:
    flows = Capture().add("shop/web", "→", "192.0.2.9", 443, "DROPPED", drop_reason=DENY)
    assert "a deny rule did this, and none of these" in step(OUT, flows, tmp_path)
    named = Capture().add(
        "shop/web", "→", "192.0.2.9", 443, "DROPPED", egress_denied_by=[METADATA],
        event_type={"type": 5}, drop_reason=DENY,
    )  # fmt: skip
    assert "give the policy that Hubble names, too" in step(OUT, named, tmp_path)


def test_each_cause_has_its_own_step(tmp_path: Path) -> None:
    flows = Capture()
    flows.add("shop/web", "→", "192.0.2.8", 80, "DROPPED", drop_reason=DENY)
    flows.add("shop/web", "→", "192.0.2.9", 443, "DROPPED")
    text = said(audited(OUT, flows, tmp_path))
    assert text.count("⇒") == 2
    first, second = (line for line in text.splitlines() if "⇒" in line)
    assert "a deny rule did this" in first
    assert "no deny rule did this" in second


def test_a_name_that_the_agent_had_is_asked_of_the_agent(tmp_path: Path) -> None:
    flows = Capture().answer("shop/web", "api.example.com", "192.0.2.9", 300)
    flows.add("shop/web", "→", "192.0.2.9", 443, "DROPPED")
    policy = NAMES.replace("k8s-app: kube-dns", "app: coredns")
    assert "cilium-dbg fqdn cache list" in step(policy, flows, tmp_path)


def test_a_packet_that_no_policy_lost_has_the_step_of_its_reason(tmp_path: Path) -> None:
    flows = Capture().add("shop/web", "→", "192.0.2.9", 80, "DROPPED", drop_reason=158)
    report = audited(OUT, flows, tmp_path)
    assert report.findings[0].advice.startswith(
        "The service exists, but no ready pod stands behind it."
    )
    # No policy was asked of it, so that no verdict is missing.
    assert not any("no policy verdict" in note for note in report.blind.notes)


def test_the_name_of_a_port_is_in_the_pods_spec(tmp_path: Path) -> None:
    policy = OUT.replace("toEntities: [world]", "toEndpoints: [{}]")
    policy += '      toPorts: [{ports: [{port: "http", protocol: TCP}]}]\n'
    flows = Capture().add("shop/web", "→", "shop/api", 80)
    assert "containerPort" in step(policy, flows, tmp_path)
    assert (
        "? egress: nothing surely tried what it forbids (1 attempt can't be told); that it blocks is unproven"
        in said(audited(policy, flows, tmp_path))
    )


def test_what_audit_mode_let_through_was_tried(tmp_path: Path) -> None:
    flows = Capture().add("shop/web", "→", "shop/api", 80, "AUDIT")
    report = audited(OUT, flows, tmp_path)
    assert "? egress: 1 attempt at what it forbids passed in audit mode" in said(report)
    assert "take audit mode off" in report.findings[0].advice
    assert report.policies[0].unproven == ("egress",)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (TO_API, "ask kube-system/coredns on port 53"),
        (NAMES, "(spec.egress.0 sends them to pods with"),
    ],
)
def test_lookups_that_are_all_denied_are_a_mistake(policy: str, says: str, tmp_path: Path) -> None:
    flows = Capture()
    for _ in range(2):
        flows.add("shop/web", "→", "kube-system/coredns", 53, "DROPPED", protocol="UDP")
    [hint] = audited(policy, flows, tmp_path).hints
    assert (hint.name, hint.attempts) == ("lookups-denied", 2)
    assert says in hint.text


def test_a_policy_that_lets_nothing_out_forgot_no_lookups(tmp_path: Path) -> None:
    nothing = TO_API.partition("  egress:")[0]
    flows = Capture().add("shop/web", "→", "kube-system/coredns", 53, "DROPPED", protocol="UDP")
    assert audited(nothing, flows, tmp_path).hints == ()


def refused(name: str, folder: Path) -> str:
    """What a policy says of a lookup that the proxy refused."""
    flows = Capture()
    flows.add("shop/web", "→", "kube-system/coredns", 53, "REDIRECTED", protocol="UDP",
              labels={"k8s-app": "kube-dns"})  # fmt: skip
    flow = {**flows.flows[-1], "uuid": "l", "verdict": "DROPPED", "Type": "L7", "event_type": {"type": 129},
            "l7": {"type": "REQUEST", "dns": {"query": f"{name}.", "qtypes": ["A"]}}}  # fmt: skip
    flows.flows.append(flow)
    [finding] = audited(NAMES, flows, folder).findings
    return finding.reason.partition(f"DNS query for {name}")[2]


def test_a_lookup_with_a_search_domain_is_told_as_that(tmp_path: Path) -> None:
    told = refused("api.example.com.shop.svc.cluster.local", tmp_path)
    assert (
        "api.example.com, which is allowed, with the search domain shop.svc.cluster.local" in told
    )
    assert "nameError" in told
    # A stranger's domain behind an allowed name is no resolver's doing.
    assert refused("api.example.com.evil.test", tmp_path) == ""


def test_a_refused_lookup_is_told_by_what_it_misses(tmp_path: Path) -> None:
    assert "example.org itself needs a matchName" in refused("example.org", tmp_path)
    assert "a.b.example.org needs **.example.org" in refused("a.b.example.org", tmp_path)


def test_another_protocol_is_no_services_port(tmp_path: Path) -> None:
    policy = TO_API + "      ports: [{port: 5060}]\n"
    flows = Capture().add("shop/web", "→", "shop/api", 5060, "DROPPED", protocol="UDP")
    [why] = attributed(policy, flows, tmp_path)
    assert why.endswith("would allow 5060/TCP; this is 5060/UDP: UDP is another protocol")


def test_of_several_peers_the_one_with_its_labels_is_the_closest(tmp_path: Path) -> None:
    """``app: api`` of another namespace, which a NetworkPolicy asks for in its own way."""
    policy = TO_API.replace("app: db", "app: mq").replace("app: api", "app: db")
    flows = Capture().add("shop/web", "→", "data/db", 80, "DROPPED")
    report = audited(policy, flows, tmp_path)
    assert (
        "would allow pods with app=db, namespace=shop: that is namespace shop; this is in data (add, beside "
        "the podSelector: namespaceSelector with kubernetes.io/metadata.name: data)"
    ) in report.findings[0].reason
    assert "beside the podSelector" in report.hints[0].text


def test_a_pod_that_a_block_leaves_out_is_still_a_pod(tmp_path: Path) -> None:
    policy = OUT.replace(
        "toEntities: [world]", "toCIDRSet: [{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}]"
    )
    flows = Capture().add("shop/web", "→", "shop/api", 80, "DROPPED")
    [why] = attributed(policy, flows, tmp_path)
    assert "is a pod (shop/api), and CIDRs mean addresses outside" in why


@pytest.mark.parametrize(
    ("peer", "says"),
    [
        ("host", "this is host (fromEntities: [host])"),
        ("remote-node", "(fromEntities: [remote-node]; what comes from outside through another node has that "
         "node's address, unless the service has externalTrafficPolicy: Local)"),
    ],
)  # fmt: skip
def test_a_node_is_told_with_the_entity_that_means_it(peer: str, says: str, tmp_path: Path) -> None:
    policy = OUT.replace("egress", "ingress").replace(
        "toEntities: [world]", "fromEntities: [world]"
    )
    flows = Capture().add(peer, "←", "shop/web", 8080, "DROPPED")
    if peer == "host":  # the own node reaches its pods
        policy += "  ingressDeny: [{fromEntities: [health]}]\n"
        assert "allowed" in audited(policy, flows, tmp_path).findings[0].expected
        return
    [why] = attributed(policy, flows, tmp_path)
    assert why.endswith(f"this is {peer} {says}" if says.startswith("(") else says)


def test_a_networkpolicy_has_no_entities(tmp_path: Path) -> None:
    policy = TO_API.partition("    - to:")[0] + "    - to: [{ipBlock: {cidr: 10.0.1.0/24}}]\n"
    flows = Capture().add("shop/web", "→", "kube-apiserver", 6443, "DROPPED")
    flows.flows[0]["destination"] = API_SERVER
    report = audited(policy, flows, tmp_path)
    assert (
        "a CiliumNetworkPolicy with toEntities: [kube-apiserver] does" in report.findings[0].reason
    )
    [hint] = report.hints
    assert hint.text.endswith("that takes a CiliumNetworkPolicy with toEntities: [kube-apiserver]")


def test_a_document_without_a_namespace_is_in_default(tmp_path: Path) -> None:
    policy = TO_API.replace(", namespace: shop", "")
    flows = Capture().add("shop/web", "→", "192.0.2.9", 443)
    [hint] = audited(policy, flows, tmp_path).hints
    assert hint.name == "selects-nothing"
    assert hint.text.endswith("its selector fits shop/web: metadata needs namespace: shop for that")
    # Beside policies that have a namespace it may well be meant for pods that weren't seen.
    assert not audited(f"{policy}---\n{OUT}", flows, tmp_path).hints


def test_a_selector_that_its_own_namespace_overwrites_is_a_mistake(tmp_path: Path) -> None:
    policy = OUT.replace("namespace: shop", "namespace: kube-system").replace(
        "{app: web}", "{app: web, k8s:io.kubernetes.pod.namespace: shop}"
    )
    flows = Capture().add("shop/web", "→", "192.0.2.9", 443)
    [hint] = audited(policy, flows, tmp_path).hints
    assert hint.name == "selector-in-another-namespace"
    assert (
        "asks for pods of shop, and Cilium reads that as its own namespace, kube-system"
        in hint.text
    )
    # Asked for once more, it is the own one that is meant.
    assert not audited(
        policy.replace("namespace: kube-system", "namespace: shop"), flows, tmp_path
    ).hints


def test_a_deny_that_cuts_a_part_out_of_everything_is_meant(tmp_path: Path) -> None:
    policy = OUT + "  egressDeny:\n    - toCIDR: [192.0.2.0/24]\n"
    flows = Capture().add("shop/web", "→", "192.0.2.9", 443, "DROPPED", drop_reason=DENY)
    assert audited(policy, flows, tmp_path).hints == ()


def test_what_waits_for_authentication_is_told_by_the_rule_that_asks_for_it(tmp_path: Path) -> None:
    policy = OUT + "      authentication: {mode: required}\n"
    flows = Capture().add("shop/web", "→", "192.0.2.9", 443, "DROPPED", drop_reason=189)
    report = audited(policy, flows, tmp_path)
    [finding] = report.findings
    assert finding.reason == (
        "authentication was not done yet: first packets drop, as shop/web spec.egress.0 (line 7) asks for it"
    )
    assert "SPIRE" in finding.advice
    assert not any("no policy verdict" in note for note in report.blind.notes)


def test_an_entity_of_the_own_cluster_is_told_of_another(tmp_path: Path) -> None:
    policy = OUT.replace("[world]", "[cluster]")
    flows = Capture().add("shop/web", "→", "west/shop/api", 80, "DROPPED")
    [why] = attributed(policy, flows, tmp_path)
    assert (
        "entity cluster, the own cluster; this is west/shop/api (toEntities: [cluster-mesh]" in why
    )


def test_a_service_that_only_the_cluster_knows_is_asked_of_it(tmp_path: Path) -> None:
    rule = "toServices: [{k8sService: {serviceName: db, namespace: shop}}]"
    flows = Capture().add("shop/web", "→", "192.0.2.9", 5432)
    assert "endpointslices" in step(OUT.replace("toEntities: [world]", rule), flows, tmp_path)


def test_l7_rules_refuse_only_where_default_deny_is_on(tmp_path: Path) -> None:
    """Cilium lets all pass where no policy denies by default: another one does."""
    policy = API.replace("  ingress:", "  enableDefaultDeny: {ingress: false}\n  ingress:")
    flows = Capture().http("shop/web", "←", "shop/api", 80, "HEAD", "DROPPED")
    [finding] = audited(policy, flows, tmp_path).findings
    assert finding.kind == "overblock"
    assert finding.reason.endswith(
        "was refused, though default deny is off there by these policies, and L7 rules let all pass then"
    )
    assert "turns default deny on for the pod" in finding.advice


@pytest.mark.parametrize(
    ("directions", "told"), [({"egress"}, 1), ({"ingress"}, 0), ({"egress", "ingress"}, 0)]
)
def test_a_what_if_says_what_it_left_out(directions: set[str], told: int, tmp_path: Path) -> None:
    flows = Capture().http("shop/web", "←", "shop/api", 80, "GET")
    source = FileSource([str(flows.write(tmp_path))])
    report = WhatIf(load([("policy.yaml", API)]), None, frozenset(directions)).read(
        source.batches()
    )
    left = [
        note for note in report.notes if "1 ingress attempt of pods that the draft selects" in note
    ]
    assert len(left) == told
    assert report.selecting_nothing == ()


def test_a_name_without_a_dns_rule_is_told_as_that() -> None:
    """Not as another peer, by the address that stands for the name."""
    policy = OUT.replace("toEntities: [world]", "toFQDNs: [{matchName: a.example}]")
    policies = load([("policy.yaml", policy)])
    [answer] = explain(policies, read_end("shop/web", ""), read_end("a.example:443", ""), "TCP")
    assert answer.near == ()
    assert [one.what for one in answer.steps] == [
        "allows a.example, none of whose addresses is learnt without a DNS rule"
    ]


def test_icmp_errors_that_were_dropped_are_told(tmp_path: Path) -> None:
    """They are no attempts; that nobody learnt of them may be why something hangs (MTU)."""
    flows = Capture().add("shop/web", "→", "192.0.2.9", 443)
    flows.add("198.51.100.1", "←", "shop/web", 3, "DROPPED", protocol="ICMPv4")
    report = audited(OUT, flows, tmp_path)
    assert report.blind.coverage.errors_dropped == 1
    [note] = [one for one in report.blind.notes if "ICMP" in one]
    assert note.startswith("1 record is of ICMP errors that were dropped")


def test_a_node_whose_labels_are_not_recorded_may_be_selected(tmp_path: Path) -> None:
    policy = OUT.replace("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy").replace(
        ", namespace: shop", ""
    )
    policy = policy.replace(
        "endpointSelector: {matchLabels: {app: web}}", "nodeSelector: {matchLabels: {tier: edge}}"
    )
    flows = Capture().add("host", "→", "192.0.2.9", 443, "DROPPED")
    report = audited(policy, flows, tmp_path)
    [finding] = report.findings
    assert (finding.kind, finding.reason[:41]) == (
        "inconclusive",
        "the record has no labels of the node, by ",
    )
    assert report.policies[0].unlabelled == 1
    # All nodes need no label.
    [finding] = audited(
        policy.replace("{matchLabels: {tier: edge}}", "{}"), flows, tmp_path
    ).findings
    assert finding.kind == "overblock"


def test_what_the_node_may_always_do_is_no_rules_doing(tmp_path: Path) -> None:
    policy = OUT.replace("egress", "ingress").replace("toEntities", "fromEntities")
    flows = Capture().add("host", "←", "shop/web", 8080, "DROPPED")
    assert "allow-localhost may be policy" in step(policy, flows, tmp_path)


def test_a_leak_by_a_policy_that_was_not_given_asks_for_it(tmp_path: Path) -> None:
    flows = Capture().add("shop/web", "→", "shop/api", 80, egress_allowed_by=[METADATA])
    assert "give the policy that Hubble names, too" in step(OUT, flows, tmp_path)


def test_a_label_that_a_namespace_has_not_is_told(tmp_path: Path) -> None:
    rule = "- to: [{namespaceSelector: {matchLabels: {name: data}}}]"
    policy = TO_API.partition("    - to:")[0] + f"    {rule}\n"
    flows = Capture().add("shop/web", "→", "data/db", 5432, "DROPPED")
    [why] = attributed(policy, flows, tmp_path)
    assert why.endswith(
        "namespace data has no label name (each has its own name: kubernetes.io/metadata.name=data)"
    )
    policy = policy.replace("{name: data}", "{kubernetes.io/metadata.name: date}")
    [why] = attributed(policy, flows, tmp_path)
    assert why.endswith("namespace data has kubernetes.io/metadata.name=data")


def test_a_pod_that_was_taken_for_world_is_told_as_that(tmp_path: Path) -> None:
    """Its record names it, and has the identity by which the kernel decided."""
    policy = OUT.replace("egress", "ingress").replace("toEntities: [world]", "fromEndpoints: [{}]")
    flows = Capture().add("shop/api", "←", "shop/web", 80, "DROPPED")
    flows.flows[0]["source"] |= {"identity": 2, "labels": ["reserved:world"]}  # type: ignore[operator]
    [why] = attributed(policy, flows, tmp_path)
    assert (
        "this is world (10.0.1.1); it is the pod shop/api-0, whose identity the agent did not know"
        in why
    )
    assert "a moment ago" not in why


def test_an_identity_that_nobody_knows_is_no_peer_to_write_down(tmp_path: Path) -> None:
    flows = Capture().add("shop/web", "→", "10.9.9.9", 80, "DROPPED")
    flows.flows[0]["destination"] = {"labels": ["reserved:unknown"]}
    [finding] = audited(OUT, flows, tmp_path).findings
    assert (finding.kind, finding.reason) == (
        "inconclusive", "the agent did not know who the other end is (identity 0, reserved:unknown)"
    )  # fmt: skip


def test_a_rule_for_the_very_port_is_closer_than_one_without(tmp_path: Path) -> None:
    """A server of names that no rule is about: the rule for lookups is the one to look at."""
    flows = Capture().answer("shop/web", "api.example.com", "192.0.2.9", 300)
    flows.add("shop/web", "→", "8.8.8.8", 53, "DROPPED", protocol="UDP")
    policy = NAMES.replace("k8s-app: kube-dns", "app: coredns")
    [why] = attributed(policy, flows, tmp_path)
    assert "closest rule: shop/web spec.egress.0" in why


def test_a_star_in_the_middle_is_a_part_of_one_label() -> None:
    rule = NameRule("*-cdn.example.net", exact=False)
    assert missed_name(rule, "x.y-cdn.example.net") == f"{rule}: * stands for a part of one label"
    assert missed_name(rule, "x.cdn.example.net") == ""


def test_a_workload_is_known_though_another_node_does_not_name_it(tmp_path: Path) -> None:
    """Hubble names workloads of a node's own pods alone; which record came last changes nothing."""
    flows = Capture().add("shop/web", "→", "shop/api", 80).add("shop/web", "←", "shop/api", 80)
    del flows.flows[1]["source"]["workloads"]  # type: ignore[attr-defined]
    for flow in flows.flows:
        flow["source"]["pod_name"] = "web-6c9-abcde"  # type: ignore[index]
    seen = SeenEnds(FileSource([str(flows.write(tmp_path))]).batches())
    assert (
        seen.known(read_end("shop/web", "")).seen == "shop/web has the labels of shop/web-6c9-abcde"
    )


def test_a_services_address_is_no_pod(tmp_path: Path) -> None:
    policy = OUT.replace("toEntities: [world]", "toEndpoints: [{matchLabels: {app: api}}]")
    service = {"name": "api", "namespace": "shop"}
    flows = Capture().add("shop/web", "→", "10.96.7.7", 80, "DROPPED", destination_service=service)
    [why] = attributed(policy, flows, tmp_path)
    assert "that is the address of the service shop/api" in why


def test_a_ping_of_the_other_family_is_told_by_it(tmp_path: Path) -> None:
    policy = OUT.replace("toEntities: [world]", "icmps: [{fields: [{type: 8, family: IPv4}]}]")
    flows = Capture().add("shop/web", "→", "2001:db8::9", 128, "DROPPED", protocol="ICMPv6")
    [why] = attributed(policy, flows, tmp_path)
    assert why.endswith("would allow ICMP type 8; this is ICMPv6 type 128: family: IPv6")


def test_an_empty_list_of_peers_is_nobody(tmp_path: Path) -> None:
    policy = OUT.replace(
        "toEntities: [world]",
        'toEndpoints: []\n      toPorts: [{ports: [{port: "53", protocol: UDP}]}]',
    )
    flows = Capture().add("shop/web", "→", "kube-system/coredns", 53, "DROPPED", protocol="UDP")
    [why] = attributed(policy, flows, tmp_path)
    assert why.endswith("would allow 53/UDP, but its list of peers is empty: that is nobody")
