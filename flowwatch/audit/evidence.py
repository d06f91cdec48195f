"""From records to questions: who met whom, and what really happened in each direction.

An attempt is judged once for its client's egress and once for its server's ingress, as far as records
of either were seen; what was blocked in one direction says nothing about the policies of the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from flowwatch.flows import meaning
from flowwatch.flows.attempts import Attempts, OpenAttempt, addresses
from flowwatch.flows.model import (
    Batch,
    Direction,
    Endpoint,
    EventType,
    Flow,
    Layer7,
    PolicyRef,
    Verdict,
)
from flowwatch.policy.labels import CLUSTER, NAMESPACE, NAMESPACE_LABELS, OWN_CLUSTER
from flowwatch.policy.party import Party
from flowwatch.policy.rules import Direction as Way

OPENED = 512
"""Beside the bits of :mod:`flowwatch.flows.meaning`: the attempt's first packet was seen."""

_OUTSIDE = frozenset({"world", "world-ipv4", "world-ipv6"})
_PARTIES = 200_000
"""Distinct parties kept; past it they are made anew."""
_NAMES = 200_000
_REQUESTS = 32
"""Requests of one attempt that are looked at one by one."""
_AUTH_REQUIRED = 189
_DROPS = meaning.POLICY_DROP | meaning.OTHER_DROP
_VERDICTS = meaning.POLICY_DROP | meaning.AUDITED | meaning.TO_PROXY | meaning.ALLOWED
_REQUEST = 1
_FROM_FIRST_PACKET = frozenset({"UDP", "SCTP", "ICMPv4", "ICMPv6"})


@dataclass(slots=True)
class Request:
    """What the proxy decided about one request of an attempt."""

    layer7: Layer7
    passed: bool


@dataclass(slots=True)
class Extra:
    """What an open attempt remembers for the audit alone, by direction (0 egress, 1 ingress)."""

    requests: list[Request] = field(default_factory=list)
    allowed: dict[int, tuple[PolicyRef, ...]] = field(default_factory=dict)
    denied: dict[int, tuple[PolicyRef, ...]] = field(default_factory=dict)
    dropped: dict[int, int] = field(default_factory=dict)
    waits_for_auth: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """One attempt in one direction: the question it asked, and the answer it got."""

    direction: Way
    subject: Party
    peer: Party
    subject_name: str
    peer_name: str
    protocol: str
    port: int
    outcome: int
    """meaning.FORWARDED, DROPPED … in this direction alone."""
    by_policy: bool
    """For a drop: whether a policy dropped it."""
    opened: bool
    """Whether its first packet was seen; else it may be older than the policy."""
    first: int
    last: int
    """Nanoseconds since 1970."""
    reason: int
    records: int
    unknown: str = ""
    """Why nobody can ask the policies about it."""
    requests: tuple[Request, ...] = ()
    named_allowed: tuple[PolicyRef, ...] = ()
    named_denied: tuple[PolicyRef, ...] = ()
    waits_for_auth: bool = False
    dropped_at: int = 0
    """Of the first record that a policy dropped; 0 without one."""
    peer_ip: str = ""
    """The other end's address, a pod's too."""
    verdict: bool = False
    """Whether a record shows a policy's verdict, and not only that packets passed."""


