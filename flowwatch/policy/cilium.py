"""Reading CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy.

The fields and what is refused: Cilium 1.20, pkg/policy/api/rule.go, egress.go, ingress.go and
rule_validation.go; the scope of selectors: pkg/k8s/apis/cilium.io/utils/utils.go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flowwatch.goyaml.nodes import Value
from flowwatch.policy.groups import CidrGroups
from flowwatch.policy.labels import (
    CLUSTER,
    EQUALS,
    EXISTS,
    NAMESPACE,
    NAMESPACE_LABELS,
    OWN_CLUSTER,
    Selector,
    read_selector,
)
from flowwatch.policy.names import read_name
from flowwatch.policy.peers import (
    ENTITIES,
    Entity,
    Name,
    PeerRule,
    Pods,
    Unknown,
    read_block,
    with_exceptions,
)
from flowwatch.policy.ports import PortRule, read_icmps, read_to_ports
from flowwatch.policy.rules import Direction, Effect, Entry, Policy, Rule, Subject

CLUSTERWIDE = "CiliumClusterwideNetworkPolicy"

_PEERS = {
    "egress": (
        "toEndpoints",
        "toEntities",
        "toCIDR",
        "toCIDRSet",
        "toServices",
        "toGroups",
        "toNodes",
    ),
    "ingress": (
        "fromEndpoints",
        "fromEntities",
        "fromCIDR",
        "fromCIDRSet",
        "fromGroups",
        "fromNodes",
    ),
}
_ANY_WHEN_EMPTY = ("toFQDNs", "toServices", "toGroups", "fromGroups")
_SECTIONS: tuple[tuple[str, Direction, Effect], ...] = (
    ("ingress", "ingress", "allow"),
    ("ingressDeny", "ingress", "deny"),
    ("egress", "egress", "allow"),
    ("egressDeny", "egress", "deny"),
)
_AUTH = ("required", "disabled", "test-always-fail")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a document's own place adds to its selectors."""

    policy: Policy
    cluster: str
    groups: CidrGroups

    @property
    def namespace(self) -> str:
        """The policy's own; "" for a cluster's policy."""
        return self.policy.namespace

    def peer(self, selector: Selector, *, init: bool) -> Selector:
        """A peer's selector, kept to the own namespace and cluster unless it asks for others."""
        if selector.has_key_prefix("reserved:", ("",)):
            return selector
        if not selector.has_key(NAMESPACE):
            if not self.namespace:
                if not init:
                    selector = selector.also(f"k8s:{NAMESPACE}", EXISTS)
            elif not selector.has_key_prefix(NAMESPACE_LABELS):
                selector = selector.also(f"k8s:{NAMESPACE}", EQUALS, self.namespace)
        if not selector.has_key(CLUSTER):
            selector = selector.also(OWN_CLUSTER, EQUALS, self.cluster)
        return selector


def read_cilium(
    policy: Policy, document: dict[str, Value], cluster: str, groups: CidrGroups
) -> list[Rule]:
    """The rules of a CNP or CCNP: ``spec`` and each of ``specs``.

    Raises:
        DocumentError: what Cilium or the API server's schema refuses, at its line.
    """
    scope = Scope(policy, cluster, groups)
    specs = [("spec", document["spec"])] if _given(document, "spec") else []
    if _given(document, "specs"):
        specs += [(f"specs.{at}", one) for at, one in enumerate(document["specs"].items())]
    return [_read_spec(scope, place, spec) for place, spec in specs]


def _given(document: dict[str, Value], key: str) -> bool:
    return key in document and not document[key].is_null


def _read_spec(scope: Scope, place: str, spec: Value) -> Rule:
    fields = spec.given()
    if not any(fields[key].items() for key, _, _ in _SECTIONS if key in fields):
        raise spec.fault("rule must have at least one of Ingress, IngressDeny, Egress, EgressDeny")
    subject = _subject(scope, spec, fields)
    entries = []
    switch = fields["enableDefaultDeny"].given() if "enableDefaultDeny" in fields else {}
    default_deny: dict[str, bool] = {}
    init = _asks_for_init(subject.selector)
    for section, direction, effect in _SECTIONS:
        for at, item in enumerate(fields[section].items() if section in fields else ()):
            default_deny[direction] = switch[direction].boolean() if direction in switch else True
            where = (f"{place}.{section}.{at}", direction, effect)
            entries.append(_read_entry(scope, item, where, host=subject.host, init=init))
    return Rule(scope.policy, subject, tuple(entries), default_deny)


def _asks_for_init(selector: Selector) -> bool:
    return any(one.key == "reserved:init" for one in selector.requirements)


def _subject(scope: Scope, spec: Value, fields: dict[str, Value]) -> Subject:
    clusterwide = scope.policy.kind == CLUSTERWIDE
    if "nodeSelector" in fields and "endpointSelector" in fields:
        raise spec.fault("rule cannot have both EndpointSelector and NodeSelector")
    if "nodeSelector" in fields:
        if not clusterwide:
            raise fields["nodeSelector"].fault("rule cannot have NodeSelector")
        return Subject(read_selector(fields["nodeSelector"]), host=True)
    if "endpointSelector" not in fields:
        raise spec.fault("rule must have one of EndpointSelector or NodeSelector")
    selector = read_selector(fields["endpointSelector"])
    if not clusterwide:
        # matchLabels with this very key is overwritten by the own namespace.
        own = f"k8s:{NAMESPACE}"
        asked = next(iter(selector.match(own)), "")
        return Subject(selector.without_match(own).also(own, EQUALS, scope.namespace), asked=asked)
    return Subject(selector)


