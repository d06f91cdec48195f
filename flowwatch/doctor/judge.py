"""What the records that were gathered say about the server: pure functions, one per step of ``doctor``.

What Cilium writes when: Cilium 1.20, pkg/hubble; bpf/lib/trace.h for monitor aggregation, which
leaves out from-* traces from ``low`` on, and repeats within five seconds from ``medium`` on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from flowwatch.doctor.steps import State, Step
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.clocks import ClockSkew, span
from flowwatch.flows.losses import cause
from flowwatch.flows.model import EventType, Flow, LostEvents
from flowwatch.policy.agent_options import AgentOptions
from flowwatch.text import plural

SHORT = 60.0
"""Seconds: a ring that holds less loses what a person wants to look back at."""
SKEW = 3.0
"""Seconds of difference between clocks worth a warning. Relay holds flows back for about one, and
the newest record comes only with the next, so less can't be told."""
ENOUGH = 3
"""Live records of a node below which its clock isn't judged."""

_SECOND = 1_000_000_000
_RING_HINT = "enlarge it in Cilium: hubble.eventBufferCapacity (at most 65535)"


@dataclass(slots=True)
class Heard:
    """One question's answer."""

    flows: list[Flow] = field(default_factory=list)
    lost: list[LostEvents] = field(default_factory=list)
    arrivals: list[int] = field(default_factory=list)
    """When each flow came, on our clock, in nanoseconds since 1970."""
    skipped: int = 0
    complete: bool = False
    """The server ended it: all was said."""


@dataclass(slots=True)
class Evidence:
    """All that was asked, once. The fields from ``verdicts`` on hold the newest such record of each
    node, as far as a ring has one."""

    held: int = 0
    """Records in the rings, as ServerStatus says; one of each node can't be read yet."""
    room: int = 0
    rate: float = 0.0
    """Flows a second in the last minute, 0 when the server doesn't tell."""
    now: int = 0
    """Our clock when the oldest record was asked for, in nanoseconds since 1970."""
    seconds: float = 0.0
    """How long was listened."""
    oldest: Heard = field(default_factory=Heard)
    """The oldest record of each node."""
    newest: Heard = field(default_factory=Heard)
    """The newest of each."""
    sample: Heard = field(default_factory=Heard)
    """The newest records."""
    live: Heard = field(default_factory=Heard)
    """What came while we listened, and one older record of each node."""
    verdicts: Heard = field(default_factory=Heard)
    denials: Heard = field(default_factory=Heard)
    """Packets dropped by policy."""
    names: Heard = field(default_factory=Heard)
    """With a DNS name."""
    dns: Heard = field(default_factory=Heard)
    """Of Cilium's DNS proxy."""
    queries: Heard = field(default_factory=Heard)
    """To port 53, through the proxy or not."""
    audits: Heard = field(default_factory=Heard)
    """With the verdict AUDIT."""
    options: AgentOptions | str = ""
    """Of the cluster's agents; a string says why they aren't known."""


def fresh(evidence: Evidence) -> list[tuple[Flow, int]]:
    """Live flows that weren't there before, with their arrivals."""
    old = {flow.uuid for flow in evidence.sample.flows if flow.uuid}
    newest: dict[str, int] = {}
    for flow in evidence.sample.flows:
        newest[flow.node] = max(newest.get(flow.node, 0), flow.time)
    return [
        (flow, came)
        for flow, came in zip(evidence.live.flows, evidence.live.arrivals, strict=True)
        if (flow.uuid not in old if flow.uuid else flow.time > newest.get(flow.node, 0))
    ]


