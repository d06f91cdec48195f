"""``--baseline DIR``: what was there before, through the same filters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from flowwatch.cli.shared.reading import Reading
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import flow_request

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.model import Batch


def baseline(parsed: Parsed) -> Iterator[Batch]:
    """The history of ``--baseline``, of all its time. Raises InputError, and what stops the reading."""
    wanted = flow_request(parsed, follow=False)
    everything = replace(wanted.window, number=0, first=False, follow=False, since=None, until=None)
    kept = replace(wanted, files=[], servers=(), history=parsed.text("baseline"), window=everything)
    yield from Reading(open_source(kept)).whole()
