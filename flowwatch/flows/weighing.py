"""What a record adds to its attempt: evidence, retries, answers, reasons and policies.

The outcome follows from the evidence by the tables of :mod:`flowwatch.flows.meaning`. Two of three
records of a new connection come here, so calls are few and constants plain numbers.
"""

from __future__ import annotations

from flowwatch.flows import meaning, tries
from flowwatch.flows.meaning import OUTCOME_OF, POLICY_DROP, SYN, UNKNOWN, WORKS
from flowwatch.flows.model import Direction, Flow, Kind, PolicyRef
from flowwatch.flows.open_attempt import (
    ANSWER,
    ANSWER_DROPPED,
    ANSWERED,
    AT_THE_ENDPOINT,
    OUTCOME_BITS,
    REFUSED,
    OpenAttempt,
    address,
    change,
    refused,
)
from flowwatch.flows.peers import PeerNames
from flowwatch.flows.tries import ONE_PACKET

_EGRESS = int(Direction.EGRESS)
_INGRESS = int(Direction.INGRESS)
_RST = 4
_DROPS = POLICY_DROP | meaning.OTHER_DROP


class Weighing:
    """Adds records to attempts; knows names, and counts answers. One thread."""

    __slots__ = ("_names", "answers")

    def __init__(self, names: PeerNames) -> None:
        self._names = names
        self.answers = 0
        """Attempts that were answered."""

    def first(self, attempt: OpenAttempt, flow: Flow) -> None:
        """Add the record that opens an attempt and is no answer.

        As :meth:`add` would, in a third of the time: nothing is known yet.
        """
        kind = flow.kind
        bits = kind.bits
        if kind.syn:
            attempt.syns, attempt.syn = 1, flow.time
            attempt.syn_denied = bits & POLICY_DROP != 0
            if flow.time:
                attempt.syn_node = kind.node
        elif bits & WORKS:
            attempt.handshake = flow.time
        seen = kind.adds
        key = attempt.key
        if attempt.direction == _INGRESS:
            attempt.ingress = seen
            attempt.ingress_peer = self._names.peer(
                attempt.server, attempt.client, address(key[0]), ""
            )
        else:
            attempt.egress = seen
            attempt.egress_peer = self._names.peer(
                attempt.client, attempt.server, address(key[1]), attempt.service
            )
        attempt.bits = bits
        attempt.decided = flow.time
        attempt.outcome = outcome = OUTCOME_OF[bits]
        if outcome != UNKNOWN:
            change(attempt)
        if kind.dropped:
            self._give_reason(attempt, flow)
        if kind.named:
            _name(attempt, kind)

    def add(
        self, attempt: OpenAttempt, flow: Flow, time: int, *, reply: bool, ingress: bool
    ) -> None:
        """Add what a record shows, at the end where it was seen; ``time`` by the attempt's clock."""
        kind = flow.kind
        bits = kind.bits
        known = attempt.ingress if ingress else attempt.egress
        if not known:
            self._meet(attempt, ingress=ingress)
        if kind.syn:
            denied = bits & POLICY_DROP != 0
            if time and attempt.syn and 0 <= time - attempt.syn <= ONE_PACKET:
                # One more record of the same packet: most are.
                attempt.syn_denied = attempt.syn_denied or denied
            elif attempt.syns or not time:
                _add_syn(attempt, kind.node, time, denied=denied)
            else:
                attempt.syns, attempt.syn, attempt.syn_denied = 1, time, denied
                attempt.syn_node = kind.node
            if denied:
                passed = known & tries.PASSED and not attempt.syn_denied
                if time < (attempt.handshake or (attempt.syn if passed else 0)):
                    # Comes late: a retry got through since.
                    _let_through(attempt, attempt.handshake or attempt.syn)
                    bits = 0
            elif known & _DROPS and bits & tries.PASSED and time + ONE_PACKET >= attempt.syn:
                known = _got_through(attempt, known, time)
        elif reply:
            bits = self._add_answer(attempt, kind, bits, time)
            if attempt.syn_denied and kind.tcp_flags & (SYN | _RST) and bits & WORKS:
                # Its SYN was let through, whenever that is read.
                known = _got_through(attempt, known, time)
        elif bits & WORKS and not attempt.handshake:
            attempt.handshake = time
        seen = known | bits | kind.adds & ~OUTCOME_BITS
        if ingress:
            attempt.ingress = seen
        else:
            attempt.egress = seen
        if bits and (kind.named or seen & OUTCOME_BITS | attempt.bits != attempt.bits):
            self._weigh(attempt, flow, bits, time)

    def grow(
        self, attempt: OpenAttempt, kind: Kind, known: int, time: int, *, ingress: bool
    ) -> None:
        """Add a mild record at an end of which ``known`` is known, without a drop, where the outcome is
        forwarded: as :meth:`add` would, in a third of the time."""
        if ingress:
            attempt.ingress = known | kind.adds
        else:
            attempt.egress = known | kind.adds
        attempt.bits |= kind.bits
        if kind.bits & WORKS and not kind.syn:
            if not attempt.handshake:
                attempt.handshake = time
            if kind.reply:
                self._answer(attempt, ANSWERED)

    def _add_answer(self, attempt: OpenAttempt, kind: Kind, bits: int, time: int) -> int:
        """What an answer shows; the bits that it adds to its end."""
        if kind.dropped and kind.event_type in AT_THE_ENDPOINT:
            # Once answered, it is a straggler of a connection that is over.
            bits = bits | ANSWER if bits and attempt.answer != ANSWERED else 0
            self._answer(attempt, ANSWER_DROPPED)
        elif bits & WORKS:
            if not kind.tcp_flags & _RST:
                if not attempt.handshake:
                    attempt.handshake = time
                if attempt.answer != ANSWERED:
                    self._answer(attempt, ANSWERED)
            else:
                self._answer(attempt, ANSWERED if attempt.handshake else REFUSED)
        return bits

    def _answer(self, attempt: OpenAttempt, answer: int) -> None:
        # An answer is the best that can be said, whatever came before.
        if attempt.answer != answer and attempt.answer != ANSWERED:
            attempt.answer = answer
            change(attempt)
            self.answers += answer == ANSWERED

    def _weigh(self, attempt: OpenAttempt, flow: Flow, bits: int, time: int) -> None:
        """What follows from the evidence, with what only deciding records know: reason, policies."""
        together = (attempt.egress | attempt.ingress) & OUTCOME_BITS
        if together != attempt.bits:
            attempt.bits = together
            outcome = OUTCOME_OF[together]
            if outcome != attempt.outcome:
                attempt.outcome = outcome
                attempt.decided = time
                change(attempt)
            # A policy's reason is kept against a stray drop's.
            if flow.kind.dropped and (not attempt.reason or bits & POLICY_DROP):
                self._give_reason(attempt, flow)
        if flow.kind.named:
            _name(attempt, flow.kind)

    def _give_reason(self, attempt: OpenAttempt, flow: Flow) -> None:
        attempt.reason = meaning.drop_reason(flow.kind)
        change(attempt)
        if flow.l7 is not None:
            attempt.detail = refused(flow)

    def _meet(self, attempt: OpenAttempt, *, ingress: bool) -> None:
        """Name the other end, at the first record of an end: later lessons don't rename it."""
        key, client, server = attempt.key, attempt.client, attempt.server
        if ingress:
            attempt.ingress_peer = self._names.peer(server, client, address(key[0]), "")
        else:
            attempt.egress_peer = self._names.peer(client, server, address(key[1]), attempt.service)


