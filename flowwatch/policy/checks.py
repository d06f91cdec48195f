"""The single checks that ``schema.json`` names: patterns, formats, bounds; together.py has the others.

A check answers what is wrong with a value of the right type, or None. Whatever the policies' readers refuse
in Cilium's words isn't asked here again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any, TypeAlias

from flowwatch import re2
from flowwatch.goyaml.nodes import Value, did_you_mean
from flowwatch.policy.labels import valid_key, valid_value
from flowwatch.policy.together import RULES

Test: TypeAlias = Callable[[Value], "str | None"]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*\Z")
_MAX_LABEL, _MAX_NAME, _MAX_PORT_NAME, _MAX_PORT = 63, 253, 15, 65535
_TOLD = 60
"""Characters of a value that a message repeats."""

_WANTED = {
    r"^([-a-zA-Z0-9_]+[.]?)+$": "a DNS name",
    r"^([-a-zA-Z0-9_*]+[.]?)+$": "a DNS name or a pattern of one",
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$": "a name",
    r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$": "the value of a label",
    r"^\PC*$": "printable text",
}
"""What patterns stand for, in words."""


def _told(value: Value) -> str:
    text = str(value.number_or_text())
    return f'"{text[:_TOLD]}{"…" if len(text) > _TOLD else ""}"'


def _pattern(pattern: str) -> Test:
    """The check for a string's ``pattern``; numbers (of an int-or-string) are never asked."""

    def test(value: Value) -> str | None:
        text = value.number_or_text()
        if isinstance(text, int):
            return None
        try:
            if re2.compile(pattern).search(text):
                return None
        except re2.TooCostly:
            return f"{len(text):,} characters are too many"
        return f"{_WANTED.get(pattern, pattern)} is wanted, not {_told(value)}"

    return test


def _keys(name: str) -> Test:
    """The check for the keys of a mapping."""
    fold = name == "annotation-key"

    def test(value: Value) -> str | None:
        for key in value.fields():
            if not valid_key(key.lower() if fold else key):
                return f'"{key[:_TOLD]}" can\'t be a key here'
        return None

    return test


def _form(fits: Callable[[str], Any], what: str, most: int = 0) -> Test:
    def test(value: Value) -> str | None:
        text = value.text()
        if most and len(text) > most:
            return f"at most {most} characters are wanted, not {len(text):,}"
        return None if fits(text) else f"{what} is wanted, not {_told(value)}"

    return test


def _optional(test: Test) -> Test:
    """Nothing is as good as absent."""
    return lambda value: test(value) if value.text() else None


def interface(text: str) -> IPv4Interface | IPv6Interface | None:
    """A block of addresses with the address it is written with; None if it is none."""
    try:
        return ip_interface(text) if "/" in text else None
    except ValueError:
        return None


def _cidr(value: Value) -> str | None:
    text = value.text()
    if "/" in text:
        return None  # what else is wrong Cilium says, too
    whole = 128 if ":" in text else 32
    return f"a block of addresses is wanted, not an address: {text[:_TOLD]}/{whole}"


def _network(value: Value) -> str | None:
    block = interface(value.text())
    if block is None:
        return None  # likewise
    if isinstance(block, IPv6Interface) and block.ip.ipv4_mapped:
        return f"{_told(value)} stands for IPv4 addresses: write them so"
    if block.ip != block.network.network_address:
        return f"{_told(value)} has bits behind the prefix: {block.network} has none"
    return None


def _port(value: Value) -> str | None:
    port = value.number_or_text()
    if isinstance(port, int):
        return None if 1 <= port <= _MAX_PORT else f"a port must be 1 to {_MAX_PORT}, not {port}"
    if port.isdigit():
        return f'a number is wanted: {port}, not "{port}"'
    if len(port) > _MAX_PORT_NAME or not _PORT_NAME.match(port):
        return f"a port's name is at most {_MAX_PORT_NAME} of a-z, 0-9 and single hyphens, not {_told(value)}"
    return None


def _begins_a_name(text: str) -> bool:
    """As maskTrailingDash (k8s.io/apimachinery, api/validation/generic.go): a hyphen may end it."""
    if len(text) > 1 and text.endswith("-"):
        text = text[:-2] + "a"
    return _SUBDOMAIN.match(text) is not None


