"""What two sets of policies decide differently: all that follows from one change, and no more."""

from __future__ import annotations

import pytest

from flowwatch.policy import PolicySet, load
from flowwatch.policy.difference import Difference, TooMany, compare
from flowwatch.policy.difference.addresses import words as blocks
from flowwatch.policy.difference.names import classes
from flowwatch.policy.difference.pods import Pods, Space
from flowwatch.policy.labels import LabelSet, Requirement, Selector
from flowwatch.policy.names import NameRule

HEAD = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: app, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
"""
DNS = """\
  egress:
    - toEndpoints: [{matchLabels: {k8s-app: kube-dns, "k8s:io.kubernetes.pod.namespace": kube-system}}]
      toPorts: [{ports: [{port: "53", protocol: UDP}], rules: {dns: [%s]}}]
"""
DB = "[{toEndpoints: [{matchLabels: {app: db}}], toPorts: [{ports: [{port: %s, protocol: TCP}]}]}]"
WEB = "pods with app=web, namespace=shop"


def policies(*bodies: str) -> PolicySet:
    return load([(f"{at}.yaml", body) for at, body in enumerate(bodies)])


def egress(rules: str) -> str:
    return f"{HEAD}  egress: {rules}\n"


def told(
    difference: Difference,
) -> list[tuple[str, str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
    return [
        (one.kind, one.direction, one.subject_words(), one.peers.words(), one.ports.words())
        for one in difference.changes
    ]


def changed(old: str, new: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Kind, peers and ports of what differs in the egress of the same pods."""
    found = told(compare(policies(egress(old)), policies(egress(new))))
    assert {(way, who) for _, way, who, _, _ in found} <= {("egress", (WEB,))}
    return [(kind, peers, ports) for kind, _, _, peers, ports in found]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (
            DB % "'5432'",
            DB % "'5433'",
            [
                ("newly denied", ("pods with app=db, namespace=shop",), ("5432/TCP",)),
                ("newly allowed", ("pods with app=db, namespace=shop",), ("5433/TCP",)),
            ],
        ),
        (
            "[{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]}]",
            "[{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/17]}]}]",
            [("newly allowed", ("10.1.128.0/17",), ("every port and protocol",))],
        ),
        (
            "[{toFQDNs: [{matchPattern: '*.x.io'}], toPorts: [{ports: [{port: '443', protocol: TCP}]}]}]",
            "[{toFQDNs: [{matchName: a.x.io}], toPorts: [{ports: [{port: '443', protocol: TCP}]}]}]",
            [("newly denied", ("*.x.io but not a.x.io",), ("443/TCP",))],
        ),
        (
            "[{toEntities: [host, remote-node]}]",
            "[{toEntities: [remote-node]}]",
            [("newly denied", ("the entities host, host+kube-apiserver",), ("every port and protocol",))],
        ),
        (
            "[{icmps: [{fields: [{type: 8}]}]}]",
            "[{icmps: [{fields: [{type: 8}, {family: IPv6, type: 128}]}]}]",
            [("newly allowed", ("everybody",), ("ICMPv6 type 128",))],
        ),
        (
            DB % "sql",
            DB % "'5432'",
            [
                ("newly denied", ("pods with app=db, namespace=shop",), (
                    "1-5431/TCP named sql", "5433-65535/TCP named sql")),
                ("newly allowed", ("pods with app=db, namespace=shop",), ("5432/TCP not named sql",)),
            ],
        ),
        (
            "[{toEndpoints: [{matchExpressions: [{key: app, operator: In, values: [a, b]}]}]}]",
            "[{toEndpoints: [{matchLabels: {app: a}}]}]",
            [(
                "newly denied",
                ("pods with app in (a,b), namespace=shop, not those with app=a, namespace=shop",),
                ("every port and protocol",),
            )],
        ),
    ],
    ids=["port", "except", "name", "entity", "icmp", "named port", "labels"],
)  # fmt: skip
def test_what_changes_is_named_and_nothing_else(
    old: str, new: str, wanted: list[tuple[str, tuple[str, ...], tuple[str, ...]]]
) -> None:
    assert changed(old, new) == wanted


