"""What two sets of policies decide differently: all of it, by classes of subjects, peers and ports.

The documents tell only so many pods, addresses, names and ports apart. One of each class is asked about, of
both sets, by the engine: what it says of one it says of all. Equal answers are put together again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from flowwatch.policy.difference import layer7, ports
from flowwatch.policy.difference.canonical import entry_key, rule_key, same
from flowwatch.policy.difference.cubes import cubes
from flowwatch.policy.difference.named import Names
from flowwatch.policy.difference.peers import PeerClass, Universe, peers_of
from flowwatch.policy.difference.pods import Atom, Pods, Space, TooMany, namespaces_apart
from flowwatch.policy.difference.ports import FAMILIAR
from flowwatch.policy.difference.regions import Labelled, Peers, Place, PortSet
from flowwatch.policy.engine import Decision, PolicySet, Selected
from flowwatch.policy.labels import NAMESPACE_LABELS, Selector
from flowwatch.policy.party import Party
from flowwatch.policy.peers import Pods as PodPeers
from flowwatch.policy.ports import Matching
from flowwatch.policy.rules import Direction, Entry, Rule

Kind = Literal["newly allowed", "newly denied", "other rules at the proxy", "can't tell"]
KINDS: tuple[Kind, ...] = (
    "newly denied", "newly allowed", "other rules at the proxy", "can't tell",
)  # fmt: skip
DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")
RESERVED_SUBJECTS = ("ingress", "health", "init")
"""Endpoints that are nobody's pods."""

__all__ = ["DIRECTIONS", "KINDS", "Change", "Difference", "Example", "Kind", "TooMany", "compare"]


class Outcome(NamedTuple):
    """What became of a class: equal ones are told together."""

    kind: Kind
    detail: str = ""
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Example:
    """One question of a change, and what each set answers."""

    subject: Party
    peer: Party
    protocol: str
    port: int
    before: Decision
    after: Decision


@dataclass(frozen=True, slots=True)
class Change:
    """Subjects, peers and ports that are decided differently in one way: each with each."""

    direction: Direction
    kind: Kind
    detail: str
    """What proxies decide, or why it can't be told; mostly ""."""
    certain: bool
    """Whether it surely is a difference: what can't be compared exactly only may be."""
    subjects: tuple[Labelled | str, ...]
    """A text is the name of a reserved identity."""
    peers: Peers
    ports: PortSet
    example: Example

    def holds(self, subject: Party, peer: Party, protocol: str, port: int) -> bool:
        """Whether a question is one of these."""
        listener = peer if self.direction == "egress" else subject
        return (
            any(_is(subject, one) for one in self.subjects)
            and self.peers.holds(peer)
            and self.ports.holds(protocol, port, listener.ports or {})
        )

    def subject_words(self) -> tuple[str, ...]:
        """The subjects, a text each."""
        return tuple(
            text
            for one in self.subjects
            for text in ([f"entity {one}"] if isinstance(one, str) else one.words())
        )


def _is(party: Party, one: Labelled | str) -> bool:
    if isinstance(one, str):
        return party.reserved == {one}
    if ("host" in party.reserved) is not one.node:
        return False
    return (one.node or not party.reserved) and one.holds(party.label_set)


@dataclass(slots=True)
class Difference:
    """All changes between two sets of policies."""

    changes: list[Change] = field(default_factory=list)
    subjects: int = 0
    """Classes of subjects whose rules differ, of both directions."""
    questions: int = 0
    """Asked of each set."""
    known: int | None = None
    """The pods that it was narrowed to; None for all that there may be."""

    def about(
        self, direction: Direction, subject: Party, peer: Party, protocol: str, port: int
    ) -> list[Change]:
        """The changes that a question is in."""
        return [
            one
            for one in self.changes
            if one.direction == direction and one.holds(subject, peer, protocol, port)
        ]


