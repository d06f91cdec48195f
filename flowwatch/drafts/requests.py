"""What was asked of servers, where a draft is to say it: names of DNS, methods and paths of HTTP.

A proxy's expressions are anchored, and its path has the query (Cilium 1.20, pkg/envoy/policy). What a query
said is never drafted: it is each request's own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from flowwatch.audits.unrecorded import redacted
from flowwatch.flows.model import Flow, Verdict
from flowwatch.policy.names import valid_name
from flowwatch.policy.requests import requested

MOST_PATHS = 40
"""Paths of one peer and port from which on the rule is for their methods alone: ids make paths endless."""
MOST_NAMES = 200
"""Names that one owner may look up by themselves; past it, all."""

_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


class Request(NamedTuple):
    """One kind of request."""

    method: str
    paths: tuple[str, ...]
    """As it may have been sent: escaped or not; () where nobody knows."""
    query: bool = False
    """Whether it had any, or may have had."""

    @property
    def url(self) -> str:
        """One that is so."""
        return f"//host{self.paths[0] if self.paths else '/'}{'?q=1' if self.query else ''}"


class HttpRule(NamedTuple):
    """One rule; expressions. An empty path is any."""

    method: str
    path: str = ""


def request_of(flow: Flow) -> Request | None:
    """The request of a record that a proxy let pass; None of any other."""
    layer7 = flow.l7
    if layer7 is None or not layer7.http_method or flow.verdict == Verdict.DROPPED:
        return None
    read = requested(layer7.http_url)
    bare = tuple(path.partition("?")[0] for path in read.paths)
    query = any("?" in path for path in read.paths) or redacted(layer7)
    return Request(layer7.http_method, tuple(dict.fromkeys(bare)), query)


def lookup_of(flow: Flow) -> str:
    """The name of a lookup that a proxy let pass, as policies have it; "" of any other record."""
    if flow.l7 is None or not flow.l7.dns_query or flow.verdict == Verdict.DROPPED:
        return ""
    name = flow.l7.dns_query.removesuffix(".").lower()
    return name if valid_name(name) else ""


def folded(seen: Iterable[Request]) -> tuple[HttpRule, ...]:
    """The rules that let just these pass: a path each, its methods together; of too many the methods."""
    methods: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    queries: set[tuple[str, ...]] = set()
    for one in seen:
        methods[one.paths].add(one.method)
        if one.query:
            queries.add(one.paths)
    if () in methods or len(methods) > MOST_PATHS:
        return (HttpRule(_either({name for names in methods.values() for name in names})),)
    return tuple(
        HttpRule(_either(names), _either(paths) + (r"(\?.*)?" if paths in queries else ""))
        for paths, names in sorted(methods.items())
    )


def _either(texts: Iterable[str]) -> str:
    """An expression for one of several texts; () keep it whole where more follows."""
    found = sorted(_SPECIAL.sub(r"\\\g<0>", text) for text in texts)
    return found[0] if len(found) == 1 else f"({'|'.join(found)})"


def words(rules: Iterable[HttpRule], shown: int, attempts: int) -> Iterator[str]:
    """What is to be known of the rules for requests, of so many attempts that showed any."""
    if any(not rule.path for rule in rules):
        yield f"any path: more than {MOST_PATHS} were asked for, or not all are recorded"
    if shown < attempts:
        yield f"requests were seen in {shown:,} of {attempts:,} attempts: what the others asked isn't known"
