"""Flags that several verbs have, as what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.errors import UsageError
from flowwatch.flows.model import BOTH

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed


def direction(parsed: Parsed) -> str:
    """``--direction``."""
    return parsed.text("direction").lower()


def directions(parsed: Parsed) -> frozenset[str]:
    """The directions that ``--direction`` means."""
    way = direction(parsed)
    return BOTH if way == "both" else frozenset((way,))


def max_rows(parsed: Parsed) -> int:
    """``--max-rows``."""
    return parsed.number("max-rows")


def filter_text(parsed: Parsed) -> str:
    """``--filter``, in the language of flowwatch.egress.filters; empty without. Raises UsageError."""
    text = parsed.text("filter")
    if text:
        from flowwatch.egress.filters import read_filter

        terms = read_filter(text)
        asked = any(atom.key == "staged" for term in terms for atom in term.atoms)
        if asked and "staged" not in parsed.flags:
            raise UsageError(
                "staged: asks what staged policies would do, which the dashboard tells",
                "flowwatch --staged DIR, or flowwatch whatif -f DIR",
            )
    return text


def filter_words(parsed: Parsed) -> str:
    """The filters as they were typed, for a title."""
    words = []
    for name, value in parsed.filters:
        words.append(f"--{name}" if value in ("true", "v4", "v6") else f"--{name} {value}")
    return " ".join(words)


def limit_words(parsed: Parsed) -> str:
    """The same, and the window: all that limits what is seen."""
    window = [name for name in ("since", "until", "first", "last") if parsed.was_set(name)]
    words = [filter_words(parsed), *[f"--{name} {parsed.get(name)}" for name in window]]
    return " ".join(filter(None, words))


def stable_of(parsed: Parsed) -> int:
    """Nanoseconds of ``--stable``; 0 without."""
    from flowwatch.cli.values import age_of

    text = parsed.text("stable")
    return age_of(text) if text else 0
