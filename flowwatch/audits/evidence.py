"""From records to questions: who met whom, and what really happened in each direction.

An attempt is judged once for its client's egress and once for its server's ingress, as far as records
of either were seen; what was blocked in one direction says nothing about the policies of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import msgspec

from flowwatch.audits.answers import Answered, absent, answered
from flowwatch.audits.ends import (
    ANSWERS_OF,
    name_of,
    named_cluster,
    peer_name,
)
from flowwatch.audits.parties import MOST as _PARTIES
from flowwatch.audits.parties import Parties
from flowwatch.audits.remembered import Allowed, Extra, Remembered, Request
from flowwatch.audits.unrecorded import UNSURE, redacted, unknown, unknown_peer
from flowwatch.flows import meaning
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.join import Joined
from flowwatch.flows.meaning import OPENED, SEEN
from flowwatch.flows.model import (
    Direction,
    EventType,
    Flow,
    PolicyRef,
    Verdict,
)
from flowwatch.flows.noise import noise
from flowwatch.flows.open_attempt import (
    ANSWER,
    ANSWERED,
    OpenAttempt,
    addresses,
    outcome,
)
from flowwatch.flows.peers import PeerNames
from flowwatch.flows.reasons import POLICY_REASONS
from flowwatch.flows.tries import icmp_reply
from flowwatch.policy.nearest import Known
from flowwatch.policy.party import Party
from flowwatch.policy.reach import BY_LABELS, Reach
from flowwatch.policy.rules import Direction as Way

_PROTOCOLS = {"ICMPv4": "ICMP"}
_DROPS = meaning.POLICY_DROP | meaning.OTHER_DROP
_BLOCKED = _DROPS | meaning.AUDITED
_EVIDENCE = len(meaning.OUTCOME_OF) - 1
_VERDICTS = meaning.POLICY_DROP | meaning.AUDITED | meaning.TO_PROXY | meaning.ALLOWED
_CUT = meaning.WORKS | meaning.POLICY_DROP
_DECIDES = frozenset((int(EventType.DROP), int(EventType.POLICY_VERDICT)))
_VERDICT = int(EventType.POLICY_VERDICT)


class Observation(msgspec.Struct, frozen=True, gc=False):
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
    """Nanoseconds since 1970, as ``dropped_at`` by the clock that most nodes share: policies are in
    force at one time for all."""
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
    addresses: tuple[str, str] = ("", "")
    """Of the client and the server."""
    named_at: int = 0
    """Of the first verdict that named a policy which allows it; 0 without one."""
    verdict: bool = False
    """Whether a record shows a policy's verdict, and not only that packets passed."""
    answer_port: int | None = None
    """For an answer that was dropped, and is judged by the policies of the end that dropped it: the
    port it was on its way to (of ICMP its type). ``port`` is still that of the server; else None."""

    led_by: tuple[str, ...] = ()
    """DNS names that lead to the peer, though it is no address outside."""
    service: str = ""
    """The service that the peer's address is of, where it counts as outside."""
    taken: str = ""
    """The pod that the peer is, where the agent took it for one outside."""
    was: str = ""
    """The pod that had the peer's address before, where now it counts as outside."""
    cluster: str = ""
    """The subject's, where a record names it."""
    pod: tuple[str, str] = ("", "")
    """Namespace and name of the subject, where it is one."""
    answered: tuple[Answered, ...] = ()
    """For a policy's drop: the answers that had named the address by then."""
    absent: tuple[tuple[str, int, int], ...] = ()
    """For a policy's drop: names of the address that no answer vouched for then, each with when it was
    first learnt and when it had expired before (0: it hadn't been known)."""
    waited: float = 0.0
    """Seconds until it was let through, where it was denied at first; else 0."""
    cut: bool = False
    """Whether it had worked until a policy denied it."""
    replied: bool = False
    """Whether the server answered it."""
    labelled: bool = True
    """Whether the subject's labels are recorded: else any policy may select it."""
    guessed: bool = False
    """Whether it passed here only as far as a record without a direction lets think."""
    standing: bool = False
    """Whether it is of aggregated lines: of each verdict there are others, which tell no one attempt."""

    @property
    def known(self) -> Known:
        """What is known of the peer, for near misses."""
        name = self.peer_name.removeprefix(ANSWERS_OF)
        return Known(self.peer_ip, name, self.led_by, self.service, self.taken, self.was)

    @property
    def judged(self) -> bool:
        """Whether policies had a say: a packet may be lost before they are asked."""
        return (
            self.outcome != meaning.DROPPED or self.by_policy or self.verdict or self.waits_for_auth
        )

    @property
    def denied(self) -> bool:
        """Whether a policy denied it, or would have, but for audit mode."""
        return self.outcome == meaning.AUDIT or (self.outcome == meaning.DROPPED and self.by_policy)

    @property
    def noise(self) -> bool:
        """Whether it is noise of the link, lost before any policy was asked."""
        if self.outcome != meaning.DROPPED or self.judged:
            return False
        return bool(noise(self.reason, self.protocol, self.port, *self.addresses))

    @property
    def asked_port(self) -> int:
        """The port that the policies are asked about."""
        return self.port if self.answer_port is None else self.answer_port

    @property
    def end(self) -> Way:
        """The direction of the row that the attempt is counted in."""
        if self.answer_port is None:
            return self.direction
        return "egress" if self.direction == "ingress" else "ingress"


