"""What proxies let pass by two sets of rules: DNS names exactly, HTTP rules as far as a request shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from flowwatch.policy.difference.names import classes
from flowwatch.policy.difference.pods import TooMany
from flowwatch.policy.l7 import HttpRule, Layer7Rules

Rules = frozenset[Layer7Rules]
_PLAIN = re.compile(r"/[-A-Za-z0-9/._~]*\Z")
_UNCLEAR = "may differ: {} can't be compared exactly"


@dataclass(frozen=True, slots=True)
class ProxyChange:
    """How two sets of rules differ."""

    words: str
    certain: bool = True
    """Whether something is known to pass by one alone."""


def canonical(rules: Iterable[Layer7Rules]) -> Rules:
    """Without lines, and without HTTP rules that others of the same place contain."""
    found: dict[tuple[str, str, bool], list[Layer7Rules]] = {}
    for one in rules:
        found.setdefault((one.kind, one.tls, one.written), []).append(one)
    return frozenset(
        replace(
            group[0],
            http=tuple(sorted(_fewest(r for one in group for r in one.http), key=str)),
            dns=tuple(sorted({name for one in group for name in one.dns}, key=str)),
        )
        for group in found.values()
    )


def _fewest(rules: Iterable[HttpRule]) -> set[HttpRule]:
    every = {
        replace(one, line=0, headers=tuple(sorted(set(one.headers), key=str))) for one in rules
    }
    return {one for one in every if not any(_contains(other, one) for other in every - {one})}


def _contains(wide: HttpRule, narrow: HttpRule) -> bool:
    """Whether all that ``narrow`` lets pass ``wide`` does, as far as that shows."""
    parts = ("path", "method", "host")
    return set(wide.headers) <= set(narrow.headers) and all(
        getattr(wide, part) in ("", getattr(narrow, part)) for part in parts
    )


def words(rules: Rules) -> str:
    """The rules in words."""
    found = []
    for one in sorted(rules, key=lambda one: one.kind):
        if one.kind == "dns":
            found.append(f"DNS {', '.join(map(str, one.dns)) or 'no name'}")
        elif one.kind == "http":
            found.append(f"HTTP {'; '.join(map(str, one.http))}")
        if one.tls:
            found.append("server names, TLS or a listener")
    return ", ".join(found)


def compare(old: Rules, new: Rules) -> ProxyChange | None:
    """How they differ; None when they let pass the same."""
    if old == new:
        return None
    kinds = {one.kind for one in old} | {one.kind for one in new}
    if len(kinds) > 1 or "tls" in kinds or {o.tls for o in old} != {n.tls for n in new}:
        told = f"{words(old) or 'no rules'} → {words(new) or 'no rules'}"
        return ProxyChange(f"{_UNCLEAR.format('these rules of proxies')} ({told})", certain=False)
    return _names(old, new) if kinds == {"dns"} else _requests(old, new)


def _names(old: Rules, new: Rules) -> ProxyChange | None:
    sides = [sorted({name for one in side for name in one.dns}, key=str) for side in (old, new)]
    rules = [*sides[0], *sides[1]]
    mine = (1 << len(sides[0])) - 1
    try:
        found = classes(rules)
    except TooMany:
        return ProxyChange(_UNCLEAR.format("so many patterns of DNS names"), certain=False)
    lost = [name for bits, name in found.items() if bits & mine and not bits & ~mine]
    won = [name for bits, name in found.items() if not bits & mine and bits & ~mine]
    told = [
        f"lookups of {one[0]}, for one, pass {what}"
        for one, what in ((won, "newly"), (lost, "no more"))
        if one
    ]
    if not told:
        return None
    return ProxyChange(f"{', '.join(told)} ({words(old)} → {words(new)})")


def _requests(old: Rules, new: Rules) -> ProxyChange:
    rules = [rule for one in (*old, *new) for rule in one.http]
    for rule in rules:
        for path in _paths(rule):
            method = rule.method if rule.method.isalpha() else "GET"
            host = rule.host.replace("\\", "") if rule.host else "host.example"
            headers = [(one.name, one.value or "x") for one in rule.headers]
            answers = [
                _passes(side, method, f"http://{host}{path}", headers) for side in (old, new)
            ]
            if set(answers) == {True, False}:
                given = f" with {', '.join(map(str, rule.headers))}" if rule.headers else ""
                passes = "passes newly" if answers[1] is True else "passes no more"
                return ProxyChange(f"{method} http://{host}{path}{given} {passes}")
    told = f"{words(old)} → {words(new)}"
    return ProxyChange(f"{_UNCLEAR.format('HTTP rules')} ({told})", certain=False)


def _passes(side: Rules, method: str, url: str, headers: list[tuple[str, str]]) -> bool | str:
    answers = [one.passes_request(method, url, headers) for one in side]
    return True if True in answers else next((one for one in answers if one), False)


def _paths(rule: HttpRule) -> list[str]:
    """Paths that its expression may match; the engine says whether it does."""
    if not rule.path:
        return ["/", "/other/path"]
    plain = rule.path.replace("\\", "")
    made = [plain, *(plain.replace(star, by) for star in (".*", ".+") for by in ("x", "x/y"))]
    return list(dict.fromkeys(one for one in made if _PLAIN.match(one)))
