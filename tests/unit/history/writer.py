"""A process that records numbered flows until it is killed: ``python -m … writer DIR|URL FIRST``.

The server that it plays has the flows from FIRST on in its memory. After each flush it says on standard
output how many flows are safe. ``--limit BYTES`` lets no file grow beyond that, as a full disk does.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import time

from flowwatch.flows.model import Batch, Flow
from flowwatch.history.kept import kept_at
from flowwatch.history.recorder import Origin
from flowwatch.history.retention import Limits
from tests.unit.flows.made import flow

ORIGIN = Origin("a test", "")
START = 1_700_000_000 * 10**9
STEP = 20 * 10**9
"""Nanoseconds between two flows: a flush reaches over several hours, so it has several files."""
BATCH = 25


def numbered(number: int) -> Flow:
    """The flow with that number, which its uuid tells."""
    made = flow(0, source_port=1024 + number % 50_000, node="node-1")
    made.uuid, made.time = f"00000000-0000-4000-8000-{number:012x}", START + number * STEP
    return made


def number_of(one: Flow) -> int:
    return int(one.uuid[-12:], 16)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("where")
    parser.add_argument("first", type=int)
    parser.add_argument("--limit", type=int, default=0)
    given = parser.parse_args()
    kept = kept_at(given.where)
    kept.create(Limits())
    before = kept.resume(ORIGIN, live=True)
    recorder = kept.recorder(ORIGIN, every=0.02)
    if given.limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.limit, given.limit))
    said: tuple[int, str] | None = None
    for start in itertools.count(given.first, BATCH):
        batch = Batch(flows=[numbered(number) for number in range(start, start + BATCH)])
        before.fresh(batch)
        recorder.take(batch)
        progress = recorder.progress
        if (progress.kept, progress.failure) != said:
            said = progress.kept, progress.failure
            print(progress.kept, progress.failure, flush=True)
        time.sleep(0.002)


if __name__ == "__main__":
    main()
