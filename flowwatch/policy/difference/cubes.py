"""Sets of classes in few words: which selectors must select, and which must not."""

from __future__ import annotations

from collections.abc import Collection, Sequence

Cube = tuple[int, int]
"""Bits of what must hold, and of what must not."""


def cubes(
    wanted: Collection[int], others: Collection[int], weights: Sequence[int], need: int = 0
) -> list[Cube]:
    """Cubes that hold all of ``wanted`` and none of ``others``, few and short.

    ``weights``: how much each bit says; the least telling go first. ``need``: each cube asks for one of
    these bits, where there are any.
    """
    found: list[Cube] = []
    rest = sorted(wanted, key=lambda bits: (bits.bit_count(), bits))
    while rest:
        cube = _widest(rest[0], others, weights, need)
        found.append(cube)
        rest = [bits for bits in rest if not holds(cube, bits)]
    # What a later, wider one holds too needn't be said.
    for cube in found[:]:
        others_ = [one for one in found if one is not cube]
        if all(any(holds(one, bits) for one in others_) for bits in wanted if holds(cube, bits)):
            found = others_
    return found


def holds(cube: Cube, bits: int) -> bool:
    """Whether a class is in a cube."""
    return bits & cube[0] == cube[0] and not bits & cube[1]


def _bits(number: int) -> list[int]:
    return [1 << at for at in range(number.bit_length()) if number >> at & 1]


def _widest(bits: int, others: Collection[int], weights: Sequence[int], need: int) -> Cube:
    yes, no = bits, 0
    wrong = [one for one in others if one & yes == yes]
    while wrong:
        # What most of the wrong ones have, and this one hasn't.
        missing = [bit for one in wrong for bit in _bits(one & ~bits)]
        bit = max(sorted(set(missing)), key=missing.count)
        no |= bit
        wrong = [one for one in wrong if not one & bit]
    for bit in sorted(_bits(yes), key=lambda one: weights[one.bit_length() - 1]):
        less = yes & ~bit
        if need and not less & need:
            continue
        if not any(holds((less, no), one) for one in others):
            yes = less
    for bit in _bits(no):
        if not any(holds((yes, no & ~bit), one) for one in others):
            no &= ~bit
    return yes, no
