"""Faults without end, and an account that must come out even: ``--minutes 15 --every 20``.

Two real observers behind a real relay, behind the proxy, followed by the program in a process of its
own, while attempts are written all the time. At the end each row is what was written or a gap tells
of what is missing, and the process holds no more than after the first faults.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.interop.faults.follower import Cost, Follower
from tests.interop.faults.proxy import Link, Proxy
from tests.interop.faults.traffic import Traffic
from tests.interop.real import Observer, Relay

GROWTH = Cost(threads=2, descriptors=4, memory=12.0)
"""By how much the program may hold more at the end than after its first faults: one connection
being made, and what it remembers of records to know them again (some 150 bytes each)."""
NOTHING = Cost(0, 0, 0.0)
PATIENCE = 60.0
"""Seconds that the program has to come back after the last fault."""


@dataclass
class Report:
    """What a soak found."""

    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    written: int = 0
    shown: int = 0
    told: int = 0
    """Attempts that are missing, and which a gap tells of."""
    untold: dict[str, int] = field(default_factory=dict)
    """The others: this must be empty."""
    gaps: int = 0
    first: Cost = NOTHING
    last: Cost = NOTHING
    cpu: float = 0.0
    """Share of one core."""

    @property
    def grown(self) -> list[str]:
        """What grew by more than it may: this must be empty."""
        return [
            name
            for name in ("threads", "descriptors", "memory")
            if getattr(self.last, name) > getattr(self.first, name) + getattr(GROWTH, name)
        ]

    def lines(self) -> list[str]:
        kinds = {kind: self.faults.count(kind) for kind in dict.fromkeys(self.faults)}
        counted = ", ".join(f"{kind} ×{count}" for kind, count in kinds.items())
        return [
            f"{len(self.faults)} faults in {self.seconds:.0f} s: {counted}",
            f"{self.written:,} attempts written, {self.shown:,} shown, {self.told:,} missing "
            f"and told by {self.gaps} gaps, {sum(map(abs, self.untold.values())):,} wrong",
            f"threads {self.first.threads} → {self.last.threads}, "
            f"descriptors {self.first.descriptors} → {self.last.descriptors}, "
            f"memory {self.first.memory:.1f} → {self.last.memory:.1f} MiB, "
            f"{self.cpu:.1%} of a core",
        ]


class _Stage:
    """The servers, and what may happen to them. Each fault returns what ends it."""

    def __init__(self, one: Observer, two: Observer, relay: Relay, between: Proxy) -> None:
        self.one, self.two, self.relay, self.between = one, two, relay, between

    def faults(self) -> dict[str, Callable[[], Callable[[], object]]]:
        between, relay, two = self.between, self.relay, self.two

        def link(link: Link) -> Callable[[], Callable[[], object]]:
            def begin() -> Callable[[], object]:
                between.link = link
                return between.calm

            return begin

        def refuse() -> Callable[[], object]:
            between.link = Link(refused=0.3)
            between.cut()
            return between.calm

        def restart() -> Callable[[], object]:
            relay.kill()
            return relay.start

        def die() -> Callable[[], object]:
            two.kill()
            return two.start

        def hang() -> Callable[[], object]:
            relay.hang()
            return relay.go_on

        def at_once(what: Callable[[], None]) -> Callable[[], Callable[[], object]]:
            def begin() -> Callable[[], object]:
                what()
                return lambda: None

            return begin

        def begin_stall() -> Callable[[], object]:
            between.stall()
            return between.calm

        def nobody() -> Callable[[], object]:
            between.close()
            between.cut()
            return between.calm

        return {
            "reset": at_once(between.cut),
            "reset in mid-message": at_once(lambda: between.cut(after=700)),
            "stall": begin_stall,
            "relay killed and restarted": restart,
            "50 KB/s": link(Link(rate=50_000)),
            "node killed and restarted": die,
            "2 s latency": link(Link(latency=2.0)),
            "30% refused": refuse,
            "relay hangs": hang,
            "nothing listens": nobody,
        }


def soak(
    seconds: float, every: float, *, seed: int = 1, say: Callable[[str], None] = print
) -> Report:
    """Run it. ``every`` is the time from one fault to the next; each lasts up to half of that."""
    report = Report()
    chance = random.Random(seed)
    with (
        Observer(node="worker1", capacity=65535) as one,
        Observer(node="worker2", capacity=65535) as two,
        Relay([one, two], retry_seconds=1) as relay,
        Proxy(relay.address, seed) as between,
        Follower("--server", between.address, "--request-timeout", "3s") as program,
    ):
        faults = _Stage(one, two, relay, between).faults()
        traffic = Traffic(one, two)
        kinds: list[str] = []
        began = time.monotonic()
        _go_on(traffic, min(every, 3.0))
        while time.monotonic() - began < seconds:
            traffic.chapter += 1
            if not kinds:
                kinds = list(faults)
                if report.faults:
                    chance.shuffle(kinds)
            kind = kinds.pop(0)
            report.faults.append(kind)
            end = faults[kind]()
            lasts = every * chance.uniform(0.2, 0.5)
            _go_on(traffic, lasts)
            end()
            _go_on(traffic, every - lasts)
            if len(report.faults) == min(len(faults), max(2, int(seconds / every) // 2)):
                report.first = program.cost()
            state = program.state()
            say(
                f"{time.monotonic() - began:5.0f} s  {kind:28} {state.phase:10} "
                f"{state.dropped:6} of {traffic.total:6}  gaps {len(state.gaps)}  {program.cost()}"
            )
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            state = program.state()
            if state.phase == "following" and not traffic.untold(state):
                break
            time.sleep(0.5)
        report.seconds = time.monotonic() - began
        state = program.state()
        report.written, report.shown = traffic.total, state.dropped
        report.untold = traffic.untold(state)
        report.told = sum(traffic.missing(state).values())
        report.gaps = len(state.gaps)
        report.last = program.cost()
        report.cpu = program.cpu() / report.seconds
    return report


def _go_on(traffic: Traffic, seconds: float) -> None:
    """Write some ten attempts a second on each node, for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        traffic.write()
        time.sleep(0.1)


def main() -> int:
    """Run as said on the command line; 1 when the account or the process isn't as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--every", type=float, default=20.0, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    report = soak(
        flags.minutes * 60, flags.every, seed=flags.seed, say=lambda line: print(line, flush=True)
    )
    for line in report.lines():
        print(line)
    for what in report.grown:
        print(f"{what} grew")
    return 1 if report.untold or report.grown else 0


if __name__ == "__main__":
    raise SystemExit(main())
