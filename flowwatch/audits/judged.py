"""One row of the audit, as far as hints need it, and a hint about one rule."""

from __future__ import annotations

from dataclasses import dataclass

from flowwatch.audits.evidence import Observation
from flowwatch.audits.findings import Hint
from flowwatch.policy.engine import Decision
from flowwatch.policy.rules import Entry


@dataclass(frozen=True, slots=True)
class Judged:
    """Attempts that the policies decide alike."""

    seen: Observation
    decision: Decision
    attempts: int
    late: int = 0
    """Of these, denied at first and then let through."""
    waited: float = 0.0
    """The longest wait of them, seconds."""
    unauthenticated: int = 0
    """Of the late ones, those that were dropped until their ends had authenticated."""


def hint(name: str, entry: Entry, text: str, attempts: int = 0) -> Hint:
    """A hint about one rule."""
    return Hint(name, entry.policy, entry.line, text, attempts)
