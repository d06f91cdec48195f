"""An expression, its answers, and how much all of them may keep."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import NoReturn

from flowwatch.re2 import google
from flowwatch.re2.machine import MOST_PLACES, MOST_STEPS, Machine
from flowwatch.re2.syntax import TooCostly, Tree, parse

MOST_STEPS_IN_ALL = 50 * MOST_STEPS
"""For all texts that one expression meets: some ten seconds."""
MOST_HELD = 1_000_000
"""Things that the automata of all expressions keep: 100 MB. Past it they are made anew."""
MOST_OURS = 512
"""Longest text that is tried here although google-re2 is there: a path of 20 letters takes 0.6 µs here and
2.8 µs there, where each letter more costs less."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_SHOWN = 60


class Expression:
    """A regular expression as Go reads it. Made by :func:`compile`; any thread may ask it.

    Who asks the same again and again does well to remember the answers.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        tree = parse(pattern)
        self._anywhere = _Way(tree, anywhere=True)
        self._exactly = _Way(tree, anywhere=False)

    def __repr__(self) -> str:
        return f"Expression({self.pattern!r})"

    def search(self, text: str) -> bool:
        """Whether a part of ``text`` matches (Go's MatchString).

        Raises:
            TooCostly: finding out would take too long; worth a line of its own, never an answer.
        """
        answer = self._anywhere.answer(text)
        return answer if isinstance(answer, bool) else self._costly(answer)

    def fullmatch(self, text: str) -> bool:
        """Whether all of ``text`` matches, as a proxy asks.

        Raises:
            TooCostly: as :meth:`search`.
        """
        answer = self._exactly.answer(text)
        return answer if isinstance(answer, bool) else self._costly(answer)

    @property
    def steps(self) -> int:
        """The work so far, of the automata here: places looked at."""
        return self._anywhere.steps + self._exactly.steps

    def _costly(self, why: object) -> NoReturn:
        shown = self.pattern if len(self.pattern) <= _SHOWN else f"{self.pattern[:_SHOWN]}…"
        raise TooCostly(f"the expression {shown} is too costly to try here: {why}")


class _Way:
    """One of the two ways to ask an expression."""

    def __init__(self, tree: Tree, *, anywhere: bool) -> None:
        self._tree = tree
        self._is_anywhere = anywhere
        self._machine: Machine | None = None
        self._costly = False
        self._longest = -1
        self._matcher: Callable[[str], bool] | None = None
        self.steps = 0

    def answer(self, text: str) -> bool | str:
        """Whether it matches, or why nobody can tell in time."""
        if not text.isascii():
            text = _SURROGATES.sub("\ufffd", text)  # as Go sees bytes that are no UTF-8
        if len(text) > MOST_OURS or self._costly:
            googles = self._googles(text)
            if googles is not None:
                return googles
        answer = self._ours(text)
        if isinstance(answer, bool) or self._costly:
            return answer
        self._costly = True
        googles = self._googles(text)
        return answer if googles is None else googles

    def _googles(self, text: str) -> bool | None:
        if self._longest < 0:
            self._longest = google.MOST_WORK // self._tree.size
            if self._tree.size <= MOST_PLACES:
                self._matcher = google.matcher(self._tree, anywhere=self._is_anywhere)
        if self._matcher is None or len(text) > self._longest:
            return None
        return self._matcher(text)

    def _ours(self, text: str) -> bool | str:
        try:
            machine = self._machine or self._made()
        except TooCostly as costly:
            return str(costly)
        most = min(MOST_STEPS, MOST_STEPS_IN_ALL - self.steps)
        try:
            return machine.matches(text, most)
        except TooCostly as costly:
            return str(costly)
        finally:
            self.steps += most - machine.left

    def _made(self) -> Machine:
        _held.register(self)
        self._machine = Machine(self._tree, anywhere=self._is_anywhere, keeps=_held.add)
        return self._machine

    def forget(self) -> None:
        """Let go of what texts led to; it can be made again."""
        self._machine = None


class _Held:
    """How much all automata keep; when that is too much, each lets go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._ways: weakref.WeakSet[_Way] = weakref.WeakSet()

    def register(self, way: _Way) -> None:
        with self._lock:
            self._ways.add(way)

    def add(self, count: int) -> None:
        self._count += count  # an estimate: threads may get in each other's way
        if self._count <= MOST_HELD:
            return
        with self._lock:
            self._count = 0
            ways = list(self._ways)
            self._ways.clear()
        for way in ways:
            way.forget()


_held = _Held()


@lru_cache(maxsize=4096)
def compile(pattern: str) -> Expression:
    """Read an expression by Go's rules (regexp, RE2's syntax).

    Raises:
        RegexError: Go refuses it; the message is Go's.
        TooCostly: it is too large to be read here; Go might take it.
    """
    return Expression(pattern)
