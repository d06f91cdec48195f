"""Filters on what the proxy saw: HTTP requests and responses, DNS queries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from flowwatch.gotext import quote
from flowwatch.hubble.filters.match.base import FilterError, Match
from flowwatch.hubble.filters.match.regex import GoRegexError, compile_go
from flowwatch.hubble.filters.match.uri import request_path
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow, FlowFilter

L7_TYPE = 129
"""MessageTypeAccessLog."""

_STATUS = re.compile(r"[1-5][0-9]{2}")
_STATUS_PREFIX = re.compile(r"[1-5][0-9]?\+")


def _need_l7(one: FlowFilter, what: str) -> None:
    if one.event_type and all(kind.type != L7_TYPE for kind in one.event_type):
        raise FilterError(
            f"filtering by http {what} requires the event type filter to only match 'l7' events"
        )


def status(values: Iterable[str], one: FlowFilter) -> Match:
    """``404`` exactly, ``4+`` and ``40+`` by their start; a request has no status."""
    _need_l7(one, "status code")
    full: set[str] = set()
    starts: tuple[str, ...] = ()
    for text in values:
        if _STATUS.fullmatch(text):
            full.add(text)
        elif _STATUS_PREFIX.fullmatch(text):
            starts += (text[:-1],)
        else:
            problem = f"invalid status code prefix: {quote(text)}"
            raise FilterError(f"invalid http status code filter: {problem}")

    def test(flow: Flow) -> bool:
        code = flow.l7.http.code
        if not code:
            return False
        digits = f"{code:03d}"
        return digits in full or digits.startswith(starts)

    return test


def method(values: Iterable[str], one: FlowFilter) -> Match:
    """In any case."""
    _need_l7(one, "method")
    wanted = {value.casefold() for value in values}

    def test(flow: Flow) -> bool:
        name = flow.l7.http.method
        return bool(name) and name.casefold() in wanted

    return test


Search = Callable[[str], object]


def _regexes(values: Iterable[str], what: str) -> list[Search]:
    found: list[Search] = []
    for text in values:
        try:
            found.append(compile_go(text).search)
        except GoRegexError as error:
            raise FilterError(f"invalid {what} filter: {text}: {error}") from None
    return found


def url(values: Iterable[str], one: FlowFilter) -> Match:
    """A regular expression (RE2), anywhere in the URL."""
    _need_l7(one, "url")
    # Upstream's error speaks of the path here too.
    searches = _regexes(values, "http url")

    def test(flow: Flow) -> bool:
        text = flow.l7.http.url
        return bool(text) and any(search(text) for search in searches)

    return test


def path(values: Iterable[str], one: FlowFilter) -> Match:
    """A regular expression (RE2), anywhere in the decoded path; a URL that is none never matches."""
    _need_l7(one, "path")
    searches = _regexes(values, "http path")

    def test(flow: Flow) -> bool:
        text = flow.l7.http.url
        found = request_path(text) if text else None
        return found is not None and any(search(found) for search in searches)

    return test


def header(values: Iterable[flow_pb2.HTTPHeader], one: FlowFilter) -> Match:
    """Name and value, exact."""
    _need_l7(one, "headers")
    wanted = {(value.key, value.value) for value in values}
    return lambda flow: any((has.key, has.value) in wanted for has in flow.l7.http.headers)


def dns_query(values: Iterable[str], _: FlowFilter) -> Match:
    """A regular expression (RE2), anywhere in the name that was asked for."""
    searches: list[Search] = []
    for text in values:
        try:
            searches.append(compile_go(text).search)
        except GoRegexError as error:
            problem = f"failed to compile regexp: {error}"
            raise FilterError(f"invalid DNS query filter: {problem}") from None

    def test(flow: Flow) -> bool:
        if flow.l7.WhichOneof("record") != "dns":
            return False
        query = flow.l7.dns.query
        return any(search(query) for search in searches)

    return test
