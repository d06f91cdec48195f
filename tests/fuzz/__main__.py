"""``make fuzz``: spoilt inputs against the whole program.

    make fuzz                                        ten minutes, all targets, a seed of its own
    make fuzz ARGS="--minutes 30 --target wire --seed 5"
    make fuzz ARGS="--replay .cache/fuzz/wire/NAME"  an input that was kept
    make fuzz ARGS="--input 5/wire/1234"             one of a campaign, by its seed

Exit code 1 when there was a fault. An input that hangs inside of a library's C ends the campaign with
a stack, after five minutes; which one it was stands in KEEP/running-PID.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
from pathlib import Path
from random import Random

from tests.fuzz.campaign import Campaign, Tally, opened, tried
from tests.fuzz.inputs import Input, load
from tests.fuzz.targets import TARGETS

HANGS = 300.0
"""Seconds after which an input is taken to hang where no signal reaches."""
MEMORY = 4 << 30
"""Bytes of address space: an input that wants more is a fault, not this machine's end."""


def main(arguments: list[str]) -> int:
    """Run a campaign, or one input of it."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="instead of all")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", default="", help="any text; the same gives the same inputs")
    parser.add_argument(
        "--keep", type=Path, default=Path(".cache/fuzz"), help="folder for what failed"
    )
    parser.add_argument("--replay", type=Path, help="run an input that was kept")
    parser.add_argument("--input", help="run the input SEED/TARGET/NUMBER")
    chosen = parser.parse_args(arguments)
    _limit_memory()
    if chosen.replay:
        return _one(chosen.replay.resolve().parent.name, load(chosen.replay))
    if chosen.input:
        name = chosen.input.split("/")[-2]
        with opened(name) as target:
            given = target.make(Random(chosen.input))
        return _one(name, given)
    seed = chosen.seed or str(time.time_ns() % 1_000_000)
    names = chosen.target or list(TARGETS)
    print(f"{', '.join(names)} for {chosen.minutes:g} minutes: --seed {seed}", flush=True)
    campaign = Campaign(seed, chosen.keep.resolve(), lambda line: print(line, flush=True))
    tallies: list[Tally] = campaign.run(names, chosen.minutes * 60)
    for tally in tallies:
        print(tally)
    return 1 if any(tally.faults for tally in tallies) else 0


def _one(name: str, given: Input) -> int:
    print(name, *given.call)
    with opened(name) as target:
        fault = tried(target, given)
    print(fault[1] if fault else "no fault")
    return 1 if fault else 0


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main(sys.argv[1:]))
