"""What is kept of attempts to tell before from after: when each was, and how it was decided.

An attempt is a *sighting* in each direction in which it was seen. Equal sightings of one pod and
destination share a list of times, 8 bytes each, so that a day's attempts fit into memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple, TypeVar

from flowwatch.audits.evidence import Observation
from flowwatch.flows import meaning
from flowwatch.flows.known import remember
from flowwatch.flows.model import Endpoint, Flow, Kind, PolicyRef
from flowwatch.flows.reasons import L7_DENIED
from flowwatch.policy.rules import Direction

MAX_EDGES = 200_000
"""Pods' destinations kept apart; attempts of any more are counted, and told."""

REVISIONS = 256
"""Of one pod: past it the oldest is forgotten."""
_LASTING = 1_000_000_000
_SAMPLED = 64
"""Of so many times one tells where the half is."""
_Kept = TypeVar("_Kept")
_PASSED = (meaning.FORWARDED, meaning.AUDIT)

Policies = frozenset[PolicyRef]


class Pod(NamedTuple):
    """Whose policies decide. ``name`` stands for what is no pod, too."""

    origin: str
    cluster: str
    namespace: str
    name: str


class Edge(NamedTuple):
    """What a row is about, as people name it: a workload and a destination, in one direction."""

    direction: Direction
    subject: str
    peer: str
    protocol: str
    port: int
    cluster: str


class How(NamedTuple):
    """How an attempt was decided, in one direction."""

    outcome: int
    """``meaning.FORWARDED`` …"""
    denied: bool = False
    """Whether a policy denied it, and not because of what was asked (L7): that differs by request."""
    verdict: bool = False
    """Whether a record shows that policies decided. Where none are in force, none does."""
    names: Policies | None = None
    """Policies that allowed it, or denied it, as its verdicts name them; None where none is named."""
    unasked: bool = False
    """Whether it passed, was seen from its SYN on, and no policy was asked."""
    reason: int = 0
    """Why it was dropped."""
    expired: bool = False
    """Of a denied name: whether its address had no answer that still held. So it may have been denied
    for that."""

    answered: bool = False
    """Whether the server answered: only of what passed."""

    @property
    def passed(self) -> bool:
        return self.outcome in _PASSED


class Cut(NamedTuple):
    """A connection that worked until a policy denied it."""

    first: int
    denied: int
    """Nanoseconds since 1970, both."""
    expired: bool


Sighting = tuple[tuple[Pod, Edge], How]
_Decided = tuple[list[int], Kind, Endpoint]
"""When records of a kind about an end were seen, first and last: of its revision, where one is told."""


