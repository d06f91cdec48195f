"""What each workload needs, as traffic shows it: peers and ports, each with its evidence.

Only attempts that were let through teach: an answer is none, what was dropped may be an attack (a person
picks it), and what touched many ports of one peer and got no answer is a scan.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from flowwatch.audits.ends import name_of, named_cluster, namespace_of
from flowwatch.audits.evidence import Observation, Observer
from flowwatch.drafts.requests import Request, lookup_of, request_of
from flowwatch.drafts.selecting import Labels, lasting, liking
from flowwatch.flows import meaning
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.model import Batch, Endpoint
from flowwatch.flows.open_attempt import OpenAttempt
from flowwatch.flows.peers import PeerNames
from flowwatch.flows.reasons import L7_DENIED
from flowwatch.policy.names import valid_name
from flowwatch.policy.party import Party
from flowwatch.policy.reach import BY_LABELS, Reach
from flowwatch.policy.rules import Direction

Subject = Literal["pod", "workload", "namespace"]
SUBJECTS: tuple[Subject, ...] = ("workload", "pod", "namespace")
"""What a draft is for; the first is what it is without a word."""

MAX_REQUESTS = 1_000
"""Distinct requests kept of one attempt."""
MAX_NEEDS = 200_000
"""Distinct needs kept; attempts beyond them are counted, and told."""

SCANNED = 10
"""Ports of one peer without any answer from which on it is a scan."""

_DAY = 86_400_000_000_000
_PASSED = (meaning.FORWARDED, meaning.AUDIT)
_OWN_NODE = "host"
"""Whose traffic to its pods Cilium lets through whatever policies say (probes); not its health endpoint's."""


_ENTITIES = frozenset({"health", "host", "ingress", "init", "remote-node", "unmanaged"})
"""Of the reserved identities those that rules can name, but for what stands for addresses outside."""


class Owner(NamedTuple):
    """Whose policy it is: a workload, a pod or a namespace, of one cluster."""

    cluster: str
    namespace: str
    name: str
    """"" for a whole namespace."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.name else self.namespace


class Peer(NamedTuple):
    """The other end, as a rule may name it."""

    kind: Literal["pods", "entity", "name", "address"]
    name: str
    """Of pods how a person calls them, else the entity, the DNS name, the address."""
    namespace: str = ""
    cluster: str = ""
    labels: Labels = ()


class Need(NamedTuple):
    """One peer and port."""

    direction: Direction
    peer: Peer
    protocol: str
    port: int
    """Of the server, after translation; of ICMP the type."""


@dataclass(slots=True)
class Evidence:
    """What shows a need."""

    attempts: int = 0
    answered: int = 0
    first: int = 0
    last: int = 0
    """Nanoseconds since 1970."""
    pods: set[str] = field(default_factory=set)
    days: set[int] = field(default_factory=set)
    services: set[str] = field(default_factory=set)
    """Services that it was reached by, as ``namespace/name``."""
    addresses: set[str] = field(default_factory=set)
    questions: set[tuple[Party, Party]] = field(default_factory=set)
    """Subject and peer, as policies see them: what the draft is proven on."""
    requests: set[Request] = field(default_factory=set)
    """What was asked of it, where that is to be drafted."""
    shown: int = 0
    """Attempts whose requests were seen."""
    lent: int = 0
    """Of a name that none of these pods was seen to ask for: when anything last gave it to the address."""

    def add(self, seen: Observation, lent: int = 0) -> None:
        """Take in one attempt."""
        self.lent = max(self.lent, lent) if lent and (self.lent or not self.attempts) else 0
        self.attempts += 1
        self.answered += seen.replied
        self.first = min(self.first or seen.first, seen.first)
        self.last = max(self.last, seen.last)
        if seen.pod[1]:
            self.pods.add(seen.pod[1])
        self.days.add(seen.first // _DAY)
        if len(self.addresses) < MAX_NEEDS:
            self.addresses.add(seen.peer_ip)
        self.questions.add((seen.subject, seen.peer))

    def merged(self, other: Evidence) -> Evidence:
        """Both together."""
        return Evidence(
            self.attempts + other.attempts,
            self.answered + other.answered,
            min(self.first or other.first, other.first or self.first),
            max(self.last, other.last),
            self.pods | other.pods,
            self.days | other.days,
            self.services | other.services,
            self.addresses | other.addresses,
            self.questions | other.questions,
            self.requests | other.requests,
            self.shown + other.shown,
            _both([one.lent for one in (self, other) if one.attempts]),
        )


def _both(lent: list[int]) -> int:
    """The newest, where none is the pods' own."""
    return max(lent, default=0) if all(lent) else 0


