"""Attempts: the records, retries and nodes of one try, told as one.

Records belong to one attempt when client address, server address, protocol, server port and the
client's source port are equal (for ICMP: addresses and the request's type), until
:mod:`flowwatch.flows.tries` says that the next one begins. So these are one attempt:

- the policy-verdict and the drop record of a denied packet, and those of each retry of its SYN;
- a SYN that was denied, and its retry that was let through: the attempt was late, not dropped;
- the records of a forwarded connection at every observation point and on both nodes: an ingress
  denial on the far node makes the near node's forwarded attempt a dropped one;
- an L4 record and what the proxy then decided;
- a dropped answer. Drop and policy-verdict records have the direction of the endpoint that dropped,
  not the connection's (Cilium 1.20.2, pkg/hubble/parser/threefour/parser.go): an answer dropped at
  INGRESS was dropped at the client.

Answers tell what came of an attempt that was let through, and so do ICMP errors about it; neither is
an attempt. What the bits of evidence mean, and which outcome wins, stands in
:mod:`flowwatch.flows.meaning`.
"""

from __future__ import annotations

from flowwatch.flows import meaning, tries
from flowwatch.flows.meaning import OUTCOME_OF, SYN
from flowwatch.flows.model import (
    Direction,
    EventType,
    Flow,
    LostEvents,
    PolicyRef,
    Verdict,
)
from flowwatch.flows.open_attempt import (
    ANSWER,
    ANSWER_DROPPED,
    ANSWERED,
    AT_THE_ENDPOINT,
    OPENED,
    OUTCOME_BITS,
    REFUSED,
    SEEN,
    UNREACHABLE,
    Key,
    Numbers,
    OpenAttempt,
    addresses,
    change,
    end,
)
from flowwatch.flows.peers import PeerNames
from flowwatch.flows.tries import GAP

OPEN_LIMIT = 120_000
"""Attempts kept open per generation: about 90 MB for two. Past it the older generation is closed
although it may be younger than 75 s, and :attr:`Attempts.closed_early` counts how often."""

OPEN_AT_LEAST = 25_000
"""Attempts kept open whatever their age: relay may send one node's whole ring before another's, and
files needn't be sorted, so a record may come minutes of flow time after its attempt's others."""

_FORWARDED, _DROPPED = int(Verdict.FORWARDED), int(Verdict.DROPPED)
_TRACE = int(EventType.TRACE)
_EGRESS, _INGRESS = int(Direction.EGRESS), int(Direction.INGRESS)
_SYN_ACK, _RST, _ENDS = SYN | meaning.ACK, 4, 5
_DROPS = meaning.POLICY_DROP | meaning.OTHER_DROP
_LOST_BEFORE = 1_000_000_000
# Notices of lost events come once a second and tell of the time since the last.
_WORKING = meaning.PASSED | meaning.WORKS

PAIRS = 65_536
"""Pairs of addresses whose latest attempt is remembered, for ICMP errors: they tell no ports."""

_FROM_FIRST_PACKET = frozenset({"UDP", "SCTP", "ICMPv4", "ICMPv6"})


