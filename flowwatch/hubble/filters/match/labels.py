"""Kubernetes label selectors over Cilium's labels: ``k8s:app in (a, b), !reserved:host, env=prod``.

A key without a source (``app``) is looked for in all sources. As in Kubernetes, ``!=`` and
``notin`` also hold where the key is missing. Facts: Cilium 1.20.2 pkg/hubble/filters/labels.go and
labelparser.go, pkg/labels; Kubernetes 0.36 apimachinery/pkg/labels/selector.go. Where Kubernetes
explains at length what a name may hold, we say it in our words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from flowwatch.gotext import quote
from flowwatch.hubble.filters.match.addresses import Prefix, parse_prefix
from flowwatch.hubble.filters.match.base import Build, FilterError, Match
from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow, FlowFilter

_REMEMBERED = 10_000


class Label(NamedTuple):
    """A label as Cilium takes it apart."""

    source: str
    key: str
    value: str
    prefix: Prefix | None = None
    """Of the source ``cidr`` only: what the key says."""


Selector = Callable[[Sequence[Label]], bool]


class SelectorError(ValueError):
    """A selector that doesn't parse."""


def parse_label(text: str, colon: str = ":") -> Label:
    """``source:key=value``; ``$name`` is ``reserved:name``."""
    if text.startswith("$"):
        source, rest = "reserved", text[1:]
    else:
        source, found, rest = text.partition(colon)
        if not found:
            source, rest = "", text
    key, equals, value = rest.partition("=")
    if equals and not key and source == "reserved":
        key, value = value, ""
    source = source or "unspec"
    if source != "cidr":
        return Label(source, key, value)
    try:
        # The colons of IPv6 are written as dashes.
        return Label(source, key, value, parse_prefix(key.replace("-", ":")))
    except ValueError:
        return Label(source, key, value)


def labels(get: Callable[[Flow], Iterable[str]], what: str) -> Build:
    """One of the selectors selects the record's labels."""

    def build(values: Iterable[str], _: FlowFilter) -> Match:
        try:
            selectors = [parse_selector(text) for text in values]
        except SelectorError as error:
            raise FilterError(f"invalid {what} label filter: {error}") from None
        # Endpoints repeat: remember what each set of labels came to.
        known: dict[tuple[str, ...], bool] = {}

        def test(flow: Flow) -> bool:
            texts = tuple(get(flow))
            answer = known.get(texts)
            if answer is None:
                if len(known) >= _REMEMBERED:
                    known.clear()
                taken = sorted((parse_label(text) for text in texts), key=lambda label: label.key)
                answer = known[texts] = any(selector(taken) for selector in selectors)
            return answer

        return test

    return build


def parse_selector(text: str) -> Selector:
    """A function from labels, sorted by key, to whether they are selected. Raises SelectorError."""
    tests = _Parser(_scan(_translated(text))).parse()
    return lambda found: all(test(found) for test in tests)


# Keys: Kubernetes' syntax has no colon, so Cilium writes source.key for source:key first.

_KEY = re.compile(r"([\s!]*)([^\s=!,]*)")


