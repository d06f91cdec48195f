"""What was and wasn't seen: one value that travels with every answer, and says how far it can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from flowwatch.flows.clocks import ClockSkew, skew_words, span, time_of_day
from flowwatch.flows.losses import cause
from flowwatch.flows.model import Gap
from flowwatch.text import plural, safe

NAMED = 5
"""Node names, gaps and sources of losses spelt out at most."""

LOST_SHARE = 0.01
"""Lost events, as a share of the records read, from which on absence of something proves little."""

_SHOWN_RATE = 0.05
"""Losses a second from which on the rate is told: 0.0 says nothing."""


class LostTotal(msgspec.Struct, frozen=True):
    """Lost events of one node and source: numbers are "at least" while there are any."""

    node: str
    source: str
    count: int
    last: int
    """Time of the last notice, ns since 1970."""
    cause: str = ""
    """What a loss there means."""
    rate: float = 0.0
    """Events per second, over the time in which records were seen."""


class NodeAway(msgspec.Struct, frozen=True):
    """A node whose records aren't seen."""

    name: str
    since: int
    """Nanoseconds since 1970 by our own clock; 0: all the time, or unknown."""
    why: str
    """Relay's reason; not made safe."""


class ServerApart(msgspec.Struct, frozen=True):
    """A server whose nodes' clocks are apart from another's, by which times are told."""

    server: str
    ahead: int
    """Nanoseconds; below 0: behind."""
    of: str


class Coverage(msgspec.Struct, frozen=True):
    """Window, nodes, losses, gaps and records that could not be used. Times in ns since 1970, 0 for none."""

    first_seen: int = 0
    """Time of the oldest record, on the clock that most nodes share."""
    last_seen: int = 0
    """Time of the newest."""
    records_read: int = 0
    records_skipped: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Records that could not be read, by reason."""
    unread_at: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)
    """The first of these by reason: their place in their source."""
    values_unknown: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Records with a value that can't be, or that we can't tell, by what it is: taken as unknown."""
    unwrapped: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Records that stood inside of something else (a log pipeline's), by what that was."""
    not_recorded: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Records by the field of Hubble's that an exporter's mask or key left out of them."""
    aggregated: int = 0
    """Lines that an exporter aggregated: of which each stands for several records."""
    aggregated_records: int = 0
    """How many these lines stand for."""
    notes: tuple[str, ...] = ()
    """What may explain that so little was seen, safe lines: a name that no record has."""
    left_out: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Records by node that nobody can tell came before or not."""
    replies: int = 0
    """Records of replies that belong to no counted attempt."""
    unattributed: int = 0
    """Records without a direction and without an attempt that they could belong to."""
    errors_dropped: int = 0
    """Records of ICMP errors that were dropped: they are no attempts, and nobody learnt of them."""
    folded_rows: int = 0
    """Rows that went into "other" since the limit was reached."""
    lost: tuple[LostTotal, ...] = ()
    clusters: tuple[str, ...] = ()
    """Clusters that pods were seen in, as rows name them."""
    servers_failed: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Of several servers, why nothing more comes from one."""
    nodes: tuple[str, ...] = ()
    """Nodes whose records were seen."""
    unnamed: bool = False
    """Whether records came that name no node."""
    nodes_away: tuple[NodeAway, ...] = ()
    """Nodes that relay can't reach."""
    nodes_known: int = 0
    """Nodes of the cluster, seen or not, as far as anything told of them."""
    gaps: tuple[Gap, ...] = ()
    """Times whose records are gone, by their start: the latest, if they are many."""
    gaps_before: int = 0
    """Gaps that were before these."""
    clock_skews: tuple[ClockSkew, ...] = ()
    """Nodes whose clocks are apart from the others'; their times are told by the others' clock."""
    servers_apart: tuple[ServerApart, ...] = ()
    clock_late: int = 0
    """How far this machine's clock is ahead of most nodes', nanoseconds; 0 when that isn't sure."""
    filter: str = ""
    """What ``--filter`` chose rows by, as it was typed; "" where all is told."""
    warnings: tuple[str, ...] = ()
    """Each one safe line: what makes the numbers less than the whole truth."""

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.last_seen - self.first_seen) / 1e9

    @property
    def lost_events(self) -> int:
        """Of all nodes and sources."""
        return sum(item.count for item in self.lost)

    @property
    def nodes_unavailable(self) -> tuple[str, ...]:
        """Names of the nodes that relay can't reach."""
        return tuple([away.name for away in self.nodes_away])

    @property
    def nodes_seen(self) -> int:
        """How many nodes sent records; those without a name count as one."""
        return len(self.nodes) + self.unnamed

    @property
    def at_least(self) -> bool:
        """Whether records are missing, or stand for several, so that every count may be higher in truth."""
        return bool(
            self.lost_events or self.nodes_away or self.gaps or self.servers_failed
            or self.aggregated
        )  # fmt: skip

    @property
    def said_short(self) -> int:
        """How many of the warnings a line of figures tells as well: losses, nodes, gaps, unread records."""
        gaps = min(len(self.gaps), NAMED) + bool(self.gaps_before or len(self.gaps) > NAMED)
        return bool(self.lost_events) + bool(self.nodes_away) + gaps + len(self.records_skipped)

    @property
    def much_missing(self) -> bool:
        """Whether so much is missing that what wasn't seen may well have happened."""
        return bool(
            self.servers_failed or self.nodes_away or self.gaps or self.gaps_before
            or self.left_out or self.records_skipped
            or self.lost_events > LOST_SHARE * self.records_read
        )  # fmt: skip