def ring(evidence: Evidence) -> Step:
    """How many records the rings hold, and how many seconds that is."""
    held, room, name = evidence.held, evidence.room, "ring"
    share = f"{held:,} of {room:,} records"
    flows = evidence.oldest.flows
    if not flows:
        return Step(
            name,
            State.WARN,
            f"{share}, and none can be read yet",
            "no traffic so far, or the agents' Hubble started just now: try again in a minute",
        )
    # By the node's own clock, as far as that is known: ours may be another.
    newest = {flow.node: flow.time for flow in evidence.newest.flows}
    ages = {
        flow.node: max(0.0, (newest.get(flow.node, evidence.now) - flow.time) / _SECOND)
        for flow in flows
    }
    node, seconds = min(ages.items(), key=lambda item: item[1])
    where = f" on {node}, the shortest of {len(ages)}" if len(ages) > 1 else ""
    what = f"{share} ({held / room:.0%}), back {span(seconds)}{where}" if room else share
    # Nearly full: each node's ring has one slot that is being written.
    if room and held >= room * 0.99 and seconds < SHORT:
        return Step(name, State.WARN, f"{what}: older records are overwritten", _RING_HINT)
    return Step(name, State.OK, what)


def flows(evidence: Evidence) -> Step:
    """How many flows a second come."""
    new = len(fresh(evidence))
    told = f"{evidence.rate:,.1f} a second in the last minute" if evidence.rate > 0 else ""
    heard = f"{new:,} in {evidence.seconds:.0f} s of listening"
    if evidence.seconds > 0 and new:
        heard += f" ({new / evidence.seconds:,.1f} a second)"
    what = f"{told}; {heard}" if told else heard
    unread = evidence.sample.skipped + evidence.live.skipped
    if unread:
        return Step(
            "flows",
            State.WARN,
            f"{what}; {plural(unread, 'record')} can't be read",
            "the server may be newer than this flowwatch: update it",
        )
    if new or evidence.rate > 0:
        return Step("flows", State.OK, what)
    if evidence.sample.flows:
        return Step(
            "flows",
            State.WARN,
            f"{what}: the server answers, and nothing new comes",
            "no pod talks just now, or the agents have stopped seeing: cilium status on a node",
        )
    return Step(
        "flows",
        State.WARN,
        f"{what}, and none in the ring",
        "let a pod send something, then try again; if nothing comes: cilium status on a node",
    )


# What helps, by where events are lost (flow.LostEventSource).
_LOST_HINTS = {
    "PERF_EVENT_RING_BUFFER": "fewer events (bpf.monitorAggregation: medium) or more CPU for the agent",
    "OBSERVER_EVENTS_QUEUE": "a longer queue (hubble.eventQueueSize) or more CPU for the agent",
    "HUBBLE_RING_BUFFER": _RING_HINT,
}


def lost(evidence: Evidence) -> Step:
    """Lost events by source and node, in the sample and while listening."""
    looked = len(evidence.sample.flows)
    by: Counter[tuple[str, str]] = Counter()
    # Both questions may have brought the same notice.
    for one in {*evidence.sample.lost, *evidence.live.lost}:
        by[one.source, one.node] += one.count
    if not by:
        where = f"among the newest {plural(looked, 'record')} and in {evidence.seconds:.0f} s of listening"
        return Step("lost", State.OK, f"none {where}")
    told = [
        f"{number:,} by {source} on {node or 'an unnamed node'} ({cause(source)})"
        for (source, node), number in by.most_common()
    ]
    top = by.most_common(1)[0][0][0]
    what = f"events were lost, so numbers are at least: {'; '.join(told)}"
    return Step("lost", State.WARN, what, _LOST_HINTS.get(top, ""))


