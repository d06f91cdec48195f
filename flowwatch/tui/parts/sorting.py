"""The order of a list by one of its headings: a click on it, or a key, as in the table of rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from flowwatch.report.human import width
from flowwatch.tui.format import Line

Entry = TypeVar("Entry")

Ranks = Callable[[str], "Sequence[Any] | None"]
"""Gives, by what a heading is called, what each line is put in order by; None: by nothing."""

_AMOUNT = re.compile(r"[+-]?[\d,]*\.?\d+")


class Sorted(NamedTuple):
    """The order that was chosen."""

    by: str
    """What its heading is called."""
    reverse: bool = False

    def __str__(self) -> str:
        return f"{self.by} reversed" if self.reverse else self.by


def called(heading: str) -> str:
    """How a heading is named in words and in a file: ``cause`` of ``CAUSE, then WHO``."""
    return re.split(r"[,(]", heading)[0].strip().lower()


def ranked(
    texts: Sequence[str], values: Sequence[float | None], *, number: bool
) -> list[tuple[bool, Any]]:
    """What cells are put in order by: amounts (the largest first), else texts; those without come last.

    ``values``: of what doesn't stand in its text as a number that can be compared.
    """
    if any(value is not None for value in values):
        return [(value is None, -(value or 0.0)) for value in values]
    if number:
        return [(False, -_amount(text)) for text in texts]
    return [(not text, text.casefold()) for text in texts]


def _amount(text: str) -> float:
    found = _AMOUNT.search(text)
    return float(found[0].replace(",", "")) if found else 0.0


def in_order(entries: Sequence[Entry], ranks: Sequence[Any], *, reverse: bool) -> list[Entry]:
    """``entries`` by ``ranks``, equal ones as they were; what has no rank stays behind them."""
    places = sorted(range(len(ranks)), key=ranks.__getitem__, reverse=reverse)
    return [*(entries[place] for place in places), *entries[len(ranks) :]]


def marked(head: Line, order: Sorted | None) -> Line:
    """The headings, the one that orders the list among them marked."""
    if order is None:
        return head
    return tuple([(text, "strong" if called(text) == order.by else role) for text, role in head])


def heading_at(head: Line, column: int, headings: Sequence[str]) -> str:
    """What the heading in this column of the terminal is called, if it is one of ``headings``; else ""."""
    end = 0
    for text, _ in head:
        end += width(text)
        if column < end:
            return called(text) if called(text) in headings else ""
    return ""


def headings_in(head: Line, headings: Sequence[str]) -> list[str]:
    """Those of ``headings`` that stand there."""
    return [name for text, _ in head if (name := called(text)) in headings]


def after(order: Sorted | None, headings: Sequence[str]) -> Sorted | None:
    """The order that comes next: heading by heading, and then the list's own again (None)."""
    names = [None, *headings]
    place = names.index(order.by) if order is not None and order.by in headings else 0
    following = names[(place + 1) % len(names)]
    return None if following is None else Sorted(following)


def read_order(text: str) -> Sorted:
    """``who talks to it reversed``, as it is written in a file."""
    by = text.strip().lower()
    return Sorted(by.removesuffix(" reversed"), by.endswith(" reversed"))


Orders = Mapping[str, Sorted]
"""By a view's name."""
