"""What was read, and what was not: the part of every answer that says how far it can be trusted."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flowwatch.flows.clocks import LATE, Clocks, ClockSkew, skew_words, span, time_of_day
from flowwatch.flows.losses import cause
from flowwatch.flows.model import Batch, Flow, Gap, LostEvents, NodeStatus
from flowwatch.flows.ranges import count_odd
from flowwatch.text import safe

NAMED = 5
"""Node names, gaps and sources of losses spelt out at most."""

LOST_SHARE = 0.01
"""Lost events, as a share of the records read, from which on absence of something proves little."""

_SHOWN_RATE = 0.05
"""Losses a second from which on the rate is told: 0.0 says nothing."""

GAPS = 500
"""Gaps kept, the latest; those before are only counted."""


@dataclass(slots=True)
class Tally:
    """Counts over all batches given to :meth:`add`; times in nanoseconds since 1970, 0 for none."""

    records_read: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """Records that could not be read, by reason."""
    unread_at: dict[str, list[str]] = field(default_factory=dict)
    """The first of these by reason: their place in their source."""
    odd: dict[str, int] = field(default_factory=dict)
    """Records with a value that was taken as unknown, by what it is."""
    lost: dict[tuple[str, str], LostEvents] = field(default_factory=dict)
    """Lost events by node and Hubble's name of where they were lost, the counts added up."""
    nodes: dict[str, int] = field(default_factory=dict)
    """Time of a node's last record; 0 for one that relay reports connected and that sent none."""
    unavailable: dict[str, str] = field(default_factory=dict)
    """Relay's reason, by node that it can't reach."""
    away_since: dict[str, int] = field(default_factory=dict)
    """Since when, of those of which it is known; by our own clock."""
    gone: set[str] = field(default_factory=set)
    """Nodes that left the cluster: nobody misses their records."""
    gaps: list[Gap] = field(default_factory=list)
    gaps_before: int = 0
    """Gaps that are no longer in ``gaps``."""
    set_aside: dict[tuple[str, str], int] = field(default_factory=dict)
    """Records by server and node that were left out, as nobody can tell if they came before."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why nothing more comes from a server, where there are several."""
    clocks: dict[str, Clocks] = field(default_factory=dict)
    """By server, what is known of its nodes' clocks: entered by who joins its records."""
    spans: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
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

    def _add_flows(self, flows: list[Flow], origin: str) -> None:
        self.records_read += len(flows)
        times: dict[str, list[int]] = defaultdict(list)
        for flow in flows:
            times[flow.node].append(flow.time)
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

    @property
    def much_missing(self) -> bool:
        """Whether so much is missing that what wasn't seen may well have happened."""
        return bool(
            self.failed or self.unavailable or self.gaps or self.gaps_before
            or self.set_aside or self.skipped
            or self.lost_events > LOST_SHARE * self.records_read
        )  # fmt: skip

    def warnings(self, now: int = 0) -> list[str]:
        """What makes the counts less than the whole truth, one safe line each.

        ``now`` (ns) is what times are counted to; 0 for the clock's.
        """
        found = []
        for server, why in self.failed.items():
            found.append(f"nothing more from {safe(server)} ({why}): counts are 'at least'")
        if self.lost_events:
            found.append(self._lost_words())
        if self.unavailable:
            found.append(self._away_words(now or time.time_ns()))
        found += self._gap_words()
        if self.set_aside:
            count = sum(self.set_aside.values())
            names = _list(sorted({node for _, node in self.set_aside}))
            found.append(
                f"{count:,} records of {names} were left out: they are older than what is "
                "remembered, so they came before, or the node's clock was set back"
            )
        found += skipped_words(self.skipped, self.unread_at)
        found += odd_words(self.odd)
        if skews := self.skews():
            found.append(skew_words(skews))
        for origin, clocks in self.clocks.items():
            if clocks.shift:
                way = "ahead of" if clocks.shift > 0 else "behind"
                found.append(
                    f"the clocks of {safe(origin)} are {span(abs(clocks.shift) / 1e9)} {way} those of "
                    f"{safe(self._main[0])}: times are told by these"
                )
        if late := self.late:
            way = "ahead of" if late > 0 else "behind"
            found.append(
                f"this machine's clock is {span(abs(late) / 1e9)} {way} most nodes': ages are told by "
                "theirs, but --since and --until mean this machine's"
            )
        return found

    def _lost_words(self) -> str:
        by_node: dict[str, int] = {}
        for item in self.lost.values():
            by_node[item.node] = by_node.get(item.node, 0) + item.count
        sources = sorted({item.source for item in self.lost.values()})
        where = "; ".join(f"{safe(name)}: {cause(name)}" for name in sources)
        nodes = sorted((name for name in by_node if name), key=lambda name: -by_node[name])
        if len(nodes) > 1:
            nodes = [f"{name} ({by_node[name]:,})" for name in nodes]
        on = f" on {_list(nodes)}" if nodes else ""
        seconds = (self.last_seen - self.first_seen) / 1e9
        rate = self.lost_events / seconds if seconds >= 1 else 0.0
        fast = f", {rate:,.1f}/s" if rate >= _SHOWN_RATE else ""
        return f"{self.lost_events:,} events were lost{fast}{on} ({where}): counts are 'at least'"

    def _away_words(self, now: int) -> str:
        names = sorted(self.unavailable)
        reasons = sorted({safe(reason) for reason in self.unavailable.values() if reason})
        why = f" ({'; '.join(reasons)})" if reasons else ""
        since = [self.away_since[name] for name in names if name in self.away_since]
        long = f" for {max((now - min(since)) / 1e9, 0):.0f} s" if since else ""
        total = max(self.known_nodes, len(names))
        word = "node" if total == 1 else "nodes"
        return (
            f"{len(names)} of {total} {word} unseen{long}: {_list(names)}{why}: "
            "counts are 'at least'"
        )

    def _gap_words(self) -> list[str]:
        shown = [gap_words(gap) for gap in self.gaps[-NAMED:]]
        more = self.gaps_before + len(self.gaps) - len(shown)
        if more:
            older = sum(gap.seconds for gap in self.gaps[:-NAMED])
            shown.append(f"{more} more gaps before, {older:.0f} s together at least")
        return shown


