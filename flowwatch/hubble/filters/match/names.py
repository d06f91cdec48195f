"""Filters on names: pods and services by their start, DNS and node names by pattern, clusters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from flowwatch.gotext import quote_rune
from flowwatch.hubble.filters.match.base import Build, FilterError, Match, remembering
from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow, FlowFilter
from flowwatch.re2 import Stars

EMPTY_NAME = "invalid filter, name must not be empty"


def named(get: Callable[[Flow], tuple[str, str]], what: str = "") -> Build:
    """``namespace/prefix``; without a slash the namespace is ``default``, an empty one is any."""

    def build(values: Iterable[str], _: FlowFilter) -> Match:
        wanted: list[tuple[str, str]] = []
        for text in values:
            if not text:
                raise FilterError(f"invalid {what} filter: {EMPTY_NAME}" if what else EMPTY_NAME)
            wanted.append(name_of(text))
        if len(wanted) == 1:
            return _one_name(get, *wanted[0])

        def test(flow: Flow) -> bool:
            namespace, name = get(flow)
            if namespace or name:
                for ns, prefix in wanted:
                    if (not ns or ns == namespace) and name.startswith(prefix):
                        return True
            return False

        return test

    return build


def name_of(text: str) -> tuple[str, str]:
    """The namespace ("" for any) that a filter on pods or services shows, and how names begin."""
    parts = text.split("/")
    # What stands after a second slash is not looked at.
    return (parts[0], parts[1]) if len(parts) > 1 else ("default", text)


def _one_name(get: Callable[[Flow], tuple[str, str]], wanted: str, prefix: str) -> Match:
    def test(flow: Flow) -> bool:
        namespace, name = get(flow)
        if wanted:
            return wanted == namespace and name.startswith(prefix)
        return name.startswith(prefix) and bool(namespace or name)

    return test


def cluster(get: Callable[[Flow], str]) -> Build:
    """Exact, and never empty."""

    def build(values: Sequence[str], _: FlowFilter) -> Match:
        if "" in values:
            raise FilterError(EMPTY_NAME)
        wanted = frozenset(values)
        return lambda flow: get(flow) in wanted

    return build


_PLAIN = re.compile("[-_0-9a-z.*]")
_LETTERS = "-_0-9a-z."
_ANY_NAME = re.compile(r"[-0-9_a-z]++(?:\.[-0-9_a-z]++)*+")


def spelt(pattern: str) -> str:
    """A DNS or node name with ``*`` as records are compared with it (patterns.go). FilterError."""
    name = pattern.strip().removesuffix(".").lower()
    if not name:
        raise FilterError("empty pattern")
    if name.endswith("."):
        raise FilterError("multiple trailing dots in pattern")
    for char in name:
        if not _PLAIN.match(char):
            raise FilterError(f"{quote_rune(char)}: invalid rune in pattern")
    return name


def _pattern(pattern: str) -> Callable[[str], bool]:
    """The names that it means; ``*`` stands for all that a name has but ``_``."""
    return Stars(spelt(pattern), apart="_", allowed=_LETTERS).matches


def names(get: Callable[[Flow], Iterable[str]]) -> Build:
    """One of the record's names fits one of the patterns."""

    def build(values: Iterable[str], _: FlowFilter) -> Match:
        fits = [_pattern(text) for text in values]
        found = remembering(lambda name: any(fit(name) for fit in fits))
        return lambda flow: any(map(found, get(flow)))

    return build


def node_name(values: Iterable[str], _: FlowFilter) -> Match:
    """``[cluster/]node``; a record that names no cluster is of ``default``."""
    pairs = []
    for text in values:
        if not text:
            raise FilterError("empty pattern")
        cluster, node = elements_of(text)
        pairs.append((_element(cluster), _element(node)))

    def find(name: str) -> bool:
        parts = name.split("/")
        if len(parts) > 2 or not name:
            return False
        cluster, node = ["default", *parts][-2:]
        return any(of(cluster) and is_(node) for of, is_ in pairs)

    found = remembering(find)
    return lambda flow: found(flow.node_name)


def elements_of(text: str) -> tuple[str, str]:
    """The patterns of cluster and node in ``[cluster/]node``, "" for any. FilterError."""
    elements = text.split("/")
    if len(elements) > 2:
        raise FilterError("too many slashes in pattern")
    cluster, node = ["", *elements][-2:]
    return cluster, node


def _element(pattern: str) -> Callable[[str], bool]:
    return _pattern(pattern) if pattern else lambda name: _ANY_NAME.fullmatch(name) is not None
