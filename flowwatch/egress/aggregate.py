"""The aggregate: attempts in, the table out. Whatever flowwatch counts is counted here, once.

    aggregate = Aggregate()
    for batch in source.batches():
        aggregate.join.add(batch)
    snapshot(aggregate, Query())

An attempt is counted in the row of the pod's egress, and of the other pod's ingress if the record
of that end was seen, with one outcome; when a later record changes the outcome, it moves from one
column to the other. Rows are bounded by ``max_rows``. Times of rows and of the timeline are by the
clock that most nodes share: what is known of the others' clocks is taken off.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping

from flowwatch.egress.ends import RowEnds
from flowwatch.egress.lookups import Lookups
from flowwatch.egress.row_times import RowTimes
from flowwatch.egress.table import COUNTS, Columns
from flowwatch.egress.timeline import TimelineCounter
from flowwatch.egress.turns import Turns
from flowwatch.flows import meaning
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.cause import Teller, Telling
from flowwatch.flows.counting import Tally
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.model import DIRECTION_WORDS, Direction, Endpoint, Flow
from flowwatch.flows.open_attempt import News, OpenAttempt, addresses, end
from flowwatch.flows.peers import UNKNOWN, PeerNames, cluster, subject
from flowwatch.flows.ranges import LATEST
from flowwatch.flows.staged import Stager

MAX_ROWS = 100_000
"""Rows kept by default: about 28 MB."""

RECENT = 4096
"""Records remembered for the tail and for the last records of a row."""

_ROWS = 8192
"""Rows found again without asking the table, which takes 1.3 µs: 2 MB. Past it this begins anew."""

_EGRESS, _INGRESS = int(Direction.EGRESS), int(Direction.INGRESS)

_NOTHING_AHEAD: Mapping[str, int] = {}
_NOT_YET = -1
_DROPPED = meaning.DROPPED
_RETRIED, _DNS = ("TCP", "SCTP"), 53
"""What is sent again until an answer comes."""
_RETRY = 100_000_000
"""Nanoseconds: records that far apart are of two packets."""
_ENCRYPTED = 1
"""Of an attempt's marks: it is counted as encrypted in its egress row; twice that, in its ingress row."""
_BLOCKED = (meaning.DROPPED, meaning.AUDIT)
_BLOCKED_ROWS = 10_000
"""Whose attempts are kept until somebody asks what blocked them: 20 MB."""
_NO_VERSION = (1 << 16) - 1


class _Counted:
    """Where each open attempt is counted, by its number."""

    def __init__(self) -> None:
        # Rows; _NOT_YET: no record of that end was seen.
        self.egress = array("i")
        self.ingress = array("i")
        # What it is counted by in those rows; its version tells whether that still holds.
        self.version = array("H")
        self.outcome = array("b")
        self.reason = array("i")
        self.answer = array("b")
        self.late = array("b")
        # How long it has waited since it was dropped, as its rows were told.
        self.waiting = array("q")
        # In which of its rows it is counted as encrypted.
        self.marks = array("b")
        # Where in the timeline: an attempt's beginning may move back later.
        self.begun = array("q")
        # When its outcome was decided, as each of its rows was told.
        self.egress_at = array("q")
        self.ingress_at = array("q")

    def grow(self, size: int) -> None:
        """Have a place for every number below ``size``."""
        if (more := size - len(self.egress)) > 0:
            nothing = array("i", [_NOT_YET]) * more
            self.egress += nothing
            self.ingress += nothing
            self.version += array("H", [_NO_VERSION]) * more
            self.outcome += array("b", [_NOT_YET]) * more
            self.reason += array("i", bytes(4 * more))
            self.answer += array("b", bytes(more))
            self.late += array("b", bytes(more))
            self.marks += array("b", bytes(more))
            for column in (self.waiting, self.begun, self.egress_at, self.ingress_at):
                column.extend(array("q", bytes(8 * more)))

    def forget(self, attempt: OpenAttempt) -> None:
        """Leave the place to another attempt."""
        number = attempt.number
        self.egress[number] = self.ingress[number] = self.outcome[number] = _NOT_YET
        self.version[number] = _NO_VERSION
        self.reason[number] = self.answer[number] = self.late[number] = self.marks[number] = 0
        self.waiting[number] = 0

    def move(self, rows: dict[int, int]) -> None:
        """The rows have other numbers now."""
        for column in (self.egress, self.ingress):
            for number, row in enumerate(column):
                if row >= 0:
                    column[number] = rows[row]