class Attempts:
    """Joins records into attempts. One thread; memory bounded by OPEN_LIMIT.

    Two generations are kept, each of 75 s or more: what isn't touched falls out with the older.
    """

    def __init__(self, limit: int = OPEN_LIMIT, numbers: Numbers | None = None) -> None:
        """``numbers``: shared by all whose attempts the same listeners are told of."""
        self._limit = limit
        self._numbers = numbers or Numbers()
        self.names = PeerNames()
        """What the records told of names: the one memory of them."""
        self._young: dict[Key, OpenAttempt] = {}
        self._old: dict[Key, OpenAttempt] = {}
        self._turn = 0
        self.replies = 0
        """Records of replies to attempts that aren't known: opened before the first record."""
        self.unattributed = 0
        """Records that belong to no attempt and open none (no direction, or no outcome in them)."""
        self.closed_early = 0
        self._closed: list[OpenAttempt] = []
        self._latest: dict[tuple[str, str], OpenAttempt] = {}
        self._lost: dict[str, tuple[int, int]] = {}
        self.answers = 0
        """Attempts that were answered."""
        self.icmp_errors_dropped = 0
        """Records of dropped ICMP errors: whoever they were for never learned why."""

    def lost(self, event: LostEvents) -> None:
        """Events of a node were lost: there the next SYN may not be the one after the last."""
        first = (event.first or event.time) - _LOST_BEFORE
        last = event.last or event.time
        known = self._lost.get(event.node)
        if known is not None and first <= known[1] + GAP:
            first, last = min(first, known[0]), max(last, known[1])
        self._lost[event.node] = first, last

    def observe(self, flow: Flow) -> OpenAttempt | None:
        """The attempt that ``flow`` belongs to, with the flow's evidence added; else None."""
        if flow.l7 is not None:
            self.names.learn(flow)
        said = flow.is_reply
        reply = meaning.is_reply(flow) if said is None else said
        if said is None and reply and flow.verdict == _DROPPED:
            # Drops don't say it: whoever looks at the record next shall know.
            flow.is_reply = True
        if not flow.source_port:
            # No ports: ICMP's type differs between request and reply, names stand in for addresses.
            key = _portless_key(flow, reply)
        elif reply:
            key = (
                flow.destination_ip,
                flow.source_ip,
                flow.destination_port,
                flow.source_port,
                flow.protocol,
            )
        else:
            key = (
                flow.source_ip,
                flow.destination_ip,
                flow.source_port,
                flow.destination_port,
                flow.protocol,
            )
        time = flow.time
        attempt = self._young.get(key)
        if attempt is None and (attempt := self._old.get(key)) is not None:
            # Touched again: move it to the young generation, so that it outlives this one.
            del self._old[key]
            self._young[key] = attempt
        if attempt is None:
            return self._first(flow, key, reply)
        # A time that isn't known says nothing about a gap.
        silence = time - attempt.last if time and attempt.last else 0
        syn = flow.tcp_flags & _SYN_ACK == SYN
        if (
            (syn and time and self._is_new_try(attempt, flow))
            or silence < -GAP
            or (silence > GAP and not syn and key[4] != "TCP")
        ):
            return self._next(attempt, flow, key, reply)
        ingress = end(flow, attempt) == _INGRESS
        known = attempt.ingress if ingress else attempt.egress
        if known & _WORKING != _WORKING or flow.verdict != _FORWARDED or flow.event_type != _TRACE:
            # Else one more packet of a connection that works: most records are that.
            bits = meaning.evidence(flow)
            if key[4] != "TCP" and flow.l7 is None and tries.turned(known, bits) and silence >= 0:
                return self._next(attempt, flow, key, reply)
            self._add(attempt, flow, bits, reply=reply, ingress=ingress)
        names = flow.destination_names or flow.source_names
        if names and names != attempt.names:
            # Hubble gives the names with every record alike: most tell nothing new.
            self.names.learn(flow)
            attempt.names = names
        if flow.tcp_flags & _ENDS:
            attempt.ended = time
        attempt.records += 1
        if time > attempt.last:
            attempt.first = attempt.first or time
            attempt.last = time
        elif 0 < time < attempt.first:
            attempt.first = time
        return attempt

    # Which attempt -----------------------------------------------------------------------------

    def _first(self, flow: Flow, key: Key, reply: bool) -> OpenAttempt | None:
        """The attempt of a record whose addresses and ports no open one has."""
        if flow.destination_names or flow.source_names:
            self.names.learn(flow)
        if flow.verdict == _DROPPED and flow.is_reply is None and not reply:
            answered = (key[1], key[0], key[3], key[2], key[4])
            known = answered in self._young or answered in self._old
            if key[2] and not flow.tcp_flags & SYN and (known or tries.answers(flow)):
                # Drops don't say which way a packet goes: an answer, by the attempt that it answers.
                flow.is_reply = True
                return self.observe(flow)
        if tries.is_icmp_error(flow):
            self._icmp_error(flow)
            return None
        bits = meaning.evidence(flow)
        attempt = self._open(flow, key, bits, reply=reply)
        if attempt is not None:
            ingress = end(flow, attempt) == _INGRESS
            self._add(attempt, flow, bits, reply=reply, ingress=ingress)
            attempt.records = 1
        return attempt

    def _next(self, attempt: OpenAttempt, flow: Flow, key: Key, reply: bool) -> OpenAttempt | None:
        """The attempt of a record that comes after ``attempt``, which is over."""
        self._closed.append(attempt)
        del self._young[key]
        new = self._first(flow, key, reply)
        if new is not None and new.syns and tries.shrunk(attempt.syn, attempt.gap, flow.time):
            # The wait before it may have been a retry's already.
            new.gap = flow.time - attempt.syn
        return new

    def _is_new_try(self, attempt: OpenAttempt, flow: Flow) -> bool:
        """Whether a SYN begins another attempt between the same ports: see flowwatch.flows.tries."""
        time = flow.time
        if attempt.ended and flow.node == attempt.node and time > attempt.ended:
            return True
        if attempt.handshake:
            near = tries.HANDSHAKE if flow.node == attempt.node else tries.OTHER_NODE
            return time - attempt.handshake > near
        denied = attempt.syn_denied
        if not attempt.syn or tries.explains(attempt.syn, attempt.gap, time, denied=denied):
            return False
        return time - attempt.syn > GAP or not self._lost_between(flow.node, attempt.syn, time)

    def _lost_between(self, node: str, start: int, end: int) -> bool:
        if not self._lost:
            return False
        return any(
            first <= end and start <= last
            for name in (node, "")
            if (known := self._lost.get(name)) is not None
            for first, last in (known,)
        )

    def _icmp_error(self, flow: Flow) -> None:
        """Tell the fate of the packet that an ICMP error is about: the latest between the two ends."""
        if flow.verdict == _DROPPED:
            self.icmp_errors_dropped += 1
            return
        about = self._latest.get((flow.destination_ip, flow.source_ip))
        if about is not None and not about.answer and flow.time - about.last <= GAP:
            about.answer = UNREACHABLE
            change(about)

    # Opening and closing -----------------------------------------------------------------------

    def _open(self, flow: Flow, key: Key, bits: int, *, reply: bool) -> OpenAttempt | None:
        direction = flow.direction or meaning.direction(flow)
        if reply:
            if flow.verdict != _DROPPED or not direction or not bits:
                self.replies += 1
                return None
            # Of the endpoint that dropped: the client's is that of what it asked.
            direction = _EGRESS if direction == _INGRESS else _INGRESS
        elif not bits or not direction:
            self.unattributed += 1
            return None
        count = len(self._young)
        if count >= OPEN_AT_LEAST and (flow.time - self._turn > GAP or count >= self._limit):
            self._turn_over(flow.time)
        attempt = OpenAttempt(self._numbers.take(), key, flow, direction)
        if reply:
            attempt.client, attempt.server = flow.destination, flow.source
            attempt.service = flow.source_service
        else:
            attempt.service = flow.destination_service
        attempt.names = flow.destination_names or flow.source_names
        self._young[key] = attempt
        if len(self._latest) >= PAIRS:
            self._latest.clear()
        self._latest[key[0], key[1]] = attempt
        return attempt

    # Evidence ----------------------------------------------------------------------------------

    def _add(
        self, attempt: OpenAttempt, flow: Flow, bits: int, *, reply: bool, ingress: bool
    ) -> None:
        """Add what the record shows, at the end where it was seen."""
        time = flow.time
        if flow.tcp_flags & _SYN_ACK == SYN:
            self._add_syn(attempt, time, denied=bool(bits & meaning.POLICY_DROP))
        elif bits & meaning.WORKS and not attempt.handshake and not _resets(flow, reply):
            attempt.handshake = time
        if reply:
            if flow.verdict == _DROPPED and flow.event_type in AT_THE_ENDPOINT:
                # Once answered, it is a straggler of a connection that is over.
                bits = bits | ANSWER if bits and attempt.answer != ANSWERED else 0
                self._answer(attempt, ANSWER_DROPPED)
            elif bits & meaning.WORKS:
                refused = _resets(flow, reply) and not attempt.handshake
                self._answer(attempt, REFUSED if refused else ANSWERED)
        known = attempt.ingress if ingress else attempt.egress
        if not known:
            self._meet(attempt, ingress=ingress)
        if bits & meaning.POLICY_DROP and time < attempt.handshake and _is_syn(flow):
            # Comes late: a retry got through since.
            self._let_through(attempt, attempt.handshake)
            bits = 0
        elif known & _DROPS and bits & tries.PASSED and _is_syn(flow):
            known &= ~_DROPS
            self._let_through(attempt, time)
        seen = known | bits | SEEN
        if not seen & OPENED and _opens(flow):
            seen |= OPENED
        if ingress:
            attempt.ingress = seen
        else:
            attempt.egress = seen
        if bits:
            self._weigh(attempt, flow, bits)

    def _add_syn(self, attempt: OpenAttempt, time: int, *, denied: bool) -> None:
        if not attempt.syn or not time:
            attempt.syns = attempt.syns or 1
            attempt.syn, attempt.syn_denied = attempt.syn or time, denied
        elif time - attempt.syn > tries.ONE_PACKET:
            gap = time - attempt.syn
            attempt.gap = gap if attempt.syn_denied else -gap
            attempt.syn, attempt.syn_denied = time, denied
            attempt.syns += 1
        elif attempt.first - time > tries.ONE_PACKET:
            attempt.syns += 1  # comes late
        else:
            attempt.syn_denied = attempt.syn_denied or denied

    def _let_through(self, attempt: OpenAttempt, time: int) -> None:
        attempt.passed = attempt.passed or time
        change(attempt)

    def _answer(self, attempt: OpenAttempt, answer: int) -> None:
        # An answer is the best that can be said, whatever came before.
        if attempt.answer != answer and attempt.answer != ANSWERED:
            attempt.answer = answer
            change(attempt)
            self.answers += answer == ANSWERED

    def _weigh(self, attempt: OpenAttempt, flow: Flow, bits: int) -> None:
        """What follows from the evidence, with what only deciding records know: reason, policies."""
        together = (attempt.egress | attempt.ingress) & OUTCOME_BITS
        if together != attempt.bits:
            attempt.bits = together
            outcome = OUTCOME_OF[together]
            if outcome != attempt.outcome:
                attempt.outcome = outcome
                change(attempt)
            # A policy's reason is kept against a stray drop's.
            if flow.verdict == _DROPPED and (not attempt.reason or bits & meaning.POLICY_DROP):
                attempt.reason = meaning.drop_reason(flow)
                change(attempt)
                if flow.l7 is not None:
                    attempt.detail = _detail(flow)
        if flow.allowed_by and flow.allowed_by != attempt.allowed_by:
            attempt.allowed_by = _union(attempt.allowed_by, flow.allowed_by)
        if flow.denied_by and flow.denied_by != attempt.denied_by:
            attempt.denied_by = _union(attempt.denied_by, flow.denied_by)

    def _meet(self, attempt: OpenAttempt, *, ingress: bool) -> None:
        """Name the other end, at the first record of an end: later lessons don't rename it."""
        client_ip, server_ip = addresses(attempt.key)
        client, server = attempt.client, attempt.server
        if ingress:
            attempt.ingress_peer = self.names.peer(server, client, client_ip, "")
        else:
            attempt.egress_peer = self.names.peer(client, server, server_ip, attempt.service)

    def _turn_over(self, now: int) -> None:
        if now - self._turn <= GAP:
            self.closed_early += 1
        self._closed.extend(self._old.values())
        self._old = self._young
        self._young = {}
        self._turn = now

    def take_closed(self) -> list[OpenAttempt]:
        """Attempts that no record can join any more, since the last call."""
        closed, self._closed = self._closed, []
        return closed

    def open_attempts(self) -> list[OpenAttempt]:
        """All attempts still open, those that were opened or touched first in front."""
        return [*self._old.values(), *self._young.values()]


