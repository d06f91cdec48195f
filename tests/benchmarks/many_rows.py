"""A dashboard of as many rows as wanted, which nothing is read into: what a screen of a million costs.

python -m tests.benchmarks.many_rows 1000000
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.flows.model import Batch, Direction
from flowwatch.flows.peers import Peer
from flowwatch.flows.source import SourceState
from flowwatch.tui.app import run

EGRESS = int(Direction.EGRESS)


def fill(aggregate: Aggregate, rows: int) -> None:
    """So many rows: of pods, ten of which are one workload's, to a hundred destinations each."""
    columns, totals = aggregate.columns, aggregate.totals[EGRESS]
    chance = random.Random(1)
    for number in range(rows):
        pod, peer = divmod(number, 100)
        workload = f"app-{pod // 10}"
        row = columns.row(
            EGRESS,
            (f"ns-{pod // 500}", f"{workload}-7d9f8-{pod:05}", workload),
            Peer("dns", f"d{peer}.example"),
            443,
            "TCP",
            number + 1,
            number + 1,
        )
        for outcome, most in ((0, 50), (1, 5)):
            count = chance.randrange(most)
            columns.counts[outcome][row] = count
            totals[outcome] += count


def many_rows(rows: int) -> Aggregate:
    """An aggregate of them alone."""
    aggregate = Aggregate(2 * rows)
    fill(aggregate, rows)
    return aggregate


class _Nothing:
    """A source that has ended."""

    def batches(self) -> Iterator[Batch]:
        return iter(())

    def state(self) -> SourceState:
        return SourceState("many rows", "ended")

    def close(self) -> None:
        """Nothing is read."""


def main(rows: int) -> int:
    """Show them until ``q``."""
    monitor = LiveMonitor(_Nothing(), 2 * rows, live=False)
    with monitor.looked_at() as aggregate:
        fill(aggregate, rows)
    monitor.start()
    return run(monitor, title="flowwatch", theme="dark")


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1])))
