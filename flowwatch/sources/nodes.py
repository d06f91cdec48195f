"""What is known of a server's nodes: which are seen, since when not, and what was missed.

Relay tells the states of its nodes at a stream's start only, and never that one is back (Cilium
1.20, run), so they are asked for from time to time. Each answer says how long a node's Hubble has
been up and how full its ring is, which tells what can still be had of the time in which it wasn't
seen: nothing from before its start, and nothing that its ring has let go.

A plain observer is one node, under the name "".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import msgspec
from msgspec.structs import replace

from flowwatch.flows.model import Gap, NodeStatus
from flowwatch.flows.source import NodeChange
from flowwatch.text import safe

SECOND = 1_000_000_000

CONNECTED = "NODE_CONNECTED"
UNAVAILABLE = "NODE_UNAVAILABLE"
GONE = "NODE_GONE"

RESTARTED = 2 * SECOND
"""How much later than before a node's start must seem, to be another start and not a rounding."""

CHANGES = 50
"""Changes remembered."""

FORMER = 1_000
"""Nodes remembered that left the cluster: a relay that starts may name its nodes one by one."""


class NodeNow(msgspec.Struct, frozen=True):
    """A node as the server describes it when asked."""

    name: str
    """Empty for an observer that speaks for itself."""
    state: str = CONNECTED
    uptime: int = 0
    """Nanoseconds; 0 when unknown."""
    held: int = 0
    """Records in its ring."""
    room: int = 0
    """Records that fit into it; 0 when unknown."""


class ServerNow(msgspec.Struct, frozen=True):
    """A server's answer to a poll."""

    version: str = ""
    nodes: tuple[NodeNow, ...] = ()
    connected: int | None = None
    """None for a plain observer."""
    unavailable: int | None = None
    complete: bool = True
    """Whether ``nodes`` are all; a relay without a node list names only those it can't reach."""
    peeked: tuple[bytes, ...] = ()
    """Messages that the stream should have brought, when it was asked for them."""


class _Node(msgspec.Struct):
    until: int
    """Time (ns, our clock) until which all of its records came, or will come."""
    away: int = 0
    """Since when it can't be seen, 0 while it can."""
    began: int = 0
    """When its Hubble started, by our clock."""
    why: str = ""


class Update(msgspec.Struct):
    """What an answer changed."""

    statuses: list[NodeStatus]
    gaps: list[Gap]


