"""The ports that rules tell apart, by protocol, and sets of them in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from flowwatch.policy.ports import ICMP4, ICMP6, OTHER, PortRule

PORTED = ("TCP", "UDP", "SCTP")
_LAST = {ICMP4: 255, ICMP6: 255}
_FIRST = {**dict.fromkeys(PORTED, 1)}
_MAX = 65_535
_KNOWN = defaultdict[str, tuple[int, ...]](
    tuple, TCP=(443, 80), UDP=(53, 443), SCTP=(80,), ICMP=(8,), ICMPv6=(128,)
)
"""Ports for examples."""
FAMILIAR = frozenset(port for ports in _KNOWN.values() for port in ports)
REST = "other protocols"


class Ports(NamedTuple):
    """Ports of one protocol that no rule tells apart; for ICMP types."""

    protocol: str
    """As it is asked for."""
    low: int
    high: int
    shown: str = ""
    """The protocol in words, where it stands for others, too."""

    @property
    def one(self) -> int:
        """One of them, that people know where it can be; never 0, which means every one to rules."""
        known = next((one for one in _KNOWN[self.protocol] if self.low <= one <= self.high), 0)
        # With another below, as a range may begin there.
        return known or (self.low if self.low > 1 else min(2, self.high))

    @property
    def familiar(self) -> bool:
        """Whether that one is known to people."""
        return self.one in FAMILIAR

    @property
    def called(self) -> str:
        """The protocol in words."""
        return self.shown or self.protocol


def classes(rules: Iterable[PortRule]) -> list[Ports]:
    """All ports, in as many pieces as rules tell apart."""
    cuts: dict[str, set[int]] = {name: set() for name in (*PORTED, ICMP4, ICMP6)}
    for rule in rules:
        for protocol in PORTED if rule.protocol == "ANY" else (rule.protocol,):
            if rule.name:
                cuts.setdefault(protocol, set()).update({rule.end + 1} if rule.end else ())
            else:
                cuts.setdefault(protocol, set()).update((rule.low, rule.high + 1))
    rest = next((one for one in OTHER if one not in cuts), "")
    found: list[Ports] = []
    for protocol, starts in cuts.items():
        if protocol in OTHER:
            found.append(Ports(protocol, 0, 0))
            continue
        first, last = _FIRST.get(protocol, 0), _LAST.get(protocol, _MAX)
        ordered = [first, *sorted(one for one in starts if first < one <= last), last + 1]
        found += [Ports(protocol, low, high - 1) for low, high in pairwise(ordered)]
    if rest:
        found.append(Ports(rest, 0, 0, REST))
    return found


def words(pieces: Iterable[Ports], every: Iterable[Ports]) -> list[str]:
    """Ports in words: ``443/TCP``, ``1-52/UDP``, ``every port and protocol``."""
    chosen = list(pieces)
    if set(chosen) == set(every):
        return ["every port and protocol"]
    by_protocol: dict[str, list[tuple[int, int]]] = {}
    for one in chosen:
        spans = by_protocol.setdefault(one.called, [])
        if spans and spans[-1][1] + 1 == one.low:
            spans[-1] = (spans[-1][0], one.high)
        else:
            spans.append((one.low, one.high))
    alike: dict[tuple[tuple[int, int], ...], list[str]] = {}
    for protocol, spans in by_protocol.items():
        alike.setdefault((*spans, (-1, protocol not in PORTED)), []).append(protocol)
    return [
        text for spans, protocols in alike.items() for text in _told(list(spans[:-1]), protocols)
    ]


def _told(spans: list[tuple[int, int]], protocols: list[str]) -> list[str]:
    told = "+".join(protocols)
    if protocols[0] in (*OTHER, REST):
        return protocols
    if protocols[0] in (ICMP4, ICMP6):
        if spans == [(0, 255)]:
            return [f"{one} of any type" for one in protocols]
        types = ", ".join(_span(*one) for one in spans)
        return [f"{one} type {types}" for one in protocols]
    if spans == [(1, _MAX)]:
        return [f"every {told} port"]
    return [f"{_span(*one)}/{told}" for one in spans]


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"
