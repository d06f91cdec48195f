"""What is deleted as it grows old, or as there is too much of it: whole hours, the oldest first."""

from __future__ import annotations

from dataclasses import dataclass

from flowwatch.history.places import Where, place_of
from flowwatch.history.store import HOUR, hour_of


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept; 0 is no limit."""

    age: int = 0
    """Nanoseconds."""
    size: int = 0
    """Bytes."""


@dataclass(slots=True)
class Deleted:
    """What went."""

    files: int = 0
    bytes: int = 0
    until: int = 0
    """The end of the latest hour of which something was deleted, ns since 1970."""


def trim(where: Where, limits: Limits, now: int) -> Deleted:
    """Delete what is beyond ``limits`` at ``now`` (ns since 1970); the present hour stays.

    A file that is gone already is no matter: another recorder may do the same. Nor is a place that can't
    be listed now: the next look comes.
    """
    gone = Deleted()
    if not (limits.age or limits.size):
        return gone
    place = place_of(where)
    files: list[tuple[int, str, int]] = []
    try:
        for file in place.files():
            if file.path.endswith(".parquet"):
                hour = hour_of(file.path)
                began = file.changed // HOUR * HOUR if hour is None else hour
                files.append((began, file.path, file.size))
    except OSError:
        return gone
    files.sort(key=lambda one: one[0])
    total = sum(size for _, _, size in files)
    for began, path, size in files:
        ended = began + HOUR
        too_old = limits.age and ended <= now - limits.age
        too_much = limits.size and total > limits.size
        if ended > now or not (too_old or too_much):
            continue
        try:
            place.delete(path)
        except OSError:
            continue
        total -= size
        gone.files += 1
        gone.bytes += size
        gone.until = max(gone.until, ended)
    return gone