def test_a_first_policy_closes_and_only_for_its_pods() -> None:
    other = HEAD.replace("name: app", "name: other").replace("app: web", "app: db")
    old = policies(f"{other}  ingress: [{{}}]\n")
    new = policies(f"{other}  ingress: [{{}}]\n", egress("[{toEntities: [cluster]}]"))
    (only,) = compare(old, new).changes
    assert only.peers.words() == ("all pods, of other clusters", "everything outside")


def test_an_allow_that_another_rule_gives_anyway_is_no_difference() -> None:
    wide = "[{toEntities: [all]}]"
    assert changed(wide, "[{toEntities: [all]}, {toCIDR: [10.0.0.0/8]}]") == []


def test_a_deny_and_a_switched_off_default_deny_are_told() -> None:
    everything = egress("[{toEntities: [all]}]")
    old = policies(everything)
    deny = policies(f"{everything}  egressDeny: [{{toCIDR: [192.0.2.0/24]}}]\n")
    assert told(compare(old, deny)) == [
        ("newly denied", "egress", (WEB,), ("192.0.2.0/24",), ("every port and protocol",))
    ]
    closed = "[{toCIDR: [192.0.2.0/24]}]"
    opened = policies(f"{egress(closed)}  enableDefaultDeny: {{egress: false}}\n")
    (change,) = compare(policies(egress(closed)), opened).changes
    assert change.kind == "newly allowed"
    assert change.peers.outside[0].words() is not None
    assert "0.0.0.0/0 except 192.0.2.0/24" in change.peers.words()


def test_lookups_are_compared_as_languages() -> None:
    both = [
        policies(f"{HEAD}{DNS % one}")
        for one in ("{matchPattern: '*.x.io'}", "{matchName: a.x.io}")
    ]
    (change,) = compare(*both).changes
    assert (change.kind, change.certain) == ("other rules at the proxy", True)
    assert "pass no more" in change.detail
    more = "{matchName: a.x.io}, {matchPattern: '*.x.io'}"
    again = policies(f"{HEAD}{DNS % more}")
    assert compare(both[0], again).changes == []


def test_http_rules_that_cannot_be_compared_are_never_called_equal() -> None:
    ports = "toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [%s]}}]"
    rules = [f"[{{toEndpoints: [{{}}], {ports % one}}}]" for one in (
        "{method: GET, path: '/a/[0-9]+'}", "{method: GET, path: '/a/[0-9][0-9]*'}", "{method: GET}",
    )]  # fmt: skip
    (unsure,) = compare(policies(egress(rules[0])), policies(egress(rules[1]))).changes
    assert (unsure.kind, unsure.certain) == ("other rules at the proxy", False)
    assert "can't be compared exactly" in unsure.detail
    (sure,) = compare(policies(egress(rules[0])), policies(egress(rules[2]))).changes
    assert (sure.certain, sure.detail) == (True, "GET http://host.example/ passes newly")


def test_server_names_and_what_only_the_cloud_knows_are_never_called_equal() -> None:
    names = "[{toPorts: [{ports: [{port: '443', protocol: TCP}], serverNames: [%s]}]}]"
    (one,) = compare(policies(egress(names % "a.io")), policies(egress(names % "b.io"))).changes
    assert one.certain is False
    groups = "[{toGroups: [{aws: {securityGroupsIds: [%s]}}]}]"
    found = compare(policies(egress(groups % "sg-1")), policies(egress(groups % "sg-2"))).changes
    assert {change.kind for change in found} == {"can't tell"}
    assert compare(*[policies(egress(groups % "sg-1"))] * 2).changes == []


