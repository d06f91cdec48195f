"""Filters on what the proxy saw: HTTP requests and responses, DNS queries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from flowwatch import re2
from flowwatch.gotext import quote
from flowwatch.hubble.filters.match.base import FilterError, Match, remembering
from flowwatch.hubble.filters.match.uri import request_path
from flowwatch.hubble.wire.errors import TOO_COSTLY, NotAFlow
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


Search = Callable[[str], bool]


def _searches(values: Iterable[str], problem: Callable[[str, str], str]) -> list[Search]:
    """Regular expressions; ``problem`` says of one that can't be had, and why, what a server says."""
    found: list[Search] = []
    for text in values:
        try:
            expression = re2.compile(text)
            expression.search("")  # tells whether it is too large
        except re2.RegexError as error:
            raise FilterError(problem(text, str(error))) from None
        except re2.TooCostly as error:
            raise FilterError(f"{error}: smaller counts in braces help") from None
        found.append(_counted(expression))
    return found


def _counted(expression: re2.Expression) -> Search:
    """A record on which it can't be tried is none that could be read, and is counted so."""

    def search(text: str) -> bool:
        try:
            return expression.search(text)
        except re2.TooCostly as error:
            raise NotAFlow(TOO_COSTLY, str(error)) from None

    return remembering(search)


def _http(what: str) -> Callable[[str, str], str]:
    return lambda text, error: f"invalid {what} filter: {text}: {error}"


def url(values: Iterable[str], one: FlowFilter) -> Match:
    """A regular expression (RE2), anywhere in the URL."""
    _need_l7(one, "url")
    # Upstream's error speaks of the path here too.
    searches = _searches(values, _http("http url"))

    def test(flow: Flow) -> bool:
        text = flow.l7.http.url
        return bool(text) and any(search(text) for search in searches)

    return test


def path(values: Iterable[str], one: FlowFilter) -> Match:
    """A regular expression (RE2), anywhere in the decoded path; a URL that is none never matches."""
    _need_l7(one, "path")
    searches = _searches(values, _http("http path"))

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
    refused = "invalid DNS query filter: failed to compile regexp: "
    searches = _searches(values, lambda _, error: refused + error)

    def test(flow: Flow) -> bool:
        if flow.l7.WhichOneof("record") != "dns":
            return False
        query = flow.l7.dns.query
        return any(search(query) for search in searches)

    return test
