"""What a cluster's options change in decisions, and how they are read from its ConfigMap.

That Cilium's engine decides so by the same options, `tests/interop/test_policy_property.py` holds.
"""

import json

import pytest

from flowwatch.policy import AgentOptions, Decision, OptionsError, Party, load, read_agent_options

POD = (
    "k8s:app=a",
    "k8s:io.kubernetes.pod.namespace=ns",
    "k8s:io.cilium.k8s.policy.cluster=default",
)
PEER = ("k8s:app=b", *POD[1:])


def config(**entries: str) -> AgentOptions:
    data = {key.replace("_", "-"): value for key, value in entries.items()}
    metadata = {"name": "cilium-config", "namespace": "kube-system"}
    text = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return read_agent_options(text, "cilium-config.yaml")


def decide(egress: str, peer: Party, **entries: str) -> Decision:
    """What the policy of a pod says of TCP 443 to ``peer``, in a cluster with these options."""
    text = f"""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: p, namespace: ns}}
spec:
  endpointSelector: {{matchLabels: {{app: a}}}}
  egress: [{egress}]
"""
    policies = load([("p.yaml", text)], options=config(**entries))
    return policies.ask("egress", Party(POD), peer, "TCP", 443)


def pod(address: str, **more: tuple[str, ...]) -> Party:
    return Party(PEER, address, **more)  # type: ignore[arg-type]


NODE = Party(("reserved:remote-node",), "10.0.0.7", ())
BLOCK = "{toCIDR: [10.0.0.0/8]}"
EVERY = "{toCIDR: [0.0.0.0/0]}"


@pytest.mark.parametrize(
    ("egress", "peer", "mode", "decision"),
    [
        # A block means addresses outside, whatever is inside of it.
        (BLOCK, Party((), "10.0.0.7"), "", "allowed"),
        (BLOCK, pod("10.0.0.7"), "", "denied"),
        (BLOCK, NODE, "", "denied"),
        # The mode lets it mean pods, or nodes, by their addresses.
        (BLOCK, pod("10.0.0.7"), "pods", "allowed"),
        (BLOCK, pod("192.168.0.7"), "pods", "denied"),
        (BLOCK, NODE, "pods", "denied"),
        (BLOCK, NODE, "nodes", "allowed"),
        (BLOCK, pod("10.0.0.7"), "nodes", "denied"),
        (BLOCK, NODE, "nodes pods", "allowed"),
        # 0.0.0.0/0 takes in pods, and nodes only beside them.
        (EVERY, pod("10.0.0.7"), "pods", "allowed"),
        (EVERY, NODE, "nodes", "denied"),
        (EVERY, NODE, "nodes pods", "allowed"),
        # What is excepted isn't meant.
        ("{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.0.0.0/24]}]}", pod("10.0.0.7"), "pods", "denied"),
        # A node in reach is meant by the names that led to it.
        ("{toFQDNs: [{matchName: api.x.io}]}", Party(("reserved:remote-node",), "10.0.0.7", ("api.x.io",)),
         "nodes", "allowed"),
        ("{toFQDNs: [{matchName: api.x.io}]}", Party(("reserved:remote-node",), "10.0.0.7", ("api.x.io",)),
         "", "denied"),
        # Endpoints of Cilium's own have no address that counts.
        (BLOCK, Party(("reserved:health",), "10.0.0.9"), "nodes pods", "denied"),
    ],
)  # fmt: skip
def test_whom_a_block_means(egress: str, peer: Party, mode: str, decision: str) -> None:
    assert decide(egress, peer, policy_cidr_match_mode=mode).decision == decision


@pytest.mark.parametrize(
    ("egress", "peer", "missing"),
    [
        (BLOCK, Party(PEER), "the pod's IPv4 address isn't known"),
        ("{toCIDR: ['2001:db8::/32']}", pod("10.0.0.7"), "the pod's IPv6 address isn't known"),
        (BLOCK, Party(("reserved:host",), "192.168.0.1"), "the node may have other addresses"),
        (BLOCK, Party(("reserved:remote-node",)), "the node's IPv4 address isn't known"),
        (
            BLOCK,
            Party((*PEER[:2], "k8s:io.cilium.k8s.policy.cluster=far"), "10.0.0.7"),
            "which blocks hold a pod of another cluster, the policies there decide",
        ),
    ],
)
def test_an_address_that_nobody_knows_can_t_be_told(egress: str, peer: Party, missing: str) -> None:
    decision = decide(egress, peer, policy_cidr_match_mode="nodes pods")
    assert decision.decision == "cant_tell"
    assert missing in decision.reason