def test_a_namespace_has_one_set_of_labels() -> None:
    """Its own pods can't be of a namespace with other labels, those of another namespace can."""
    wide = """\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: wide}
spec:
  endpointSelector:
    matchLabels:
      "k8s:io.kubernetes.pod.namespace": shop
      io.cilium.k8s.namespace.labels.env: dev
  egress:
    - toEndpoints:
        - matchLabels: {"k8s:io.kubernetes.pod.namespace": %s, io.cilium.k8s.namespace.labels.env: %s}
"""
    none, prod, other = (
        policies(wide % one) for one in (("shop", "none"), ("shop", "prod"), ("other", "prod"))
    )
    assert compare(none, prod).changes == []
    (change,) = compare(prod, other).changes
    assert change.kind == "newly allowed"


def test_a_set_and_its_rewritten_self_are_one() -> None:
    one = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: app, namespace: shop}
specs:
  - endpointSelector: {matchLabels: {app: web, tier: x}}
    ingress: [{fromEndpoints: [{matchLabels: {app: a}}, {matchLabels: {app: b}}]}]
  - endpointSelector: {matchLabels: {app: web}}
    egress: [{toCIDR: [10.0.0.0/9, 10.128.0.0/9]}]
"""
    other = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: renamed, namespace: shop}
specs:
  - endpointSelector: {matchExpressions: [{key: app, operator: In, values: [web]}]}
    egress: [{toCIDR: [10.0.0.0/8]}]
  - endpointSelector: {matchLabels: {tier: x, app: web}}
    ingress: [{fromEndpoints: [{matchExpressions: [{key: app, operator: In, values: [b, a]}]}]}]
"""
    assert compare(policies(one), policies(other)).changes == []


def test_only_pods_that_there_are_count_where_they_are_given() -> None:
    old, new = policies(egress("[{}]")), policies(egress("[{toCIDR: [192.0.2.0/24]}]"))
    space = ("k8s:io.kubernetes.pod.namespace=shop", "k8s:io.cilium.k8s.policy.cluster=default")
    assert compare(old, new, known=[("k8s:app=db", *space)]).changes == []
    (change,) = compare(old, new, known=[("k8s:app=db", *space), ("k8s:app=web", *space)]).changes
    assert change.example.subject.labels == ("k8s:app=web", *space)


def test_classes_of_names_are_all_there_are() -> None:
    rules = [
        NameRule("*.x.io", exact=False),
        NameRule("a.x.io", exact=True),
        NameRule("**.io", exact=False),
    ]
    found = classes(rules)
    for bits, name in found.items():
        assert bits == sum(1 << at for at, rule in enumerate(rules) if rule.matches(name))
    assert set(found) == {0b000, 0b100, 0b101, 0b111}


def test_classes_of_pods_hold_what_they_say() -> None:
    selectors = [
        Selector((Requirement("app", "In", ("a", "b")),)),
        Selector((Requirement("k8s:app", "NotIn", ("a",)), Requirement("tier", "Exists"))),
        Selector((Requirement("tier", "DoesNotExist"),)),
    ]
    found = Pods(selectors, Space()).classes()
    for bits, labels in found.items():
        known = LabelSet(labels)
        assert bits == sum(1 << at for at, one in enumerate(selectors) if one.matches(known))
    # Whom the second doesn't select and that has a tier is app=a, and so the first's.
    assert set(found) == {0b001, 0b010, 0b011, 0b100, 0b101}


def test_too_much_to_go_through_is_an_error_and_no_guess() -> None:
    rules = ", ".join(f"{{toEndpoints: [{{matchLabels: {{key{at}: x}}}}]}}" for at in range(30))
    old = policies(egress(f"[{rules}]"))
    with pytest.raises(TooMany):
        compare(old, policies(egress("[{}]")))


def test_blocks_are_told_the_shorter_way() -> None:
    last = (1 << 32) - 1
    assert blocks([(4, 0, last)]) == ["0.0.0.0/0"]
    assert blocks([(4, 0, 9), (4, 16, last)]) == ["0.0.0.0/0 except 0.0.0.10/31, 0.0.0.12/30"]
    assert blocks([(4, 16, 31), (6, 0, 1)]) == ["0.0.0.16/28", "::/127"]
