"""Names of enum values that are newer than our wire contract.

A number on the wire stays that number. In JSON there is only the name, so it is given a number of
its own for the life of this process, and printed as the name again.
"""

from __future__ import annotations

FIRST = -1001
"""The first of these numbers; the next are below it. Small negative ones mean other things."""

LIMIT = 1000

_numbers: dict[str, int] = {}
_names: dict[int, str] = {}


def newer_number(name: str) -> int:
    """The number that stands for ``name`` in this process: FIRST and below, never one of Hubble's.

    Past :data:`LIMIT` names (no Hubble adds so many, a hostile file may) the rest share one.
    """
    number = _numbers.get(name)
    if number is None:
        number = FIRST - len(_numbers)
        if len(_numbers) >= LIMIT:
            return number
        _numbers[name] = number
        _names[number] = name
    return number


def newer_name(number: int) -> str:
    """The name behind a number from :func:`newer_number`, or ""."""
    return _names.get(number, "")


def is_newer(number: int) -> bool:
    """Whether ``number`` is one of those that stand for newer names."""
    return FIRST - LIMIT <= number <= FIRST


def newer_names() -> list[str]:
    """All such names met in this process, in that order."""
    return list(_numbers)
