"""The universe that made-up policies are about: three namespaces, few labels, few ports and addresses.

It is so small that rules really meet. `questions()` picks questions about it.
"""

import random
from collections.abc import Sequence

from tests.interop.oracle import Asked, Who

NAMESPACES = {"default": "", "team": "prod", "ops": "dev"}
OPTIONS: tuple[dict[str, str], ...] = (
    {},
    {"policy-cidr-match-mode": "nodes"},
    {"policy-cidr-match-mode": "pods"},
    {"policy-cidr-match-mode": "nodes pods"},
    {"enable-policy": "always"},
    {"enable-policy": "never"},
    {"policy-cidr-match-mode": "pods", "enable-policy": "always"},
    {"policy-audit-mode": "true", "policy-deny-response": "icmp"},
)
"""Entries of the ConfigMap that the engine is asked with."""
_SPACE_LABELS = "k8s:io.cilium.k8s.namespace.labels."


def _pod(
    namespace: str,
    *labels: str,
    cluster: str = "default",
    ports: dict[str, int] | None = None,
    at: str = "",
) -> Who:
    own = [
        f"k8s:io.kubernetes.pod.namespace={namespace}",
        f"k8s:io.cilium.k8s.policy.cluster={cluster}",
        f"{_SPACE_LABELS}kubernetes.io/metadata.name={namespace}",
    ]
    if NAMESPACES[namespace]:
        own.append(f"{_SPACE_LABELS}env={NAMESPACES[namespace]}")
    ip, *also = at.split()
    return Who((*own, *labels), ip, "", tuple(sorted((ports or {}).items())), tuple(also))


PODS = (
    _pod("default", "k8s:app=a", "k8s:tier=x", ports={"http": 8080}, at="10.1.2.3"),
    _pod("default", "k8s:app=b", ports={"http": 80, "dns": 53}, at="10.1.7.1 2001:db8:1::5"),
    _pod("default", "container:app=a", at="172.16.0.1"),
    _pod("team", "k8s:app=a", at="192.0.2.8"),
    _pod("team", "k8s:app=b", "k8s:tier=x", ports={"http": 443}, at="10.2.0.4"),
    _pod("ops", "k8s:app=b", at="2001:db8::7"),
    _pod("ops", "k8s:app=kube-dns", "k8s:k8s-app=kube-dns", ports={"dns": 53, "dns-tcp": 53},
         at="10.1.2.9"),
    _pod("default", "k8s:app=a", cluster="far", at="10.9.0.1"),
    _pod("team", "k8s:app=b", cluster="far", ports={"http": 8080}, at="10.1.0.6"),
)  # fmt: skip
"""With addresses, which matter where `policy-cidr-match-mode` lets blocks mean pods."""
RESERVED = (
    Who(("reserved:host",), "10.1.2.3", "a.x.io", also=("172.16.0.9", "2001:db8::9")),
    Who(("reserved:remote-node",), "192.0.2.7", "x.io"),
    Who(("reserved:remote-node",), "10.2.0.9"),
    Who(("reserved:kube-apiserver", "reserved:remote-node"), "10.1.0.2", "b.a.x.io"),
    Who(("reserved:health",), "10.1.2.200"),
    Who(("reserved:ingress",), "10.1.2.201"),
    Who(("reserved:init",), "10.1.2.202"),
    Who(("reserved:unmanaged",), "10.1.2.203"),
)
FAR = frozenset(one for one in PODS if "k8s:io.cilium.k8s.policy.cluster=far" in one.labels)
"""Pods of another cluster: which blocks hold them, the policies there say."""
OUTSIDE = (
    Who(ip="10.1.0.1"),
    Who(ip="10.1.2.3", fqdn="a.x.io"),
    Who(ip="192.0.2.7", fqdn="x.io"),
    Who(ip="192.0.2.8", fqdn="b.a.x.io"),
    Who(ip="10.2.0.9", fqdn="www.Y.org"),
    Who(ip="2001:db8::1", fqdn="a.x.io"),
    Who(ip="2001:db8:1::7"),
    Who(("reserved:kube-apiserver",), ip="198.51.100.1"),
    Who(("reserved:world",)),
)
PARTIES = PODS + RESERVED + OUTSIDE
_SUBJECTS = PODS + RESERVED
PORTS = (
    ("TCP", 53),
    ("TCP", 80),
    ("TCP", 80),
    ("TCP", 80),
    ("TCP", 81),
    ("TCP", 443),
    ("TCP", 443),
    ("TCP", 8080),
    ("TCP", 8080),
    ("UDP", 53),
    ("UDP", 53),
    ("UDP", 80),
    ("UDP", 8080),
    ("SCTP", 80),
    ("ICMP", 8),
    ("ICMP", 3),
    ("ICMPv6", 128),
)


def subjects() -> list[Asked]:
    """A question for each party and direction, to learn which of them policies select."""
    outside = OUTSIDE[0]
    ways = ("egress", "ingress")
    return [Asked(way, subject, outside, "TCP", 80) for subject in _SUBJECTS for way in ways]


def questions(seed: int, count: int, selected: Sequence[Asked] = ()) -> list[Asked]:
    """Pick `count` questions, the same ones for the same seed: most on what `selected` is about."""
    chance = random.Random(seed)
    every = subjects()
    few = chance.sample(selected, min(4, len(selected)))
    picked = []
    for _ in range(count):
        about = chance.choice(few if few and chance.random() < 0.9 else every)
        protocol, port = chance.choice(PORTS)
        peer = chance.choice(PARTIES)
        picked.append(Asked(about.direction, about.subject, peer, protocol, port))
    return picked
