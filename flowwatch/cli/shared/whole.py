"""Whether a verb is asked about all of a history: what was counted of it may answer then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowwatch.hubble.filters.request import ALL

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.sources.request import FlowRequest


def is_of_all(parsed: Parsed, wanted: FlowRequest, other: Iterable[str]) -> bool:
    """Whether all records of a history in a folder are asked for, and none of the flags ``other`` is set."""
    window = wanted.window
    return (
        bool(wanted.history)
        and "://" not in wanted.history
        and not wanted.filters
        and window.since is None
        and window.until is None
        and window.number in (0, ALL)
        and not any(parsed.was_set(name) for name in other)
    )