def _portless_key(flow: Flow, reply: bool) -> Key:
    source = flow.source_ip or f"{flow.source.namespace}/{flow.source.pod}"
    destination = flow.destination_ip or f"{flow.destination.namespace}/{flow.destination.pod}"
    port = tries.icmp_request(flow.protocol, flow.destination_port)
    if reply:
        return destination, source, 0, port, flow.protocol
    return source, destination, 0, port, flow.protocol


def _union(one: tuple[PolicyRef, ...], other: tuple[PolicyRef, ...]) -> tuple[PolicyRef, ...]:
    return tuple(dict.fromkeys(one + other))


def _is_syn(flow: Flow) -> bool:
    return flow.tcp_flags & _SYN_ACK == SYN


def _resets(flow: Flow, reply: bool) -> bool:
    return reply and bool(flow.tcp_flags & _RST)


def _opens(flow: Flow) -> bool:
    """Whether the record is of an attempt's first packet."""
    if flow.event_type == EventType.POLICY_VERDICT or flow.protocol in _FROM_FIRST_PACKET:
        return True
    return flow.tcp_flags & (SYN | meaning.ACK) == SYN


def _detail(flow: Flow) -> str:
    l7 = flow.l7
    if l7 is None:
        return ""
    if l7.dns_query:
        return f"DNS {l7.dns_query}"
    return f"{l7.http_method} {l7.http_url}" if l7.http_method else ""