def compare(
    old: PolicySet,
    new: PolicySet,
    *,
    known: Sequence[Atom] | None = None,
    cluster: str = "default",
    any_peers: bool = False,
) -> Difference:
    """All that ``old`` and ``new`` decide differently.

    Args:
        old: as it is.
        new: as it would be; read by the same options.
        known: the labels of the pods that there are; None for all that there may be.
        cluster: the name of the cluster the policies are for.
        any_peers: whether subjects alone are among ``known``, and peers are all that there may be.

    Raises:
        TooMany: the documents tell more classes apart than anybody could look at.
    """
    return _Comparison(old, new, known, Space(cluster), any_peers=any_peers).difference()


class _Line(NamedTuple):
    outcome: Outcome
    peers: Peers
    ports: PortSet
    example: Example


_Key = tuple[Outcome, tuple[str, ...], tuple[str, ...]]
_Lines = dict[_Key, _Line]
"""By what they say."""


class _Comparison:
    def __init__(
        self,
        old: PolicySet,
        new: PolicySet,
        known: Sequence[Atom] | None,
        space: Space,
        *,
        any_peers: bool,
    ) -> None:
        self._sides = (old, new)
        self._known = known
        self._peers = None if any_peers else known
        self._space = space
        self._made = Difference(known=None if known is None else len(known))
        self._tables: dict[Hashable, _Lines] = {}
        self._keys: dict[Entry, int] = {}
        self._numbers: dict[Hashable, int] = {}
        rules = [*old.rules, *new.rules]
        self._apart = namespaces_apart(one for rule in rules for one in _peer_selectors(rule))

    def difference(self) -> Difference:
        """Compare both directions."""
        for direction in DIRECTIONS:
            told: dict[_Key, tuple[_Line, list[Labelled | str]]] = {}
            for subject, lines in self._subjects(direction):
                for key, line in lines.items():
                    told.setdefault(key, (line, []))[1].append(subject)
            self._made.changes += [
                Change(direction, *line.outcome, tuple(subjects), *line[1:])
                for line, subjects in told.values()
            ]
        self._made.changes.sort(
            key=lambda one: (KINDS.index(one.kind), one.direction, one.subject_words())
        )
        return self._made

    def _subjects(self, direction: Direction) -> Iterator[tuple[Labelled | str, _Lines]]:
        yield from self._labelled(direction, node=False)
        yield from self._labelled(direction, node=True)
        for name in RESERVED_SUBJECTS:
            if lines := self._compared(direction, Party((f"reserved:{name}",))):
                yield name, lines

    def _labelled(self, direction: Direction, *, node: bool) -> Iterator[tuple[Labelled, _Lines]]:
        """Pods or nodes that a rule selects that only one of the sets has."""
        selectors, need = self._changed(node)
        if not need:
            return
        every = selectors if node else (*selectors, *self._apart)
        base: Atom = ("reserved:host",) if node else ()
        known = None if node else self._known
        found = Pods(every, self._space, known=known, own=True, base=base).classes(None, need)
        lines: _Lines = {}
        holding: dict[_Key, list[int]] = {}
        for bits, labels in found.items():
            for key, line in self._compared(direction, Party(labels)).items():
                lines.setdefault(key, line)
                holding.setdefault(key, []).append(bits)
        together: dict[frozenset[int], _Lines] = {}
        for key, mine in holding.items():
            together.setdefault(frozenset(mine), {})[key] = lines[key]
        weights = [len(one.requirements) for one in every]
        for chosen, told in together.items():
            parts = tuple(cubes(chosen, found.keys() - chosen, weights, need))
            yield Labelled(every, parts, node=node, own=True), told

    def _changed(self, node: bool) -> tuple[tuple[Selector, ...], int]:
        """All selectors of subjects, and as bits those whose rules differ."""
        found: dict[Selector, tuple[set[Hashable], set[Hashable]]] = {}
        for at, side in enumerate(self._sides):
            for rule in side.rules:
                if rule.subject.host is node:
                    found.setdefault(rule.subject.selector, (set(), set()))[at].add(rule_key(rule))
        need = sum(1 << at for at, (old, new) in enumerate(found.values()) if old != new)
        return tuple(found), need

    def _compared(self, direction: Direction, subject: Party) -> _Lines:
        old, new = (side.selected(subject, direction) for side in self._sides)
        if same(old, new):
            return {}
        self._made.subjects += 1
        near = self._near(subject, (*old.entries, *new.entries))
        key = (
            direction,
            near,
            bool(subject.reserved),
            "host" in subject.reserved,
            _rules(old),
            _rules(new),
        )
        if key not in self._tables:
            self._tables[key] = self._table(direction, subject, (old, new))
        return self._tables[key]

    def _near(self, subject: Party, entries: Sequence[Entry]) -> tuple[str, ...]:
        """What of a subject's namespace its peers depend on: nothing, mostly."""
        if not self._apart or not any(map(_asks_for_namespaces, entries)):
            return ()
        return tuple(one for one in subject.labels if "namespace" in one)

    def _table(
        self, direction: Direction, subject: Party, selected: tuple[Selected, Selected]
    ) -> _Lines:
        entries = [entry for one in selected for entry in one.entries]
        rules = [rule for entry in entries for rule in entry.ports or ()]
        listens = direction == "egress" or not subject.reserved
        named = Names(rules if listens else (), ports.classes(rules))
        universe = Universe(peers_of(entries), subject, self._space, self._peers)
        rows: dict[tuple[Outcome, frozenset[Place]], list[PeerClass]] = {}
        examples: dict[tuple[Outcome, frozenset[Place]], Example] = {}
        asked: dict[Hashable, list[tuple[Outcome, frozenset[Place]]]] = {}
        for peer in universe.classes:
            met = tuple(_met(selected[0], peer.party)), tuple(_met(selected[1], peer.party))
            key = (met, peer.kind, "host" in peer.party.reserved)
            if key not in asked and self._alike(selected, met):
                asked[key] = []
            elif key not in asked:
                found = self._asked(direction, subject, peer.party, named)
                asked[key] = list(found)
                examples = {**found, **examples}
            for row in asked[key]:
                rows.setdefault(row, []).append(peer)
        lines: _Lines = {}
        for (outcome, where), classes in rows.items():
            line = _Line(
                outcome,
                universe.together(classes),
                PortSet(where, named.every),
                examples[outcome, where],
            )
            lines[outcome, line.peers.words(), line.ports.words()] = line
        return lines

    def _alike(self, selected: tuple[Selected, Selected], met: tuple[_Met, _Met]) -> bool:
        """Whether both sides have the same to say of a peer, by rules that say the same."""
        old, new = selected
        if old.settled or new.settled or old.ends != new.ends:
            return False
        if old.default_deny != new.default_deny or old.ruled != new.ruled:
            return False
        one, other = (
            {(self._key_of(entry), match, itself) for entry, match, itself in side} for side in met
        )
        return one == other

    def _key_of(self, entry: Entry) -> Hashable:
        if entry not in self._keys:
            key = entry_key(entry)
            self._keys[entry] = self._numbers.setdefault(key, len(self._numbers))
        return self._keys[entry]

    def _asked(
        self, direction: Direction, subject: Party, peer: Party, named: Names
    ) -> dict[tuple[Outcome, frozenset[Place]], Example]:
        """What differs between two ends, each with the places and an example."""
        found: dict[Outcome, tuple[list[Place], Example]] = {}
        for place, ends in named.asked(direction, subject, peer):
            piece = place[0]
            old, new = (
                side.ask(direction, *ends, piece.protocol, piece.one) for side in self._sides
            )
            self._made.questions += 1
            outcome = _outcome(old, new)
            if outcome is not None:
                example = Example(*ends, piece.protocol, piece.one, old, new)
                places, told = found.setdefault(outcome, ([], example))
                places.append(place)
                if piece.familiar and not place[1] and told.port not in FAMILIAR:
                    found[outcome] = places, example
        return {
            (outcome, named.spread(places, direction, peer)): example
            for outcome, (places, example) in found.items()
        }


