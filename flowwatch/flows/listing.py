"""Attempts one by one, as the export writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from flowwatch.errors import FlowwatchError
from flowwatch.flows import meaning
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.counting import Tally
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.model import Batch
from flowwatch.flows.noise import noise
from flowwatch.flows.open_attempt import ANSWER, ANSWER_DROPPED, ANSWERS, OpenAttempt, addresses
from flowwatch.flows.peers import UNKNOWN, cluster, subject
from flowwatch.flows.reasons import reason


class Teller(Protocol):
    """Knows more of attempts than what they say themselves."""

    def take(self, joined: Joined) -> None:
        """Called with each batch, before the attempts that it closed are told."""
        ...

    def over(self, attempt: OpenAttempt, scope: Attempts) -> Mapping[str, str]:
        """Called once for each attempt; gives the attribution by direction."""
        ...


NO_ANSWER = "none"
"""What ``answer`` says of an attempt that was let through, and that nothing came back for."""

_LET_THROUGH = (meaning.FORWARDED, meaning.AUDIT)
_NOTHING: Mapping[str, str] = {}


class AttemptListing:
    """Turns batches into finished attempts. Iterate once; then ``tally`` tells what was read.

    ``directions`` are ``egress``, ``ingress`` or both: an attempt whose records were seen at both
    ends is listed once for each direction asked for. ``outcomes`` are those of meaning.OUTCOMES.
    Attempts come in the order in which they are over; what is open at the end comes last, by time.
    ``teller``: who tells more of them, if anyone.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        directions: frozenset[str],
        outcomes: frozenset[str],
        teller: Teller | None = None,
        join: Join | None = None,
    ) -> None:
        """``join``: one that goes on; it lists what is open there as well."""
        self._batches = batches
        self._directions = directions
        self._outcomes = outcomes
        self._teller = teller
        self._join = join or Join()
        if teller is not None:
            self._join.listen(teller)
        self._join.listen(self)
        self._over: list[Attempt] = []
        self.elsewhere = 0
        """Attempts with such an outcome in the direction that wasn't asked for."""
        self.otherwise: Counter[str] = Counter()
        """Attempts in that direction with another outcome, by that."""

    @property
    def join(self) -> Join:
        """For who listens too."""
        return self._join

    @property
    def tally(self) -> Tally:
        """What was read, and what was not."""
        return self._join.tally

    def __iter__(self) -> Iterator[Attempt]:
        """Raises what the batches raise, after yielding all that was read until then."""
        failure: FlowwatchError | KeyboardInterrupt | None = None
        try:
            for batch in self._batches:
                self._join.add(batch)
                yield from self._over
        except (FlowwatchError, KeyboardInterrupt) as error:
            failure = error
        rest = [
            (attempt.first, number, attempt, scope, origin)
            for number, (origin, scope, attempt) in enumerate(self._join.open_attempts())
        ]
        rest.sort(key=lambda one: one[:2])
        for _, _, attempt, scope, origin in rest:
            yield from self._listed(attempt, scope, origin)
        if failure is not None:
            raise failure

    def take(self, joined: Joined) -> None:
        """Note what is over (flowwatch.flows.join.Listener)."""
        scope, origin = joined.scope, joined.batch.origin
        self._over = [
            told for attempt in joined.closed for told in self._listed(attempt, scope, origin)
        ]

    def _listed(self, attempt: OpenAttempt, scope: Attempts, origin: str) -> Iterator[Attempt]:
        told = self._teller.over(attempt, scope) if self._teller is not None else _NOTHING
        outcome = meaning.OUTCOMES[attempt.outcome]
        asked = outcome in self._outcomes
        for way, seen in (("egress", attempt.egress), ("ingress", attempt.ingress)):
            if not asked:
                self.otherwise[outcome] += bool(seen) and way in self._directions
            elif seen and way in self._directions:
                yield self._attempt(attempt, way, origin, told.get(way, ""))
            elif seen:
                self.elsewhere += 1

    def _attempt(self, attempt: OpenAttempt, direction: str, origin: str, told: str) -> Attempt:
        _, _, source_port, port, protocol = attempt.key
        client_ip, server_ip = addresses(attempt.key)
        if direction == "egress":
            pod, address, peer_address = attempt.client, client_ip, server_ip
            peer, allowed = attempt.egress_peer or UNKNOWN, attempt.allowed_by
        else:
            pod, address, peer_address = attempt.server, server_ip, client_ip
            peer, allowed = attempt.ingress_peer or UNKNOWN, attempt.admitted_by
        namespace, name, workload = subject(pod, address)
        dropped = attempt.outcome == meaning.DROPPED or bool(attempt.passed)
        return Attempt(
            direction=direction,
            outcome=meaning.OUTCOMES[attempt.outcome],
            namespace=namespace,
            pod=name,
            workload=workload,
            pod_address=address,
            source_port=source_port,
            peer=peer.name,
            peer_kind=peer.kind,
            peer_address=peer_address,
            port=port,
            protocol=protocol,
            drop_reason=reason(attempt.reason).name if dropped else "",
            drop_reason_number=attempt.reason if dropped else 0,
            first_seen=attempt.first,
            last_seen=attempt.last,
            records=attempt.records,
            node=attempt.node,
            allowed_by=allowed,
            denied_by=attempt.denied_by,
            cluster=cluster(pod, attempt.node),
            server=origin,
            detail=_detail(attempt),
            attribution=told,
            answer=self._answer(attempt),
            waited=attempt.waited if attempt.late else 0.0,
            retries=attempt.retries,
            noise=_noise(attempt),
            uncounted=attempt.uncounted,
            unsure=attempt.unsure,
            encrypted=attempt.encrypted,
            policy_log=attempt.policy_log,
        )

    def _answer(self, attempt: OpenAttempt) -> str:
        if not attempt.answer and attempt.outcome in _LET_THROUGH and self._join.shows_answers:
            return NO_ANSWER
        return ANSWERS[attempt.answer]


def _noise(attempt: OpenAttempt) -> str:
    if attempt.outcome != meaning.DROPPED:
        return ""
    _, _, _, port, protocol = attempt.key
    return noise(attempt.reason, protocol, port, *addresses(attempt.key))


def _detail(attempt: OpenAttempt) -> str:
    if attempt.answer == ANSWER_DROPPED:
        end = "client" if attempt.egress & ANSWER else "server"
        return f"the answer was dropped at the {end}"
    return attempt.detail