@dataclass(slots=True)
class Version:
    """A revision of an agent's policies, as the verdicts about one pod name it."""

    revision: int
    since: int
    """When a verdict first named it; nanoseconds since 1970."""
    replaced: bool = False
    """Whether an older one was seen before."""


def telling(joined: Joined) -> list[tuple[Flow, OpenAttempt | None]]:
    """The records of a batch that say more than that one more passed, each with its attempt: one of three."""
    return [
        (flow, attempt)
        for flow, attempt in zip(joined.batch.flows, joined.attempts, strict=True)
        if not flow.kind.mild or flow.kind.event_type == _VERDICT
    ]


class Observer:
    """Remembers of open attempts what the audit alone needs, and turns them into observations.

    Told of every batch by :meth:`take`; what it remembers of an attempt goes when that is asked
    about (:meth:`over`) or dismissed (:meth:`forget`), which its owner does as attempts close.
    """

    def __init__(self, *, both_ends: bool = False, reach: Reach = BY_LABELS) -> None:
        """``both_ends``: what passed, in a record without a direction, passed at both of its ends.
        ``reach``: of which endpoints the address counts."""
        self._both_ends = both_ends
        self._parties = Parties(reach)
        # By the attempt's number.
        self._remembered = Remembered()
        self._other_end: dict[int, int] = {}
        self._pods: dict[str, str] = {}
        """By address, the pod that last had it."""
        self.clusters: set[str] = set()
        """Those that the subjects' records name."""
        self.versions: dict[tuple[str, str], Version] = {}
        """By pod, the newest revision of its policies that a verdict named."""
        self.last_verdict: dict[tuple[str, str, str], int] = {}
        """By pod and direction, when a verdict of its policies was last seen."""
        self.on_blocked: Callable[[OpenAttempt, Extra], None] | None = None
        """Called with the attempt of each record that shows it dropped, or audited, for who tells at once."""
        self.on_request: Callable[[OpenAttempt], None] | None = None
        """Called with the attempt of each new request that is remembered."""

    def take(self, joined: Joined) -> None:
        """Take in a batch."""
        for flow, attempt in telling(joined):
            if attempt is None:
                continue
            if flow.event_type in _DECIDES and flow.direction:
                self._note_verdict(flow, joined.scope.shared(flow.time, flow.node))
            self.note(attempt, flow)

    def note(self, attempt: OpenAttempt, flow: Flow) -> None:
        """Take in one record, but for when policies decided about its pod: who asks for neither
        ``versions`` nor ``last_verdict`` needs no more."""
        kind = flow.kind
        if kind.verdict != Verdict.FORWARDED:
            bits = kind.bits
            if self.on_blocked is not None and bits & _BLOCKED:
                self.on_blocked(attempt, self._remembered.of(attempt))
        else:
            bits = 0
            if self._both_ends and not kind.direction and not kind.event_type:
                self._note_other_end(attempt, flow)
        if self._remembered.note(attempt, flow, bits) and self.on_request is not None:
            self.on_request(attempt)

    def over(
        self, attempt: OpenAttempt, scope: Attempts, extra: Extra | None = None
    ) -> Iterator[Observation]:
        """What an attempt shows, one observation a direction; its extra is then forgotten.

        With what :attr:`on_blocked` gave as ``extra``, it may be asked about again.
        """
        other = self._other_end.pop(attempt.number, 0) if extra is None else 0
        if extra is None:
            extra = self._remembered.pop(attempt)
        return self._observations(attempt, scope, extra, other)

    def so_far(self, attempt: OpenAttempt, scope: Attempts) -> Iterator[Observation]:
        """What an attempt shows by now; more may come."""
        other = self._other_end.get(attempt.number, 0)
        return self._observations(attempt, scope, self._remembered.peek(attempt), other)

    def extra(self, attempt: OpenAttempt) -> Extra:
        """What is remembered of an attempt by now."""
        return self._remembered.peek(attempt)

    def allowed(self, attempt: OpenAttempt) -> Allowed | None:
        """Who allowed it in each direction, where nothing else is remembered of it; else None."""
        return self._remembered.allowed(attempt)

    def forget(self, attempt: OpenAttempt) -> None:
        """An attempt is over and of no interest, but for who its ends are."""
        self._note_pods(attempt)
        self.dismiss(attempt)

    def dismiss(self, attempt: OpenAttempt) -> None:
        """An attempt is over, and of no interest at all."""
        self._remembered.forget(attempt)
        self._other_end.pop(attempt.number, None)

    def _note_pods(self, attempt: OpenAttempt) -> None:
        if len(self._pods) >= _PARTIES:
            self._pods.clear()
        for end, address in zip(
            (attempt.client, attempt.server), addresses(attempt.key), strict=True
        ):
            if end.pod and address:
                self._pods[address] = f"{end.namespace}/{end.pod}"

    def _note_verdict(self, flow: Flow, time: int) -> None:
        """That policies decided about a pod, and at which revision."""
        ingress = flow.direction == Direction.INGRESS
        if flow.event_type == EventType.DROP and flow.drop_reason not in POLICY_REASONS:
            return
        end = flow.destination if ingress else flow.source
        if not end.pod or len(self.last_verdict) >= _PARTIES:
            return
        pod = end.namespace, end.pod
        key = (*pod, "ingress" if ingress else "egress")
        if time > self.last_verdict.get(key, 0):
            self.last_verdict[key] = time
        if not flow.revision:
            return
        known = self.versions.get(pod)
        if known is None:
            self.versions[pod] = Version(flow.revision, time)
        elif flow.revision > known.revision:
            self.versions[pod] = Version(flow.revision, time, replaced=True)
        elif flow.revision == known.revision:
            known.since = min(known.since, time)
        else:
            known.replaced = True

    def _note_other_end(self, attempt: OpenAttempt, flow: Flow) -> None:
        if attempt.direction != Direction.INGRESS and attempt.server.namespace:
            bits = flow.kind.bits | OPENED | SEEN
            self._other_end[attempt.number] = self._other_end.get(attempt.number, 0) | bits

    def _observations(
        self, attempt: OpenAttempt, scope: Attempts, extra: Extra, other_end: int
    ) -> Iterator[Observation]:
        self._note_pods(attempt)
        names, shared = scope.names, scope.shared
        client_ip, server_ip = addresses(attempt.key)
        port, protocol = attempt.key[3], attempt.key[4]
        for way, known in ((0, attempt.egress), (1, attempt.ingress | other_end)):
            if not known:
                continue
            subject, peer = (
                (attempt.client, attempt.server) if way == 0 else (attempt.server, attempt.client)
            )
            subject_ip, peer_ip = (client_ip, server_ip) if way == 0 else (server_ip, client_ip)
            named = attempt.ingress_peer if way else attempt.egress_peer
            resolves = names.resolves(subject)
            own = named_cluster(subject)
            if own:
                self.clusters.add(own)
            dropped = extra.dropped.get(way, (0, ""))[0] if known & meaning.POLICY_DROP else 0
            peer_party = self._parties.of(
                peer, peer_ip, names, resolves=resolves, own=own, at=dropped
            )
            answer = known & _DROPS if known & ANSWER else 0
            bits = known & ~answer
            drop = bits & _DROPS
            seen = Observation(
                "ingress" if way else "egress",
                self._parties.of(subject, subject_ip, names, resolves=resolves, own=own),
                peer_party,
                name_of(subject, subject_ip),
                peer_name(
                    peer, peer_ip, peer_party, attempt.service if way == 0 else "", named, own
                ),
                _PROTOCOLS.get(protocol, protocol),
                port,
                outcome(bits),
                bool(bits & meaning.POLICY_DROP),
                bool(
                    bits & (OPENED | meaning.ALLOWED)
                    or drop
                    or protocol in meaning.FROM_FIRST_PACKET
                ),
                shared(attempt.first, attempt.node),
                shared(attempt.last, attempt.node),
                attempt.reason,
                attempt.records,
                unknown(subject, protocol, port)
                or unknown_peer(peer, peer_ip)
                or (UNSURE if attempt.unsure else "")
                or ("" if known & _EVIDENCE else "the record has no verdict"),
                self._asked(extra.requests),
                extra.allowed.get(way, ()),
                extra.denied.get(way, ()),
                extra.waits_for_auth,
                shared(*extra.dropped.get(way, (0, ""))),
                peer_ip,
                (client_ip, server_ip),
                verdict=bool(bits & _VERDICTS),
                led_by=() if peer_party.outside else _led_by(names, peer_ip, attempt.service),
                was=self._pods.get(peer_ip, "") if peer_party.outside and not peer.pod else "",
                service=attempt.service if peer_party.outside else "",
                taken=f"{peer.namespace}/{peer.pod}" if peer_party.outside and peer.pod else "",
                cluster=own,
                pod=(subject.namespace, subject.pod),
                answered=answered(names, peer_ip, dropped),
                absent=absent(names, peer_ip, dropped) if peer_party.outside else (),
                named_at=shared(*extra.named.get(way, (0, ""))),
                waited=attempt.waited,
                labelled=bool(subject.labels or subject.entity),
                guessed=way == 1 and not attempt.ingress,
                standing=attempt.standing,
                cut=dropped > attempt.first and bits & _CUT == _CUT,
                replied=attempt.answer == ANSWERED,
            )
            if bits & _EVIDENCE or not answer:
                yield seen
            if answer:
                # The answer met the policies of the other direction.
                there = 1 - way
                yield msgspec.structs.replace(
                    seen,
                    direction="egress" if way else "ingress",
                    outcome=outcome(answer),
                    by_policy=bool(answer & meaning.POLICY_DROP),
                    opened=True,
                    requests=(),
                    named_allowed=extra.allowed.get(there, ()),
                    named_denied=extra.denied.get(there, ()),
                    dropped_at=shared(*extra.dropped.get(there, (0, ""))),
                    verdict=True,
                    peer_name=f"{ANSWERS_OF}{seen.peer_name}",
                    answer_port=attempt.key[2] or icmp_reply(protocol, port),
                )

    def _asked(self, requests: list[Request]) -> tuple[Request, ...]:
        """``requests``, with the word on whether their queries may be hidden, by all that was seen."""
        if self._remembered.shows_queries:
            return tuple(requests)
        return tuple(
            replace(one, hidden=True)
            if "?" not in one.layer7.http_url and redacted(one.layer7)
            else one
            for one in requests
        )


def _led_by(names: PeerNames, address: str, service: str) -> tuple[str, ...]:
    """DNS names of an endpoint: those that answers gave its address, and its service's."""
    space, slash, name = service.partition("/")
    return (*names.names(address), *((f"{name}.{space}.svc.cluster.local",) if slash else ()))