def told(coverage: Coverage, now: int) -> Coverage:
    """The same, its warnings told at ``now`` (ns): of what a join has seen, whenever that was."""
    lines = (*warnings(coverage, now), *error_words(coverage.errors_dropped))
    return msgspec.structs.replace(coverage, warnings=lines)


def warnings(coverage: Coverage, now: int) -> Iterator[str]:
    """What is missing by ``coverage``, one safe line each. ``now`` (ns) is what times are counted to."""
    for server, why in coverage.servers_failed.items():
        yield f"nothing more from {safe(server)} ({why}): counts are 'at least'"
    if coverage.lost_events:
        yield _lost_words(coverage)
    if coverage.nodes_away:
        yield _away_words(coverage, now)
    yield from _gap_lines(coverage)
    if coverage.left_out:
        count = sum(coverage.left_out.values())
        was = "was" if count == 1 else "were"
        yield (
            f"{plural(count, 'record')} of {_list(sorted(coverage.left_out))} {was} left out: older than "
            "what is remembered, so from before, or the node's clock was set back"
        )
    yield from skipped_words(coverage.records_skipped, coverage.unread_at)
    yield from odd_words(coverage.values_unknown)
    yield from unwrapped_words(coverage.unwrapped)
    if coverage.aggregated:
        yield _aggregated_words(coverage)
    yield from masked_words(coverage.not_recorded)
    yield from coverage.notes
    if coverage.clock_skews:
        yield skew_words(coverage.clock_skews)
    for one in coverage.servers_apart:
        yield (
            f"the clocks of {safe(one.server)} are {_apart(one.ahead)} those of {safe(one.of)}: "
            "times are told by these"
        )
    if late := coverage.clock_late:
        yield (
            f"this machine's clock is {_apart(late)} most nodes': ages are told by "
            "theirs, but --since and --until mean this machine's"
        )


def _aggregated_words(coverage: Coverage) -> str:
    lines, records = coverage.aggregated, coverage.aggregated_records
    stand = "stands" if lines == 1 else "stand"
    return (
        f"aggregated: {plural(lines, 'line')} {stand} for {plural(records, 'record')}; how many attempts "
        "these were can't be counted: 'at least' one for each row"
    )


def _apart(ahead: int) -> str:
    return f"{span(abs(ahead) / 1e9)} {'ahead of' if ahead > 0 else 'behind'}"


def _lost_words(coverage: Coverage) -> str:
    by_node: dict[str, int] = {}
    for item in coverage.lost:
        by_node[item.node] = by_node.get(item.node, 0) + item.count
    sources = sorted({item.source for item in coverage.lost})
    where = "; ".join(f"{safe(name)}: {cause(name)}" for name in sources)
    nodes = sorted((name for name in by_node if name), key=lambda name: -by_node[name])
    if len(nodes) > 1:
        nodes = [f"{name} ({by_node[name]:,})" for name in nodes]
    on = f" on {_list(nodes)}" if nodes else ""
    rate = coverage.lost_events / coverage.seconds if coverage.seconds >= 1 else 0.0
    fast = f", {rate:,.1f}/s" if rate >= _SHOWN_RATE else ""
    what = plural(coverage.lost_events, "event was", "events were")
    return f"{what} lost{fast}{on} ({where}): counts are 'at least'"