class Aggregate:
    """Counts attempts by direction × pod × peer × port × protocol. One thread at a time.

    Raises ValueError when ``max_rows`` is less than 4.
    """

    def __init__(
        self,
        max_rows: int = MAX_ROWS,
        *,
        keep_recent: bool = True,
        join: Join | None = None,
        teller: Teller | None = None,
        stager: Stager | None = None,
    ) -> None:
        """Listens to ``join``, or to one of its own.

        ``keep_recent`` false: without the last records, the rows' timelines and their ends' labels,
        which only a dashboard shows. ``teller``: tells what blocked attempts, once :meth:`learn` asks;
        ``stager``: what staged policies would do to them, once :meth:`judge` asks.
        """
        if max_rows < 4:
            raise ValueError("max_rows must be at least 4")
        self.max_rows = max_rows
        self.keep_recent = keep_recent
        self.columns = Columns()
        self._counted = _Counted()
        self._rows: dict[tuple[object, ...], tuple[int, Endpoint]] = {}
        """The row of attempts alike, by what decides it. The pod stands there by its number in memory,
        which is its own as long as it is kept beside the row: endpoints are shared, and dear to hash."""
        self._ahead: dict[str, Mapping[str, int]] = {}
        """By server, what is taken off the times of its nodes."""
        self.totals = {_EGRESS: [0] * len(COUNTS), _INGRESS: [0] * len(COUNTS)}
        self.timelines = {_EGRESS: TimelineCounter(), _INGRESS: TimelineCounter()}
        self.row_times = RowTimes() if keep_recent else None
        self.ends = RowEnds() if keep_recent else None
        self.lookups = Lookups() if keep_recent else None
        self.turns = Turns()
        self._teller = teller
        self.stager = stager
        self._blocked: dict[int, Telling] = {}
        """By row, what will tell the cause of its latest attempt that was blocked."""
        self.recent: deque[tuple[int, Flow, bool, PeerNames]] = deque(maxlen=RECENT)
        """Row key (0: none), the record, whether it counts as its peer's reply, and its names."""
        self.folded_rows = 0
        self._idents = 0
        self.join = join or Join()
        self.join.listen(self)

    @property
    def tally(self) -> Tally:
        """What was read, and what was not."""
        return self.join.tally

    def take(self, joined: Joined) -> None:
        """Count every record of a batch (flowwatch.flows.join.Listener)."""
        origin = joined.batch.origin
        columns, counted = self.columns, self._counted
        counted.grow(self.join.numbers.size)
        egress, ingress = counted.egress, counted.ingress
        versions, outcomes = counted.version, counted.outcome
        records, lasts, firsts = columns.records, columns.last, columns.first
        for attempt, news in joined.news:
            number = attempt.number
            row = ingress[number] if news.ingress else egress[number]
            if row < 0:
                row = self._attach(attempt, news, origin)
            records[row] += news.records
            if news.last > lasts[row]:
                lasts[row] = news.last
            if news.first < firsts[row]:
                firsts[row] = news.first
            if attempt.version != versions[number]:
                self._recount(attempt)
            if outcomes[number] == _DROPPED:
                self._wait(attempt)
            kind = news.flow.kind
            if kind.named:
                columns.add_policies(row, kind.allowed_by, kind.denied_by)
        for attempt in joined.changed:
            number = attempt.number
            if outcomes[number] != _NOT_YET and attempt.version != versions[number]:
                self._recount(attempt)
        if self.stager is not None:
            self.stager.see(joined, egress, ingress)
        if self.keep_recent:
            self._remember(joined)
        if joined.extras:
            self._take_extras(joined)
        for attempt in joined.closed:
            counted.forget(attempt)
        for origin, scope in self.join.scopes.items():
            if self._ahead.get(origin, _NOTHING_AHEAD) is not scope.clocks.ahead:
                self._set_clocks(scope, origin)
        if len(self._blocked) > _BLOCKED_ROWS:
            self.learn()
        if len(self.columns) > self.max_rows:
            self._fold()

    def learn(self, at_most: int | None = None) -> bool:
        """Ask what blocked the attempts that were counted since the last time; for who takes a snapshot.

        ``at_most`` so many rows, those of which nothing is known first: each takes 0.5 to 0.8 ms.
        True when that were all. Called while nobody holds the join's lock.
        """
        causes, blocked = self.columns.causes, self._blocked
        for row in sorted(blocked, key=causes.__contains__)[:at_most]:
            if (cause := blocked.pop(row)()) is not None:
                causes[row] = cause
        return not blocked

    def judge(self, at_most: int | None = None) -> bool:
        """Ask what staged policies would do to the rows' attempts, ``at_most`` so many questions. True when
        that were all. Called while the join's lock is held."""
        counted, stager = self._counted, self.stager
        if stager is None:
            return True
        return stager.judge(counted.egress, counted.ingress, self.columns.staged, at_most)

    def _take_extras(self, joined: Joined) -> None:
        """What few records carry, in the rows that they were counted in."""
        columns, counted = self.columns, self._counted
        for flow, attempt in zip(joined.batch.flows, joined.attempts, strict=True):
            extras = flow.extras
            if extras is None or attempt is None:
                continue
            number, ingress = attempt.number, (flow.direction or attempt.direction) == _INGRESS
            row = counted.ingress[number] if ingress else counted.egress[number]
            if row < 0:
                continue
            if extras.standing is not None:
                columns.records[row] += extras.standing.records - 1
                # It stands for all that went so meanwhile.
                ahead = self._ahead.get(joined.batch.origin, _NOTHING_AHEAD)
                time = flow.time - ahead.get(flow.kind.node, 0)
                self.turns.add(row, attempt.outcome, time)
            if extras.policy_log:
                columns.rarity(row).log(extras.policy_log)
            mark = _ENCRYPTED << ingress
            if extras.encrypted and not counted.marks[number] & mark:
                counted.marks[number] |= mark
                columns.rarity(row).encrypted += 1

    def _remember(self, joined: Joined) -> None:
        """Keep the last records, each with its row."""
        names, counted, ident = joined.scope.names, self._counted, self.columns.ident
        for flow, attempt in zip(
            joined.batch.flows[-RECENT:], joined.attempts[-RECENT:], strict=True
        ):
            if attempt is None:
                self.recent.append((0, flow, False, names))
                continue
            rows = counted.ingress if end(flow.kind, attempt) == _INGRESS else counted.egress
            reply = attempt.client is flow.destination
            self.recent.append((ident[rows[attempt.number]], flow, reply, names))
        if self.lookups is not None:
            for flow in joined.batch.flows:
                if flow.l7 is not None and flow.l7.dns_query:
                    self.lookups.see(flow, flow.l7.dns_query)

    def _attach(self, attempt: OpenAttempt, news: News, origin: str) -> int:
        """Give the attempt its row in the direction of ``news``, and count it there."""
        way = _INGRESS if news.ingress else _EGRESS
        flow, node = news.flow, news.flow.kind.node
        client_ip, server_ip, own_port, port, protocol = attempt.key
        if not own_port:
            client_ip, server_ip = addresses(attempt.key)
        if news.ingress:
            pod, address, peer_address = attempt.server, server_ip, client_ip
            peer, allowed = attempt.ingress_peer, attempt.admitted_by
        else:
            pod, address, peer_address = attempt.client, client_ip, server_ip
            peer, allowed = attempt.egress_peer, attempt.allowed_by
        columns, counted, number = self.columns, self._counted, attempt.number
        self._idents += 1
        ahead = self._ahead.get(origin)
        time = max(flow.time - ahead.get(node, 0), 0) if ahead and flow.time else flow.time
        new = counted.outcome[number] == _NOT_YET
        if new:
            counted.begun[number] = time
        alike = id(pod), peer, port, protocol, way, node, origin
        known = self._rows.get(alike)
        if known is not None:
            row, _ = known
        else:
            row = columns.row(
                way,
                subject(pod, address),
                peer or UNKNOWN,
                port,
                protocol,
                time,
                self._idents,
                (cluster(pod, node), origin),
                node,
            )
            if pod.pod:
                if len(self._rows) >= _ROWS:
                    self._rows.clear()
                self._rows[alike] = row, pod
        if not columns.first[row]:
            # Made by a record without a time.
            columns.first[row] = time
        if peer_address:
            columns.add_address(row, peer_address)
        if self.ends is not None:
            self.ends.see(row, pod, attempt.client if way == _INGRESS else attempt.server)
        if not new:
            # Already counted in the other direction: the same outcome counts here too.
            self._count(row, attempt, 1)
            columns.add_answer(row, counted.answer[number], 1)
            if counted.late[number]:
                columns.add_late(row, attempt.waited, attempt.retries)
        (counted.ingress if news.ingress else counted.egress)[number] = row
        if attempt.standing or (not own_port and attempt.uncounted):
            columns.rarity(row).uncounted += 1
        if attempt.unsure:
            columns.rarity(row).unsure += 1
        columns.add_rate(row, time)
        # The other end's policy admits nothing here, but what it denied was dropped here too. Of an
        # attempt that is new its own news tell.
        if not new and (allowed or attempt.denied_by):
            columns.add_policies(row, allowed, attempt.denied_by)
        return row

    def _recount(self, attempt: OpenAttempt) -> None:
        """Count the attempt by its outcome of now, and no longer by that of before, in its rows."""
        counted, number = self._counted, attempt.number
        egress, ingress = counted.egress[number], counted.ingress[number]
        rows = (egress,) if ingress < 0 else (ingress,) if egress < 0 else (egress, ingress)
        counted.version[number] = attempt.version
        if attempt.answer != counted.answer[number] or attempt.passed:
            self._count_answer(attempt, rows)
        before = counted.outcome[number]
        if attempt.outcome == before and attempt.reason == counted.reason[number]:
            return
        if before != _NOT_YET:
            for row in rows:
                self._count(row, attempt, -1)
        if attempt.outcome != _DROPPED:
            counted.waiting[number] = 0
        counted.outcome[number] = attempt.outcome
        counted.reason[number] = attempt.reason
        for row in rows:
            self._count(row, attempt, 1)
            if attempt.denied_by:
                self.columns.add_policies(row, (), attempt.denied_by)
            if attempt.detail:
                self.columns.add_proxy_refused(row, attempt.detail)

    def _wait(self, attempt: OpenAttempt) -> None:
        """Count, of an attempt that was dropped, how long it has been tried again since."""
        waited = attempt.last - attempt.decided
        if waited < _RETRY or not attempt.decided or attempt.uncounted:
            return
        if attempt.key[4] not in _RETRIED and attempt.key[3] != _DNS:
            # A stream of datagrams may wait for nothing.
            return
        counted, columns, number = self._counted, self.columns, attempt.number
        more = waited - counted.waiting[number]
        if not more:
            return
        counted.waiting[number] = waited
        ends = addresses(attempt.key)
        for row in (counted.egress[number], counted.ingress[number]):
            if row >= 0 and not columns.noise_kind(row, attempt.reason, ends):
                columns.waiting[row] = columns.waiting.get(row, 0) + more

    def _count_answer(self, attempt: OpenAttempt, rows: tuple[int, ...]) -> None:
        """What came back, and whether it was late."""
        counted, number = self._counted, attempt.number
        before, late = counted.answer[number], attempt.late
        for row in rows:
            if before:
                self.columns.add_answer(row, before, -1)
            self.columns.add_answer(row, attempt.answer, 1)
            if late != counted.late[number]:
                if late:
                    self.columns.add_late(row, attempt.waited, attempt.retries)
                else:
                    self.columns.take_late(row)
        counted.answer[number] = attempt.answer
        counted.late[number] = late

    def _count(self, row: int, attempt: OpenAttempt, by: int) -> None:
        """Count the attempt into ``row``, or out of it, by what it is counted by."""
        columns, counted, number = self.columns, self._counted, attempt.number
        outcome = counted.outcome[number]
        columns.counts[outcome][row] += by
        direction = columns.direction[row]
        self.totals[direction][outcome] += by
        dropped = outcome == meaning.DROPPED
        if dropped and columns.add_reason(row, counted.reason[number], by, addresses(attempt.key)):
            # In no figure but its own, so in no timeline either.
            return
        if dropped and (waited := counted.waiting[number]):
            columns.waiting[row] = columns.waiting.get(row, 0) + by * waited
        at = counted.ingress_at if direction == _INGRESS else counted.egress_at
        if by > 0:
            server, node = columns.nodes.things[columns.node[row]]
            time = attempt.decided
            if node != attempt.node or self._ahead.get(server):
                time = self._decided(attempt, server, node)
            at[number] = time
            if self._teller is not None and outcome in _BLOCKED:
                way = DIRECTION_WORDS[direction]
                self._blocked[row] = self._teller.blocked(attempt, server, way)
        self.turns.add(row, outcome, at[number], by)
        begun = counted.begun[number]
        self.timelines[direction].add(begun, dropped, by)
        if self.row_times is not None:
            self.row_times.add(row, begun, dropped, by, outcome)

    def _decided(self, attempt: OpenAttempt, server: str, node: str) -> int:
        """When it was decided what became of an attempt, by the clock that its row's times are by:
        that of ``node`` of ``server``."""
        time, ahead = attempt.decided, self._ahead.get(server, _NOTHING_AHEAD)
        if not time:
            return time
        there = attempt.ahead_of(node)
        if there is None:
            node, there = attempt.node, 0
        return min(max(time + there - ahead.get(node, 0), 1), LATEST)

    def _set_clocks(self, scope: Attempts, origin: str) -> None:
        """More is known of nodes' clocks: move what was counted by them, in rows and timelines."""
        before, now = self._ahead.get(origin, _NOTHING_AHEAD), scope.clocks.ahead
        moved = {
            node: back
            for node in {**before, **now}
            if (back := now.get(node, 0) - before.get(node, 0))
        }
        self._ahead[origin] = now
        if not moved:
            return
        move = self.columns.move_times({(origin, node): back for node, back in moved.items()})
        self.turns.shift(move)
        counted = self._counted
        for attempt in scope.open_attempts():
            number, back = attempt.number, moved.get(attempt.node, 0)
            for rows, at in (
                (counted.egress, counted.egress_at),
                (counted.ingress, counted.ingress_at),
            ):
                if rows[number] >= 0 and at[number] and (by := move(rows[number])):
                    at[number] = min(max(at[number] - by, 1), LATEST)
            begun = counted.begun[number]
            if back and begun and counted.outcome[number] != _NOT_YET:
                outcome = counted.outcome[number]
                dropped = outcome == meaning.DROPPED
                why, ends = counted.reason[number], addresses(attempt.key)
                for row in (counted.egress[number], counted.ingress[number]):
                    if row < 0 or (dropped and self.columns.noise_kind(row, why, ends)):
                        continue
                    timeline = self.timelines[self.columns.direction[row]]
                    timeline.add(begun, dropped, -1)
                    timeline.add(max(begun - back, 1), dropped)
                    if self.row_times is not None:
                        self.row_times.add(row, begun, dropped, -1, outcome)
                        self.row_times.add(row, max(begun - back, 1), dropped, 1, outcome)
                counted.begun[number] = max(begun - back, 1)

    def _fold(self) -> None:
        columns, moved, folded = self.columns.folded(self.max_rows)
        self.columns = columns
        self.folded_rows += folded
        self._counted.move(moved)
        self._rows.clear()
        self.turns = self.turns.moved(moved)
        self._blocked = {moved[row]: tell for row, tell in self._blocked.items()}
        if self.stager is not None:
            self.stager.move(moved)
        if self.row_times is not None:
            self.row_times.move(moved)
        if self.ends is not None:
            self.ends.move(moved)
