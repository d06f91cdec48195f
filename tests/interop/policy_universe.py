"""The universe that made-up policies are about: three namespaces, few labels, few ports and addresses.

It is so small that rules really meet. `questions()` picks questions about it.
"""

import random
from collections.abc import Sequence

from tests.interop.oracle import Asked, Who

NAMESPACES = {"default": "", "team": "prod", "ops": "dev"}
_SPACE_LABELS = "k8s:io.cilium.k8s.namespace.labels."


def _pod(
    namespace: str, *labels: str, cluster: str = "default", ports: dict[str, int] | None = None
) -> Who:
    own = [
        f"k8s:io.kubernetes.pod.namespace={namespace}",
        f"k8s:io.cilium.k8s.policy.cluster={cluster}",
        f"{_SPACE_LABELS}kubernetes.io/metadata.name={namespace}",
    ]
    if NAMESPACES[namespace]:
        own.append(f"{_SPACE_LABELS}env={NAMESPACES[namespace]}")
    return Who((*own, *labels), ports=tuple(sorted((ports or {}).items())))


PODS = (
    _pod("default", "k8s:app=a", "k8s:tier=x", ports={"http": 8080}),
    _pod("default", "k8s:app=b", ports={"http": 80, "dns": 53}),
    _pod("default", "container:app=a"),
    _pod("team", "k8s:app=a"),
    _pod("team", "k8s:app=b", "k8s:tier=x", ports={"http": 443}),
    _pod("ops", "k8s:app=b"),
    _pod("ops", "k8s:app=kube-dns", "k8s:k8s-app=kube-dns", ports={"dns": 53, "dns-tcp": 53}),
    _pod("default", "k8s:app=a", cluster="far"),
    _pod("team", "k8s:app=b", cluster="far", ports={"http": 8080}),
)
RESERVED = tuple(
    Who(tuple(f"reserved:{name}" for name in names.split()))
    for names in (
        "host",
        "remote-node",
        "kube-apiserver remote-node",
        "health",
        "ingress",
        "init",
        "unmanaged",
    )
)
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
