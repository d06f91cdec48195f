"""The pods that selectors tell apart: every set of selectors that some labels satisfy, with such labels.

Keys are independent of each other, so they are gone through one by one, and what is left of two prefixes
that satisfy the same selectors is found once: there are as many states as sets of selectors, not as labels.
Labels are Kubernetes', unless a selector names another source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flowwatch.policy.labels import (
    CLUSTER,
    EXISTS,
    IN,
    NAMESPACE,
    NAMESPACE_LABELS,
    OWN_CLUSTER,
    LabelSet,
    Requirement,
    Selector,
)

MOST = 100_000
"""Sets of selectors followed at once: past it nobody would read the answer either."""
_META = f"{NAMESPACE_LABELS}kubernetes.io/metadata.name"
"""Which Kubernetes gives each namespace, with its name."""
_NO_POD = frozenset({"reserved", "cidr", "cidrgroup", "fqdn", "none", "any", "", "(own)"})
"""Sources that no label of a pod has."""

Atom = tuple[str, ...]
"""Labels that stand for one value of a key; () for its absence."""
Group = tuple[tuple[str, ...], list[Atom]]
"""The names of keys that depend on each other, and all their values."""


class TooMany(Exception):
    """The selectors overlap in more ways than are followed."""


@dataclass(frozen=True, slots=True)
class Space:
    """The cluster that pods are in: its name, as its labels have it."""

    cluster: str = "default"

    @property
    def own(self) -> Atom:
        """The labels of a pod of this cluster."""
        label = f"k8s:{CLUSTER}={self.cluster}"
        return (label,) if self.cluster == "default" else (label, f"{OWN_CLUSTER}=default")


def split(key: str) -> tuple[str, str]:
    """Source ("" for any) and name of a selector's key."""
    source, colon, name = key.partition(":")
    if key == OWN_CLUSTER:
        return "", CLUSTER
    return (source, name) if colon else ("", key)


def fresh(values: Iterable[str], *first: str) -> str:
    """A value that is none of these."""
    taken = set(values)
    return next(
        one
        for one in (*first, *(f"other{n or ''}" for n in range(len(taken) + 1)))
        if one not in taken
    )


def values_of(selectors: Iterable[Selector]) -> dict[str, dict[str, set[str]]]:
    """By the name of a key and its source: the values that requirements name."""
    found: dict[str, dict[str, set[str]]] = {}
    for selector in selectors:
        for one in selector.requirements:
            source, name = split(one.key)
            if one.key != OWN_CLUSTER:
                found.setdefault(name, {}).setdefault(source, set()).update(one.values)
    return found


