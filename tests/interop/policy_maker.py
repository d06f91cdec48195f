"""Made-up sets of policies, about the parties of `policy_universe`.

`policy_sets()` is a Hypothesis strategy over the whole schema of the four kinds of policies and
CiliumCIDRGroup. Most of what it makes is valid; now and then there is something that Cilium refuses.

What the documents alone can't settle isn't made: toServices and toGroups with something in them, and
`authentication`.

Lists and mappings are made anew for each set: whoever is given one may change it, and no later one with it.
"""

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeAlias, TypeVar

from hypothesis import strategies as st

from tests.interop.policy_universe import NAMESPACES

Object: TypeAlias = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")


def _once(make: Callable[P, T]) -> Callable[P, T]:
    """What makes a strategy, with one for the same arguments: making and validating it anew for each draw
    takes longer than to draw."""
    made: dict[object, T] = {}

    @functools.wraps(make)
    def found(*args: P.args, **kwargs: P.kwargs) -> T:
        parts = (*args, *kwargs.items())
        key = tuple(one if isinstance(one, st.SearchStrategy) else repr(one) for one in parts)
        if key not in made:
            made[key] = make(*args, **kwargs)
        return made[key]

    return found


_integers = _once(st.integers)
_booleans = _once(st.booleans)
_one_of = _once(st.one_of)


