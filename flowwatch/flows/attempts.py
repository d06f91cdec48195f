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

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from flowwatch.flows import meaning, tries
from flowwatch.flows.clocks import Clocks
from flowwatch.flows.generations import OPEN_LIMIT, Generations
from flowwatch.flows.meaning import SYN
from flowwatch.flows.model import Direction, EventType, Flow, Verdict
from flowwatch.flows.open_attempt import (
    ANSWER,
    ANSWERED,
    NEVER,
    UNREACHABLE,
    Key,
    News,
    Numbers,
    OpenAttempt,
    change,
    end,
    key_of,
    portless_key,
)
from flowwatch.flows.peers import PeerNames
from flowwatch.flows.placing import place
from flowwatch.flows.standing import StandingLines, is_answer, standing
from flowwatch.flows.tries import GAP, ONE_PACKET
from flowwatch.flows.unseen import Unseen
from flowwatch.flows.weighing import Weighing

_FORWARDED, _LET_THROUGH = int(Verdict.FORWARDED), meaning.FORWARDED
_TRACE = int(EventType.TRACE)
_EGRESS, _INGRESS = int(Direction.EGRESS), int(Direction.INGRESS)
_RST = 4
_DROPS = meaning.POLICY_DROP | meaning.OTHER_DROP
_WORKING = meaning.PASSED | meaning.WORKS

PAIRS = 65_536
"""Pairs of addresses whose latest attempt is remembered, for ICMP errors: they tell no ports."""

EARLY = 4096
"""Answers remembered that were read before what they answer: each CPU's events are read in turn."""

_ICMP_ERROR = (0, 0, "")  # In a key, for what an error doesn't tell of the packet that it is about.
_FAR = 1 << 80  # A time beside every attempt.


