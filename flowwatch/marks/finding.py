"""The moments at which policies changed, found in what verdicts say.

An edge *turns* where the attempts of one pod to one destination are decided otherwise from one moment
on. Turns tell of a policy only where nothing else explains them:

====================================  =========================  =======================================
turn                                  what else could do it      so it counts where
====================================  =========================  =======================================
no policy was asked, then one is      records that began in the  none was asked of the pod before, and
(or the reverse)                      middle of a connection     all are asked after (of TCP, from SYN on)
let through by other policies than    an address that another    the pod's revision is another one; or,
before                                rule allows                where none is told, on several edges
let through, then denied (or the      a DNS name that expired;   the pod's revision is another one; or,
reverse)                              a pod that just started    where none is told, on several edges
====================================  =========================  =======================================

What a proxy refused says nothing here: that differs by request. An answer that no longer held, and a
pod's first half minute, explain a turn; a revision that stayed the same speaks against it. Revisions
count all changes of a node's policies (Cilium 1.20, pkg/policy: the repository's revision), so a newer
one alone is no mark.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Generic, Literal, NamedTuple, TypeVar

from flowwatch.flows.model import PolicyRef
from flowwatch.marks.sightings import Edge, How, Pod, Policies, Sightings
from flowwatch.policy.rules import Direction

SECOND = 1_000_000_000
TOGETHER = 10 * SECOND
"""Agents take up one change within seconds of each other: turns that close are of one mark."""

YOUNG = 30 * SECOND
"""A pod's identity may take so long to reach other nodes: until then it is denied what it may."""

ENOUGH = 3
"""Attempts on each side that make one edge's turn count where no revision is told."""

_FEW = 6
"""Turns of one edge; what turns more often is not turned by policies."""

Turned = Literal["asked", "unasked", "names", "denied", "allowed"]
_NOTHING: Policies = frozenset()
_State = TypeVar("_State", bool, Policies)


class Turn(NamedTuple):
    """An edge of one pod that is decided otherwise from some moment on."""

    pod: Pod
    edge: Edge
    turned: Turned
    before: int
    """When it was last decided as before; nanoseconds since 1970."""
    after: int
    """When it was first decided otherwise."""
    came: Policies
    gone: Policies
    sure: bool
    """Whether it counts by itself."""
    by_revision: bool


@dataclass(slots=True)
class Mark:
    """A moment at which policies changed."""

    time: int
    """When a record first showed it, nanoseconds since 1970."""
    not_before: int = 0
    """When one last showed that nothing had changed; 0 where that isn't known."""
    nodes: dict[str, int] = field(default_factory=dict)
    """By node, when it first showed."""
    pods: dict[tuple[Pod, Direction], int] = field(default_factory=dict)
    """The same by pod, whose policies changed in this direction."""
    came: tuple[str, ...] = ()
    """Policies that verdicts name since then."""
    gone: tuple[str, ...] = ()
    """Policies that they named before, and no longer."""
    changed: tuple[str, ...] = ()
    """Policies that they name before and after, of another revision."""
    turns: tuple[Turn, ...] = ()
    """What it was found from; none where it was set by hand."""
    selecting: dict[tuple[Direction, str], tuple[str, ...]] = field(default_factory=dict)
    """Policies that came or changed, by the direction and the name of who they select."""

    @property
    def policies(self) -> tuple[str, ...]:
        """All that it is about."""
        return (*self.came, *self.changed, *self.gone)


def find(seen: Sightings) -> list[Mark]:
    """The marks in what was seen, in their order."""
    turns: list[Turn] = []
    for (pod, direction), edges in seen.edges_of():
        turns += _Of(seen, pod, direction, edges).turns()
    return [_mark(seen, group) for group in _grouped(turns) if _counts(group)]


