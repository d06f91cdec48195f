"""The aggregate: records in, the table out. Whatever flowwatch counts is counted here, once.

    aggregate = Aggregate()
    for batch in source.batches():
        aggregate.add(batch)
    aggregate.snapshot(Query())

An attempt is counted in the row of the pod's egress, and of the other pod's ingress if the record
of that end was seen, with one outcome; when a later record changes the outcome, it moves from one
column to the other. Rows are bounded by ``max_rows``.
"""

from __future__ import annotations

from collections import deque

from flowwatch.egress.table import COUNTS, Columns
from flowwatch.egress.timeline import TimelineCounter
from flowwatch.flows import meaning
from flowwatch.flows.attempts import NOT_COUNTED, Attempts, OpenAttempt, addresses
from flowwatch.flows.coverage import Tally
from flowwatch.flows.model import Batch, Direction, Flow
from flowwatch.flows.peers import PeerNames, cluster, subject

MAX_ROWS = 100_000
"""Rows kept by default: about 25 MB."""

RECENT = 4096
"""Records remembered for the tail and for the last records of a row."""

_EGRESS, _INGRESS = int(Direction.EGRESS), int(Direction.INGRESS)


class Scope:
    """What belongs to one server: addresses and names mean nothing beyond it."""

    def __init__(self) -> None:
        self.attempts = Attempts()
        self.names = PeerNames()


class Aggregate:
    """Counts attempts by direction × pod × peer × port × protocol. One thread at a time.

    Raises ValueError when ``max_rows`` is less than 4.
    """

    def __init__(self, max_rows: int = MAX_ROWS, *, keep_recent: bool = True) -> None:
        """``keep_recent`` false: without the last records, which only a dashboard shows."""
        if max_rows < 4:
            raise ValueError("max_rows must be at least 4")
        self.max_rows = max_rows
        self.keep_recent = keep_recent
        self.columns = Columns()
        self.scopes: dict[str, Scope] = {"": Scope()}
        """By server, where there are several; under "" that of a single one."""
        self.totals = {_EGRESS: [0] * len(COUNTS), _INGRESS: [0] * len(COUNTS)}
        self.timelines = {_EGRESS: TimelineCounter(), _INGRESS: TimelineCounter()}
        self.recent: deque[tuple[int, Flow, bool, PeerNames]] = deque(maxlen=RECENT)
        """Row key (0: none), the record, whether it counts as its peer's reply, and its names."""
        self.tally = Tally()
        self.folded_rows = 0
        self._idents = 0

    def add(self, batch: Batch) -> None:
        """Count every record of ``batch``."""
        self.tally.add(batch)
        scope = self.scopes.get(batch.origin)
        if scope is None:
            scope = self.scopes[batch.origin] = Scope()
        observe, names = scope.attempts.observe, scope.names
        learn = names.learn
        remember = self.recent.append if self.keep_recent else None
        columns = self.columns
        records, lasts, firsts = columns.records, columns.last, columns.first
        for flow in batch.flows:
            if flow.l7 is not None:
                learn(flow)
            attempt = observe(flow)
            if attempt is None:
                if remember is not None:
                    remember((0, flow, False, names))
                continue
            row = attempt.ingress if flow.direction == _INGRESS else attempt.egress
            if row < 0:
                # Hubble gives the names with every record alike: those of the first will do.
                if flow.destination_names or flow.source_names:
                    learn(flow)
                row = self._attach(attempt, flow, names, batch.origin)
            records[row] += 1
            time = flow.time
            if time > lasts[row]:
                lasts[row] = time
            elif 0 < time < firsts[row]:
                firsts[row] = time
            if attempt.outcome != attempt.counted or attempt.reason != attempt.counted_reason:
                self._recount(attempt)
            if flow.allowed_by or flow.denied_by:
                columns.add_policies(row, flow.allowed_by, flow.denied_by)
            if remember is not None:
                remember((columns.ident[row], flow, attempt.client is flow.destination, names))
        if len(self.columns) > self.max_rows:
            self._fold()

    @property
    def replies(self) -> int:
        """Records of replies that belong to no counted attempt."""
        return sum(scope.attempts.replies for scope in self.scopes.values())

    @property
    def unattributed(self) -> int:
        """Flows without a direction and without an attempt that they could belong to."""
        return sum(scope.attempts.unattributed for scope in self.scopes.values())

    @property
    def closed_early(self) -> int:
        """How often attempts were closed before their time, for want of room."""
        return sum(scope.attempts.closed_early for scope in self.scopes.values())

    def _attach(self, attempt: OpenAttempt, flow: Flow, names: PeerNames, origin: str) -> int:
        """Give the attempt its row in the direction of ``flow``, and count it there."""
        direction = flow.direction or attempt.direction
        egress = direction != _INGRESS
        if not flow.direction:
            # Joined without a direction of its own: it belongs where the attempt is counted.
            row = attempt.egress if attempt.egress >= 0 else attempt.ingress
            if row >= 0:
                return row
        _, _, _, port, protocol = attempt.key
        client_ip, server_ip = addresses(attempt.key)
        if egress:
            pod, address, peer_address = attempt.client, client_ip, server_ip
            peer = names.peer(pod, attempt.server, server_ip, attempt.service)
        else:
            pod, address, peer_address = attempt.server, server_ip, client_ip
            peer = names.peer(pod, attempt.client, client_ip, "")
        columns = self.columns
        self._idents += 1
        row = columns.row(
            direction,
            subject(pod, address),
            peer,
            port,
            protocol,
            flow.time,
            self._idents,
            (cluster(pod, flow.node), origin),
        )
        if peer_address:
            columns.add_address(row, peer_address)
        if attempt.counted != NOT_COUNTED:
            # Already counted in the other direction: the same outcome counts here too.
            self._count(row, attempt, 1)
        if egress:
            attempt.egress = row
        else:
            attempt.ingress = row
        columns.add_rate(row, flow.time)
        if attempt.allowed_by or attempt.denied_by:
            columns.add_policies(row, attempt.allowed_by, attempt.denied_by)
        return row

    def _recount(self, attempt: OpenAttempt) -> None:
        """Count the attempt by its outcome of now, and no longer by that of before, in its rows."""
        rows = [row for row in (attempt.egress, attempt.ingress) if row >= 0]
        if attempt.counted != NOT_COUNTED:
            for row in rows:
                self._count(row, attempt, -1)
        attempt.counted = attempt.outcome
        attempt.counted_reason = attempt.reason
        for row in rows:
            self._count(row, attempt, 1)
            if attempt.denied_by:
                self.columns.add_policies(row, (), attempt.denied_by)

    def _count(self, row: int, attempt: OpenAttempt, by: int) -> None:
        columns = self.columns
        outcome = attempt.counted
        columns.counts[outcome][row] += by
        direction = columns.direction[row]
        self.totals[direction][outcome] += by
        dropped = outcome == meaning.DROPPED
        if dropped:
            columns.add_reason(row, attempt.counted_reason, by)
        self.timelines[direction].add(attempt.begun, dropped, by)

    def _fold(self) -> None:
        columns, moved, folded = self.columns.folded(self.max_rows)
        self.columns = columns
        self.folded_rows += folded
        for scope in self.scopes.values():
            for attempt in scope.attempts.open_attempts():
                if attempt.egress >= 0:
                    attempt.egress = moved[attempt.egress]
                if attempt.ingress >= 0:
                    attempt.ingress = moved[attempt.ingress]
