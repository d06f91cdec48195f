"""Labels and what selects them.

A label is ``source:key=value``. A selector's key without a source, or with the source ``any``, means the
label from any source; ``k8s:app`` means Kubernetes' only (Cilium 1.20, pkg/labels and
pkg/policy/api/selector.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from flowwatch.goyaml.nodes import DocumentError, Value

NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."
CLUSTER = "io.cilium.k8s.policy.cluster"
OWN_CLUSTER = "(own):cluster"
"""What selectors ask for that name no cluster: the one the policies are in, ``default`` to them whatever
its name. No label can be called so; a party has it from its cluster's label, unless it is given beside it."""

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?\Z")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?\Z")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_MAX_NAME = 63
_MAX_PREFIX = 253

EQUALS = "="
"""What ``matchLabels`` asks for: an In with one value, but a policy's own namespace overwrites it."""
IN, NOT_IN, EXISTS, MISSING = "In", "NotIn", "Exists", "DoesNotExist"


class LabelSet:
    """The labels of one identity, found by key and by source and key."""

    __slots__ = ("by_key", "by_source", "labels")

    def __init__(self, labels: Iterable[str]) -> None:
        self.labels = tuple(labels)
        self.by_source: dict[str, str] = {}
        self.by_key: dict[str, str] = {}
        for label in sorted(self.labels):
            name, _, value = label.partition("=")
            if name == OWN_CLUSTER:
                self.by_source[name] = value
                continue
            source, colon, key = name.partition(":")
            if not colon:
                source, key = "unspec", name
            self.by_source[f"{source}:{key}"] = value
            # The first source in order answers for any, as in LabelArray.Get.
            self.by_key.setdefault(key, value)
        if (cluster := self.by_source.get(f"k8s:{CLUSTER}")) is not None:
            self.by_source.setdefault(OWN_CLUSTER, cluster)

    def get(self, key: str) -> str | None:
        """The value of a selector's key (``app``, ``any:app``, ``k8s:app``), None where it is missing."""
        source, colon, name = key.partition(":")
        if not colon:
            return self.by_key.get(key)
        return self.by_key.get(name) if source == "any" else self.by_source.get(key)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: LabelSet) -> bool:
        """Whether ``labels`` satisfy it. NotIn and DoesNotExist hold when the key is missing."""
        value = labels.get(self.key)
        if self.operator in (EQUALS, IN):
            return value is not None and value in self.values
        if self.operator == NOT_IN:
            return value is None or value not in self.values
        return (value is not None) is (self.operator == EXISTS)

    def __str__(self) -> str:
        if self.operator == EQUALS or (self.operator == IN and len(self.values) == 1):
            return f"{self.key}={self.values[0]}" if self.values[0] else self.key
        if self.operator in (IN, NOT_IN):
            word = "in" if self.operator == IN else "notin"
            return f"{self.key} {word} ({','.join(self.values)})"
        return self.key if self.operator == EXISTS else f"!{self.key}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all hold; without any it selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: LabelSet) -> bool:
        """Whether it selects the identity with these labels."""
        for requirement in self.requirements:  # noqa: SIM110 — twice as quick as all()
            if not requirement.matches(labels):
                return False
        return True

    def has_key(self, key: str) -> bool:
        """Whether a requirement asks for this key from Kubernetes or any source."""
        return any(one.key in (key, f"any:{key}", f"k8s:{key}") for one in self.requirements)

    def has_key_prefix(self, prefix: str, sources: tuple[str, ...] = ("", "any:", "k8s:")) -> bool:
        """Whether a requirement's key begins so."""
        begins = tuple(source + prefix for source in sources)
        return any(one.key.startswith(begins) for one in self.requirements)

    def also(self, key: str, operator: str, *values: str) -> Selector:
        """The selector with one more requirement."""
        return Selector((*self.requirements, Requirement(key, operator, values)))

    def match(self, key: str) -> tuple[str, ...]:
        """What ``matchLabels`` asks for ``key``, written exactly so."""
        return next(
            (one.values for one in self.requirements if (one.key, one.operator) == (key, EQUALS)),
            (),
        )

    def without_match(self, key: str) -> Selector:
        """The selector without what ``matchLabels`` asks for ``key``, written exactly so."""
        return Selector(
            tuple(one for one in self.requirements if (one.key, one.operator) != (key, EQUALS))
        )

    def __str__(self) -> str:
        told = [one for one in self.requirements if one.key != OWN_CLUSTER]
        return ", ".join(map(_readable, told)) or "any labels"


