"""The pods that there are: those that flows show, or the cluster's own list of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flowwatch.audits.ends import named_cluster, party_labels
from flowwatch.flows.model import Batch, Endpoint
from flowwatch.policy.labels import CLUSTER, OWN_CLUSTER

SeenPods = dict[tuple[str, ...], str]
"""A pod's labels as policies see them, and the name of one that has them."""


def of_flows(batches: Iterable[Batch], own: str = "") -> SeenPods:
    """The pods of all flows whose labels are recorded.

    ``own``: the name of the policies' cluster; else the only one that flows name.
    """
    ends: dict[tuple[str, str, tuple[str, ...]], Endpoint] = {}
    for batch in batches:
        for flow in batch.flows:
            for end in (flow.source, flow.destination):
                if end.labels and end.namespace and end.pod:
                    ends.setdefault((end.namespace, end.pod, tuple(end.labels)), end)
    clusters = {name for end in ends.values() if (name := named_cluster(end))}
    if not own and len(clusters) == 1:
        own = clusters.pop()
    found: SeenPods = {}
    for end in ends.values():
        found.setdefault(party_labels(end, own, outside=False), f"{end.namespace}/{end.pod}")
    return found


def of_endpoints(items: Iterable[Mapping[str, Any]]) -> SeenPods:
    """The pods of CiliumEndpoint objects (Cilium 1.20, pkg/k8s/apis/cilium.io/v2/types.go).

    Those without an identity yet are left out: nothing is decided of them.
    """
    found: SeenPods = {}
    for item in items:
        metadata, status = _inner(item, "metadata"), _inner(item, "status")
        given = _inner(status, "identity").get("labels")
        labels = (
            sorted(one for one in given if isinstance(one, str)) if isinstance(given, list) else []
        )
        if labels:
            if any(one.startswith(f"k8s:{CLUSTER}=") for one in labels):
                labels.append(f"{OWN_CLUSTER}=default")
            name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
            found.setdefault(tuple(labels), name)
    return found


def _inner(of: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = of.get(key)
    return value if isinstance(value, Mapping) else {}