def _away_words(coverage: Coverage, now: int) -> str:
    away = coverage.nodes_away
    reasons = sorted({safe(one.why) for one in away if one.why})
    why = f" ({'; '.join(reasons)})" if reasons else ""
    since = [one.since for one in away if one.since]
    long = f" for {max((now - min(since)) / 1e9, 0):.0f} s" if since else ""
    total = max(coverage.nodes_known, len(away))
    word = "node" if total == 1 else "nodes"
    return (
        f"{len(away)} of {total} {word} unseen{long}: {_list(coverage.nodes_unavailable)}{why}: "
        "counts are 'at least'"
    )


def _gap_lines(coverage: Coverage) -> Iterator[str]:
    yield from map(gap_words, coverage.gaps[-NAMED:])
    older = coverage.gaps[:-NAMED]
    if more := coverage.gaps_before + len(older):
        seconds = sum(gap.seconds for gap in older)
        yield f"{plural(more, 'more gap')} before, {seconds:.0f} s together at least"


def skipped_words(skipped: Mapping[str, int], places: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A line for each reason for which records could not be read; ``places`` names the first."""
    for why, count in skipped.items():
        first = places.get(why, ())
        which = "record" if len(first) == 1 else "records"
        more = ", …" if count > len(first) else ""
        where = f" ({which} {safe(', '.join(first))}{more})" if first else ""
        yield f"{plural(count, 'record was', 'records were')} skipped: {safe(why)}{where}"


def odd_words(odd: Mapping[str, int]) -> Iterator[str]:
    """A line for each kind of value that was taken as unknown."""
    for what, count in odd.items():
        yield f"{plural(count, 'record has', 'records have')} {safe(what)}: taken as unknown"


def unwrapped_words(unwrapped: Mapping[str, int]) -> Iterator[str]:
    """A line that says what records were taken out of."""
    if not unwrapped:
        return
    count = sum(unwrapped.values())
    which = plural(count, "record was", "records were")
    yield f"{which} unwrapped from {_list(sorted(unwrapped))}"


def masked_words(not_recorded: Mapping[str, int]) -> Iterator[str]:
    """A line of what isn't recorded; nothing where everything is."""
    if not not_recorded:
        return
    fields = ", ".join(
        f"{safe(name)} in {plural(count, 'record')}" for name, count in not_recorded.items()
    )
    yield f"not recorded, as a field mask or an aggregate's key left it out: {fields}"


def error_words(dropped: int) -> Iterator[str]:
    """A line of ICMP errors that were dropped; nothing without any."""
    if dropped:
        yield (
            f"{plural(dropped, 'record is', 'records are')} of ICMP errors that were dropped (unreachable, "
            "fragmentation needed): flowwatch observe -t drop --protocol icmp shows them; where a policy did "
            "it, icmps in a rule lets them in"
        )


def other_way_words(direction: str, here: int, there: int) -> Iterator[str]:
    """A line when ``direction`` (egress, ingress) has no attempt, and the other one has ``there``."""
    if here or not there:
        return
    other = "ingress" if direction == "egress" else "egress"
    were, them = ("attempt was", "it") if there == 1 else ("attempts were", "them")
    yield f"{there:,} {other} {were} seen: --direction {other} shows {them}"


def otherwise_words(asked: frozenset[str], found: int, others: Mapping[str, int]) -> Iterator[str]:
    """A line when no attempt has one of the outcomes asked for, and ``others`` have others."""
    seen = {outcome: count for outcome, count in others.items() if count}
    if found or not seen:
        return
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in seen.items())
    yield f"no attempt was {' or '.join(sorted(asked))}; {told}: --outcome all lists them"


def gap_words(gap: Gap) -> str:
    """A gap as a warning: how long, when, whose, and why."""
    start, end = time_of_day(gap.start), time_of_day(gap.end)
    whose = f" of {_list(gap.nodes)}" if gap.nodes else ""
    at = f" of {safe(gap.origin)}" if gap.origin and not gap.nodes else ""
    return (
        f"gap of {gap.seconds:.0f} s, {start} to {end} UTC: records{whose}{at} from then are gone "
        f"({safe(gap.why)}): counts are 'at least'"
    )


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(safe(name) for name in names[:NAMED]) or "an unnamed node"
    return shown + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
