"""Sets of subjects, peers and ports, exact: each says in words what it holds, and whether it holds one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flowwatch.policy.difference.addresses import Span
from flowwatch.policy.difference.addresses import words as in_blocks
from flowwatch.policy.difference.cubes import Cube, holds
from flowwatch.policy.difference.pods import pattern
from flowwatch.policy.difference.ports import Ports
from flowwatch.policy.difference.ports import words as in_ports
from flowwatch.policy.labels import OWN_CLUSTER, LabelSet, Requirement, Selector
from flowwatch.policy.names import NameRule
from flowwatch.policy.party import Party

OWN = Selector((Requirement(OWN_CLUSTER, "In", ("default",)),))
"""Whoever is in this cluster."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pods, or nodes, by the selectors that must select them, and those that must not."""

    selectors: tuple[Selector, ...]
    cubes: tuple[Cube, ...]
    every: bool = False
    """Whether these are all there are."""
    node: bool = False
    own: bool = False
    """Of this cluster alone, so that it needn't be said."""

    def holds(self, labels: LabelSet) -> bool:
        """Whether one with these labels is among them."""
        bits = pattern(self.selectors, labels)
        return any(holds(cube, bits) for cube in self.cubes)

    def words(self) -> list[str]:
        """A line for each cube."""
        what = "node" if self.node else "pod"
        if self.every:
            return [f"every {what}"]
        return [self._cube(cube, f"{what}s") for cube in self.cubes]

    def _cube(self, cube: Cube, what: str) -> str:
        yes, no = (
            [one for at, one in enumerate(self.selectors) if part >> at & 1] for part in cube
        )
        asked = Selector(tuple(dict.fromkeys(req for one in yes for req in one.requirements)))
        told = f"{what} with {asked}" if str(asked) != "any labels" else f"all {what}"
        if not self.node and not self.own:
            if OWN in no:
                told += ", of other clusters"
                no = [one for one in no if one != OWN]
            elif asked.has_key_prefix(OWN_CLUSTER, ("",)):
                told += " (of this cluster)" if str(asked) == "any labels" else ""
            else:
                told += ", of any cluster"
        return told + "".join(f", not those with {one}" for one in no)


@dataclass(frozen=True, slots=True)
class Outside:
    """Addresses outside, with the names that led to them."""

    spans: tuple[Span, ...]
    all_spans: bool
    names: frozenset[int]
    """The classes of names, as bits of ``rules``; -1 for an address that no name led to."""
    all_names: frozenset[int]
    rules: tuple[NameRule, ...]
    examples: Mapping[int, str] = field(hash=False, default_factory=dict)
    api_server: bool | None = None
    """Whether these are API servers, or are none; None for both."""

    def holds(self, party: Party) -> bool:
        """Whether an address is among them."""
        if party.address is None or not party.outside:
            return False
        api = "kube-apiserver" in party.reserved
        if self.api_server is not None and self.api_server is not api:
            return False
        version, number = party.address
        if not any(of == version and low <= number <= high for of, low, high in self.spans):
            return False
        return bool(self.names & _classes(self.rules, party.names or ()))

    def words(self) -> Iterator[str]:
        """Blocks, names, or both."""
        places = ["every address"] if self.all_spans else in_blocks(self.spans)
        who = "API servers outside, at " if self.api_server else ""
        if self.names == self.all_names:
            told = ["everything outside"] if self.all_spans and not who else places
            yield from (f"{who}{one}" for one in told)
            return
        where = " and ".join(places)
        if -1 in self.names:
            yield f"{who}{where}, unless looked up as {self._told(self.all_names - self.names)}"
        else:
            at = f" at {where}" if who or not self.all_spans else ""
            yield f"{self._told(self.names)}{at}{' (API servers)' if who else ''}"

    def _told(self, names: frozenset[int]) -> str:
        """Classes of names in words: where all that a rule means is among them, the rule says it."""
        found: list[str] = []
        left = set(names)
        for at, rule in enumerate(self.rules):
            mine = {bits for bits in self.all_names if bits >= 0 and bits >> at & 1}
            if mine and mine <= names and mine & left:
                found.append(str(rule))
                left -= mine
        return ", ".join(dict.fromkeys([*found, *map(self._name, sorted(left))]))

    def _name(self, bits: int) -> str:
        if bits <= 0:
            return "other names" if bits == 0 else "no name"
        yes = [str(rule) for at, rule in enumerate(self.rules) if bits >> at & 1]
        no = [
            str(rule)
            for at, rule in enumerate(self.rules)
            if not bits >> at & 1
            and any(one > 0 and one >> at & 1 and one & bits for one in self.all_names)
        ]
        told = " and ".join(dict.fromkeys(yes))
        return f"{told} but not {', '.join(dict.fromkeys(no))}" if no else told


