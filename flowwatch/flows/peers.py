"""Naming the other end: a DNS name when Hubble knows it, else service, pod, entity or address.

Hubble gives DNS names only on records of the node whose pod did the lookup, only while its DNS
proxy remembers them, and never on the far node. So what was seen once is remembered here: for a
pod and an address, the name that the pod was last given for it (by a DNS answer, or by a record
that carried names).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flowwatch.flows.model import Endpoint, Flow

NAMES_LIMIT = 100_000
"""Pod × address pairs remembered; past it the older half is forgotten."""

# What Cilium calls every address outside: says less than the address itself does.
_OUTSIDE = frozenset({"world", "world-ipv4", "world-ipv6", "unknown", ""})

KINDS = ("dns", "service", "pod", "entity", "address", "other", "unknown", "workload")
"""What a peer can be; the aggregate keeps a kind by its number here. A workload: its pods' names aren't
recorded."""


class Peer(NamedTuple):
    """The other end as a person names it."""

    kind: str
    """One of :data:`KINDS`."""
    name: str
    """``api.example.com``, ``default/web``, ``kube-apiserver``, ``192.0.2.1`` …; not made safe."""


UNKNOWN = Peer("unknown", "unknown")

_NAMES_OF_ONE = 256
"""Names remembered of one address: a CDN's has many."""


_SPANS = 64
"""Answers remembered of one name and address; in a connection that goes on they run together."""


class Known:
    """A name of an address: since when it is known, and while which answers were good."""

    __slots__ = ("answers", "since", "spans")

    def __init__(self, since: int) -> None:
        self.since = since
        """Nanoseconds since 1970."""
        self.spans: list[tuple[int, int]] = []
        """From each answer to the end of its TTL; none where the name was only seen on records: then
        it is good for ever."""
        self.answers: list[tuple[int, int]] = []
        """Time and TTL in seconds of the last answers."""

    def answered(self, time: int, ttl: int) -> None:
        """Take in an answer that is good for ``ttl`` seconds."""
        self.answers.append((time, ttl))
        del self.answers[:-_SPANS]
        end = time + ttl * 1_000_000_000
        if self.spans and self.spans[-1][0] <= time <= self.spans[-1][1]:
            self.spans[-1] = self.spans[-1][0], max(end, self.spans[-1][1])
        else:
            self.spans.append((time, end))
            del self.spans[:-_SPANS]

    def vouches(self, at: int) -> bool:
        """Whether an agent that goes by answers knew the name then."""
        if at < self.since:
            return False
        return not self.spans or any(start <= at <= end for start, end in self.spans)

    def last_answer(self, at: int) -> tuple[int, int] | None:
        """Time and TTL of the last answer by ``at``, as far as they are remembered."""
        return max((one for one in self.answers if one[0] <= at), default=None)

    def expired(self, at: int) -> int:
        """When the last answer before ``at`` had expired; 0 when there was none."""
        return max((end for start, end in self.spans if start <= at), default=0)


