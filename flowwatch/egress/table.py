"""The rows in columns: what a million distinct rows cost is 80 bytes each, not an object each.

A row is an index into every column. Its identity (direction, pod, peer, port, protocol) is small numbers,
of pods and peers those that they are given here, by which :class:`RowIndex` finds it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Mapping
from math import exp
from typing import Any, Generic, TypeVar

from flowwatch.egress.row_index import RowIndex
from flowwatch.flows.cause import Cause
from flowwatch.flows.model import Direction, PolicyRef
from flowwatch.flows.noise import noise
from flowwatch.flows.open_attempt import ANSWERED, ANSWERS, LOGS
from flowwatch.flows.peers import KINDS, Peer
from flowwatch.flows.ranges import PORT_BITS, TIME_BITS
from flowwatch.flows.staged import Staged

_Thing = TypeVar("_Thing", bound=Hashable)

PROTOCOLS = ("", "TCP", "UDP", "SCTP", "ICMPv4", "ICMPv6", "VRRP", "IGMP")
PROTOCOL_NUMBER = {name: number for number, name in enumerate(PROTOCOLS)}

COUNTS = ("forwarded", "dropped", "audited", "errors", "unknown")
"""Columns of attempts, at the outcome's number (flowwatch.flows.meaning.OUTCOMES)."""

RATE_SECONDS = 30.0
"""Time constant of a row's rate."""

FOLD_SHARE = 0.25
"""Share of the rows that go into "other" at once, so that folding is rare."""

_REFUSED = 32
"""Things of a row that the proxy refused of which is counted how often."""
_LONGEST = 200
"""Characters that are kept of what the proxy refused: a URL may have thousands."""

OTHER = Peer("other", "other")

_KIND = {name: number for number, name in enumerate(KINDS)}
# Kinds of peers that have several addresses behind one name.
_NAMED = frozenset((_KIND["dns"], _KIND["service"]))

_WAYS = (int(Direction.INGRESS), int(Direction.EGRESS))


class Interned(Generic[_Thing]):
    """Gives each distinct thing a small number, and the thing back for the number."""

    __slots__ = ("numbers", "things")

    def __init__(self) -> None:
        self.numbers: dict[_Thing, int] = {}
        self.things: list[_Thing] = []

    def number(self, thing: _Thing) -> int:
        number = self.numbers.get(thing)
        if number is None:
            number = self.numbers[thing] = len(self.things)
            self.things.append(thing)
        return number

    def __len__(self) -> int:
        return len(self.things)


Pod = tuple[str, str, str]
"""Namespace, name, workload."""

PodName = tuple[str, str, str, str]
"""Namespace, name, cluster, and the server it was seen through (empty when there is but one). Of pods
whose names aren't recorded the name is that of their workload behind ANY_POD."""

ANY_POD = "/"
"""In no pod's name."""

PolicyPair = tuple[tuple[PolicyRef, ...], tuple[PolicyRef, ...]]
"""Policies that allowed, and that denied."""


_RARE = tuple("answer" if name == "dropped" else name for name in ANSWERS)
"""What a filter's words call the answers: "dropped" is of the attempt."""


class Rare:
    """What few rows have: answers that were none, and attempts that were let through late."""

    __slots__ = (
        "answers",
        "encrypted",
        "late",
        "policy_log",
        "retries",
        "uncounted",
        "unsure",
        "waited",
    )

    def __init__(self) -> None:
        self.answers = [0] * len(ANSWERS)
        """By the number of the answer."""
        self.late = 0
        self.waited = 0.0
        """The longest wait, seconds."""
        self.retries = 0
        """Of the attempt that waited longest."""
        self.uncounted = 0
        """Attempts of which each may be several."""
        self.unsure = 0
        """Attempts that may be answers."""
        self.encrypted = 0
        """Attempts of which an encrypted packet was seen."""
        self.policy_log: dict[str, None] = {}
        """``log: value`` of the policies that decided, at most LOGS of them."""

    def add(self, other: Rare) -> None:
        self.answers = [a + b for a, b in zip(self.answers, other.answers, strict=True)]
        self.late += other.late
        self.wait(other.waited, other.retries)
        self.uncounted += other.uncounted
        self.unsure += other.unsure
        self.encrypted += other.encrypted
        self.log(tuple(other.policy_log))

    def log(self, values: tuple[str, ...]) -> None:
        """Take in what policies log."""
        for value in values:
            if len(self.policy_log) < LOGS:
                self.policy_log[value] = None

    def mentions(self, word: str) -> bool:
        """Whether a filter's word begins the name of something that happened: late, refused …"""
        happened = [name for name, number in zip(_RARE, self.answers, strict=True) if number]
        if self.late:
            happened.append("late")
        if self.encrypted:
            happened.append("encrypted")
        happened += [value.lower() for value in self.policy_log]
        return any(name.startswith(word) for name in happened if name)

    def wait(self, waited: float, retries: int) -> None:
        """Take in how long an attempt waited, in how many retries: the longest counts."""
        if (waited, retries) > (self.waited, self.retries):
            self.waited, self.retries = waited, retries


