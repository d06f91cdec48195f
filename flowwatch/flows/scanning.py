"""The scanner's place beside the decoders: what it recognises they need not read.

It gives out a record whose parts are all known as the :class:`Flow` that a decoder would make of it, and
any other as it is. Those are decoded whole, as ever; and where only some part was new, what the decoder
made says what each part is. So every value comes from a decoder, and from the scanner what varies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowwatch.flows.extras import ENCRYPTED
from flowwatch.flows.known import CACHE_LIMIT
from flowwatch.flows.model import Direction, Endpoint, Ends, EventType, Flow, Layer7
from flowwatch.hubble.wire import scanner
from flowwatch.hubble.wire.scanner import Run

New = tuple[Any, ...]
"""A record with a part that is new: its token, what varies in it, layer 7 as it came."""
_Names = tuple[tuple[str, ...], tuple[str, ...], str, str]
"""Names and services of source and destination, as :class:`Ends` has them."""


class Scanning:
    """A scanner that is taught by a decoder. One thread."""

    def __init__(self, layer7: Callable[[bytes], Layer7 | None], *, scan: bool = True) -> None:
        """``layer7``: the decoder's reading of what a proxy saw; it raises what it will.

        Without ``scan``, or without a scanner, nothing is recognised.
        """
        module = scanner.module() if scan else None
        self._layer7 = layer7
        self._scanner = None if module is None else module.Scanner(Flow, _ends, layer7, CACHE_LIMIT)

    def lines(self, block: bytes) -> list[Run]:
        """The records in ``block``, as runs; without a scanner as one that wasn't recognised."""
        if self._scanner is None:
            return [(0, len(block), None, None)]
        return self._scanner.lines(block)

    def messages(self, messages: list[bytes], latest: int) -> list[Run]:
        """The same of messages; a time after ``latest`` (ns since 1970) isn't recognised."""
        if self._scanner is None:
            return [(0, len(messages), None, None)]
        return self._scanner.messages(messages, latest)

    def learn(
        self, new: list[New], flows: list[Flow] | None, alone: Callable[[int], Flow | None]
    ) -> None:
        """Take in what the decoder made of a run of new records.

        ``flows``: one of each, if it found nothing amiss in any. Else ``alone`` decodes one by its
        place in the run: None where something is amiss in it, of which nothing is learnt.
        """
        for place, one in enumerate(new):
            flow = flows[place] if flows is not None else alone(place)
            if flow is not None:
                self._learn(one, flow)

    def _learn(self, new: New, flow: Flow) -> None:
        """Nothing where it was read otherwise, or of what is told apart by more than its parts."""
        token, *varying, layer7 = new
        ends = flow.ends
        if (
            self._scanner is None
            or flow.extras not in (None, ENCRYPTED)
            # Of such a line is told which fields it was masked of (flowwatch.flows.masked).
            or flow.event_type == EventType.UNKNOWN
            or varying != [getattr(flow, name) for name in _VARYING]
            or (flow.l7 is None) != (layer7 is None)
            or (layer7 is not None and flow.l7 != self._layer7(layer7))
        ):
            return
        names = (
            ends.source_names,
            ends.destination_names,
            ends.source_service,
            ends.destination_service,
        )
        self._scanner.learn(
            token, flow.kind, flow.extras, _view(flow), ends.source, ends.destination, names
        )


_VARYING = ("time", "source_ip", "destination_ip", "source_port", "destination_port", "uuid")


def _ends(source: Endpoint, destination: Endpoint, names: _Names) -> Ends:
    return Ends(source, destination, *names)


def _view(flow: Flow) -> int:
    """Whose names the decoders keep of such a record: the same in all of a kind."""
    if flow.is_reply:
        return 0
    return 1 if flow.direction == Direction.EGRESS else 2
