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

from collections.abc import Iterable

from flowwatch.flows import meaning, tries
from flowwatch.flows.clocks import Clocks
from flowwatch.flows.generations import OPEN_LIMIT, Generations
from flowwatch.flows.meaning import SYN
from flowwatch.flows.model import Direction, EventType, Flow, Verdict
from flowwatch.flows.open_attempt import (
    ANSWER,
    ANSWERED,
    UNREACHABLE,
    Key,
    Numbers,
    OpenAttempt,
    change,
    end,
    portless_key,
)
from flowwatch.flows.peers import PeerNames
from flowwatch.flows.placing import place
from flowwatch.flows.standing import StandingLines, is_answer, standing
from flowwatch.flows.tries import GAP, ONE_PACKET
from flowwatch.flows.unseen import Unseen
from flowwatch.flows.weighing import Weighing

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
        self._weighing = Weighing(self.names)
        self.replies = 0
        """Records of replies to attempts that aren't known: opened before the first record."""
        self.unattributed = 0
        """Records that belong to no attempt and open none (no direction, or no outcome in them)."""
        self._latest: dict[tuple[str, str], OpenAttempt] = {}
        self.unseen = Unseen()
        self._early: dict[Key, Flow] = {}
        self.lines = StandingLines(self._numbers, self._weighing)
        """Attempts of aggregated lines."""

    @property
    def answers(self) -> int:
        """Attempts that were answered."""
        return self._weighing.answers

    @property
    def closed_early(self) -> int:
        """How often attempts were closed before their time, for want of room."""
        return self._open.closed_early

    def observe(self, flow: Flow) -> OpenAttempt | None:
        """The attempt that ``flow`` belongs to, with the flow's evidence added; else None."""
        return self.observe_all((flow,))[0]

    def observe_all(self, flows: Iterable[Flow]) -> list[OpenAttempt | None]:
        """For each of ``flows``, in their order, what :meth:`observe` says.

        All records pass through this loop: what most of them need is done in it, without a call, and
        each value is read once. With :mod:`flowwatch.flows.weighing` that took a third of the
        processor's instructions off the join when it was made (valgrind: 22,400 a record, then 15,300).
        """
        opened, weigh, evidence = self._open, self._weighing.add, meaning.evidence
        found: list[OpenAttempt | None] = []
        add = found.append
        for flow in flows:
            l7 = flow.l7
            if l7 is not None:
                self.names.learn(flow)
            reply, verdict, flags = flow.is_reply, flow.verdict, flow.tcp_flags
            port = flow.source_port
            if reply is None:
                reply = flags & _SYN_ACK == _SYN_ACK or (not port and meaning.is_reply(flow))
                if reply and verdict == _DROPPED:
                    # Drops don't say it: whoever looks at the record next shall know.
                    flow.is_reply = True
            if not port:
                # No ports: ICMP's type differs between request and reply, names stand in for addresses.
                key = portless_key(flow, reply)
            elif reply:
                key = (
                    flow.destination_ip,
                    flow.source_ip,
                    flow.destination_port,
                    port,
                    flow.protocol,
                )
            else:
                key = (
                    flow.source_ip,
                    flow.destination_ip,
                    port,
                    flow.destination_port,
                    flow.protocol,
                )
            attempt = opened.young.get(key)
            if attempt is None:
                if opened.old:
                    attempt = opened.get(key)
                if attempt is None:
                    add(self._first(flow, key, reply, known=False))
                    continue
            time, last = flow.time, attempt.last
            if time and last:
                node = flow.node
                if node is not attempt.node:
                    time -= (
                        attempt.other_ahead
                        if node is attempt.other
                        else attempt.more.get(node, _FAR)
                    )
                if not -GAP <= time - last <= GAP:
                    placed = place(opened.of(attempt), self.clocks, flow)
                    if placed is None:
                        add(self._first(flow, key, reply))
                        continue
                    attempt, time = placed
                    last = attempt.last
            elif last:
                time = last  # one that isn't known says nothing
            syn = flags & _SYN_ACK == SYN
            again = False
            if syn:
                # Most SYNs' records are further ones of the same packet.
                again = 0 <= time - attempt.syn <= ONE_PACKET
                if not again or attempt.ended:
                    self.unseen.watch(flow)
                    if self._is_new_try(attempt, flow, time):
                        add(self._next(attempt, flow, time, reply))
                        continue
            if reply and verdict == _DROPPED:
                ingress = end(flow, attempt) == _INGRESS
            else:
                ingress = (flow.direction or attempt.direction) == _INGRESS
            known = attempt.ingress if ingress else attempt.egress
            unanswered = reply and attempt.answer != ANSWERED
            if (
                known & _WORKING != _WORKING
                or unanswered
                or verdict != _FORWARDED
                or flow.event_type != _TRACE
            ):
                # Else one more packet of a connection that works: most records are that.
                bits = evidence(flow)
                if known and key[4] != "TCP" and l7 is None:
                    if (
                        reply
                        and bits & meaning.WORKS
                        and known & _DROPS
                        and not known & tries.PASSED
                    ):
                        # No answer to what was denied: the request that it answers is still to be read.
                        self.replies += 1
                        self._keep_early(flow, key)
                        add(None)
                        continue
                    before = known & ~_DROPS if known & ANSWER else known
                    between = attempt.first - ONE_PACKET < time < last
                    if not reply and not between and tries.turned(before, bits):
                        add(self._next(attempt, flow, time, reply))
                        continue
                if (
                    known | bits != known
                    or (syn and not again)
                    or unanswered
                    or flow.allowed_by
                    or flow.denied_by
                ):
                    weigh(attempt, flow, bits, time, reply, ingress)
            names = flow.destination_names or flow.source_names
            if names and names != attempt.names:
                # Hubble gives the names with every record alike: most tell nothing new.
                self.names.learn(flow)
                attempt.names = names
            if flags & _ENDS and flow.node == attempt.node:
                attempt.ended = time
            attempt.records += 1
            if time > last:
                attempt.last = time
                if not attempt.first:
                    attempt.first = time
            elif 0 < time < attempt.first:
                attempt.first = time
            add(attempt)
        return found

    def observe_rare(self, flows: Iterable[Flow]) -> list[OpenAttempt | None]:
        """As :meth:`observe_all`, where some of ``flows`` carry what few do, or are aggregated lines."""
        flows = list(flows)
        many = [one.records if (one := standing(flow)) is not None else 0 for flow in flows]
        found = iter(self.observe_all([flow for flow, n in zip(flows, many, strict=True) if not n]))
        attempts = [
            self.lines.observe(flow, n) if n else next(found)
            for flow, n in zip(flows, many, strict=True)
        ]
        for flow, attempt in zip(flows, attempts, strict=True):
            if attempt is not None and flow.extras is not None:
                attempt.carry(flow.extras)
        return attempts

    # Which attempt -----------------------------------------------------------------------------

    def _first(
        self, flow: Flow, key: Key, reply: bool, *, known: bool = True
    ) -> OpenAttempt | None:
        """The attempt of a record that belongs to none that is open.

        ``known``: attempts of its key may be open.
        """
        if flow.destination_names or flow.source_names:
            self.names.learn(flow)
        if flow.verdict == _DROPPED and flow.is_reply is None and not reply:
            port, flags = key[2], flow.tcp_flags
            if port and not flags & SYN and (self._answers(key) or tries.answers(flow)):
                # Drops don't say which way a packet goes: an answer, by the attempt that it answers.
                flow.is_reply = True
                return self.observe(flow)
        if not flow.source_port and tries.is_icmp_error(flow):
            self._icmp_error(flow)
            return None
        bits = meaning.evidence(flow)
        direction = flow.direction or meaning.direction(flow)
        if reply:
            return self._first_answer(flow, key, bits, direction)
        if not bits or not direction:
            self.unattributed += 1
            return None
        attempt = OpenAttempt(
            self._numbers.take(),
            key,
            flow,
            flow.source,
            flow.destination,
            direction,
            flow.destination_service,
        )
        if flow.is_reply is None and not flow.tcp_flags:
            attempt.unsure = is_answer(flow) is not False
        self._keep(attempt, flow, bits, known=known)
        self._weighing.first(attempt, flow, bits)
        if self._early:
            self._take_early(flow, key)
        return attempt

    def _first_answer(self, flow: Flow, key: Key, bits: int, direction: int) -> OpenAttempt | None:
        """The same of an answer: only one that was dropped is told, as there was an attempt then."""
        if flow.verdict != _DROPPED or not direction or not bits:
            self.replies += 1
            self._keep_early(flow, key)
            return None
        # Of the endpoint that dropped: the client's is that of what it asked.
        direction = _EGRESS if direction == _INGRESS else _INGRESS
        attempt = OpenAttempt(
            self._numbers.take(),
            key,
            flow,
            flow.destination,
            flow.source,
            direction,
            flow.source_service,
        )
        self._keep(attempt, flow, bits)
        self._weighing.add(attempt, flow, bits, flow.time, True, direction == _INGRESS)
        if self._early:
            self._take_early(flow, key)
        return attempt

    def _answers(self, key: Key) -> bool:
        """Whether an attempt is open the other way round."""
        return self._open.has((key[1], key[0], key[3], key[2], key[4]))

    def _keep(self, attempt: OpenAttempt, flow: Flow, bits: int, *, known: bool = True) -> None:
        attempt.midway = bits & meaning.WORKS != 0
        key = attempt.key
        back = known and self._open.has(key)
        self._open.put(attempt, flow, known=known)
        ends = key[0], key[1]
        before = self._latest.get(ends)
        if before is not None:
            attempt.pace = tries.pace(before.pace, attempt.first - before.first)
            attempt.back = before.back + (back * tries.ALL - before.back) // 16
            attempt.rhythm = before.rhythm
        elif len(self._latest) >= PAIRS:
            self._latest.clear()
        self._latest[ends] = attempt

    def _take_early(self, flow: Flow, key: Key) -> None:
        """Add what was read just before the first record of an attempt, and answers it."""
        for at in (key, (key[0], key[1], *_ICMP_ERROR)):
            early = self._early.pop(at, None)
            if early is None or abs(early.time - flow.time) > tries.HANDSHAKE:
                continue
            if at is key:
                self.replies -= 1
            self.observe(early)

    def _keep_early(self, flow: Flow, key: Key) -> None:
        """What answers nothing known: what it answers may be read in a moment."""
        if flow.tcp_flags and not flow.tcp_flags & (SYN | _RST):
            return
        if len(self._early) >= EARLY:
            self._early.clear()
        self._early[key] = flow

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
            # What another node saw of it may be laid a little beside.
            alone = flow.node == attempt.node and attempt.other is None
            near = tries.HANDSHAKE if alone else tries.OTHER_NODE
            return time - attempt.handshake > near
        last, gap, denied = attempt.syn, attempt.gap, attempt.syn_denied
        if not last:
            return False
        latest = self._latest.get(attempt.key[:2], attempt)
        fast = (
            attempt.pace < tries.FAST
            or latest.back > tries.OFTEN
            or self._open.came_back(attempt.key)
        )
        if fast and self._is_read(attempt, time):
            told = denied or attempt.other is None
            if latest.rhythm is None:
                latest.rhythm = tries.Rhythm()
            due = not told or latest.rhythm.due(last, gap, time, attempt.syns, denied=denied)
        else:
            # What another node saw between may be read later.
            denied, due = denied and flow.node == attempt.syn_node, True
        if due and tries.explains(last, gap, time, denied=denied):
            return False
        since = flow.time - (time - attempt.syn)
        return time - attempt.syn > GAP or not self.unseen.between(flow.node, since, flow.time)

    def _is_read(self, attempt: OpenAttempt, time: int) -> bool:
        """Whether its nodes' records up to ``time`` were read: clocks apart leave some for later."""
        other, ahead = attempt.other, attempt.other_ahead
        if other is None or abs(ahead) < tries.OTHER_NODE:
            return True
        newest = self.unseen.newest
        return min(newest(attempt.node), newest(other) - ahead) > time - tries.OTHER_NODE

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

    # For those who listen ----------------------------------------------------------------------

    def take_closed(self) -> list[OpenAttempt]:
        """Attempts that no record can join any more, since the last call."""
        closed, self._open.closed = self._open.closed, []
        return closed + self.lines.take_closed()

    def open_attempts(self) -> list[OpenAttempt]:
        """All attempts still open, those that were opened or touched first in front."""
        return self._open.all() + self.lines.open_attempts()

    def shared(self, time: int, node: str) -> int:
        """A node's time on the clock that most nodes share; 0 stays 0."""
        ahead = self.clocks.ahead
        return max(time - ahead.get(node, 0), 0) if ahead and time else time
