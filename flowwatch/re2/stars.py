"""Names with stars, matched star by star: linear, whatever the pattern.

Cilium and Hubble turn such patterns into expressions of character classes; here a name is split where no
star reaches over, and within each part the pieces between the stars are looked for from left to right.
The first place where a piece is found is always right: a star may stand for all that follows it.
"""

from __future__ import annotations

import re


class Stars:
    """A pattern of plain characters and ``*``, which stands for any number of those it may."""

    __slots__ = ("_allowed", "_apart", "_below", "_parts")

    def __init__(self, pattern: str, *, apart: str, allowed: str, below: bool = False) -> None:
        """Take a pattern apart.

        Args:
            pattern: plain characters, each of ``allowed``, and stars.
            apart: the one allowed character that no star stands for.
            allowed: the characters that a name can have, as a class of ``re``.
            below: whether one part or more must stand before it, none of them empty.
        """
        self._apart = apart
        self._allowed = re.compile(rf"[{allowed}]*+").fullmatch
        self._below = below
        self._parts = [part.split("*") for part in pattern.split(apart)]

    def matches(self, name: str) -> bool:
        """Whether it means ``name``, in this very case."""
        parts = name.split(self._apart)
        before = len(parts) - len(self._parts)
        if before < 0 or bool(before) != self._below or self._allowed(name) is None:
            return False
        return all(parts[:before]) and all(map(_fits, parts[before:], self._parts))


def _fits(text: str, pieces: list[str]) -> bool:
    """Whether the pieces stand in ``text`` in this order, the first at its start, the last at its end."""
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return text == first
    end = len(text) - len(last)
    if end < len(first) or not text.startswith(first) or not text.endswith(last):
        return False
    at = len(first)
    for piece in pieces[1:-1]:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True
