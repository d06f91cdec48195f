"""By what a rule on DNS names misses a name: its apex, a label too many, a resolver's search domain."""

from __future__ import annotations

import re
from collections.abc import Iterable

from flowwatch.policy.names import NameRule
from flowwatch.re2 import Stars

_SEARCHED = re.compile(r"(?:[^.]+\.)?svc\..+|.+\.(?:local|internal)|cluster\.local")
"""What resolvers in a cluster append to a name: the domains of Kubernetes, and those of nodes in clouds."""
_LONGEST = 255
_LETTERS = "-a-z0-9_."
_NONE = "/"  # No name has it: then a star stands for dots, too.


def missed_name(rule: NameRule, name: str) -> str:
    """Why a pattern that a name nearly matches doesn't match it, in words; else ""."""
    pattern = rule.text.lower().rstrip(".")
    stars = len(pattern) - len(pattern.lstrip("*"))
    base, asked = pattern[stars:], name.rstrip(".").lower()
    if rule.exact:
        return ""
    if not stars or not base.startswith("."):
        return f"{rule}: * stands for a part of one label" if _spans_labels(pattern, asked) else ""
    if asked == base[1:]:
        return f"{rule}, which is names below {asked}; {asked} itself needs a matchName"
    if asked.endswith(base) and stars == 1:
        return f"{rule}: * is one label; {asked} needs **{base} (Cilium 1.19 on)"
    return ""


def _spans_labels(pattern: str, name: str) -> bool:
    """Whether a name would match, if ``*`` stood for dots as well."""
    if "*" not in pattern or len(name) > _LONGEST:
        return False
    return Stars(pattern, apart=_NONE, allowed=_LETTERS).matches(name)


def searched(rules: Iterable[NameRule], name: str) -> tuple[str, str]:
    """The name that a rule allows, and the search domain behind it, where a lookup is of both; else two "".

    Cilium's DNS proxy refuses such a lookup like any other (Documentation/security/policy/layer7).
    """
    rules, name = tuple(rules), name.rstrip(".")
    if len(name) > _LONGEST:
        return "", ""
    for at in (at for at, letter in enumerate(name) if letter == "."):
        meant, domain = name[:at], name[at + 1 :]
        if _SEARCHED.fullmatch(domain.lower()) and any(one.matches(meant) for one in rules):
            return meant, domain
    return "", ""


def missed_lookup(rules: Iterable[NameRule], name: str) -> str:
    """By what a refused lookup misses, in words to be put behind it; "" where nothing is close."""
    rules = tuple(rules)
    meant, domain = searched(rules, name)
    if meant:
        return (
            f" ({meant}, which is allowed, with the search domain {domain}: a resolver that takes the "
            "refusal for an answer never asks for the name itself; tofqdns-dns-reject-response-code: "
            "nameError lets it go on)"
        )
    near = next((words for rule in rules if (words := missed_name(rule, name))), "")
    return f" (closest: {near})" if near else ""
