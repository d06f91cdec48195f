"""What the API server asks of a policy, and what Cilium couldn't read: each at its place, in one line."""

from __future__ import annotations

import pytest

from flowwatch.policy import Party, PolicyQuestion, Rejected, load
from flowwatch.policy.documents import read_documents

HEADS = {
    "CNP": "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n",
    "CCNP": "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\n",
    "KNP": "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n",
    "KCNP": "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n",
    "group": "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\n",
}
NAME = "metadata: {name: p}\n"


def refused(kind: str, rest: str) -> Rejected:
    documents = read_documents([("p.yaml", HEADS[kind] + rest)])
    (rejected,) = documents.rejected
    assert "\n" not in str(rejected)
    assert bool(documents.policies or documents.groups) is (rejected.by_server or kind == "group")
    return rejected


def cnp(egress: str) -> str:
    return f"{NAME}spec:\n  endpointSelector: {{}}\n  egress:\n  - {egress}\n"


def knp(egress: str) -> str:
    return f"{NAME}spec:\n  podSelector: {{}}\n  egress:\n  - {egress}\n"


def kcnp(rule: str) -> str:
    return (
        f"{NAME}spec:\n  tier: Admin\n  priority: 1\n  subject: {{namespaces: {{}}}}\n  egress:\n"
        f"  - {rule}\n"
    )


def whole(fields: str) -> str:
    return f"{NAME}spec: {{{fields}endpointSelector: {{}}, egress: [{{}}]}}\n"


DENY = "{action: Deny, to: [{namespaces: {}}], protocols: [%s]}"
OWNER = "{apiVersion: v1, kind: A, name: a, uid: u, controller: true}"
PORTS = "toPorts: [{ports: [{port: '80', protocol: TCP}], %s}]"

# Types and fields: Cilium can't read these either.
UNREADABLE = {
    "labels that are no mapping": (
        "KNP",
        "metadata: {name: p, labels: '['}\nspec: {}\n",
        "3:29",
        "metadata.labels: a mapping is wanted, not a string",
    ),
    "a label that is a mapping": (
        "KNP",
        "metadata: {name: p, labels: {a: {b: c}}}\nspec: {}\n",
        "3:33",
        "metadata.labels.a: a string is wanted, not a mapping",
    ),
    "a description that is a list": (
        "CNP",
        whole("description: [a], "),
        "4:21",
        "spec.description: a string is wanted, not a list",
    ),
    "a number where a label's value is": (
        "CNP",
        whole("").replace("Selector: {}", "Selector: {matchLabels: {a: 0o17}}"),
        "4:44",
        'spec.endpointSelector.matchLabels.a: a string is wanted, not a number (quote it: "0o17")',
    ),
    "log that is no mapping": (
        "CNP",
        whole("log: x, "),
        "4:13",
        "spec.log: a mapping is wanted, not a string",
    ),
    "enableDefaultDeny without its section": (
        "CNP",
        whole("enableDefaultDeny: {ingress: 1}, "),
        "4:37",
        "spec.enableDefaultDeny.ingress: true or false is wanted, not a number",
    ),
    "a service's name": (
        "CNP",
        cnp("toServices: [{k8sService: {serviceName: 1}}]"),
        "7:45",
        "k8sService.serviceName: a string is wanted",
    ),
    "a group's region": (
        "CNP",
        cnp("toGroups: [{aws: {region: [x]}}]"),
        "7:31",
        "aws.region: a string is wanted, not a list",
    ),
    "a listener's priority": (
        "CNP",
        cnp(PORTS % "listener: {name: a, envoyConfig: {name: b}, priority: high}"),
        "7:108",
        "listener.priority: a whole number is wanted, not a string",
    ),
    "an unknown field of envoyConfig": (
        "CNP",
        cnp(PORTS % "listener: {name: a, envoyConfig: {name: b, x: y}}"),
        "7:97",
        'unknown field "spec.egress[0].toPorts[0].listener.envoyConfig.x"',
    ),
    "a TLS secret": (
        "CNP",
        cnp(PORTS % "terminatingTLS: {secret: x}"),
        "7:79",
        "terminatingTLS.secret: a mapping is wanted, not a string",
    ),
    "an unknown peer": (
        "KCNP",
        kcnp("{action: Deny, to: [{pods: {podSelector: {}}, cidrs: [x]}]}"),
        "9:51",
        'unknown field "spec.egress[0].to[0].cidrs"',
    ),
    "a rule's name": (
        "KCNP",
        kcnp("{name: {}, action: Deny, to: [{namespaces: {}}]}"),
        "9:12",
        "spec.egress[0].name: a string is wanted, not a mapping",
    ),
    "a zone in a block": (
        "CNP",
        cnp("toCIDR: ['fe80::1%eth0/64']"),
        "7:14",
        "unable to parse CIDR",
    ),
    "null where a label's value is": (
        "CNP",
        whole("").replace("Selector: {}", "Selector: {matchLabels: {a: }}"),
        "4:44",
        "spec.endpointSelector.matchLabels.a: a value is wanted, not null",
    ),
    "a group without a name": (
        "group",
        "spec: {externalCIDRs: []}\n",
        "1:1",
        "CiliumCIDRGroup must have name",
    ),
    "a time that is none": (
        "KNP",
        "metadata: {name: p, creationTimestamp: today}\nspec: {}\n",
        "3:40",
        "metadata.creationTimestamp: a time like 2024-01-31T12:00:00Z is wanted",
    ),
    "a long domain name": (
        "KCNP",
        kcnp(f"{{action: Accept, to: [{{domainNames: ['*.{'a' * 255}']}}]}}"),
        "9:42",
        "Invalid MatchPattern",
    ),
}