@_once
def _sampled_from(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


_OWN = _sampled_from(("default", "default", *NAMESPACES))


@_once
def _any(*values: Any) -> st.SearchStrategy[Any]:
    """One of `values`, nobody else's."""
    return _sampled_from(values).map(copy.deepcopy)


@_once
def _seldom(common: st.SearchStrategy[Any], *rare: Any) -> st.SearchStrategy[Any]:
    """`common`, and one time in about ten one of `rare`."""
    return _integers(0, 9).flatmap(lambda n: _any(*rare) if n == 9 else common)


@_once
def _lists(items: st.SearchStrategy[Any], least: int = 0, most: int = 2) -> st.SearchStrategy[Any]:
    return st.lists(items, min_size=least, max_size=most)


@_once
def _items(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A list with something in it, seldom an empty one or null."""
    return _seldom(_lists(items, 1), [], None)


def _fields(draw: st.DrawFn, likely: dict[str, st.SearchStrategy[Any]], chance: int = 5) -> Object:
    """Each field one time in `chance`; then null, one time in twenty."""
    made: Object = {}
    for name, value in likely.items():
        if draw(_integers(1, chance)) == chance:
            made[name] = None if draw(_integers(1, 20)) == 20 else draw(value)
    return made


# Selectors ---------------------------------------------------------------------------------------

_KEYS = {
    "app": ("a", "b", "kube-dns"),
    "k8s:app": ("a", "b"),
    "any:app": ("a", "b"),
    "container:app": ("a",),
    "tier": ("x", "y"),
    "k8s-app": ("kube-dns",),
}
_SPACE_KEYS = {
    "io.kubernetes.pod.namespace": tuple(NAMESPACES),
    "k8s:io.kubernetes.pod.namespace": tuple(NAMESPACES),
    "io.cilium.k8s.namespace.labels.env": ("prod", "dev"),
    "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": tuple(NAMESPACES),
    "io.cilium.k8s.policy.cluster": ("default", "far"),
    "k8s:io.cilium.k8s.policy.cluster": ("default", "far"),
}
_RESERVED_KEYS = {
    f"reserved:{name}": ("",)
    for name in (
        "host", "remote-node", "kube-apiserver", "health", "ingress", "init", "unmanaged",
        "world", "world-ipv4",
    )
}  # fmt: skip
_CILIUM_KEYS = _KEYS | _SPACE_KEYS | _RESERVED_KEYS
_PLAIN_KEYS = {"app": ("a", "b", "kube-dns"), "tier": ("x", "y"), "k8s-app": ("kube-dns",)}
_NAMESPACE_KEYS = {
    "env": ("prod", "dev"),
    "kubernetes.io/metadata.name": tuple(NAMESPACES),
}
_GROUP_KEYS = {"zone": ("one", "two"), "kind": ("saas",)}


@_once
@st.composite
def _expressions(draw: st.DrawFn, keys: dict[str, tuple[str, ...]]) -> Object:
    key = draw(_sampled_from(tuple(keys)))
    operator = draw(_sampled_from(("In", "NotIn", "Exists", "DoesNotExist")))
    made: Object = {"key": key, "operator": operator}
    if operator in ("In", "NotIn"):
        made["values"] = draw(_lists(_sampled_from(keys[key]), 1))
    return made


@_once
@st.composite
def _selectors(draw: st.DrawFn, keys: dict[str, tuple[str, ...]]) -> Object:
    """A label selector; `{}` often."""
    shape = draw(_integers(0, 9))
    if shape < 3:
        return {}
    made: Object = {}
    if shape != 9:
        names = draw(_lists(_sampled_from(tuple(keys)), 1))
        if {"app", "any:app"} <= set(names):
            names.remove("any:app")  # the same to Cilium, which then keeps one by chance
        made["matchLabels"] = {name: draw(_sampled_from(keys[name])) for name in names}
    if shape > 6:
        made["matchExpressions"] = draw(_lists(_expressions(keys), 1))
    return made


_GROUP_SELECTORS = _selectors(_GROUP_KEYS).filter(bool)


# Cilium's kinds ------------------------------------------------------------------------------------

_CIDRS = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0", "::/0", "2001:db8::/32",
          "192.0.2.0/24", "198.51.100.1/32", "10.1.2.3", "192.0.2.7/25")  # fmt: skip
_BLOCKS = {
    "10.0.0.0/8": ("10.1.0.0/16", "10.1.2.0/24", "10.2.0.0/16"),
    "10.1.0.0/16": ("10.1.2.3/32", "10.1.0.0/24"),
    "0.0.0.0/0": ("10.0.0.0/8", "192.0.2.7/32"),
    "2001:db8::/32": ("2001:db8:1::/48",),
    "::/0": ("2001:db8::/32",),
    "192.0.2.0/24": ("192.0.2.8/32",),
}
_ENTITIES = ("all", "world", "cluster", "cluster-mesh", "host", "remote-node", "kube-apiserver",
             "health", "ingress", "init", "unmanaged", "none")  # fmt: skip
_NAMES = ("a.x.io", "x.io", "A.X.io.", "www.y.org", "b.a.x.io")
_PATTERNS = ("*", "*.x.io", "*x.io", "**.x.io", "*.*", "**", "a*.x.io", "www.**.org", "*.Y.ORG",
             "**x.io", "*.*.x.io", "**.io")  # fmt: skip
_FQDNS = _one_of(
    _sampled_from(_NAMES).map(lambda name: {"matchName": name}),
    _sampled_from(_PATTERNS).map(lambda pattern: {"matchPattern": pattern}),
)


@_once
@st.composite
def _blocks(draw: st.DrawFn) -> Object:
    """An item of toCIDRSet."""
    kind = draw(_integers(0, 5))
    block = draw(_sampled_from(tuple(_BLOCKS)))
    made: Object = {"cidr": block}
    if kind == 0:
        made = {"cidrGroupRef": draw(_sampled_from(("g1", "g2", "missing")))}
    elif kind == 1:
        # Not the empty one: with a port's name Cilium's answer depends on what was asked before.
        made = {"cidrGroupSelector": draw(_GROUP_SELECTORS)}
    if draw(_integers(0, 2)) == 0:
        made["except"] = draw(_lists(_sampled_from(_BLOCKS[block]), 0))
    return made


@_once
def _peers(way: str, *, deny: bool) -> dict[str, st.SearchStrategy[Any]]:
    """The fields that can name a peer; `way` is to or from."""
    peers = {
        f"{way}Endpoints": _items(_one_of(_selectors(_KEYS), _selectors(_CILIUM_KEYS))),
        f"{way}Entities": _items(_sampled_from(_ENTITIES)),
        f"{way}CIDR": _items(_sampled_from(_CIDRS)),
        f"{way}CIDRSet": _items(_blocks()),
    }
    if way == "to" and not deny:
        peers["toFQDNs"] = _items(_FQDNS)
    return peers


_PORT_NAMES = _seldom(
    _sampled_from(("80", "80", "81", "443", "8080", "53", "0", "http", "HTTP", "dns")),
    "0120", "0x50", "65535", "79", "unknown",
)  # fmt: skip
_PROTOCOLS = _sampled_from((None, "TCP", "TCP", "UDP", "SCTP", "ANY"))


@_once
@st.composite
def _ports(draw: st.DrawFn) -> Object:
    made: Object = {"port": draw(_PORT_NAMES)}
    if protocol := draw(_PROTOCOLS):
        made["protocol"] = protocol
    if draw(_integers(0, 5)) == 0:
        made["endPort"] = draw(_sampled_from((0, 60, 80, 81, 443, 8080, 65535)))
    return made


_HTTP: st.SearchStrategy[Any] = _any(
    [{"method": "GET", "path": "/x"}], [{}], [{"path": "/.*", "headers": ["X-A: b"]}], [], None
)
_DNS = _one_of(_lists(_FQDNS, 1), _any([], [{"matchPattern": "*"}]))
_HTTP_RULES = _HTTP.map(lambda http: {"http": http})
_DNS_RULES = _DNS.map(lambda dns: {"dns": dns})
_PROXY_PORTS = _sampled_from(("80", "80", "443", "8080", "http")).map(
    lambda at: {"port": at, "protocol": "TCP"}
)


@_once
@st.composite
def _port_rules(draw: st.DrawFn, *, deny: bool, egress: bool) -> Object:
    """An item of toPorts."""
    kind = draw(_integers(0, 19))
    if kind == 19:
        return {}
    if kind == 18:
        return {"ports": draw(_any([], None))}
    if deny or kind < 7 or (kind in (15, 16) and not egress):
        return {"ports": draw(_lists(_ports(), 1, 3))}
    if kind < 15:
        made: Object = {"ports": draw(_lists(_PROXY_PORTS, 1))}
        if draw(_integers(0, 4)) == 4:
            made["serverNames"] = draw(_any(["x.io"], [], ["*.x.io", "y.org"]))
        else:
            made["rules"] = draw(_seldom(_HTTP_RULES, {}, None))
        return made
    if kind < 17:
        protocol = draw(_sampled_from(("UDP", "ANY", "TCP", None)))
        port: Object = {"port": draw(_sampled_from(("53", "53", "dns")))}
        return {
            "ports": [port | ({"protocol": protocol} if protocol else {})],
            "rules": {"dns": draw(_DNS)},
        }
    # Whatever comes together, seldom valid.
    return {
        "ports": draw(_lists(_ports(), 1)),
        "rules": draw(_one_of(_HTTP_RULES, _DNS_RULES)),
    }


@_once
@st.composite
def _icmps(draw: st.DrawFn) -> Object:
    """An item of icmps."""
    if draw(_integers(0, 7)) == 0:
        return {}
    fields = []
    for _ in range(draw(_integers(1, 2))):
        kind = _sampled_from((8, 3, 0, 128, "EchoRequest", "EchoReply", "DestinationUnreachable"))
        field: Object = {"type": draw(kind)}
        if draw(_booleans()):
            field["family"] = draw(_sampled_from(("IPv4", "IPv6")))
        fields.append(field)
    return {"fields": fields}


@_once
@st.composite
def _cilium_entry(draw: st.DrawFn, section: str, *, host: bool = False) -> Object:
    """An item of ingress, egressDeny and so on; those of hosts have seldom rules for proxies."""
    egress, deny = section.startswith("egress"), section.endswith("Deny")
    peers = _peers("to" if egress else "from", deny=deny)
    kinds = draw(_seldom(_sampled_from((0, 1, 1, 1, 1)), 2))
    made: Object = {}
    for name in draw(_lists(_sampled_from(tuple(peers)), kinds, kinds)):
        made[name] = draw(peers[name])
    if draw(_integers(0, 19)) == 19:
        way = "to" if egress else "from"
        empty = (f"{way}Groups", "toServices") if egress else (f"{way}Groups",)
        made[draw(_sampled_from(empty))] = []
    ports = draw(_integers(0, 9))
    if ports < 5:
        made["toPorts"] = draw(_seldom(_lists(_port_rules(deny=deny, egress=egress), 1), [], None))
    elif ports < 7:
        made["icmps"] = draw(_seldom(_lists(_icmps(), 1), [], None))
    if not made and draw(_integers(0, 3)):
        made[("toEntities" if egress else "fromEntities")] = ["all"]
    return made


_SECTIONS = ("egress", "egress", "ingress", "ingress", "egressDeny", "ingressDeny")


@_once
@st.composite
def _cilium_rule(draw: st.DrawFn, *, wide: bool) -> Object:
    """A spec."""
    made: Object = {}
    host = wide and draw(_integers(0, 5)) == 0
    made["nodeSelector" if host else "endpointSelector"] = draw(
        _selectors(_KEYS if host or draw(_integers(0, 3)) else _CILIUM_KEYS)
    )
    for section in draw(_lists(_sampled_from(_SECTIONS), 1, 3)):
        made[section] = draw(_seldom(_lists(_cilium_entry(section, host=host), 1, 4), [], None))
    if draw(_integers(0, 3)) == 0:
        made["enableDefaultDeny"] = draw(
            _any(
                {"egress": False},
                {"ingress": False},
                {"egress": False, "ingress": False},
                {"egress": True},
                {},
                None,
            )
        )
    return made


# Not once: of three that are one, a choice of them has one part, not three.
@st.composite
def _cilium_policy(draw: st.DrawFn) -> Object:
    wide = draw(_booleans())
    metadata: Object = {}
    if not wide and draw(_integers(0, 3)):
        metadata["namespace"] = draw(_OWN)
    made: Object = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy" if wide else "CiliumNetworkPolicy",
        "metadata": metadata,
    }
    several = draw(_integers(0, 4))
    if several != 4:
        made["spec"] = draw(_cilium_rule(wide=wide))
    if several > 2:
        made["specs"] = draw(_lists(_cilium_rule(wide=wide), 1))
    return made


# Kubernetes' kinds -----------------------------------------------------------------------------------


@_once
@st.composite
def _knp_peer(draw: st.DrawFn) -> Object:
    kind = draw(_integers(0, 6))
    if kind == 0:
        return {}
    if kind < 3:
        block = draw(_sampled_from(tuple(_BLOCKS)))
        made: Object = {"cidr": block}
        if draw(_booleans()):
            made["except"] = draw(_lists(_sampled_from(_BLOCKS[block]), 0))
        return {"ipBlock": made}
    made = {}
    if kind < 5 or draw(_booleans()):
        made["podSelector"] = draw(_selectors(_PLAIN_KEYS))
    if kind > 4:
        made["namespaceSelector"] = draw(_selectors(_NAMESPACE_KEYS))
    return made


@_once
@st.composite
def _knp_port(draw: st.DrawFn) -> Object:
    made: Object = {}
    if draw(_integers(0, 4)):
        made["port"] = draw(_sampled_from((53, 80, 443, 8080, "http", "dns", 79)))
    if protocol := draw(_sampled_from((None, "TCP", "UDP", "SCTP"))):
        made["protocol"] = protocol
    if isinstance(made.get("port"), int) and draw(_integers(0, 4)) == 0:
        made["endPort"] = draw(_sampled_from((80, 443, 8080, 65535)))
    return made


@_once
@st.composite
def _knp_rule(draw: st.DrawFn, way: str) -> Object:
    return _fields(
        draw,
        {way: _seldom(_lists(_knp_peer(), 1), []), "ports": _seldom(_lists(_knp_port(), 1), [])},
        chance=2,
    )


@_once
@st.composite
def _network_policy(draw: st.DrawFn) -> Object:
    spec: Object = {"podSelector": draw(_selectors(_PLAIN_KEYS))}
    for section, way in (("ingress", "from"), ("egress", "to")):
        if draw(_booleans()):
            spec[section] = draw(_seldom(_lists(_knp_rule(way), 0), None))
    types = draw(_any(None, [], ["Ingress"], ["Egress"], ["Ingress", "Egress"], ["Egress"]))
    if types is not None:
        spec["policyTypes"] = types
    metadata: Object = {}
    if draw(_integers(0, 3)):
        metadata["namespace"] = draw(_OWN)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }


@_once
@st.composite
def _cluster_pods(draw: st.DrawFn) -> Object:
    if draw(_booleans()):
        return {"namespaces": draw(_selectors(_NAMESPACE_KEYS))}
    return {
        "pods": {
            "namespaceSelector": draw(_selectors(_NAMESPACE_KEYS)),
            "podSelector": draw(_selectors(_PLAIN_KEYS)),
        }
    }


_DOMAINS = ("a.x.io", "*.x.io", "x.io", "*.y.org", "www.y.org")


@_once
@st.composite
def _cluster_peer(draw: st.DrawFn, *, egress: bool, accept: bool) -> Object:
    kind = draw(_integers(0, 9))
    if egress and kind < 3:
        return {"networks": draw(_lists(_sampled_from(tuple(_BLOCKS)), 1))}
    if egress and kind == 3 and accept:
        return {"domainNames": draw(_lists(_sampled_from(_DOMAINS), 1))}
    if kind == 9:
        return {}  # what a newer version has there
    made: Object = draw(_cluster_pods())
    return made


@_once
@st.composite
def _cluster_protocol(draw: st.DrawFn) -> Object:
    kind = draw(_integers(0, 9))
    if kind == 0:
        return {"destinationNamedPort": draw(_sampled_from(("http", "dns")))}
    made: Object = {}
    if kind < 6:
        made["destinationPort"] = {"number": draw(_sampled_from((53, 80, 443, 8080)))}
    elif kind < 9:
        start, end = draw(_sampled_from(((80, 443), (53, 53), (1, 65535), (79, 81))))
        made["destinationPort"] = {"range": {"start": start, "end": end}}
    return {draw(_sampled_from(("tcp", "udp", "sctp"))): made}


@_once
@st.composite
def _cluster_rule(draw: st.DrawFn, *, egress: bool) -> Object:
    action = draw(_sampled_from(("Accept", "Deny", "Pass")))
    peers = _lists(_cluster_peer(egress=egress, accept=action == "Accept"), 1)
    made: Object = {"action": action, "to" if egress else "from": draw(peers)}
    if draw(_booleans()):
        made["protocols"] = draw(_lists(_cluster_protocol(), 1))
    return made


@_once
@st.composite
def _cluster_network_policy(draw: st.DrawFn) -> Object:
    spec: Object = {
        "tier": draw(_sampled_from(("Admin", "Baseline"))),
        "priority": draw(_integers(0, 2)),
        "subject": draw(_cluster_pods()),
    }
    if draw(_booleans()):
        spec["ingress"] = draw(_lists(_cluster_rule(egress=False), 1, 3))
    if "ingress" not in spec or draw(_booleans()):
        spec["egress"] = draw(_lists(_cluster_rule(egress=True), 1, 3))
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {},
        "spec": spec,
    }


@_once
@st.composite
def _cidr_group(draw: st.DrawFn, name: str) -> Object:
    labels = {key: draw(_sampled_from(values)) for key, values in _GROUP_KEYS.items()}
    kept = draw(_lists(_sampled_from(tuple(labels))))
    blocks = ("10.1.0.0/16", "10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32", "10.1.2.3/32")
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumCIDRGroup",
        "metadata": {"name": name, "labels": {key: labels[key] for key in kept}},
        "spec": {"externalCIDRs": draw(_lists(_sampled_from(blocks)))},
    }


_POLICIES = _one_of(
    _cilium_policy(),
    _cilium_policy(),
    _cilium_policy(),
    _network_policy(),
    _cluster_network_policy(),
)

_MOST = _seldom(st.just(4), 12)


@_once
@st.composite
def policy_sets(draw: st.DrawFn) -> list[Object]:
    """One to four policies that may meet, seldom a dozen, with the CIDR groups there are."""
    made = []
    for at, policy in enumerate(draw(_lists(_POLICIES, 1, draw(_MOST)))):
        made.append(policy | {"metadata": policy["metadata"] | {"name": f"p{at}"}})
    if _refers_to_groups(made):
        # Seldom the group isn't given.
        made += draw(_seldom(_groups(), []))
    return made


@_once
@st.composite
def _groups(draw: st.DrawFn) -> list[Object]:
    return [draw(_cidr_group("g1")), draw(_cidr_group("g2"))]


def _refers_to_groups(value: Any) -> bool:
    if isinstance(value, dict):
        return any(key.startswith("cidrGroup") or _refers_to_groups(value[key]) for key in value)
    return isinstance(value, list) and any(map(_refers_to_groups, value))
