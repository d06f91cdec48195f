"""Shared construction of what repeats from record to record: endpoints and policy references.

Both decoders (of the wire and of capture files) build these here, so that equal ones are the same
object and the facts about identities stand once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from flowwatch.flows.model import Endpoint, PolicyRef
from flowwatch.hubble.wire.names import RESERVED

CACHE_LIMIT = 65_536
"""Distinct endpoints remembered; past it the memory starts anew, and nothing else changes."""

_SCOPE = 1 << 24
# Identities numbered per node, by their upper byte: addresses and DNS names outside; other nodes.
_SCOPES = {1: "world", 2: "remote-node"}

# An endpoint may carry two reserved labels: a node that runs the API server, an address outside
# that a policy names. The one that says more comes first.
_PRECEDENCE = (
    "host",
    "kube-apiserver",
    "ingress",
    "health",
    "init",
    "unmanaged",
    "remote-node",
    "world-ipv4",
    "world-ipv6",
    "world",
    "unknown",
)
_RANK = {name: rank for rank, name in enumerate(_PRECEDENCE)}

_endpoints: dict[tuple[object, ...], Endpoint] = {}
_policies: dict[tuple[str, str, str], PolicyRef] = {}


def entity_of(identity: int, labels: Sequence[str]) -> str:
    """``host``, ``world``, ``kube-apiserver`` …, or "" for a pod.

    By the ``reserved:`` label, which a newer Cilium may name before we know its number; without one
    by the number. Identity 0 without a label is "": nothing was said.
    """
    names = [x[9:].partition("=")[0] for x in labels if x.startswith("reserved:")]
    if names:
        return min(names, key=lambda name: _RANK.get(name, -1))
    return RESERVED.get(identity) or _SCOPES.get(identity // _SCOPE, "")


def make_endpoint(
    identity: int,
    namespace: str,
    pod: str,
    labels: tuple[str, ...],
    workload: str,
    cluster: str,
) -> Endpoint:
    """The one :class:`Endpoint` for these values."""
    key = (identity, namespace, pod, labels, workload, cluster)
    found = _endpoints.get(key)
    if found is None:
        if len(_endpoints) >= CACHE_LIMIT:
            _endpoints.clear()
        intern = sys.intern
        found = Endpoint(
            identity,
            intern(namespace),
            intern(pod),
            intern(workload),
            intern(cluster),
            tuple([intern(label) for label in labels]),
            entity_of(identity, labels),
        )
        # The key holds the shared label tuple rather than the caller's.
        _endpoints[(*key[:3], found.labels, *key[4:])] = found
    return found


_DERIVED_FROM = "io.cilium.policy.derived-from="
OWN = "Cilium's own"
"""Kind of the rules that Cilium makes itself, such as the one that lets the node reach its pods."""


def make_policy(kind: str, namespace: str, name: str, labels: Iterable[str] = ()) -> PolicyRef:
    """The one :class:`PolicyRef` for these values.

    Rules of Cilium's own have neither name nor kind, only the label
    ``reserved:io.cilium.policy.derived-from=allow-localhost-ingress``: that is their name here.
    """
    if not name:
        for label in labels:
            _, found, derived = label.partition(_DERIVED_FROM)
            if found:
                kind, name = OWN, derived
                break
        else:
            name = "unnamed"
    key = (kind, namespace, name)
    found_policy = _policies.get(key)
    if found_policy is None:
        if len(_policies) >= CACHE_LIMIT:
            _policies.clear()
        found_policy = _policies[key] = PolicyRef(*key)
    return found_policy


def service_name(namespace: str, name: str) -> str:
    """A service as flows name it: ``namespace/name``, or the name alone; "" when there is none."""
    return f"{namespace}/{name}" if namespace else name
