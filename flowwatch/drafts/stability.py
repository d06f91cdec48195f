"""Whether a draft is still learning: a rule is stable once nothing new came for as long as was asked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from flowwatch.flows.clocks import span
from flowwatch.text import plural

if TYPE_CHECKING:
    from flowwatch.drafts.needs import Needs
    from flowwatch.drafts.rules import Plan, Rule
    from flowwatch.flows.model import Batch

_EVERY = 1.0
"""Seconds between looks at what is open."""
_SHARE = 0.1
"""Of a core that looking may take."""


class Stability(NamedTuple):
    """What was asked for, in nanoseconds, and when it is looked at."""

    asked: int
    now: int

    def of_rule(self, rule: Rule) -> str:
        """A rule's own word; "" of one that no traffic shows."""
        newest = _newest([rule])
        return self._words(newest) if newest else ""

    def of_plan(self, plan: Plan) -> str:
        """The word for a whole policy."""
        told = self._words(_newest(plan.rules))
        shown = [rule for rule in plan.rules if rule.evidence]
        learning = sum(not self.holds(_newest([rule])) for rule in shown)
        return f"{told} ({learning} of {plural(len(shown), 'rule')} learning)" if learning else told

    def holds(self, newest: int) -> bool:
        """Whether so long passed since the newest of what was seen."""
        return self.now - newest >= self.asked

    def _words(self, newest: int) -> str:
        ago = span(max(self.now - newest, 0) / 1e9)
        if self.holds(newest):
            return f"stable: nothing new in {ago}"
        return f"learning: something new {ago} ago, stable after {span(self.asked / 1e9)} without"


def _newest(rules: Iterable[Rule]) -> int:
    """When what a rule is for was first seen, of its newest peer and port."""
    return max((one.first for rule in rules for one in rule.evidence.values()), default=0)


def until_stable(batches: Iterable[Batch], needs: Needs, asked: int) -> Iterator[Batch]:
    """``batches``, until nothing new was needed for ``asked`` nanoseconds, by our own clock."""
    look = time.monotonic() + _EVERY
    for batch in batches:
        yield batch
        began = time.monotonic()
        if began < look:
            continue
        newest = needs.newest()
        if newest and time.time_ns() - newest >= asked:
            return
        took = time.monotonic() - began
        look = began + max(_EVERY, took / _SHARE)
