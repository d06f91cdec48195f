"""DNS names in policies: ``matchName``, ``matchPattern``, ``domainNames``.

From Cilium 1.20, pkg/fqdn/matchpattern, pkg/fqdn/dns and pkg/policy/api/fqdn.go: names are compared in lower
case with their final dot; ``*`` stands for letters of one label, ``**.`` at the very start for one or more
labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from flowwatch.goyaml.nodes import Value
from flowwatch.re2 import Stars

_NAME = re.compile(r"[-a-zA-Z0-9_.]+\Z")
_PATTERN = re.compile(r"[-a-zA-Z0-9_.*]+\Z")
_EVERY = re.compile(r"\*+\.?\Z")
_DEEP = re.compile(r"\*{2,}\.")
_MAX_LENGTH = 255
_LETTERS = "-a-z0-9_."
_NAMES = 1 << 16
"""Answers remembered."""


@dataclass(frozen=True, slots=True)
class NameRule:
    """One name or pattern of a policy; ``exact`` tells which."""

    text: str
    exact: bool

    @property
    def every(self) -> bool:
        """Whether it means all names."""
        return not self.exact and _EVERY.match(self.text) is not None

    def matches(self, name: str) -> bool:
        """Whether a DNS name (with or without its final dot, any case) is meant."""
        # No name is longer, but text from the network may be; such isn't worth remembering.
        answer = _matches if len(name) <= _MAX_LENGTH else _matches.__wrapped__
        return answer(self.text, self.exact, name)

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=_NAMES)
def _matches(text: str, exact: bool, name: str) -> bool:
    return _test(text, exact)(full(name))


def full(name: str) -> str:
    """A DNS name as all that are the same are written."""
    # Names are ASCII: what lies beyond has no lower case that Cilium would meet.
    name = name.lower() if name.isascii() else name
    return name if name.endswith(".") else f"{name}."


@lru_cache(maxsize=_NAMES)
def _test(text: str, exact: bool) -> Callable[[str], bool]:
    wanted = full(text)
    if exact:
        return lambda name: name == wanted
    if _EVERY.match(text):
        below = Stars("", apart=".", allowed=_LETTERS, below=True).matches
        return lambda name: name == "." or below(name)
    if deep := _DEEP.match(wanted):
        return Stars(wanted[deep.end() :], apart=".", allowed=_LETTERS, below=True).matches
    return Stars(wanted, apart=".", allowed=_LETTERS).matches


def read_name(value: Value) -> NameRule | None:
    """An item of ``toFQDNs`` or ``rules.dns``; None for ``{}``, which names nothing.

    Raises:
        DocumentError: as Cilium refuses it (FQDNSelector.sanitize).
    """
    fields = value.given()
    name = fields["matchName"].text() if "matchName" in fields else ""
    pattern = fields["matchPattern"].text() if "matchPattern" in fields else ""
    if name and pattern:
        raise value.fault("only one of MatchName or MatchPattern is allowed in an FQDNSelector")
    if name:
        return exact_name(name, value)
    return name_pattern(pattern, value) if pattern else None


def valid_name(name: str) -> bool:
    """Whether a ``matchName`` can be ``name``: what the API server and Cilium both take."""
    return (
        len(name) <= _MAX_LENGTH and _NAME.match(name) is not None and name.strip(".") == name != ""
    )


def exact_name(name: str, value: Value) -> NameRule:
    """A ``matchName``. Raises DocumentError."""
    if not _NAME.match(name):
        raise value.fault(
            f'Invalid characters in MatchName: "{name}". '
            "Only 0-9, a-z, A-Z and ., -, _ characters are allowed"
        )
    return NameRule(name, exact=True)


def name_pattern(pattern: str, value: Value) -> NameRule:
    """A ``matchPattern``. Raises DocumentError."""
    if not _PATTERN.match(pattern):
        raise value.fault(
            f'Invalid characters in MatchPattern: "{pattern}". '
            "Only 0-9, a-z, A-Z and ., -, _ and * characters are allowed"
        )
    if len(pattern) > _MAX_LENGTH:
        raise value.fault(f'Invalid MatchPattern: "{pattern[:40]}…" is longer than 255 characters')
    return NameRule(pattern, exact=False)
