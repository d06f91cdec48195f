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
from flowwatch.flows.clocks import Clocks
from flowwatch.flows.generations import OPEN_LIMIT, Generations
from flowwatch.flows.meaning import OUTCOME_OF, SYN
from flowwatch.flows.model import (
    Direction,
    EventType,
    Flow,
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
    address,
    change,
    end,
    portless_key,
    refused,
)
from flowwatch.flows.peers import PeerNames
from flowwatch.flows.placing import place
from flowwatch.flows.tries import GAP, ONE_PACKET
from flowwatch.flows.unseen import Unseen

_FORWARDED, _DROPPED = int(Verdict.FORWARDED), int(Verdict.DROPPED)
_TRACE = int(EventType.TRACE)
_EGRESS, _INGRESS = int(Direction.EGRESS), int(Direction.INGRESS)
_SYN_ACK, _RST, _ENDS = SYN | meaning.ACK, 4, 5
_DROPS = meaning.POLICY_DROP | meaning.OTHER_DROP
_WORKING = meaning.PASSED | meaning.WORKS

PAIRS = 65_536
"""Pairs of addresses whose latest attempt is remembered, for ICMP errors: they tell no ports."""

EARLY = 4096
"""Answers remembered that were read before what they answer: each CPU's events are read in turn."""

_ICMP_ERROR = (0, 0, "")
"""Stands in a key for what an error doesn't tell of the packet that it is about."""

_FAR = 1 << 80
"""A time that is beside every attempt."""


