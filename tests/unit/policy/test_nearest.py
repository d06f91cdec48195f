"""Near misses in a sentence: what people wrote, what they meant, and the one thing between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowwatch.policy import Party, load
from flowwatch.policy.agent_options import UNKNOWN, AgentOptions
from flowwatch.policy.nearest import Known, closest, near_misses

WEATHER = "k8s:io.kubernetes.pod.namespace=weather"
NAMES = "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=weather"
CLUSTER = "k8s:io.cilium.k8s.policy.cluster=default"
APP = Party(("k8s:app=app", WEATHER, NAMES, CLUSTER))
CACHE = Party(("k8s:app=cache", "k8s:tier=back", WEATHER, NAMES, CLUSTER))
API = Party(("k8s:app=api", "k8s:io.kubernetes.pod.namespace=api", CLUSTER))
NODE = Party(("reserved:remote-node",))
API_SERVER = Party(("reserved:kube-apiserver", "reserved:remote-node"))


def outside(address: str, *names: str) -> Party:
    return Party((), address, names)


def policy(rules: str, kind: str = "CiliumNetworkPolicy") -> str:
    version = {"NetworkPolicy": "networking.k8s.io/v1"}.get(kind, "cilium.io/v2")
    selector = "podSelector" if kind == "NetworkPolicy" else "endpointSelector"
    types = "policyTypes: [Egress], " if kind == "NetworkPolicy" else ""
    return (
        f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: p, namespace: weather}}\n"
        f"spec: {{{selector}: {{}}, {types}{rules}}}\n"
    )


def said(
    text: str,
    peer: Party,
    protocol: str,
    port: int,
    address: str = "",
    options: AgentOptions = UNKNOWN,
) -> str:
    policies = load([("p.yaml", text)], options=options)
    assert not policies.rejected
    decision = policies.ask("egress", APP, peer, protocol, port)
    assert decision.decision == "denied"
    return closest(policies, decision, "egress", APP, peer, protocol, port, Known(address))


PORT = 'toPorts: [{ports: [{port: "80", protocol: TCP}]}]'


@pytest.mark.parametrize(
    ("rules", "peer", "protocol", "port", "address", "words"),
    [
        ("egress: [{toCIDR: [10.0.2.0/24]}]", CACHE, "TCP", 80, "10.0.2.84",
         "would allow 10.0.2.0/24; 10.0.2.84 is a pod (weather/cache), and CIDRs mean addresses outside "
         "(pods only where policy-cidr-match-mode has pods): select it by its labels"),
        ("egress: [{toCIDR: [10.0.2.0/24]}]", NODE, "TCP", 80, "10.0.2.84",
         "10.0.2.84 is a node (remote-node), and CIDRs mean addresses outside (nodes only where "
         "policy-cidr-match-mode has nodes): select it by toEntities"),
        ("egress: [{toCIDR: [10.0.2.0/24]}]", API_SERVER, "TCP", 443, "10.0.2.1",
         "which CIDRs don't mean (nodes only where policy-cidr-match-mode has nodes): "
         "toEntities: [kube-apiserver] does"),
        ("egress: [{toCIDR: [0.0.0.0/0]}]", CACHE, "TCP", 80, "10.0.2.84",
         "would allow 0.0.0.0/0; 10.0.2.84 is a pod (weather/cache), and CIDRs mean addresses outside "
         "(pods only where policy-cidr-match-mode has pods): select it by its labels (toEndpoints), or "
         "toEntities: [cluster]"),
        ("egress: [{toCIDR: ['::/0']}]", NODE, "TCP", 80, "",
         "would allow ::/0; this is a node (remote-node), and CIDRs mean addresses outside "
         "(nodes only where policy-cidr-match-mode has nodes and pods): "
         "select it by toEntities: [remote-node]"),
        ("egress: [{toFQDNs: [{matchName: db.api.svc.cluster.local}]}]", API, "TCP", 80, "",
         "leads to api/api, a service of this cluster, and names mean addresses outside"),
        ("egress: [{toCIDR: [0.0.0.0/0]}]", outside("2001:db8::1"), "TCP", 80, "",
         "would allow 0.0.0.0/0, which is IPv4 only; 2001:db8::1 is IPv6"),
        ("egress: [{toCIDRSet: [{cidr: 1.0.0.0/8, except: [1.1.0.0/16]}]}]", outside("1.1.1.1"), "TCP", 9, "",
         "would allow 1.0.0.0/8, but leaves out 1.1.0.0/16, and 1.1.1.1 is in it"),
        (f"egress: [{{toEndpoints: [{{matchLabels: {{app: cache}}}}], {PORT}}}]", CACHE, "TCP", 8080, "",
         "would allow 80/TCP; this is 8080/TCP (policies see a pod's own port, not its service's)"),
        (f"egress: [{{toEntities: [world], {PORT}}}]", outside("1.1.1.1"), "TCP", 443, "",
         "would allow 80/TCP; this is 443/TCP"),
        ("egress: [{toEndpoints: [{matchLabels: {app: api}}]}]", API, "TCP", 80, "",
         "that is namespace weather; this is in api (add k8s:io.kubernetes.pod.namespace: api)"),
        ("egress: [{toEndpoints: [{matchLabels: {app: cache, tier: front}}]}]", CACHE, "TCP", 80, "",
         "this has tier=back"),
        (f"egress: [{{toEndpoints: [{{matchLabels: {{app: cache}}}}], {PORT}}}]", CACHE, "ICMP", 8, "",
         "ports never mean ICMP (type 8 here): that takes icmps"),
        ("egress: [{icmps: [{fields: [{type: 8}]}]}, "
         f"{{toEndpoints: [{{matchLabels: {{app: cache}}}}], {PORT}}}]", CACHE, "ICMP", 13, "",
         "spec.egress.0 (line 4) would allow ICMP type 8; this is ICMP type 13"),
        ("egress: [{icmps: [{fields: [{type: 8}]}]}]", CACHE, "ICMPv6", 128, "",
         "would allow ICMP type 8; this is ICMPv6 type 128: family: IPv6"),
        ("egress: [{toEntities: [world], toPorts: [{ports: [{port: https}]}]}]", outside("1.1.1.1"), "TCP",
         443, "",
         "would allow https; this is 443/TCP (a port's name is that of a pod's spec, and nobody's outside: "
         "write the number)"),
        ('egress: [{toFQDNs: [{matchPattern: "*.x.io"}]}]', outside("1.1.1.1", "x.io."), "TCP", 443, "",
         "which is names below x.io; x.io itself needs a matchName"),
        ('egress: [{toFQDNs: [{matchPattern: "*.x.io"}]}]', outside("1.1.1.1", "a.b.x.io"), "TCP", 443, "",
         "* is one label; a.b.x.io needs **.x.io (Cilium 1.19 on)"),
        ("egress: [{toFQDNs: [{matchName: x.io}]}]", outside("1.1.1.1", "y.io"), "TCP", 443, "",
         "would allow DNS name x.io; this is y.io"),
        ('egressDeny: [{toPorts: [{ports: [{port: "10255"}]}]}]', outside("1.1.1.1"), "TCP", 443, "",
         "only denies, and so closes egress for all that no rule allows: "
         "enableDefaultDeny: {egress: false} leaves the rest open"),
    ],
)  # fmt: skip
def test_what_was_in_the_way(
    rules: str, peer: Party, protocol: str, port: int, address: str, words: str
) -> None:
    assert words in said(policy(rules), peer, protocol, port, address)


def test_an_empty_rule_is_no_near_miss_of_a_drop_but_explained() -> None:
    text = policy("egress: [{}]")
    assert said(text, CACHE, "TCP", 80) == ""
    policies = load([("p.yaml", text)])
    [miss] = near_misses(policies, "egress", APP, CACHE, "TCP", 80)
    assert "in a NetworkPolicy it allows everything" in miss.text
    knp = load([("p.yaml", policy("egress: [{}]", "NetworkPolicy"))])
    assert knp.ask("egress", APP, CACHE, "TCP", 80).decision == "allowed"


def test_a_wrong_port_is_closer_than_a_wrong_peer() -> None:
    rules = (
        "egress: [{toCIDR: [10.0.2.0/24]}, "
        f"{{toEndpoints: [{{matchLabels: {{app: cache}}}}], {PORT}}}]"
    )
    assert "spec.egress.1" in said(policy(rules), CACHE, "TCP", 81, "10.0.2.84")
    policies = load([("p.yaml", policy(rules))])
    near = near_misses(policies, "egress", APP, CACHE, "TCP", 81, Known("10.0.2.84"))
    assert [one.entry.place for one in near] == ["spec.egress.1", "spec.egress.0"]


@pytest.mark.parametrize(
    ("rules", "peer", "protocol", "port", "words"),
    [
        (f"{{toEndpoints: [{{matchLabels: {{app: api}}}}]}}, {{toEntities: [world], {PORT}}}", "1.1.1.1",
         "TCP", 8080, "spec.egress.1 (line 4) would allow 80/TCP; this is 8080/TCP"),
        (f"{{toCIDR: [192.0.2.0/24]}}, {{toCIDR: [0.0.0.0/0], {PORT}}}", "1.1.1.1",
         "TCP", 8080, "spec.egress.1 (line 4) would allow 80/TCP; this is 8080/TCP"),
        (f"{{toCIDR: [0.0.0.0/0], {PORT}}}, {{toCIDRSet: [{{cidr: 1.0.0.0/8, except: [1.1.0.0/16]}}]}}",
         "1.1.1.1", "UDP", 80, "spec.egress.0 (line 4) would allow 80/TCP; this is 80/UDP: UDP is another"),
        (f"{{toCIDR: [192.0.2.0/24], {PORT}}}, {{toCIDR: [0.0.0.0/0], {PORT.replace('80', '81')}}}",
         "1.1.1.1", "TCP", 80, "spec.egress.0 (line 4) would allow 192.0.2.0/24; this is world-ipv4"),
        (f'{{toFQDNs: [{{matchPattern: "*"}}], {PORT.replace("80", "81")}}}, '
         f"{{toFQDNs: [{{matchName: x.io}}], {PORT}}}", "1.1.1.1=y.io",
         "TCP", 80, "spec.egress.1 (line 4) would allow DNS name x.io; this is y.io"),
    ],
    ids=[
        "pods on any port",
        "a block on any port",
        "the other protocol",
        "another block on this port",
        "every name",
    ],
)  # fmt: skip
def test_a_rule_for_others_on_any_port_is_no_closer_than_one_for_everybody(
    rules: str, peer: str, protocol: str, port: int, words: str
) -> None:
    address, _, name = peer.partition("=")
    party = outside(address, *([name] if name else ()))
    assert words in said(policy(f"egress: [{rules}]"), party, protocol, port)


def test_an_icmp_rule_is_no_near_miss_of_a_port() -> None:
    rules = (
        "egress: [{icmps: [{fields: [{type: 8}]}], toEntities: [all]}, "
        f"{{toEntities: [remote-node], {PORT}}}]"
    )
    assert "closest rule: weather/p spec.egress.1" in said(policy(rules), CACHE, "TCP", 80)


def test_a_rule_for_everybody_is_no_near_miss_and_one_of_all_the_cluster_the_last() -> None:
    assert said(policy(f"egress: [{{{PORT}}}]"), CACHE, "TCP", 22) == ""
    rules = (
        f"egress: [{{toEntities: [cluster], {PORT}}}, "
        '{toCIDR: [10.1.0.0/16], toPorts: [{ports: [{port: "22"}]}]}]'
    )
    assert "spec.egress.1" in said(policy(rules), CACHE, "TCP", 22)


def test_fewer_wrong_labels_are_closer() -> None:
    rules = (
        "egress: [{toEndpoints: [{matchLabels: {app: x, tier: front, zone: a}}]}, "
        "{toEndpoints: [{matchLabels: {app: x}}]}]"
    )
    assert "spec.egress.1" in said(policy(rules), CACHE, "TCP", 22)


@pytest.mark.parametrize(
    ("mode", "block", "peer", "words"),
    [
        ((), "10.0.2.0/24", CACHE, "(policy-cidr-match-mode has no pods here): select it by its"),
        (("pods",), "10.0.2.0/24", NODE, "(policy-cidr-match-mode has no nodes here): select it by to"),
        # Where it may mean the peer, it is a block like any other.
        (("pods",), "10.0.9.0/24", CACHE, "would allow 10.0.9.0/24; this is weather/cache"),
        (("nodes",), "0.0.0.0/0", NODE, "(policy-cidr-match-mode has no pods here): select it by to"),
    ],
)  # fmt: skip
def test_a_block_says_what_the_cluster_s_options_let_it_mean(
    mode: tuple[str, ...], block: str, peer: Party, words: str
) -> None:
    options = AgentOptions(cidr_match_mode=mode, origin="cilium-config.yaml")
    peer = replace(peer, ip="10.0.2.84", also=())
    text = policy(f"egress: [{{toCIDR: [{block}]}}]")
    assert words in said(text, peer, "TCP", 80, "10.0.2.84", options)