@dataclass(slots=True)
class Owned:
    """What is known of one owner."""

    labels: set[Labels] = field(default_factory=set)
    """Of its pods."""
    pods: set[str] = field(default_factory=set)
    needs: dict[Need, Evidence] = field(default_factory=dict)
    dropped: dict[Need, Evidence] = field(default_factory=dict)
    """What policies dropped: candidates, which a person picks."""
    lookups: set[str] = field(default_factory=set)
    """Names that it asked for, where these are to be drafted."""
    unusable: dict[tuple[Need, str], int] = field(default_factory=dict)
    """Attempts that neither teach nor were dropped by a policy, by why."""
    probes: int = 0
    """Attempts of its node, which is let in whatever policies say."""


class Needs:
    """Gathers them from batches (flowwatch.flows.join.Listener). One thread; bounded."""

    def __init__(
        self,
        owner: Subject = "workload",
        directions: Iterable[str] = ("egress",),
        join: Join | None = None,
        reach: Reach = BY_LABELS,
        *,
        requests: bool = False,
        lookups: bool = False,
    ) -> None:
        """``reach``: of which endpoints the address counts, too (AgentOptions.reach).

        ``requests``, ``lookups``: whether what was asked by HTTP, and which names, is kept.
        """
        self._requests: dict[int, set[Request]] | None = {} if requests else None
        """By the number of an open attempt."""
        self.keeps_lookups = lookups
        self._owner = owner
        self._directions = frozenset(directions)
        self.join = join or Join()
        self._observer = Observer(reach=reach)
        self.owners: dict[Owner, Owned] = {}
        self.met: set[Owner] = set()
        """Whose pods were seen at any end, by name."""
        self.pods: dict[tuple[str, str], dict[Labels, str]] = {}
        """All pods that were seen, by cluster and namespace: labels, and how a person calls them."""
        self._newest = 0
        """When the newest of all needs was first seen, ns since 1970."""
        self.left_out = 0
        """Attempts beyond MAX_NEEDS."""
        self.attempts = 0
        self.elsewhere = 0
        """Attempts in the other direction, where that isn't asked for."""
        self.unusable: dict[str, int] = {}
        """Attempts that can't teach, by why."""
        self._known: dict[int, Endpoint] = {}
        """Ends that were met, by id(): most records share theirs."""
        self._owners: dict[int, tuple[Endpoint, Owned]] = {}
        self._peers: dict[int, tuple[Endpoint, Peer]] = {}
        self._count = 0
        self.join.listen(self)

    def read(self, batches: Iterable[Batch]) -> None:
        """All of ``batches``, to their end."""
        self.join.read(batches)
        for _, scope, attempt in self.join.open_attempts():
            self._over(attempt, self._observer.over(attempt, scope), scope.names)

    def take(self, joined: Joined) -> None:
        """Take in a batch, and what is over with it."""
        self._observer.take(joined)
        if self.keeps_lookups or self._requests is not None:
            self._take_asked(joined)
        for attempt in joined.closed:
            self._over(attempt, self._observer.over(attempt, joined.scope), joined.scope.names)

    def _take_asked(self, joined: Joined) -> None:
        for flow, attempt in zip(joined.batch.flows, joined.attempts, strict=True):
            if self.keeps_lookups and (name := lookup_of(flow)):
                pod = flow.destination if flow.is_reply else flow.source
                if pod.pod:
                    owner = self._of(name_of(pod, ""), pod)
                    self.owners.setdefault(owner, Owned()).lookups.add(name)
            if self._requests is not None and attempt and (request := request_of(flow)):
                known = self._requests.setdefault(attempt.number, set())
                if len(known) < MAX_REQUESTS:
                    known.add(request)

    def newest(self) -> int:
        """When the newest of all needs was first seen, of open attempts too: ns since 1970, 0 for none."""
        first: dict[tuple[Owner, Need], int] = {}
        for _, scope, attempt in self.join.open_attempts():
            for seen in self._observer.so_far(attempt, scope):
                if new := self._new(seen, attempt, scope.names):
                    first[new] = min(first.get(new, seen.first), seen.first)
        return max(self._newest, *first.values(), 0)

    def _new(
        self, seen: Observation, attempt: OpenAttempt, names: PeerNames
    ) -> tuple[Owner, Need] | None:
        """What an attempt shows that wasn't known; None where it shows nothing new."""
        if seen.direction not in self._directions or seen.answer_port is not None:
            return None
        if _unknown(seen, self._owner) or seen.outcome not in _PASSED:
            return None
        egress = seen.direction == "egress"
        if not egress and _OWN_NODE in seen.peer.reserved:
            return None
        here, there = (
            (attempt.client, attempt.server) if egress else (attempt.server, attempt.client)
        )
        peer, _ = self._named(seen, here, there, names)
        owner = self._of(seen.subject_name, here)
        need = Need(seen.direction, peer, seen.protocol, seen.port)
        known = owner in self.owners and need in self.owners[owner].needs
        return None if known else (owner, need)

    @property
    def clusters(self) -> frozenset[str]:
        """Those of the pods that were seen."""
        return frozenset(cluster for cluster, _ in self.pods)

    def _over(self, attempt: OpenAttempt, seen: Iterator[Observation], names: PeerNames) -> None:
        asked = self._requests.pop(attempt.number, None) if self._requests else None
        self._meet(attempt.client)
        self._meet(attempt.server)
        for one in seen:
            evidence = self._add(one, attempt, names)
            if evidence is not None and asked:
                evidence.shown += 1
                evidence.requests |= asked

    def _meet(self, end: Endpoint) -> None:
        if id(end) in self._known:
            return
        if len(self._known) < MAX_NEEDS:
            self._known[id(end)] = end
        space = namespace_of(end) if end.labels else ""
        if not space:
            return
        named = end.pod if self._owner == "pod" else end.workload
        if named and len(self.met) < MAX_NEEDS:
            self.met.add(self._of(name_of(end, ""), end))
        known = self.pods.setdefault((named_cluster(end), space), {})
        if len(known) < MAX_NEEDS:
            known.setdefault(lasting(end.labels), _name(end))

    def _add(self, seen: Observation, attempt: OpenAttempt, names: PeerNames) -> Evidence | None:
        if seen.answer_port is not None:
            return None
        if seen.direction not in self._directions:
            self.elsewhere += 1
            return None
        self.attempts += 1
        if unknown := _unknown(seen, self._owner):
            self.unusable[unknown] = self.unusable.get(unknown, 0) + 1
            return None
        egress = seen.direction == "egress"
        here, there = (
            (attempt.client, attempt.server) if egress else (attempt.server, attempt.client)
        )
        owned = self._owned(seen, here)
        if not egress and _OWN_NODE in seen.peer.reserved:
            owned.probes += 1
            return None
        passed = seen.outcome in _PASSED
        peer, lent = self._named(seen, here, there, names)
        need = Need(seen.direction, peer, seen.protocol, seen.port)
        if not passed and (lost := _lost(seen)):
            self.unusable[lost] = self.unusable.get(lost, 0) + 1
            if len(owned.unusable) < MAX_REQUESTS:
                owned.unusable[need, lost] = owned.unusable.get((need, lost), 0) + 1
            return None
        found = owned.needs if passed else owned.dropped
        evidence = found.get(need)
        if evidence is None:
            if self._count >= MAX_NEEDS:
                self.left_out += 1
                return None
            self._count += 1
            evidence = found[need] = Evidence()
            if passed:
                self._newest = max(self._newest, seen.first)
        evidence.add(seen, lent)
        if attempt.service and egress:
            evidence.services.add(attempt.service)
        return evidence if passed else None

    def _owned(self, seen: Observation, pod: Endpoint) -> Owned:
        known = self._owners.get(id(pod))
        if known is not None:
            return known[1]
        owned = self.owners.setdefault(self._of(seen.subject_name, pod), Owned())
        owned.labels.add(lasting(pod.labels))
        if pod.pod:
            owned.pods.add(pod.pod)
        if len(self._owners) < MAX_NEEDS:
            self._owners[id(pod)] = pod, owned
        return owned

    def _named(
        self, seen: Observation, here: Endpoint, there: Endpoint, names: PeerNames
    ) -> tuple[Peer, int]:
        """The peer, and of a name that isn't the pod's own since when it is known."""
        peer = self._peer(seen, there)
        if peer.kind == "name" and not names.name(here, seen.peer_ip):
            return _lent(peer, seen, names)
        return peer, 0

    def _peer(self, seen: Observation, end: Endpoint) -> Peer:
        known = self._peers.get(id(end))
        if known is not None:
            return known[1]
        peer = _peer(seen, end)
        # Names and addresses are an attempt's, all else is the end's.
        if peer.kind in ("pods", "entity") and len(self._peers) < MAX_NEEDS:
            self._peers[id(end)] = end, peer
        return peer

    def _of(self, name: str, pod: Endpoint) -> Owner:
        cluster = named_cluster(pod)
        if self._owner == "namespace":
            return Owner(cluster, pod.namespace, "")
        if self._owner == "pod":
            return Owner(cluster, pod.namespace, pod.pod)
        return Owner(cluster, pod.namespace, name.partition("/")[2])


