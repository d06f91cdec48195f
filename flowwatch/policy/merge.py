"""Rules that Cilium can't make one policy of: then the endpoint keeps the policy that it had before.

Rules of one direction, place and priority about the very same peer and port become one entry. They can't
when they want different proxies there (HTTP and DNS), server names beside HTTP rules, or two
authentication modes. From Cilium 1.20: pkg/policy/rule.go (mergePortProto), l4.go (L7ParserType.Merge).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator

from flowwatch.policy.peers import Entity, PeerRule, Pods
from flowwatch.policy.ports import PortRule
from flowwatch.policy.rules import Entry

_EVERYBODY = "everybody"
_CLUSTER = ("host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver")
_PARTS = {
    "all": (_EVERYBODY,),
    "world": ("world", "world-ipv4", "world-ipv6"),
    "cluster": (*_CLUSTER, "pods"),
    "cluster-mesh": (*_CLUSTER, "pods of all clusters"),
}
"""The selectors that an entity stands for, where they are several or everybody's."""
_KINDS = {
    "CiliumClusterwideNetworkPolicy": "ccnp",
    "CiliumNetworkPolicy": "cnp",
    "ClusterNetworkPolicy": "kcnp",
    "NetworkPolicy": "netpol",
}
_NAMED = {"http": "HTTP rules", "dns": "DNS rules", "tls": "server names or TLS", "": "no rules"}
_PROTOCOLS = {"ANY": ("TCP", "UDP", "SCTP")}


def unmergeable(entries: Iterable[Entry]) -> str:
    """Why Cilium can't make a policy of all that applies to an endpoint; "" when it can."""
    proxies: defaultdict[Hashable, dict[str, Entry]] = defaultdict(dict)
    modes: dict[Hashable, Entry] = {}
    allowing = [entry for entry in entries if entry.effect == "allow"]
    if not any(entry.auth or any(rule.l7 for rule in entry.ports or ()) for entry in allowing):
        return ""
    for entry in sorted(allowing, key=_order):
        for ports, proxy in _ports(entry):
            for peer in _peers(entry.peers):
                key = (entry.direction, entry.tier, entry.priority, peer, ports)
                there = proxies[key]
                for other in _clashing(proxy, there):
                    return _words(there[other], entry, f"{_NAMED[other]} and {_NAMED[proxy]}")
                if proxy:
                    there[proxy] = entry
                if entry.auth:
                    earlier = modes.setdefault(key, entry)
                    if earlier.auth != entry.auth:
                        return _words(earlier, entry, "two authentication modes")
    return ""


def ends_of_names(entries: Iterable[Entry]) -> dict[tuple[int, str, str], int]:
    """Up to which port a named one reaches, by tier, protocol and name, where rules differ on that.

    Cilium makes one entry of all that name the port, and keeps the range of the first, whatever the
    others say (1.20: pkg/policy/l4.go, NamedPortMap).
    """
    ends: dict[tuple[int, str, str], int] = {}
    differ = False
    named = [entry for entry in entries if any(rule.name for rule in entry.ports or ())]
    for entry in sorted(named, key=lambda one: (one.priority, *_order(one))):
        for rule in entry.ports or ():
            for protocol in _PROTOCOLS.get(rule.protocol, (rule.protocol,)) if rule.name else ():
                first = ends.setdefault((entry.tier, protocol, rule.name), rule.end)
                differ |= first != rule.end
    return ends if differ else {}


def _order(entry: Entry) -> tuple[str, str, str]:
    """Cilium's: by kind, namespace and name, then as they are written."""
    return _KINDS.get(entry.policy.kind, ""), entry.policy.namespace, entry.policy.name


def _clashing(proxy: str, there: dict[str, Entry]) -> Iterator[str]:
    """Those of the proxies that were there before that can't go together with one more."""
    if proxy == "dns":
        yield from (one for one in ("http", "tls") if one in there)
    elif proxy and "dns" in there:
        yield "dns"
    # HTTP rules after server names pass; whatever comes after both, or server names after HTTP, doesn't.
    elif "http" in there and (proxy == "tls" or "tls" in there):
        yield "http" if proxy == "tls" else "tls"


def _words(one: Entry, other: Entry, what: str) -> str:
    return (
        f"Cilium can't merge {what} for one peer and port ({one}; {other}): "
        "the endpoint keeps the policy it had before"
    )


def _ports(entry: Entry) -> Iterator[tuple[Hashable, str]]:
    if entry.ports is None:
        yield "every port", ""
    for rule in entry.ports or ():
        for protocol in _PROTOCOLS.get(rule.protocol, (rule.protocol,)):
            yield (protocol, *_span(rule)), rule.l7.kind if rule.l7 else ""


def _span(rule: PortRule) -> tuple[str, int, int]:
    return (rule.name, 0, 0) if rule.name else ("", rule.low, rule.high)


def _peers(peers: tuple[PeerRule, ...] | None) -> Iterator[Hashable]:
    """What Cilium would look the peers up by."""
    if peers is None:
        yield _EVERYBODY
    for peer in peers or ():
        if isinstance(peer, Entity):
            yield from _PARTS.get(peer.name, (peer.name,))
        elif isinstance(peer, Pods) and not peer.selector.requirements:
            yield _EVERYBODY
        else:
            yield peer
