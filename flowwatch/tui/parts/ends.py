"""Who the two ends of a row are to a policy: their labels, and the identities that Cilium gave them."""

from __future__ import annotations

from collections.abc import Sequence

from flowwatch.flows.model import Endpoint
from flowwatch.text import safe
from flowwatch.tui.format import Line, labelled

_NAMESPACE = "k8s:io.cilium.k8s.namespace.labels."
_ACCOUNT = "k8s:io.cilium.k8s.policy.serviceaccount="
# The name says it, and in which cluster they are stands beside.
_SAID = (
    f"{_NAMESPACE}kubernetes.io/metadata.name=",
    "k8s:io.kubernetes.pod.namespace=",
    "k8s:io.cilium.k8s.policy.cluster=",
)
_KUBERNETES, _BLOCK = "k8s:", "cidr:"


def ends_lines(
    pod: Endpoint, peer: Endpoint, direction: str, columns: int, indent: int
) -> list[Line]:
    """A line or more for who sends, and for who is sent to; none where nothing is known of either."""
    if not any(end.labels or end.identity for end in (pod, peer)):
        return []
    ends = (peer, pod) if direction == "ingress" else (pod, peer)
    return [
        line
        for word, end in zip(("From", "To"), ends, strict=True)
        for line in labelled(word, end_words(end), columns, indent=indent)
    ]


def end_words(end: Endpoint) -> str:
    """``app=web env=prod; namespace team=shop; service account web; identity 48310``."""
    own = own_labels(end, blocks=True)
    namespace = [
        label.removeprefix(_NAMESPACE)
        for label in end.labels
        if label.startswith(_NAMESPACE) and not label.startswith(_SAID)
    ]
    account = [label.removeprefix(_ACCOUNT) for label in end.labels if label.startswith(_ACCOUNT)]
    parts = [" ".join(own) or ("no label of its own" if end.labels else "labels not recorded")]
    parts += [f"namespace {' '.join(namespace)}"] if namespace else []
    parts += [f"service account {one}" for one in account if one != "default"]
    parts += [f"identity {end.identity}"] if end.identity else []
    return safe("; ".join(parts))


def own_labels(end: Endpoint, *, blocks: bool = False) -> list[str]:
    """The labels that are its own, as Kubernetes has them; with ``blocks`` those of addresses, too."""
    own = [label for label in _own(end.labels) if blocks or label.startswith(_KUBERNETES)]
    return [label.removeprefix(_KUBERNETES) for label in own]


def _own(labels: Sequence[str]) -> list[str]:
    """What selects it and nothing around it; of blocks that hold an address the narrowest."""
    aside = (*_SAID, _NAMESPACE, _ACCOUNT, _BLOCK)
    blocks = [label for label in labels if label.startswith(_BLOCK)]
    narrowest = sorted(blocks, key=_prefix)[-1:]
    return [*(label for label in labels if not label.startswith(aside)), *narrowest]


def _prefix(block: str) -> int:
    """The length of its prefix; -1 where it has none."""
    length = block.rpartition("/")[2]
    return int(length) if length.isascii() and length.isdigit() and len(length) < 4 else -1