def _add_syn(attempt: OpenAttempt, node: str, time: int, *, denied: bool) -> None:
    if not attempt.syn or not time:
        attempt.syns = attempt.syns or 1
        attempt.syn, attempt.syn_denied = attempt.syn or time, denied
    elif time - attempt.syn > ONE_PACKET:
        gap = time - attempt.syn
        attempt.gap = gap if attempt.syn_denied else -gap
        attempt.syn, attempt.syn_denied, attempt.syn_node = time, denied, node
        attempt.syns += 1
    elif attempt.first - time > ONE_PACKET:
        attempt.syns += 1  # comes late
    else:
        attempt.syn_denied = attempt.syn_denied or denied


def _got_through(attempt: OpenAttempt, known: int, time: int) -> int:
    """What is known of an end where a SYN passed: that others were denied before counts no more."""
    if not known & _DROPS or known & ANSWER:
        return known
    _let_through(attempt, time)
    attempt.bits = 0
    return known & ~_DROPS


def _let_through(attempt: OpenAttempt, time: int) -> None:
    attempt.passed = attempt.passed or time
    change(attempt)


def _name(attempt: OpenAttempt, kind: Kind) -> None:
    """Take in who allowed and who denied it; an egress policy admits nothing at the other end."""
    if kind.direction == _EGRESS:
        attempt.allowed_by = _union(attempt.allowed_by, kind.allowed_by)
    else:
        attempt.admitted_by = _union(attempt.admitted_by, kind.allowed_by)
    attempt.denied_by = _union(attempt.denied_by, kind.denied_by)


def _union(one: tuple[PolicyRef, ...], other: tuple[PolicyRef, ...]) -> tuple[PolicyRef, ...]:
    """Each policy once; few, and mostly the same objects, so that nothing needs hashing."""
    if other is one:
        return one
    for policy in other:
        if policy not in one:
            one = (*one, policy)
    return one
