"""Reading Kubernetes' NetworkPolicy and ClusterNetworkPolicy, as Cilium understands them.

From Cilium 1.20, pkg/k8s/network_policy.go and cluster_network_policy.go.
"""

from __future__ import annotations

from dataclasses import replace

from flowwatch.goyaml.nodes import Value
from flowwatch.policy.l7 import Layer7Rules
from flowwatch.policy.labels import (
    CLUSTER,
    EQUALS,
    EXISTS,
    NAMESPACE,
    NAMESPACE_LABELS,
    OWN_CLUSTER,
    Requirement,
    Selector,
    read_selector,
)
from flowwatch.policy.names import NameRule, exact_name, name_pattern
from flowwatch.policy.peers import Name, PeerRule, Pods, read_block, with_exceptions
from flowwatch.policy.ports import PortRule, is_service_name, parse_number, read_number
from flowwatch.policy.rules import ADMIN, BASELINE, Direction, Effect, Entry, Policy, Rule, Subject

_BOTH: tuple[Direction, Direction] = ("ingress", "egress")
_PEER_KEY = {"ingress": "from", "egress": "to"}
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_MAX_PORT = 65535


def read_network_policy(policy: Policy, document: dict[str, Value], cluster: str) -> list[Rule]:
    """The rule of a NetworkPolicy.

    Raises:
        DocumentError: what the API server or Cilium refuses, at its line.
    """
    spec = document["spec"].given() if "spec" in document else {}
    types = [one.text() for one in spec["policyTypes"].items()] if "policyTypes" in spec else []
    for one, value in zip(types, spec["policyTypes"].items() if types else (), strict=True):
        if one not in ("Ingress", "Egress"):
            raise value.fault(f'unknown policyTypes "{one}": Ingress or Egress')
    selector = (
        read_selector(spec["podSelector"], source="k8s:") if "podSelector" in spec else Selector()
    )
    own = f"k8s:{NAMESPACE}"
    subject = Subject(selector.without_match(own).also(own, EQUALS, policy.namespace))
    entries = [
        _entry(policy, item, at, direction, cluster)
        for direction in _BOTH
        for at, item in enumerate(spec[direction].items() if direction in spec else ())
    ]
    asked = {entry.direction for entry in entries}
    if "Ingress" in types or "Egress" not in types:
        asked.add("ingress")
    if "Egress" in types:
        asked.add("egress")
    return [Rule(policy, subject, tuple(entries), dict.fromkeys(asked, True))]


def _entry(policy: Policy, item: Value, at: int, direction: Direction, cluster: str) -> Entry:
    key = _PEER_KEY[direction]
    fields = item.given()
    written = fields[key].items() if key in fields else []
    peers = tuple(_peer(one, policy.namespace, cluster) for one in written) if written else None
    ports = fields["ports"].items() if "ports" in fields else []
    return Entry(
        policy, f"spec.{direction}.{at}", item.line, direction, "allow", peers,
        tuple(_port(one, direction) for one in ports) if ports else None,
    )  # fmt: skip


def _peer(value: Value, namespace: str, cluster: str) -> PeerRule:
    fields = value.given()
    if "ipBlock" in fields:
        if len(fields) > 1:
            raise value.fault("ipBlock may not be combined with podSelector or namespaceSelector")
        block = fields["ipBlock"].given()
        if "cidr" not in block:
            raise value.fault("ipBlock needs a cidr")
        return with_exceptions(read_block(block["cidr"], slash=True), block.get("except"))
    pods = (
        read_selector(fields["podSelector"], source="k8s:")
        if "podSelector" in fields
        else Selector()
    )
    if "namespaceSelector" in fields:
        pods = _join(pods, _namespaces(fields["namespaceSelector"]))
    else:
        own = f"k8s:{NAMESPACE}"
        pods = pods.without_match(own).also(own, EQUALS, namespace)
    return Pods(_own_cluster(pods, cluster))


def _own_cluster(selector: Selector, cluster: str) -> Selector:
    if any(one.key == f"k8s:{CLUSTER}" for one in selector.requirements):
        return selector
    return selector.also(OWN_CLUSTER, EQUALS, cluster)


def _join(one: Selector, other: Selector) -> Selector:
    return Selector((*one.requirements, *other.requirements))