def _classes(rules: Sequence[NameRule], names: Collection[str]) -> set[int]:
    if not rules or not names:
        return {-1}
    return {sum(1 << at for at, one in enumerate(rules) if one.matches(name)) for name in names}


@dataclass(frozen=True, slots=True)
class Peers:
    """Who may be at the other end."""

    pods: Labelled | None
    reserved: tuple[tuple[str, ...], ...]
    """The reserved labels of each identity."""
    outside: tuple[Outside, ...]
    everybody: bool = False

    def holds(self, party: Party) -> bool:
        """Whether ``party`` is among them."""
        if party.outside:
            return any(one.holds(party) for one in self.outside)
        if party.reserved:
            return tuple(sorted(party.reserved)) in self.reserved
        return self.pods is not None and self.pods.holds(party.label_set)

    def words(self) -> tuple[str, ...]:
        """One text for each part."""
        if self.everybody:
            return ("everybody",)
        found = list(self.pods.words()) if self.pods else []
        if self.reserved:
            found.append(f"the entities {', '.join('+'.join(one) for one in self.reserved)}"
                         if len(self.reserved) > 1 else f"entity {'+'.join(self.reserved[0])}")  # fmt: skip
        found += [text for one in self.outside for text in one.words()]
        return tuple(dict.fromkeys(found))


LOWER = " (the begin of a range)"
"""Behind the name of a port below, from which a range reaches to this one."""

Place = tuple[Ports, frozenset[str]]
"""Ports, and the names that the listener gives them."""


@dataclass(frozen=True, slots=True)
class PortSet:
    """Ports, some of them only where the listener has a name for them."""

    places: frozenset[Place]
    every: frozenset[Place]

    def holds(self, protocol: str, port: int, named: Mapping[str, int]) -> bool:
        """Whether a port of a listener with these names is among them."""
        for ports, names in self.places:
            if ports.protocol != protocol and not (ports.shown and self._rest(protocol)):
                continue
            if (ports.shown or not ports.high or ports.low <= port <= ports.high) and (
                names == self._given(ports, port, named)
            ):
                return True
        return False

    def _given(self, ports: Ports, port: int, named: Mapping[str, int]) -> frozenset[str]:
        """The names that count for a port: those of it, and of the beginning of a range it is in."""
        known = {name for of, names in self.every if of == ports for name in names}
        told = {
            name: name if at == port else f"{name}{LOWER}"
            for name, at in named.items()
            if at <= port
        }
        return frozenset(told.values()) & known

    def _rest(self, protocol: str) -> bool:
        return all(ports.protocol != protocol for ports, _ in self.every if not ports.shown)

    def words(self) -> tuple[str, ...]:
        """Ports in words, those of named ports by their names."""
        by_ports: dict[Ports, frozenset[frozenset[str]]] = {}
        all_names: dict[Ports, set[frozenset[str]]] = {}
        for ports, names in self.every:
            all_names.setdefault(ports, set()).add(names)
        for ports in sorted(all_names, key=_order):
            mine = frozenset(names for of, names in self.places if of == ports)
            if mine:
                by_ports[ports] = frozenset() if mine == all_names[ports] else mine
        alike: dict[frozenset[frozenset[str]], list[Ports]] = {}
        for ports, names_ in by_ports.items():
            alike.setdefault(names_, []).append(ports)
        found: list[str] = []
        for names_, pieces in alike.items():
            if not names_:
                found += in_ports(pieces, all_names)
                continue
            ported = [one for one, them in all_names.items() if len(them) > 1]
            who = _named(names_, max(all_names.values(), key=len))
            if set(pieces) == set(ported):
                found.append(f"every port {who}")
            else:
                found += [f"{one} {who}" for one in in_ports(pieces, all_names)]
        return tuple(found)


_PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP", "ICMPv6")


def _order(ports: Ports) -> tuple[int, int]:
    at = _PROTOCOLS.index(ports.protocol) if ports.protocol in _PROTOCOLS else len(_PROTOCOLS)
    return at, ports.low


def _named(names: frozenset[frozenset[str]], every: set[frozenset[str]]) -> str:
    known = sorted({name for one in every for name in one})
    for name in known:
        if names == {one for one in every if name in one}:
            return f"named {name}"
        if names == {one for one in every if name not in one}:
            return f"not named {name}"
    told = sorted("+".join(sorted(one)) or "nothing" for one in names)
    return f"named {' or '.join(told)}"
