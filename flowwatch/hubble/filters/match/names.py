"""Filters on names: pods and services by their start, DNS and node names by pattern, clusters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from flowwatch.gotext import quote_rune
from flowwatch.hubble.filters.match.base import Build, FilterError, Match
from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow, FlowFilter

EMPTY_NAME = "invalid filter, name must not be empty"


def named(get: Callable[[Flow], tuple[str, str]], what: str = "") -> Build:
    """``namespace/prefix``; without a slash the namespace is ``default``, an empty one is any."""

    def build(values: Iterable[str], _: FlowFilter) -> Match:
        wanted: list[tuple[str, str]] = []
        for text in values:
            if not text:
                raise FilterError(f"invalid {what} filter: {EMPTY_NAME}" if what else EMPTY_NAME)
            parts = text.split("/")
            # What stands after a second slash is not looked at.
            wanted.append((parts[0], parts[1]) if len(parts) > 1 else ("default", text))
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


_PLAIN = re.compile("[-_0-9a-z]")


def _pattern(pattern: str) -> str:
    """A DNS or node name with ``*`` as a regular expression."""
    name = pattern.strip().removesuffix(".").lower()
    if not name:
        raise FilterError("empty pattern")
    if name.endswith("."):
        raise FilterError("multiple trailing dots in pattern")
    for char in name:
        if char not in ".*" and not _PLAIN.match(char):
            raise FilterError(f"{quote_rune(char)}: invalid rune in pattern")
    # Several stars mean what one means, and would cost time on names that don't match.
    return re.sub(r"\*+", "[-.0-9a-z]*", name.replace(".", r"\."))


def names(get: Callable[[Flow], Iterable[str]]) -> Build:
    """One of the record's names fits one of the patterns."""

    def build(values: Iterable[str], _: FlowFilter) -> Match:
        found = re.compile("|".join(_pattern(text) for text in values)).fullmatch
        return lambda flow: any(map(found, get(flow)))

    return build


_ANY_NAME = r"[-0-9_a-z]+(?:\.[-0-9_a-z]+)*"


def node_name(values: Iterable[str], _: FlowFilter) -> Match:
    """``[cluster/]node``; a record that names no cluster is of ``default``."""
    parts = []
    for text in values:
        if not text:
            raise FilterError("empty pattern")
        elements = text.split("/")
        if len(elements) > 2:
            raise FilterError("too many slashes in pattern")
        parts.append("/".join(_pattern(e) if e else _ANY_NAME for e in (["", *elements])[-2:]))
    found = re.compile("|".join(parts)).fullmatch
    known: dict[str, bool] = {"": False}

    def test(flow: Flow) -> bool:
        name = flow.node_name
        answer = known.get(name)
        if answer is None:
            if len(known) >= 10_000:
                known.clear()
            full = name if "/" in name else f"default/{name}"
            answer = known[name] = bool(name) and found(full) is not None
        return answer

    return test
