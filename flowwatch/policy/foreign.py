"""Policies of other programs: nothing here decides by them, but whom they select can mostly be told.

Google's FQDNNetworkPolicy, Calico's NetworkPolicy and Istio's AuthorizationPolicy are enforced by others, or
by a Cilium that isn't the one whose engine this is held to.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowwatch.goyaml.nodes import DocumentError, Value
from flowwatch.policy.labels import LabelSet, Selector, read_selector
from flowwatch.policy.rules import Policy

_KINDS = ("NetworkPolicy", "AuthorizationPolicy")
_SELECTORS = ("podSelector", "endpointSelector", "selector")


@dataclass(frozen=True, slots=True)
class Foreign:
    """One document."""

    policy: Policy
    group: str
    selector: Selector | None
    """None where it is written in another language (Calico's): then it may select any pod there."""

    def selects(self, namespace: str, labels: LabelSet) -> bool:
        """Whether it is about a pod, as far as that can be told."""
        if not namespace or self.policy.namespace != namespace:
            return False
        return self.selector is None or self.selector.matches(labels)

    @property
    def word(self) -> str:
        """How surely it selects."""
        return "may select" if self.selector is None else "selects"

    def __str__(self) -> str:
        return f"{self.policy.reference} ({self.group}; {self.policy.file}:{self.policy.line})"


def read_foreign(
    file: str, kind: str, group: str, value: Value, fields: dict[str, Value]
) -> Foreign | None:
    """A document of a kind that isn't Cilium's; None where it is no policy about pods of a namespace."""
    if not kind.endswith(_KINDS) or "metadata" not in fields:
        return None
    try:
        metadata = fields["metadata"].given()
        name = metadata["name"].text() if "name" in metadata else ""
        space = metadata["namespace"].text() if "namespace" in metadata else "default"
        spec = fields["spec"].given() if "spec" in fields else {}
    except DocumentError:
        return None
    policy = Policy(kind, space, name, file, value.line)
    return Foreign(policy, group, _selector(spec))


def _selector(spec: dict[str, Value]) -> Selector | None:
    written = next((spec[key] for key in _SELECTORS if key in spec), None)
    if written is None:
        return Selector()
    try:
        return read_selector(written, source="k8s:", checked=False)
    except DocumentError:
        return None