def _translated(text: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(text):
        found = _KEY.match(text, at)
        assert found is not None
        key = found[2] if ":" in found[2] else f"any:{found[2]}"
        out += [found[1], key.replace(":", ".", 1)]
        at = end = found.end()
        depth = 0
        while end < len(text):
            char = text[end]
            depth += (char == "(") - (char == ")")
            end += 1
            if char == "," and not depth:
                break
        out.append(text[at:end])
        at = end
    return "".join(out)


# Tokens: an operator, a word, or the end. NUL ends a text.

_TOKEN = re.compile(r"[ \t\r\n]*(?:(==|!=|[=!(),><])|([^ \t\r\n=!(),><]+))?")
_WORD, _END = "word", "end"


def _scan(text: str) -> list[tuple[str, str]]:
    """(kind, text) of each token; the kind of an operator is itself."""
    tokens: list[tuple[str, str]] = []
    text = text.partition("\0")[0]
    at = 0
    while True:
        found = _TOKEN.match(text, at)
        assert found is not None
        at = found.end()
        if found[1]:
            tokens.append((found[1], found[1]))
        elif found[2]:
            tokens.append((_WORD, found[2]))
        else:
            return [*tokens, (_END, "")]


_OPERATORS = ("=", "==", "!=", ">", "<", "in", "notin")


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def _look(self) -> tuple[str, str]:
        return self._tokens[min(self._at, len(self._tokens) - 1)]

    def _next(self) -> tuple[str, str]:
        token = self._look()
        self._at += 1
        return token

    def parse(self) -> list[Selector]:
        tests: list[Selector] = []
        kind, text = self._look()
        if kind == _END:
            return tests
        if kind not in (_WORD, "!"):
            raise SelectorError(f"found '{text}', expected: !, identifier, or 'end of string'")
        while True:
            try:
                tests.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            kind, text = self._next()
            if kind == _END:
                return tests
            if kind != ",":
                raise SelectorError(f"found '{text}', expected: ',' or 'end of string'")
            kind, text = self._look()
            if kind not in (_WORD, "!"):
                raise SelectorError(f"found '{text}', expected: identifier after ','")

    def _requirement(self) -> Selector:
        kind, key = self._next()
        absent = kind == "!"
        if absent:
            kind, key = self._next()
        if kind != _WORD:
            raise SelectorError(f"found '{key}', expected: identifier")
        _check_key(key)
        if absent or self._look()[0] in (_END, ","):
            return _has(key, absent)
        _, operator = self._next()
        if operator not in _OPERATORS:
            raise SelectorError(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        if operator in ("in", "notin"):
            return _equals(key, self._values(), operator == "notin")
        values = [self._value()]
        if operator in (">", "<"):
            return _compares(key, operator, values[0])
        return _equals(key, values, operator == "!=")

    def _value(self) -> str:
        if self._look()[0] in (_END, ","):
            return ""
        kind, text = self._next()
        if kind != _WORD:
            raise SelectorError(f"found '{text}', expected: identifier")
        return text

    def _values(self) -> list[str]:
        kind, text = self._next()
        if kind != "(":
            raise SelectorError(f"found '{text}' expected: '('")
        kind, text = self._look()
        if kind == ")":
            self._next()
            return [""]
        if kind not in (_WORD, ","):
            raise SelectorError(f"found '{text}', expected: ',', ')' or identifier")
        values: set[str] = set()
        while True:
            kind, text = self._next()
            if kind == _WORD:
                values.add(text)
                kind, text = self._look()
                if kind not in (",", ")"):
                    raise SelectorError(f"found '{text}', expected: ',' or ')'")
            elif kind == ",":
                if not values or self._look()[0] in (",", ")"):
                    values.add("")
            else:
                raise SelectorError(f"found '{text}', expected: ',', or identifier")
            if self._look()[0] == ")":
                self._next()
                return sorted(values)


# What a key and a value may be.

_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_MAX_NAME, _MAX_DOMAIN = 63, 253


def _check_key(key: str) -> None:
    domain, slash, name = key.rpartition("/")
    good = len(name) <= _MAX_NAME and _NAME.fullmatch(name) is not None
    if slash:
        good = good and len(domain) <= _MAX_DOMAIN and _DOMAIN.fullmatch(domain) is not None
    if not good:
        raise SelectorError(
            f"<nil>: Invalid value: {quote(key)}: not a label key "
            "(letters, digits, '-', '_' and '.', up to 63; before it an optional domain and '/')"
        )


def _check_values(key: str, values: Sequence[str]) -> None:
    problems = [
        f"values[{place}][{key}]: Invalid value: {quote(value)}: not a label value "
        "(letters, digits, '-', '_' and '.', up to 63)"
        for place, value in enumerate(values)
        if value and (len(value) > _MAX_NAME or not _NAME.fullmatch(value))
    ]
    if problems:
        raise SelectorError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")


# The tests.


def _lookup(key: str) -> Callable[[Sequence[Label]], str | None]:
    wanted = parse_label(key, ".")
    if wanted.source == "unspec":
        wanted = wanted._replace(source="any")

    def value(found: Sequence[Label]) -> str | None:
        for label in found:
            if wanted.source not in ("any", label.source):
                continue
            if wanted.source == "cidr":
                if _within(label.prefix, wanted.prefix):
                    return label.value
            elif label.key == wanted.key:
                return label.value
        return None

    return value


def _within(inner: Prefix | None, outer: Prefix | None) -> bool:
    if inner is None or outer is None or inner.bits != outer.bits or inner.free > outer.free:
        return False
    return inner.value >> (outer.free - inner.free) == outer.value


def _has(key: str, absent: bool) -> Selector:
    value = _lookup(key)
    return lambda found: (value(found) is None) is absent


def _equals(key: str, values: Sequence[str], negated: bool) -> Selector:
    _check_values(key, values)
    value = _lookup(key)
    wanted: frozenset[str | None] = frozenset(values)
    if negated:
        return lambda found: value(found) not in wanted
    return lambda found: value(found) in wanted


_INTEGER = re.compile("[-+]?[0-9]+", re.ASCII)
_INT64 = range(-(2**63), 2**63)


def _integer(text: str | None) -> int | None:
    if text is None or len(text) > 64 or not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if number in _INT64 else None


def _compares(key: str, operator: str, text: str) -> Selector:
    limit = _integer(text)
    if limit is None:
        raise SelectorError(
            f"values[0]: Invalid value: {quote(text)}: for 'Gt', 'Lt' operators, "
            "the value must be an integer"
        )
    _check_values(key, [text])
    value = _lookup(key)

    def test(found: Sequence[Label]) -> bool:
        number = _integer(value(found))
        if number is None:
            return False
        return number > limit if operator == ">" else number < limit

    return test