def test_a_pod_has_no_address_of_a_family_that_is_off() -> None:
    block = "{toCIDR: ['2001:db8::/32']}"
    options = {"policy_cidr_match_mode": "pods", "enable_ipv6": "false"}
    assert decide(block, pod("10.0.0.7"), **options).decision == "denied"
    assert decide(EVERY, Party(PEER), **options).decision == "allowed"


def test_a_pod_whose_addresses_are_all_known_is_in_no_other_block() -> None:
    block = "{toCIDR: ['2001:db8::/32']}"
    one, both = pod("10.0.0.7", also=()), pod("10.0.0.7", also=("2001:db8::7",))
    assert decide(block, one, policy_cidr_match_mode="pods").decision == "denied"
    assert decide(block, both, policy_cidr_match_mode="pods").decision == "allowed"


def test_always_closes_pods_that_no_policy_selects() -> None:
    policies = load([("none.yaml", "")], options=config(enable_policy="always"))
    decision = policies.ask("egress", Party(POD), pod(""), "TCP", 443)
    assert (decision.decision, decision.selected) == ("denied", True)
    assert decision.reason == (
        "default deny, since enable-policy is always in this cluster: no rule allows it"
    )


def test_never_allows_what_a_rule_denies() -> None:
    decision = decide(BLOCK, pod("10.0.0.7"), enable_policy="never")
    assert (decision.decision, decision.selected) == ("allowed", False)
    assert decision.reason == "enable-policy is never in this cluster: no policy is enforced"


def test_options_are_read_as_kubectl_prints_them() -> None:
    text = """
apiVersion: v1
kind: ConfigMap
metadata: {name: cilium-config, namespace: kube-system}
data:
  cluster-name: blue
  enable-policy: Always
  policy-audit-mode: "true"
  policy-cidr-match-mode: "pods nodes"
  policy-deny-response: icmp
  enable-ipv6: "false"
  debug: "false"
"""
    options = read_agent_options(text, "cilium.yaml")
    assert options.cluster == "blue"
    assert options.enforcement == "always"
    assert options.audit_mode
    assert options.cidr_match_mode == ("nodes", "pods")
    assert options.deny_response == "icmp"
    assert options.families == (4,)
    assert options.words == (
        "policy-cidr-match-mode: nodes pods, enable-policy: always, policy-audit-mode: true, "
        "policy-deny-response: icmp, cluster-name: blue"
    )
    listed = json.dumps(
        {"kind": "List", "items": [{"kind": "Secret"}, {"kind": "ConfigMap", "data": {}}]}
    )
    assert read_agent_options(listed, "all.json").words == "all that decide at Cilium's defaults"


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("kind: Secret", "no ConfigMap: kubectl -n kube-system get configmap cilium-config", 0),
        ("kind: ConfigMap", "the ConfigMap has no data", 0),
        ("kind: [", "not YAML", 2),
        ("kind: ConfigMap\ndata:\n  enable-policy: sometimes",
         'enable-policy: "sometimes": one of default, always, never', 3),
        ("kind: ConfigMap\ndata:\n  policy-cidr-match-mode: nodes,pods",
         'policy-cidr-match-mode: "nodes,pods": nodes, pods, or both with a space between them', 3),
        ("kind: ConfigMap\ndata:\n  policy-audit-mode: 'yes'",
         'policy-audit-mode: "yes": true or false', 3),
        ("kind: ConfigMap\ndata:\n  policy-deny-response: tcp",
         'policy-deny-response: "tcp": one of none, icmp', 3),
        ("kind: ConfigMap\ndata:\n  cluster-name: Blue", 'cluster-name: "Blue": a cluster', 3),
    ],
)  # fmt: skip
def test_what_no_agent_would_start_with_is_refused(text: str, reason: str, line: int) -> None:
    with pytest.raises(OptionsError) as told:
        read_agent_options(text, "x.yaml")
    assert str(told.value).startswith(reason)
    assert told.value.line == line


def test_records_tell_the_mode_where_nobody_said_it() -> None:
    text = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p, namespace: ns}
spec:
  endpointSelector: {matchLabels: {app: a}}
  egress: [{toCIDR: [10.0.0.0/8]}]
"""
    policies = load([("p.yaml", text)])
    plain, carrying = pod("10.0.0.7"), Party((*PEER, "cidr:10.0.0.0/8"), "10.0.0.7")
    assert policies.ask("egress", Party(POD), plain, "TCP", 443).decision == "denied"
    assert policies.ask("egress", Party(POD), carrying, "TCP", 443).decision == "allowed"