class NodeWatch:
    """Follows the states of nodes. One thread; times are ns since 1970 by our own clock."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self.changes: deque[NodeChange] = deque(maxlen=CHANGES)
        self._former: dict[str, _Node] = {}
        self._asked = False
        self._heard = 0

    def away(self) -> dict[str, int]:
        """Nodes that can't be seen now, and since when."""
        return {name: node.away for name, node in self._nodes.items() if node.away}

    def resume(self, newest: int) -> int:
        """From when on records must be asked for again after a loss: ``newest``, or earlier when
        a node was away."""
        return min([newest, *[node.until for node in self._nodes.values() if node.away]])

    def lost(self, heard: int) -> None:
        """The stream broke, or was found dead; what came until ``heard`` came whole."""
        self._heard = heard
        for node in self._nodes.values():
            if not node.away:
                node.until = heard

    def told(self, status: NodeStatus, at: int) -> NodeStatus:
        """Take in relay's word in the stream; returns it with since when it is so."""
        since = at
        for name in status.nodes:
            if status.state == CONNECTED:
                # Of a node that is back, the next poll finds out what is missing.
                if name not in self._nodes and name not in self._former:
                    self._nodes[name] = _Node(at)
            else:
                since = min(since, self._gone_away(name, status.message, at))
        return replace(status, since=since)

    def _gone_away(self, name: str, why: str, at: int) -> int:
        node = self._nodes.get(name) or self._former.pop(name, _Node(at))
        self._nodes[name] = node
        if not node.away:
            node.away = at
            self._changed(name, "unavailable", at, why)
        node.why = why or node.why
        return node.away

    def _changed(self, name: str, state: str, at: int, why: str = "") -> None:
        self.changes.append(NodeChange(name, state, at / SECOND, safe(why)))

    def update(
        self,
        now: ServerNow,
        at: int,
        newest: dict[str, int],
        oldest: Callable[[], dict[str, int]],
        why: str = "",
    ) -> Update:
        """Take in an answer.

        ``newest`` is the time of the newest record seen of each node. ``oldest`` asks the rings
        for their oldest record; it is called only when a full ring may have let something go.
        ``why`` is the cause of a loss that the server itself has just returned from.
        """
        answers = self._all(now)
        # Asked before anything is taken in: it may raise.
        rings = oldest() if any(self._doubtful(one, why) for one in answers) else {}
        statuses: list[NodeStatus] = []
        missed: list[_Missed] = []
        for answer in answers:
            if answer.state == GONE:
                continue
            if answer.state != CONNECTED:
                since = self._gone_away(answer.name, "", at)
                reason = self._nodes[answer.name].why
                statuses.append(NodeStatus(answer.state, (answer.name,), reason, since))
                continue
            status, gap = self._connected(answer, at, newest.get(answer.name, 0), rings, why)
            statuses += status
            missed += gap
        statuses += self._left({answer.name for answer in answers}, at)
        self._asked = True
        return Update(statuses, _gaps(missed, why))

    def _known(self, name: str, why: str) -> _Node | None:
        node = self._nodes.get(name) or self._former.get(name)
        if node is None and why and not self._asked:
            # Lost before the first answer.
            return _Node(self._heard)
        return node

    def _doubtful(self, answer: NodeNow, why: str) -> bool:
        """Whether a node is back whose full ring may have let go what was made meanwhile."""
        node = self._known(answer.name, why)
        if node is None or answer.state != CONNECTED or not (node.away or why):
            return False
        return answer.held >= answer.room > 0

    def _connected(
        self, answer: NodeNow, at: int, newest: int, rings: dict[str, int], why: str
    ) -> tuple[list[NodeStatus], list[_Missed]]:
        """Take in that a node can be seen: what is new about that, and what was missed of it."""
        name = answer.name
        began = at - answer.uptime if answer.uptime else 0
        status = [NodeStatus(CONNECTED, (name,), "", at)] if name else []
        doubtful = self._doubtful(answer, why)
        node = self._known(name, why)
        if node is None:
            self._nodes[name] = _Node(at, began=began)
            if self._asked and name:
                self._changed(name, "new", at)
            return status, []
        self._former.pop(name, None)
        self._nodes[name] = node
        # What came was seen; but a clock that is ahead proves nothing about our now.
        until = newest if node.until < newest < began else node.until
        restarted = node.began and began > node.began + RESTARTED
        missed: list[_Missed] = []
        if began > until and (node.away or why or restarted):
            missed = [(name, until, began, f"{'the node' if name else 'the server'} was restarted")]
        elif doubtful and name not in rings:
            missed = [(name, until, at, "the ring may have wrapped")]
        elif doubtful and rings[name] > until:
            missed = [(name, until, rings[name], "the ring had wrapped")]
        was_away, node.away, node.why = node.away, 0, ""
        node.until, node.began = at, began or node.began
        if was_away:
            self._changed(name, "back", at)
        return status if was_away else [], missed

    def _all(self, now: ServerNow) -> list[NodeNow]:
        """The nodes of an answer, with those that it leaves out without their having left."""
        answers = list(now.nodes)
        if not now.complete:
            named = {answer.name for answer in answers}
            answers += [NodeNow(name) for name in self._nodes if name not in named]
        elif not answers:
            # A relay that has just started knows nobody yet.
            answers = [NodeNow(name, UNAVAILABLE) for name in self._nodes]
        return answers

    def _left(self, names: set[str], at: int) -> Iterable[NodeStatus]:
        for name in [name for name in self._nodes if name not in names]:
            node = self._former[name] = self._nodes.pop(name)
            if len(self._former) > FORMER:
                del self._former[next(iter(self._former))]
            node.away = node.away or at
            self._changed(name, "gone", at)
            yield NodeStatus(GONE, (name,), "", at)


_Missed = tuple[str, int, int, str]
"""Node, start, end (ns), cause."""


def _gaps(missed: list[_Missed], why: str) -> list[Gap]:
    """One gap for the nodes that miss something for one cause."""
    by_cause: dict[str, list[tuple[str, int, int]]] = {}
    for name, start, end, cause in missed:
        by_cause.setdefault(cause, []).append((name, start, end))
    return [
        Gap(
            start=min(start for _, start, _ in parts),
            end=max(end for _, _, end in parts),
            why=f"{cause}; {why}" if why else cause,
            nodes=tuple(sorted(name for name, _, _ in parts if name)),
        )
        for cause, parts in by_cause.items()
    ]
