"""All that may be at the other end of a subject, in the classes that its rules tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from flowwatch.policy.difference import addresses, names
from flowwatch.policy.difference.addresses import Addresses, Span
from flowwatch.policy.difference.cubes import cubes
from flowwatch.policy.difference.pods import Atom, Pods, Space
from flowwatch.policy.difference.regions import OWN, Labelled, Outside, Peers
from flowwatch.policy.labels import Selector
from flowwatch.policy.names import NameRule
from flowwatch.policy.party import Party
from flowwatch.policy.peers import Block, Entity, LabelledBlocks, Name, PeerRule
from flowwatch.policy.peers import Pods as PodPeers
from flowwatch.policy.rules import Entry

RESERVED: tuple[tuple[str, ...], ...] = (
    ("host",), ("remote-node",), ("kube-apiserver", "remote-node"), ("host", "kube-apiserver"),
    ("health",), ("ingress",), ("init",), ("unmanaged",),
)  # fmt: skip
"""The identities of Cilium's own (pkg/identity/reserved.go), sorted within."""
_API_SERVERS = ("kube-apiserver", "cluster", "cluster-mesh")


@dataclass(frozen=True, slots=True, eq=False)
class PeerClass:
    """One class of peers, and one of it."""

    kind: Literal["pod", "reserved", "outside"]
    party: Party
    bits: int = 0
    """Of a pod: the selectors that select it."""
    api: bool = False
    at: int = 0
    """Of an address: which class of addresses."""
    name: int = -1
    """And of names, by its bits."""


class Universe:
    """The classes by ``peers``; ``beside``: whose peers they are."""

    def __init__(
        self, peers: Sequence[PeerRule], beside: Party, space: Space, known: Sequence[Atom] | None
    ) -> None:
        self._rules = _names(peers)
        self._selectors = _selectors(peers)
        pods = Pods(self._selectors, space, known=known)
        near = None if beside.reserved else beside.label_set
        self._pods = pods.classes(near)
        self._names = {-1: "", **names.classes(self._rules)} if self._rules else {-1: ""}
        self._addresses = _addresses(peers)
        apart = any(isinstance(one, Entity) and one.name in _API_SERVERS for one in peers) or any(
            req.key.startswith("reserved:") for one in self._selectors for req in one.requirements
        )
        self._apis = (False, True) if apart else (False,)

    @cached_property
    def classes(self) -> list[PeerClass]:
        """All of them: pods, Cilium's own identities, addresses outside."""
        found = [PeerClass("pod", Party(labels), bits) for bits, labels in self._pods.items()]
        found += [
            PeerClass("reserved", Party(tuple(f"reserved:{name}" for name in one)))
            for one in RESERVED
        ]
        for api in self._apis:
            labels = ("reserved:kube-apiserver",) if api else ()
            for at, where in enumerate(self._addresses):
                for bits, name in self._names.items():
                    party = Party(labels, where.example, (name,) if name else ())
                    found.append(PeerClass("outside", party, api=api, at=at, name=bits))
        return found

    def together(self, chosen: Sequence[PeerClass]) -> Peers:
        """Some of the classes as one set."""
        pods = {one.bits for one in chosen if one.kind == "pod"}
        reserved = [tuple(sorted(one.party.reserved)) for one in chosen if one.kind == "reserved"]
        return Peers(
            self._labelled(pods) if pods else None,
            tuple(reserved),
            tuple(self._outside([one for one in chosen if one.kind == "outside"])),
            everybody=len(chosen) == len(self.classes),
        )

    def _labelled(self, pods: set[int]) -> Labelled:
        others = self._pods.keys() - pods
        weights = [len(one.requirements) for one in self._selectors]
        return Labelled(self._selectors, tuple(cubes(pods, others, weights)), every=not others)

    def _outside(self, chosen: Sequence[PeerClass]) -> list[Outside]:
        sides = {
            api: {
                at: frozenset(one.name for one in chosen if one.api is api and one.at == at)
                for at in range(len(self._addresses))
            }
            for api in self._apis
        }
        if len(sides) == 2 and sides[True] == sides[False]:
            return self._parts(sides[False], None)
        api: bool | None = False if len(sides) == 2 else None
        found = self._parts(sides[False], api)
        return found + (self._parts(sides[True], True) if True in sides else [])

    def _parts(self, names_at: dict[int, frozenset[int]], api: bool | None) -> list[Outside]:
        """First what holds at every address, then what only some have."""
        every = frozenset(self._names)
        common = frozenset.intersection(*names_at.values())
        found = [self._part(list(names_at), common, api)] if common else []
        alike: dict[frozenset[int], list[int]] = {}
        for at, mine in names_at.items():
            left = mine if mine == every else mine - common
            if left and mine != common:
                alike.setdefault(left, []).append(at)
        return found + [self._part(places, mine, api) for mine, places in alike.items()]

    def _part(self, places: list[int], mine: frozenset[int], api: bool | None) -> Outside:
        spans = tuple(span for at in places for span in self._addresses[at].spans)
        return Outside(
            spans, len(places) == len(self._addresses), mine, frozenset(self._names),
            self._rules, api_server=api,
        )  # fmt: skip


def _names(peers: Sequence[PeerRule]) -> tuple[NameRule, ...]:
    return tuple(dict.fromkeys(one.rule for one in peers if isinstance(one, Name)))


def _selectors(peers: Sequence[PeerRule]) -> tuple[Selector, ...]:
    found = dict.fromkeys(one.selector for one in peers if isinstance(one, PodPeers))
    return (OWN, *(one for one in found if one != OWN))


def _addresses(peers: Sequence[PeerRule]) -> list[Addresses]:
    """Classes of addresses by which blocks hold them: by the rules' own answers."""
    asked = [one for one in peers if isinstance(one, Block | LabelledBlocks)]
    alike: dict[tuple[object, ...], list[Span]] = {}
    for piece in addresses.spans(addresses.blocks_of(asked)):
        one = Party((), addresses.text(piece[0], piece[1]))
        key = (piece[0], *(peer.matches(one) for peer in asked))
        alike.setdefault(key, []).append(piece)
    return [Addresses(tuple(pieces), addresses.example(pieces)) for pieces in alike.values()]


def peers_of(entries: Sequence[Entry]) -> list[PeerRule]:
    """The peers that entries name, each once."""
    return [peer for entry in entries for peer in entry.peers or ()]