@pytest.mark.parametrize(("kind", "rest", "place", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cilium_cant_read_takes_no_part(kind: str, rest: str, place: str, reason: str) -> None:
    found = refused(kind, rest)
    assert not found.by_server
    assert reason in found.reason
    assert f"{found.line}:{found.column}" == place


@pytest.mark.parametrize("version", ["cilium.io/v2/", "cilium.io", "cilium.io/v2alpha1", "v2"])
def test_a_version_that_is_none_is_refused(version: str) -> None:
    text = f"apiVersion: {version}\nkind: CiliumNetworkPolicy\n" + cnp("{}")
    (found,) = read_documents([("p.yaml", text)]).rejected
    assert found.reason == f'wrong apiVersion "{version}" for CiliumNetworkPolicy: cilium.io/v2'


# Only the API server minds these.
SERVER = {
    "an address in toCIDR": (
        "CNP",
        cnp("toCIDR: [10.1.2.3]"),
        "spec.egress[0].toCIDR[0]: a block of addresses is wanted, not an address: 10.1.2.3/32",
    ),
    "a port's number as text": (
        "KNP",
        knp("ports: [{port: '80'}]"),
        'spec.egress[0].ports[0].port: a number is wanted: 80, not "80"',
    ),
    "a port's name in capitals": (
        "KNP",
        knp("ports: [{port: HTTP}]"),
        "a port's name is at most 15 of a-z",
    ),
    "a peer without a field": (
        "KNP",
        knp("to: [{}]"),
        "spec.egress[0].to[0]: one of ipBlock, namespaceSelector and podSelector must be given",
    ),
    "a name in capitals": (
        "CNP",
        cnp("{}").replace("name: p", "name: Weather"),
        "metadata.name: a name of a-z",
    ),
    "rules that are none": (
        "CNP",
        cnp(PORTS % "rules: {}"),
        "toPorts[0].rules: exactly one of dns and http must be given",
    ),
    "a namespace that is none": (
        "KNP",
        "metadata: {name: p, namespace: a.b}\nspec: {}\n",
        "metadata.namespace: a namespace",
    ),
    "a label's key": (
        "KNP",
        "metadata: {name: p, labels: {a/b/c: d}}\nspec: {}\n",
        'metadata.labels: "a/b/c" can\'t be a key here',
    ),
    "a status from long ago": (
        "KNP",
        f"{NAME}spec: {{}}\nstatus: {{}}\n",
        'unknown field "status"',
    ),
    "an endPort below its port": (
        "KNP",
        knp("ports: [{port: 80, endPort: 79}]"),
        "endPort must not be less than port",
    ),
    "an endPort of a name": (
        "KNP",
        knp("ports: [{port: http, endPort: 79}]"),
        "endPort needs a port that is a number",
    ),
    "bits behind a prefix": (
        "KNP",
        knp("to: [{ipBlock: {cidr: 10.1.2.3/8}}]"),
        "has bits behind the prefix: 10.0.0.0/8",
    ),
    "IPv4 in IPv6": (
        "KNP",
        knp("to: [{ipBlock: {cidr: '::ffff:1.2.3.0/120'}}]"),
        "stands for IPv4 addresses",
    ),
    "an exception as large as its block": (
        "KNP",
        knp("to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]"),
        "except must be smaller",
    ),
    "an entity by family": ("CNP", cnp("toEntities: [world-ipv4]"), 'is wanted, not "world-ipv4"'),
    "no server names": ("CNP", cnp(PORTS % "serverNames: []"), "at least 1 item must be given"),
    "a server name twice": (
        "CNP",
        cnp(PORTS % "serverNames: [a.io, a.io]"),
        '"a.io" is there twice',
    ),
    "a name that is nothing": (
        "CNP",
        cnp("toFQDNs: [{}]"),
        "exactly one of matchName and matchPattern",
    ),
    "a name with two dots": (
        "CNP",
        cnp("toFQDNs: [{matchName: a..io}]"),
        'a DNS name is wanted, not "a..io"',
    ),
    "a log's value": (
        "CNP",
        whole('log: {value: "a\\u200bb"}, '),
        "spec.log.value: printable text is wanted",
    ),
    "a rule without peers": ("KCNP", kcnp("{action: Deny}"), "to must be given"),
    "many rules": (
        "KCNP",
        kcnp("&r {action: Pass, to: [{namespaces: {}}]}") + "  - *r\n" * 25,
        "at most 25 items, not 26",
    ),
    "names inside and outside": (
        "KCNP",
        kcnp(
            "{action: Deny, to: [{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: a}]}"
        ),
        "have no named ports",
    ),
    "a range that goes down": (
        "KCNP",
        kcnp(DENY % "{tcp: {destinationPort: {range: {start: 9, end: 8}}}}"),
        "start must be less than end",
    ),
    "an address in a group": (
        "group",
        f"{NAME}spec: {{externalCIDRs: [10.1.2.3]}}\n",
        "spec.externalCIDRs[0]: a block",
    ),
    "two controllers": (
        "KNP",
        f"metadata: {{name: p, ownerReferences: [&o {OWNER}, *o]}}\nspec: {{}}\n",
        "only one can be the controller",
    ),
}


@pytest.mark.parametrize(("kind", "rest", "reason"), SERVER.values(), ids=SERVER)
def test_what_the_api_server_refuses_is_told(kind: str, rest: str, reason: str) -> None:
    found = refused(kind, rest)
    assert found.by_server
    assert reason in found.reason


def test_a_document_that_only_the_api_server_refuses_still_decides() -> None:
    """In force all the same, under older schemas or put there without validation, Cilium reads it."""
    policies = load([("p.yaml", HEADS["CNP"] + cnp("toCIDR: [192.0.2.1]"))])
    pod = Party(labels=("k8s:io.kubernetes.pod.namespace=default", "k8s:app=a"))
    decided = [
        policies.decide(PolicyQuestion("egress", pod, Party(ip=ip), "TCP", 443)).decision
        for ip in ("192.0.2.1", "192.0.2.2")
    ]
    assert decided == ["allowed", "denied"]
    assert [one.by_server for one in policies.documents.rejected] == [True]
    assert not policies.documents.unread


def test_what_cilium_refuses_is_told_before_what_the_api_server_does() -> None:
    found = refused("CNP", cnp("toCIDR: [10.1.2.3]\n    toEntities: [world]"))
    assert not found.by_server
    assert found.reason.startswith("combining")


def test_a_name_in_capitals_is_another_name_in_a_network_policy() -> None:
    """Cilium lowers the names of its own kinds; container ports are in lower case anyway."""
    for kind, text, decision in (
        ("KNP", knp("ports: [{port: HTTP}]"), "denied"),
        ("CNP", cnp("toPorts: [{ports: [{port: HTTP}]}]"), "allowed"),
    ):
        policies = load([("p.yaml", HEADS[kind] + text)])
        pod = Party(labels=("k8s:io.kubernetes.pod.namespace=default",), ports={"http": 80})
        assert policies.decide(PolicyQuestion("egress", pod, pod, "TCP", 80)).decision == decision


def test_an_ipv6_address_that_stands_for_ipv4_is_ipv6() -> None:
    policies = load([("p.yaml", HEADS["CNP"] + cnp("toCIDR: ['::ffff:1.2.3.4/120']"))])
    pod = Party(labels=("k8s:io.kubernetes.pod.namespace=default",))
    decided = {
        ip: policies.decide(PolicyQuestion("egress", pod, Party(ip=ip), "TCP", 443)).decision
        for ip in ("::ffff:102:300", "::ffff:1.2.3.9", "1.2.3.9", "::ffff:1.2.4.0")
    }
    assert decided == {
        "::ffff:102:300": "allowed",
        "::ffff:1.2.3.9": "allowed",
        "1.2.3.9": "denied",
        "::ffff:1.2.4.0": "denied",
    }


@pytest.mark.parametrize("name", ["a_b", "-", "99999", "Not-a-very-good-name"])
def test_a_named_port_of_a_cluster_policy_that_is_no_name_is_what_cilium_makes_of_it(
    name: str,
) -> None:
    text = kcnp(DENY % f"{{destinationNamedPort: '{name}'}}")
    policies = load([("p.yaml", HEADS["KCNP"] + text)])
    pod = Party(labels=("k8s:io.kubernetes.pod.namespace=default",))
    ports = [
        port
        for port in (1, 443, 65535)
        if policies.decide(PolicyQuestion("egress", pod, pod, "TCP", port)).decision == "denied"
    ]
    assert ports == ([65535] if name == "99999" else [1, 443, 65535])


def test_nulls_are_as_good_as_absent() -> None:
    for kind, text in (
        ("CNP", cnp("{toEndpoints: [{matchLabels: }], toPorts: }")),
        ("KNP", knp("{to: , ports: }")),
    ):
        documents = read_documents([("p.yaml", HEADS[kind] + text + "status: \n")])
        assert [one.reason for one in documents.rejected] == (
            ['unknown field "status"'] if kind == "KNP" else []
        )


def test_patterns_that_others_would_try_for_ever_are_tried_once() -> None:
    found = refused("CNP", cnp(f"toFQDNs: [{{matchName: {'a' * 250}..b}}]"))
    assert "a DNS name is wanted" in found.reason
    found = refused("CNP", cnp(f"toPorts: [{{ports: [{{port: {'a-' * 50_000}}}]}}]"))
    assert "unable to parse port" in found.reason