def verdicts(evidence: Evidence) -> Step:
    """Whether policy-verdict records come, which say which policy decided."""
    name = "verdicts"
    if not evidence.sample.flows:
        return _nothing(name)
    found = evidence.verdicts.flows
    if found:
        newest = max(flow.time for flow in found)
        seen = [f for f in evidence.sample.flows if f.event_type == EventType.POLICY_VERDICT]
        passed = [f for f in (*seen, *found) if f.verdict == 1]
        what = f"policy-verdict records come, the newest {_ago(evidence, newest)}"
        if len(passed) >= 10 and not any(f.allowed_by for f in passed):
            return Step(
                name,
                State.WARN,
                f"{what}, but none names the policy that allowed it",
                "set hubble.networkPolicyCorrelation.enabled=true in Cilium (the default)",
            )
        return Step(name, State.OK, what)
    if evidence.denials.flows:
        return Step(
            name,
            State.WARN,
            "packets are dropped by policy, but no policy-verdict record is in the ring: which "
            "policy decided can't be told, nor what a policy allows",
            "set bpf.events.policyVerdict.enabled=true in Cilium (the default), and see that "
            "hubble-monitor-events doesn't leave them out",
        )
    if not evidence.verdicts.complete:
        return Step(name, State.WARN, "no answer in time", "try again")
    return Step(
        name,
        State.WARN,
        "no policy-verdict record is in the ring: which policy decided can't be told",
        "if no policy selects a pod that talks, that is right; else set "
        "bpf.events.policyVerdict.enabled=true in Cilium (the default)",
    )


def names(evidence: Evidence) -> Step:
    """Whether DNS names come, without which FQDN policies can't be checked."""
    name = "dns"
    if not evidence.sample.flows:
        return _nothing(name)
    named = [f for f in (*evidence.names.flows, *evidence.sample.flows) if _named(f)]
    if named:
        newest = max(named, key=lambda flow: flow.time)
        example = (newest.destination_names or newest.source_names)[0]
        return Step(
            name,
            State.OK,
            f"records carry DNS names, as {example} ({_ago(evidence, newest.time)})",
        )
    how = (
        "let DNS pass Cilium's proxy: an egress rule to kube-dns, port 53, with "
        'rules: dns: [{matchPattern: "*"}]'
    )
    if evidence.dns.flows:
        return Step(
            name,
            State.WARN,
            "Cilium's DNS proxy sees queries, but no record to a looked-up address carries its name",
            "names come with the next connection to such an address: let a pod talk to one",
        )
    if not evidence.names.complete:
        return Step(name, State.WARN, "no answer in time", "try again")
    queries = " (pods ask for names past the proxy)" if evidence.queries.flows else ""
    return Step(
        name,
        State.WARN,
        f"no DNS names come{queries}: policies with toFQDNs can't be checked",
        how,
    )


def _named(flow: Flow) -> bool:
    return bool(flow.destination_names or flow.source_names)


# Observation points of trace records that say "a packet came in" (monitor api, TraceFrom…).
_FROM = frozenset((5, 6, 7, 8, 9, 10, 12))
_REPEAT = 4 * _SECOND
_SYN, _FIN_RST = 2, 5


def aggregation(evidence: Evidence) -> Step:
    """What monitor aggregation leaves out, as far as trace records show it."""
    name = "aggregation"
    traces = [
        flow
        for flow in (*evidence.sample.flows, *(flow for flow, _ in fresh(evidence)))
        if flow.event_type == EventType.TRACE
    ]
    if not traces:
        return Step(name, State.SKIPPED, "can't be told: there are no trace records")
    received = sum(flow.sub_type in _FROM for flow in traces)
    if received:
        return Step(
            name,
            State.WARN,
            f"off: {received:,} of {len(traces):,} trace records are of packets received (from-…), "
            "so every packet takes room in the ring",
            "bpf.monitorAggregation: medium (the default) keeps one per new TCP flag and five seconds",
        )
    repeats, pairs = _repeats(traces)
    if repeats:
        return Step(
            name,
            State.OK,
            f"low: no from-… traces, and {repeats:,} repeats within 4 s (or a short "
            "bpf.monitorInterval): packets, not connections, are recorded",
        )
    if pairs:
        return Step(
            name,
            State.OK,
            "medium or more, it seems: one record per new TCP flag and five seconds; packets "
            "can't be counted (flowwatch counts connections)",
        )
    return Step(
        name,
        State.OK,
        "low or more: no from-… traces; whether repeats are left out can't be told, as no "
        "connection has two records",
    )


