"""One name for each end, whoever's records tell of it: a destination is told once.

A pod comes with its workload from its own node alone, as a service where a record names one, as an address
until a look-up was seen. What is learnt later of a name that was used renames it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from flowwatch.audits.ends import OUTSIDE, name_of, named_cluster
from flowwatch.egress.gate import maker
from flowwatch.flows.known import remember
from flowwatch.flows.model import Endpoint
from flowwatch.flows.open_attempt import OpenAttempt, addresses
from flowwatch.flows.peers import UNKNOWN, Peer

MOST = 50_000
"""Of each kind of thing that is remembered; past it the older half is forgotten."""
_OTHERS = 8
"""Other names kept of one destination."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
Destination = tuple[str, str, str]
"""Cluster, workload, and what it reaches there: a name or an address."""


class Path(NamedTuple):
    """A workload and its destination, as people name them."""

    direction: str
    cluster: str
    subject: str
    """``namespace/workload``."""
    peer: str
    port: int
    protocol: str


class Pod(NamedTuple):
    """A pod, where it is known."""

    cluster: str
    namespace: str
    name: str


class Learnt(msgspec.Struct):
    """What of it survives a restart."""

    stands_for: dict[str, str] = {}
    """What a pod's own name, a name that was guessed, or a service stands for."""
    looked_up: list[tuple[Destination, str]] = []


