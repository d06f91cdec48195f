"""What was read, and what was not: the part of every answer that says how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowwatch.flows.model import Batch, LostEvents
from flowwatch.text import safe

NAMED = 5
"""Node names spelt out in a warning at most."""


@dataclass(slots=True)
class Tally:
    """Counts over all batches given to :meth:`add`; times in nanoseconds since 1970, 0 for none."""

    records_read: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """Records that could not be read, by reason."""
    lost: dict[tuple[str, str], LostEvents] = field(default_factory=dict)
    """Lost events by node and Hubble's name of where they were lost, the counts added up."""
    nodes: dict[str, int] = field(default_factory=dict)
    """Time of a node's last record; 0 for one that relay reports connected and that sent none."""
    unavailable: dict[str, str] = field(default_factory=dict)
    """Relay's reason, by node that it can't reach."""
    first_seen: int = 0
    last_seen: int = 0

    def add(self, batch: Batch) -> None:
        flows = batch.flows
        if flows:
            self.records_read += len(flows)
            # Records without a time (a field mask left it out) say nothing about the window.
            times = [flow.time for flow in flows if flow.time]
            if times:
                first, last = min(times), max(times)
                self.last_seen = max(self.last_seen, last)
                self.first_seen = min(self.first_seen or first, first)
            seen = {flow.node: flow.time for flow in flows}
            self.nodes.update(seen)
            # Relay never says that a node is back: its flows do (Cilium 1.20.2, run).
            for node in self.unavailable.keys() & seen.keys():
                del self.unavailable[node]
        for reason, count in batch.skipped.items():
            self.skipped[reason] = self.skipped.get(reason, 0) + count
        for lost in batch.lost:
            self._add_lost(lost)
        for status in batch.nodes:
            for node in status.nodes:
                if status.state == "NODE_CONNECTED":
                    self.unavailable.pop(node, None)
                    self.nodes.setdefault(node, 0)
                else:
                    self.unavailable[node] = status.message

    def _add_lost(self, lost: LostEvents) -> None:
        known = self.lost.get((lost.node, lost.source))
        if known is not None:
            lost = LostEvents(
                source=lost.source,
                count=known.count + lost.count,
                node=lost.node,
                time=max(known.time, lost.time),
                first=min(known.first or lost.first, lost.first or known.first),
                last=max(known.last, lost.last),
            )
        self.lost[lost.node, lost.source] = lost

    @property
    def lost_events(self) -> int:
        return sum(item.count for item in self.lost.values())

    def warnings(self) -> list[str]:
        """What makes the counts less than the whole truth, one safe line each."""
        found = []
        if self.lost_events:
            where = ", ".join(sorted({safe(item.source) for item in self.lost.values()}))
            found.append(f"{self.lost_events:,} events were lost ({where}): counts are 'at least'")
        if self.unavailable:
            names = sorted(self.unavailable)
            shown = ", ".join(safe(name) for name in names[:NAMED])
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            reasons = sorted({safe(reason) for reason in self.unavailable.values() if reason})
            why = f" ({'; '.join(reasons)})" if reasons else ""
            found.append(f"unavailable, so unseen: {len(names)} node(s): {shown}{more}{why}")
        for why, count in self.skipped.items():
            found.append(f"{count:,} records were skipped: {safe(why)}")
        return found
