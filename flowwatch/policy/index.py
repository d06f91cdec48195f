"""Finding the rules about a party without asking each: by a label that it must have, or by its address.

A selector whose requirements name one value of a key can only select who carries that label; of several
the one that fewest selectors share is the best to look under.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from flowwatch.policy.labels import EQUALS, IN, LabelSet, Requirement, Selector
from flowwatch.policy.party import Party
from flowwatch.policy.peers import Block, Pods
from flowwatch.policy.reach import NO_REACH
from flowwatch.policy.rules import Entry, Rule

_T = TypeVar("_T")
_WORTH_IT = 12
"""Entries from which an index beats asking each (measured: both took 6 µs a peer)."""


def _required(selector: Selector) -> list[Requirement]:
    return [
        one
        for one in selector.requirements
        if one.operator in (EQUALS, IN) and len(one.values) == 1
    ]


def _key(requirement: Requirement) -> tuple[str, str]:
    return requirement.key.removeprefix("any:"), requirement.values[0]


class LabelIndex(Generic[_T]):
    """Things found by a label their selector requires."""

    def __init__(self, things: Sequence[tuple[Selector, _T]]) -> None:
        shared = Counter(_key(one) for selector, _ in things for one in _required(selector))
        self._found: defaultdict[tuple[str, str], list[tuple[int, _T]]] = defaultdict(list)
        self._always: list[tuple[int, _T]] = []
        for at, (selector, thing) in enumerate(things):
            required = [_key(one) for one in _required(selector)]
            if required:
                self._found[min(required, key=shared.__getitem__)].append((at, thing))
            else:
                self._always.append((at, thing))

    def candidates(self, labels: LabelSet) -> list[_T]:
        """The things that may be about these labels, in the order they were given."""
        found = list(self._always)
        # Under "source:key" and under the key alone, as selectors ask for either.
        for pairs in (labels.by_source, labels.by_key):
            for pair in pairs.items():
                if pair in self._found:
                    found += self._found[pair]
        found.sort(key=lambda one: one[0])
        return [thing for _, thing in found]


class SubjectIndex:
    """The rules that select a party."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._index = LabelIndex([(rule.subject.selector, rule) for rule in rules])

    def rules(self, party: Party) -> list[Rule]:
        """Those whose subject is ``party``."""
        if party.outside and "kube-apiserver" not in party.reserved:
            return []
        found = self._index.candidates(party.label_set)
        return [rule for rule in found if rule.subject.selects(party)]


class PeerIndex:
    """The entries that may mean a peer."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._pods: LabelIndex[int] | None = None
        if len(entries) < _WORTH_IT:
            return
        pods: list[tuple[Selector, int]] = []
        self._reach = NO_REACH
        self._always: list[int] = []
        self._blocks: defaultdict[tuple[int, int], defaultdict[int, list[int]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for at, entry in enumerate(entries):
            if entry.peers is None:
                self._always.append(at)
                continue
            for peer in entry.peers:
                if isinstance(peer, Pods):
                    pods.append((peer.selector, at))
                elif isinstance(peer, Block):
                    self._reach = peer.reach
                    shift = (32 if peer.version == 4 else 128) - peer.length
                    self._blocks[peer.version, shift][peer.network >> shift].append(at)
                else:
                    self._always.append(at)
        self._pods = LabelIndex(pods)

    def candidates(self, party: Party) -> Sequence[Entry]:
        """The entries to ask about ``party``, in their order; more than match, none that does is missing."""
        if self._pods is None:
            return self._entries
        found = {*self._always, *self._pods.candidates(party.label_set)}
        if party.outside:
            if party.address is None:
                for blocks in self._blocks.values():
                    found.update(at for ats in blocks.values() for at in ats)
            else:
                version, number = party.address
                for (of, shift), blocks in self._blocks.items():
                    if of == version and (ats := blocks.get(number >> shift)):
                        found.update(ats)
        elif self._reach.takes(party):
            for blocks in self._blocks.values():
                found.update(at for ats in blocks.values() for at in ats)
        return [self._entries[at] for at in sorted(found)]
