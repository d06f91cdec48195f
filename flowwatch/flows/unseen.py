"""Where records of a node's SYNs may be missing, or still to come: there no rule asks when a SYN came."""

from __future__ import annotations

from flowwatch.flows.model import Flow, LostEvents
from flowwatch.flows.tries import GAP, OTHER_NODE

_LOST_BEFORE = 1_000_000_000
# Notices of lost events come once a second and tell of the time since the last.


class Unseen:
    """By node, the last span of time in which not all was seen. Times are nanoseconds by its clock."""

    def __init__(self) -> None:
        self._spans: dict[str, tuple[int, int]] = {}
        self._newest: dict[str, int] = {}

    def lost(self, event: LostEvents) -> None:
        """Events of a node were lost."""
        first = (event.first or event.time) - _LOST_BEFORE
        self._add(event.node, first, event.last or event.time)

    def watch(self, flow: Flow) -> None:
        """Take in a SYN: where a node's own come out of their order, one between may be still to come."""
        newest = self._newest.get(flow.node, 0)
        if flow.time > newest:
            self._newest[flow.node] = flow.time
        elif newest - flow.time > OTHER_NODE:
            self._add(flow.node, flow.time, newest + GAP)

    def newest(self, node: str) -> int:
        """When the newest SYN of a node that was taken in came; 0: none was."""
        return self._newest.get(node, 0)

    def between(self, node: str, start: int, end: int) -> bool:
        """Whether something of ``node`` may be missing between the two times."""
        if not self._spans:
            return False
        return any(
            span is not None and span[0] <= end and start <= span[1]
            for span in (self._spans.get(node), self._spans.get(""))
        )

    def _add(self, node: str, first: int, last: int) -> None:
        known = self._spans.get(node)
        if known is not None and first <= known[1] + GAP:
            first, last = min(first, known[0]), max(last, known[1])
        self._spans[node] = first, last
