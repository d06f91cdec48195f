"""Counts what is read and what isn't: :class:`flowwatch.flows.coverage.Coverage` of it at any time."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from flowwatch.flows.clocks import LATE, Clocks, ClockSkew
from flowwatch.flows.coverage import NAMED, Coverage, LostTotal, NodeAway, ServerApart, warnings
from flowwatch.flows.losses import cause
from flowwatch.flows.meaning import VERDICTS, verdict_name
from flowwatch.flows.model import Batch, Flow, Gap, LostEvents, NodeStatus
from flowwatch.flows.ranges import count_odd, newer_verdict
from flowwatch.flows.standing import standing

GAPS = 500
"""Gaps kept, the latest; those before are only counted."""


class Tally(msgspec.Struct):
    """Counts over all batches given to :meth:`add`; times in nanoseconds since 1970, 0 for none."""

    records_read: int = 0
    skipped: dict[str, int] = msgspec.field(default_factory=dict)
    """Records that could not be read, by reason."""
    unread_at: dict[str, list[str]] = msgspec.field(default_factory=dict)
    """The first of these by reason: their place in their source."""
    odd: dict[str, int] = msgspec.field(default_factory=dict)
    """Records with a value that was taken as unknown, by what it is."""
    unwrapped: dict[str, int] = msgspec.field(default_factory=dict)
    """Records that stood inside of something else, by what that was."""
    not_recorded: dict[str, int] = msgspec.field(default_factory=dict)
    """Records by the field that an exporter left out of them."""
    aggregated: int = 0
    """Lines that stand for several records."""
    aggregated_records: int = 0
    """How many."""
    notes: list[str] = msgspec.field(default_factory=list)
    """What may explain that so little came, safe lines."""
    lost: dict[tuple[str, str], LostEvents] = msgspec.field(default_factory=dict)
    """Lost events by node and Hubble's name of where they were lost, the counts added up."""
    nodes: dict[str, int] = msgspec.field(default_factory=dict)
    """Time of a node's last record; 0 for one that relay reports connected and that sent none."""
    unavailable: dict[str, str] = msgspec.field(default_factory=dict)
    """Relay's reason, by node that it can't reach."""
    away_since: dict[str, int] = msgspec.field(default_factory=dict)
    """Since when, of those of which it is known; by our own clock."""
    gone: set[str] = msgspec.field(default_factory=set)
    """Nodes that left the cluster: nobody misses their records."""
    gaps: list[Gap] = msgspec.field(default_factory=list)
    gaps_before: int = 0
    """Gaps that are no longer in ``gaps``."""
    set_aside: dict[tuple[str, str], int] = msgspec.field(default_factory=dict)
    """Records by server and node that were left out, as nobody can tell if they came before."""
    failed: dict[str, str] = msgspec.field(default_factory=dict)
    """Why nothing more comes from a server, where there are several."""
    clocks: dict[str, Clocks] = msgspec.field(default_factory=dict)
    """By server, what is known of its nodes' clocks: entered by who joins its records."""
    spans: dict[str, dict[str, tuple[int, int]]] = msgspec.field(default_factory=dict)
    """By server and node, times of the oldest and the newest record, by the node's own clock."""

    def add(self, batch: Batch) -> None:
        flows, origin = batch.flows, batch.origin
        if flows:
            self._add_flows(flows, origin)
        if batch.late is not None and origin in self.clocks:
            self.clocks[origin].hear(batch.late)
            for clocks in self.clocks.values():
                clocks.tell_by(self._main[1])
        for reason, count in batch.skipped.items():
            self.skipped[reason] = self.skipped.get(reason, 0) + count
        for one in batch.unread:
            note_place(self.unread_at, one.number, one.why, origin)
        for what, count in batch.odd.items():
            count_odd(self.odd, [what], count)
        for what, count in batch.not_recorded.items():
            count_odd(self.not_recorded, [what], count)
        if batch.extras:
            self._add_lines(flows)
            self.records_read -= batch.more
            self.aggregated -= batch.more
        self.notes += batch.notes
        for where, count in batch.unwrapped.items():
            count_odd(self.unwrapped, [where], count)
        for lost in batch.lost:
            self._add_lost(lost, origin)
        for status in batch.nodes:
            self._add_status(status, origin)
        self.gaps += batch.gaps
        if len(self.gaps) > GAPS:
            self.gaps_before += len(self.gaps) - GAPS
            del self.gaps[:-GAPS]
        if batch.failed:
            self.failed[origin] = batch.failed
        if batch.set_aside is not None:
            for key in [key for key in self.set_aside if key[0] == origin]:
                del self.set_aside[key]
            self.set_aside.update({(origin, n): count for n, count in batch.set_aside.items()})

    def _add_lines(self, flows: list[Flow]) -> None:
        for flow in flows:
            if (many := standing(flow)) is not None:
                self.aggregated += 1
                self.aggregated_records += many.records

    def _add_flows(self, flows: list[Flow], origin: str) -> None:
        self.records_read += len(flows)
        times: dict[str, list[int]] = defaultdict(list)
        for flow in flows:
            kind = flow.kind
            times[kind.node].append(flow.time)
            if kind.verdict not in VERDICTS:
                count_odd(self.odd, [newer_verdict(verdict_name(kind.verdict))])
        seen = {_named(node, origin): found[-1] for node, found in times.items()}
        spans = self.spans.setdefault(origin, {})
        for node, found in times.items():
            first, last = min(found), max(found)
            if not first:
                # Records without a time (a field mask left it out) say nothing about the window.
                first = min(filter(None, found), default=0)
            if first:
                before = spans.get(node, (first, last))
                spans[node] = min(first, before[0]), max(last, before[1])
        self.nodes.update(seen)
        # Relay never says that a node is back: its flows do (Cilium 1.20, run). Those made
        # before it went away may come from relay's queue after the word of that.
        for node in self.unavailable.keys() & seen.keys():
            if seen[node] > self.away_since.get(node, 0):
                self._back(node)

    @property
    def first_seen(self) -> int:
        """Time of the oldest record, on the clock that most nodes share."""
        return min((first for first, _ in self._shared_spans()), default=0)

    @property
    def last_seen(self) -> int:
        """Time of the newest."""
        return max((last for _, last in self._shared_spans()), default=0)

    def _shared_spans(self) -> Iterator[tuple[int, int]]:
        for origin, spans in self.spans.items():
            clocks = self.clocks.get(origin)
            ahead = clocks.ahead if clocks is not None else {}
            for node, (first, last) in spans.items():
                off = ahead.get(node, 0)
                yield first - off, last - off

    @property
    def late(self) -> int:
        """How far our own clock is ahead of the one that most nodes share; 0 when that isn't sure."""
        late = self._main[1].late
        return late if abs(late) >= LATE else 0

    @property
    def _main(self) -> tuple[str, Clocks]:
        """The server whose nodes' clocks times are told by: the first that is heard live."""
        heard = (item for item in self.clocks.items() if item[1].heard)
        return next(heard, ("", Clocks()))

    def skews(self) -> tuple[ClockSkew, ...]:
        """Nodes whose clocks are apart from the others'."""
        return tuple(
            replace(skew, node=_named(skew.node, origin), of=skew.of and _named(skew.of, origin))
            for origin, clocks in self.clocks.items()
            for skew in clocks.skews()
        )

    def _add_status(self, status: NodeStatus, origin: str) -> None:
        for name in status.nodes:
            node = _named(name, origin)
            self.gone.discard(node)
            if status.state == "NODE_CONNECTED":
                self._back(node)
                self.nodes.setdefault(node, 0)
            elif status.state == "NODE_GONE":
                self._back(node)
                self.gone.add(node)
            else:
                self.unavailable[node] = status.message or self.unavailable.get(node, "")
                if status.since:
                    self.away_since[node] = status.since

    def _back(self, node: str) -> None:
        self.unavailable.pop(node, None)
        self.away_since.pop(node, None)

    def _add_lost(self, lost: LostEvents, origin: str) -> None:
        node = _named(lost.node, origin)
        known = self.lost.get((node, lost.source))
        if known is None and origin:
            lost = replace(lost, node=node)
        elif known is not None:
            lost = LostEvents(
                source=lost.source,
                count=known.count + lost.count,
                node=node,
                time=max(known.time, lost.time),
                first=min(known.first or lost.first, lost.first or known.first),
                last=max(known.last, lost.last),
            )
        self.lost[node, lost.source] = lost

    @property
    def lost_events(self) -> int:
        return sum(item.count for item in self.lost.values())

    @property
    def known_nodes(self) -> int:
        """Nodes of the cluster, seen or not, as far as anything told of them."""
        names = self.nodes.keys() | self.unavailable.keys()
        return len(names - self.gone - {""})

    def coverage(self, now: int = 0) -> Coverage:
        """What is known by now. ``now`` (ns) is what times are counted to; 0 for the clock's."""
        known = Coverage(
            first_seen=self.first_seen,
            last_seen=self.last_seen,
            records_read=self.records_read,
            records_skipped=dict(self.skipped),
            unread_at={why: tuple(places) for why, places in self.unread_at.items()},
            # The most first: in what order they were met depends on how records came in batches.
            values_unknown=dict(sorted(self.odd.items(), key=lambda one: (-one[1], one[0]))),
            unwrapped=dict(self.unwrapped),
            not_recorded=dict(self.not_recorded),
            aggregated=self.aggregated,
            aggregated_records=self.aggregated_records,
            notes=tuple(self.notes),
            left_out=dict(self._left_out()),
            lost=tuple(self._lost()),
            servers_failed=dict(self.failed),
            nodes=tuple(sorted(node for node in self.nodes if node)),
            unnamed="" in self.nodes,
            nodes_away=tuple(
                NodeAway(name, self.away_since.get(name, 0), why)
                for name, why in sorted(self.unavailable.items())
            ),
            nodes_known=self.known_nodes,
            gaps=tuple(sorted(self.gaps, key=lambda gap: gap.start)),
            gaps_before=self.gaps_before,
            clock_skews=self.skews(),
            servers_apart=tuple(
                ServerApart(origin, clocks.shift, self._main[0])
                for origin, clocks in self.clocks.items()
                if clocks.shift
            ),
            clock_late=self.late,
        )
        return replace(known, warnings=tuple(warnings(known, now or time.time_ns())))

    def _left_out(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for (_, node), count in self.set_aside.items():
            found[node] += count
        return found

    def _lost(self) -> Iterator[LostTotal]:
        seconds = max((self.last_seen - self.first_seen) / 1e9, 1.0)
        for item in self.lost.values():
            yield LostTotal(
                item.node, item.source, item.count, item.time, cause(item.source),
                item.count / seconds,
            )  # fmt: skip


def note_place(places: dict[str, list[str]], number: int, why: str, origin: str = "") -> None:
    """Remember where a record was that could not be read, if it is among the first."""
    known = places.setdefault(why, [])
    if number and len(known) < NAMED:
        known.append(f"{number:,} of {origin}" if origin else f"{number:,}")


def _named(node: str, origin: str) -> str:
    """A node's name, told apart from another server's node of the same name."""
    return f"{node} ({origin})" if origin and node else node or origin
