"""A source whose names and addresses are others: everything to the right of it sees pseudonyms alone.

So no screen, file or picture can hold a real name.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowwatch.flows.hiding import Hiding
from flowwatch.flows.model import Batch
from flowwatch.flows.source import Source, SourceState, try_again


class PrivateSource:
    """Reads ``source``, and hands on pseudonyms."""

    def __init__(self, source: Source, hiding: Hiding | None = None) -> None:
        self.within = source
        self._hiding = hiding or Hiding()

    def batches(self) -> Iterator[Batch]:
        for batch in self.within.batches():
            yield self._hiding.batch(batch)

    def close(self) -> None:
        self.within.close()

    def retry(self) -> None:
        """Have it try now, if it waits."""
        try_again(self.within)

    def state(self) -> SourceState:
        """Without the server's name and what it said."""
        return self._hiding.state(self.within.state())