_Met = tuple[tuple[Entry, Matching, bool], ...]


def _asks_for_namespaces(entry: Entry) -> bool:
    return any(
        isinstance(peer, PodPeers) and peer.selector.has_key_prefix(NAMESPACE_LABELS)
        for peer in entry.peers or ()
    )


def _met(selected: Selected, peer: Party) -> Iterator[tuple[Entry, Matching, bool]]:
    """The entries about a peer, in the way in which they are: all that a decision knows of it."""
    for entry in selected.index.candidates(peer):
        if match := entry.matches_peer(peer):
            yield entry, match, entry.selects_peer(peer)


def _peer_selectors(rule: Rule) -> Iterator[Selector]:
    yield rule.subject.selector
    for peer in peers_of(rule.entries):
        if isinstance(peer, PodPeers):
            yield peer.selector


def _rules(selected: Selected) -> Hashable:
    """What decides of all that a subject is selected by."""
    settled = selected.settled.decision if selected.settled else None
    return (
        frozenset(map(id, selected.entries)), selected.default_deny, selected.ruled, selected.init,
        settled,
    )  # fmt: skip


_TURNED: dict[tuple[str, str], Kind] = {
    ("allowed", "denied"): "newly denied",
    ("denied", "allowed"): "newly allowed",
}