class Attempts:
    """Joins the records of one server into attempts. One thread; memory bounded by OPEN_LIMIT.

    Each node has a clock of its own. An attempt's times are by the clock of the node whose record of
    it came first; those of another node are laid on that by what is known of the two clocks
    (:mod:`flowwatch.flows.clocks`), else by its first record. So clocks that are apart make no attempt two.
    """

    def __init__(self, limit: int = OPEN_LIMIT, numbers: Numbers | None = None) -> None:
        """``numbers``: shared by all whose attempts the same listeners are told of."""
        self._numbers = numbers or Numbers()
        self.names = PeerNames()
        """What the records told of names: the one memory of them."""
        self.clocks = Clocks()
        """Those of the nodes whose records are joined."""
        self._open = Generations(limit)
        self.replies = 0
        """Records of replies to attempts that aren't known: opened before the first record."""
        self.unattributed = 0
        """Records that belong to no attempt and open none (no direction, or no outcome in them)."""
        self._latest: dict[tuple[str, str], OpenAttempt] = {}
        self.unseen = Unseen()
        self._early: dict[Key, Flow] = {}
        self.answers = 0
        """Attempts that were answered."""

    @property
    def closed_early(self) -> int:
        """How often attempts were closed before their time, for want of room."""
        return self._open.closed_early

    def observe(self, flow: Flow) -> OpenAttempt | None:
        """The attempt that ``flow`` belongs to, with the flow's evidence added; else None."""
        if flow.l7 is not None:
            self.names.learn(flow)
        reply = flow.is_reply
        if reply is None:
            reply = meaning.is_reply(flow)
            if reply and flow.verdict == _DROPPED:
                # Drops don't say it: whoever looks at the record next shall know.
                flow.is_reply = True
        if not flow.source_port:
            # No ports: ICMP's type differs between request and reply, names stand in for addresses.
            key = portless_key(flow, reply)
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
        attempt = self._open.young.get(key) or self._open.get(key)
        if attempt is None:
            return self._first(flow, key, reply)
        time = flow.time
        if time and attempt.last:
            node = flow.node
            if node is not attempt.node:
                time -= (
                    attempt.other_ahead if node is attempt.other else attempt.more.get(node, _FAR)
                )
            if not -GAP <= time - attempt.last <= GAP:
                placed = place(self._open.of(attempt), self.clocks, flow)
                if placed is None:
                    return self._first(flow, key, reply)
                attempt, time = placed
        elif attempt.last:
            time = attempt.last  # one that isn't known says nothing
        flags, verdict = flow.tcp_flags, flow.verdict
        syn = flags & _SYN_ACK == SYN
        # Most SYNs' records are further ones of the same packet.
        again = syn and 0 <= time - attempt.syn <= ONE_PACKET
        if syn and (not again or attempt.ended):
            self.unseen.watch(flow)
            if self._is_new_try(attempt, flow, time):
                return self._next(attempt, flow, time, reply)
        if reply and verdict == _DROPPED:
            ingress = end(flow, attempt) == _INGRESS
        else:
            ingress = (flow.direction or attempt.direction) == _INGRESS
        known = attempt.ingress if ingress else attempt.egress
        if (
            known & _WORKING != _WORKING
            or (reply and attempt.answer != ANSWERED)
            or verdict != _FORWARDED
            or flow.event_type != _TRACE
        ):
            # Else one more packet of a connection that works: most records are that.
            bits = meaning.evidence(flow)
            if key[4] != "TCP" and flow.l7 is None:
                if reply and bits & meaning.WORKS and known & _DROPS and not known & tries.PASSED:
                    # No answer to what was denied: the request that it answers is still to be read.
                    self.replies += 1
                    self._keep_early(flow, key)
                    return None
                before = known & ~_DROPS if known & ANSWER else known
                between = attempt.first - ONE_PACKET < time < attempt.last
                if not reply and not between and tries.turned(before, bits):
                    return self._next(attempt, flow, time, reply)
            if (
                known | bits != known
                or (syn and not again)
                or (reply and attempt.answer != ANSWERED)
                or flow.allowed_by
                or flow.denied_by
            ):
                self._add(attempt, flow, bits, time, reply=reply, ingress=ingress)
        names = flow.destination_names or flow.source_names
        if names and names != attempt.names:
            # Hubble gives the names with every record alike: most tell nothing new.
            self.names.learn(flow)
            attempt.names = names
        if flags & _ENDS and flow.node == attempt.node:
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
        """The attempt of a record that belongs to none that is open."""
        if flow.destination_names or flow.source_names:
            self.names.learn(flow)
        if flow.verdict == _DROPPED and flow.is_reply is None and not reply:
            known = self._open.has((key[1], key[0], key[3], key[2], key[4]))
            if key[2] and not flow.tcp_flags & SYN and (known or tries.answers(flow)):
                # Drops don't say which way a packet goes: an answer, by the attempt that it answers.
                flow.is_reply = True
                return self.observe(flow)
        if not flow.source_port and tries.is_icmp_error(flow):
            self._icmp_error(flow)
            return None
        bits = meaning.evidence(flow)
        attempt = self._begin(flow, key, bits, reply=reply)
        if attempt is not None:
            ingress = attempt.direction == _INGRESS
            self._add(attempt, flow, bits, flow.time, reply=reply, ingress=ingress)
            attempt.records = 1
            if self._early:
                self._take_early(flow, key)
        return attempt

    def _keep_early(self, flow: Flow, key: Key) -> None:
        """What answers nothing known: what it answers may be read in a moment."""
        if flow.tcp_flags and not flow.tcp_flags & (SYN | _RST):
            return
        if len(self._early) >= EARLY:
            self._early.clear()
        self._early[key] = flow

    def _take_early(self, flow: Flow, key: Key) -> None:
        """Add what was read just before the first record of an attempt, and answers it."""
        for at in (key, (key[0], key[1], *_ICMP_ERROR)):
            early = self._early.pop(at, None)
            if early is None or abs(early.time - flow.time) > tries.HANDSHAKE:
                continue
            if at is key:
                self.replies -= 1
            self.observe(early)

    def _next(self, attempt: OpenAttempt, flow: Flow, time: int, reply: bool) -> OpenAttempt | None:
        """The attempt that comes after ``attempt``; ``time`` is the record's by that one's clock."""
        new = self._first(flow, attempt.key, reply)
        if new is not None and new.syns and tries.shrunk(attempt.syn, attempt.gap, time):
            # The wait before it may have been a retry's already.
            new.gap = time - attempt.syn
        return new

    def _is_new_try(self, attempt: OpenAttempt, flow: Flow, time: int) -> bool:
        """Whether a SYN begins another attempt between the same ports: see flowwatch.flows.tries."""
        if attempt.ended and time > attempt.ended and flow.node == attempt.node:
            return True
        if attempt.handshake:
            near = tries.HANDSHAKE if flow.node == attempt.node else tries.OTHER_NODE
            return time - attempt.handshake > near
        last, gap, denied = attempt.syn, attempt.gap, attempt.syn_denied
        if not last:
            return False
        fast = attempt.pace < tries.FAST or self._open.came_back(attempt.key)
        if fast and abs(attempt.other_ahead) < tries.OTHER_NODE:
            told = denied or attempt.other is None
            due = not told or tries.due(last, gap, time, attempt.syns, denied=denied)
        else:
            # What another node saw between may be read later.
            denied, due = denied and flow.node == attempt.syn_node, True
        if due and tries.explains(last, gap, time, denied=denied):
            return False
        since = flow.time - (time - attempt.syn)
        return time - attempt.syn > GAP or not self.unseen.between(flow.node, since, flow.time)

    def _icmp_error(self, flow: Flow) -> None:
        """Tell the fate of the packet that an ICMP error is about: the latest between the two ends."""
        if flow.verdict == _DROPPED:
            return
        about = self._latest.get((flow.destination_ip, flow.source_ip))
        if about is not None and not about.answer and flow.time - about.last <= GAP:
            about.answer = UNREACHABLE
            change(about)
        else:
            self._keep_early(flow, (flow.destination_ip, flow.source_ip, *_ICMP_ERROR))

    # Opening and closing -----------------------------------------------------------------------

    def _begin(self, flow: Flow, key: Key, bits: int, *, reply: bool) -> OpenAttempt | None:
        direction = flow.direction or meaning.direction(flow)
        if reply:
            if flow.verdict != _DROPPED or not direction or not bits:
                self.replies += 1
                self._keep_early(flow, key)
                return None
            # Of the endpoint that dropped: the client's is that of what it asked.
            direction = _EGRESS if direction == _INGRESS else _INGRESS
        elif not bits or not direction:
            self.unattributed += 1
            return None
        attempt = OpenAttempt(self._numbers.take(), key, flow, direction)
        if reply:
            attempt.client, attempt.server = flow.destination, flow.source
            attempt.service = flow.source_service
        else:
            attempt.service = flow.destination_service
        attempt.names = flow.destination_names or flow.source_names
        attempt.midway = bool(bits & meaning.WORKS)
        self._open.put(attempt, flow)
        ends = key[0], key[1]
        before = self._latest.get(ends)
        if before is not None:
            attempt.pace = tries.pace(before.pace, attempt.first - before.first)
        elif len(self._latest) >= PAIRS:
            self._latest.clear()
        self._latest[ends] = attempt
        return attempt

    # Evidence ----------------------------------------------------------------------------------

    def _add(
        self, attempt: OpenAttempt, flow: Flow, bits: int, time: int, *, reply: bool, ingress: bool
    ) -> None:
        """Add what the record shows, at the end where it was seen; ``time`` by the attempt's clock."""
        known = attempt.ingress if ingress else attempt.egress
        if not known:
            self._meet(attempt, ingress=ingress)
        if flow.tcp_flags & _SYN_ACK == SYN:
            denied = bits & meaning.POLICY_DROP != 0
            if attempt.syns or not time:
                self._add_syn(attempt, flow.node, time, denied=denied)
            else:
                attempt.syns, attempt.syn, attempt.syn_denied = 1, time, denied
                attempt.syn_node = flow.node
            if denied:
                passed = known & tries.PASSED and not attempt.syn_denied
                if time < (attempt.handshake or (attempt.syn if passed else 0)):
                    # Comes late: a retry got through since.
                    self._let_through(attempt, attempt.handshake or attempt.syn)
                    bits = 0
            elif bits & tries.PASSED and time + ONE_PACKET >= attempt.syn:
                known = self._got_through(attempt, known, time)
        elif reply:
            bits = self._add_answer(attempt, flow, bits, time)
            if attempt.syn_denied and flow.tcp_flags & (SYN | _RST) and bits & meaning.WORKS:
                # Its SYN was let through, whenever that is read.
                known = self._got_through(attempt, known, time)
        elif bits & meaning.WORKS and not attempt.handshake:
            attempt.handshake = time
        seen = known | bits | SEEN
        if not seen & OPENED and meaning.shows_first(flow):
            seen |= OPENED
        if ingress:
            attempt.ingress = seen
        else:
            attempt.egress = seen
        if bits and (
            seen & OUTCOME_BITS | attempt.bits != attempt.bits or flow.allowed_by or flow.denied_by
        ):
            self._weigh(attempt, flow, bits)

    def _add_answer(self, attempt: OpenAttempt, flow: Flow, bits: int, time: int) -> int:
        """What an answer shows; the bits that it adds to its end."""
        if flow.verdict == _DROPPED and flow.event_type in AT_THE_ENDPOINT:
            # Once answered, it is a straggler of a connection that is over.
            bits = bits | ANSWER if bits and attempt.answer != ANSWERED else 0
            self._answer(attempt, ANSWER_DROPPED)
        elif bits & meaning.WORKS:
            if not flow.tcp_flags & _RST:
                attempt.handshake = attempt.handshake or time
                self._answer(attempt, ANSWERED)
            else:
                self._answer(attempt, ANSWERED if attempt.handshake else REFUSED)
        return bits

    def _add_syn(self, attempt: OpenAttempt, node: str, time: int, *, denied: bool) -> None:
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

    def _got_through(self, attempt: OpenAttempt, known: int, time: int) -> int:
        """What is known of an end where a SYN passed: that others were denied before counts no more."""
        if not known & _DROPS or known & ANSWER:
            return known
        self._let_through(attempt, time)
        attempt.bits = 0
        return known & ~_DROPS

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
                    attempt.detail = refused(flow)
        if flow.allowed_by and flow.allowed_by != attempt.allowed_by:
            attempt.allowed_by = _union(attempt.allowed_by, flow.allowed_by)
        if flow.denied_by and flow.denied_by != attempt.denied_by:
            attempt.denied_by = _union(attempt.denied_by, flow.denied_by)

    def _meet(self, attempt: OpenAttempt, *, ingress: bool) -> None:
        """Name the other end, at the first record of an end: later lessons don't rename it."""
        key, client, server = attempt.key, attempt.client, attempt.server
        if ingress:
            attempt.ingress_peer = self.names.peer(server, client, address(key[0]), "")
        else:
            attempt.egress_peer = self.names.peer(client, server, address(key[1]), attempt.service)

    # For those who listen ----------------------------------------------------------------------

    def take_closed(self) -> list[OpenAttempt]:
        """Attempts that no record can join any more, since the last call."""
        closed, self._open.closed = self._open.closed, []
        return closed

    def open_attempts(self) -> list[OpenAttempt]:
        """All attempts still open, those that were opened or touched first in front."""
        return self._open.all()

    def shared(self, time: int, node: str) -> int:
        """A node's time on the clock that most nodes share; 0 stays 0."""
        ahead = self.clocks.ahead
        return max(time - ahead.get(node, 0), 0) if ahead and time else time


def _union(one: tuple[PolicyRef, ...], other: tuple[PolicyRef, ...]) -> tuple[PolicyRef, ...]:
    return tuple(dict.fromkeys(one + other))