class Attempts:
    """Joins the records of one server into attempts. One thread; memory bounded by OPEN_LIMIT.

    An attempt's times are by the clock of the node whose record of it came first; those of another
    are laid on that by what is known of the two (:mod:`flowwatch.flows.clocks`), else by its first record.
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
        self.errors_dropped = 0  # Records of ICMP errors, of which then nobody learnt.
        self._latest: dict[tuple[str, str], OpenAttempt] = {}
        self.unseen = Unseen()
        self._early: dict[Key, Flow] = {}
        self.lines = StandingLines(self._numbers, self._weighing)
        """Attempts of aggregated lines."""
        self.news: list[tuple[OpenAttempt, News]] = []
        """What the last :meth:`observe_all` told, in the order of its records: each end once, and
        once more for each record that names policies."""
        self.changed: list[OpenAttempt] = []
        """Open attempts whose fate that call learnt by no record of their own."""
        self.told_ahead: Mapping[str, int] = self.clocks.ahead
        """What is taken off nodes' times in ``news``: as it was when those who listen were last told."""

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
        """For each of ``flows``, in their order, what :meth:`observe` says; ``news`` tells of the same."""
        self._begin_news()
        return self._observe(flows)

    def observe_rare(self, flows: Sequence[Flow]) -> list[OpenAttempt | None]:
        """As :meth:`observe_all`, where some of ``flows`` carry what few do, or are aggregated lines."""
        self._begin_news()
        attempts: list[OpenAttempt | None] = []
        for lines, some in groupby(flows, lambda flow: standing(flow) is not None):
            observed = list(some)
            attempts += map(self._line, observed) if lines else self._observe(observed)
        for flow, attempt in zip(flows, attempts, strict=True):
            if attempt is not None and flow.extras is not None:
                attempt.carry(flow.extras)
        return attempts

    def _observe(self, flows: Iterable[Flow]) -> list[OpenAttempt | None]:
        """What :meth:`observe_all` gives.

        All records pass through this loop, which docs/architecture.md draws. One that tells nothing
        new of its attempt, as most do, is counted here, without a call; :meth:`_take` has the rest.
        What follows from its kind alone was decided when the kind was made.
        """
        found: list[OpenAttempt | None] = []
        add = found.append
        ahead, opened, grow = self.told_ahead, self._open, self._weighing.grow
        for flow in flows:
            kind, port = flow.kind, flow.source_port
            here, there, other = flow.source_ip, flow.destination_ip, flow.destination_port
            if kind.reply:
                key = there, here, other, port, kind.protocol
            else:
                key = here, there, port, other, kind.protocol
            attempt = opened.young.get(key) if kind.plain and port else None
            if attempt is not None:
                ingress, node = kind.ingress, kind.node
                time, last = flow.time, attempt.last
                if node is not attempt.node:
                    time -= (
                        attempt.other_ahead
                        if node is attempt.other
                        else attempt.more.get(node, _FAR)
                    )
                known, names = attempt.ingress if ingress else attempt.egress, flow.ends.names
                new = known | kind.bits != known or (kind.reply and attempt.answer != ANSWERED)
                if (
                    (new and not (kind.mild and known and attempt.outcome == _LET_THROUGH))
                    or (known & _DROPS and (new or key[4] != "TCP"))
                    or (
                        kind.syn
                        and (attempt.ended or not 0 <= time - (attempt.syn or _FAR) <= ONE_PACKET)
                    )
                    or not (flow.time and last and -GAP <= time - last <= GAP)
                    or (names and names != attempt.names)
                ):
                    attempt = None
                else:
                    if new:
                        grow(attempt, kind, known, time, ingress=ingress)
                    attempt.records += 1
                    if time > last:
                        attempt.last = time
                    elif 0 < time < attempt.first:
                        attempt.first = time
                    if kind.closes and node == attempt.node:
                        attempt.ended = time
            if attempt is None:
                attempt = self._take(flow, key)
                if attempt is None:
                    add(None)
                    continue
                kind = flow.kind
                ingress = end(kind, attempt) == _INGRESS
            add(attempt)
            time = flow.time
            if ahead and time:
                time -= ahead.get(kind.node, 0)
            one = attempt.ingress_news if ingress else attempt.egress_news
            if one is None or kind.named:
                self._tell(attempt, flow, time, ingress=ingress)
            else:
                one.records += 1
                if time > one.last:
                    one.last = time
                if 0 < time < one.first:
                    one.first = time
        return found

    def _tell(self, attempt: OpenAttempt, flow: Flow, time: int, *, ingress: bool) -> None:
        """Begin news of an end; ``time`` is by the clock that most nodes share."""
        news = News(flow, ingress, time if time > 0 else NEVER, time)
        if ingress:
            attempt.ingress_news = news
        else:
            attempt.egress_news = news
        self.news.append((attempt, news))

    def _line(self, flow: Flow) -> OpenAttempt | None:
        """The attempt of an aggregated line."""
        many = standing(flow)
        attempt = self.lines.observe(flow, many.records) if many is not None else None
        if attempt is not None:
            kind, time = flow.kind, flow.time
            if self.told_ahead and time:
                time -= self.told_ahead.get(kind.node, 0)
            self._tell(attempt, flow, time, ingress=end(kind, attempt) == _INGRESS)
        return attempt

    def _begin_news(self) -> None:
        for attempt, _ in self.news:
            attempt.egress_news = attempt.ingress_news = None
        self.news, self.changed = [], []

    def _take(self, flow: Flow, key: Key) -> OpenAttempt | None:
        """Take in a record that may tell something; ``key`` is by what its kind and its ports say."""
        kind, opened = flow.kind, self._open
        if flow.l7 is not None:
            self.names.learn(flow)
        reply = kind.reply
        if not flow.source_port:
            # No ports: ICMP's type differs between request and reply, names stand in for addresses.
            reply = meaning.is_reply(flow)
            key = portless_key(flow, reply)
        if reply and kind.as_reply is not None:
            # Drops don't say it: whoever looks at the record next shall know.
            flow.kind = kind = kind.as_reply
        attempt = opened.young.get(key)
        if attempt is None:
            if opened.old:
                attempt = opened.get(key)
            if attempt is None:
                return self._first(flow, key, reply, known=False)
        time, last = flow.time, attempt.last
        if time and last:
            node = kind.node
            if node is not attempt.node:
                time -= (
                    attempt.other_ahead if node is attempt.other else attempt.more.get(node, _FAR)
                )
            if not -GAP <= time - last <= GAP:
                placed = place(opened.of(attempt), self.clocks, flow)
                if placed is None:
                    return self._first(flow, key, reply)
                attempt, time = placed
                last = attempt.last
        elif last:
            time = last  # one that isn't known says nothing
        again = False
        if kind.syn:
            # Most SYNs' records are further ones of the same packet.
            again = 0 <= time - attempt.syn <= ONE_PACKET
            if not again or attempt.ended:
                self.unseen.watch(flow)
                if self._is_new_try(attempt, flow, time):
                    return self._next(attempt, flow, time, reply)
        ingress = end(kind, attempt) == _INGRESS
        known = attempt.ingress if ingress else attempt.egress
        unanswered = reply and attempt.answer != ANSWERED
        bits = kind.bits
        if (
            known & _WORKING != _WORKING
            or unanswered
            or kind.verdict != _FORWARDED
            or kind.event_type != _TRACE
        ):
            # Else one more packet of a connection that works.
            if known and key[4] != "TCP" and flow.l7 is None:
                if reply:
                    if bits & meaning.WORKS and known & _DROPS and not known & tries.PASSED:
                        # No answer to what was denied: the request that it answers is still to be read.
                        self.replies += 1
                        self._keep_early(flow, key)
                        return None
                elif not attempt.first - ONE_PACKET < time < last and tries.turned(
                    known & ~_DROPS if known & ANSWER else known, bits
                ):
                    return self._next(attempt, flow, time, reply)
            if known | bits != known or (kind.syn and not again) or unanswered or kind.named:
                self._weighing.add(attempt, flow, time, reply=reply, ingress=ingress)
        names = flow.ends.names
        if names and names != attempt.names:
            # Hubble gives the names with every record alike: most tell nothing new.
            self.names.learn(flow)
            attempt.names = names
        if kind.closes and kind.node == attempt.node:
            attempt.ended = time
        attempt.records += 1
        if time > last:
            attempt.last = time
            if not attempt.first:
                attempt.first = time
        elif 0 < time < attempt.first:
            attempt.first = time
        return attempt

    # Which attempt -----------------------------------------------------------------------------

    def _first(
        self, flow: Flow, key: Key, reply: bool, *, known: bool = True
    ) -> OpenAttempt | None:
        """The attempt of a record that belongs to none that is open.

        ``known``: attempts of its key may be open.
        """
        kind, ends = flow.kind, flow.ends
        names = ends.names
        if names:
            self.names.learn(flow)
        if kind.as_reply is not None and not reply:
            port, flags = key[2], kind.tcp_flags
            if port and not flags & SYN and (self._answers(key) or tries.answers(flow)):
                # Drops don't say which way a packet goes: an answer, by the attempt that it answers.
                flow.kind = kind.as_reply
                return self._take(flow, key_of(flow))
        if not flow.source_port and tries.is_icmp_error(flow):
            self._icmp_error(flow)
            return None
        direction = kind.direction or meaning.direction(flow)
        if reply:
            return self._first_answer(flow, key, direction)
        if not kind.bits or not direction:
            self.unattributed += 1
            return None
        attempt = OpenAttempt(
            self._numbers.take(),
            key,
            ends.source,
            ends.destination,
            ends.destination_service,
            direction,
            flow.time,
            flow.time,
            kind.node,
            names,
        )
        if kind.is_reply is None and not kind.tcp_flags:
            attempt.unsure = is_answer(flow) is not False
        self._keep(attempt, flow, known=known)
        self._weighing.first(attempt, flow)
        if self._early:
            self._take_early(flow, key)
        return attempt

    def _first_answer(self, flow: Flow, key: Key, direction: int) -> OpenAttempt | None:
        """The same of an answer: only one that was dropped is told, as there was an attempt then."""
        kind, ends = flow.kind, flow.ends
        if not kind.dropped or not direction or not kind.bits:
            self.replies += 1
            self._keep_early(flow, key)
            return None
        # Of the endpoint that dropped: the client's is that of what it asked.
        direction = _EGRESS if direction == _INGRESS else _INGRESS
        attempt = OpenAttempt(
            self._numbers.take(),
            key,
            ends.destination,
            ends.source,
            ends.source_service,
            direction,
            flow.time,
            flow.time,
            kind.node,
            ends.names,
        )
        self._keep(attempt, flow)
        self._weighing.add(attempt, flow, flow.time, reply=True, ingress=direction == _INGRESS)
        if self._early:
            self._take_early(flow, key)
        return attempt

    def _answers(self, key: Key) -> bool:
        """Whether an attempt is open the other way round."""
        return self._open.has((key[1], key[0], key[3], key[2], key[4]))

    def _keep(self, attempt: OpenAttempt, flow: Flow, *, known: bool = True) -> None:
        attempt.midway = flow.kind.bits & meaning.WORKS != 0
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
            self._take(early, key_of(early))

    def _keep_early(self, flow: Flow, key: Key) -> None:
        """What answers nothing known: what it answers may be read in a moment."""
        flags = flow.kind.tcp_flags
        if flags and not flags & (SYN | _RST):
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
            return not tries.told_backwards(attempt.ended, attempt.first, attempt.syn, time)
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
        about = self._latest.get((flow.destination_ip, flow.source_ip))
        if flow.kind.dropped:
            self.errors_dropped += 1
        elif about is not None and not about.answer and flow.time - about.last <= GAP:
            about.answer = UNREACHABLE
            change(about)
            if self._open.latest(about.key) is about:
                self.changed.append(about)
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