def _name(end: Endpoint) -> str:
    """As a person calls a pod: by its workload, else by the label that says which application it is."""
    if end.workload or end.pod:
        return name_of(end, "")
    labels = sorted(lasting(end.labels), key=liking)
    return f"{namespace_of(end)}/{labels[0][1] if labels else 'pods'}"


def _peer(seen: Observation, end: Endpoint) -> Peer:
    """By what a rule names the other end: never a pod or a node by its address, never the world."""
    party = seen.peer
    space = namespace_of(end)
    if space and any(label.startswith("k8s:") for label in end.labels):
        return Peer("pods", _name(end), space, named_cluster(end), lasting(end.labels))
    if "kube-apiserver" in party.reserved:
        return Peer("entity", "kube-apiserver")
    if inside := sorted(party.reserved & _ENTITIES):
        return Peer("entity", inside[0])
    if seen.direction == "egress" and party.names:
        name = seen.peer_name if seen.peer_name in party.names else party.names[0]
        bare = name.removesuffix(".").lower()
        if valid_name(bare):
            return Peer("name", bare)
    return Peer("address", seen.peer_ip)


def _unknown(seen: Observation, owner: Subject) -> str:
    """What the record doesn't tell, without which it can't teach; "" when it tells all."""
    if not seen.pod[1]:
        if not seen.pod[0]:
            return "not of a pod"
        if owner == "pod":
            return "the record doesn't name its pod"
    if not seen.unknown and "unknown" in seen.peer.reserved:
        return "the record doesn't say who the other end is"
    return seen.unknown


def _lost(seen: Observation) -> str:
    """Why what was not let through isn't a candidate either; "" when a policy dropped it."""
    if seen.outcome == meaning.DROPPED:
        if seen.reason == L7_DENIED:
            return "a proxy refused what was asked"
        if seen.by_policy:
            return ""
    return "neither let through nor dropped by a policy"


def _lent(peer: Peer, seen: Observation, names: PeerNames) -> tuple[Peer, int]:
    """Of an address that the pod was given no name for: the name last known for it, and since when."""
    name, time = names.last_known(seen.peer_ip, seen.first)
    bare = name.removesuffix(".").lower()
    return (Peer("name", bare), time) if valid_name(bare) else (peer, time)


def scans(needs: dict[Need, Evidence]) -> set[Need]:
    """Those of which one end tried many ports of the other, and got no answer from any."""
    tried: defaultdict[tuple[Direction, Peer], list[Need]] = defaultdict(list)
    for need in needs:
        tried[need.direction, need.peer].append(need)
    return {
        need
        for of in tried.values()
        if len(of) >= SCANNED and not any(needs[one].answered for one in of)
        for need in of
    }
