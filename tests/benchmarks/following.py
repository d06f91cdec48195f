"""Following at scale: four real observers, the real relay over them, and us, who count it all.

    python -m tests.benchmarks.following            prints the figures
    measure(rate, seconds) -> one Followed a way    for `make bench`

The observers make records as fast as they are asked to, or can: on a machine with few cores they, and relay,
take most of it. So beside what arrived it is told what a record costs us, in CPU, of which the share of a
core follows at any rate; and whether we kept up: whether the server had to leave out anything for us, and how
old the newest record was when we had it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack

import msgspec

import flowwatch
from flowwatch.egress.aggregate import Aggregate
from tests.benchmarks.stretch import Stretch

NODES = 4
WARM_UP = 2.0
"""Seconds that aren't counted: relay's queue fills, kinds of records are met first."""


class Followed(Stretch, frozen=True):
    """What one reader saw of a stream."""

    lost: int
    """Records that a server left out, as it told."""
    gaps: int
    behind: float
    """Seconds between the newest record's time and when it was counted: relay holds each back for a while."""

    @property
    def cost(self) -> float:
        """µs of CPU a record."""
        return self.cpu / self.records * 1e6 if self.records else 0.0


def follow(server: str, seconds: float) -> Followed:
    """Count what ``server`` sends, in this process."""
    aggregate = Aggregate()
    source = flowwatch.open_source(server=server, follow=True)
    began = time.monotonic()
    started: tuple[float, float, int] | None = None
    for batch in source.batches():
        aggregate.join.add(batch)
        now = time.monotonic()
        if started is None and now - began >= WARM_UP:
            started = now, time.process_time(), aggregate.join.tally.records_read
        if now - began >= WARM_UP + seconds:
            break
    assert started is not None
    then, cpu, read = started
    coverage = aggregate.join.coverage()
    told = Followed(
        time.monotonic() - then,
        aggregate.join.tally.records_read - read,
        time.process_time() - cpu,
        coverage.lost_events,
        len(coverage.gaps) + coverage.gaps_before,
        time.time() - coverage.last_seen / 1e9,
    )
    source.close()
    return told


def measure(
    ways: Mapping[str, Mapping[str, str]],
    rate: int,
    seconds: float = 8.0,
    *,
    through_relay: bool = True,
) -> dict[str, Followed]:
    """By way, what is followed of ``rate`` records a second: of NODES through relay, or of one node."""
    from tests.interop.real import Observer, Relay

    nodes = NODES if through_relay else 1
    with ExitStack() as stack:
        observers = [
            stack.enter_context(
                Observer(node=f"worker{number}", generate=1000, seed=number, rate=rate / nodes)
            )
            for number in range(1, nodes + 1)
        ]
        server = stack.enter_context(Relay(observers)) if through_relay else observers[0]
        return {name: _in_a_process(server.address, seconds, env) for name, env in ways.items()}


def _in_a_process(server: str, seconds: float, env: Mapping[str, str]) -> Followed:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.following", server, str(seconds)],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, **env},
    )
    return msgspec.json.decode(done.stdout, type=Followed)


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.stdout.buffer.write(msgspec.json.encode(follow(sys.argv[1], float(sys.argv[2]))))
    else:
        from tests.benchmarks.__main__ import WAYS

        for asked, through in ((20_000, True), (100_000, True), (50_000, False)):
            for way, one in measure(WAYS, asked, through_relay=through).items():
                words = json.dumps(msgspec.to_builtins(one))
                print(f"{asked} {way}: {one.rate:,.0f}/s {one.share:.0%} {one.cost:.2f} µs {words}")
