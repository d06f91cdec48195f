"""A regular expression as an automaton: each character of a text is looked at once, whatever the expression.

A state is a set of places in the expression (Thompson), made when a text first leads there, and kept. The
work on a text is linear in its length, and at most its length times the size of the expression. Size and
work are bounded, since who wrote the text may not be who wrote the expression: :class:`TooCostly`.
"""

from __future__ import annotations

import collections.abc
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from flowwatch.re2 import syntax
from flowwatch.re2.classes import Bounds, has
from flowwatch.re2.syntax import Chars, Either, Look, Node, Repeat, Sequence, TooCostly, Tree

MOST_PLACES = 50_000
"""Places in one expression: 10 MB, and a tenth of a second to make them."""
MOST_RANGES = 500_000
"""Ranges of characters in one expression."""
MOST_STEPS = 1_000_000
"""Places looked at for one text: some 0.2 s. What an earlier text led to costs nothing any more."""

# What stands on either side of a place between two characters.
_EDGE, _WORD, _NEWLINE, _OTHER = range(4)
_WORDS = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_BEGINS = {_NEWLINE: syntax.BEGIN_LINE, _EDGE: syntax.BEGIN_LINE | syntax.BEGIN_TEXT}
_ENDS = {_NEWLINE: syntax.END_LINE, _EDGE: syntax.END_LINE | syntax.END_TEXT}


def _context(before: int, after: int) -> int:
    """The assertions that hold between two kinds of characters (EmptyOpContext)."""
    differs = (before == _WORD) != (after == _WORD)
    boundary = syntax.WORD_BOUNDARY if differs else syntax.NO_WORD_BOUNDARY
    return boundary | _BEGINS.get(before, 0) | _ENDS.get(after, 0)


_CONTEXT = [[_context(before, after) for after in range(4)] for before in range(4)]


class _Step(NamedTuple):
    """A character of a set leads on to a place."""

    bounds: Bounds
    to: int


class _Fork(NamedTuple):
    """Who is here is in all these places as well, if the assertion holds (0: always)."""

    to: tuple[int, ...]
    looks: int = 0


_MATCH, _START = 0, 1
_Places = list[_Step | _Fork | None]
_Left = list[tuple[Node, int, int]]
"""Parts that are still to be made, with the places where they start and end."""


def places(tree: Tree) -> _Places:
    """The places of an expression, of which 0 is its end and 1 its start.

    Raises:
        TooCostly: they are too many.
    """
    if tree.size > MOST_PLACES:
        raise TooCostly("it is too large")
    found: _Places = [None, None]
    left: _Left = [(tree.node, _START, _MATCH)]
    sets: set[Bounds] = set()
    ranges = 0
    while left:
        node, start, end = left.pop()
        if isinstance(node, Chars):
            if node.bounds not in sets:
                sets.add(node.bounds)
                ranges += len(node.bounds)
            found[start] = _Step(node.bounds, end)
        elif isinstance(node, Look):
            found[start] = _Fork((end,), node.kind)
        elif isinstance(node, Sequence):
            left += _chain(found, node.items, start, end)
        elif isinstance(node, Either):
            starts = tuple(_new(found) for _ in node.items)
            found[start] = _Fork(starts)
            left += [(item, at, end) for item, at in zip(node.items, starts, strict=True)]
        else:
            left += _repeated(found, node, start, end)
        if len(found) > MOST_PLACES or ranges > MOST_RANGES:
            raise TooCostly("it is too large")
    return found


def _new(found: _Places) -> int:
    found.append(None)
    return len(found) - 1


def _chain(found: _Places, items: collections.abc.Sequence[Node], start: int, end: int) -> _Left:
    """One after the other."""
    if not items:
        found[start] = _Fork((end,))
        return []
    between = [_new(found) for _ in items[1:]]
    return list(zip(items, [start, *between], [*between, end], strict=True))


def _repeated(found: _Places, node: Repeat, start: int, end: int) -> _Left:
    item, least, most = node
    if most < 0:
        loop = _new(found) if least else start
        body = _new(found)
        found[loop] = _Fork((body, end))
        made: _Left = [(item, body, loop)]
        return made + _chain(found, (item,) * least, start, loop) if least else made
    # x{2,4} is xx(x(x)?)?
    after = end if least == most else _new(found)
    made = _chain(found, (item,) * least, start, after)
    for left in range(most - least, 0, -1):
        body, start = _new(found), after
        after = end if left == 1 else _new(found)
        found[start] = _Fork((body, end))
        made.append((item, body, after))
    return made