class _Of:
    """The turns of one pod in one direction."""

    def __init__(self, seen: Sightings, pod: Pod, direction: Direction, edges: list[Edge]) -> None:
        self._seen = seen
        self._pod = pod
        self._direction = direction
        self._times: dict[Edge, Mapping[How, array[int]]] = {
            edge: seen.times[pod, edge] for edge in edges
        }
        self._start = min(min(at) for hows in self._times.values() for at in hows.values())
        self._asked: list[tuple[int, bool]] | None = None

    def turns(self) -> Iterator[Turn]:
        for edge, hows in self._times.items():
            cuts = self._seen.cut.get((self._pod, edge), ())
            if len(hows) + len(cuts) < 2:
                continue  # most edges: always decided alike
            each = sorted(
                [(time, how) for how, times in hows.items() for time in times]
                + [(cut.denied, _CUT) for cut in cuts],
                key=lambda one: one[0],
            )
            yield from self._asking(edge, each)
            yield from self._names(edge, each)
            yield from self._deciding(edge, each)

    # No policy was asked, then one is ----------------------------------------------------------

    def _asking(self, edge: Edge, each: list[tuple[int, How]]) -> Iterator[Turn]:
        states = [(time, how.verdict) for time, how in each if how.verdict or how.unasked]
        for before, after in _runs(states):
            if not self._agrees(before, after):
                continue
            names = self._named(after.first, after.last if after.state else None)
            was = self._named(before.first, before.last if before.state else None)
            turned: Turned = "asked" if after.state else "unasked"
            yield Turn(
                self._pod, edge, turned, before.last, after.first,
                names if after.state else _NOTHING, _NOTHING if after.state else was,
                sure=True, by_revision=False,
            )  # fmt: skip

    def _agrees(self, before: _Run[bool], after: _Run[bool]) -> bool:
        """Whether all of the pod's attempts, to whatever destination, turn there too."""
        if self._asked is None:
            self._asked = sorted(
                (time, how.verdict)
                for hows in self._times.values()
                for how, times in hows.items()
                if how.verdict or how.unasked
                for time in times
            )
        runs = list(_merged(self._asked))
        for one, other in pairwise(runs):
            if one.state == before.state and one.last >= before.last and other.first <= after.first:
                unasked = one if not one.state else other
                return one.first <= before.last and unasked.attempts > 1 and len(runs) <= _FEW
        return False

    def _named(self, first: int, last: int | None) -> Policies:
        """What verdicts of the pod name between these times."""
        if last is None:
            return _NOTHING
        return frozenset().union(
            *(
                how.names
                for hows in self._times.values()
                for how, times in hows.items()
                if how.names and how.passed and any(first <= time <= last for time in times)
            )
        )

    # Let through by other policies than before -------------------------------------------------

    def _names(self, edge: Edge, each: list[tuple[int, How]]) -> Iterator[Turn]:
        states = [(time, how.names) for time, how in each if how.names and how.passed]
        for before, after in _runs(states):
            newer = self._seen.newer(self._pod, before.last, after.first)
            if newer is False:
                continue
            yield Turn(
                self._pod, edge, "names", before.last, after.first,
                after.state - before.state, before.state - after.state,
                sure=newer is True or min(before.attempts, after.attempts) >= ENOUGH,
                by_revision=newer is True,
            )  # fmt: skip

    # Let through, then denied ------------------------------------------------------------------

    def _deciding(self, edge: Edge, each: list[tuple[int, How]]) -> Iterator[Turn]:
        states = [(time, how) for time, how in each if how.denied or how.passed]
        decided = [(time, how.denied) for time, how in states]
        cuts = self._seen.cut.get((self._pod, edge), ())
        cut = {one.denied for one in cuts}
        expired = {time for time, how in states if how.expired}
        expired.update(one.denied for one in cuts if one.expired)
        for before, after in _runs(decided):
            newer = self._seen.newer(self._pod, before.last, after.first)
            young = not after.state and after.first - self._start < YOUNG
            if newer is False or (after.first if after.state else before.last) in expired:
                continue
            if young and newer is None:
                continue
            enough = min(before.attempts, after.attempts) >= ENOUGH
            yield Turn(
                self._pod, edge, "denied" if after.state else "allowed", before.last, after.first,
                _NOTHING, _NOTHING,
                sure=enough
                or after.first in cut
                or (newer is True and before.attempts + after.attempts > ENOUGH),
                by_revision=newer is True,
            )  # fmt: skip


_CUT = How(0, denied=True, verdict=True)


