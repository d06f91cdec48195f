"""Attempts that went as others did before: what those are counted as, without asking who met whom.

Most attempts are such, at 20,000 records a second some 4,000 each second; to observe one takes 15 µs, to find
it here 3. What depends on when it was (a retry, an answer that was dropped, a connection that was cut,
a denied name, whose answer may have expired) is never alike.
"""

from __future__ import annotations

from typing import NamedTuple

from flowwatch.audits.evidence import Observer
from flowwatch.audits.remembered import Extra
from flowwatch.flows import meaning
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.known import remember
from flowwatch.flows.model import PolicyRef
from flowwatch.flows.open_attempt import ANSWER, ANSWERED, OpenAttempt, addresses
from flowwatch.marks.sightings import Sighting
from flowwatch.policy.rules import Direction

_CUT = meaning.POLICY_DROP | meaning.WORKS
_NOTHING = Extra()


class Way(NamedTuple):
    """All that decides what an attempt is counted as in one direction. What is shared stands there by its
    number in memory, which is its own as long as it is kept beside this."""

    direction: int
    subject: int
    end: int
    by: int | tuple[tuple[PolicyRef, ...], ...]
    """Who allowed it; or who allowed and who denied it."""
    evidence: int
    reason: int
    answered: bool
    port: int
    protocol: str
    origin: str
    name: tuple[object, ...]
    """What more the other end's name is made of."""


Ways = dict[Direction, tuple[Way, tuple[object, ...]]]
"""Of an attempt, by direction; and what has to be kept beside each."""


class Alike:
    """Remembers what attempts were counted as; bounded (flowwatch.flows.known.CACHE_LIMIT)."""

    def __init__(self) -> None:
        self._known: dict[Way, tuple[Sighting, tuple[object, ...]]] = {}

    def ways(
        self, attempt: OpenAttempt, scope: Attempts, origin: str, observer: Observer
    ) -> Ways | None:
        """What it is by; None where it has to be observed."""
        egress, ingress = attempt.egress, attempt.ingress
        if (egress | ingress) & ANSWER or attempt.passed or not attempt.first:
            return None
        allowed = observer.allowed(attempt)
        extra = observer.extra(attempt) if allowed is None else _NOTHING
        client, server = attempt.client, attempt.server
        client_ip, server_ip = addresses(attempt.key)
        answered, port, protocol = attempt.answer == ANSWERED, attempt.key[3], attempt.key[4]
        found: Ways = {}
        for way, bits in enumerate((egress, ingress)):
            if not bits:
                continue
            subject, end = (server, client) if way else (client, server)
            address = client_ip if way else server_ip
            names = scope.names.names(address)
            if not subject.pod or (bits & meaning.POLICY_DROP and (names or bits & _CUT == _CUT)):
                return None
            name: tuple[object, ...]
            if not (end.namespace or end.pod):
                name = address, names, attempt.ingress_peer if way else attempt.egress_peer
            elif end.pod or end.workload:
                name = ("" if way else attempt.service,)
            else:
                return None
            by = allowed[way] if allowed is not None else None
            who = (
                id(by)
                if by is not None
                else (extra.allowed.get(way, ()), extra.denied.get(way, ()))
            )
            found["ingress" if way else "egress"] = (
                Way(
                    way, id(subject), id(end), who, bits, attempt.reason,
                    answered, port, protocol, origin, name,
                ),
                (subject, end, by),
            )  # fmt: skip
        return found

    def known(self, ways: Ways) -> list[Sighting] | None:
        """What others alike were counted as in each direction; None where one isn't known."""
        found = []
        for way, _ in ways.values():
            known = self._known.get(way)
            if known is None:
                return None
            found.append(known[0])
        return found

    def learn(self, way: tuple[Way, tuple[object, ...]], sighting: Sighting) -> None:
        """One of it was counted as ``sighting``."""
        remember(self._known, way[0], (sighting, way[1]))
