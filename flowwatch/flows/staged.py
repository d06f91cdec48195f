"""What policies that aren't in force yet would do to rows' attempts: who counts is told by who judges."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from flowwatch.flows.join import Joined

NO_CHANGE = "no change"


class Did(NamedTuple):
    """What one staged policy would do to some attempts."""

    policy: str
    """``namespace/name``, or the name."""
    deny: int
    admit: int


class Staged(NamedTuple):
    """Attempts of a row by what the staged policies would change for them; as ``flowwatch whatif`` counts."""

    deny: int = 0
    """Let through now, and denied then."""
    admit: int = 0
    """Denied now, and let through then."""
    cant_tell: int = 0
    same: int = 0
    by: tuple[Did, ...] = ()
    """The policies that would do it, those that deny first; an attempt may count with several."""
    why: str = ""
    """Of what would change for most attempts: the decision, in a sentence."""

    @property
    def attempts(self) -> int:
        return self.deny + self.admit + self.cant_tell + self.same

    @property
    def words(self) -> str:
        """``would deny · draft-2``, ``would admit``, ``can't tell``, ``no change``: the gravest of them.

        A number says that it is so of some of the row's attempts alone.
        """
        for what, count, place in (
            ("would deny", self.deny, 1),
            ("would admit", self.admit, 2),
            ("can't tell", self.cant_tell, 0),
        ):
            if not count:
                continue
            some = f" {count:,}" if count < self.attempts else ""
            named = [one[0].rpartition("/")[2] for one in self.by if place and one[place]]
            more = f" +{len(named) - 1}" if len(named) > 1 else ""
            return f"{what}{some}" + (f" · {named[0]}{more}" if named else "")
        return NO_CHANGE


class Stager(Protocol):
    """Who judges. It hears of each batch before those who count."""

    @property
    def given(self) -> tuple[tuple[str, str], ...]:
        """Names and kinds of the staged policies."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is amiss with them, in words."""

    def see(self, joined: Joined, egress: array[int], ingress: array[int]) -> None:
        """A batch was counted: in which rows, by the numbers of attempts; below 0 in none."""

    def refresh(self) -> bool:
        """Look whether they were changed; whether they were. Called while no lock is held."""

    def judge(
        self,
        egress: array[int],
        ingress: array[int],
        staged: dict[int, Staged],
        at_most: int | None,
    ) -> bool:
        """Bring ``staged``, by row, up to date: ``at_most`` so many judgements; None: all that there are.

        True when nothing is left. Called while the join's lock is held.
        """

    def settle(self) -> None:
        """All was read. Called while no lock is held."""

    def move(self, moved: Mapping[int, int]) -> None:
        """The rows have other numbers now."""


def together(staged: Iterable[Staged | None]) -> Staged | None:
    """The sums, exactly; None without any."""
    known = [one for one in staged if one is not None]
    if not known:
        return None
    by: dict[str, tuple[int, int]] = {}
    for one in known:
        for policy, deny, admit in one.by:
            before = by.get(policy, (0, 0))
            by[policy] = before[0] + deny, before[1] + admit
    worst = max(known, key=lambda one: (one.deny, one.admit, one.cant_tell))
    deny, admit, cant_tell, same = (
        sum(numbers) for numbers in zip(*[one[:4] for one in known], strict=True)
    )
    return Staged(deny, admit, cant_tell, same, ordered(by), worst.why)


def ordered(by: Mapping[str, tuple[int, int]]) -> tuple[Did, ...]:
    """Those that deny most first."""
    made = [Did(policy, *counts) for policy, counts in by.items()]
    return tuple(sorted(made, key=lambda one: (-one.deny, -one.admit, one.policy)))
