"""The first or the last flows of what is stored: ``--first N``, ``--last N``, whatever keeps them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from flowwatch.errors import InputError
from flowwatch.flows.model import Batch, Flow

_BATCH = 2048
"""Flows in a batch of those that were held back."""


def first_or_last(batches: Iterator[Batch], first: int, last: int) -> Iterator[Batch]:
    """``batches`` with their ``first`` flows, or the ``last``; 0 is all, and one of the two.

    What was told between flows is told as it comes. Where ``batches`` raise InputError, the last flows
    before that are given all the same, and then it is raised.
    """
    held: deque[Flow] = deque(maxlen=last or None)
    failure: InputError | None = None
    try:
        for batch in batches:
            if last:
                held.extend(batch.flows)
                batch.flows = []
            elif first:
                del batch.flows[first:]
                first -= len(batch.flows)
                if not first:
                    yield batch
                    return
            yield batch
    except InputError as error:
        failure = error
    while held:
        yield Batch(flows=[held.popleft() for _ in range(min(_BATCH, len(held)))])
    if failure is not None:
        raise failure
