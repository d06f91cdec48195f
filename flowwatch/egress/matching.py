"""The language of filters asked of one attempt: what ``export --filter`` lists.

Rows are asked by :mod:`flowwatch.egress.select`, a column at a time; a test holds both to the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flowwatch.egress.filters import Atom, Term, Value, read_filter
from flowwatch.egress.table import PROTOCOL_NUMBER
from flowwatch.egress.words import (
    NO_RULE,
    PROXY_ERROR,
    PROXY_REFUSED,
    WOULD_DENY,
    Word,
    message,
)
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.model import PolicyRef


def matcher(text: str) -> Callable[[Attempt], bool]:
    """Whether an attempt is what ``text`` asks for. Raises BadFilter."""
    terms = read_filter(text)
    return lambda attempt: all(_term(term, attempt) for term in terms)


def asks_for(text: str, key: str) -> bool:
    """Whether a filter asks for a key of flowwatch.egress.filters.KEYS. Raises BadFilter."""
    return any(atom.key == key for term in read_filter(text) for atom in term.atoms)


def _term(term: Term, attempt: Attempt) -> bool:
    return any(_atom(atom, attempt) for atom in term.atoms) is term.wanted


def _atom(atom: Atom, attempt: Attempt) -> bool:
    if not atom.key:
        return _word(atom.text, attempt)
    if not atom.text:
        return True
    ports = atom.ports
    if ports is not None:
        number = PROTOCOL_NUMBER.get(attempt.protocol, 0)
        if not ports.low <= attempt.port <= ports.high or not ports.protocols()[number]:
            return False
    return atom.key == "port" or _HOLDS[atom.key](atom.value, attempt)


def _pods(attempt: Attempt) -> Iterator[str]:
    for name in (attempt.pod, attempt.workload):
        if name:
            yield name
            yield f"{attempt.namespace}/{name}"


def _peers(attempt: Attempt) -> tuple[str, ...]:
    return attempt.peer, attempt.peer_address


def _policies(attempt: Attempt) -> Iterator[str]:
    yield from (_named(one) for one in (*attempt.allowed_by, *attempt.denied_by))
    yield from (one.name for one in (*attempt.allowed_by, *attempt.denied_by))
    if attempt.attribution:
        yield attempt.attribution


def _named(policy: PolicyRef) -> str:
    return f"{policy.namespace}/{policy.name}".removeprefix("/")


def _whys(attempt: Attempt) -> Iterator[str]:
    if attempt.outcome == "dropped":
        yield attempt.drop_reason
        if attempt.drop_reason == "POLICY_DENIED" and not attempt.denied_by:
            yield NO_RULE
    if attempt.detail:
        yield from (attempt.detail, f"{PROXY_REFUSED} {attempt.detail}")
    if attempt.attribution:
        yield attempt.attribution
    if attempt.waited:
        yield "late"
    if attempt.answer in ("refused", "unreachable"):
        yield attempt.answer
    odd = {"audited": WOULD_DENY, "error": PROXY_ERROR}.get(attempt.outcome)
    if odd:
        yield odd


def _verdict(value: Value, attempt: Attempt) -> bool:
    return value.text == {"error": "errors"}.get(attempt.outcome, attempt.outcome)


_HOLDS: dict[str, Callable[[Value, Attempt], bool]] = {
    "ns": lambda value, attempt: value.of(attempt.namespace),
    "pod": lambda value, attempt: any(map(value.of, _pods(attempt))),
    "to": lambda value, attempt: any(map(value.of, _peers(attempt))),
    "why": lambda value, attempt: any(map(value.of, _whys(attempt))),
    "policy": lambda value, attempt: any(map(value.of, _policies(attempt))),
    # An attempt knows no labels: who asks for them is told so.
    "label": lambda value, attempt: False,
    "staged": lambda value, attempt: False,
    "verdict": _verdict,
}


def _word(text: str, attempt: Attempt) -> bool:
    word = Word(text)
    pod = f"{attempt.namespace}/{attempt.pod} {attempt.workload}"
    told = message(attempt.protocol, attempt.port)
    shown = (pod, *_peers(attempt), told, *_whys(attempt), *_policies(attempt))
    if any(word.within(one) for one in shown):
        return True
    sides = (attempt.allowed_by, attempt.denied_by)
    return word.in_policies(sides) or _at_port(word, attempt, pod)


def _at_port(word: Word, attempt: Attempt, pod: str) -> bool:
    if word.port != attempt.port or word.port is None:
        return False
    if not word.protocols()[PROTOCOL_NUMBER.get(attempt.protocol, 0)]:
        return False
    hosts = (pod,) if attempt.direction == "ingress" else _peers(attempt)
    return not word.has_host or any(map(word.host_within, hosts))