class PeerNames:
    """Remembers names of addresses per pod, and names peers. One thread; bounded."""

    def __init__(self, limit: int = NAMES_LIMIT) -> None:
        self._limit = limit
        self._names: dict[tuple[str, str, str], str] = {}
        self._known_as: dict[str, dict[str, Known]] = {}
        self._resolving: set[tuple[str, str]] = set()
        self.aliases: dict[str, tuple[str, ...]] = {}
        """Names that answers lead to (CNAME), by the name that was asked for."""

    def learn(self, flow: Flow) -> None:
        """Take in what ``flow`` tells of names: a DNS answer's, or those of its two ends."""
        l7 = flow.l7
        if l7 is not None and l7.dns_query:
            # The answer goes to the pod that asked: the record's destination.
            asker = flow.destination if flow.is_reply is not False else flow.source
            self._resolves(asker if flow.is_reply is not None else flow.source)
            for address in l7.dns_ips:
                self._keep(asker, address, l7.dns_query)
                self._also(address, (l7.dns_query,), flow.time, l7.dns_ttl)
            if l7.dns_cnames and len(self.aliases) < self._limit:
                self.aliases[l7.dns_query] = l7.dns_cnames
        if flow.destination_names:
            self._keep_one_of(flow.source, flow.destination_ip, flow.destination_names, flow.time)
        if flow.source_names:
            self._keep_one_of(flow.destination, flow.source_ip, flow.source_names, flow.time)

    def names(self, address: str, at: int = 0) -> tuple[str, ...]:
        """Every name that any pod was given for ``address``, in the order of learning.

        ``at``: only those that an answer seen by then still vouched for (ns since 1970; 0: ever).
        """
        known = self._known_as.get(address)
        if not known:
            return ()
        if not at:
            return tuple(known)
        return tuple(name for name, one in known.items() if one.vouches(at))

    def not_then(self, address: str, at: int) -> tuple[tuple[str, Known], ...]:
        """The others: names learnt later, or whose answer had expired ``at`` that time."""
        known = self._known_as.get(address) or {}
        return tuple((name, one) for name, one in known.items() if not one.vouches(at))

    def last_answers(self, address: str, at: int) -> Iterator[tuple[str, int, int]]:
        """Names of ``address`` with time and TTL of the last answer by ``at`` that gave it."""
        for name, known in (self._known_as.get(address) or {}).items():
            if answer := known.last_answer(at):
                yield name, *answer

    def last_known(self, address: str, at: int) -> tuple[str, int]:
        """The name that anything last gave ``address`` by ``at``, else the first later, and when that was."""
        told = [
            (max((time for time, _ in one.answers if time <= at), default=one.since), name)
            for name, one in (self._known_as.get(address) or {}).items()
        ]
        before = [one for one in told if one[0] <= at]
        time, name = max(before) if before else min(told, default=(0, ""))
        return name, time

    def resolves(self, pod: Endpoint) -> bool:
        """Whether anything shows that names of ``pod`` are seen at all."""
        return (pod.namespace, pod.pod) in self._resolving

    def name(self, pod: Endpoint, address: str) -> str:
        """The name last known to ``pod`` for ``address``, or ""."""
        return self._names.get((pod.namespace, pod.pod, address), "")

    def peer(self, pod: Endpoint, peer: Endpoint, address: str, service: str) -> Peer:
        """Who ``peer`` is to ``pod``: ``address`` is the peer's, ``service`` that of the record."""
        if name := self.name(pod, address):
            return Peer("dns", name)
        if service:
            return Peer("service", service)
        if peer.pod or (peer.namespace and peer.workload):
            # Of another cluster of the mesh: named as Hubble names its nodes, cluster first.
            far = peer.cluster and pod.cluster and peer.cluster != pod.cluster
            before = f"{peer.cluster}/{peer.namespace}" if far else peer.namespace
            if peer.pod:
                return Peer("pod", f"{before}/{peer.pod}")
            return Peer("workload", f"{before}/{peer.workload}")
        if peer.entity not in _OUTSIDE:
            return Peer("entity", peer.entity)
        if address:
            return Peer("address", address)
        if peer.namespace:
            return Peer("pod", f"{peer.namespace}/?")
        return Peer("entity", peer.entity) if peer.entity else UNKNOWN

    def _keep(self, pod: Endpoint, address: str, name: str) -> None:
        if pod.pod and address:
            if len(self._names) >= self._limit:
                for old in list(self._names)[: self._limit // 2]:
                    del self._names[old]
            key = (pod.namespace, pod.pod, address)
            # Deleted first, so that the order of the dict is that of the last lesson.
            self._names.pop(key, None)
            self._names[key] = name

    def _resolves(self, pod: Endpoint) -> None:
        if len(self._resolving) < self._limit:
            self._resolving.add((pod.namespace, pod.pod))

    def _also(self, address: str, names: tuple[str, ...], time: int, ttl: int = 0) -> None:
        known = self._known_as.get(address)
        if known is None:
            if len(self._known_as) >= self._limit:
                self._known_as.clear()
            known = self._known_as[address] = {}
        for name in names:
            one = known.get(name)
            if one is None:
                if len(known) >= _NAMES_OF_ONE:
                    return
                one = known[name] = Known(time)
            one.since = min(one.since, time)
            if ttl:
                one.answered(time, ttl)

    def _keep_one_of(self, pod: Endpoint, address: str, names: tuple[str, ...], time: int) -> None:
        self._resolves(pod)
        self._also(address, names, time)
        # Several names share an address (a CDN): stay with the one that this pod last asked for.
        if self.name(pod, address) not in names:
            self._keep(pod, address, names[0])


def subject(pod: Endpoint, address: str) -> tuple[str, str, str]:
    """Namespace, name and workload of the end that is counted; entity or address if not a pod."""
    if pod.pod or pod.namespace:
        return pod.namespace, pod.pod, pod.workload
    entity = pod.entity if pod.entity not in _OUTSIDE else ""
    return "", entity or address or pod.entity or "unknown", ""


def cluster(pod: Endpoint, node: str) -> str:
    """The cluster of the end that is counted; what has no label of it is in its node's cluster.

    A node is ``cluster/node``, and bare in the cluster ``default`` (Cilium 1.20,
    pkg/node/types).
    """
    if pod.cluster:
        return pod.cluster
    before, slash, _ = node.partition("/")
    return before if slash else "default" if node else ""