class Observer:
    """Turns batches into observations. One thread; memory is bounded by the attempts kept open."""

    def __init__(self, *, both_ends: bool = False) -> None:
        """``both_ends``: what passed, in a record without a direction, passed at both of its ends."""
        self._both_ends = both_ends
        self.attempts = Attempts()
        self.attempts.keep_closed = True
        self._extra: dict[int, tuple[OpenAttempt, Extra]] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._resolving: set[tuple[str, str]] = set()
        self.aliases: dict[str, tuple[str, ...]] = {}
        """Names that answers lead to (CNAME), by the name that was asked for."""
        self._parties: dict[tuple[object, ...], Party] = {}
        self.clusters: set[str] = set()
        """Those that the subjects' records name."""
        self.on_drop: Callable[[OpenAttempt, Extra], None] | None = None
        """Called with the attempt of each record of a drop, for who wants to tell of drops at once."""

    def add(self, batch: Batch) -> Iterator[Observation]:
        """Take in a batch; yields what is over by now."""
        observe = self.attempts.observe
        for flow in batch.flows:
            if flow.destination_names or flow.source_names or flow.l7 is not None:
                self._learn(flow)
            attempt = observe(flow)
            if attempt is not None:
                self._note(attempt, flow)
        for closed in self.attempts.take_closed():
            yield from self._observations(closed)

    def observe(self, flow: Flow) -> OpenAttempt | None:
        """Take in one flow; its attempt is the caller's to close, by :meth:`over` or :meth:`forget`."""
        if flow.destination_names or flow.source_names or flow.l7 is not None:
            self._learn(flow)
        attempt = self.attempts.observe(flow)
        if attempt is not None:
            self._note(attempt, flow)
        return attempt

    def rest(self, *, keep: bool = False) -> Iterator[Observation]:
        """What is still open: at the end, or with ``keep`` as it is now, and more may come."""
        for attempt in self.attempts.open_attempts():
            kept = self._extra.get(id(attempt)) if keep else None
            yield from self._observations(attempt, kept[1] if kept else Extra() if keep else None)

    def over(self, attempt: OpenAttempt, extra: Extra | None = None) -> Iterator[Observation]:
        """What an attempt shows, one observation a direction.

        With what :attr:`on_drop` gave, it needn't be over, and may be asked about again.
        """
        return self._observations(attempt, extra)

    def forget(self, attempt: OpenAttempt) -> None:
        """An attempt is over and of no interest."""
        self._extra.pop(id(attempt), None)

    def _note(self, attempt: OpenAttempt, flow: Flow) -> None:
        ingress = (flow.direction or attempt.direction) == Direction.INGRESS
        if (
            self._both_ends
            and not flow.direction
            and not flow.event_type
            and not ingress
            and flow.verdict == Verdict.FORWARDED
            and attempt.server.namespace
        ):
            attempt.ingress = max(attempt.ingress, 0) | meaning.evidence(flow) | OPENED
        known = attempt.ingress if ingress else attempt.egress
        bits = meaning.evidence(flow)
        if flow.verdict == Verdict.FORWARDED and known >= 0 and known | bits == known:
            return  # one more packet that says nothing new: most are
        if _opens(flow):
            bits |= OPENED
        known = bits if known < 0 else known | bits
        if ingress:
            attempt.ingress = known
        else:
            attempt.egress = known
        if self.on_drop is not None and bits & _DROPS:
            self.on_drop(attempt, self._extra.setdefault(id(attempt), (attempt, Extra()))[1])
        if (
            flow.l7 is None
            and not flow.allowed_by
            and not flow.denied_by
            and not bits & meaning.POLICY_DROP
        ):
            return
        extra = self._extra.setdefault(id(attempt), (attempt, Extra()))[1]
        way = int(ingress)
        if bits & meaning.POLICY_DROP:
            extra.dropped[way] = min(flow.time, extra.dropped.get(way, flow.time))
        if flow.allowed_by:
            extra.allowed[way] = tuple(
                dict.fromkeys((*extra.allowed.get(way, ()), *flow.allowed_by))
            )
        if flow.denied_by:
            extra.denied[way] = tuple(dict.fromkeys((*extra.denied.get(way, ()), *flow.denied_by)))
        if flow.drop_reason == _AUTH_REQUIRED:
            extra.waits_for_auth = True
        layer7 = flow.l7
        if layer7 is None or len(extra.requests) >= _REQUESTS:
            return
        if layer7.type == _REQUEST or flow.verdict == Verdict.DROPPED:
            extra.requests.append(Request(layer7, flow.verdict != Verdict.DROPPED))

    def _learn(self, flow: Flow) -> None:
        layer7 = flow.l7
        if layer7 is not None and layer7.dns_query:
            asker = flow.destination if flow.is_reply else flow.source
            self._resolving.add((asker.namespace, asker.pod))
            for address in layer7.dns_ips:
                self._name(address, (layer7.dns_query,))
            if layer7.dns_cnames and len(self.aliases) < _NAMES:
                self.aliases[layer7.dns_query] = layer7.dns_cnames
        if flow.destination_names:
            self._name(flow.destination_ip, flow.destination_names)
            self._resolving.add((flow.source.namespace, flow.source.pod))
        if flow.source_names:
            self._name(flow.source_ip, flow.source_names)
            self._resolving.add((flow.destination.namespace, flow.destination.pod))

    def _name(self, address: str, names: tuple[str, ...]) -> None:
        known = self._names.get(address, ())
        if not set(names) <= set(known):
            if len(self._names) >= _NAMES:
                self._names.clear()
            self._names[address] = tuple(dict.fromkeys((*known, *names)))

    def _observations(
        self, attempt: OpenAttempt, extra: Extra | None = None
    ) -> Iterator[Observation]:
        if extra is None:
            kept = self._extra.pop(id(attempt), None)
            extra = kept[1] if kept is not None else Extra()
        client_ip, server_ip = addresses(attempt.key)
        port, protocol = attempt.key[3], attempt.key[4]
        for way, bits in ((0, attempt.egress), (1, attempt.ingress)):
            if bits < 0:
                continue
            subject, peer = (
                (attempt.client, attempt.server) if way == 0 else (attempt.server, attempt.client)
            )
            subject_ip, peer_ip = (client_ip, server_ip) if way == 0 else (server_ip, client_ip)
            resolves = (subject.namespace, subject.pod) in self._resolving
            own = _cluster(subject)
            if own:
                self.clusters.add(own)
            peer_party = self._party(peer, peer_ip, resolves=resolves, own=own)
            drop = bits & _DROPS
            yield Observation(
                "ingress" if way else "egress",
                self._party(subject, subject_ip, resolves=resolves, own=own),
                peer_party,
                _name_of(subject, subject_ip),
                _peer_name(peer, peer_ip, peer_party, attempt.service if way == 0 else ""),
                _PROTOCOLS.get(protocol, protocol),
                port,
                meaning.OUTCOME_OF[bits & (OPENED - 1)],
                bool(bits & meaning.POLICY_DROP),
                bool(bits & (OPENED | meaning.ALLOWED) or drop or protocol in _FROM_FIRST_PACKET),
                attempt.first,
                attempt.last,
                attempt.reason,
                attempt.records,
                _unknown(subject, protocol) or _unknown_peer(peer, peer_ip),
                tuple(extra.requests),
                extra.allowed.get(way, ()),
                extra.denied.get(way, ()),
                extra.waits_for_auth,
                extra.dropped.get(way, 0),
                peer_ip,
                bool(bits & _VERDICTS),
            )

    def _party(self, end: Endpoint, address: str, *, resolves: bool, own: str) -> Party:
        """The party of an end; equal ones are one object, since parties are compared so."""
        outside = end.entity in _OUTSIDE or (not end.labels and not end.identity and bool(address))
        key: tuple[object, ...] = (end.labels, end.entity, end.namespace, end.cluster, own)
        names: tuple[str, ...] | None = ()
        if outside or end.entity == "kube-apiserver":
            names = self._names.get(address) or (() if resolves else None)
            key = (*key, address, names)
        party = self._parties.get(key)
        if party is None:
            if len(self._parties) >= _PARTIES:
                self._parties.clear()
            party = self._parties[key] = Party(
                _labels(end, own, outside=outside), address if outside or names else "", names,
                {} if outside else None,
            )  # fmt: skip
        return party


