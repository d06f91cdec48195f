"""The last guard around one record: what it could not be read for is told, and the next one is read."""

from __future__ import annotations

from typing import Protocol, TypeVar

from flowwatch.flows.model import Batch, Unread
from flowwatch.hubble.wire.errors import AGENT_EVENT, DEBUG_EVENT

_Record = TypeVar("_Record", contravariant=True)

TOLD = 1000
"""Unread records that a batch holds at most; more are only counted."""

# Hubble's own, but no flows: nothing is wrong with them.
_UNDERSTOOD = frozenset({AGENT_EVENT, DEBUG_EVENT})


class Where(Protocol[_Record]):
    """Tells of a record its place among those of its source, and its bytes."""

    def __call__(self, record: _Record, /) -> tuple[int, bytes]: ...


def nowhere(_record: object) -> tuple[int, bytes]:
    """For who doesn't care."""
    return 0, b""


def unread(batch: Batch, why: str, where: Where[_Record], record: _Record) -> None:
    """Count a record that can't be read, and tell where it is."""
    batch.skipped[why] = batch.skipped.get(why, 0) + 1
    if why not in _UNDERSTOOD and len(batch.unread) < TOLD:
        number, data = where(record)
        batch.unread.append(Unread(number, why, data))


def records_in(batch: Batch) -> int:
    """How many records ``batch`` was made from: each one became one of these."""
    return len(batch.flows) + len(batch.lost) + len(batch.nodes) + sum(batch.skipped.values())


def merge(batch: Batch, more: Batch) -> None:
    """Add what ``more`` holds to ``batch``."""
    batch.flows += more.flows
    batch.lost += more.lost
    batch.nodes += more.nodes
    batch.unread += more.unread
    batch.notes += more.notes
    batch.more += more.more
    for reason, number in more.skipped.items():
        count(batch.skipped, reason, number)
    for what, number in more.not_recorded.items():
        count(batch.not_recorded, what, number)
    for what, number in more.odd.items():
        count(batch.odd, what, number)
    for what, number in more.unwrapped.items():
        count(batch.unwrapped, what, number)


def count(skipped: dict[str, int], reason: str, number: int = 1) -> None:
    """Count ``number`` records that were passed over because of ``reason``."""
    skipped[reason] = skipped.get(reason, 0) + number