def _read_entry(
    scope: Scope, item: Value, where: tuple[str, Direction, Effect], *, host: bool, init: bool
) -> Entry:
    place, direction, effect = where
    fields = item.given()
    kinds = [key for key in _PEERS[direction] if key in fields and fields[key].items()]
    if len(kinds) > 1:
        first, second = (key[0].upper() + key[1:] for key in kinds[:2])
        raise item.fault(f"combining {first} and {second} is not supported yet")
    names = fields["toFQDNs"].items() if "toFQDNs" in fields else []
    peers = _peers(scope, fields, init=init)
    if names and kinds:
        # Cilium's own check leaves toFQDNs out; the API server's and its documentation do not.
        raise item.fault(
            f"combining ToFQDNs and {kinds[0][0].upper()}{kinds[0][1:]} is not supported yet"
        )
    ports = _ports(fields, deny=effect == "deny", ingress=direction == "ingress", host=host)
    if peers is None and ports is None:
        peers = ()
    auth = fields["authentication"].given() if "authentication" in fields else {}
    mode = auth["mode"].text() if "mode" in auth else ""
    if mode and mode not in _AUTH:
        raise auth["mode"].fault(f'unknown authentication mode "{mode}": {", ".join(_AUTH)}')
    return Entry(scope.policy, place, item.line, direction, effect, peers, ports, auth=mode)


def _ports(
    fields: dict[str, Value], *, deny: bool, ingress: bool, host: bool
) -> tuple[PortRule, ...] | None:
    ports = (
        read_to_ports(fields["toPorts"], deny=deny, ingress=ingress, host=host)
        if "toPorts" in fields
        else None
    )
    icmps = read_icmps(fields["icmps"]) if "icmps" in fields else None
    if ports is not None and icmps is not None:
        raise fields["icmps"].fault(
            "the ICMPs block may only be present without ToPorts. Define a separate rule to use ToPorts"
        )
    return ports if icmps is None else icmps


def _peers(scope: Scope, fields: dict[str, Value], *, init: bool) -> tuple[PeerRule, ...] | None:
    """All peers of an entry; None when no part names any, () when a part names none."""
    readers: dict[str, Callable[[Value], list[PeerRule]]] = {
        "Endpoints": lambda one: [Pods(scope.peer(read_selector(one), init=init))],
        "Entities": lambda one: [_entity(one, scope.cluster)],
        "CIDR": lambda one: [read_block(one)],
        "CIDRSet": lambda one: _cidr_rule(one, scope.groups),
        "Services": _service,
        "Groups": _group,
        "Nodes": _node,
        "FQDNs": _fqdn,
    }
    peers: list[PeerRule] = []
    named = False
    for key, value in fields.items():
        reader = readers.get(key.removeprefix("to").removeprefix("from"))
        if reader is None:
            continue
        items = value.items()
        if not items and key not in _ANY_WHEN_EMPTY:
            return ()  # nobody, whatever the other parts name
        named = named or bool(items)
        for item in items:
            peers.extend(reader(item))
    return tuple(peers) if named else None


def _fqdn(value: Value) -> list[PeerRule]:
    name = read_name(value)
    return [] if name is None else [Name(name)]


def _entity(value: Value, cluster: str) -> Entity:
    name = value.text()
    if name not in ENTITIES:
        near = f" (did you mean {name.lower()}?)" if name.lower() in ENTITIES else ""
        raise value.fault(f"unsupported entity: {name}{near}")
    return Entity(name, cluster)


def _cidr_rule(value: Value, groups: CidrGroups) -> list[PeerRule]:
    fields = value.given()
    given = [key for key in ("cidr", "cidrGroupRef", "cidrGroupSelector") if key in fields]
    if not given:
        raise value.fault("one of cidr, cidrGroupRef, or cidrGroupSelector is required")
    if len(given) > 1:
        raise value.fault(
            "more than one of cidr, cidrGroupRef, or cidrGroupSelector may not be set"
        )
    exceptions = fields.get("except")
    if given == ["cidr"]:
        return [with_exceptions(read_block(fields["cidr"], slash=True), exceptions)]
    return groups.peers(fields[given[0]], exceptions)


BY_CLUSTER = ": only the cluster knows its addresses"
"""How a doubt about a service ends."""


def _service(value: Value) -> list[PeerRule]:
    fields = value.given()
    what = "services by selector"
    if "k8sServiceSelector" in fields:
        inner = fields["k8sServiceSelector"].given()
        if "selector" in inner:
            read_selector(inner["selector"])
    elif "k8sService" in fields:
        inner = fields["k8sService"].given()
        what = "service " + "/".join(
            inner[key].text() for key in ("namespace", "serviceName") if key in inner
        )
    reason = f"{what}{BY_CLUSTER}"
    return [Unknown(what, reason, written=value.written)]


def _group(value: Value) -> list[PeerRule]:
    reason = "toGroups: only the cloud knows the group's addresses"
    return [Unknown("a group of the cloud", reason, inside=False, written=value.written)]


def _node(value: Value) -> list[PeerRule]:
    raise value.fault(
        'FromNodes/ToNodes rules can only be applied when the "enable-node-selector-labels" flag is set'
    )
