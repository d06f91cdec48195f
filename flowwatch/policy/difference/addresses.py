"""The addresses outside that blocks tell apart, and sets of them as few blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network, summarize_address_range
from itertools import pairwise

from flowwatch.policy.peers import Block, LabelledBlocks, PeerRule

BITS = {4: 32, 6: 128}
Span = tuple[int, int, int]
"""IP version, and the first and last address, as numbers."""
_EXAMPLES = {
    4: tuple(int(IPv4Address(one)) for one in ("203.0.113.1", "198.51.100.1", "192.0.2.1")),
    6: (int(IPv6Address("2001:db8::1")), int(IPv6Address("2001:db8:ffff::1"))),
}
"""Addresses for documentation (RFC 5737, 3849): examples where they are as good as any."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """A class: its spans, and one of it."""

    spans: tuple[Span, ...]
    example: str


def blocks_of(peers: Iterable[PeerRule]) -> list[Block]:
    """All blocks that peers name, excepted ones and those of groups too."""
    found: list[Block] = []
    for peer in peers:
        if isinstance(peer, Block):
            found += [peer, *peer.excepted]
        elif isinstance(peer, LabelledBlocks):
            found += [*peer.excepted, *(block for _, blocks in peer.groups for block in blocks)]
    return found


def spans(blocks: Iterable[Block]) -> list[Span]:
    """The pieces that all addresses fall into, where blocks begin and end."""
    cuts: dict[int, set[int]] = {4: {0}, 6: {0}}
    for block in blocks:
        size = 1 << (BITS[block.version] - block.length)
        first = block.network & ~(size - 1)
        cuts[block.version] |= {first, first + size}
    found = []
    for version, starts in cuts.items():
        ordered = [*sorted(one for one in starts if one < 1 << BITS[version]), 1 << BITS[version]]
        found += [(version, low, high - 1) for low, high in pairwise(ordered)]
    return found


def text(version: int, number: int) -> str:
    """An address as it is written."""
    return str(IPv4Address(number) if version == 4 else IPv6Address(number))


def example(pieces: Sequence[Span]) -> str:
    """One address of these."""
    for version, low, high in pieces:
        for one in _EXAMPLES[version]:
            if low <= one <= high:
                return text(version, one)
    version, low, high = pieces[0]
    return text(version, low + 1 if high > low + 1 else low)


def words(pieces: Iterable[Span]) -> list[str]:
    """Spans in as few blocks as say it: ``10.0.0.0/8``, or ``0.0.0.0/0 except 10.0.0.0/8``."""
    joined = list(_joined(sorted(pieces)))
    found: list[str] = []
    for version in (4, 6):
        mine = [(low, high) for of, low, high in joined if of == version]
        if mine:
            found += _shortest(version, mine)
    return found


def _joined(pieces: Iterable[Span]) -> Iterator[Span]:
    last: Span | None = None
    for piece in pieces:
        if last is not None and last[0] == piece[0] and last[2] + 1 == piece[1]:
            last = (last[0], last[1], piece[2])
        else:
            if last is not None:
                yield last
            last = piece
    if last is not None:
        yield last


def _shortest(version: int, mine: list[tuple[int, int]]) -> list[str]:
    plain = [one for low, high in mine for one in _blocks(version, low, high)]
    around = _around(version, mine[0][0], mine[-1][1])
    gaps = []
    at = around[0]
    for low, high in (*mine, (around[1] + 1, 0)):
        if low > at:
            gaps += _blocks(version, at, low - 1)
        at = high + 1
    if gaps and len(gaps) + 1 >= len(plain):
        return plain
    whole = _blocks(version, *around)[0]
    return [f"{whole} except {', '.join(gaps)}"] if gaps else [whole]


def _blocks(version: int, low: int, high: int) -> list[str]:
    make = IPv4Address if version == 4 else IPv6Address
    return [str(one) for one in summarize_address_range(make(low), make(high))]


def _around(version: int, low: int, high: int) -> tuple[int, int]:
    """The smallest block that holds both."""
    length = BITS[version] - (low ^ high).bit_length()
    net = ip_network((low, length), strict=False)
    if version == 6 and net.version == 4:
        net = ip_network(f"{IPv6Address(low)}/{length}", strict=False)
    return int(net.network_address), int(net.broadcast_address)
