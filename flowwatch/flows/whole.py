"""Flows that carry their whole records, for who keeps them: a message at a time, so slower."""

from __future__ import annotations

from collections.abc import Iterable

from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.flows.guard import merge
from flowwatch.flows.model import Batch
from flowwatch.flows.ranges import LATEST


def decode_whole(decoder: WireDecoder, messages: Iterable[bytes], latest: int = LATEST) -> Batch:
    """As ``decoder.decode``; each flow has the message that it was read from."""
    whole = Batch()
    for data in messages:
        one = decoder.decode([data], latest)
        for flow in one.flows:
            flow.raw = data
        merge(whole, one)
    return whole
