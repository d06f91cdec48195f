"""A source: anything that yields batches of flows, live or stored.

    for batch in source.batches():
        aggregate.add(batch)

There are three: :class:`flowwatch.flows.live.LiveSource` (a Hubble server),
:class:`flowwatch.flows.files.FileSource` (captures), and in the tests lists of batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from flowwatch.flows.model import Batch


@dataclass(frozen=True, slots=True)
class SourceState:
    """What a view says about where its numbers come from. Immutable; ask again for a newer one."""

    where: str
    """``localhost:4245``, ``flows.jsonl``, ``the demo`` …"""
    phase: str
    """``connecting``, ``reading``, ``following``, ``lost`` (a retry is due), ``ended``, ``failed``."""
    message: str = ""
    """Why it is lost or failed, one safe line."""
    since: float = 0.0
    """time.time() at which this phase began."""
    retry_in: float = 0.0
    """Seconds until the next try when lost."""
    nodes_connected: int | None = None
    nodes_unavailable: int | None = None
    unavailable: tuple[str, ...] = ()
    version: str = ""
    encrypted: bool = False
    backlog: int = 0
    """Messages read but not yet aggregated (bounded)."""
    backlog_limit: int = 0


class Source(Protocol):
    """Iterate ``batches()`` once, in one thread; ``state()`` and ``close()`` may be called from any."""

    def batches(self) -> Iterator[Batch]:
        """Yield batches until the end, or until closed; raises FlowwatchError when it fails.

        When following it also yields empty batches about ten times a second, so that the caller
        can look at the clock.
        """
        ...

    def state(self) -> SourceState: ...

    def close(self) -> None:
        """End ``batches()`` soon; safe to call twice."""
        ...