def _namespaces(value: Value, *, checked: bool = True) -> Selector:
    """A namespaceSelector: the namespaces' labels are on their pods; ``{}`` is every namespace."""
    selector = read_selector(value, source="k8s:", prefix=NAMESPACE_LABELS, checked=checked)
    return (
        selector if selector.requirements else Selector((Requirement(f"k8s:{NAMESPACE}", EXISTS),))
    )


def _port(value: Value, direction: Direction) -> PortRule:
    fields = value.given()
    protocol = fields["protocol"].text() if "protocol" in fields else "TCP"
    if protocol not in _PROTOCOLS:
        raise value.fault(f'unsupported protocol "{protocol}": TCP, UDP or SCTP')
    end = fields["endPort"].integer() if "endPort" in fields else 0
    port: int | str = fields["port"].number_or_text() if "port" in fields else 0
    if isinstance(port, str):
        if is_service_name(port):
            # As it is written: what Cilium makes lower case in its own kinds it doesn't here.
            end = end if direction == "ingress" else 0
            return PortRule(protocol, name=port, end=end, line=value.line)
        port = read_number(port, fields["port"])
    return PortRule(protocol, *_span(port, end, value), line=value.line)


def _span(port: int, end: int, value: Value) -> tuple[int, int]:
    if not 0 <= port <= _MAX_PORT or not 0 <= end <= _MAX_PORT:
        raise value.fault(f"a port must be 0 to {_MAX_PORT}")
    return (port, max(port, end)) if port else (0, _MAX_PORT)


_CLUSTER_TIERS = {"Admin": ADMIN, "Baseline": BASELINE}
_ACTIONS: dict[str, Effect] = {"Accept": "allow", "Deny": "deny", "Pass": "pass"}
_PROTOCOL = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}
_PRIORITY_STEP = 100
"""A rule's place in its document counts this many times less than the policy's priority."""


def read_cluster_network_policy(
    policy: Policy, document: dict[str, Value], cluster: str
) -> list[Rule]:
    """The rule of a ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2).

    Raises:
        DocumentError: what the API server or Cilium refuses, at its line.
    """
    spec = document["spec"].given()
    tier = spec["tier"].text() if "tier" in spec else ""
    if tier not in _CLUSTER_TIERS:
        raise document["spec"].fault(f'unknown tier "{tier}": Admin or Baseline')
    priority = spec["priority"].integer() if "priority" in spec else 0
    if "subject" not in spec:
        raise document["spec"].fault("a ClusterNetworkPolicy needs a subject")
    subject = Subject(_cluster_pods(spec["subject"], spec["subject"].given(), None))
    entries = []
    for direction in _BOTH:
        for at, item in enumerate(spec[direction].items() if direction in spec else ()):
            base = Entry(
                policy, f"spec.{direction}.{at}", item.line, direction, "allow", None, None,
                _CLUSTER_TIERS[tier], priority + at / _PRIORITY_STEP,
            )  # fmt: skip
            entries += _cluster_entries(base, item, cluster)
    return [Rule(policy, subject, tuple(entries))]


def _cluster_pods(value: Value, fields: dict[str, Value], cluster: str | None) -> Selector:
    """``namespaces`` or ``pods``; the pods of the own cluster, the namespaces of all.

    The schema of this kind doesn't check labels' values, and neither does Cilium.
    """
    if "namespaces" in fields and "pods" in fields:
        raise value.fault("only one of namespaces and pods may be given")
    if "namespaces" in fields:
        return _namespaces(fields["namespaces"], checked=False)
    if "pods" not in fields:
        raise value.fault("one of namespaces and pods must be given")
    pods = fields["pods"].given()
    selector = (
        read_selector(pods["podSelector"], source="k8s:", checked=False)
        if "podSelector" in pods
        else Selector()
    )
    spaces = (
        _namespaces(pods["namespaceSelector"], checked=False)
        if "namespaceSelector" in pods
        else Selector((Requirement(f"k8s:{NAMESPACE}", EXISTS),))
    )
    selector = _join(selector, spaces)
    return _own_cluster(selector, cluster) if cluster is not None else selector


