"""The DNS names that rules tell apart: the sets of rules that some name matches, with such a name.

Each pattern is a small automaton; all of them are walked together, letter by letter, once through each
state that they can be in. Letters that no rule names behave alike, and one stands for them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence

from flowwatch.policy.difference.pods import TooMany
from flowwatch.policy.names import NameRule

MOST = 100_000
"""States walked."""
_DEEP = re.compile(r"\*{2,}\.")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_"
_ANY_LABELS, _STAR = "**", "*"

Token = str
State = frozenset[int]


def classes(rules: Sequence[NameRule]) -> dict[int, str]:
    """By the set of rules, as bits: a name that they all match, and no other does. Raises TooMany."""
    exact = sorted({_full(rule.text) for rule in rules if "*" not in rule.text})
    found: dict[int, str] = {}
    for name in exact:
        found.setdefault(_matching(rules, name), name.rstrip("."))
    patterns = [rule for rule in rules if "*" in rule.text and not rule.exact]
    for name in _walk([_tokens(rule) for rule in patterns], exact, _alphabet(rules)):
        found.setdefault(_matching(rules, name), name.rstrip("."))
    return found


def _matching(rules: Sequence[NameRule], name: str) -> int:
    return sum(1 << at for at, rule in enumerate(rules) if rule.matches(name))


def _full(text: str) -> str:
    text = text.lower()
    return text if text.endswith(".") else f"{text}."


def _alphabet(rules: Sequence[NameRule]) -> str:
    """The letters that rules name, and one more."""
    named = {letter for rule in rules for letter in rule.text.lower()} - {"*", "."}
    other = next((letter for letter in _LETTERS if letter not in named), "")
    return other + "".join(sorted(named & set(_LETTERS)))


def _tokens(rule: NameRule) -> list[Token]:
    """Letters, ``*`` for any of one label, ``**`` for one label or more with their dots."""
    text = _full(rule.text)
    if rule.every:
        return [_ANY_LABELS]
    before: list[Token] = []
    if deep := _DEEP.match(text):
        before, text = [_ANY_LABELS], text[deep.end() :]
    return [*before, *re.sub(r"\*+", "*", text)]


def _closed(tokens: list[Token], at: set[int]) -> State:
    """With the places behind stars, which may stand for nothing."""
    for place in sorted(at):
        behind = place
        while behind < len(tokens) and tokens[behind] == _STAR:
            behind += 1
            at.add(behind)
    return frozenset(at)


def _step(tokens: list[Token], state: State, letter: str) -> State:
    after: set[int] = set()
    for place in state:
        token = tokens[place] if place < len(tokens) else ""
        if token == _ANY_LABELS:
            after.add(place)
            if letter == ".":
                after.add(place + 1)
        elif token == _STAR and letter != ".":
            after.add(place)
        elif token == letter:
            after.add(place + 1)
    return _closed(tokens, after)


def _walk(patterns: list[list[Token]], exact: list[str], letters: str) -> list[str]:
    """A name for each way in which patterns can match together, none of them in ``exact``."""
    begun = {name[:length] for name in exact for length in range(len(name) + 1)}
    start = tuple(_closed(tokens, {0}) for tokens in patterns)
    queue = deque([(start, "")])
    seen = {(start, "", "")}
    found: dict[tuple[bool, ...], str] = {}
    while queue:
        states, name = queue.popleft()
        if name.endswith(".") and name not in exact:
            ends = tuple(len(one) in state for one, state in zip(patterns, states, strict=True))
            found.setdefault(ends, name)
        inside = name != "" and not name.endswith(".")
        for letter in (*letters, "." if inside else ""):
            if not letter:
                continue
            after = tuple(
                _step(tokens, state, letter) for tokens, state in zip(patterns, states, strict=True)
            )
            longer = name + letter
            # Apart as long as it may become one of the exact names.
            key = (after, longer if longer in begun else "", "." if letter == "." else "a")
            if key not in seen:
                seen.add(key)
                queue.append((after, longer))
        if len(seen) > MOST:
            raise TooMany
    return list(found.values())