class _Run(NamedTuple, Generic[_State]):
    """Sightings in a row that are alike."""

    state: _State
    first: int
    last: int
    attempts: int


def _merged(states: list[tuple[int, _State]]) -> Iterator[_Run[_State]]:
    run: _Run[_State] | None = None
    for time, state in states:
        if run is None or run.state != state:
            if run is not None:
                yield run
            run = _Run(state, time, time, 1)
        else:
            run = run._replace(last=time, attempts=run.attempts + 1)
    if run is not None:
        yield run


def _runs(states: list[tuple[int, _State]]) -> Iterator[tuple[_Run[_State], _Run[_State]]]:
    """Each run with the one after it; none where they are too many to be policies' doing."""
    runs = list(_merged(states))
    if len(runs) <= _FEW:
        yield from pairwise(runs)


# Turns that belong together --------------------------------------------------------------------


def _grouped(turns: list[Turn]) -> list[list[Turn]]:
    """The turns of each moment; a turn whose moment is wide open goes to the latest that it fits."""
    groups: list[list[Turn]] = []
    for turn in sorted(turns, key=lambda one: one.after):
        for group in reversed(groups):
            if _fits(group, turn):
                group.append(turn)
                break
        else:
            groups.append([turn])
    return groups


def _fits(group: list[Turn], turn: Turn) -> bool:
    moment = group[0].after
    if turn.before < moment:
        return True
    if turn.after - moment > TOGETHER:
        return False
    # Of one pod these would be two changes: policies of a pod change at once.
    return not any(
        (one.pod, one.edge.direction) == (turn.pod, turn.edge.direction)
        and one.after <= turn.before
        for one in group
    )


def _counts(group: list[Turn]) -> bool:
    """Whether turns of one moment can't well be anything but policies' doing."""
    if any(one.sure for one in group):
        return True
    alike: dict[Turned, set[tuple[str, int]]] = {}
    for one in group:
        alike.setdefault(one.turned, set()).add((one.edge.peer, one.edge.port))
    return any(len(peers) > 1 for peers in alike.values())


def _mark(seen: Sightings, group: list[Turn]) -> Mark:
    mark = Mark(group[0].after, turns=tuple(group))
    mark.not_before = max((one.before for one in group if one.before < mark.time), default=0)
    came: set[PolicyRef] = set()
    gone: set[PolicyRef] = set()
    changed: set[PolicyRef] = set()
    for (pod, direction), turns in _by_pod(group).items():
        time = mark.pods[pod, direction] = min(one.after for one in turns)
        node = seen.node(pod)
        mark.nodes[node] = min(time, mark.nodes.get(node, time))
        was, then = _names_around(seen, pod, direction, time)
        new = _NOTHING.union(*(one.came for one in turns)) or then - was
        gone |= _NOTHING.union(*(one.gone for one in turns)) - then
        if not new and was & then and any(one.by_revision for one in turns):
            new = was & then
            changed |= new
        came |= new
        for one in turns:
            mark.selecting[direction, one.edge.subject] = _references(new)
    mark.came = _references(came - changed)
    mark.gone = _references(gone - came)
    # What came or went made the revision another one: what else is named is as it was.
    mark.changed = () if mark.came or mark.gone else _references(changed)
    return mark


def _by_pod(group: list[Turn]) -> dict[tuple[Pod, Direction], list[Turn]]:
    found: dict[tuple[Pod, Direction], list[Turn]] = {}
    for one in group:
        found.setdefault((one.pod, one.edge.direction), []).append(one)
    return found


def _names_around(
    seen: Sightings, pod: Pod, direction: Direction, time: int
) -> tuple[Policies, Policies]:
    """The policies that verdicts of a pod name before and from ``time`` on."""
    was: set[PolicyRef] = set()
    then: set[PolicyRef] = set()
    for (of, edge), hows in seen.times.items():
        if of != pod or edge.direction != direction:
            continue
        for how, times in hows.items():
            if how.names and how.passed:
                if min(times) < time:
                    was |= how.names
                if max(times) >= time:
                    then |= how.names
    return frozenset(was), frozenset(then)


def _references(policies: Iterable[PolicyRef]) -> tuple[str, ...]:
    return tuple(sorted(str(one) for one in policies))
