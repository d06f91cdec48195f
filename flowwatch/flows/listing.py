"""Attempts one by one, as the export writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from flowwatch.errors import FlowwatchError
from flowwatch.flows import meaning
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.attempts import NOT_COUNTED, Attempts, OpenAttempt, addresses
from flowwatch.flows.coverage import Tally
from flowwatch.flows.model import Batch, Direction, Flow
from flowwatch.flows.peers import KINDS, PeerNames, cluster, subject
from flowwatch.flows.reasons import reason

_SEEN = 0


class Joiner(Protocol):
    """Joins records into attempts, and may know more of them than what they say themselves."""

    attempts: Attempts

    def observe(self, flow: Flow) -> OpenAttempt | None:
        """The attempt of ``flow``, with ``egress`` or ``ingress`` no longer NOT_COUNTED."""
        ...

    def over(self, attempt: OpenAttempt) -> Mapping[str, str]:
        """Called once for each attempt; gives the attribution by direction."""
        ...


class Plain:
    """Joins, and knows nothing more."""

    def __init__(self) -> None:
        self.attempts = Attempts()

    def observe(self, flow: Flow) -> OpenAttempt | None:
        attempt = self.attempts.observe(flow)
        if attempt is not None:
            if (flow.direction or attempt.direction) == Direction.INGRESS:
                attempt.ingress = _SEEN
            else:
                attempt.egress = _SEEN
        return attempt

    def over(self, attempt: OpenAttempt) -> Mapping[str, str]:
        return _NOTHING


_NOTHING: Mapping[str, str] = {}


class AttemptListing:
    """Turns batches into finished attempts. Iterate once; then ``tally`` tells what was read.

    ``directions`` are ``egress``, ``ingress`` or both: an attempt whose records were seen at both
    ends is listed once for each direction asked for. ``outcomes`` are those of meaning.OUTCOMES.
    Attempts come in the order in which they are over; what is open at the end comes last, by time.
    ``joiner`` makes what joins the records of one server, where more is to be told of attempts.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        directions: frozenset[str],
        outcomes: frozenset[str],
        joiner: Callable[[], Joiner] = Plain,
    ) -> None:
        self._batches = batches
        self._directions = directions
        self._outcomes = outcomes
        # Addresses and names mean nothing beyond their server.
        self._joiner = joiner
        self._scopes: dict[str, tuple[Joiner, PeerNames]] = {}
        self.tally = Tally()

    def __iter__(self) -> Iterator[Attempt]:
        """Raises what the batches raise, after yielding all that was read until then."""
        failure: FlowwatchError | KeyboardInterrupt | None = None
        try:
            for batch in self._batches:
                self._add(batch)
                joiner, names = self._scope(batch.origin)
                yield from self._listed(joiner, joiner.attempts.take_closed(), names, batch.origin)
        except (FlowwatchError, KeyboardInterrupt) as error:
            failure = error
        rest = [
            (attempt.first, number, attempt, joiner, names, origin)
            for origin, (joiner, names) in self._scopes.items()
            for number, attempt in enumerate(joiner.attempts.open_attempts())
        ]
        rest.sort(key=lambda one: one[:2])
        for _, _, attempt, joiner, names, origin in rest:
            yield from self._listed(joiner, [attempt], names, origin)
        if failure is not None:
            raise failure

    def _scope(self, origin: str) -> tuple[Joiner, PeerNames]:
        scope = self._scopes.get(origin)
        if scope is None:
            scope = self._scopes[origin] = self._joiner(), PeerNames()
            scope[0].attempts.keep_closed = True
        return scope

    def _add(self, batch: Batch) -> None:
        self.tally.add(batch)
        joiner, names = self._scope(batch.origin)
        observe = joiner.observe
        for flow in batch.flows:
            if flow.l7 is not None or flow.destination_names or flow.source_names:
                names.learn(flow)
            observe(flow)

    def _listed(
        self, joiner: Joiner, attempts: list[OpenAttempt], names: PeerNames, origin: str
    ) -> Iterator[Attempt]:
        for attempt in attempts:
            seen = [
                way
                for way, known in (("egress", attempt.egress), ("ingress", attempt.ingress))
                if known != NOT_COUNTED and way in self._directions
            ]
            told = joiner.over(attempt)
            if meaning.OUTCOMES[attempt.outcome] in self._outcomes:
                for way in seen:
                    yield self._attempt(attempt, way, names, origin, told.get(way, ""))

    def _attempt(
        self, attempt: OpenAttempt, direction: str, names: PeerNames, origin: str, told: str
    ) -> Attempt:
        _, _, source_port, port, protocol = attempt.key
        client_ip, server_ip = addresses(attempt.key)
        if direction == "egress":
            pod, address, peer_address = attempt.client, client_ip, server_ip
            peer = names.peer(pod, attempt.server, server_ip, attempt.service)
        else:
            pod, address, peer_address = attempt.server, server_ip, client_ip
            peer = names.peer(pod, attempt.client, client_ip, "")
        namespace, name, workload = subject(pod, address)
        dropped = attempt.outcome == meaning.DROPPED
        return Attempt(
            direction=direction,
            outcome=meaning.OUTCOMES[attempt.outcome],
            namespace=namespace,
            pod=name,
            workload=workload,
            pod_address=address,
            source_port=source_port,
            peer=peer[2:],
            peer_kind=KINDS[peer[0]],
            peer_address=peer_address,
            port=port,
            protocol=protocol,
            drop_reason=reason(attempt.reason).name if dropped else "",
            drop_reason_number=attempt.reason if dropped else 0,
            first_seen=attempt.first,
            last_seen=attempt.last,
            records=attempt.records,
            node=attempt.node,
            allowed_by=attempt.allowed_by,
            denied_by=attempt.denied_by,
            cluster=cluster(pod, attempt.node),
            server=origin,
            detail=attempt.detail,
            attribution=told,
        )