_TOLD = 5
_PROTOCOLS = {"ICMPv4": "ICMP"}

# A Deployment's pod: the hash of its template, and five characters of its own.
_HASHES = re.compile(r"-[a-z0-9]{8,10}-[a-z0-9]{5}\Z")


def _opens(flow: Flow) -> bool:
    """Whether the record is of an attempt's first packet."""
    if flow.event_type == EventType.POLICY_VERDICT or flow.protocol in _FROM_FIRST_PACKET:
        return True
    return flow.tcp_flags & (meaning.SYN | meaning.ACK) == meaning.SYN


def _labels(end: Endpoint, own: str, *, outside: bool) -> tuple[str, ...]:
    """The labels a policy sees; what a trimmed record leaves out is filled in from what it says."""
    if outside and not any(label.startswith("reserved:") for label in end.labels):
        return tuple(end.labels)
    labels = list(end.labels)
    if not labels and end.entity:
        return (f"reserved:{end.entity}",)
    if not end.namespace:
        return tuple(labels)
    keys = {label.partition("=")[0] for label in labels}
    prefix = "k8s:"
    if f"{prefix}{NAMESPACE}" not in keys:
        labels.append(f"{prefix}{NAMESPACE}={end.namespace}")
    if not any(key.startswith(f"{prefix}{NAMESPACE_LABELS}") for key in keys):
        # Kubernetes puts this one on every namespace.
        labels.append(f"{prefix}{NAMESPACE_LABELS}kubernetes.io/metadata.name={end.namespace}")
    cluster = f"{prefix}{CLUSTER}"
    named = _cluster(end)
    if cluster not in keys:
        labels.append(f"{cluster}={named or own or 'default'}")
    if named in ("", own):
        # The policies are those of the subject's cluster, whatever its name.
        labels.append(f"{OWN_CLUSTER}=default")
    return tuple(labels)


def several_clusters(observers: Iterable[Observer]) -> Iterator[str]:
    """A word of care, when pods of several clusters were judged by one set of policies."""
    names = sorted({name for one in observers for name in one.clusters})
    if len(names) > 1:
        told = ", ".join(names[:_TOLD]) + (", …" if len(names) > _TOLD else "")
        yield (
            f"pods of {len(names)} clusters ({told}), each judged as if these policies were its own: "
            "--cluster NAME picks one"
        )


def _cluster(end: Endpoint) -> str:
    """The cluster that a record names for one of its ends, "" when it names none."""
    if end.cluster:
        return end.cluster
    wanted = f"k8s:{CLUSTER}="
    return next((one[len(wanted) :] for one in end.labels if one.startswith(wanted)), "")


def _unknown(subject: Endpoint, protocol: str) -> str:
    if not protocol:
        return "the record has no protocol"
    if subject.labels or subject.entity:
        return ""
    return "the record has no labels of the pod: its identity was not known, or a field mask left them out"


def _unknown_peer(peer: Endpoint, address: str) -> str:
    if peer.labels or peer.entity or (address and not peer.identity and not peer.namespace):
        return ""
    return "the record has no labels of the other end"


def _name_of(end: Endpoint, address: str) -> str:
    """As a person names a subject: its workload, not each of its pods."""
    # The pods of another node come without their workload: theirs is the name without the hashes.
    name = end.workload or _HASHES.sub("", end.pod) or end.entity or address or "unknown"
    return f"{end.namespace}/{name}" if end.namespace else name


def _peer_name(end: Endpoint, address: str, party: Party, service: str) -> str:
    if end.namespace or end.pod:
        return service or _name_of(end, address)
    if party.names:
        return party.names[0]
    if end.entity and end.entity not in _OUTSIDE:
        return end.entity
    return address or end.entity or "unknown"