def _outcome(old: Decision, new: Decision) -> Outcome | None:
    """What differs between two answers; None where nothing does."""
    verdicts = old.decision, new.decision
    if verdicts == ("denied", "denied"):
        return None
    if kind := _TURNED.get(verdicts):
        return Outcome(kind, _proxied(old if kind == "newly denied" else new))
    if verdicts == ("allowed", "allowed"):
        return _allowed(old, new)
    if verdicts[0] == verdicts[1] and old.entries and _key(old) == _key(new):
        return None
    doubts = "; ".join(dict.fromkeys((*old.doubts, *new.doubts)))
    return Outcome("can't tell", f"{_SAID[old.decision]} → {_SAID[new.decision]}: {doubts}", False)


_SAID = {"allowed": "allowed", "denied": "denied", "cant_tell": "can't tell"}


def _key(decision: Decision) -> Hashable:
    return frozenset(map(entry_key, decision.entries)), bool(decision.denying)


def _passing(decision: Decision) -> layer7.Rules:
    """The rules that decide at the proxy; none where all passes there."""
    if decision.pass_all:
        return frozenset()
    return layer7.canonical(one.l7 for one in decision.ports if one.l7 is not None)


def _proxied(decision: Decision) -> str:
    if not decision.l7:
        return ""
    told = layer7.words(_passing(decision))
    return f"at the proxy: {told}" if told else "through a proxy that lets everything pass"


def _allowed(old: Decision, new: Decision) -> Outcome | None:
    modes = [{one.auth for one in decision.entries if one.auth} for decision in (old, new)]
    if modes[0] != modes[1]:
        told = " → ".join(", ".join(sorted(one)) or "as the cluster does" for one in modes)
        return Outcome("other rules at the proxy", f"authentication: {told}", False)
    if not old.l7 and not new.l7:
        return None
    rules = _passing(old), _passing(new)
    if old.l7 == new.l7 and bool(rules[0]) == bool(rules[1]):
        change = layer7.compare(*rules)
        if change is None:
            return None
        return Outcome("other rules at the proxy", change.words, change.certain)
    told = " → ".join(_proxied(one) or "all, without a proxy" for one in (old, new))
    return Outcome("other rules at the proxy", told)
