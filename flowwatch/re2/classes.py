"""Sets of characters, as Go's regular expressions know them.

A set is the code points at which membership changes, in order: ``(0x30, 0x3a)`` are the digits, ``(0, 10,
11, 0x110000)`` is all but the line feed. Case and Unicode's classes come from ``unicode.txt``, which is
Go's own tables (Unicode 15, as Go 1.26 has it), written by ``python -m tests.interop.regexps``.

Facts: Go 1.26, regexp/syntax (perl_groups.go, parse.go) and unicode.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path

Bounds = tuple[int, ...]

END = 0x110000
"""One more than the last code point."""
ALL: Bounds = (0, END)
NOT_NEWLINE: Bounds = (0, 10, 11, END)

_DIGIT, _LOWER, _UPPER = (0x30, 0x3A), (0x61, 0x7B), (0x41, 0x5B)
_WORD = (*_DIGIT, *_UPPER, 0x5F, 0x60, *_LOWER)

PERL: dict[str, Bounds] = {
    "d": _DIGIT,
    "s": (0x09, 0x0B, 0x0C, 0x0E, 0x20, 0x21),  # without the vertical tab
    "w": _WORD,
}
"""``\\d`` and the like: ASCII alone."""
POSIX: dict[str, Bounds] = {
    "alnum": (*_DIGIT, *_UPPER, *_LOWER),
    "alpha": (*_UPPER, *_LOWER),
    "ascii": (0, 0x80),
    "blank": (0x09, 0x0A, 0x20, 0x21),
    "cntrl": (0, 0x20, 0x7F, 0x80),
    "digit": _DIGIT,
    "graph": (0x21, 0x7F),
    "lower": _LOWER,
    "print": (0x20, 0x7F),
    "punct": (0x21, 0x30, 0x3A, 0x41, 0x5B, 0x61, 0x7B, 0x7F),
    "space": (0x09, 0x0E, 0x20, 0x21),
    "upper": _UPPER,
    "word": _WORD,
    "xdigit": (*_DIGIT, 0x41, 0x47, 0x61, 0x67),
}
"""``[[:alpha:]]`` and the like."""


def has(bounds: Bounds, code: int) -> bool:
    """Whether a code point is in a set."""
    return bool(bisect_right(bounds, code) & 1)


def pairs(bounds: Bounds) -> Iterator[tuple[int, int]]:
    """First code point, and one after the last, of each range."""
    return zip(bounds[::2], bounds[1::2], strict=True)


def union(sets: Iterable[Bounds]) -> Bounds:
    """What is in any of them."""
    ranges = sorted(pair for one in sets for pair in pairs(one))
    merged: list[int] = []
    for start, stop in ranges:
        if merged and start <= merged[-1]:
            merged[-1] = max(merged[-1], stop)
        else:
            merged += (start, stop)
    return tuple(merged)


def complement(bounds: Bounds) -> Bounds:
    """Every other code point."""
    start = bounds[1:] if bounds[:1] == (0,) else (0, *bounds)
    return start[:-1] if start[-1:] == (END,) else (*start, END)


def folded(bounds: Bounds) -> Bounds:
    """A set, and what is equal to a member of it where case doesn't count (unicode.SimpleFold)."""
    codes, others = _folds()
    more = [
        (code, code + 1)
        for start, stop in pairs(bounds)
        for at in range(bisect_left(codes, start), bisect_left(codes, stop))
        for code in others[at]
    ]
    return union((bounds, *more)) if more else bounds


@lru_cache(maxsize=256)
def named(name: str, *, fold: bool = False) -> Bounds | None:
    """The set that ``\\p{name}`` means; None when Go knows none of that name.

    Args:
        fold: whether case doesn't count.
    """
    # As Go has it: a script whose name holds an underscore is never found.
    name = _canonical(name)
    name = _aliases().get(name, name) if name not in _partition("script") else name
    if name in ("Any", "Ascii", "Assigned"):
        found: Bounds | None = {"Any": ALL, "Ascii": (0, 0x80)}.get(name)
        found = found or complement(_category("Cn") or ())
    elif name in ("Lc", "LC"):
        return _category("LC")  # Go folds all but these
    else:
        found = _category(name) or _partition("script").get(name)
    return folded(found) if fold and found is not None else found


_UNIONS = {"LC": ("Lu", "Ll", "Lt"), "C": ("Cc", "Cf", "Co", "Cs", "Cn")}
_UNASSIGNED = "-"


@lru_cache(maxsize=64)
def _category(name: str) -> Bounds | None:
    known = _partition("category")
    if name == "Cn":
        return known[_UNASSIGNED]
    if name in known and name != _UNASSIGNED:
        return known[name]
    wanted = _UNIONS.get(name) or [one for one in known if len(name) == 1 and one[0] == name]
    if not wanted or name == _UNASSIGNED:
        return None
    return union(known[_UNASSIGNED if one == "Cn" else one] for one in wanted)


def _canonical(name: str) -> str:
    """The one spelling of a name: capital first, no spaces, hyphens, underscores. ASCII alone."""
    plain = "".join(c.lower() if c.isascii() else c for c in name if c not in "_- ")
    return plain[:1].upper() + plain[1:] if plain[:1].isascii() else plain


# The file


@cache
def _lines() -> dict[str, str]:
    file = Path(__file__).with_name("unicode.txt")
    lines = (line.partition(" ") for line in file.read_text("ascii").splitlines())
    return {kind: rest for kind, _, rest in lines if kind != "#"}


def _assignments(kind: str) -> Iterator[tuple[str, str]]:
    for item in _lines()[kind].split():
        name, _, value = item.partition("=")
        yield name, value


@cache
def _partition(kind: str) -> dict[str, Bounds]:
    """All code points, each in one of the sets; those in none are ``-``."""
    starts = [(int(start, 16), name) for start, name in _assignments(kind)]
    ends = [*(start for start, _ in starts[1:]), END]
    found: dict[str, list[int]] = {}
    for (start, name), end in zip(starts, ends, strict=True):
        found.setdefault(name, []).extend((start, end))
    return {name: tuple(bounds) for name, bounds in found.items()}


@cache
def _aliases() -> dict[str, str]:
    return {_canonical(name): short for name, short in _assignments("alias")}


@cache
def _folds() -> tuple[list[int], list[list[int]]]:
    """Code points that have others, in order, and those others."""
    orbits: dict[int, list[int]] = {}
    for first, rest in _assignments("fold"):
        orbit = [int(first, 16), *(int(code, 16) for code in rest.split(","))]
        for code in orbit:
            orbits[code] = [other for other in orbit if other != code]
    codes = sorted(orbits)
    return codes, [orbits[code] for code in codes]