_FORMATS: dict[str, Test] = {
    "cidr": _cidr,
    "dns-label": _optional(_form(_NAME.match, "a namespace (a-z, 0-9 and hyphens inside)", _MAX_LABEL)),
    "label-key": _form(valid_key, "a name like a label's key"),
    "label-value": _form(valid_value, "a label's value (at most 63 letters, digits and -_. inside)"),
    "network": _network,
    "port": _port,
    "prefix": _optional(
        _form(_begins_a_name, "the begin of a name", _MAX_NAME)
    ),
    "printable": _form(str.isprintable, "printable text"),
    "subdomain": _optional(_form(_SUBDOMAIN.match, "a name of a-z, 0-9, and - and . inside", _MAX_NAME)),
}  # fmt: skip


def _plural(count: int, one: str) -> str:
    return f"{count} {one}" + ("" if count == 1 else "s")


def _least(what: str, size: Callable[[Value], int]) -> Callable[[int], Test]:
    def bound(least: int) -> Test:
        return lambda value: (
            None if size(value) >= least else f"at least {_plural(least, what)} must be given"
        )

    return bound


def _most(what: str, size: Callable[[Value], int]) -> Callable[[int], Test]:
    def bound(most: int) -> Test:
        return lambda value: (
            None
            if (given := size(value)) <= most
            else f"at most {_plural(most, what)}, not {given:,}"
        )

    return bound


def _lowest(low: int) -> Test:
    return lambda value: None if value.integer() >= low else f"a number from {low} on is wanted"


def _highest(high: int) -> Test:
    return lambda value: None if value.integer() <= high else f"a number up to {high} is wanted"


def _enum(words: list[str]) -> Test:
    known = frozenset(words)
    listed = ", ".join(word or '""' for word in words)

    def test(value: Value) -> str | None:
        text = value.text()
        if text in known:
            return None
        near = did_you_mean(text, known)
        return f"one of {listed} is wanted, not {_told(value)}{near}"

    return test


def _required(names: list[str]) -> Test:
    def test(value: Value) -> str | None:
        given = value.given()
        return next((f"{name} must be given" for name in names if name not in given), None)

    return test


def _one_of(names: list[str]) -> Test:
    def test(value: Value) -> str | None:
        given = value.given().keys() & names
        return None if len(given) == 1 else f"exactly one of {_listed(names)} must be given"

    return test


def _any_of(names: list[str]) -> Test:
    def test(value: Value) -> str | None:
        return None if value.given().keys() & names else f"one of {_listed(names)} must be given"

    return test


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _unique(_: bool) -> Test:
    def test(value: Value) -> str | None:
        seen: set[str] = set()
        for one in value.items():
            text = one.text()
            if text in seen:
                return f'"{text[:_TOLD]}" is there twice'
            seen.add(text)
        return None

    return test


def _characters(value: Value) -> int:
    return len(value.text())


def _items(value: Value) -> int:
    return len(value.items())


def _fields(value: Value) -> int:
    return len(value.given())


_FACTS: dict[str, Callable[[Any], Test]] = {
    "any_of": _any_of,
    "enum": _enum,
    "max": _highest,
    "max_fields": _most("field", _fields),
    "max_items": _most("item", _items),
    "max_length": _most("character", _characters),
    "min": _lowest,
    "min_fields": _least("field", _fields),
    "min_items": _least("item", _items),
    "min_length": _least("character", _characters),
    "one_of": _one_of,
    "required": _required,
    "unique": _unique,
}
"""Facts of a type that make one check each."""


def tests(facts: dict[str, Any]) -> list[Test]:
    """The checks that the facts of a type ask for, in the order of the table."""
    found: list[Test] = []
    for fact, wanted in facts.items():
        if fact == "pattern":
            found.append(_pattern(wanted))
        elif fact == "keys":
            found.append(_keys(wanted))
        elif fact == "format":
            found.append(_FORMATS[wanted])
        elif fact == "rules":
            found += [RULES[rule] for rule in wanted]
        elif fact in _FACTS:
            found.append(_FACTS[fact](wanted))
    return found
