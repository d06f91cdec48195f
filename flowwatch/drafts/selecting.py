"""The fewest labels that select certain pods and no other pod that was seen.

Labels come from flow records, so they are those of Cilium's identities: what a policy can select by. Some
of them name a moment and not an application (hashes, revisions, ordinals, jobs): these never select.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from flowwatch.policy.labels import valid_key, valid_value

Labels = tuple[tuple[str, str], ...]
"""Key and value of what a pod can be selected by, sorted by key."""

_PASSING = frozenset(
    {
        "pod-template-hash", "rollouts-pod-template-hash", "controller-revision-hash",
        "pod-template-generation", "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/job-name", "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-completion-index", "job-name", "controller-uid",
        "helm.sh/chart", "app.kubernetes.io/version", "version", "revision", "chart",
    }
)  # fmt: skip
"""Keys of labels that are others after the next roll-out."""

_FIRST = (
    "app.kubernetes.io/name", "app", "k8s-app", "name", "app.kubernetes.io/instance", "instance",
    "app.kubernetes.io/component", "component", "run", "tier", "role",
)  # fmt: skip
"""Keys that say which application it is, the plainest first."""

_CILIUMS = ("io.cilium.", "io.kubernetes.pod.namespace")
_MOST = 3
"""Labels tried together, before all that the pods have in common are taken."""


class Selected(NamedTuple):
    """How pods are selected."""

    labels: Labels
    also: tuple[str, ...] = ()
    """Others that have the same labels and can't be told apart, as people name them."""


def lasting(labels: Iterable[str]) -> Labels:
    """What of a record's labels (``k8s:app=a``) says which application it is."""
    kept = {}
    for label in labels:
        name, _, value = label.partition("=")
        source, colon, key = name.partition(":")
        if not colon or source != "k8s" or key in _PASSING or key.startswith(_CILIUMS):
            continue
        if valid_key(key) and valid_value(value):
            kept[key] = value
    return tuple(sorted(kept.items()))


def select(wanted: Iterable[Labels], others: Mapping[Labels, str]) -> Selected:
    """The fewest labels that all of ``wanted`` have, and none of ``others`` (with their names) has.

    Where there are none, all that ``wanted`` have in common, and who else has them.
    """
    sets = [dict(one) for one in wanted]
    common = [
        (key, value)
        for key, value in sets[0].items()
        if all(one.get(key) == value for one in sets[1:])
    ] if sets else []  # fmt: skip
    common.sort(key=liking)
    rest = {labels: name for labels, name in others.items() if dict(labels) not in sets}
    for size in range(1, min(_MOST, len(common)) + 1):
        for chosen in combinations(common, size):
            if not any(_has(labels, chosen) for labels in rest):
                return Selected(tuple(sorted(chosen)))
    also = sorted({name for labels, name in rest.items() if _has(labels, common)})
    return Selected(tuple(sorted(common)), tuple(also))


def _has(labels: Labels, chosen: Sequence[tuple[str, str]]) -> bool:
    return all(one in labels for one in chosen)


def liking(label: tuple[str, str]) -> tuple[int, str]:
    """A key to sort labels by: first what says the plainest which application it is."""
    key = label[0]
    return (_FIRST.index(key) if key in _FIRST else len(_FIRST), key)