class Columns:
    """Rows in parallel arrays; ``rows`` of them are in use. Grows, and is rebuilt when folding."""

    def __init__(self) -> None:
        self.index = RowIndex()
        self.pods: Interned[PodName] = Interned()
        self.places: dict[tuple[str, str], None] = {}
        """Clusters, each with the server it was seen through."""
        self.workloads: list[str] = []
        self.subjects: dict[object, Any] = {}
        """Under whom pods are folded, by what: kept by flowwatch.egress.groups."""
        self.peer_names: Interned[str] = Interned()
        self.policy_sets: Interned[PolicyPair] = Interned()
        self.policy_sets.number(((), ()))
        self.counts = tuple(array("I") for _ in COUNTS)
        self.answered = array("I")
        self.rare: dict[int, Rare] = {}
        """Of rows that have any: what else came of attempts."""
        # A busy row gets 10,000 records a second: 32 bits would last five days.
        self.records = array("Q")
        self.first = array("q")
        self.last = array("q")
        self.rate = array("d")
        self.rated = array("d")
        self.direction = array("B")
        self.rows_of = [0, 0, 0]
        """Rows by direction."""
        self.pod = array("I")
        self.peer = array("I")
        """Number of the peer's name, times 8, and its kind: see :meth:`peer_of`."""
        self.port = array("H")
        self.protocol = array("B")
        self._identity = self.pod, self.peer, self.port, self.protocol, self.direction
        """What tells rows apart, as the index asks for it."""
        self.policies = array("I")
        self.ident = array("Q")
        self.nodes: Interned[tuple[str, str]] = Interned()
        """Servers and nodes, by whose clocks rows are told."""
        self.node = array("I")
        # A row nearly always has one drop reason; only rows with more have an entry of their own.
        self.reason = array("i")
        self.more_reasons: dict[int, dict[int, int]] = {}
        self.addresses: dict[int, tuple[str, ...]] = {}
        self.proxy_refused: dict[int, tuple[str, ...]] = {}
        """Of rows of which the proxy refused something: what, the latest first."""
        self.refused: dict[int, dict[str, int]] = {}
        """The same with how many attempts, of _REFUSED things at most."""
        self.causes: dict[int, Cause] = {}
        """Of rows that policies blocked, where some were given: what did, of the latest attempt."""
        self.waiting: dict[int, int] = {}
        """Of rows whose dropped attempts were tried again: how long, all together, nanoseconds."""
        self.staged: dict[int, Staged] = {}
        """What staged policies would do, of the rows that were asked about."""
        self.noise: dict[int, dict[str, int]] = {}
        """Of rows that have any: dropped attempts that are noise, by kind (flowwatch.flows.noise)."""
        self.noise_of: dict[int, dict[str, int]] = {way: {} for way in _WAYS}
        """The same of all rows, by direction."""

    def __len__(self) -> int:
        return len(self.last)

    def row(
        self,
        direction: int,
        pod: Pod,
        peer: Peer,
        port: int,
        protocol: str,
        time: int,
        ident: int,
        place: tuple[str, str] = ("", ""),
        node: str = "",
    ) -> int:
        """The row of this identity, made when it is new (then ``ident`` is its stable key).

        ``place`` is the pod's cluster, and the server it was seen through; ``node`` whose record it
        is made for. Raises ValueError, before anything is changed, for what no decoder lets through:
        a row is whole, or it isn't there.
        """
        if port >> PORT_BITS or time >> TIME_BITS or direction not in _WAYS:
            raise ValueError(f"no row has direction {direction}, port {port} and time {time}")
        namespace, name, workload = pod
        pods = self.pods
        if not name and workload:
            name = ANY_POD + workload
        pod_number = pods.number((namespace, name, *place))
        if pod_number == len(self.workloads):
            self.workloads.append(workload)
            self.places[place] = None
        elif workload and not self.workloads[pod_number]:
            # Only the pod's own node knows the workload: take it from whichever record has it.
            self.workloads[pod_number] = workload
            self.subjects.clear()
        peer_number = self.peer_names.number(peer[1]) << 3 | _KIND[peer[0]]
        protocol_number = PROTOCOL_NUMBER.get(protocol, 0)
        key = pod_number, peer_number, port, protocol_number, direction
        row = self.index.row(self._identity, key)
        if row == len(self.last):
            for column in self.counts:
                column.append(0)
            self.answered.append(0)
            self.records.append(0)
            self.first.append(time)
            self.last.append(time)
            self.rate.append(0.0)
            self.rated.append(0.0)
            self.direction.append(direction)
            self.rows_of[direction] += 1
            self.pod.append(pod_number)
            self.peer.append(peer_number)
            self.port.append(port)
            self.protocol.append(protocol_number)
            self.policies.append(0)
            self.ident.append(ident)
            self.node.append(self.nodes.number((place[1], node)))
            self.reason.append(0)
        return row

    def peer_of(self, row: int) -> Peer:
        """The peer of ``row``."""
        number = self.peer[row]
        return Peer(KINDS[number & 7], self.peer_names.things[number >> 3])

    def add_answer(self, row: int, answer: int, by: int) -> None:
        """Count an attempt's answer (flowwatch.flows.open_attempt.ANSWERS) in ``row``, or take it out."""
        if answer == ANSWERED:
            self.answered[row] += by
        elif answer:
            self.rarity(row).answers[answer] += by

    def add_late(self, row: int, waited: float, retries: int) -> None:
        """Count an attempt that was let through after ``waited`` seconds, on the last of ``retries``."""
        rare = self.rarity(row)
        rare.late += 1
        rare.wait(waited, retries)

    def take_late(self, row: int) -> None:
        """An attempt that had been let through late was dropped in the end."""
        rare = self.rarity(row)
        rare.late -= 1
        if not rare.late:
            rare.waited, rare.retries = 0.0, 0

    def rarity(self, row: int) -> Rare:
        """What few rows have, of this one: to be added to."""
        rare = self.rare.get(row)
        if rare is None:
            rare = self.rare[row] = Rare()
        return rare

    def add_reason(self, row: int, reason: int, count: int, ends: tuple[str, str]) -> bool:
        """Count ``count`` attempts (may be negative) dropped for ``reason`` in ``row``; whether they
        are noise.

        ``ends``: addresses of client and server.
        """
        self._count_reason(row, reason, count)
        kind = self.noise_kind(row, reason, ends)
        if kind:
            for counts in (self.noise.setdefault(row, {}), self.noise_of[self.direction[row]]):
                counts[kind] = counts.get(kind, 0) + count
        return bool(kind)

    def noise_kind(self, row: int, reason: int, ends: tuple[str, str]) -> str:
        """What kind of noise a drop for ``reason`` in ``row`` is; empty if it is none."""
        return noise(reason, PROTOCOLS[self.protocol[row]], self.port[row], *ends)

    def quiet(self, row: int) -> int:
        """Attempts of ``row`` that are noise."""
        kinds = self.noise.get(row)
        return min(sum(kinds.values()), self.counts[1][row]) if kinds else 0

    def only_noise(self, *, drops_only: bool = False) -> set[int]:
        """Rows that have nothing else; ``drops_only``: nothing else that was dropped or audited."""
        asked = self.counts[1:3] if drops_only else self.counts
        return {
            row
            for row in self.noise
            if (quiet := self.quiet(row)) and quiet == sum(column[row] for column in asked)
        }

    def _count_reason(self, row: int, reason: int, count: int) -> None:
        more = self.more_reasons.get(row)
        if more is not None:
            more[reason] = more.get(reason, 0) + count
            return
        known = self.reason[row]
        dropped = self.counts[1][row] - count
        if dropped <= 0 or known == reason:
            self.reason[row] = reason
        else:
            self.more_reasons[row] = {known: dropped, reason: count}

    def reasons(self, row: int) -> dict[int, int]:
        """Attempts by drop reason; the sum is the row's ``dropped``."""
        more = self.more_reasons.get(row)
        if more is not None:
            return {reason: count for reason, count in more.items() if count}
        dropped = self.counts[1][row]
        return {self.reason[row]: dropped} if dropped else {}

    def add_policies(
        self, row: int, allowed: tuple[PolicyRef, ...], denied: tuple[PolicyRef, ...]
    ) -> None:
        """Remember who allowed and who denied in ``row``."""
        known = self.policy_sets.things[self.policies[row]]
        if known == (allowed, denied):
            return
        old_allowed, old_denied = known
        # Few, and mostly the same objects: nothing needs hashing.
        if all(one in old_allowed for one in allowed) and all(one in old_denied for one in denied):
            return
        self.policies[row] = self.policy_sets.number(
            (
                tuple(dict.fromkeys(old_allowed + allowed)),
                tuple(dict.fromkeys(old_denied + denied)),
            )
        )

    def add_rate(self, row: int, time: int) -> None:
        """Count one attempt at ``time`` into the row's rate."""
        now = time / 1e9
        age = now - self.rated[row]
        if age > 0:
            self.rate[row] *= exp(-age / RATE_SECONDS)
            self.rated[row] = now
        self.rate[row] += 1 / RATE_SECONDS

    def move_times(self, back: Mapping[tuple[str, str], int]) -> Callable[[int], int]:
        """Set the rows of these servers' nodes back by so many nanoseconds; says by how many each was."""
        moves = [back.get(node, 0) for node in self.nodes.things]
        for row, node in enumerate(self.node):
            if (by := moves[node]) and self.last[row]:
                self.first[row] = max(self.first[row] - by, 0)
                self.last[row] = max(self.last[row] - by, 0)
                self.rated[row] -= by / 1e9
        return lambda row: moves[self.node[row]]

    def add_address(self, row: int, address: str) -> None:
        """Remember that ``address`` is behind the row's peer (at most four, the latest first).

        Only names and services have several; a pod's or an address's own would cost 200 MB a million.
        """
        if self.peer[row] & 7 not in _NAMED:
            return
        _put_first(self.addresses, row, address)

    def add_proxy_refused(self, row: int, what: str) -> None:
        """Remember what the proxy refused in ``row`` (at most four, the latest first), and how often."""
        what = what[:_LONGEST]
        _put_first(self.proxy_refused, row, what)
        counts = self.refused.setdefault(row, {})
        if what in counts or len(counts) < _REFUSED:
            counts[what] = counts.get(what, 0) + 1

    def folded(self, limit: int) -> tuple[Columns, dict[int, int], int]:
        """Room made: new columns with the least recently seen rows in "other", one per direction.

        Also where each old row is now, and how many were folded. All is rebuilt, so pods and peers
        that no row needs any more are forgotten too.
        """
        keep = max(int(limit * (1 - FOLD_SHARE)), 1)
        by_age = sorted(range(len(self)), key=self.last.__getitem__)
        go = set(by_age[: max(len(self) - keep, 0)])
        new = Columns()
        new.noise_of = self.noise_of
        moved: dict[int, int] = {}
        folded = 0
        for row in range(len(self)):
            number = self.pod[row]
            namespace, name, *place = self.pods.things[number]
            pod = (namespace, name, self.workloads[number])
            peer = self.peer_of(row)
            port, protocol, ident = self.port[row], self.protocol[row], self.ident[row]
            if row in go and peer != OTHER:
                pod, peer, port, protocol = ("", "other", ""), OTHER, 0, 0
                place = ["", ""]
                # Keys of rows start at 1; the two "other" rows take numbers above all others.
                ident = 2**63 + self.direction[row]
                folded += 1
            moved[row] = new.row(
                self.direction[row],
                pod,
                peer,
                port,
                PROTOCOLS[protocol],
                self.first[row],
                ident,
                (place[0], place[1]),
                self.nodes.things[self.node[row]][1],
            )
            new._merge(moved[row], self, row)
        return new, moved, folded

    def _merge(self, row: int, old: Columns, from_row: int) -> None:
        reasons = old.reasons(from_row)
        for column, was in zip(self.counts, old.counts, strict=True):
            column[row] += was[from_row]
        # The reason's counts follow one by one, as if the attempts came now.
        total = self.counts[1][row]
        self.counts[1][row] = total - sum(reasons.values())
        for reason, count in reasons.items():
            self.counts[1][row] += count
            self._count_reason(row, reason, count)
        self.counts[1][row] = total
        for kind, count in old.noise.get(from_row, {}).items():
            into = self.noise.setdefault(row, {})
            into[kind] = into.get(kind, 0) + count
        self.answered[row] += old.answered[from_row]
        if (other := old.rare.get(from_row)) is not None:
            self.rarity(row).add(other)
        if waited := old.waiting.get(from_row):
            self.waiting[row] = self.waiting.get(row, 0) + waited
        self.records[row] += old.records[from_row]
        self.first[row] = min(self.first[row], old.first[from_row])
        self.last[row] = max(self.last[row], old.last[from_row])
        self.rate[row] = old.rate[from_row]
        self.rated[row] = old.rated[from_row]
        self.add_policies(row, *old.policy_sets.things[old.policies[from_row]])
        if self.peer_of(row) != OTHER:
            if (cause := old.causes.get(from_row)) is not None:
                self.causes[row] = cause
            for texts, before in (
                (self.addresses, old.addresses),
                (self.proxy_refused, old.proxy_refused),
            ):
                if from_row in before:
                    texts[row] = before[from_row]
            if from_row in old.refused:
                self.refused[row] = old.refused[from_row]


def _put_first(texts: dict[int, tuple[str, ...]], row: int, text: str) -> None:
    """Make ``text`` the first of the row's, of which four are kept."""
    known = texts.get(row, ())
    if text not in known[:1]:
        texts[row] = (text, *[other for other in known if other != text])[:4]
