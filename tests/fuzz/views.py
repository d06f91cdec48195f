"""What the dashboard does with messages, without its screen: decoded, aggregated, sorted, shown."""

from __future__ import annotations

from itertools import product

from flowwatch.audits.live import LiveAudit
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import DIRECTIONS, ORDERS, Query
from flowwatch.egress.view import records, snapshot
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.flows.join import Join
from flowwatch.policy import PolicySet
from tests.fuzz.corpus import GOOD
from tests.fuzz.program import DEFECT, Fault


def look(messages: list[bytes], policies: PolicySet) -> list[tuple[object, ...]]:
    """Take ``messages`` in one by one, look at all there is to see, and return the good rows."""
    decoder = WireDecoder()
    join = Join()
    aggregate = Aggregate(1000, join=join)
    audit = LiveAudit(policies, join)
    for message in messages:
        batch = decoder.decode([message])
        whole = len(batch.flows) + len(batch.lost) + len(batch.nodes) + sum(batch.skipped.values())
        if whole != 1:
            raise Fault(f"a message became {whole}")
        if own := [reason for reason in batch.skipped if DEFECT in reason]:
            raise Fault(own[0])
        join.add(batch)
    found: list[tuple[object, ...]] = []
    for direction, order in product(DIRECTIONS, ORDERS):
        taken = snapshot(aggregate, Query(direction=direction, order=order), recent=50, live=True)
        if (direction, order) == ("egress", "pod"):
            found = [
                (row.pod, row.peer, row.port, row.forwarded, row.dropped, row.records)
                for row in taken.rows
                if row.namespace == GOOD
            ]
    records(aggregate, 1000)
    audit.report()
    return found
