"""A day of a cluster on paper, and what flowwatch tells of it beside what it was."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from flowwatch.flows import meaning
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.listing import AttemptListing
from flowwatch.sources.files import FileSource
from tests.paper_kernel import SERVER, Paper, Try, lines

GOOD, BAD, SILENT = "203.0.113.5", "203.0.113.66", "198.51.100.77"
CLOSED = [f"203.0.113.{last}" for last in range(100, 250)]
"""Many: an ICMP error names no ports, so of two tries of one pair at once it tells only one."""

ALLOWED = [
    *((one, 5001) for one in CLOSED),
    (GOOD, 8080),
    (GOOD, 443),
    (GOOD, 5000),
    (GOOD, 8),
    (GOOD, 5432),
    (SILENT, 443),
    (SERVER, 5432),
]

Records = Iterable[dict[str, Any]]
Told = tuple[str, str, bool]
"""Outcome, answer, whether it was late."""


def listed(records: Records) -> list[Attempt]:
    """The attempts of a capture, as an export of egress has them, by their beginning."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write(lines(records))
        file.flush()
        batches = FileSource([file.name]).batches()
        every = frozenset(meaning.OUTCOMES)
        return sorted(
            AttemptListing(batches, frozenset({"egress"}), every), key=lambda one: one.first_seen
        )


def knowable(tries: list[Try]) -> dict[tuple[Any, ...], list[Told]]:
    """By ports, the tries that records tell apart."""
    told: dict[tuple[Any, ...], list[Told]] = defaultdict(list)
    by_ports: dict[tuple[Any, ...], list[Try]] = defaultdict(list)
    for one in sorted(tries, key=lambda one: one.time):
        if one.seen:
            by_ports[one.ports].append(one)
    for ports, made in by_ports.items():
        if made[0].protocol == "TCP":
            told[ports] = [(one.outcome, one.answer, one.late) for one in made]
            continue
        last: Try | None = None
        for one in made:
            if last and last.outcome == one.outcome and one.time - last.time <= 75:
                answers = {told[ports].pop()[1], one.answer}
            else:
                answers = {one.answer}
            told[ports].append((one.outcome, _best(answers), False))
            last = one
    return dict(told)


def _best(answers: set[str]) -> str:
    return next(one for one in ("answered", "unreachable", "none", "") if one in answers)


def found(attempts: Iterable[Attempt]) -> dict[tuple[Any, ...], list[Told]]:
    told: dict[tuple[Any, ...], list[Told]] = defaultdict(list)
    for one in attempts:
        ports = one.peer_address, one.protocol, one.port, one.source_port
        told[ports].append((one.outcome, one.answer, one.waited > 0))
    return dict(told)


def different(paper: Paper, attempts: Iterable[Attempt]) -> dict[tuple[Any, ...], Any]:
    wanted, got = knowable(paper.tries), found(attempts)
    return {
        ports: (wanted.get(ports), got.get(ports))
        for ports in wanted.keys() | got.keys()
        if wanted.get(ports) != got.get(ports)
    }


def a_day(paper: Paper, seconds: int = 240) -> Paper:
    """A little of everything, while policies come, go, and are replaced; ports come back rarely."""
    chance = paper.random
    for at in range(0, seconds, 60):
        paper.policy(at + 5, ALLOWED if chance.random() < 0.7 else None)
        paper.policy(at + 30, [(BAD, 443), (BAD, 5000)] if chance.random() < 0.5 else ALLOWED)
        paper.policy(at + 17, None if chance.random() < 0.5 else [], there=True)
    deeds: list[Callable[[float], object]] = [
        lambda at: paper.connect(at, GOOD, close=chance.choice(["server", "client", "reset"])),
        lambda at: paper.connect(at, BAD, timeout=chance.choice([1.5, 4.0, 20.0])),
        lambda at: paper.connect(at, BAD, 80, peer="refuses", timeout=6.0),
        lambda at: paper.connect(at, SILENT, peer="silent", timeout=chance.choice([2.5, 9.0])),
        lambda at: paper.connect(at, SERVER, 5432, timeout=chance.choice([2.5, 30.0])),
        lambda at: paper.ask(at, GOOD, 5000, answers=chance.choice(["answered", "none"])),
        lambda at: paper.ask(at, BAD, 5000),
        lambda at: paper.ask(at, BAD, 5000, source_port=40_006),
        lambda at: paper.ask(at, chance.choice(CLOSED), 5001, answers="unreachable"),
        lambda at: paper.unheard(at, GOOD, 8080),
        lambda at: paper.ping(at, GOOD),
        lambda at: paper.ping(at, BAD, answered=False),
    ]
    paper.pooled(1, GOOD, 6432, every=85, times=4)
    paper.cut(2, BAD, 6432, after=3, until=seconds)
    for second in range(seconds):
        for _ in range(chance.randrange(3)):
            chance.choice(deeds)(second + chance.random())
    return paper
