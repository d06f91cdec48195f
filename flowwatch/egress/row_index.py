"""Which row a combination of small numbers has, in 10 bytes a row.

    index = RowIndex()
    index.row(columns, key)

A dict of a million packed keys took 100 MB, and as much again while it grew: each key and each row's
number is an object there. Here only rows' numbers are kept, by their key's hash (open addressing); the
key itself is read off the columns that hold it anyway.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from os import urandom

Key = tuple[int, ...]
"""What the columns hold of a row, in their order."""

_FIRST = 1024
_EMPTY = -1
_BITS = 0xFFFFFFFF
_SALT = int.from_bytes(urandom(7))
"""So that nobody who makes records knows which keys share a slot."""


class RowIndex:
    """Rows by their key, numbered 0, 1, 2 … as they come. One thread."""

    __slots__ = ("_hashes", "_mask", "_slots")

    def __init__(self) -> None:
        self._slots = array("i", [_EMPTY]) * _FIRST
        self._mask = _FIRST - 1
        self._hashes = array("I")
        """Of each row's key: most rows are told apart by it, and growing asks for no more."""

    def __len__(self) -> int:
        return len(self._hashes)

    def row(self, columns: Sequence[Sequence[int]], key: Key) -> int:
        """The row of which ``columns`` hold ``key``; the next one, for the caller to fill, if none does."""
        slots, mask, hashes = self._slots, self._mask, self._hashes
        hashed = hash((_SALT, key)) & _BITS
        slot = hashed & mask
        while (row := slots[slot]) >= 0:
            if hashes[row] == hashed and all(
                column[row] == part for column, part in zip(columns, key, strict=True)
            ):
                return row
            slot = slot + 1 & mask
        row = slots[slot] = len(hashes)
        hashes.append(hashed)
        if 3 * row > 2 * mask:
            self._grow()
        return row

    def _grow(self) -> None:
        """Twice the room: 0.2 s for a million rows."""
        size = 2 * len(self._slots)
        mask = size - 1
        slots = array("i", [_EMPTY]) * size
        for row, hashed in enumerate(self._hashes):
            slot = hashed & mask
            while slots[slot] >= 0:
                slot = slot + 1 & mask
            slots[slot] = row
        self._slots, self._mask = slots, mask