def note_place(places: dict[str, list[str]], number: int, why: str, origin: str = "") -> None:
    """Remember where a record was that could not be read, if it is among the first."""
    known = places.setdefault(why, [])
    if number and len(known) < NAMED:
        known.append(f"{number:,} of {origin}" if origin else f"{number:,}")


def skipped_words(skipped: Mapping[str, int], places: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A line for each reason for which records could not be read; ``places`` names the first."""
    for why, count in skipped.items():
        first = places.get(why, ())
        which = "record" if len(first) == 1 else "records"
        more = ", …" if count > len(first) else ""
        where = f" ({which} {safe(', '.join(first))}{more})" if first else ""
        was = "record was" if count == 1 else "records were"
        yield f"{count:,} {was} skipped: {safe(why)}{where}"


def odd_words(odd: Mapping[str, int]) -> Iterator[str]:
    """A line for each kind of value that was taken as unknown."""
    for what, count in odd.items():
        have = "record has" if count == 1 else "records have"
        yield f"{count:,} {have} {safe(what)}: taken as unknown"


def gap_words(gap: Gap) -> str:
    """A gap as a warning: how long, when, whose, and why."""
    start, end = time_of_day(gap.start), time_of_day(gap.end)
    whose = f" of {_list(list(gap.nodes))}" if gap.nodes else ""
    at = f" of {safe(gap.origin)}" if gap.origin and not gap.nodes else ""
    return (
        f"gap of {gap.seconds:.0f} s, {start} to {end} UTC: records{whose}{at} from then are gone "
        f"({safe(gap.why)}): counts are 'at least'"
    )


def _named(node: str, origin: str) -> str:
    """A node's name, told apart from another server's node of the same name."""
    return f"{node} ({origin})" if origin and node else node or origin


def _list(names: list[str]) -> str:
    shown = ", ".join(safe(name) for name in names[:NAMED]) or "an unnamed node"
    return shown + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