class Pods:
    """The classes of pods by some selectors.

    ``known``: only these labels. ``own``: only pods of this cluster. ``base``: labels that all of them
    have, of nodes, which are in no namespace.
    """

    def __init__(
        self,
        selectors: Sequence[Selector],
        space: Space,
        *,
        known: Sequence[Atom] | None = None,
        own: bool = False,
        base: Atom = (),
    ) -> None:
        self._selectors = selectors
        self._space = space
        self._known = known
        self._own = own
        self._base = base
        self._values = values_of(selectors)

    def classes(self, beside: LabelSet | None = None, need: int = 0) -> dict[int, Atom]:
        """By the set of selectors, as bits: labels of a pod that they all select, and no other does.

        ``beside``: only what can be there beside this pod, as all pods of a namespace share its labels.
        ``need``: only sets that hold one of these. Raises TooMany.
        """
        if self._known is not None:
            return self._among(self._known, need)
        labelled = any(self._labels_of_namespaces())
        if beside is None or not labelled or f"k8s:{NAMESPACE}" not in beside.by_source:
            return self._walk(list(self._groups(None, "any")), need)
        found: dict[int, Atom] = {}
        for where in ("same", "other", "far"):
            for bits, labels in self._walk(list(self._groups(beside, where)), need).items():
                found.setdefault(bits, labels)
        return found

    def _among(self, known: Sequence[Atom], need: int) -> dict[int, Atom]:
        found: dict[int, Atom] = {}
        for labels in known:
            one = LabelSet(labels)
            if self._own and one.by_source.get(OWN_CLUSTER, "default") != "default":
                continue  # policies are about pods of their own cluster
            bits = pattern(self._selectors, one)
            if not need or bits & need:
                found.setdefault(bits, labels)
        return found

    def _labels_of_namespaces(self) -> Iterator[str]:
        return (
            name for name in self._values if name.startswith(NAMESPACE_LABELS) and name != _META
        )

    def _groups(self, beside: LabelSet | None, where: str) -> Iterator[Group]:
        """The values of each key; of keys that depend on each other together."""
        if not self._base:
            yield (CLUSTER,), self._clusters(where)
            yield (NAMESPACE, _META), self._namespaces(beside, where)
        for name in self._values:
            if name in (CLUSTER, NAMESPACE, _META):
                if self._base:
                    yield (name,), [()]
            elif beside is not None and where == "same" and name.startswith(NAMESPACE_LABELS):
                value = beside.by_source.get(f"k8s:{name}")
                yield (name,), [() if value is None else (f"k8s:{name}={value}",)]
            else:
                yield (name,), self._plain(name)

    def _clusters(self, where: str) -> list[Atom]:
        own = [self._space.own]
        if where in ("same", "other") or self._own:
            return own
        named = self._all(CLUSTER) - {self._space.cluster}
        others = [*sorted(named), fresh(named | {self._space.cluster}, "elsewhere")]
        far: list[Atom] = [(f"k8s:{CLUSTER}={name}",) for name in others]
        return far if where == "far" else own + far

    def _namespaces(self, beside: LabelSet | None, where: str) -> list[Atom]:
        mine = beside.by_source.get(f"k8s:{NAMESPACE}", "") if beside is not None else ""
        if where == "same":
            return [_namespace(mine)]
        named = self._all(NAMESPACE) | self._all(_META)
        names = [*sorted(named), fresh(named | {mine}, "default")]
        return [_namespace(name) for name in names if where != "other" or name != mine]

    def _plain(self, name: str) -> list[Atom]:
        given = self._values[name]
        sources = {source for source in given if source not in _NO_POD}
        if "" in given or "any" in given:
            sources.add("k8s")
        values = self._all(name)
        every = ["", *sorted(value for value in values if value), fresh(values)]
        atoms: list[Atom] = [()]
        for source in sorted(sources):
            one = [(f"{source}:{name}={value}",) for value in every if value or "" in values]
            atoms = [(*before, *label) for before in atoms for label in ((), *one)]
        return atoms

    def _all(self, name: str) -> set[str]:
        return set().union(*self._values.get(name, {}).values())

    def _walk(self, groups: list[Group], need: int) -> dict[int, Atom]:
        asked = self._asked()
        states: dict[int, Atom] = {(1 << len(self._selectors)) - 1: self._base}
        for names, atoms in groups:
            masks: dict[int, Atom] = {}
            for atom in atoms:
                masks.setdefault(self._mask(names, atom, asked), atom)
            after: dict[int, Atom] = {}
            for bits, labels in states.items():
                for mask, atom in masks.items():
                    left = bits & mask
                    if left not in after and not (need and not left & need):
                        after[left] = (*labels, *atom)
            if len(after) > MOST:
                raise TooMany
            states = after
        return states

    def _asked(self) -> list[tuple[int, dict[str, list[Requirement]]]]:
        found = []
        for at, selector in enumerate(self._selectors):
            by_name: dict[str, list[Requirement]] = {}
            for one in selector.requirements:
                by_name.setdefault(split(one.key)[1], []).append(one)
            found.append((1 << at, by_name))
        return found

    def _mask(
        self,
        names: tuple[str, ...],
        atom: Atom,
        asked: list[tuple[int, dict[str, list[Requirement]]]],
    ) -> int:
        """The selectors whose requirements on these keys hold."""
        labels = LabelSet((*self._base, *atom))
        mask = 0
        for bit, by_name in asked:
            if all(one.matches(labels) for name in names for one in by_name.get(name, ())):
                mask |= bit
        return mask


def _namespace(name: str) -> Atom:
    return (f"k8s:{NAMESPACE}={name}", f"k8s:{_META}={name}")


def pattern(selectors: Sequence[Selector], labels: LabelSet) -> int:
    """Which selectors select these labels, as bits."""
    return sum(1 << at for at, one in enumerate(selectors) if one.matches(labels))


def namespaces_apart(selectors: Iterable[Selector]) -> list[Selector]:
    """Selectors that tell namespaces and their labels apart, where some selector asks for such labels.

    Then it matters for a peer in which namespace a subject is, even to selectors that don't mind.
    """
    values = values_of(selectors)
    labels = sorted(n for n in values if n.startswith(NAMESPACE_LABELS) and n != _META)
    if not labels:
        return []
    named = sorted(
        set().union(
            *(set().union(*values.get(k, {"": set()}).values()) for k in (NAMESPACE, _META))
        )
    )
    found = [Selector((Requirement(f"k8s:{NAMESPACE}", IN, (name,)),)) for name in named]
    for key in labels:
        found.append(Selector((Requirement(f"k8s:{key}", EXISTS),)))
        told = sorted(set().union(*values[key].values()))
        found += [Selector((Requirement(f"k8s:{key}", IN, (value,)),)) for value in told]
    return found
