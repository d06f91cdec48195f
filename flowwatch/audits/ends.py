"""The ends of an attempt: what policies see of each, and what a person calls it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from flowwatch.flows.model import Endpoint
from flowwatch.flows.peers import Peer
from flowwatch.policy.labels import CLUSTER, NAMESPACE, NAMESPACE_LABELS, OWN_CLUSTER
from flowwatch.policy.party import Party
from flowwatch.policy.reach import Reach

ANSWERS_OF = "answers of "


def beside(direction: str, peer: str, port: int, protocol: str) -> str:
    """``peer:443/TCP``, with brackets around an IPv6 address; where the port is no peer's but the subject's
    own, as for ingress, ``peer (to its 443/TCP)``. Not made safe."""
    name = peer.removeprefix(ANSWERS_OF)
    if not protocol:
        return peer
    if (direction == "ingress") is (name == peer):
        word = "to" if name == peer else "from"
        return f"{peer} ({word} its {port}/{protocol})"
    return (
        f"{peer[: len(peer) - len(name)]}{f'[{name}]' if ':' in name else name}:{port}/{protocol}"
    )


"""What stands before a peer's name where it is its dropped answers that are judged."""

OUTSIDE = frozenset({"world", "world-ipv4", "world-ipv6"})
_TOLD = 5

# A Deployment's pod: the hash of its template, and five characters of its own.
_HASHES = re.compile(r"-[a-z0-9]{8,10}-[a-z0-9]{5}\Z")


NODES = frozenset({"host", "remote-node", "kube-apiserver"})
_ON_NODE = frozenset({"reserved:host", "reserved:remote-node"})
_FIRST_LOCAL = 1 << 24
"""From here on identities are one agent's own (Cilium 1.20, pkg/identity/numericidentity.go)."""
_BLOCK = "cidr:"
_WHOLE = ("/32", "/128")


def is_outside(end: Endpoint) -> bool:
    """Whether an end is no part of any cluster, as its record says: an API server may be, too."""
    if end.entity in OUTSIDE:
        return True
    # Its reserved number is that of one on a node, with which addresses don't count.
    local = end.identity >= _FIRST_LOCAL or any(one[9:] in OUTSIDE for one in end.labels)
    return end.entity == "kube-apiserver" and local and not _ON_NODE.intersection(end.labels)


def address_counts(end: Endpoint, reach: Reach) -> bool:
    """Whether policies see the address of an endpoint: where blocks may mean it."""
    mode = reach.nodes if end.entity in NODES else reach.pods
    return any(one.startswith(_BLOCK) for one in end.labels) if mode is None else mode


def further_addresses(end: Endpoint) -> tuple[str, ...] | None:
    """The other addresses of an endpoint; None where nobody knows.

    The own node's stand in its labels, one by one; another node is known by each of its own apart.
    """
    if end.entity != "host":
        return () if end.entity in NODES else None
    blocks = [one[len(_BLOCK) :] for one in end.labels if one.startswith(_BLOCK)]
    # No colon may stand in a label's key (Cilium 1.20, pkg/labels/cidr.go).
    whole = [one.rpartition("/")[0].replace("-", ":") for one in blocks if one.endswith(_WHOLE)]
    return tuple(whole) or None


def party_labels(end: Endpoint, own: str, *, outside: bool) -> tuple[str, ...]:
    """The labels a policy sees; what a trimmed record leaves out is filled in from what it says.

    Not of an end outside, though its record may name a pod: the identity decides, not who it should be.
    """
    labels = list(end.labels)
    if not labels and end.entity:
        return (f"reserved:{end.entity}",)
    if outside:
        return tuple(labels)
    space = namespace_of(end)
    if not space:
        return tuple(labels)
    keys = {label.partition("=")[0] for label in labels}
    prefix = "k8s:"
    if f"{prefix}{NAMESPACE}" not in keys:
        labels.append(f"{prefix}{NAMESPACE}={space}")
    if not any(key.startswith(f"{prefix}{NAMESPACE_LABELS}") for key in keys):
        # Kubernetes puts this one on every namespace.
        labels.append(f"{prefix}{NAMESPACE_LABELS}kubernetes.io/metadata.name={space}")
    cluster = f"{prefix}{CLUSTER}"
    named = named_cluster(end)
    if cluster not in keys:
        labels.append(f"{cluster}={named or own or 'default'}")
    if named in ("", own):
        # The policies are those of the subject's cluster, whatever its name.
        labels.append(f"{OWN_CLUSTER}=default")
    return tuple(labels)


def several_clusters(clusters: Iterable[str]) -> Iterator[str]:
    """A word of care, when pods of several clusters were judged by one set of policies."""
    names = sorted(clusters)
    if len(names) > 1:
        told = ", ".join(names[:_TOLD]) + (", …" if len(names) > _TOLD else "")
        yield (
            f"pods of {len(names)} clusters ({told}), each judged as if these policies were its own: "
            "--cilium-config FILE says whose they are"
        )


def namespace_of(end: Endpoint) -> str:
    """The namespace of a pod; of one that a proxy speaks for the labels alone may tell it."""
    return end.namespace or _labelled(end, NAMESPACE)


def _labelled(end: Endpoint, key: str) -> str:
    wanted = f"k8s:{key}="
    return next((one[len(wanted) :] for one in end.labels if one.startswith(wanted)), "")


def named_cluster(end: Endpoint) -> str:
    """The cluster that a record names for one of its ends, "" when it names none."""
    return end.cluster or _labelled(end, CLUSTER)


def name_of(end: Endpoint, address: str) -> str:
    """As a person names a subject: its workload, not each of its pods."""
    # The pods of another node come without their workload: theirs is the name without the hashes.
    name = end.workload or _HASHES.sub("", end.pod) or end.entity or address or "unknown"
    return f"{end.namespace}/{name}" if end.namespace else name


def peer_name(
    end: Endpoint, address: str, party: Party, service: str, named: Peer | None, own: str
) -> str:
    """As a person names the other end; of another cluster than ``own`` with that before it."""
    if end.namespace or end.pod:
        far = named_cluster(end)
        before = f"{far}/" if far and own and far != own else ""
        return service or f"{before}{name_of(end, address)}"
    if party.names:
        # Of several, the one that the row has.
        return named.name if named and named.name in party.names else party.names[0]
    if end.entity and end.entity not in OUTSIDE:
        return end.entity
    return address or end.entity or "unknown"