def _cluster_entries(base: Entry, item: Value, cluster: str) -> list[Entry]:
    key = _PEER_KEY[base.direction]
    fields = item.given()
    action = fields["action"].text() if "action" in fields else ""
    if action not in _ACTIONS:
        raise item.fault(f'unknown action "{action}": Accept, Deny or Pass')
    effect = _ACTIONS[action]
    protocols = fields["protocols"].items() if "protocols" in fields else []
    ports = tuple(map(_protocol, protocols)) if protocols else None
    peers = fields[key].items() if key in fields else []
    if not peers:
        return [_with(base, effect, None, ports)]
    entries = [
        entry for peer in peers for entry in _cluster_peer(base, peer, effect, ports, cluster)
    ]
    return _together(entries, _with(base, effect, (), ports))


def _together(entries: list[Entry], one: Entry) -> list[Entry]:
    """The entries of a rule, its peers in ``one``: a rule that is needed for one of them is needed."""
    peers: list[PeerRule] = []
    beside = []
    for entry in entries:
        if entry.peers is None or entry.effect != one.effect or entry.implied:
            beside.append(entry)
        else:
            peers += entry.peers
    return [*beside, replace(one, peers=tuple(peers))] if peers else beside


def _with(
    base: Entry,
    effect: Effect,
    peers: tuple[PeerRule, ...] | None,
    ports: tuple[PortRule, ...] | None,
) -> Entry:
    return Entry(
        base.policy,
        base.place,
        base.line,
        base.direction,
        effect,
        peers,
        ports,
        base.tier,
        base.priority,
    )


def _cluster_peer(
    base: Entry, value: Value, effect: Effect, ports: tuple[PortRule, ...] | None, cluster: str
) -> list[Entry]:
    fields = value.given()
    if len(fields) > 1:
        raise value.fault(f"only one of {' and '.join(sorted(fields))} may be given")
    if not fields:
        # What an older API server leaves of a newer peer. Fail closed: Accept means nobody, Deny and Pass
        # deny everybody.
        return [] if effect == "allow" else [_with(base, "deny", None, ports)]
    kind = next(iter(fields))
    if kind in ("namespaces", "pods"):
        return [_with(base, effect, (Pods(_cluster_pods(value, fields, cluster)),), ports)]
    if kind == "nodes":
        raise value.fault(
            "egress.to.nodes is not supported since node selector labels are disabled"
        )
    if kind == "networks":
        return [_with(base, effect, tuple(map(read_block, fields["networks"].items())), ports)]
    if effect != "allow":
        raise value.fault("egress.to.domainNames is only supported for egress.action=Accept")
    names = tuple(map(_domain_name, fields["domainNames"].items()))
    dns = Layer7Rules("dns", dns=names, dns_written=True)
    lookups = tuple(
        PortRule("ANY", name=name, l7=dns, line=base.line) for name in ("dns", "dns-tcp")
    )
    resolver = Pods(Selector((Requirement("k8s-app", "In", ("kube-dns",)),)))
    return [
        replace(_with(base, effect, (resolver,), lookups), implied=True),
        _with(base, effect, tuple(map(Name, names)), ports),
    ]


def _domain_name(value: Value) -> NameRule:
    text = value.text()
    if not text.startswith("*"):
        return exact_name(text, value)
    # Here one star stands for any number of labels.
    return name_pattern(text if text.startswith("**") else f"*{text}", value)


def _named_port(value: Value) -> PortRule:
    """What Cilium makes of a name that nobody checks: where it can't be one, a number, and else all ports."""
    text = value.text()
    if not text:
        raise value.fault("one of tcp, udp, sctp and destinationNamedPort must be given")
    if is_service_name(text):
        return PortRule("ANY", name=text, line=value.line)
    port = min(parse_number(text) or 0, _MAX_PORT)
    return PortRule("ANY", *_span(port, 0, value), line=value.line)


def _protocol(value: Value) -> PortRule:
    fields = value.given()
    if len(fields) != 1:
        raise value.fault("one of tcp, udp, sctp and destinationNamedPort must be given")
    key, inner = next(iter(fields.items()))
    if key == "destinationNamedPort":
        return _named_port(inner)
    port = inner.given().get("destinationPort")
    if port is None:
        return PortRule(_PROTOCOL[key], line=value.line)
    numbers = port.given()
    if "range" in numbers:
        span = numbers["range"].given()
        low, high = (span[name].integer() if name in span else 0 for name in ("start", "end"))
    else:
        low, high = numbers["number"].integer() if "number" in numbers else 0, 0
    return PortRule(_PROTOCOL[key], *_span(low, high, value), line=value.line)
