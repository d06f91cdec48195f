"""Kubernetes label selectors over Cilium's labels: ``k8s:app in (a, b), !reserved:host, env=prod``.

A key without a source (``app``) is looked for in all sources. As in Kubernetes, ``!=`` and
``notin`` also hold where the key is missing. Facts: Cilium 1.20.2 pkg/hubble/filters/labels.go and
labelparser.go, Kubernetes' labels.Parse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

Selector = Callable[[Sequence[str]], bool]

_KEY = r"(?P<key>[^\s=!,<>()]+)"
_REQUIREMENT = re.compile(
    rf"\s*(?:(?P<absent>!)\s*{_KEY.replace('key', 'gone')}"
    rf"|{_KEY}\s*(?:(?P<op>==|=|!=|>|<)\s*(?P<value>[^\s,()]*)"
    r"|(?:\s(?P<set>in|notin)\s*\((?P<values>[^()]*)\)))?)\s*(?:,|$)"
)
# Kubernetes: a name of up to 63 characters, before it an optional DNS subdomain and a slash.
_NAME = re.compile(r"(?:[a-z0-9.-]{1,253}/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


class SelectorError(ValueError):
    """A selector that doesn't parse."""


def parse_selector(text: str) -> Selector:
    """A function from labels (``source:key=value``) to whether they match. Raises SelectorError."""
    tests: list[Selector] = []
    at = 0
    while at < len(text):
        found = _REQUIREMENT.match(text, at)
        if found is None or found.end() == at:
            raise SelectorError(f"unable to parse requirement: {json.dumps(text[at:])}")
        tests.append(_requirement(found))
        at = found.end()
    if text.rstrip().endswith(","):
        raise SelectorError("found '', expected: identifier after ','")
    return lambda labels: all(test(labels) for test in tests)


def _requirement(found: re.Match[str]) -> Selector:
    source, key = _key(found["key"] or found["gone"])

    def value_of(labels: Sequence[str]) -> str | None:
        for label in labels:
            name, _, value = label.partition("=")
            origin, colon, rest = name.partition(":")
            if not colon:
                origin, rest = "unspec", name
            if rest == key and source in ("any", origin):
                return value
        return None

    if found["absent"]:
        return lambda labels: value_of(labels) is None
    operator = found["op"] or found["set"]
    if operator is None:
        return lambda labels: value_of(labels) is not None
    if operator in (">", "<"):
        return _compare(operator, found["value"], value_of)
    wanted = _values(found)
    if operator in ("!=", "notin"):
        return lambda labels: value_of(labels) not in wanted
    return lambda labels: value_of(labels) in wanted


def _key(text: str) -> tuple[str, str]:
    source, colon, key = text.partition(":")
    if not colon:
        source, key = "any", text
    # Cilium hands the key to Kubernetes as source.key.
    if not _NAME.fullmatch(f"{source}.{key}"):
        raise SelectorError(f"key: Invalid value: {json.dumps(f'{source}.{key}')}")
    return source, key


def _values(found: re.Match[str]) -> frozenset[str]:
    texts = found["values"].split(",") if found["set"] else [found["value"]]
    values = frozenset(text.strip() for text in texts)
    for value in values:
        if not _VALUE.fullmatch(value):
            raise SelectorError(f"values[0]: Invalid value: {json.dumps(value)}")
    return values


def _compare(operator: str, text: str, value_of: Callable[[Sequence[str]], str | None]) -> Selector:
    try:
        limit = int(text)
    except ValueError:
        raise SelectorError(
            f"values[0]: Invalid value: {json.dumps(text)}: for 'Gt', 'Lt' operators, "
            "the value must be an integer"
        ) from None

    def test(labels: Sequence[str]) -> bool:
        value = value_of(labels)
        try:
            number = int(value or "")
        except ValueError:
            return False
        return number > limit if operator == ">" else number < limit

    return test