class _State(dict[str, "_State"]):
    """Places, and by each character seen there the state that it leads to."""

    __slots__ = ("before", "by_class", "ends", "machine", "places")

    def __init__(self, machine: Machine, places: frozenset[int], before: int) -> None:
        self.machine = machine
        self.places = places
        self.before = before
        self.by_class: dict[int, _State] = {}
        self.ends: bool | None = None

    def __missing__(self, char: str) -> _State:
        return self.machine.after(self, char)


class _Decided(_State):
    """Where nothing that follows changes the answer."""

    def __missing__(self, char: str) -> _State:
        return self


class Machine:
    """The automaton of an expression. Several threads may ask it: then the steps are a guess.

    Args:
        tree: the expression.
        anywhere: whether a match within the text is enough, or it must be all of it.
        keeps: called with how much more is kept from now on, in things of some 100 bytes.

    Raises:
        TooCostly: it is too large.
    """

    def __init__(self, tree: Tree, *, anywhere: bool, keeps: Callable[[int], None]) -> None:
        self._places = places(tree)
        self._anywhere = anywhere
        self._keeps = keeps
        sets = {one.bounds for one in self._places if isinstance(one, _Step)}
        self._edges = sorted({edge for bounds in sets for edge in bounds})
        looks = {one.looks for one in self._places if isinstance(one, _Fork)}
        self._looks = bool(looks - {0})
        self._by_word = bool(looks & {syntax.WORD_BOUNDARY, syntax.NO_WORD_BOUNDARY})
        self._states: dict[tuple[frozenset[int], int], _State] = {}
        self._first = self._state(frozenset((_START,)), _EDGE)
        self._yes, self._no = (_Decided(self, frozenset(), _OTHER) for _ in range(2))
        self._yes.ends, self._no.ends = True, False
        self.left = 0
        keeps(len(self._places) + len(self._edges))

    def matches(self, text: str, most_steps: int) -> bool:
        """Whether the expression matches; :attr:`left` tells what is left of the steps.

        Raises:
            TooCostly: finding out takes more steps.
        """
        self.left = most_steps
        state = self._first
        for char in text:
            state = state[char]
        if state.ends is None:
            state.ends = _MATCH in self._reached(state, _EDGE)
        return state.ends

    def after(self, state: _State, char: str) -> _State:
        """The state that a character leads to; kept in ``state``."""
        # Characters between the same edges are in the same sets.
        kind = self._kind(char)
        alike = bisect_right(self._edges, ord(char)) * 4 + kind
        known = state.by_class.get(alike)
        if known is None:
            known = state.by_class[alike] = self._made(state, ord(char), kind)
        state[char] = known
        self._keeps(1)
        return known

    def _made(self, state: _State, code: int, kind: int) -> _State:
        reached = self._reached(state, kind)
        if self._anywhere and _MATCH in reached:
            return self._yes
        steps = [one for at in reached if isinstance(one := self._places[at], _Step)]
        # Far fewer sets than places, mostly: each is asked once.
        inside = {bounds for bounds in {one.bounds for one in steps} if has(bounds, code)}
        to = {one.to for one in steps if one.bounds in inside}
        if self._anywhere:
            to.add(_START)
        return self._state(frozenset(to), kind) if to else self._no

    def _kind(self, char: str) -> int:
        if not self._looks:
            return _OTHER
        if char == "\n":
            return _NEWLINE
        return _WORD if self._by_word and char in _WORDS else _OTHER

    def _state(self, places: frozenset[int], before: int) -> _State:
        key = (places, before)
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _State(self, places, before)
            self._keeps(4 + len(places))
        return state

    def _reached(self, state: _State, after: int) -> set[int]:
        """All places that one is in, before the next character."""
        holds = _CONTEXT[state.before][after]
        reached = set(state.places)
        left = list(reached)
        while left:
            one = self._places[left.pop()]
            if isinstance(one, _Fork) and one.looks & holds == one.looks:
                fresh = [at for at in one.to if at not in reached]
                reached.update(fresh)
                left += fresh
        self.left -= len(reached)
        if self.left < 0:
            raise TooCostly("it can match in too many ways")
        return reached
