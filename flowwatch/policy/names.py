"""DNS names in policies: ``matchName``, ``matchPattern``, ``domainNames``.

From Cilium 1.20, pkg/fqdn/matchpattern and pkg/policy/api/fqdn.go: names are compared in lower case with
their final dot; ``*`` stands for letters of one label, ``**.`` at the very start for one or more labels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from flowwatch.goyaml.nodes import Value

_NAME = re.compile(r"[-a-zA-Z0-9_.]+\Z")
_PATTERN = re.compile(r"[-a-zA-Z0-9_.*]+\Z")
_MAX_LENGTH = 255
_LABEL = "[-a-zA-Z0-9_]"
_FIELDS = frozenset({"matchName", "matchPattern"})


@dataclass(frozen=True, slots=True)
class NameRule:
    """One name or pattern of a policy; ``exact`` tells which."""

    text: str
    exact: bool

    def matches(self, name: str) -> bool:
        """Whether a DNS name (with or without its final dot, any case) is meant."""
        return _compiled(self).match(name.lower().rstrip(".")) is not None

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=65536)
def _compiled(rule: NameRule) -> re.Pattern[str]:
    text = rule.text.lower().strip().rstrip(".")
    if rule.exact:
        return re.compile(re.escape(text) + r"\Z")
    if not text.strip("*"):
        return re.compile(rf"({_LABEL}+(\.{_LABEL}+)*)?\Z")
    start = ""
    if deep := re.match(r"\*{2,}\.", text):
        start, text = rf"{_LABEL}+(\.{_LABEL}+)*\.", text[deep.end() :]
    text = re.sub(r"\*+", "*", text)
    return re.compile(
        start + "".join(_LABEL + "*" if c == "*" else re.escape(c) for c in text) + r"\Z"
    )


def read_name(value: Value) -> NameRule | None:
    """An item of ``toFQDNs`` or ``rules.dns``; None for ``{}``, which names nothing.

    Raises:
        DocumentError: as Cilium refuses it (FQDNSelector.sanitize).
    """
    fields = value.known(_FIELDS)
    name = fields["matchName"].text() if "matchName" in fields else ""
    pattern = fields["matchPattern"].text() if "matchPattern" in fields else ""
    if name and pattern:
        raise value.fault("only one of MatchName or MatchPattern is allowed in an FQDNSelector")
    if name:
        if not _NAME.match(name):
            raise value.fault(
                f'Invalid characters in MatchName: "{name}". '
                "Only 0-9, a-z, A-Z and ., -, _ characters are allowed"
            )
        return NameRule(name, exact=True)
    if not pattern:
        return None
    if not _PATTERN.match(pattern):
        raise value.fault(
            f'Invalid characters in MatchPattern: "{pattern}". '
            "Only 0-9, a-z, A-Z and ., -, _ and * characters are allowed"
        )
    if len(pattern) > _MAX_LENGTH:
        raise value.fault(f'Invalid MatchPattern: "{pattern[:40]}…" is longer than 255 characters')
    return NameRule(pattern, exact=False)
