"""Ports by name: what a listener calls them nobody knows, so each way of naming a port is asked about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from flowwatch.policy.difference.pods import TooMany
from flowwatch.policy.difference.ports import PORTED, Ports
from flowwatch.policy.difference.regions import LOWER, Place
from flowwatch.policy.party import Party
from flowwatch.policy.ports import PortRule
from flowwatch.policy.rules import Direction

MOST = 10
"""Names that rules about one subject may use; each doubles the questions."""


class Names:
    """All ports that rules tell apart, with all names that each may have."""

    def __init__(self, rules: Iterable[PortRule], pieces: Sequence[Ports]) -> None:
        """Raises TooMany."""
        named = [rule for rule in rules if rule.name]
        if len({rule.name for rule in named}) > MOST:
            raise TooMany
        self._places = [(piece, names) for piece in pieces for names in _namings(named, piece)]
        self.every: frozenset[Place] = frozenset(self._places)
        self._parties: dict[tuple[Party, frozenset[str], int], Party] = {}

    def asked(
        self, direction: Direction, subject: Party, peer: Party
    ) -> Iterator[tuple[Place, tuple[Party, Party]]]:
        """Each place, with the two ends to ask about, of which the listener has these names for ports."""
        listener = peer if direction == "egress" else subject
        for place in self._places:
            piece, names = place
            if not names:
                yield place, (subject, peer)
            elif not listener.reserved and not listener.outside:
                named = self._listening(listener, names, piece.one)
                yield place, (subject, named) if direction == "egress" else (named, peer)

    def spread(
        self, places: Iterable[Place], direction: Direction, peer: Party
    ) -> frozenset[Place]:
        """Places, for a peer without names for ports with all names: it doesn't matter which."""
        if direction == "ingress" or not (peer.reserved or peer.outside):
            return frozenset(places)
        pieces = {piece for piece, _ in places}
        return frozenset(one for one in self._places if one[0] in pieces)

    def _listening(self, listener: Party, names: frozenset[str], port: int) -> Party:
        key = (listener, names, port)
        if key not in self._parties:
            at = {name.removesuffix(LOWER): port - name.endswith(LOWER) for name in names}
            self._parties[key] = Party(listener.labels, listener.ip, listener.names, at)
        return self._parties[key]


def _namings(named: Sequence[PortRule], piece: Ports) -> list[frozenset[str]]:
    """The sets of names that matter for these ports."""
    ways: dict[str, set[str]] = {}
    for rule in named:
        if rule.protocol in (piece.protocol, "ANY") and piece.protocol in PORTED:
            mine = ways.setdefault(rule.name, {"", rule.name})
            if 1 < piece.one <= rule.end:
                mine.add(f"{rule.name}{LOWER}")
    return [
        frozenset(filter(None, one)) for one in product(*(sorted(way) for way in ways.values()))
    ]