class Sightings:
    """All that was seen, by pod and edge."""

    def __init__(self) -> None:
        self.times: dict[tuple[Pod, Edge], dict[How, array[int]]] = {}
        """When attempts began (of one that was cut, when it was denied), nanoseconds since 1970, by the
        clock that most nodes share. Sorted by nothing."""
        self.cut: dict[tuple[Pod, Edge], list[Cut]] = {}
        """Connections that worked until a policy denied them."""
        self.lasting: dict[tuple[Pod, Edge], array[int]] = {}
        """Those that lasted more than a second: first, last, and so on, 16 bytes each."""
        self.nodes: dict[tuple[str, str, str], str] = {}
        """Of a pod (server, namespace, name): the node whose records told its verdicts."""
        self.told: dict[tuple[Pod, Edge], tuple[int, str]] = {}
        """Of the latest that was dropped: when, and what the policies given say of it."""
        self.left_out = 0
        """Attempts of edges beyond MAX_EDGES."""
        self._revisions: dict[tuple[str, str, str], dict[int, list[int]]] = {}
        self._known: dict[How, How] = {}
        self._verdicts: dict[tuple[int, int, str], _Decided] = {}

    def verdict(self, flow: Flow, time: int, origin: str) -> None:
        """Take in who decided where, and at which revision, of a record that shows a decision; ``time`` is on
        the shared clock."""
        kind, ends = flow.kind, flow.ends
        end = ends.destination if kind.ingress else ends.source
        # Kinds and ends are shared: most records are of both as one before, which is kept beside it.
        alike = id(kind), id(end), origin
        known = self._verdicts.get(alike)
        if known is None:
            known = self._verdict(kind, end, origin)
            remember(self._verdicts, alike, known)
        span = known[0]
        if not span[1]:
            span[0] = span[1] = time
        elif time > span[1]:
            span[1] = time
        elif time < span[0]:
            span[0] = time

    def _verdict(self, kind: Kind, end: Endpoint, origin: str) -> _Decided:
        span = [0, 0]
        if not end.pod:
            return span, kind, end
        pod = origin, end.namespace, end.pod
        if len(self.nodes) < MAX_EDGES:
            self.nodes[pod] = kind.node
        if kind.revision:
            known = self._revisions.setdefault(pod, {})
            span = known.setdefault(kind.revision, span)
            if len(known) > REVISIONS:
                del known[min(known, key=lambda one: (not known[one][0], known[one][0]))]
                self._verdicts.clear()
        return span, kind, end

    def add(self, seen: Observation, origin: str, told: str = "") -> Sighting | None:
        """Take in an attempt; ``told``: what policies say about what was dropped.

        What it is counted as, where others that are the same may be added to it by :meth:`again`; else None.
        """
        if not seen.first:
            return None
        pod = Pod(origin, seen.cluster, *(seen.pod if seen.pod[1] else ("", seen.subject_name)))
        edge = Edge(
            seen.direction,
            seen.subject_name,
            seen.peer_name,
            seen.protocol,
            seen.port,
            seen.cluster,
        )
        key = pod, edge
        times = self.times.get(key)
        if times is None:
            if len(self.times) >= MAX_EDGES:
                self.left_out += 1
                return None
            times = self.times[key] = {}
        if told:
            self.told[key] = max((seen.dropped_at or seen.first, told), self.told.get(key, (0, "")))
        # A request that a proxy refuses is no cut: its connection worked for others.
        if seen.cut and seen.reason != L7_DENIED:
            cut = Cut(seen.first, seen.dropped_at, _expired(seen))
            self.cut.setdefault(key, []).append(cut)
            self._at(times, _as_before(seen), seen.first)
            return None
        if seen.last - seen.first > _LASTING and seen.outcome in _PASSED:
            self.lasting.setdefault(key, array("q")).extend((seen.first, seen.last))
        # One that was let through on a retry passed only then.
        return key, self._at(times, _how(seen), seen.first + int(seen.waited * 1e9))

    def again(self, sighting: Sighting, first: int, last: int) -> None:
        """Take in an attempt that is the same as one that was added, but for its times."""
        key, how = sighting
        times = self.times.get(key)
        if times is None:
            if len(self.times) >= MAX_EDGES:
                self.left_out += 1
                return
            times = self.times[key] = {}
        if last - first > _LASTING and how.outcome in _PASSED:
            self.lasting.setdefault(key, array("q")).extend((first, last))
        self._at(times, how, first)

    def _at(self, times: dict[How, array[int]], how: How, time: int) -> How:
        at = times.get(how)
        if at is None:
            how = self._known.setdefault(how, how)
            at = times[how] = array("q")
        at.append(time)
        return how

    def copy(self) -> Sightings:
        """One that attempts can be added to, without adding them here."""
        other = Sightings()
        other.times = {
            key: {how: times[:] for how, times in hows.items()} for key, hows in self.times.items()
        }
        other.cut = {key: list(cuts) for key, cuts in self.cut.items()}
        other.lasting = {key: spans[:] for key, spans in self.lasting.items()}
        other.told = dict(self.told)
        other.left_out = self.left_out
        other.nodes = dict(self.nodes)
        other._revisions = {
            pod: {revision: list(seen) for revision, seen in known.items()}
            for pod, known in self._revisions.items()
        }
        return other

    def forget_half(self) -> int:
        """Forget about the older half; since when attempts are kept, nanoseconds since 1970."""
        every = [times for hows in self.times.values() for times in hows.values()]
        sample = sorted(time for times in every for time in times[::_SAMPLED])
        since = sample[len(sample) // 2]
        for key, hows in list(self.times.items()):
            left = {
                how: array("q", [at for at in times if at >= since]) for how, times in hows.items()
            }
            self.times[key] = {how: times for how, times in left.items() if times}
            if not self.times[key]:
                del self.times[key]
                self.told.pop(key, None)
        self.cut = _later(self.cut, lambda cut: cut.denied >= since)
        for key, spans in list(self.lasting.items()):
            later = [span for span in pairs(spans) if span[1] >= since]
            self.lasting[key] = array("q", chain.from_iterable(later))
            if not later:
                del self.lasting[key]
        return since

    def node(self, pod: Pod) -> str:
        """Where its policies are enforced; "" where no verdict told."""
        return self.nodes.get((pod.origin, pod.namespace, pod.name), "")

    def newer(self, pod: Pod, before: int, after: int) -> bool | None:
        """Whether the policies that decided about ``pod`` from ``after`` on are of another revision
        than those up to ``before``; None where the records don't tell."""
        known = self._revisions.get((pod.origin, pod.namespace, pod.name), {})
        was = [
            (min(last, before), revision)
            for revision, (first, last) in known.items()
            if first <= before
        ]
        then = [
            (max(first, after), revision)
            for revision, (first, last) in known.items()
            if last >= after
        ]
        if not was or not then:
            return None
        return min(then)[1] != max(was)[1]

    def edges_of(self) -> Iterator[tuple[tuple[Pod, Direction], list[Edge]]]:
        """The edges of each pod, in each direction."""
        found: dict[tuple[Pod, Direction], list[Edge]] = {}
        for pod, edge in self.times:
            found.setdefault((pod, edge.direction), []).append(edge)
        yield from found.items()


def pairs(spans: array[int]) -> Iterator[tuple[int, int]]:
    """First and last of each connection."""
    return zip(spans[::2], spans[1::2], strict=True)


def _later(
    kept: dict[tuple[Pod, Edge], list[_Kept]], wanted: Callable[[_Kept], bool]
) -> dict[tuple[Pod, Edge], list[_Kept]]:
    later = {key: [one for one in each if wanted(one)] for key, each in kept.items()}
    return {key: each for key, each in later.items() if each}


def _how(seen: Observation) -> How:
    passed = seen.outcome in _PASSED
    denied = (
        seen.outcome == meaning.DROPPED
        and seen.by_policy
        and seen.reason != L7_DENIED
        and seen.answer_port is None
    )
    return How(
        seen.outcome,
        denied,
        denied or seen.verdict,
        frozenset(seen.named_allowed if passed else seen.named_denied) or None,
        passed and not seen.verdict and seen.opened and seen.protocol == "TCP",
        seen.reason if seen.outcome == meaning.DROPPED else 0,
        denied and _expired(seen),
        passed and seen.replied,
    )


def _expired(seen: Observation) -> bool:
    return bool(seen.absent or any(one.expired for one in seen.answered))


def _as_before(seen: Observation) -> How:
    """How it was decided until it was cut."""
    names = frozenset(seen.named_allowed) or None
    return How(meaning.FORWARDED, verdict=names is not None, names=names, answered=True)