def _repeats(traces: list[Flow]) -> tuple[int, int]:
    """Records like one less than 4 s before, and how many have any before, of the same packets' way.

    Like: seen at the same point, with the same TCP flags. Looked at are connections that stay open,
    where connection tracking knew the packet: `medium` tells each packet of a connection that
    closes, and those of points without tracking (is_reply is absent then).
    """
    tracked = [
        flow
        for flow in traces
        if flow.protocol == "TCP" and flow.tcp_flags and flow.is_reply is not None
    ]
    closing = {_connection(flow) for flow in tracked if flow.tcp_flags & _FIN_RST}
    last: dict[object, int] = {}
    repeats = pairs = 0
    for flow in sorted(tracked, key=lambda flow: flow.time):
        connection = _connection(flow)
        if connection in closing:
            continue
        way = (flow.node, flow.sub_type, flow.source_ip, flow.source_port, connection)
        exact = (way, flow.tcp_flags)
        if way in last:
            pairs += 1
        # A SYN again is a retry or a new connection on an old port: it says nothing.
        if exact in last and flow.time - last[exact] < _REPEAT and not flow.tcp_flags & _SYN:
            repeats += 1
        last[way] = last[exact] = flow.time
    return repeats, pairs


def _connection(flow: Flow) -> frozenset[tuple[str, int]]:
    source, destination = (
        (flow.source_ip, flow.source_port),
        (flow.destination_ip, flow.destination_port),
    )
    return frozenset((source, destination))


def clocks(evidence: Evidence) -> Step:
    """How far the nodes' clocks are from ours and from each other."""
    name = "clocks"
    delays: dict[str, list[float]] = {}
    for flow, came in fresh(evidence):
        delays.setdefault(flow.node, []).append((came - flow.time) / _SECOND)
    # Old records tell only of clocks that are ahead.
    ahead: dict[str, float] = {}
    for heard in (evidence.sample, evidence.live):
        for flow, came in zip(heard.flows, heard.arrivals, strict=True):
            early = (flow.time - came) / _SECOND
            if early > SKEW:
                ahead[flow.node] = max(ahead.get(flow.node, 0.0), early)
    behind = {
        node: min(seen)
        for node, seen in delays.items()
        if len(seen) >= ENOUGH and min(seen) > SKEW and node not in ahead
    }
    apart = _apart(evidence)
    if ahead or behind or apart:
        told = [f"{node} is {span(by)} ahead of this machine" for node, by in sorted(ahead.items())]
        told += [
            f"{node} is {span(by)} behind, or its records come so late"
            for node, by in sorted(behind.items())
        ]
        told += [
            f"{skew.words} (by {plural(skew.connections, 'connection')} that two nodes saw)"
            for skew in apart
        ]
        return Step(
            name,
            State.WARN,
            "; ".join(told),
            "let the nodes and this machine keep time (NTP, chrony): --since and the order of "
            "records across nodes are off by that much",
        )
    judged = sorted(node for node, seen in delays.items() if len(seen) >= ENOUGH)
    if not judged:
        return Step(name, State.SKIPPED, "can't be told: too few records came while listening")
    count = f"{len(judged)} nodes'" if len(judged) > 1 else f"{judged[0]}'s"
    return Step(
        name, State.OK, f"{count} clock{'s' * (len(judged) > 1)} and ours agree within {SKEW:g} s"
    )


def _apart(evidence: Evidence) -> tuple[ClockSkew, ...]:
    """Nodes whose clocks are apart from each other, by the connections that two of them saw."""
    attempts = Attempts()
    for flow in evidence.sample.flows:
        attempts.observe(flow)
    for flow, _ in fresh(evidence):
        attempts.observe(flow)
    return attempts.clocks.skews()


def _nothing(name: str) -> Step:
    return Step(name, State.SKIPPED, "can't be told: there are no records")


def _ago(evidence: Evidence, at: int) -> str:
    return f"{span((evidence.now - at) / _SECOND)} ago"