def _readable(requirement: Requirement) -> str:
    text = str(requirement)
    for long, short in ((f"k8s:{NAMESPACE}", "namespace"), (f"k8s:{CLUSTER}", "cluster"),
                        (NAMESPACE, "namespace"), (f"k8s:{NAMESPACE_LABELS}", "namespace's "),
                        ("any:", ""), ("k8s:", "")):  # fmt: skip
        if text.startswith(long):
            return short + text[len(long) :]
    return text


def read_selector(
    value: Value, *, source: str = "", prefix: str = "", checked: bool = True
) -> Selector:
    """A label selector as it is written.

    Args:
        value: the node with ``matchLabels`` and ``matchExpressions``.
        source: put before every key, as ``"k8s:"`` for the selectors of Kubernetes' own policies.
        prefix: put before every key, behind the source: the namespace labels' one.
        checked: whether keys and values must be such as labels can have.

    Raises:
        DocumentError: as Cilium and the API server refuse it.
    """
    fields = value.given()
    requirements = []
    if "matchLabels" in fields:
        for key, one in fields["matchLabels"].fields().items():
            text = one.text()
            if checked:
                _check_key(key, one, source)
            if checked and not valid_value(text):
                raise one.fault(f"invalid label selector: \"{text}\" can't be a label's value")
            requirements.append(Requirement(_full(key, source, prefix), EQUALS, (text,)))
    if "matchExpressions" in fields:
        expressions = fields["matchExpressions"].items()
        requirements += [_expression(one, source, prefix, checked=checked) for one in expressions]
    return Selector(tuple(requirements))


def _expression(value: Value, source: str, prefix: str, *, checked: bool) -> Requirement:
    fields = value.given()
    if "key" not in fields or "operator" not in fields:
        raise value.fault(f"{value.path}: key and operator must be given")
    key, operator = fields["key"].text(), fields["operator"].text()
    if checked:
        _check_key(key, fields["key"], source)
    values = tuple(one.text() for one in fields["values"].items()) if "values" in fields else ()
    if operator not in (IN, NOT_IN, EXISTS, MISSING):
        raise fields["operator"].fault(
            f'invalid label selector: "{operator}" is not a valid selector operator '
            "(In, NotIn, Exists, DoesNotExist)"
        )
    if operator in (IN, NOT_IN) and not values:
        raise value.fault(f"invalid label selector: {operator} needs values")
    if operator in (EXISTS, MISSING) and values:
        raise value.fault(f"invalid label selector: {operator} takes no values")
    for text in values:
        if checked and not valid_value(text):
            raise value.fault(f"invalid label selector: \"{text}\" can't be a label's value")
    return Requirement(_full(key, source, prefix), operator, values)


def _full(key: str, source: str, prefix: str) -> str:
    # A source in a selector that has none of its own: no label is called so.
    return f"none:{key}" if source and ":" in key else f"{source}{prefix}{key}"


def valid_value(text: str) -> bool:
    """Whether a label can have this value."""
    return len(text) <= _MAX_NAME and _VALUE.match(text) is not None


@lru_cache(maxsize=4096)
def valid_key(key: str) -> bool:
    """Whether a label can have this key: Kubernetes' qualified names, ``prefix/name``."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > _MAX_PREFIX or not _PREFIX.match(prefix)):
        return False
    return len(name) <= _MAX_NAME and _NAME.match(name) is not None


def _check_key(key: str, value: Value, source: str) -> None:
    """Cilium writes ``source:key`` as ``source.key`` and then asks Kubernetes' validation."""
    if not valid_key(key if source else key.replace(":", ".", 1)):
        raise _bad_key(key, value)


def _bad_key(key: str, value: Value) -> DocumentError:
    return value.fault(f"invalid label selector: \"{key}\" can't be a label's key")
