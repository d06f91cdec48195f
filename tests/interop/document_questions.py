"""Questions that a policy document is about: parties by its own selectors, blocks, names and ports.

Policies of others are about labels of their own, so a fixed universe would only ever ask past them.
"""

import ipaddress
import random
from collections.abc import Iterator, Sequence
from typing import Any

from tests.interop.oracle import Asked, Who
from tests.interop.policy_universe import RESERVED

_SPACE = "io.kubernetes.pod.namespace"
_SPACE_LABELS = "io.cilium.k8s.namespace.labels."
_CLUSTER = "io.cilium.k8s.policy.cluster"
_NAMED = 7070
"""The number of every port's name."""
_PROTOCOLS = ("TCP", "TCP", "TCP", "UDP", "SCTP")
_ICMP = (("ICMP", 8), ("ICMP", 3), ("ICMPv6", 128))
_MOST = 60
"""Parties of a document."""
_OUTSIDE = (Who(ip="192.0.2.77"), Who(ip="2001:db8:77::1"), Who(("reserved:world",)))


def _nodes(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in a document, with the name of the field it stands in."""
    yield key, value
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _nodes(one, str(name))
    elif isinstance(value, list):
        for one in value:
            yield from _nodes(one, key)


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _wanted(selector: dict[str, Any]) -> dict[str, str]:
    """Labels that a selector asks for, as far as it can be seen."""
    found: dict[str, str] = {}
    labels = selector.get("matchLabels")
    for key, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(value, str):
            found[str(key)] = value
    expressions = selector.get("matchExpressions")
    for one in expressions if isinstance(expressions, list) else ():
        if isinstance(one, dict) and isinstance(one.get("key"), str):
            values = _texts(one.get("values"))
            if one.get("operator") in ("In", "Exists"):
                found[one["key"]] = values[0] if values else "x"
            elif values:
                # Both what is excluded and what isn't are asked for.
                found.setdefault(one["key"], values[0])
    return found


def _pod(
    labels: dict[str, str], space: str, ports: dict[str, int], *, cluster: str = "default"
) -> Who:
    own = {f"k8s:{_SPACE}": space, f"k8s:{_CLUSTER}": cluster,
           f"k8s:{_SPACE_LABELS}kubernetes.io/metadata.name": space}  # fmt: skip
    for key, value in labels.items():
        source, colon, name = key.partition(":")
        if not colon or source in ("k8s", "any"):
            source, name = "k8s", name if colon else key
        if source == "reserved":
            continue
        own[f"{source}:{name}"] = value
        if name == _SPACE:
            own[f"k8s:{_SPACE_LABELS}kubernetes.io/metadata.name"] = value
    written = tuple(f"{key}={value}" for key, value in own.items() if "=" not in key)
    return Who(written, ports=tuple(sorted(ports.items())))


def _addresses(text: str) -> Iterator[str]:
    """Addresses inside a block, at its ends, and just outside."""
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return
    first, last = int(network.network_address), int(network.broadcast_address)
    most = (1 << network.max_prefixlen) - 1
    for number in dict.fromkeys(
        (first, last, min(first + 1, most), max(first - 1, 0), min(last + 1, most))
    ):
        yield str(type(network.network_address)(number))


def _name(pattern: str) -> str:
    return pattern.replace("**", "a.b").replace("*", "a").strip(".").lower()


class Questions:
    """What can be asked about one document."""

    def __init__(self, document: Any, chance: random.Random) -> None:
        """Look through the document, as far as it can be understood."""
        self._chance = chance
        metadata = document.get("metadata") if isinstance(document, dict) else None
        space = metadata.get("namespace") if isinstance(metadata, dict) else None
        self._space = space if isinstance(space, str) and space else "default"
        self._found = list(_nodes(document))
        names = {one.lower(): _NAMED for key, one in self._found if _is_port_name(key, one)}
        self.ports, self.near = self._numbers(bool(names))
        pods = [
            _pod({}, self._space, names),
            _pod({}, "elsewhere", {}),
            _pod({}, self._space, {}, cluster="far"),
        ]
        pods += self._selected(names)
        outside = [*_OUTSIDE, *self._outside()]
        self.pods = list(dict.fromkeys(pods))[:_MOST]
        self.outside = list(dict.fromkeys(outside))[:_MOST]

    def _numbers(self, named: bool) -> tuple[list[int], list[int]]:
        """Ports that are written, and those beside them."""
        found: set[int] = set()
        for key, one in self._found:
            if key in ("port", "endPort", "number", "start", "end") and isinstance(one, int | str):
                try:
                    number = int(one)
                except ValueError:
                    continue
                found.add(number)
        if named:
            found.add(_NAMED)
        found = {one for one in found if 0 < one <= 65535} or {80, 53}
        near = {one + step for one in found for step in (-1, 1)} | {80, 53, 443}
        return sorted(found), sorted(one for one in near if 0 < one <= 65535)

    def _selected(self, names: dict[str, int]) -> Iterator[Who]:
        every: dict[str, str] = {}
        for key, one in self._found:
            if not isinstance(one, dict) or not one.keys() & {"matchLabels", "matchExpressions"}:
                continue
            labels = _wanted(one)
            if key in ("namespaceSelector", "namespaces"):
                labels = {f"k8s:{_SPACE_LABELS}{name}": value for name, value in labels.items()}
            yield _pod(labels, self._space, names)
            yield _pod(labels, "elsewhere", names)
            every |= labels
        yield _pod(every, self._space, names)
        yield _pod(every, "elsewhere", {})

    def _outside(self) -> Iterator[Who]:
        for key, one in self._found:
            if not isinstance(one, str):
                continue
            for address in _addresses(one):
                yield Who(ip=address)
            if key in ("matchName", "matchPattern", "domainNames"):
                yield Who(ip="203.0.113.9", fqdn=_name(one) or "x")
                yield Who(ip="203.0.113.10", fqdn=f"deep.{_name(one)}")

    def pick(self, count: int, subjects: Sequence[Asked]) -> list[Asked]:
        """Some questions, most of them about subjects that policies select."""
        chance = self._chance
        picked = []
        for _ in range(count):
            about = chance.choice(subjects)
            protocol = chance.choice(_PROTOCOLS)
            port = chance.choice(self.ports if chance.random() < 0.7 else self.near)
            if chance.random() < 0.05:
                protocol, port = chance.choice(_ICMP)
            peer = chance.choice(chance.choice((self.pods, self.pods, self.outside, RESERVED)))
            picked.append(Asked(about.direction, about.subject, peer, protocol, port))
        return picked

    def subjects(self) -> list[Asked]:
        """A question for each party that policies can be about, in each direction."""
        every = [*self.pods, *RESERVED]
        return [
            Asked(way, who, _OUTSIDE[0], "TCP", 80)
            for who in every
            for way in ("egress", "ingress")
        ]


def _is_port_name(key: str, value: Any) -> bool:
    return (
        key in ("port", "destinationNamedPort") and isinstance(value, str) and not value.isdigit()
    )
