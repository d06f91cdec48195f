"""What the tests ask a history, or another source."""

from __future__ import annotations

from pathlib import Path

from flowwatch.flows.model import Batch, Flow
from flowwatch.flows.source import Source
from flowwatch.history.reading import HistorySource


def flows_of(source: Source) -> list[Flow]:
    return [flow for batch in source.batches() for flow in batch.flows]


def read(folder: Path) -> Batch:
    """All that a history tells, in one batch."""
    whole = Batch()
    for batch in HistorySource(str(folder)).batches():
        whole.flows += batch.flows
        whole.gaps += batch.gaps
        whole.notes += batch.notes
    return whole