class Names:
    """Learns from ends and attempts, in their order, and names both."""

    def __init__(self, learnt: Learnt | None = None) -> None:
        self.renamed = False
        """Whether names that were used are others now: see :meth:`path`."""
        self._ends: dict[int, Endpoint] = {}
        self._workloads: dict[Pod, str] = {}
        self._clusters: dict[tuple[str, str], str] = {}
        """Of a pod by namespace and name; "" where it is in several."""
        self._is: dict[str, str] = {}
        self._used: dict[str, None] = {}
        """Names that were given, and may stand for others."""
        self._made: dict[str, None] = {}
        """Names of workloads, as their own nodes tell them."""
        self._behind: dict[str, str] = {}
        """The workload behind a service, "" where there are several; and the other way round."""
        self._services: dict[str, str] = {}
        self._looked_up: dict[Destination, str] = {}
        """The name that an address was given first, and the addresses that had none."""
        self._bare: dict[Destination, None] = {}
        self._others: dict[Destination, tuple[str, ...]] = {}
        self._told_as: dict[Destination, str] = {}
        if learnt is not None:
            self._is.update(learnt.stands_for)
            self._looked_up.update(learnt.looked_up)

    def learnt(self) -> Learnt:
        """What another may begin with."""
        return Learnt(dict(self._is), list(self._looked_up.items()))

    # What is learnt ----------------------------------------------------------------------------

    def see(self, end: Endpoint) -> None:
        """Learn from an end of a record: cheap where it was seen before."""
        if id(end) in self._ends or not end.pod:
            return
        remember(self._ends, id(end), end)
        cluster = named_cluster(end)
        short = end.namespace, end.pod
        if cluster:
            known = self._clusters.get(short, cluster)
            _keep(self._clusters, short, cluster if known == cluster else "")
        if not end.workload:
            return
        _keep(self._workloads, Pod(cluster, *short), end.workload)
        name = _in(end.namespace, end.workload)
        _keep(self._made, name, None)
        self._is.pop(name, None)
        for other in (end.pod, maker(end.pod)):
            self._stands_for(_in(end.namespace, other), name)

    def _stands_for(self, name: str, other: str) -> None:
        if name == other or name in self._made or self._is.get(name) == other:
            return
        _keep(self._is, name, other)
        self.renamed = self.renamed or name in self._used

    def _serves(self, service: str, workload: str) -> None:
        known = self._behind.get(service, workload)
        _keep(self._behind, service, workload if known == workload else "")
        if known == workload:
            _keep(self._services, workload, service)
            self._stands_for(service, workload)
        else:
            self._is.pop(service, None)

    # What it is called -------------------------------------------------------------------------

    def end(self, end: Endpoint, address: str) -> str:
        """A subject: its workload, as :func:`flowwatch.audits.ends.name_of` has it where that is known."""
        if not end.pod or end.workload:
            return name_of(end, address)
        short = end.namespace, end.pod
        cluster = named_cluster(end) or self._clusters.get(short, "")
        known = self._workloads.get(Pod(cluster, *short))
        if known is not None:
            return _in(end.namespace, known)
        whole, name = _in(end.namespace, end.pod), _in(end.namespace, maker(end.pod))
        self._stands_for(whole, name)
        return self._use(name)

    def _use(self, name: str) -> str:
        _keep(self._used, name, None)
        return self._now(name)

    def _now(self, name: str) -> str:
        # One pod's name is of one that was guessed, and that of another.
        name = self._is.get(name, name)
        return self._is.get(name, name)

    def cluster(self, end: Endpoint) -> str:
        """The cluster of a subject, "" where no record tells."""
        return named_cluster(end) or self._clusters.get((end.namespace, end.pod), "")

    def of(self, attempt: OpenAttempt, way: str) -> Path:
        """Whose attempt it is in a direction, and where it goes."""
        client_ip, server_ip = addresses(attempt.key)
        if way == "egress":
            pod, address, other, far = attempt.client, client_ip, attempt.server, server_ip
            peer, service = attempt.egress_peer or UNKNOWN, attempt.service
        else:
            pod, address, other, far = attempt.server, server_ip, attempt.client, client_ip
            peer, service = attempt.ingress_peer or UNKNOWN, ""
        self.see(pod)
        self.see(other)
        cluster, subject = self.cluster(pod), self.end(pod, address)
        name = self._peer((cluster, subject), (other, far), peer, service)
        if peer.name != name:
            self._note((cluster, subject, name), peer.name)
        _, _, _, port, protocol = attempt.key
        return Path(way, cluster, subject, name, port, protocol)

    def _peer(
        self, of: tuple[str, str], end: tuple[Endpoint, str], peer: Peer, service: str
    ) -> str:
        other, address = end
        if other.pod or (other.namespace and other.workload):
            far = self.cluster(other)
            name = self.end(other, address)
            if service:
                self._serves(service, name)
                self._note((*of, name), service)
            return f"{far}/{name}" if far and of[0] and far != of[0] else name
        if peer.kind == "dns":
            service = service or _service(peer.name)
        if service:
            return self._use(service)
        if other.entity and other.entity not in OUTSIDE:
            return other.entity
        here = (*of, address)
        if peer.kind == "dns" and address:
            self.renamed = self.renamed or (here in self._bare and here not in self._looked_up)
            if here not in self._looked_up:
                _keep(self._looked_up, here, peer.name)
        elif peer.kind == "address":
            _keep(self._bare, here, None)
            return self._looked_up.get(here, peer.name)
        return peer.name

    def _note(self, destination: Destination, other: str) -> None:
        known = self._others.get(destination, ())
        if other not in known and other != destination[2] and len(known) < _OTHERS:
            _keep(self._others, destination, (*known, other))
            _keep(self._told_as, (*destination[:2], other), destination[2])

    def others(self, path: Path) -> tuple[str, ...]:
        """What else records call its destination."""
        return self._others.get((path.cluster, path.subject, path.peer), ())

    def service(self, path: Path) -> str:
        """The service that its destination is known to stand behind, of another name; or ""."""
        found = self._services.get(path.peer, "")
        return found if found != path.peer else ""

    def path(self, path: Path) -> Path:
        """The same by the names of now."""
        subject, peer = self._now(path.subject), self._now(path.peer)
        far, slash, name = peer.partition("/")
        if slash and "/" in name:
            peer = f"{far}/{self._now(name)}"
        peer = self._looked_up.get((path.cluster, subject, peer), peer)
        return path._replace(subject=subject, peer=peer)

    def told(self, path: Path) -> Path:
        """The path that a report of changes means, which names by what it knows itself."""
        path = self.path(path)
        peer = self._told_as.get((path.cluster, path.subject, path.peer), path.peer)
        return path._replace(peer=peer)


def renamed(
    known: Mapping[Path, _Value],
    by: Callable[[Path], Path],
    both: Callable[[_Value, _Value], _Value],
) -> dict[Path, _Value]:
    """The same by other names; ``both`` makes one of two that are the same then."""
    found: dict[Path, _Value] = {}
    for path, one in known.items():
        now = by(path)
        found[now] = both(found[now], one) if now in found else one
    return found


def _keep(memory: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    if len(memory) >= MOST and key not in memory:
        for old in list(memory)[: MOST // 2]:
            del memory[old]
    memory[key] = value


def _service(name: str) -> str:
    """What a service's DNS name is of, whatever the cluster's domain (DNS for Services and Pods)."""
    parts = name.split(".")
    at = parts.index("svc", 2) if "svc" in parts[2:] else 0
    return f"{parts[at - 1]}/{parts[at - 2]}" if at else ""


def _in(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
